"""Both ends of a kernel's run: initial values or those of a state, and the values that it leaves behind.

A state's numbers cross the border in rows, one per trial: cells' variables and sums in rows of reals, refractory counters in rows
of whole numbers. Synapses' variables are arrays of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.structure import local
from backends.native.kernel import Kernel
from backends.native.operations import count
from backends.native.text import Piece
from neuro.compiler.step import Cells, Synapses
from neuro.language.mangling import mangled

Array = npt.NDArray[Any]


class Row:
    """Where values of cells stand in a trial's row. places: population -> variable -> where. length: of all."""

    def __init__(self) -> None:
        self.places: dict[str, dict[str, slice]] = {}
        self.length = 0

    def add(self, population: str, variable: str, size: int) -> None:
        self.places.setdefault(population, {})[variable] = slice(self.length, self.length + size)
        self.length += size

    def first(self, population: str) -> int:
        """Where a population's values begin."""
        return min((place.start for place in self.places.get(population, {}).values()), default=0)

    def filled(self, lead: tuple[int, ...], find: Callable[[str, str], Array], dtype: Any) -> Array:
        """Rows of arrays [*lead, cell]."""
        found = np.empty((*lead, self.length), dtype)
        for population, variables in self.places.items():
            for variable, place in variables.items():
                found[..., place] = find(population, variable)
        return found

    def read(self, rows: Array, lead: tuple[int, ...]) -> dict[tuple[str, str], Array]:
        """Arrays [*lead, cell], by population and variable."""
        rows = rows.reshape(*lead, self.length)
        return {(p, v): rows[..., place] for p, variables in self.places.items() for v, place in variables.items()}


class Ends:
    """Writes what a forward function does before a unit's first step and after its last.

    values: states, and inputs for which something waits until they are gathered. left: refractory counters.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.step, self.layout = kernel, kernel.step, kernel.layout
        self.values, self.left = Row(), Row()
        for c in self.step.cells:
            for name in (*c.states, *(n for n in c.inputs if (c.name, n, 0) in kernel.depth)):
                self.values.add(c.name, name, c.size)
            if c.refractory:
                self.left.add(c.name, "left", c.size)

    def start(self) -> list[Piece]:
        """What is done before a unit's first step."""
        found = list[Piece]()
        for c in self.step.cells:
            found.append(Piece(f"beginning of {c.name}", tuple(self.begin_cells(c)), self.values.first(c.name)))
            if c.refractory:
                lines = tuple(self.begin_refractory(c))
                found.append(Piece(f"refractory periods at the beginning of {c.name}", lines, self.left.first(c.name)))
        return found + [
            Piece(f"beginning of {s.name}", tuple(self.begin_synapses(s))) for s in self.step.synapses if s.states
        ]

    def finish(self) -> list[Piece]:
        """What is done after the last step."""
        found = list[Piece]()
        for c in self.step.cells:
            if c.name in self.values.places:
                found.append(Piece(f"end of {c.name}", tuple(self.end_cells(c)), self.values.first(c.name)))
            if c.refractory:
                lines = tuple(self.end_refractory(c))
                found.append(Piece(f"refractory periods at the end of {c.name}", lines, self.left.first(c.name)))
        return found + [Piece(f"end of {s.name}", tuple(self.end_synapses(s))) for s in self.step.synapses if s.states]

    # -- cells ---------------------------------------------------------------------------------------------

    def begin_cells(self, cells: Cells) -> list[str]:
        size, dialect, found = cells.size, self.kernel.dialect, list[str]()
        for name in (*cells.inputs, *cells.stages):
            self.layout.room(local(cells.name, name), self.kernel.tile * size)
        for name, (now, given) in self.crossing(cells, self.layout.given(mangled("begin", "values"))).items():
            if name in cells.inputs:
                copied = dialect.copied(now, given, size)
                found.append(f"if (resumed) for (long b = 0; b < active; b++) {copied};")
            else:
                first = self.layout.given(mangled("initial", cells.name, name))
                copied = dialect.copied(now, f"resumed ? {given} : {first}", size)
                found.append(f"for (long b = 0; b < active; b++) {copied};")
        if cells.spikes:
            self.layout.room(mangled("fired", cells.name), self.kernel.tile * size, "int")
            if not self.kernel.bits(cells.name):
                found.append(f"for (long b = 0; b < active; b++) {self.kernel.lists(cells.name)[0]}[-past] = 0;")
        return found

    def end_cells(self, cells: Cells) -> list[str]:
        rows = self.layout.filled(mangled("end", "values"), ("trials", self.values.length))
        copies = [
            f"{self.kernel.dialect.copied(out, now, cells.size)};" for now, out in self.crossing(cells, rows).values()
        ]
        return ["for (long b = 0; b < active; b++) {", *copies, "}"]

    def crossing(self, cells: Cells, rows: str) -> dict[str, tuple[str, str]]:
        """C of where trial b's values of each variable are, in the scratch and in the rows; `id` is where a population's begin.

        What waits for an input is in the slot of the step before.
        """
        size, found = cells.size, {}
        for n, name in enumerate(self.values.places.get(cells.name, ())):
            if name in cells.inputs:
                slot = cells.name, name, 0
                now = f"{self.kernel.arrivals(slot)} + (wrapped(k - 1, {self.kernel.depth[slot]})*TILE + b)*{size}"
            else:
                now = f"{self.layout.room(local(cells.name, name), self.kernel.tile * size)} + b*{size}"
            found[name] = now, f"{rows} + (trial + b)*{self.values.length} + id + {n * size}"
        return found

    def begin_refractory(self, cells: Cells) -> list[str]:
        left = self.layout.room(mangled("left", cells.name), self.kernel.tile * cells.size, "int")
        row = f"{self.layout.given(mangled('begin', 'left'), 'int')} + (trial + b)*{self.left.length} + id"
        copied = self.kernel.dialect.copied(f"{left} + b*{cells.size}", row, cells.size, "int")
        return [f"if (resumed) for (long b = 0; b < active; b++) {copied};"]

    def end_refractory(self, cells: Cells) -> list[str]:
        rows = self.layout.filled(mangled("end", "left"), ("trials", self.left.length), "int")
        row, left = f"{rows} + (trial + b)*{self.left.length} + id", mangled("left", cells.name)
        copied = self.kernel.dialect.copied(row, f"{left} + b*{cells.size}", cells.size, "int")
        return [f"for (long b = 0; b < active; b++) {copied};"]

    # -- synapses ------------------------------------------------------------------------------------------

    def begin_synapses(self, synapses: Synapses) -> list[str]:
        size, found = count(synapses), []
        for name in synapses.states:
            state = self.layout.room(local(synapses.name, name), self.kernel.tile * size)
            first = self.layout.given(mangled("initial", synapses.name, name), sets=name == "w")
            given = f"{first} + (resumed ? (trial + b)*{size} : 0)"
            copied = self.kernel.dialect.copied(f"{state} + b*{size}", given, size)
            found.append(f"for (long b = 0; b < active; b++) {copied};")
        return found

    def end_synapses(self, synapses: Synapses) -> list[str]:
        size, found = count(synapses), []
        for name in synapses.states:
            out = self.layout.filled(mangled("final", synapses.name, name), ("trials", size))
            state, total = local(synapses.name, name), f"active*{size}"
            found.append(f"{self.kernel.dialect.copied(f'{out} + trial*{size}', state, total)};")
        return found
