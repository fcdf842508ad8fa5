"""A state as the arrays that a kernel begins with, its spikes as the first rows of lists, and what a kernel leaves as a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed
from backends.common.starting_state import last_spikes, layout
from neuro.events import Events
from neuro.language.mangling import mangled
from neuro.state import State

if TYPE_CHECKING:
    from backends.native.executable import Arrays, Executable
    from backends.native.program import NativeProgram

Array = npt.NDArray[Any]


def past_of(feed: Feed) -> int:
    """Steps before a run whose spikes may be on their way: the longest delay, 0 for a run that starts anew."""
    return 0 if feed.state is None else max((s.shape[-2] for s in feed.state.spikes.values()), default=0)


def history(feed: Feed, source: str, size: int) -> Array:
    """A source's spikes in those steps: bool [*lead, step, neuron], none where they can't arrive any more."""
    found = np.zeros((*feed.lead, past_of(feed), size), np.bool_)
    given = None if feed.state is None else feed.state.spikes.get(source)
    if given is not None:
        found[..., found.shape[-2] - given.shape[-2] :, :] = given
    return found


# -- before a run ------------------------------------------------------------------------------------------


def beginning(program: NativeProgram, executable: Executable, state: State) -> Arrays:
    """What a kernel begins with that goes on from a state: rows of cells' values, and synapses' variables of all trials."""
    ends, numbers = executable.ends, {**state.variables, **state.sums}
    found = {
        mangled("begin", "values"): ends.values.filled(state.lead, lambda p, v: numbers[f"{p}.{v}"], program.real),
        mangled("begin", "left"): ends.left.filled(state.lead, lambda p, v: state.refractory[p], np.intc),
    }
    for s in program.step.synapses:
        for name in s.states:
            values = program.in_order(s.name, np.asarray(state.variables[f"{s.name}.{name}"]))
            found[mangled("initial", s.name, name)] = values.reshape(-1)
    return found


def input_lists(feed: Feed, name: str, events: Events) -> tuple[Array, Array]:
    """Offsets and channels of an input's events, with those before the run; a parameter set may have others than the rest."""
    if not past_of(feed):
        return events.offsets, events.channels
    before = history(feed, name, events.shape[2])
    if feed.population is None or (before == before[:1]).all():
        found = Events.following(Events.of(before if feed.population is None else before[0]), events)
        return found.offsets, found.channels
    sets = [Events.following(Events.of(of_set), events) for of_set in before]
    channels = np.zeros((len(sets), max(len(e.channels) for e in sets)), np.int32)
    for row, own in zip(channels, sets, strict=True):
        row[: len(own.channels)] = own.channels
    return np.stack([e.offsets for e in sets]), channels


def list_before(arrays: Arrays, feed: Feed, name: str, size: int) -> None:
    """Writes a population's spikes before the run into the first rows of its lists and of its raster."""
    past = past_of(feed)
    before = history(feed, name, size).reshape(-1, past, size)
    events = Events.of(before)
    bounds = events.offsets[np.arange(len(before))[:, None] * past + np.arange(past + 1)]
    rows = arrays[mangled("offsets", name)]
    rows[:, : past + 1] = bounds - bounds[:, :1]
    trial = np.repeat(np.arange(len(before)), rows[:, past])
    place = np.arange(len(events.channels)) - bounds[trial, 0]
    arrays[mangled("events", name)].reshape(len(before), -1)[trial, place] = events.channels
    raster = arrays.get(mangled("raster", name))
    if raster is not None:
        raster[:, :past] = before


def listed(offsets: Array, channels: Array, places: Array, rows: tuple[int, int], size: int) -> Events:
    """Events of some rows of a kernel's lists. offsets: [trial, row]. places: where each trial's channels begin. size: of a row."""
    offsets = offsets[:, rows[0] : rows[1] + 1]
    counts = offsets[:, -1] - offsets[:, 0]
    starts = np.concatenate([[0], np.cumsum(counts)])
    shifts = places + offsets[:, 0] - starts[:-1]
    found = channels.reshape(-1)[np.repeat(shifts, counts) + np.arange(starts[-1])]
    begins = (offsets[:, :-1] + (starts[:-1] - offsets[:, 0])[:, None]).ravel()
    return Events((len(counts), rows[1] - rows[0], size), np.append(begins, starts[-1]), found)


# -- after a run -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """What a run left, kept until somebody asks for its state. feed: of the run, without its arrays.

    spikes: of the sources whose spikes may be on their way.
    """

    program: NativeProgram
    executable: Executable
    feed: Feed
    rows: Mapping[str, Array]
    spikes: Mapping[str, Callable[[], Events]]

    @staticmethod
    def of(
        program: NativeProgram, executable: Executable, feed: Feed, found: Arrays, events: Mapping[str, Callable[[], Events]]
    ) -> Ending:  # fmt: skip
        """found: what a kernel filled. events: of the populations."""
        rows = {n: found[n] for n in executable.left_behind if n in found}
        wanted = layout(program.merged).spikes
        given = {n: partial(Events.of, feed.arrays[n]) for n in wanted if n in feed.arrays}
        return Ending(
            program, executable, replace(feed, arrays={}), rows, given | {n: events[n] for n in wanted if n in events}
        )

    def state(self) -> State:
        """After the last step."""
        program, feed, wanted = self.program, self.feed, layout(self.program.merged)
        ends, lead = self.executable.ends, feed.lead
        numbers = self._read(ends.values, "values", lead)
        left = self._read(ends.left, "left", lead)
        variables = {n: numbers[n] for n in wanted.variables if n in numbers}
        for s in program.step.synapses:
            for name in s.states:
                values = program.out_of_order(s, self.rows[mangled("final", s.name, name)])
                variables[f"{s.name}.{name}"] = values.reshape(*lead, *s.shape)
        return State(
            program.step.dt, feed.start + feed.steps, lead, feed.trial, {n: variables[n] for n in wanted.variables},
            {n: numbers[n] for n in wanted.sums}, {n: left[f"{n}.left"].astype(np.int_) for n in wanted.refractory},
            {n: self._last(n, steps, size) for n, (steps, size) in wanted.spikes.items()},
        )  # fmt: skip

    def _read(self, row: Any, name: str, lead: tuple[int, ...]) -> dict[str, Array]:
        if not row.length:
            return {}
        return {f"{p}.{v}": a for (p, v), a in row.read(self.rows[mangled("end", name)], lead).items()}

    def _last(self, source: str, steps: int, size: int) -> Array:
        """A source's spikes in the last steps: some may be older than the run."""
        lead, new = self.feed.lead, min(steps, self.feed.steps)
        last = np.asarray(self.spikes[source]().last(new))
        trials = lead if last.shape[0] == np.prod(lead) else lead[-1:]  # all parameter sets get the same inputs
        found: Array = last_spikes(self.feed.state, source, last.reshape(*trials, new, size), lead, steps)
        return found
