"""Statements at the start of every n-th step: read by period, the shortest first, whatever order they were written in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from neuro.language.equations import ModelError, Problem, Statement, parse_statements
from neuro.language.units import Quantity, UnitError, quantity, unit


@dataclass(frozen=True)
class Regular:
    """Statements that run at the start of the first step, and then once a period. text: the period as the user wrote it."""

    period: Quantity
    text: str
    statements: tuple[Statement, ...]


def parse_regularly(blocks: Iterable[tuple[str, str]], where: str, draws: str = "") -> tuple[Regular, ...]:
    """Read statements by their period. draws: as for `parse_statements`. Raises ModelError on text that can't be read."""
    read = sorted(
        ((_period(text, where), text, block) for text, block in blocks), key=lambda item: float(item[0].value)
    )
    for (period, text, _), (other, again, _) in pairwise(read):
        if period.value == other.value:
            message = f"'{text}' and '{again}' are the same period, and nothing says which statements come first"
            raise ModelError([Problem(where, again, 0, len(again), message, "write them in one block")])
    found = []
    for number, (period, text, block) in enumerate(read, start=1):
        own = f"{draws}_{number}" if draws else ""
        found.append(Regular(period, text, parse_statements(block, f"{where} '{text}'", own)))
    return tuple(found)


def _period(text: str, where: str) -> Quantity:
    def fail(message: str) -> ModelError:
        return ModelError([Problem(where, text, 0, len(text), message, "give a time, like '10 ms'")])

    try:
        found = quantity(text)
    except UnitError as error:
        raise fail(str(error)) from None
    if found.dimension != unit("second").dimension or not 0 < float(found.value) < float("inf"):
        raise fail(f"'{text}' is not a positive time")
    return found
