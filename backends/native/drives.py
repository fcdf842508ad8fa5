"""Drives in a kernel: counts that its own loop draws, so that no array of cells and steps exists."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed
from backends.native.layout import Arrays, Layout
from neuro.compiler import streams
from neuro.compiler.drives import Law, count_of, laws, stream_of
from neuro.compiler.step import Update
from neuro.language.mangling import mangled
from neuro.model import Network

_TABLES = 16  # so many have fine guides
_FINE, _COARSE = 10, 4  # bits of a guide
_ARRAYS = {"sums": "long", "guide": "int", "table": "int", "shift": "long"}


def counted(
    layout: Layout, op: Update, drives: Mapping[str, str], size: int, cells: tuple[str, str] | None = None
) -> list[str]:
    """C that puts trial b's counts of this step, which an update reads, into scratch. drives: name of a count -> its drive. cells: the first, and the one after the last; None for all."""
    first, last = cells or ("0", str(size))
    read = sorted({s.name for a in op.assigns for s in a.expr.free_symbols} & set(drives))
    found = []
    for drive in (drives[name] for name in read):
        out, draws = layout.room(count_of(drive), size), layout.given(mangled("draws", drive), "long")
        law = ", ".join(layout.given(mangled(role, drive), kind) for role, kind in _ARRAYS.items())
        given = layout.given(mangled("counts", drive))
        place = "first + b, u->run->start + k, (first + b)*steps + k"
        found.append(f"counts({out}, {size}, {first}, {last}, {draws}, {law}, {given}, {place});")
    return found


def fixed(network: Network) -> Arrays:
    """The tables of all drives, by C name."""
    found: Arrays = {}
    for name, law in laws(network).items():
        sums = [table for _, table in law.tables]
        begins, bits = np.cumsum([0, *map(len, sums)]), _bits(law)
        whole = [np.ceil(s * 2**53).astype(np.int64) for s in sums]
        guides = [_guide(w, begin, bits) for w, begin in zip(whole, begins, strict=False)]
        found[mangled("sums", name)] = np.concatenate(whole)
        found[mangled("guide", name)] = np.concatenate(guides).astype(np.intc)
        found[mangled("shift", name)] = np.array([least for least, _ in law.tables]) - begins[:-1]
        found[mangled("table", name)] = np.zeros(1, np.intc) if law.cell is None else law.cell.astype(np.intc)
    return found


def _guide(sums: npt.NDArray[np.int64], begin: int, bits: int) -> npt.NDArray[np.int64]:
    """By a word's first bits: its place among the sums, n, where they decide about it; else ~n, the first place that it may have."""
    edges = np.arange(2**bits + 1) << (53 - bits)
    first = np.searchsorted(sums, edges[:-1], side="right")
    return np.where(sums[first] >= edges[1:], begin + first, ~(begin + first))


def of_run(network: Network, feed: Feed) -> Arrays:
    """Which numbers a run draws, and the counts that it is given, by C name."""
    found: Arrays = {}
    for name, law in laws(network).items():
        words = streams.key(network.seed, stream_of(name)).view(np.int64)
        given = name in feed.arrays
        numbers = [*words.tolist(), feed.trial, _bits(law), len(law.means), given]
        found[mangled("draws", name)] = np.array(numbers, np.int64)
        if given:
            found[mangled("counts", name)] = feed.arrays[name]
    return found


def _bits(law: Law) -> int:
    return _FINE if len(law.means) <= _TABLES else _COARSE
