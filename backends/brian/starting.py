"""What is done at the start of a step in Brian2's objects: inputs are written; then run_regularly, by a clock for each period, in the order of the Step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from backends.brian import text as words
from backends.brian.built import Built
from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from neuro.compiler.resolve import steps_of
from neuro.language.scope import NeuronScope, SynapseScope
from neuro.model import Network, Projection

FIRST = -(2**30)  # the order of what is done before everything else of a slot: inputs are written


def starting(network: Network, built: Built, limit: Callable[[Projection], str]) -> None:
    """Adds it to groups and synapses: what is held for a step, then what cells and synapses do regularly. limit: the statement that keeps a
    projection's weights within bounds."""
    owners: list[tuple[str, Any, NeuronScope | SynapseScope, str]] = [
        (p.name, built.groups[p.name], p.neuron.scope, "") for p in network.populations
    ]
    there = (p for p in network.projections if p.name in built.synapses)
    owners += [(p.name, built.synapses[p.name], p.synapse.scope, limit(p)) for p in there]
    tasks = [(group, 1, words.statements(scope.held, built.names[name])) for name, group, scope, _ in owners]
    for name, group, scope, bound in owners:
        for regular in scope.regularly:
            code = words.statements(regular.statements, built.names[name], limit=bound)
            tasks.append((group, int(steps_of(regular.period, network.dt)), code))
    clocks = {1: built.clock}
    for order, (group, steps, code) in zip(count(FIRST + 1), tasks, strict=False):
        if code and steps not in clocks:
            clocks[steps] = brian2.Clock(dt=steps * built.clock.dt, name=f"every{steps}")
        if code:
            group.run_regularly(code, when="start", order=order, clock=clocks[steps])


def feeds(built: Built, steps: int | None) -> None:
    """Write each step's inputs and noise: from tables in a program built in C++ for so many steps, by Python elsewhere.

    The generated code holds a table's shape, so tables would be compiled again for each number of steps.
    """
    clock = built.clock
    if steps is None:

        def write() -> None:
            step = int(np.asarray(clock.timestep[:]).item()) - built.first
            for name, feed in built.feeds.items():
                feed.group.variables[feed.variable].set_value(built.arrays[name][step])

        built.network.add(brian2.NetworkOperation(write, when="start", order=FIRST, clock=clock, name="write_inputs"))
        return
    for number, (name, feed) in enumerate(built.feeds.items()):
        table = built.names.given(name, number)
        built.tables[name] = brian2.TimedArray(np.zeros((steps, len(feed.group))), dt=clock.dt, name=table)
        code = f"{feed.variable} = {table}(t, {feed.place})*({feed.unit})"
        feed.group.run_regularly(code, when="start", order=FIRST, clock=clock)
