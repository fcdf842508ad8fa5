"""The random numbers that a network's cells and synapses read in some steps, as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.compiler.resolve import resolve
from neuro.model import Network


def noise(
    network: Network, trial: int, batch: int, first: int, last: int, *, synapses: bool = True
) -> dict[str, npt.NDArray[Any]]:
    """ "population.xi" -> [batch, time, neuron], "projection.rand..." -> [batch, time, *layout], of the steps from first to last - 1.

    network: resolved. synapses: False leaves out those of projections.
    """
    found = {
        f"{p.name}.{name}": streams.noise(network, p.name, name, trial, batch, first, last)
        for p in network.populations
        for name in p.neuron.scope.noise
    }
    for p in network.projections if synapses else ():
        for name in p.synapse.scope.noise:
            shape = resolve(network).wires[p.name].shape
            drawn = streams.synaptic(network.seed, p.name, name, trial, batch, math.prod(shape), first, last)
            found[f"{p.name}.{name}"] = np.reshape(drawn, (batch, last - first, *shape))
    return found


def per_step(network: Network, *, synapses: bool = True) -> int:
    """How many of them a trial needs in each step. network: resolved."""
    cells = sum(p.size * len(p.neuron.scope.noise) for p in network.populations)
    drawing = [p for p in network.projections if p.synapse.scope.noise] if synapses else []
    return cells + sum(synapses_of(network, p.name) * len(p.synapse.scope.noise) for p in drawing)


def synapses_of(network: Network, projection: str) -> int:
    """Places of a projection's layout, each of which has numbers of its own, be there a synapse or not."""
    return math.prod(resolve(network).wires[projection].shape)
