"""Which cells a projection's synapses join: row by row of the sources, 4 bytes a synapse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from neuro.compiler.sharing import PART, spans
from neuro.model import Projection

IntArray = npt.NDArray[np.int64]
Targets = npt.NDArray[np.int32]
Steps = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Rows:
    """offsets: where each source's synapses begin, [pre + 1]. targets: of all, source after source.

    order: the place in the definition of each of them; None where it is the same.
    """

    offsets: IntArray
    targets: Targets
    order: Targets | None = None

    @staticmethod
    def of(pre: int, rows: IntArray, columns: IntArray) -> Rows:
        """Of pairs in any order, of so many sources."""
        order = None
        if (rows[1:] < rows[:-1]).any():
            order = np.argsort(rows, kind="stable").astype(np.int32)
            rows, columns = rows[order], columns[order]
        return Rows(np.searchsorted(rows, np.arange(pre + 1)), columns.astype(np.int32), order)

    @staticmethod
    def joined(pre: int, parts: Iterable[tuple[IntArray, IntArray]]) -> Rows:
        """Of sources and targets that come in parts, in ascending order, of so many sources."""
        counts, found, size = np.zeros(pre, np.int64), np.zeros(0, np.int32), 0
        for rows, columns in parts:
            if len(rows):
                counts[rows[0] : rows[-1] + 1] += np.bincount(rows - rows[0])
                last = size + len(rows)
                if last > len(found):
                    found.resize(last + last // 8, refcheck=False)
                found[size:last], size = columns, last
        found.resize(size, refcheck=False)
        return Rows(offsets_of(counts), found)

    def turned(self, pre: int) -> Rows:
        """Of so many sources, where these are rows of the sources of each target: a counting sort, block by block."""
        part = max(PART, pre)
        counts = sum(
            (np.bincount(self.targets[s], minlength=pre) for s in spans(len(self.targets), part)),
            np.zeros(pre, np.int64),
        )
        offsets, found, lengths = offsets_of(counts), np.empty_like(self.targets), np.diff(self.offsets)
        free = offsets[:-1].copy()
        for rows, places in blocks(lengths, part):
            post, size = np.repeat(np.arange(rows.start, rows.stop), lengths[rows]), places.stop - places.start
            keys = self.targets[places] * np.int64(size) + np.arange(size)
            keys.sort()
            pre_, own = np.divmod(keys, size)
            counts = np.bincount(pre_, minlength=pre)
            found[np.arange(size) + (free - offsets_of(counts)[:-1])[pre_]] = post[own]
            free += counts
        return Rows(offsets, found)

    def index(self) -> tuple[IntArray, IntArray]:
        """Sources and targets in the definition's order."""
        pre = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        post = self.targets.astype(np.int64)
        if self.order is None:
            return pre, post
        found = np.empty_like(pre), np.empty_like(post)
        found[0][self.order], found[1][self.order] = pre, post
        return found


class Listed:
    """Both ends of synapses that are listed: drawn when somebody asks, and kept until they are released.

    draw: gives them, the same every time.
    """

    def __init__(self, draw: Callable[[], Rows]) -> None:
        self._draw = draw

    @cached_property
    def rows(self) -> Rows:
        return self._draw()

    @cached_property
    def index(self) -> tuple[IntArray, IntArray]:
        """Sources and targets, one each a synapse, in the definition's order."""
        return self.rows.index()

    def taken(self) -> Rows:
        """The rows, for a caller who may change their arrays: whoever asks from now on has them drawn again."""
        rows = self.rows
        self.release()
        return rows

    def release(self) -> None:
        """Whoever asks from now on has them drawn again."""
        self.__dict__.pop("rows", None)
        self.__dict__.pop("index", None)


@dataclass(frozen=True)
class Wiring:
    """A projection's synapses. listed: None where dense: all pairs, mask False where there is none."""

    kind: Literal["dense", "one_to_one", "sparse"]
    shape: tuple[int, ...]
    listed: Listed | None = None
    mask: npt.NDArray[np.bool_] | None = None

    @staticmethod
    def sparse(draw: Callable[[], Rows]) -> Wiring:
        """Synapses that are listed: see Listed."""
        listed = Listed(draw)
        return Wiring("sparse", listed.rows.targets.shape, listed)

    @property
    def indices(self) -> tuple[IntArray, IntArray]:
        """Sources and targets, one each an entry of the layout."""
        return self.pre_index, self.post_index

    @property
    def pre_index(self) -> IntArray:
        return np.repeat(np.arange(self.shape[0]), self.shape[1]) if self.listed is None else self.listed.index[0]

    @property
    def post_index(self) -> IntArray:
        return np.tile(np.arange(self.shape[1]), self.shape[0]) if self.listed is None else self.listed.index[1]


def stream_of(projection: Projection) -> str:
    """The random stream that a projection's synapses are drawn from."""
    return f"connectivity/{projection.shares or projection.name}"


def offsets_of(counts: IntArray) -> IntArray:
    """Where each row begins, and where the last one ends."""
    found = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=found[1:])
    return found


def blocks(counts: IntArray, size: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of rows that have about so many entries together, or one row, and where those entries stand."""
    ends, first = offsets_of(counts), 0
    while first < len(counts):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + size, side="right")) - 1)
        yield slice(first, last), slice(int(ends[first]), int(ends[last]))
        first = last
