"""How a kernel has the synapses of a sparse projection: by source, part of the targets, and delay.

What a spike reaches in one step, in one part of the cells, then lies together, so that no synapse needs a delay of its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.structure import is_static
from backends.native.build import load
from backends.native.calls import address
from backends.native.layout import C_TYPES, Arrays
from neuro.compiler.sharing import PART, lent, mapped
from neuro.compiler.step import Couple, Step, Synapses, Update
from neuro.compiler.wiring import Rows, Targets, blocks
from neuro.language.mangling import mangled

Array = npt.NDArray[Any]
MANY = 2**16  # synapses of a projection from which what they were made of isn't kept
THICK = 4  # synapses of a source and a delay, on average, from which they are looked up when they arrive
EVEN = 64  # cells: whole vectors. A part begins with one, so that no cell's numbers depend on how many parts there are
_POINTER, _LONG = ctypes.c_void_p, ctypes.c_long


@dataclass(frozen=True)
class Order:
    """place: of each of a kernel's synapses in the definition, None where it is the same. parts: of them, which have the same synapses in both."""

    place: Targets | None
    parts: tuple[slice, ...]

    @staticmethod
    def of(rows: Rows, place: Targets | None) -> Order:
        whole = (slice(0, int(rows.offsets[-1])),)
        return Order(place, tuple(p for _, p in blocks(np.diff(rows.offsets), PART)) if rows.order is None else whole)


@dataclass(frozen=True)
class Arrangement:
    """Of a projection's synapses. parts: of the target cells. grouped: by delay, where they have delays of their own.

    cut: C type of what tells where a row's groups begin. divided: whether another number of threads may have other parts.
    """

    synapses: Synapses
    parts: int
    grouped: bool
    cut: str
    divided: bool

    @staticmethod
    def of(synapses: Synapses, parts: int, divided: bool, changing: bool) -> Arrangement:
        """changing: whether what arrives must be computed then, as where a synapse has states."""
        assert synapses.listed is not None
        longest = int(np.diff(synapses.listed.rows.offsets).max(initial=0))
        own = not isinstance(synapses.delay, int)
        thick = synapses.shape[0] >= THICK * synapses.ends[0] * len(synapses.delays)
        cut = "ushort" if longest < 2**16 else "int"
        return Arrangement(synapses, parts, own and (changing or thick), cut, divided)

    @property
    def large(self) -> bool:
        return self.synapses.shape[0] > MANY

    @property
    def delays(self) -> int:
        """Groups of a source's synapses within a part."""
        return len(self.synapses.delays) if self.grouped else 1

    @property
    def width(self) -> int:
        """Groups of a source's synapses; 1 where a row is one group, and there are no cuts."""
        return self.parts * self.delays

    def borders(self) -> Array:
        """Where each part of the cells ends."""
        size = self.synapses.ends[1]
        inner = [size * (p + 1) // self.parts // EVEN * EVEN for p in range(self.parts - 1)]
        return np.array([*inner, size], np.int32)

    def groups(self) -> Array:
        """The group of each delay, -1 where none has it."""
        found = np.full(self.synapses.max_delay + 1, -1, np.int32)
        found[list(self.synapses.delays)] = np.arange(len(self.synapses.delays))
        return found

    def by_target(self, arranged: Arrays) -> Arrays:
        """Which synapses end at each cell, in ascending order, and where these come from, by C name. arranged: see `made`."""
        name, (sources, targets) = self.synapses.name, self.synapses.ends
        first, post = arranged[mangled("first", name)], arranged[mangled("post", name)]
        ending = np.argsort(post, kind="stable").astype(np.int32)
        into = np.concatenate([[0], np.cumsum(np.bincount(post, minlength=targets))])
        source = np.repeat(np.arange(sources, dtype=np.int32), np.diff(first))[ending]
        return {mangled("into", name): into, mangled("ending", name): ending, mangled("source", name): source}

    def made(self, threads: int) -> tuple[Arrays, Order]:
        """Targets, beginnings of rows and of groups, by C name, and how they are ordered."""
        synapses, name = self.synapses, self.synapses.name
        assert synapses.listed is not None
        rows = synapses.listed.taken() if self.large else synapses.listed.rows
        found: Arrays = {mangled("first", name): rows.offsets}
        if self.width == 1:
            return {**found, mangled("post", name): rows.targets}, Order.of(rows, rows.order)
        post = rows.targets if self.large else rows.targets.copy()
        late = np.ascontiguousarray(synapses.delay) if self.grouped else None
        groups = self.groups()
        borders, place = self.borders(), np.empty_like(post)
        cuts = np.empty((synapses.ends[0], self.width + 1), C_TYPES[self.cut])
        longest = int(np.diff(rows.offsets).max(initial=0))
        wide, narrow = 0 if late is None else late.itemsize, cuts.itemsize == 2
        arrays = map(_at, (rows.offsets, post, rows.order, late, groups, borders, cuts, place))
        first, to, given, steps, number, ends, begun, made = arrays

        def some(span: tuple[int, int]) -> None:
            room = np.empty(longest + self.width + 1, np.int32)
            tail = made, address(room), address(room[longest:])
            _library().arrange(
                *span, first, to, given, steps, wide, number, self.delays, ends, self.parts, begun, narrow, *tail
            )

        with lent(threads):
            for _ in mapped(some, _spans(rows.offsets, threads)):
                pass
        return {**found, mangled("cuts", name): cuts, mangled("post", name): post}, Order.of(rows, place)


class Orders(Mapping[str, Targets | None]):
    """Sparse projections -> the place in the definition of each of a kernel's synapses, None where that is the same.

    Made when somebody asks, and kept until it is released.
    """

    def __init__(self, arrangements: Mapping[str, Arrangement], threads: int) -> None:
        self._arrangements, self._threads = arrangements, threads
        self.kept: dict[str, Order] = {}

    def __getitem__(self, name: str) -> Targets | None:
        return self.of(name).place

    def of(self, name: str) -> Order:
        """Of a projection's synapses."""
        if name not in self.kept:
            self.arranged(name)
        return self.kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrangements)

    def __len__(self) -> int:
        return len(self._arrangements)

    def __contains__(self, name: object) -> bool:
        return name in self._arrangements

    def arranged(self, name: str) -> Arrays:
        """A projection's synapses by C name. Those of a large one are given back to whoever draws them again."""
        arrangement = self._arrangements[name]
        found, self.kept[name] = arrangement.made(self._threads)
        return found

    def release(self, name: str) -> None:
        """A large projection's order is made again where somebody asks."""
        if self._arrangements[name].large:
            del self.kept[name]


