"""Events of a cell's own, beside its spikes: a condition, and statements that run where it holds. In the order of their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neuro.language.equations import (
    Expression,
    ModelError,
    Problem,
    Statement,
    parse_expression,
    parse_statements,
    suggestion,
)


@dataclass(frozen=True)
class Event:
    """Its name is a condition that every text may read: whether the cell had it when that was last asked, after the thresholds."""

    name: str
    condition: Expression
    statements: tuple[Statement, ...]


def parse_events(events: Mapping[str, str], statements: Mapping[str, str], where: str) -> tuple[Event, ...]:
    """Read conditions and statements by name. Raises ModelError on text that can't be read, or statements of no event."""
    for name in statements:
        if name not in events:
            fix = suggestion(name, [*events]) or f"events: {', '.join(events) or 'none'}; the spike has its reset"
            raise ModelError([Problem(f"{where}, on_event", name, 0, len(name), f"there is no event '{name}'", fix)])
    return tuple(
        _event(number, name, events[name], statements.get(name, ""), where)
        for number, name in enumerate(sorted(events), start=1)
    )


def _event(number: int, name: str, condition: str, block: str, where: str) -> Event:
    return Event(
        name,
        parse_expression(condition, f"{where}, event '{name}'", f"event_{number}"),
        parse_statements(block, f"{where}, on_event '{name}'", f"on_event_{number}"),
    )


def as_items(table: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(table.items()))
