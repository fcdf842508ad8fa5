"""The arrays of a kernel: what it is given, what it fills, and the scratch that it keeps for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

SIGNATURE = "void {name}(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept)"  # fmt: skip
UNIT = (
    "const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;",
    "const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;",
)
C_TYPES: dict[str, Any] = {"byte": np.uint8, "int": np.intc, "long": np.int_}


@dataclass(frozen=True)
class Slot:
    """An array that crosses the border. kind: its C type. shape: numbers, and names of numbers known in the run only;
    None for a given array, which has its own. sets: its first axis is that of the parameter sets, if it has one.
    number: a single one, which C reads once. inner: nobody but the kernel reads it.
    """

    kind: str
    shape: tuple[int | str, ...] | None = None
    sets: bool = False
    number: bool = False
    inner: bool = False


@dataclass
class Layout:
    """slots: in the order of the pointer table. scratch: C name -> (type, length), zeros at the start of each unit."""

    slots: dict[str, Slot] = field(default_factory=dict)
    scratch: dict[str, tuple[str, int]] = field(default_factory=dict)

    def given(self, name: str, kind: str = "real", *, sets: bool = False, number: bool = False) -> str:
        """A C name for an array, or a number, that the caller brings."""
        self.slots.setdefault(name, Slot(kind, None, sets, number))
        return name

    def filled(self, name: str, shape: tuple[int | str, ...], kind: str = "real", *, inner: bool = False) -> str:
        """A C name for an array that the kernel fills; an inner one is lent to it."""
        self.slots.setdefault(name, Slot(kind, shape, inner=inner))
        return name

    def room(self, name: str, length: int, kind: str = "real") -> str:
        """A C name for scratch."""
        self.scratch.setdefault(name, (kind, length))
        return name

    def pointers(self) -> list[str]:
        """Declarations of the table's arrays; those that have parameter sets begin at the unit's set."""
        found = []
        for i, (name, slot) in enumerate(self.slots.items()):
            place = f"({slot.kind} *)arrays[{i}]{f' + set*strides[{i}]' if slot.sets else ''}"
            found.append(
                f"const {slot.kind} {name} = *({place});" if slot.number else f"{slot.kind} *restrict {name} = {place};"
            )
        return found

    def function(self, name: str, first: str, start: Sequence[str], unit: Sequence[str]) -> str:
        """The C function that does `unit`, steps begin ... end - 1, for each of its units; before the first, `start`.

        It takes the scratch asked for so far: its own, or what the caller kept of earlier steps.
        """
        rooms, self.scratch = self.scratch, {}
        table = [
            f"{kind} *restrict {n} = ({kind} *)take(&at, {length}*sizeof({kind}));"
            for n, (kind, length) in rooms.items()
        ]
        total = " + ".join(["64", *(f"{length}*sizeof({kind}) + 64" for kind, length in rooms.values())])
        return indented([
            SIGNATURE.format(name=name) + " {", f"const size_t room = {total};", "char *const own = kept ? kept : malloc(room);",
            "if (!own) { status[0] = -1; return; }", "for (long unit = from; unit < until; unit++) {",
            "char *const scratch = kept ? kept + unit*room : own, *at = scratch;", *UNIT, *table, *self.pointers(),
            f"if ({first}) {{", "memset(scratch, 0, room);", *start, "}", *unit, "}", "done:", "if (!kept) free(own);", "}",
        ])  # fmt: skip

    def scratch_bytes(self, real: int) -> int:
        """The scratch asked for so far, of one unit."""
        sizes = {"real": real, "byte": 1, "int": 4, "long": 8}
        return 64 + sum(sizes[kind] * length + 64 for kind, length in self.scratch.values())

    def shapes(self, numbers: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays that the kernel fills."""
        return {
            name: tuple(n if isinstance(n, int) else numbers[n] for n in slot.shape)
            for name, slot in self.slots.items()
            if slot.shape is not None
        }

    def room_bytes(self, numbers: Mapping[str, int], real: int) -> dict[str, int]:
        """Bytes of what the kernel fills, by array."""
        sizes = {"real": real, "byte": 1, "int": 4, "long": 8}
        return {n: sizes[self.slots[n].kind] * prod(shape) for n, shape in self.shapes(numbers).items()}


def indented(lines: Sequence[str]) -> str:
    """C statements as text, four spaces a brace."""
    depth, found = 0, []
    for line in "\n".join(lines).splitlines():
        text = line.strip()
        leading = len(text) - len(text.lstrip("}"))
        found.append("    " * max(depth - leading, 0) + text)
        depth += text.count("{") - text.count("}")
    return "\n".join(found) + "\n"