def part_of(size: int, parts: int, part: str) -> tuple[str, str]:
    """C of the first cell of a part of the cells, and of the last + 1. part: C of its number."""
    last = f"{size}*({part} + 1)/{parts}/{EVEN}*{EVEN}"
    return f"{size}*{part}/{parts}/{EVEN}*{EVEN}", f"({part} + 1 == {parts} ? {size} : {last})"


def arrangements(step: Step, parts: int, divided: bool = False) -> dict[str, Arrangement]:
    """Of the sparse projections of a step. parts: of the cells of a population. divided: whether their number depends on that of threads."""
    updated = {o.owner for o in step.operations if isinstance(o, Update) and o.when == "pre"}
    moved = {
        o.projection for o in step.operations if isinstance(o, Couple) and o.when == "pre" and not is_static(step, o)
    }
    shared = {o.projection for o in step.operations if isinstance(o, Couple) and o.when == "pre" and is_static(step, o)}
    found = {}
    for s in step.synapses:
        if s.kind == "sparse":
            here = s.name in shared  # nobody else would gain by having their synapses in parts
            changing = s.name in updated | moved
            found[s.name] = Arrangement.of(s, parts if here else 1, divided and here, changing)
    return found


def _spans(offsets: Array, number: int) -> list[tuple[int, int]]:
    """Rows in as many spans of about as many synapses each."""
    ends = np.searchsorted(offsets, [offsets[-1] * n // number for n in range(1, number)]).tolist()
    bounds = [0, *ends, len(offsets) - 1]
    return [(a, b) for a, b in pairwise(bounds) if a < b]


def _at(array: Array | None) -> int | None:
    return None if array is None else address(array)


@cache
def _library() -> ctypes.CDLL:
    """Built when it is first called. Raises UnsupportedError."""
    found = load(files("backends.native").joinpath("arrange.c").read_text(encoding="utf-8"), "", "float64")
    kinds: dict[str, Any] = {"p": _POINTER, "n": _LONG}
    found.arrange.argtypes = [kinds[k] for k in "nnppppnpnpnpnppp"]
    found.arrange.restype = None
    return found
