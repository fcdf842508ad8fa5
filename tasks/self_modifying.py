"""Recurrent networks whose synapses change within an episode by rules that are trained (differentiable plasticity).

Every recurrent synapse has a fixed weight and a plastic part, w + alpha hebb; hebb is 0 when an episode begins. In each step the layer
answers first, the modulator hears its new state, then the synapses change. Source: Miconi et al. (2019), ICLR, arXiv 2002.10585.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro.compiler import streams
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse
from neuro.options import OptionError, counts, one_of
from tasks.acting import ActingTask

SOURCE = "Miconi, Rawal, Clune & Stanley (2019), ICLR, arXiv 2002.10585"
given = Neuron("given", "I : 1\ny = I : 1", source="what comes from outside")
unit = Neuron(
    "tanh_unit", "z : 1\nm : 1\nx : 1\nlast : 1", every_step="last = x\nx = tanh(z + b)", parameters={"b": "0"}, source=SOURCE
)  # fmt: skip
modulator = Neuron("modulator", "z : 1\ny = tanh(z + b) : 1", parameters={"b": "0"}, source=SOURCE)
linear = Neuron("linear", "z : 1\ny = z + b : 1", parameters={"b": "0"}, source="a linear readout")
enters = Synapse("enters", "w : 1", transmits="w*y_pre", target="z", source="a weighted sum")
reads = Synapse("reads", "w : 1", transmits="w*x_pre", target="z", source="a weighted sum")
reaches = Synapse("reaches", transmits="y_pre", target="m", source="one signal for all cells")
TRAINED = ("*.w", "*.b", "loop.*")  # all weights and biases, and what the plasticity has
FORMS = ("static", "plastic", "modulated", "retroactive")


def plastic_synapse(form: str, clip: float) -> Synapse:
    """Recurrent synapses. plastic: at a rate eta of their own; modulated: by what the modulator sends to the target in this step; retroactive:
    the modulator turns a trace of earlier coincidences into change. Raises OptionError."""
    one_of("form", form, FORMS)
    if not clip > 0:
        raise OptionError(f"clip={clip}; give a bound above 0")
    change = {
        "static": "",
        "plastic": f"hebb = clip(hebb + eta*last_pre*x_post, -{clip!r}, {clip!r})",
        "modulated": f"hebb = clip(hebb + m_post*last_pre*x_post, -{clip!r}, {clip!r})",
        "retroactive": f"hebb = clip(hebb + m_post*trace, -{clip!r}, {clip!r})\ntrace = (1 - eta)*trace + eta*last_pre*x_post",
    }[form]
    if form == "static":
        return reads
    equations = "w : 1\nalpha : 1\nhebb : 1" + ("\ntrace : 1" if form == "retroactive" else "")
    parameters = {"alpha": "0"} | ({} if form == "modulated" else {"eta": "0.1"})
    return Synapse(
        f"{form}_hebb", equations, transmits="(w + alpha*hebb)*x_pre", target="z", every_step=change, parameters=parameters, source=SOURCE
    )  # fmt: skip


def plastic_network(
    name: str, senses: int, hidden: int, outputs: int, form: str, *, clip: float, eta: float, scale: float, seed: int
) -> Network:
    """senses -> plastic tanh units -> outputs, linear, the last one a value; readout and modulator are summed at the end of a step.

    clip: bound of hebb. scale: recurrent w and alpha begin between 0 and it. All other weights and biases: uniform within the inverse root of the number of
    inputs. dt is one step of the task, 1 ms.
    """
    random = streams.generator(seed, f"{name}/weights")

    def uniform(*shape: int, fan_in: int) -> Any:
        return random.uniform(-1, 1, shape) / np.sqrt(fan_in)

    loop: dict[str, Any] = {"weights": scale * random.random((hidden, hidden))}
    synapse = plastic_synapse(form, clip)
    if form != "static":
        loop["parameters"] = {"alpha": scale * random.random((hidden, hidden))} | (
            {"eta": eta} if "eta" in synapse.parameters else {}
        )
    populations = [
        Population("given", given, senses),
        Population("hidden", unit, hidden, {"b": uniform(hidden, fan_in=senses)}),
        Population("output", linear, outputs, {"b": uniform(outputs, fan_in=hidden)}),
    ]
    projections = [
        Projection("enter", "given", "hidden", enters, uniform(senses, hidden, fan_in=senses)),
        Projection("loop", "hidden", "hidden", synapse, **loop),
        Projection("readout", "hidden", "output", reads, uniform(hidden, outputs, fan_in=hidden), summed="end"),
    ]
    if form in ("modulated", "retroactive"):
        populations.append(Population("modulator", modulator, 1, {"b": uniform(1, fan_in=hidden)}))
        projections += [
            Projection("hear", "hidden", "modulator", reads, uniform(hidden, 1, fan_in=hidden), summed="end"),
            Projection("reach", "modulator", "hidden", reaches, summed="end"),
        ]
    inputs = (Input("senses", senses, "current", "given.I"),)
    return Network(tuple(populations), tuple(projections), inputs, dt="1 ms", seed=seed, name=name)


class SelfModifyingTask(ActingTask):
    """A task whose agents are plastic networks; hidden, form, clip, eta, scale: see plastic_network."""

    observed: int  # numbers in an observation

    def __init__(self, hidden: int, form: str, clip: float, eta: float, scale: float) -> None:
        counts(hidden=hidden)
        self.hidden, self.form, self.clip, self.eta, self.scale = hidden, form, clip, eta, scale

    def network(self, seed: int) -> Network:
        senses = self.observed + 1 + self.actions
        return plastic_network(
            self.name, senses, self.hidden, self.channels, self.form, clip=self.clip, eta=self.eta, scale=self.scale, seed=seed
        )  # fmt: skip
