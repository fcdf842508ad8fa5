"""Policies whose output layer changes its own weights within an episode, by rules of which every number is searched for.

Observation -> tanh units -> motors, all in one step of 1 ms. A motor's value is y = x(w + alpha*hebb) + b + x' w_r + b_r, where x is the layer of tanh units, and
x' is tanh(y) of the step before; then hebb changes by a modulator times the outer product of x and tanh(y). Sums are formed at the start of a step, one
layer after the other, and the modulator's at its end, when it hears the motors' new state. hebb, its trace and x' begin each episode
at 0, and so does every parameter: a search breaks the symmetry. Source: Schmidgall (2020), arXiv 2006.05832; sizes, and tanh(y) where the layer sends y
to itself, to its synapses and to its modulator, are those of a reduced prototype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro.model import Input, Network, Neuron, Population, Projection, Synapse
from neuro.options import OptionError, one_of
from tasks.self_modifying import enters, given, modulator

SOURCE = "Schmidgall (2020), arXiv 2006.05832"
FORMS = ("static", "modulated", "eligibility")
MODULATORS = ("pooled", "own")
BOUND = 1.0  # of hebb
hidden = Neuron("hidden_unit", "z : 1\nx = tanh(z + b) : 1", parameters={"b": "0"}, source=SOURCE)
gated = Neuron(
    "gated_unit", "z : 1\ng : 1\nx = tanh(z + b)*int(g + b_g >= 0) : 1", parameters={"b": "0", "b_g": "0"}, source=SOURCE
)  # fmt: skip
sends = Synapse("sends", "w : 1", transmits="w*x_pre", target="z", source="a weighted sum")
opens = Synapse("opens", "w : 1", transmits="w*y_pre", target="g", source="a weighted sum")
spreads = Synapse("spreads", "w : 1", transmits="w*y_pre", target="m", source="one signal, weighted for each cell")
returns = Synapse("returns", "w : 1", transmits="w*x_pre", target="r", source="a weighted sum of what the layer was")


def motor(form: str, by: str, size: int) -> Neuron:
    """The motors' cell. by: "pooled", one modulator of all cells; "own", each is modulated by its own activity, through `size` units whose weights all cells share."""
    equations = "z : 1\nr : 1\ny = z + b + r + b_r : 1\nx : 1"
    parameters = {"b": "0", "b_r": "0"}
    if form != "static" and by == "pooled":
        equations += "\nm : 1\nM = m + b_m : 1"
        parameters["b_m"] = "0"
    elif form != "static":
        units = [f"own_out{i}*tanh(own_in{i}*x + own_b)" for i in range(size)]
        equations += f"\nM = b_m + {' + '.join(units)} : 1"
        parameters |= {"b_m": "0", "own_b": "0"} | {f"own_{end}{i}": "0" for end in ("in", "out") for i in range(size)}
    return Neuron("motor", equations, every_step="x = tanh(y)", parameters=parameters, source=SOURCE)


def onto_motors(form: str) -> Synapse:
    """Synapses from the tanh units. modulated: hebb changes by the modulator; eligibility: by it and a trace of earlier coincidences, as the trace was
    before this step."""
    if form == "static":
        return sends
    change, trace, parameters = "x_pre*x_post", "", {"alpha": "0"}
    if form == "eligibility":
        change, parameters["eta"] = "trace", "0"
        trace = "\ntrace = (1 - eta)*trace + eta*x_pre*x_post"
    return Synapse(
        f"{form}_hebb", "w : 1\nalpha : 1\nhebb : 1" + ("\ntrace : 1" if trace else ""),
        transmits="(w + alpha*hebb)*x_pre", target="z",
        every_step=f"hebb = clip(hebb + M_post*{change}, -{BOUND}, {BOUND}){trace}", parameters=parameters, source=SOURCE,
    )  # fmt: skip


def motor_network(
    name: str, senses: int, size: int, motors: int, form: str, by: str = "pooled", gate: bool = False, *, seed: int
) -> Network:
    """senses -> `size` tanh units -> motors, every parameter 0.

    form: "static", "modulated", "eligibility". by: see `motor`. gate: tanh units are silent where a weighted sum of the senses, another one, is negative.
    Raises OptionError.
    """
    one_of("form", form, FORMS)
    one_of("modulator", by, MODULATORS)
    if form == "static" and by != "pooled":
        raise OptionError(f"modulator='{by}': form 'static' has none; use form='modulated'")
    plastic = form != "static"
    first = {"b": np.zeros(size)} | ({"b_g": np.zeros(size)} if gate else {})
    own: dict[str, Any] = {n: np.zeros(motors) for n in ("b", "b_r", *(("b_m",) if plastic else ()))}
    if by == "own":
        own["own_b"] = np.zeros(motors)
    populations = [
        Population("given", given, senses),
        Population("hidden", gated if gate else hidden, size, first),
        Population("motors", motor(form, by, motors), motors, own),
    ]
    weights, parameters = np.zeros((size, motors)), {"alpha": np.zeros((size, motors))} if plastic else {}
    projections = [
        Projection("enter", "given", "hidden", enters, np.zeros((senses, size))),
        Projection("plastic", "hidden", "motors", onto_motors(form), weights, parameters=parameters),
        Projection("back", "motors", "motors", returns, np.zeros((motors, motors))),
    ]
    if gate:
        projections.append(Projection("gate", "given", "hidden", opens, np.zeros((senses, size))))
    if plastic and by == "pooled":
        populations.append(Population("modulator", modulator, 1, {"b": np.zeros(1)}))
        projections += [
            Projection("hear", "motors", "modulator", sends, np.zeros((motors, 1)), summed="end"),
            Projection("reach", "modulator", "motors", spreads, np.zeros((1, motors)), summed="end"),
        ]
    inputs = (Input("senses", senses, "current", "given.I"),)
    return Network(tuple(populations), tuple(projections), inputs, dt="1 ms", seed=seed, name=name)
