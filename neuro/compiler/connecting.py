"""Connectivity as data -> the synapses that it draws, ordered by source, then by target.

What has a fixed number is drawn in rows: of targets for each source (fixed out-degree, fixed total), of sources for each target (fixed
in-degree). A fixed total is first divided among the sources by one multinomial draw from a stream of its own. With multapses,
synapse s of a row-by-row count has number s of the projection's stream, so that the first rows are the same however many there are.
Without, a row takes its numbers in turn and draws again those that it already has, from one stream a round; the first rows are the same,
too. A fixed total without multapses is one row of all pairs. Of more than half of a row, what is left out is drawn. Time and memory follow the synapses: blocks of rows are sorted as they are drawn.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.compiler.distances import by_distance
from neuro.compiler.wiring import IntArray, Listed, Wiring, blocks
from neuro.model import (
    AllToAll,
    Distance,
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    Network,
    OneToOne,
    Pairs,
    Probability,
    Projection,
)

_CHUNK = 2**20  # synapses drawn at once


def wiring(network: Network, projection: Projection) -> Wiring:
    """A projection's synapses; the same for the same seed and name."""
    pre, post = network.source_size(projection.pre), network.population(projection.post).size
    item, seed, name = projection.connectivity, network.seed, f"connectivity/{projection.name}"
    without_loops = projection.pre == projection.post and not getattr(item, "self_connections", True)
    match item:
        case AllToAll():
            return Wiring("dense", (pre, post), mask=~np.eye(pre, dtype=bool) if without_loops else None)
        case OneToOne():
            index = np.arange(pre)
            return Wiring("one_to_one", (pre,), Listed(pre, lambda: (index, index)))
        case Distance():
            ends = network.population(projection.pre), network.population(projection.post)
            return Wiring.sparse(pre, partial(by_distance, seed, projection, item, *ends))
    return Wiring.sparse(pre, partial(_ends, item, seed, name, pre, post, without_loops))


def _ends(
    item: Pairs | Probability | FixedTotal | FixedOutDegree | FixedInDegree, seed: int, name: str, pre: int, post: int, without_loops: bool
) -> tuple[IntArray, IntArray]:  # fmt: skip
    """Sources and targets of a projection's synapses. It holds no network, so that whoever keeps it keeps none alive."""
    match item:
        case Pairs():
            return item.pre, item.post
        case Probability():
            rows, columns = streams.pairs(seed, name, float(item.p), pre, post)
            others = rows != columns if without_loops else slice(None)
            return rows[others], columns[others]
        case FixedTotal():
            return fixed_total(seed, name, item, pre, post, without_loops)
        case FixedOutDegree():
            return fixed_degree(seed, name, item, pre, post, without_loops)
    columns, rows = fixed_degree(seed, name, item, post, pre, without_loops)
    return by_source(rows, columns, post)


def fixed_total(
    seed: int, name: str, item: FixedTotal, rows: int, columns: int, without_loops: bool
) -> tuple[IntArray, IntArray]:
    """Row and column of n synapses, in ascending order."""
    width = columns - without_loops
    if item.multapses:
        counts = streams.generator(seed, f"{name}/rows").multinomial(item.n, np.full(rows, 1 / rows))
        column = _with_replacement(seed, name, counts, width)
        row = np.repeat(np.arange(rows), counts)
    else:
        row = _without_replacement(seed, name, 1, item.n, rows * width)
        row, column = np.divmod(row, max(width, 1), dtype=np.int64)
    return row, _skipping(row, column, without_loops)


def fixed_degree(
    seed: int, name: str, item: FixedOutDegree | FixedInDegree, rows: int, columns: int, without_loops: bool
) -> tuple[IntArray, IntArray]:
    """Row and column of the k synapses of each row, in ascending order."""
    width = columns - without_loops
    if item.multapses:
        column = _with_replacement(seed, name, np.full(rows, item.k), width)
    else:
        column = _without_replacement(seed, name, rows, item.k, width)
    row = np.repeat(np.arange(rows), item.k)
    return row, _skipping(row, column, without_loops)


def by_source(rows: IntArray, columns: IntArray, width: int) -> tuple[IntArray, IntArray]:
    """Pairs in ascending order, given in any, in the same arrays."""
    rows *= width
    rows += columns
    rows.sort()
    np.remainder(rows, width, out=columns)
    rows //= width
    return rows, columns


def _skipping(row: IntArray, column: IntArray, without_loops: bool) -> IntArray:
    """Columns of which each row lacks its own."""
    if without_loops:
        column += column >= row
    return column


def _places(draw: np.random.Generator, row: IntArray, width: int) -> IntArray:
    """A column drawn for each of these rows, as row*width + column."""
    found: npt.NDArray[np.float64] = draw.random(len(row))
    found *= width
    places = found.astype(np.int64)
    places += row * width
    return places


def _with_replacement(seed: int, name: str, counts: IntArray, width: int) -> IntArray:
    """Columns of so many synapses of each row, in ascending order."""
    found, draw = np.empty(int(counts.sum()), np.int64), streams.generator(seed, name)
    for rows, places in blocks(counts, _CHUNK):
        row = np.repeat(np.arange(rows.stop - rows.start), counts[rows])
        part = _places(draw, row, width)
        part.sort()
        part -= row * width
        found[places] = part
    return found


def _united(known: IntArray, more: IntArray) -> IntArray:
    """Sorted places that are in either, each once."""
    more.sort()
    found = np.concatenate([known, more])
    found.sort(kind="stable")  # which merges what is sorted
    first: IntArray = found[np.concatenate([[True], found[1:] != found[:-1]])]
    return first


def _without_replacement(seed: int, name: str, rows: int, k: int, width: int) -> IntArray:
    """k different columns of each row, in ascending order."""
    found, rounds = np.empty(rows * k, np.int64), list[np.random.Generator]()
    wanted = min(k, width - k)
    for block, places in blocks(np.full(rows, k), _CHUNK):
        count = block.stop - block.start
        part = np.zeros(0, np.int64)
        missing, turn = np.repeat(np.arange(count), wanted), 0
        while len(missing):
            if turn == len(rounds):
                rounds.append(streams.generator(seed, name, turn))
            part = _united(part, _places(rounds[turn], missing, width))
            missing = np.repeat(np.arange(count), wanted - np.bincount(part // width, minlength=count))
            turn += 1
        if wanted < k:
            others = np.ones(count * width, bool)
            others[part] = False
            part = np.flatnonzero(others)
        found[places] = part - np.repeat(np.arange(count) * width, k)
    return found
