"""What differs between the dialects in which a kernel is written; the text of operations asks for it, and this is C's.

In C a trial's cells are a loop, which the compiler makes vectors of, and the trials of a tile lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backends.native.layout import Layout
from backends.native.printer import prelude
from backends.native.text import Piece, function

LANES = 8  # partial sums of gradients, at most
TILE = 8  # trials side by side: a matrix row is read once for all of them


@dataclass(frozen=True)
class Facts:
    """What a function is written for. parts: of a trial's cells. cells: of the largest population. real: bytes of a number.

    network: what it is called in errors. fixed: numbers of each array of synapses that stays as it is in a run.
    """

    layout: Layout
    parts: int
    cells: int
    real: int
    network: str
    fixed: Mapping[str, int]


@dataclass(frozen=True)
class Written:
    """A function's text. shared: bytes of a block's shared memory that a launch of it asks for."""

    text: str
    shared: int = 0


class Dialect:
    """C.

    lists: whether the spikes of populations are lists; else they are bits. owners: whether a thread writes its own cells alone, so that what synapses add to their sources takes a loop of its own. teams: whether
    threads can share the cells of one trial. handed: of what threads hand to others, how many there is room for at once. tape: steps whose versions a tape holds, at most. gathers: whether what is read soon is asked for, such as groups of synapses that arrive.
    """

    name = "C"
    lists = True
    owners = False
    teams = True
    gathers = True
    tape = 256
    handed = 1

    def tile(self, batch: int) -> int:
        """Trials side by side."""
        return 1 if batch == 1 else TILE

    def lanes(self, units: int) -> int:
        """Partial sums of gradients: as many for any number of threads, so that the total doesn't depend on it."""
        return min(units, LANES, max(2, units // 8))

    def block(self, facts: Facts) -> int:
        """Threads of a block, where there are blocks."""
        return 1

    def scratch(self, room: int, units: int, blocks: int, *, kept: bool) -> int:
        """Bytes that a launch of blocks has for scratch. room: of a unit. kept: whether units keep theirs."""
        return room * units

    # -- inside of an operation ----------------------------------------------------------------------------

    def loop(self, index: str, first: str, last: str) -> str:
        """The head of a loop over cells, or over what a run records, of one trial."""
        return f"for (long {index} = {first}; {index} < {last}; {index}++)"

    def spread(self, index: str, first: str, last: str) -> str:
        """The head of a loop over what has no owner, of one trial."""
        return f"for (long {index} = {first}; {index} < {last}; {index}++)"

    def own(self, index: str) -> list[str]:
        """In a loop that all threads of a trial run: goes on to the next cell where this one isn't the thread's."""
        return []

    def copied(self, to: str, source: str, number: int | str, kind: str = "real") -> str:
        """A stretch of numbers of one trial's cells."""
        return f"memcpy({to}, {source}, {number}*sizeof({kind}))"

    def cleared(self, to: str, number: int | str, kind: str = "real") -> str:
        """The same, set to 0."""
        return f"memset({to}, 0, {number}*sizeof({kind}))"

    def summed(self, total: str, amount: str) -> str:
        """Adds to a gradient, which is read when all is over."""
        return f"{total} += {amount};"

    def between(self) -> list[str]:
        """What stands before a part of an operation that reads what other threads of the trial wrote in the part before."""
        return []

    def ranges(self, first: str, last: str, text: Callable[[str, str], list[str]]) -> list[str]:
        """A text for the cells from `first` to `last` - 1, which may be split up."""
        return text(first, last)

    def stopped(self) -> str:
        """Ends the operation where some cell's `bad` is not 0."""
        return "if (bad && k > 0) return 1;"

    def listed(self, offsets: str, events: str, fired: str, size: int, more: Sequence[str]) -> list[str]:
        """Adds trial b's cells that fired in step k to its list. more: what follows, in C."""
        return [
            f"for (long b = 0; b < active; b++) {{ long *at = {offsets} + k;",
            f"at[1] = at[0] + hits({fired} + b*{size}, 0, {size}, {events} + at[0]);",
            *more,
            "}",
        ]

    # -- whole texts ---------------------------------------------------------------------------------------

    def prelude(self, facts: Facts, dtype: str, tile: int, dt: float) -> str:
        """What a kernel's text begins with."""
        return prelude(dtype, tile, dt)

    def function(self, name: str, facts: Facts, pieces: Sequence[Iterable[Piece]], *, back: bool) -> Written:
        """The function that runs pieces: see `text.function`. Raises UnsupportedError."""
        return Written(function(facts.layout, name, *pieces, back=back, parts=1 if back else facts.parts))

    def added(self, facts: Facts) -> Written:
        """What adds lanes of gradients, where that isn't done outside."""
        return Written("")


C = Dialect()
