"""A layer of spiking cells whose incoming synapses learn within a trial, with or without a modulator, and its static controls.

A source's spike of step k acts on the cells in step k, a cell's own in step k + 1. The reset is soft: the threshold is subtracted in the step
after the spike. A step's spikes are in the traces `x` from the next step on, where synapses change by them; what they change is
therefore sent from the step after that on. Source of the plastic forms: Schmidgall et al. (2021), Front Neurorobot 15:629210. Sizes,
time constants and gains are a prototype's, since the publication's aren't known; reset and gains are its choice too.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from neuro.language.units import quantity
from neuro.learning.local.bcm import bcm
from neuro.learning.local.differentiable import differentiable
from neuro.learning.local.oja import oja
from neuro.learning.local.plasticity import Plasticity
from neuro.model import Input, Network, Neuron, Normal, OneToOne, Population, Projection, Synapse, Uniform
from neuro.options import one_of
from tasks.rate_networks import answer

DT = quantity("1 ms")
TRACE = "x += (1 - exp(-dt/tau_trace))"  # low-pass filtered spikes
SOURCE = Neuron(
    "traced_source", "dx/dt = -x/tau_trace : 1\nlast : 1\nI : 1\nfired = I : 1", every_step=f"{TRACE}*last\nlast = fired",
    parameters={"tau_trace": "5 ms"}, method="exact", source="given spikes and their trace",
)  # fmt: skip
CELL = Neuron(
    "traced_lif",
    "dv/dt = -v/tau_m : 1\ndx/dt = -x/tau_trace : 1\nfired : 1\nI : 1",
    threshold="v > v_th",
    reset="fired = 1",
    every_step=f"v += gain*I - v_th*fired\n{TRACE}*fired\nfired = 0",
    parameters={"tau_m": "5 ms", "tau_trace": "5 ms", "v_th": "1", "gain": "0.3"},
    method="exact",
    source="leaky integrate-and-fire, reset by subtraction",
)
MODULATED = replace(CELL, name="modulated_lif", equations=f"{CELL.equations}\nM : 1")
MODULATOR = Neuron(
    "modulator", "z : 1\ny = tanh(z + bias) : 1", parameters={"bias": "0"}, source="weighted sum, squashed"
)
STATIC = Synapse("static", "w : 1", transmits="w*fired_pre", target="I", source="weighted spikes")
HEARS = Synapse("hears", "w : 1", transmits="w*x_pre", target="z", source="weighted traces")
READS = Synapse(
    "reads", "w : 1", transmits="gain*w*x_pre", target="z", parameters={"gain": "10"}, source="weighted traces"
)
SPREADS = Synapse("spreads", "w : 1", transmits="w*y_pre", target="z", source="weighted values")
GATES = Synapse("gates", transmits="y_pre", target="M", source="a value as it is")
RULES: dict[str, tuple[Plasticity, float, dict[str, str]]] = {  # with the gain of its changes, and its constants
    "oja": (oja, 4.0, {}),
    "bcm": (bcm, 16.0, {"share": "0.02"}),
}
FORMS = ("static", "recurrent", "dp-oja", "dp-bcm", "ndp-oja", "ndp-bcm")


def trained(form: str) -> tuple[str, ...]:
    """Names and patterns of what is trained: all weights and biases, and what the form has of alpha, rate and modulator."""
    own = {"dp": ("feed.alpha", "feed.rate"), "ndp": ("feed.alpha",)}
    return ("*.w", "*.bias", *own.get(form.partition("-")[0], ()))


def feed(form: str, inputs: int) -> Projection:
    """The synapses onto the cells, plastic or not."""
    kind, _, name = form.partition("-")
    weights = _normal(2 / math.sqrt(inputs))
    if not name:
        return Projection("feed", "source", "cells", STATIC, weights)
    rule, gain, constants = RULES[name]
    own = {"alpha": _normal(0.1), **({"rate": quantity(0.05, "")} if kind == "dp" else {})}
    modulator = "" if kind == "dp" else "M"
    synapse = differentiable(rule, "fired", "I", modulator=modulator, gain=gain, **constants)
    return Projection("feed", "source", "cells", synapse, weights, parameters=own)


def plastic_layer(form: str, inputs: int, hidden: int) -> tuple[list[Population], list[Projection]]:
    """Source and cells, and what the form has for them; what goes in, and who reads the cells' traces, is left to add.

    form: "static"; "recurrent": static, cells all to all; "dp-oja", "dp-bcm": w + alpha*rho onto the cells, where rho changes at one trained
    rate; "ndp-oja", "ndp-bcm": at a rate for each cell, which its gate gives it, tanh(W_fan y + bias), from y = tanh(W_hear x + bias) of one
    modulator that hears the traces of all cells. v, traces, rho and BCM's thresholds begin each trial at 0. Raises OptionError.
    """
    one_of("form", form, FORMS)
    kind, into = form.partition("-")[0], 1 / math.sqrt(hidden)
    populations, projections = [Population("source", SOURCE, inputs)], [feed(form, inputs)]
    if kind == "recurrent":
        projections.append(Projection("loop", "cells", "cells", STATIC, _normal(0.1 * into)))
    if kind == "ndp":
        gates = Population("gates", MODULATOR, hidden, {"bias": quantity(np.full(hidden, 0.05), "")})
        populations += [Population("modulator", MODULATOR, 1), gates]
        projections += [
            Projection("hear", "cells", "modulator", HEARS, _normal(into), summed="end"),
            Projection("fan", "modulator", "gates", SPREADS, _normal(0.5), summed="end"),
            Projection("gate", "gates", "cells", GATES, connectivity=OneToOne(), summed="end"),
        ]
    populations.append(Population("cells", MODULATED if kind == "ndp" else CELL, hidden))
    return populations, projections


def plastic_network(name: str, form: str, inputs: int, hidden: int, outputs: int, *, seed: int) -> Network:
    """Source -> cells -> outputs that read the cells' traces at the end of a step; dt is 1 ms. form: see plastic_layer."""
    populations, projections = plastic_layer(form, inputs, hidden)
    into = 1 / math.sqrt(hidden)
    populations.append(Population("output", answer, outputs, {"bias": _uniform(into)}))
    projections.append(Projection("readout", "cells", "output", READS, _uniform(into), summed="end"))
    given = (Input("x", inputs, "current", "source.I"),)
    return Network(tuple(populations), tuple(projections), given, dt=DT, seed=seed, name=name)


def _normal(std: float) -> Normal:
    return Normal(quantity(0.0, ""), quantity(std, ""))


def _uniform(limit: float) -> Uniform:
    return Uniform(quantity(-limit, ""), quantity(limit, ""))
