"""How a kernel's text names spikes. An input's are lists of channels; a population's are lists of cells or, where many threads read them at
once, bits: a row of words for each step, which needs no place in a list and no order of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

from backends.native.dialect import Dialect
from backends.native.layout import Layout
from backends.native.operations import count
from neuro.compiler.step import Cells, Step
from neuro.language.mangling import mangled

WORD = 32  # bits


class Spikes:
    """What a kernel knows of spikes. populations: by name."""

    step: Step
    layout: Layout
    dialect: Dialect
    populations: dict[str, Cells]

    def size(self, owner: str) -> int:
        """Cells, channels or synapses."""
        if owner in self.populations:
            return self.populations[owner].size
        return self.step.sources[owner] if owner in self.step.sources else count(self.step.projection(owner))

    def bits(self, source: str) -> bool:
        """Whether its spikes are bits."""
        return not self.dialect.lists and source not in self.step.sources

    def events(self, source: str, delay: int | str = 0) -> tuple[str, str]:
        """C of the list of trial b's cells or channels that fired `delay` steps ago, and of their number. delay: or C."""
        if source in self.step.sources:
            offsets = self.layout.given(mangled("offsets", source), "long", sets=True)
            offsets = f"({offsets} + (first + b)*(past + steps) + past)"
            base = self.layout.given(mangled("channels", source), "int", sets=True)
        else:
            offsets, base = self.lists(source)
        row = "k" if not delay else f"k - {delay}"
        found, number = f"({base} + {offsets}[{row}])", f"({offsets}[{row} + 1] - {offsets}[{row}])"
        if not delay:
            return found, number
        return f"(past + k >= {delay} ? {found} : 0)", f"(past + k >= {delay} ? {number} : 0)"

    def lists(self, population: str) -> tuple[str, str]:
        """C of where the steps' events of trial b's cells begin, and of the events; one list a trial, as long as it gets.

        Rows of steps before the run come first.
        """
        offsets = self.layout.filled(mangled("offsets", population), ("trials", "bounds"), "long", inner=True)
        events = self.layout.filled(
            mangled("events", population), ("trials", "rows", self.size(population)), "int", inner=True
        )
        rows = "(trial + b)*(past + steps)"
        return f"({offsets} + {rows} + trial + b + past)", f"({events} + {rows}*{self.size(population)})"

    def words(self, population: str, delay: int | str = 0) -> str:
        """C of the bits of trial b's cells that fired `delay` steps ago; rows of steps before the run come first."""
        number = -(-self.size(population) // WORD)
        words = self.layout.filled(mangled("words", population), ("trials", "rows", number), "int", inner=True)
        self.layout.handed.add(words)
        late = f" - {delay}" if delay else ""
        return f"({words} + ((trial + b)*(past + steps) + past + k{late})*{number})"

    def spikes_of(self, source: str, delay: int | str, body: Sequence[str]) -> list[str]:
        """A loop over the cells i of trial b that fired `delay` steps ago, in ascending order."""
        if self.bits(source):
            size = f"(past + k >= {delay} ? {self.size(source)} : 0)" if delay else str(self.size(source))
            return [f"FIRED({self.words(source, delay)}, {size}) {{ const long i = THIS_ONE;", *body, "}"]
        events, number = self.events(source, delay)
        return [
            f"{{ const int *list = {events};",
            f"for (long e = 0, n = {number}; e < n; e++) {{ const long i = list[e];", *body, "} }",
        ]  # fmt: skip

    def own_spikes_of(self, population: str, body: Sequence[str], fired: str = "") -> list[str]:
        """The same of this step, for what a cell's owner does for it. fired: C of whether cell i did, where its owner knows."""
        if not self.bits(population):
            return self.spikes_of(population, 0, body)
        head = self.dialect.loop("i", "0", str(self.size(population)))
        return [f"{head} {{ if (!{fired or f'FIRES({self.words(population)}, i)'}) continue;", *body, "}"]

    def of_rows(self, what: str, one: str, other: str, source: str, width: int) -> str:
        """C that calls `gather` or `scatter` with the rows of a matrix whose cells fired now. one, other: the function's first arguments."""
        if self.bits(source):
            return f"{what}_fired({one}, {other}, {self.words(source)}, {self.size(source)}, {width});"
        events, number = self.events(source)
        return f"{what}({one}, {other}, {events}, {number}, {width});"

    def some(self, population: str) -> str:
        """C of whether any of trial b's cells fired now."""
        if self.bits(population):
            return f"some({self.words(population)}, {self.size(population)})"
        return self.events(population)[1]

    def raster(self, population: str) -> str:
        """Spikes as bytes, for the adjoint; rows of steps before the run come first."""
        return self.layout.filled(
            mangled("raster", population), ("trials", "rows", self.size(population)), "byte", inner=True
        )

    def fired(self, population: str, late: str, index: str) -> str:
        """C of whether a cell or channel fired `late` steps ago, for the adjoint."""
        size = self.size(population)
        if self.bits(population):
            return f"(past + k >= {late} && FIRES({self.words(population, late)}, {index}))"
        if population in self.step.sources:
            raster, row = self.layout.given(mangled("raster", population), "byte"), "first"
        else:
            raster, row = self.raster(population), "trial"
        return f"(past + k >= {late} && {raster}[(({row} + b)*(past + steps) + past + k - {late})*{size} + {index}])"
