"""A network of leaky integrators as numbers, layer by layer: what the writers of every target start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy.typing as npt

from neuro.export import ExportError
from neuro.export.chain import chain_order
from neuro.export.leaky import LeakyCell, LeakyNetwork, LeakyNumbers
from neuro.export.lint import misfits
from neuro.export.profile import Profile
from neuro.model import Network
from neuro.protocols import Parameters

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """One population of a chain: i = alpha i + s @ feed + z @ loop, u = beta u + i, a spike where u > numbers.threshold.

    feed: [before, this]. loop: [this, this], None without recurrence. Both, and the threshold, in the driver's unit, SI.
    """

    cell: LeakyCell
    numbers: LeakyNumbers
    feed: Array
    loop: Array | None

    @property
    def name(self) -> str:
        return self.cell.name


@dataclass(frozen=True)
class Graph:
    """Any network of leaky integrators. parameters: all of the network's, SI."""

    model: LeakyNetwork
    numbers: Mapping[str, LeakyNumbers]
    parameters: Parameters

    def matrix(self, pre: str, post: str) -> Array | None:
        """Sum of all weights [pre, post] between two populations (or from an input), SI; None without a projection."""
        links = [x for x in self.model.links if (x.synapses.pre, x.synapses.post) == (pre, post)]
        if not links:
            return None
        found = self.model.matrix(links[0], self.parameters)
        for link in links[1:]:
            found = found + self.model.matrix(link, self.parameters)
        return found

    def chain(self) -> tuple[Layer, ...]:
        """The layers from the one input on, where the profile asks for a chain."""
        order = chain_order(self.model)
        return tuple(self._layer(before, name) for before, name in pairwise(order))

    def _layer(self, before: str, name: str) -> Layer:
        feed = self.matrix(before, name)
        if feed is None:
            raise ExportError(f"population '{name}'", "layers", f"'{before}' doesn't feed it")
        return Layer(self.model.cells[name], self.numbers[name], feed, self.matrix(name, name))


def latency(layers: Sequence[Layer], profile: Profile) -> dict[str, int]:
    """Population -> steps by which its spikes in the network are later than on the target, by the profile's latencies."""
    first, next_ = 1 - profile.input_latency, 1 - profile.layer_latency
    return {layer.name: first + depth * next_ for depth, layer in enumerate(layers)}


def read(network: Network, parameters: Parameters | None, profile: Profile) -> Graph:
    """A network with these parameters (its own where left out). Raises ExportError for the first misfit.

    What lint warns of is let through.
    """
    model, given, problems = misfits(network, profile, parameters)
    for problem in problems:
        if not problem.warning:
            raise ExportError(problem.where, problem.field, f"{problem.why}; {problem.fix}")
    return Graph(model, model.numbers(given), given)
