"""Cells removed, added, or put in another order, in any network: the network, and everything that has its cells.

    cut = removed(network, "hidden", [3, 7])
    cut.after, cut.parameters(trained), cut.arrays(memory), cut.state(recording.state)

The new network is a definition like any other. Random numbers of the parts that change (distributions, drawn connectivity) are
drawn first and written down, so that cells and synapses keep theirs. What depends on all cells of a population at once is refused by
name: noise and drives, whose numbers are drawn by a cell's place (noise="anew" takes other numbers), and bounds without a number for a new synapse.

A cell is read as it was where nothing reads the cells that go. A new cell is silent until somebody says otherwise: its weights are 0, its
synapses in lists of pairs none, its parameters and initial values its neuron's, nothing of its past has happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from neuro.model import IntArray, Network
from neuro.surgery.arrays import indices, problem
from neuro.surgery.moving import Surgery
from neuro.surgery.operation import Operation


def removed(network: Network, population: str, cells: Iterable[int], **options: Any) -> Surgery:
    """Without these cells of a population, and without their synapses. options: of `rearranged`. Raises ModelError."""
    size = network.population(population).size
    gone = indices([*cells], size, f"population '{population}', cells")
    return rearranged(network, population, np.setdiff1d(np.arange(size), gone), **options)


def added(network: Network, population: str, number: int = 1, **options: Any) -> Surgery:
    """With so many more cells of a population, behind the others. options: of `rearranged`. Raises ModelError."""
    size = network.population(population).size
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 0:
        raise problem(
            f"population '{population}'", f"{number!r} cells can't be added", "give a whole number, at least 0"
        )
    return rearranged(network, population, [*range(size), *[-1] * number], **options)


def rearranged(
    network: Network,
    population: str,
    cells: Sequence[int] | IntArray,
    *,
    values: Mapping[str, Any] | None = None,
    pairs: Mapping[str, tuple[Any, Any]] | None = None,
    delays: Mapping[str, Any] | None = None,
    noise: Literal["refused", "anew"] = "refused",
) -> Surgery:
    """A network whose population has these cells: indices of those before, in any order, -1 for a new one.

    values: of new cells and synapses, by "population.parameter", "population.state" (initial), "projection.w", "drive.rate" and so on: a number or an
    array in the shape of the network after, of which new entries alone are read; SI numbers or quantities. pairs: projection ->
    pre and post of all its synapses after, where it is a list of them; those that were there are found by their ends, in order. delays: by projection, like
    values. noise: "anew" where cells with noise or a drive may get other random numbers. Raises ModelError naming what can't be kept.
    """
    item = network.population(population)
    where = f"population '{population}', cells"
    index = indices(cells, item.size, where, -1)
    if not index.size:
        raise problem(where, "no cell is left", "keep one, or leave the population out of the network")
    if len(np.unique(index[index >= 0])) != np.sum(index >= 0):
        raise problem(where, "a cell is named twice", "name each once; a copy is a new cell (-1) with values=...")
    if np.array_equal(index, np.arange(item.size)) and not values and not pairs and not delays:
        return Surgery(network, network, population, index)
    return Operation(network, item, index, values or {}, pairs or {}, delays or {}, noise).done()
