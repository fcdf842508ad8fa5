"""Which cells a projection's synapses join: row by row of the sources, 4 bytes a synapse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

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

    pre: number of sources. draw: gives sources and targets in the definition's order, the same every time.
    """

    def __init__(self, pre: int, draw: Callable[[], tuple[IntArray, IntArray]]) -> None:
        self.pre, self._draw = pre, draw

    @cached_property
    def rows(self) -> Rows:
        return Rows.of(self.pre, *self._draw())

    @cached_property
    def index(self) -> tuple[IntArray, IntArray]:
        """Sources and targets, one each a synapse."""
        return self.rows.index()

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
    def sparse(pre: int, draw: Callable[[], tuple[IntArray, IntArray]]) -> Wiring:
        """Synapses that are listed: see Listed."""
        listed = Listed(pre, draw)
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


def blocks(counts: IntArray, size: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of rows that have about so many entries together, or one row, and where those entries stand."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    first = 0
    while first < len(counts):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + size, side="right")) - 1)
        yield slice(first, last), slice(int(ends[first]), int(ends[last]))
        first = last
