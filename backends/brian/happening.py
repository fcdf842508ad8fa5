"""Events of a cell's own in Brian2's: of each of ours one that says that it happened, and one that runs its statements, since Brian2 gives an event code once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backends.brian import text as words
from backends.brian.text import Table
from neuro.language.scope import NeuronScope


def own_events(scope: NeuronScope, own: Table) -> Iterator[tuple[str, str]]:
    """Brian2's events, and their conditions."""
    for event in scope.events:
        condition = words.text(event.condition, own, condition=True)
        yield own[event.name], condition
        if event.statements:
            yield f"{own[event.name]}_runs", condition


def happen(group: Any, scope: NeuronScope, own: Table, clock: Any) -> None:
    """What is done before the conditions are asked, where they hold, and after the resets."""
    for order, event in enumerate(scope.events):
        said = own[event.name]
        group.run_regularly(f"{said} = 0", when="after_thresholds", order=-1, clock=clock)
        group.run_on_event(said, f"{said} = 1", when="after_thresholds", order=1)
        if event.statements:
            group.run_on_event(f"{said}_runs", words.statements(event.statements, own), order=order)
