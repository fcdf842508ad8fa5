"""Benchmark tasks: data, loss, metric, and the network that goes with them."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

_TASKS = {
    "digits": "tasks.digits:Digits",
    "perturbation": "tasks.perturbation:Perturbation",
    "pattern": "tasks.pattern:Pattern",
    "evidence": "tasks.evidence:Evidence",
    "delayed-choice": "tasks.delayed_choice:DelayedChoice",
    "rflo": "tasks.periodic:Periodic",
    "add": "tasks.add:Add",
    "delayed-match": "tasks.delayed_match:DelayedMatch",
    "store-recall": "tasks.store_recall:StoreRecall",
}


class UnknownTaskError(Exception):
    """No task of that name, or an option that it doesn't take."""


def _registered() -> dict[str, str]:
    return _TASKS | {e.name: e.value for e in entry_points(group="neuro.tasks")}


def names() -> tuple[str, ...]:
    """Names of all tasks, third parties' included (entry point group `neuro.tasks`)."""
    return tuple(_registered())


def get(name: str, **options: Any) -> Any:
    """The task of that name with these options. Raises UnknownTaskError."""
    known = _registered()
    if name not in known:
        close = get_close_matches(name, known, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
        raise UnknownTaskError(f"there is no task '{name}'; {hint}")
    module, _, attribute = known[name].partition(":")
    try:
        return getattr(import_module(module), attribute)(**options)
    except TypeError as error:
        raise UnknownTaskError(f"task '{name}': {error}") from None
