"""The arrays of a kernel: what it is given, what it fills, and the scratch that it keeps for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, Any]  # by C name: numpy's, or tensors on a device
C_TYPES: dict[str, Any] = {
    "byte": np.dtype(np.uint8),
    "ushort": np.dtype(np.uint16),
    "int": np.dtype(np.intc),
    "long": np.dtype(np.int_),
}


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
    """slots: in the order of the pointer table. scratch: C name -> (type, length), zeros at the start of each unit. handed: arrays by which
    threads of a block hand numbers to others: see `barriers`.
    """

    slots: dict[str, Slot] = field(default_factory=dict)
    scratch: dict[str, tuple[str, int]] = field(default_factory=dict)
    handed: set[str] = field(default_factory=set)

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

    def declared(self, name: str, number: int) -> str:
        """C that declares an array, or a number, which is entry `number` of an operation's pointers."""
        slot = self.slots.get(name)
        kind = self.scratch[name][0] if slot is None else slot.kind
        if slot is not None and slot.number:
            return f"const {kind} {name} = *({kind} *)p[{number}];"
        return f"{kind} *restrict {name} = p[{number}];"

    def scratch_bytes(self, real: int) -> int:
        """The scratch asked for so far, of one unit, each piece on a cache line of its own."""
        sizes = {"real": real, "byte": 1, "ushort": 2, "int": 4, "long": 8}
        return 64 + sum(sizes[kind] * length + 64 for kind, length in self.scratch.values())

    def shapes(self, numbers: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays that the kernel fills."""
        return {
            name: tuple(n if isinstance(n, int) else numbers[n] for n in slot.shape)
            for name, slot in self.slots.items()
            if slot.shape is not None
        }
