"""What run_regularly made: statements at the start of every n-th step."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends.brian.importing.statements import statements
from backends.brian.importing.words import Words

_LINE = re.compile(r"(\w+) ([-+*/]?=) (.*)", re.S)


@dataclass(frozen=True)
class Runner:
    """One such object. first, size: cells of the group that it is for."""

    item: Any
    first: int
    size: int


def regularly(words: Words, runners: Sequence[Runner]) -> dict[str, str]:
    """Period -> statements of a group, in Brian2's order. Raises NotImportedError where periods run in another order than here."""
    found: dict[float, list[str]] = {}
    for runner in sorted(runners, key=lambda r: (r.item.order, r.item.name)):
        if runner.item.when != "start":
            reason = f"the statements of '{runner.item.name}' run in the slot '{runner.item.when}'"
            raise words.refused(reason, "leave them in the slot 'start', or write them into the equations or the reset")
        period = float(runner.item.clock.dt_)
        if found and period < max(found):
            reason = f"the statements of '{runner.item.name}' run after those of a longer period"
            raise words.refused(reason, "give statements names or orders so that those of short periods come first")
        found.setdefault(period, []).extend(_statements(words, runner))
    return {f"{period!r} second": "\n".join(lines) for period, lines in found.items()}


def _statements(words: Words, runner: Runner) -> list[str]:
    group = runner.item.group
    if runner.first == 0 and runner.size == len(words.group):
        return statements(words, runner.item.abstract_code)
    counts = {**words.counts, "N": str(len(group))}
    if runner.first:
        counts["i"] = f"(i - {runner.first})"
    part = replace(words, counts=counts)  # it shares constants and tables
    return [_within(line, runner) for line in statements(part, runner.item.abstract_code)]


def _within(line: str, runner: Runner) -> str:
    """A statement for some of the cells; the others keep what they have."""
    match = _LINE.fullmatch(line)
    assert match is not None
    target, op, value = match.groups()
    last = runner.first + runner.size
    ours = f"int(i >= {runner.first} and i < {last})" if runner.first else f"int(i < {last})"
    others = f"int(i < {runner.first} or i >= {last})" if runner.first else f"int(i >= {last})"
    if op in ("+=", "-="):
        return f"{target} {op} {ours}*({value})"
    new = value if op == "=" else ast.unparse(ast.parse(f"{target} {op[0]} ({value})", mode="eval"))
    return f"{target} = {ours}*({new}) + {others}*{target}"
