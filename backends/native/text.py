"""Operations -> C: a function for each, which operations of one text share, and tables that say in which order they run.

The compiler's time grows faster than a function, so each operation has its own; three hundred populations of one neuron have one
function between them, called with the pointers of each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from backends.native.layout import Layout

SIGNATURE = "void {name}(void *const *arrays, const long *strides, long *status, const run_t *run, long begin, long end, long from, long until, long lane, char *scratch, long apart)"  # fmt: skip
FUNCTION = "static int {name}(const unit_t *u, void *const *p, long k, int id) {{ UNIT"
_NAME = re.compile(r"\b[A-Za-z]\w*__\w*\b")


@dataclass(frozen=True)
class Piece:
    """An operation in C. title: what it does to the model. id: a number that its lines know as `id`.

    share: what the threads of one trial do: ONE runs it, EACH does for its own part of the cells, or one runs it while others run
    what doesn't depend on it (APART). own: whether each thread of a block reads what it wrote itself, but for what is handed over.
    """

    title: str
    lines: tuple[str, ...]
    id: int = 0
    share: int = 0
    own: bool = False


ONE, EACH, APART = 0, 1, 2  # work.h has the same numbers


class Operations:
    """The functions of a kernel's pieces, which pieces of one text share. head: C of a function's beginning, of its name and its arrays. said: of
    what it gives at its end.

    made: by name, in order.
    """

    def __init__(
        self, layout: Layout, prefix: str, head: Callable[[str, Sequence[str]], list[str]], said: str = "0"
    ) -> None:
        self.prefix, self.head, self.said, self.made = prefix, head, said, dict[str, str]()
        self._arrays = {*layout.slots, *layout.scratch}
        self._known: dict[str, str] = {}

    def of(self, piece: Piece) -> tuple[str, list[str]]:
        """The name of a piece's function, and of the arrays that it is called with."""
        arrays = [n for n in dict.fromkeys(_NAME.findall("\n".join(piece.lines))) if n in self._arrays]
        numbers = {n: f"#{i}" for i, n in enumerate(arrays)}
        key = _NAME.sub(lambda m: numbers.get(m.group(), m.group()), "\n".join((*self.head("", arrays), *piece.lines)))
        if key not in self._known:
            name = self._known[key] = f"{self.prefix}_{len(self._known)}"
            self.made[name] = indented(
                [f"/* {piece.title} */", *self.head(name, arrays), *piece.lines, f"return {self.said};", "}"]
            )
        return self._known[key], arrays


def function(
    layout: Layout, name: str, start: Iterable[Piece], past: Iterable[Piece], each: Iterable[Piece], finish: Iterable[Piece],
    *, back: bool, parts: int = 1,
) -> str:  # fmt: skip
    """C of the function that runs pieces for each of its units: at the start, in steps before the run, in each step, at the end.

    It takes the scratch that the layout has been asked for so far.
    """
    rooms, slots = list(layout.scratch), {n: i for i, n in enumerate(layout.slots)}
    places = slots | {n: -1 - i for i, n in enumerate(rooms)}
    pointers: list[int] = []

    def head(own: str, arrays: Sequence[str]) -> list[str]:
        return [FUNCTION.format(name=own), *(layout.declared(n, i) for i, n in enumerate(arrays))]

    operations = Operations(layout, name, head)

    def call(piece: Piece) -> str:
        own, arrays = operations.of(piece)
        pointers.extend(places[n] for n in arrays)
        return f"{{{own}, {len(pointers) - len(arrays)}, {piece.id}{f', {piece.share}' if piece.share else ''}}}"

    tables = [[call(p) for p in pieces] for pieces in (start, past, each, finish)]
    sizes = ", ".join(f"{length}*sizeof({kind})" for kind, length in layout.scratch.values())
    lists = [f"static const call_t {name}_{t}[] = {{{', '.join(c)}}};" for t, c in zip(("start", "past", "each", "finish"), tables, strict=True)]  # fmt: skip
    numbers = ", ".join(str(len(c)) for c in tables)
    return "\n".join((
        *operations.made.values(), *lists, f"static const int {name}_places[] = {{{', '.join(map(str, pointers))}}};",
        f"static const size_t {name}_rooms[] = {{{sizes}}};",
        f"static const text_t {name}_text = {{{name}_start, {name}_past, {name}_each, {name}_finish, {numbers}, {name}_places, {len(pointers)}, "
        f"{name}_rooms, {len(rooms)}, {int(back)}{f', {parts}' if parts > 1 else ''}}};",
        SIGNATURE.format(name=name) + " {",
        f"    work(&{name}_text, arrays, strides, status, run, begin, end, from, until, lane, scratch, apart);\n}}\n",
    ))  # fmt: skip


def indented(lines: Sequence[str]) -> str:
    """C statements as text, four spaces a brace."""
    depth, found = 0, []
    for line in "\n".join(lines).splitlines():
        text = line.strip()
        leading = len(text) - len(text.lstrip("}"))
        found.append("    " * max(depth - leading, 0) + text)
        depth += text.count("{") - text.count("}")
    return "\n".join(found) + "\n"
