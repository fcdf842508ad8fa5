"""A state as the arrays that a kernel begins with, and what a kernel leaves as a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed
from backends.common.starting_state import last_spikes, layout
from backends.native.compiled import CompiledNetwork
from backends.native.executable import Executable
from backends.native.layout import Arrays
from neuro.events import Events
from neuro.language.mangling import mangled
from neuro.state import State

Array = npt.NDArray[Any]


def beginning(compiled: CompiledNetwork, executable: Executable, state: State | None) -> Arrays:
    """What a kernel begins with that goes on from a state, if there is one: rows of cells' values, and synapses' variables of
    all trials.
    """
    if state is None:
        return {}
    ends, numbers = executable.ends, {**state.variables, **state.sums}
    found = {
        mangled("begin", "values"): ends.values.filled(state.lead, lambda p, v: numbers[f"{p}.{v}"], compiled.real),
        mangled("begin", "left"): ends.left.filled(state.lead, lambda p, v: state.refractory[p], np.intc),
    }
    for s in compiled.step.synapses:
        for name in s.states:
            values = compiled.in_order(s.name, np.asarray(state.variables[f"{s.name}.{name}"]))
            found[mangled("initial", s.name, name)] = values.reshape(-1)
    return found


@dataclass(frozen=True)
class Ending:
    """What a run left, kept until somebody asks for its state. feed: of the run, without its arrays.

    spikes: of the sources whose spikes may be on their way.
    """

    compiled: CompiledNetwork
    executable: Executable
    feed: Feed
    rows: Mapping[str, Array]
    spikes: Mapping[str, Callable[[], Events]]

    @staticmethod
    def of(
        compiled: CompiledNetwork, executable: Executable, feed: Feed, found: Arrays, events: Mapping[str, Callable[[], Events]]
    ) -> Ending:  # fmt: skip
        """found: what a kernel filled. events: of the populations."""
        rows = {n: found[n] for n in executable.left_behind if n in found}
        wanted = layout(compiled.network).spikes
        last = executable.memory.events
        given = {n: partial(last, feed.arrays[n], steps) for n, (steps, _) in wanted.items() if n in feed.arrays}
        return Ending(
            compiled, executable, replace(feed, arrays={}), rows, given | {n: events[n] for n in wanted if n in events}
        )

    def state(self) -> State:
        """After the last step."""
        compiled, feed, wanted = self.compiled, self.feed, layout(self.compiled.network)
        ends, lead = self.executable.ends, feed.lead
        numbers = self._read(ends.values, "values", lead)
        left = self._read(ends.left, "left", lead)
        variables = {n: numbers[n] for n in wanted.variables if n in numbers}
        for s in compiled.step.synapses:
            for name in s.states:
                values = compiled.out_of_order(s, self._row(mangled("final", s.name, name)))
                variables[f"{s.name}.{name}"] = values.reshape(*lead, *s.shape)
        return State(
            compiled.step.dt, feed.start + feed.steps, lead, feed.trial, {n: variables[n] for n in wanted.variables},
            {n: numbers[n] for n in wanted.sums}, {n: left[f"{n}.left"].astype(np.int_) for n in wanted.refractory},
            {n: self._last(n, steps, size) for n, (steps, size) in wanted.spikes.items()},
        )  # fmt: skip

    def _read(self, row: Any, name: str, lead: tuple[int, ...]) -> dict[str, Array]:
        if not row.length:
            return {}
        return {f"{p}.{v}": a for (p, v), a in row.read(self._row(mangled("end", name)), lead).items()}

    def _row(self, name: str) -> Array:
        return self.executable.memory.fetched(self.rows[name])

    def _last(self, source: str, steps: int, size: int) -> Array:
        """A source's spikes in the last steps: some may be older than the run."""
        lead, new = self.feed.lead, min(steps, self.feed.steps)
        last = np.asarray(self.spikes[source]().last(new))
        trials = lead if last.shape[0] == np.prod(lead) else lead[-1:]  # all parameter sets get the same inputs
        found: Array = last_spikes(self.feed.state, source, last.reshape(*trials, new, size), lead, steps)
        return found
