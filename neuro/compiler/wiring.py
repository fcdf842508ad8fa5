"""Which cells a projection's synapses join."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Wiring:
    """A projection's synapses. indices: pre and post; None where dense: all pairs, mask False where there is none."""

    kind: Literal["dense", "one_to_one", "sparse"]
    shape: tuple[int, ...]
    indices: tuple[IntArray, IntArray] | None
    mask: npt.NDArray[np.bool_] | None = None

    @property
    def pre_index(self) -> IntArray:
        return np.repeat(np.arange(self.shape[0]), self.shape[1]) if self.indices is None else self.indices[0]

    @property
    def post_index(self) -> IntArray:
        return np.tile(np.arange(self.shape[1]), self.shape[0]) if self.indices is None else self.indices[1]


def blocks(counts: IntArray, size: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of rows that have about so many entries together, or one row, and where those entries stand."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    first = 0
    while first < len(counts):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + size, side="right")) - 1)
        yield slice(first, last), slice(int(ends[first]), int(ends[last]))
        first = last
