"""Perceptrons of several layers whose activities are signs or a few bits, as cells without memory joined by sums at the end of a step: an image is one step.

u = gamma*((z - mean)*scale) + beta is batch normalisation of what a cell sums, where the rule `layerwise` sets mean and scale; elsewhere it is arithmetic with parameters. Source: Hubara, Courbariaux,
Soudry, El-Yaniv & Bengio (2018), JMLR 18(187).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from neuro.language.units import Quantity, quantity
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse, Uniform

SOURCE = "Hubara et al. (2018), JMLR 18(187)"
_SUM = "z : 1\nnoise : 1\nu = gamma*((z - mean)*scale) + beta : 1"
_PARAMETERS = {"gamma": "1", "mean": "0", "scale": "1", "beta": "0"}

given = Neuron("given", "x : 1", source="numbers from outside")
normalised = Neuron("normalised", _SUM, parameters=_PARAMETERS, source=SOURCE)
sends = Synapse("sends", "w : 1", transmits="w*x_pre", target="z", source="a weighted sum")


def activity(bits: int) -> Neuron:
    """Normalised cells that send the sign of u (bits 1; sign(0) is 1), u in so many bits from -1 to 1, or relu(u) (bits 0). The gradient is that of clip(u, -1, 1), of relu itself.

    noise: from outside; of uniform numbers from -1 to 1, signs are 1 with the probability clip((u + 1)/2, 0, 1).
    """
    levels = 2 ** (bits - 1)
    value = {
        0: "relu(u)", 1: "straight_through(1 - 2*int(u + noise < 0), clip(u, -1, 1))",
    }.get(bits, f"straight_through(clip(floor(u*{levels} + 0.5)/{levels}, -1, {1 - 1 / levels!r}), clip(u, -1, 1))")  # fmt: skip
    name = {0: "relu_units", 1: "sign_units"}.get(bits, f"units_of_{bits}_bits")
    return Neuron(name, f"{_SUM}\nx = {value} : 1", parameters=_PARAMETERS, source=SOURCE)


def perceptron(name: str, sizes: Sequence[int], bits: int, largest: float, seed: int) -> Network:
    """Inputs, hidden layers and outputs of these sizes: current `pixels` -> given -> hidden_1 -> ... -> output, whose answer is u. bits: of the hidden activities, see `activity`. largest: of
    the uniform weights; 0 for Glorot's, sqrt(6/(fan-in + fan-out)).
    """
    names = ["given", *(f"hidden_{k}" for k in range(1, len(sizes) - 1)), "output"]
    populations = [Population("given", given, sizes[0])]
    projections = []
    for k, (before, size) in enumerate(pairwise(sizes), start=1):
        cells = normalised if names[k] == "output" else activity(bits)
        every = {p: quantity(np.full(size, float(v)), "") for p, v in _PARAMETERS.items()}
        populations.append(Population(names[k], cells, size, every))
        projections.append(
            Projection(f"feed_{k}", names[k - 1], names[k], sends, _uniform(before, size, largest), summed="end")
        )
    shown = Input("pixels", sizes[0], "current", "given.x")
    return Network(tuple(populations), tuple(projections), (shown,), dt="1 ms", seed=seed, name=name)


def _uniform(before: int, after: int, largest: float) -> Uniform:
    bound: Quantity = quantity(largest or math.sqrt(6 / (before + after)), "")
    return Uniform(quantity(-float(bound.value), ""), bound)
