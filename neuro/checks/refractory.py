"""Rules for refractory periods, and for what cells know of their spikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from neuro.checks.common import caught, check_same_unit, plain
from neuro.checks.parts import Neuron, Population
from neuro.language.dimensions import dimension_of
from neuro.language.equations import Problem, Statement
from neuro.language.scope import SPIKE_STATES
from neuro.language.units import Dimension, Quantity, unit

_SECOND = unit("second").dimension


def check_refractory(item: Neuron, names: Mapping[str, Dimension]) -> Iterator[Problem]:
    """One time of at least 0, or a text that gives a time or a condition."""
    where, given = f"neuron '{item.name}', refractory", item.refractory
    if isinstance(given, str):
        yield from check_text(item, names)
        return
    yield from check_same_unit("refractory", given, _SECOND, where)
    if given.shape or not given.value >= 0:
        fix = "give one time; for one per cell name a parameter: refractory='its name'"
        yield plain(where, "the refractory period must be one time of at least 0", fix, str(given))


def check_text(item: Neuron, names: Mapping[str, Dimension]) -> Iterator[Problem]:
    text = item.scope.refractory
    if text is None:
        yield plain(f"neuron '{item.name}', refractory", "the text is empty", "write '2 ms', or leave it out")
        return
    if item.scope.threshold is None:
        message = "there is a refractory period but no threshold"
        yield text.source.problem(message, "add a threshold such as 'v > v_th'")
        return

    def check() -> None:
        found = dimension_of(text, names)
        if found not in ("boolean", _SECOND):
            message = f"the refractory period is in {found}; it is a time or a condition"
            raise text.source.fail(message, "write an expression in seconds, or compare, like 'v > -20*mV'", text.tree)

    yield from caught(check)


def check_assigned(statement: Statement) -> Iterator[Problem]:
    """What a cell knows of its spikes, only spikes change."""
    name = statement.target.removesuffix("_post")
    if name in SPIKE_STATES:
        message = f"'{name}' follows from the cell's spikes and can't be assigned"
        fix = "use a variable of your own: set it in the reset"
        yield statement.source.problem(message, fix, length=len(statement.target))


def check_first(item: Population, dt: Quantity) -> Iterator[Problem]:
    """The time of a spike before the first step lies on the grid of steps."""
    value = item.initial_values().get("lastspike")
    if value is None:
        return
    where = f"population '{item.name}', initial 'lastspike'"
    if not isinstance(value, Quantity):
        yield plain(where, "it can't be drawn", "give a time, or one for each cell", str(value))
        return
    steps = np.asarray(value.value) / dt.value
    if (np.abs(steps - np.rint(steps)) > 1e-6).any():
        yield plain(where, f"a spike's time is a multiple of dt = {dt}", "give whole numbers of steps", str(value))
