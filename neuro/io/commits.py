"""How far a recording has come that grows: one row per part, written after everything that belongs to the part.

/parts is int64 [part, ...]: steps recorded by then, checksum of the state after them, spikes of each population in the order
of their names, checksum of the row. The state of even rows is in /state, that of odd ones in /spare: one of them is always
whole. Datasets may hold more than the last row says: a part that was never finished.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.io.hdf5 import Contents, Hdf5Error

NAME = "parts"
PLACES = ("state", "spare")
_ROWS = 256  # a chunk
_DOUBT = 2  # rows at the end that a reader may see before they are whole


@dataclass(frozen=True)
class Commit:
    """steps: recorded. check: of the state. counts: population -> spikes. rows: how many there are, with this one."""

    steps: int
    check: int
    counts: Mapping[str, int]
    rows: int

    @property
    def place(self) -> str:
        """The group of the state."""
        return PLACES[(self.rows - 1) % 2]


def create(root: h5py.Group, populations: Sequence[str]) -> None:
    """An empty list of parts."""
    width = 3 + len(populations)
    data = root.create_dataset(NAME, (0, width), "<i8", chunks=(_ROWS, width), maxshape=(None, width))
    data.attrs["columns"] = "steps, checksum of the state, spikes of each population, checksum of the row"


def append(root: h5py.Group, commit: Commit) -> None:
    """Add a row; everything that it speaks of is in the file."""
    data = root[NAME]
    row = np.array([commit.steps, commit.check, *(commit.counts[n] for n in sorted(commit.counts)), 0], "<i8")
    row[-1] = _checksum(row)
    data.resize(commit.rows, axis=0)
    data[-1] = row


def last(contents: Contents, populations: Sequence[str]) -> Commit | None:
    """The last whole row, None where a recording wasn't appended. Raises Hdf5Error."""
    data = contents.find(contents.file, NAME, h5py.Dataset)
    if data is None:
        return None
    width = 3 + len(populations)
    if data.ndim != 2 or data.shape[1] != width or data.dtype != np.dtype("<i8"):
        raise Hdf5Error(NAME, f"{data.dtype} {data.shape} where rows of {width} whole numbers belong")
    for rows in range(len(data), max(len(data) - _DOUBT, 0), -1):
        row = contents.span(contents.file, NAME, rows - 1, rows)[0]
        if row[-1] == _checksum(row):
            steps, check, *counts = (int(n) for n in row[:-1])
            if steps < 0 or min(counts, default=0) < 0:
                raise Hdf5Error(NAME, f"{row.tolist()} counts no steps and spikes")
            return Commit(steps, check, dict(zip(sorted(populations), counts, strict=True)), rows)
    raise Hdf5Error(NAME, "no part is whole")


def _checksum(row: npt.NDArray[Any]) -> int:
    return zlib.crc32(row[:-1].tobytes())
