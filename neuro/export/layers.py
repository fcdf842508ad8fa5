"""A network of leaky integrators as numbers, layer by layer: what the writers of every target start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export import ExportError
from neuro.export.leaky import LeakyCell, LeakyNetwork, LeakyNumbers, Link, NotLeakyError, leaky_network
from neuro.export.profile import Profile
from neuro.model import Network
from neuro.parameters import values
from neuro.protocols import Parameters

Array = npt.NDArray[Any]

START = 1e-10  # of the threshold: rounding of a resting value


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
        """The layers from the one input on. Raises ExportError where they are not a chain."""
        order = _order(self.model)
        return tuple(self._layer(before, name) for before, name in pairwise(order))

    def _layer(self, before: str, name: str) -> Layer:
        feed = self.matrix(before, name)
        if feed is None:
            raise ExportError(f"population '{name}'", "layers", "nothing feeds it")
        return Layer(self.model.cells[name], self.numbers[name], feed, self.matrix(name, name))


def read(network: Network, parameters: Parameters | None, profile: Profile) -> Graph:
    """A network with these parameters (its own where left out). Raises ExportError naming what doesn't fit.

    Delays and ">=" are let through where the profile has them; the writer looks at the rest of it.
    """
    try:
        model = leaky_network(network, delays=profile.delays[1] > 0, inclusive=">=" in profile.thresholds)
        given = complete(network, parameters)
        return Graph(model, model.numbers(given), given)
    except NotLeakyError as error:
        raise ExportError(error.where, error.field, error.why) from None


def complete(network: Network, given: Parameters | None) -> dict[str, Array]:
    """All parameters of a network, SI. Raises ExportError on names, shapes and numbers that don't fit."""
    found = values(network)
    for name, value in (given or {}).items():
        if name not in found:
            raise ExportError(f"parameter '{name}'", "name", "the network has no such parameter")
        array = np.asarray(value, dtype=np.float64)
        if array.shape != found[name].shape:
            raise ExportError(f"parameter '{name}'", "shape", f"{array.shape}; the network's is {found[name].shape}")
        if not np.isfinite(array).all():
            raise ExportError(f"parameter '{name}'", "value", "not finite everywhere")
        found[name] = array
    return found


def starts_at_rest(cell: LeakyCell, numbers: LeakyNumbers) -> bool:
    """Every state begins where a chip's does: at the resting value, without currents."""
    scale = np.where(np.isfinite(numbers.threshold), numbers.threshold, 1.0)
    return not ((np.abs(numbers.u) > START * scale).any() or numbers.i.any())


def _order(model: LeakyNetwork) -> list[str]:
    """Input and populations in the order of the chain."""
    for population, names in model.currents.items():
        raise ExportError(f"input '{names[0]}'", "kind", f"a current into '{population}'; the format's input is spikes")
    sources = list(model.step.sources)
    if len(sources) != 1:
        raise ExportError("the network", "inputs", f"{len(sources)} of them; the format has one")
    forward = [link for link in model.links if link.synapses.pre != link.synapses.post]
    order = _topological(sources, list(model.cells), forward)
    place = {name: i for i, name in enumerate(order)}
    for link in forward:
        pre, post = link.synapses.pre, link.synapses.post
        if place[post] != place[pre] + 1:
            chain = " -> ".join(order)
            why = f"from '{pre}' to '{post}', past the chain {chain}; a client would deliver it at another step"
            raise ExportError(f"projection '{link.name}'", "layers", why)
    fed = {link.synapses.post for link in forward}
    for name in model.cells:
        if name not in fed:
            raise ExportError(f"population '{name}'", "layers", "nothing feeds it")
    return order


def _topological(sources: list[str], waiting: list[str], forward: Sequence[Link]) -> list[str]:
    order = sources
    while waiting:
        ready = [n for n in waiting if all(link.synapses.pre in order for link in forward if link.synapses.post == n)]
        if not ready:
            link = next(link for link in forward if link.synapses.pre in waiting and link.synapses.post in waiting)
            why = "a loop through several layers; only a layer onto itself can recur"
            raise ExportError(f"projection '{link.name}'", "layers", why)
        order, waiting = [*order, ready[0]], [n for n in waiting if n != ready[0]]
    return order
