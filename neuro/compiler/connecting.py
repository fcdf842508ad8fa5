"""Connectivity as data -> the synapses that it draws, ordered by source, then by target.

What has a fixed number is drawn in rows: of targets for each source (fixed out-degree, fixed total), of sources for each target (fixed
in-degree). A fixed total is first divided among the sources by one multinomial draw from a stream of its own. With multapses,
synapse s of a row-by-row count has number s of the projection's stream, so that the first rows are the same however many there are.
Without, a row takes its numbers in turn and draws again those that it already has, from one stream a round; the first rows are the same,
too. A fixed total without multapses is one row of all pairs. Of more than half of a row, what is left out is drawn. Time and memory follow the synapses: blocks of rows are sorted as they are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.compiler.distances import by_distance
from neuro.compiler.sharing import PART, mapped, spans
from neuro.compiler.wiring import IntArray, Listed, Rows, Wiring, blocks, offsets_of, stream_of
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

_CHUNK = PART  # synapses drawn at once


def wiring(network: Network, projection: Projection) -> Wiring:
    """A projection's synapses; the same for the same seed and name, or for that of the projection that it shares weights with."""
    pre, post = network.source_size(projection.pre), network.population(projection.post).size
    item, seed, name = projection.connectivity, network.seed, stream_of(projection)
    without_loops = projection.pre == projection.post and not getattr(item, "self_connections", True)
    match item:
        case AllToAll():
            return Wiring("dense", (pre, post), mask=~np.eye(pre, dtype=bool) if without_loops else None)
        case OneToOne():
            each = Rows(np.arange(pre + 1), np.arange(pre, dtype=np.int32))
            return Wiring("one_to_one", (pre,), Listed(lambda: each))
        case Distance():
            ends = network.population(projection.pre), network.population(projection.post)
            return Wiring.sparse(partial(by_distance, seed, projection, item, *ends))
    return Wiring.sparse(partial(_rows, item, seed, name, pre, post, without_loops))


def _rows(
    item: Pairs | Probability | FixedTotal | FixedOutDegree | FixedInDegree, seed: int, name: str, pre: int, post: int, without_loops: bool
) -> Rows:  # fmt: skip
    """A projection's synapses. It holds no network, so that whoever keeps it keeps none alive."""
    match item:
        case Pairs():
            return Rows.of(pre, item.pre, item.post)
        case Probability():
            parts = streams.pairs(seed, name, float(item.p), pre, post)
            return Rows.joined(pre, (_others(*part) for part in parts) if without_loops else parts)
        case FixedTotal():
            return fixed_total(seed, name, item, pre, post, without_loops)
        case FixedOutDegree():
            return fixed_degree(seed, name, item, pre, post, without_loops)
    return fixed_degree(seed, name, item, post, pre, without_loops).turned(pre)


def _others(rows: IntArray, columns: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of different cells."""
    kept = rows != columns
    return rows[kept], columns[kept]


def fixed_total(seed: int, name: str, item: FixedTotal, rows: int, columns: int, without_loops: bool) -> Rows:
    """n synapses, those of each row in ascending order."""
    width = columns - without_loops
    if item.multapses:
        counts = streams.generator(seed, f"{name}/rows").multinomial(item.n, np.full(rows, 1 / rows))
        return _with_replacement(seed, name, counts, width, without_loops)
    places = next(_without_replacement(seed, name, 1, item.n, rows * width), np.zeros(0, np.int64))
    offsets, found = np.searchsorted(places, np.arange(rows + 1) * width), np.empty(item.n, np.int32)
    for part in spans(item.n):
        row, column = np.divmod(places[part], width)
        found[part] = _skipping(row, column, without_loops)
    return Rows(offsets, found)


def fixed_degree(
    seed: int, name: str, item: FixedOutDegree | FixedInDegree, rows: int, columns: int, without_loops: bool
) -> Rows:
    """The k synapses of each row, in ascending order."""
    width, counts = columns - without_loops, np.full(rows, item.k)
    if item.multapses:
        return _with_replacement(seed, name, counts, width, without_loops)
    found, first = np.empty(rows * item.k, np.int32), 0
    for part in _without_replacement(seed, name, rows, item.k, width):
        row, column = np.divmod(part, width)
        last = first + len(part)
        found[first:last] = _skipping(row + first // item.k, column, without_loops)
        first = last
    return Rows(offsets_of(counts), found)


def _skipping(row: IntArray, column: IntArray, without_loops: bool) -> IntArray:
    """Columns of which each row lacks its own."""
    if without_loops:
        column += column >= row
    return column


def _with_replacement(seed: int, name: str, counts: IntArray, width: int, without_loops: bool) -> Rows:
    """Columns of so many synapses of each row, in ascending order."""
    offsets, draw = offsets_of(counts), streams.generator(seed, name)
    found = np.empty(offsets[-1], np.int32)

    def put(drawn: tuple[slice, slice, npt.NDArray[np.float64]]) -> None:
        rows, places, numbers = drawn
        count = rows.stop - rows.start
        row = np.repeat(np.arange(count, dtype=np.int32 if count * width < 2**31 else np.int64), counts[rows])
        numbers *= width
        part: npt.NDArray[Any] = numbers.astype(row.dtype)
        part += row * width
        part.sort()
        part -= row * width
        found[places] = _skipping(row + rows.start, part, without_loops)

    for _ in mapped(put, ((rows, s, draw.random(s.stop - s.start)) for rows, s in blocks(counts, _CHUNK))):
        pass
    return Rows(offsets, found)


def _put_places(found: IntArray, draw: np.random.Generator, missing: IntArray, width: int) -> None:
    """Of so many columns drawn for each row: row*width + column."""
    ends = np.cumsum(missing)
    for part in spans(len(found)):
        column = draw.random(part.stop - part.start)
        column *= width
        found[part] = column
        found[part] += np.searchsorted(ends, np.arange(part.start, part.stop), side="right") * width


def _put_distinct(places: IntArray, known: int) -> int:
    """Sorts places, of which so many are in order, and puts each once to their beginning. Returns how many these are."""
    places[known:].sort()
    places.sort(kind="stable")  # which merges what is sorted
    size = 0
    for part in spans(len(places)):
        own = places[part]
        found = own[np.concatenate([own[:1] != places[size - 1] if size else [True], own[1:] != own[:-1]])]
        places[size : size + len(found)] = found
        size += len(found)
    return size


def _without_replacement(seed: int, name: str, rows: int, k: int, width: int) -> Iterator[IntArray]:
    """Blocks of rows of k different columns each, in ascending order: row*width + column, the block's first row being 0."""
    rounds, wanted = list[np.random.Generator](), min(k, width - k)
    for block, _ in blocks(np.full(rows, k), _CHUNK) if k else ():
        count = block.stop - block.start
        part, known, turn = np.empty(count * wanted, np.int64), 0, 0
        while known < len(part):
            missing = wanted - np.diff(np.searchsorted(part[:known], np.arange(count + 1) * width))
            if turn == len(rounds):
                rounds.append(streams.generator(seed, name, turn))
            _put_places(part[known:], rounds[turn], missing, width)
            known = _put_distinct(part, known)
            turn += 1
        if wanted < k:
            others = np.ones(count * width, bool)
            others[part] = False
            part = np.flatnonzero(others)
        yield part
