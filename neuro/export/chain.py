"""Networks as chains of layers: their order, and what leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.parameters import for_all, parameters, sharing
from neuro.export import ExportError
from neuro.export.leaky import LeakyCell, LeakyNetwork, LeakyNumbers, Link
from neuro.model import Network
from neuro.protocols import Parameters

Array = npt.NDArray[Any]

START = 1e-10  # of the threshold: rounding of a resting value


def complete(network: Network, given: Parameters | None) -> dict[str, Array]:
    """All parameters of a network, SI. Raises ExportError on names, shapes and numbers that don't fit."""
    declared = parameters(network)
    found = {name: p.value for name, p in declared.items()}
    for name, value in for_all(declared, given or {}).items():
        if name not in found:
            raise ExportError(f"parameter '{name}'", "name", "the network has no such parameter")
        array = np.asarray(value, dtype=np.float64)
        if array.shape != found[name].shape:
            raise ExportError(f"parameter '{name}'", "shape", f"{array.shape}; the network's is {found[name].shape}")
        if not np.isfinite(array).all():
            raise ExportError(f"parameter '{name}'", "value", "not finite everywhere")
        found[name] = array
    for name, group in sharing(declared).items():
        if not all(np.array_equal(found[name], found[other]) for other in group):
            raise ExportError(f"parameter '{name}'", "value", f"{', '.join(group)} are the same weights, and differ")
    return found


def starts_at_rest(cell: LeakyCell, numbers: LeakyNumbers) -> bool:
    """Every state begins where a chip's does: at the resting value, without currents."""
    scale = np.where(np.isfinite(numbers.threshold), numbers.threshold, 1.0)
    return not ((np.abs(numbers.u) > START * scale).any() or numbers.i.any())


def chain_order(model: LeakyNetwork) -> list[str]:
    """Input and populations in the order of the chain."""
    return _topological(list(model.step.sources), list(model.names), forward_links(model))[0]


def forward_links(model: LeakyNetwork) -> list[Link]:
    """Projections from one population (or the input) to another."""
    return [link for link in model.links if link.synapses.pre != link.synapses.post]


def stray_links(model: LeakyNetwork) -> list[tuple[Link, str]]:
    """Projections that leave the chain of layers, and why."""
    forward = forward_links(model)
    order, rest = _topological(list(model.step.sources), list(model.names), forward)
    if rest:
        why = "a loop through several layers; only a layer onto itself can recur"
        return [(link, why) for link in forward if link.synapses.pre in rest and link.synapses.post in rest]
    place = {name: i for i, name in enumerate(order)}
    chain = " -> ".join(order)
    found = []
    for link in forward:
        pre, post = link.synapses.pre, link.synapses.post
        if place[post] != place[pre] + 1:
            why = f"from '{pre}' to '{post}', past the chain {chain}; a client would deliver it at another step"
            found.append((link, why))
    return found


def _topological(sources: list[str], waiting: list[str], forward: Sequence[Link]) -> tuple[list[str], list[str]]:
    """Names in the order in which spikes reach them, and those in loops."""
    order = sources
    while waiting:
        ready = [n for n in waiting if all(link.synapses.pre in order for link in forward if link.synapses.post == n)]
        if not ready:
            return order, waiting
        order, waiting = [*order, ready[0]], [n for n in waiting if n != ready[0]]
    return order, []
