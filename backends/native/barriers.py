"""Where the threads of a block must meet in a step of CUDA's dialect: between two parts of which one reads what other threads write in the other.

A thread writes to its own cells alone. What it reads of others' it reads either in a part that says nothing about it (`Piece.own` is false), of
which it may be anything, or from what is handed over (`Layout.handed`): arrays of which a place that was read isn't written to again before
the threads have met once more. So those ask for a barrier between the part that writes to them and the part that reads them, and for none back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from backends.native.text import Piece

BARRIER = "__syncthreads();"
_WRITES = r"(COPY|CLEAR)\(\(?{name}\b|noted\([^;]*\b{name}\b|\(?\b{name}\b[^;=]*\] [-+]?= "  # of a line that writes to an array that is handed over


@dataclass(frozen=True)
class Part:
    """What stands between two barriers that an operation asks for. reads: of arrays that change in the step, those that it may read of other
    threads'; writes: those that it may write to.
    """

    piece: Piece
    reads: frozenset[str]
    writes: frozenset[str]

    @staticmethod
    def of(piece: Piece, changing: Set[str], handed: Set[str]) -> Part:
        text = "\n".join(piece.lines)
        named = {n for n in changing if re.search(rf"\b{n}\b", text)}
        over = named & handed
        written = {n for n in over if re.search(_WRITES.format(name=n), text)}
        reads = over - written if piece.own else named
        return Part(piece, frozenset(reads), frozenset(named - over | written))


def parts(pieces: Sequence[Piece], changing: Set[str], handed: Set[str]) -> list[Part]:
    """Of all pieces: they are cut where one asks for a barrier, if that is inside of no loop."""
    found = []
    for piece in pieces:
        rows, depth = [list[str]()], 0
        for line in piece.lines:
            if line == BARRIER and depth == 0:
                rows.append([])
                continue
            depth += line.count("{") - line.count("}")
            rows[-1].append(line)
        found += [Part.of(replace(piece, lines=tuple(row)), changing, handed) for row in rows if row]
    return found


def needed(step: Sequence[Part], handed: Set[str]) -> list[bool]:
    """Before which parts there must be a barrier, where the last is followed by the first. As few as one sees going forwards."""
    found, before = [False] * len(step), list[Part]()  # since the last barrier
    for _ in range(2):  # the second time it begins with what the end of a step leaves
        for i, part in enumerate(step):
            found[i] = found[i] or any(_meet(other, part, handed) for other in before)
            before = [part] if found[i] else [*before, part]
    return found


def _meet(before: Part, after: Part, handed: Set[str]) -> bool:
    return bool(before.writes & after.reads or (before.reads - handed) & after.writes)
