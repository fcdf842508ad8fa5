"""Networks of rate units: weighted analog inputs -> recurrent leaky tanh units -> linear outputs.

In step k the hidden units get the inputs of step k and the hidden rates of step k-1; the outputs read the hidden rates of
step k-1, so an output answers an input one step later.
"""

from __future__ import annotations

import math

from neuro.language.units import Quantity, quantity
from neuro.library.rate import rate
from neuro.model import AllToAll, Input, Network, Neuron, Normal, Population, Projection, Synapse

linear = Neuron("linear", "x = z : 1\nz : 1", source="weighted sum")
answer = Neuron("answer", "y = z + bias : 1\nz : 1", parameters={"bias": "0"}, source="weighted sum")
graded = Synapse("graded", "w : 1", transmits="w*x_pre", target="z", source="weighted sum")


def _normal(std: float) -> Normal:
    return Normal(quantity(0.0, ""), quantity(std, ""))


def rate_network(
    name: str, inputs: int, hidden: int, outputs: int, *, seed: int, tau: Quantity, dt: Quantity, gain: float = 1.5,
    into: float = 1.0, out: float = 1.0, start: float = 0.0,
) -> Network:  # fmt: skip
    """Projections feed, loop (no self-connections excluded), readout, with weights N(0, scale/sqrt(fan-in)).

    gain, into, out: the scales of loop, feed, readout. start: rate of the hidden units before the first step.
    """
    cells = Population("hidden", rate.with_parameters(tau=tau), hidden, initial={"x": quantity(start, "")})
    return Network(
        (Population("inputs", linear, inputs), cells, Population("output", linear, outputs)),
        (
            Projection("feed", "inputs", "hidden", graded, _normal(into / math.sqrt(inputs))),
            Projection("loop", "hidden", "hidden", graded, _normal(gain / math.sqrt(hidden)), AllToAll()),
            Projection("readout", "hidden", "output", graded, _normal(out / math.sqrt(hidden))),
        ),
        (Input("x", inputs, "current", "inputs.z"),),
        dt=dt,
        seed=seed,
        name=name,
    )
