"""Sizes that can't fit: what a network's arrays need, against what this machine has, before any of them is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from neuro.checks.common import plain
from neuro.checks.connectivity import synapses
from neuro.checks.parts import Network, Population, Projection
from neuro.language.equations import Problem
from neuro.language.units import Quantity

_NUMBER = 8  # bytes of a state, a weight, an index


@cache
def machine_memory() -> float:
    """Bytes of this machine's memory; inf where the system doesn't say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def in_words(size: float) -> str:
    """A number of bytes as a person reads it."""
    names = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(int(np.log2(max(size, 1)) // 10), len(names) - 1)
    return f"{size / 1024**power:.4g} {names[power]}"


def memory(network: Network) -> Iterator[Problem]:
    """The arrays of a network that won't fit, by their owner. Called before a network is drawn, lowered or compiled."""
    sizes = {f"population '{p.name}'": (_of_cells(p), f"{p.size} cells") for p in network.populations}
    for projection in network.projections:
        count, what = _synapses(network, projection)
        sizes[f"projection '{projection.name}'"] = count * _a_synapse(projection), what
    total, free = sum(size for size, _ in sizes.values()), machine_memory()
    if total > free:
        where = max(sizes, key=lambda name: sizes[name][0])
        size, what = sizes[where]
        message = f"{what} need {in_words(size)}, and this machine has {in_words(free)}"
        yield plain(where, message, "make it smaller, or its connections sparser (Probability, Pairs)", what)


def too_many(projection: Projection, found: float, share: float) -> Iterator[Problem]:
    """Synapses that won't fit, seen while they are drawn. found: so far, of this share of all cells before."""
    size, free = found * _a_synapse(projection), machine_memory()
    if size > free / 4 and size / share > free:
        message = (
            f"about {found / share:.3g} synapses need {in_words(size / share)}, and this machine has {in_words(free)}"
        )
        yield plain(f"projection '{projection.name}'", message, "let the probability fall faster, or give a cutoff=")


def _of_cells(population: Population) -> float:
    scope = population.neuron.scope
    return float(population.size) * _NUMBER * (len(scope.states) + len(scope.inputs) + _varied(population.values()) + 1)


def _varied(values: Any) -> int:
    """Number of parameters that have one value per cell or synapse."""
    return sum(not isinstance(v, Quantity) or bool(v.shape) for v in values.values())


def _synapses(network: Network, projection: Projection) -> tuple[float, str]:
    """How many there are, at least as many as are drawn in the mean, and how that is said."""
    pre, post = network.source_size(projection.pre), network.population(projection.post).size
    connectivity: Any = projection.connectivity
    match type(connectivity).__name__:
        case "AllToAll":
            return float(pre) * post, f"{pre} x {post} synapses"
        case "Probability":
            return float(pre) * post * connectivity.p, f"{pre} x {post} synapses at p = {connectivity.p:g}"
        case "OneToOne":
            return float(pre), f"{pre} synapses"
        case "Pairs":
            return float(len(connectivity.pre)), f"{len(connectivity.pre)} synapses"
        case "Distance":
            return 0.0, "synapses"  # nobody knows before they are drawn: see too_many
    count = synapses(connectivity, pre, post)
    return float(count), f"{count} synapses"


def _a_synapse(projection: Projection) -> float:
    scope = projection.synapse.scope
    numbers = len({"w"} & set(scope.dimensions)) + len(set(scope.states) - {"w"})
    numbers += _varied({**projection.synapse.parameters, **projection.parameters})
    indices = 0 if type(projection.connectivity).__name__ == "AllToAll" else 2
    return float(_NUMBER * (numbers + indices + _varied({"delay": projection.delay})))
