"""Some steps of a session: the kernel's arrays have a row for each of them, and what is written once stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed
from backends.common.recording import Wanted
from backends.common.starting_state import layout
from backends.native import drives, synaptic
from backends.native.calls import Call
from backends.native.compiled import CompiledNetwork
from backends.native.executable import Executable
from backends.native.layout import Arrays
from backends.native.recording import places
from backends.native.spike_lists import history, listed
from backends.native.state import Ending, beginning
from neuro.compiler.recordable import units_among
from neuro.events import Events, Rasters
from neuro.language.mangling import mangled
from neuro.protocols import Recording
from neuro.state import State

Array = npt.NDArray[Any]


class Fed:
    """An input's spikes as lists, one per trial, to which rows are added. before: bool [set, batch, step, channel], those before the first step.

    rows: that there is room for. The lists of parameter sets are one where the same spikes were before.
    """

    def __init__(self, before: Array, rows: int) -> None:
        sets, batch, past, size = before.shape
        self.past, self.size, room = past, size, (past + rows) * size
        # a trial's last row ends where the next trial's first begins, so one row more keeps them apart
        self.offsets = np.zeros((sets, batch * (past + rows + 1) + 1), np.int_)
        self.channels = np.empty((sets, batch * room), np.intc)
        self.bounds = self.offsets[:, :-1].reshape(sets, batch, past + rows + 1)
        self.places = np.arange(batch) * room
        self.bounds[:, :, 0] = self.places
        self.one = sets == batch == 1
        for of_set, spikes in enumerate(before):
            self._write(of_set, spikes, 0)
        self._end = int(self.bounds[0, 0, past])

    def add(self, spikes: Array, row: int) -> None:
        """spikes: bool [batch, step, channel], from that row on, which follows the last one."""
        if self.one and spikes.shape[1] == 1:
            fired = spikes.reshape(-1).nonzero()[0]
            end = self._end + len(fired)
            self.channels[0, self._end : end] = fired
            self.bounds[0, 0, self.past + row + 1] = self._end = end
            return
        for of_set in range(len(self.bounds)):
            self._write(of_set, spikes, self.past + row)
        self._end = int(self.bounds[0, 0, self.past + row + spikes.shape[1]])

    def _write(self, of_set: int, spikes: Array, row: int) -> None:
        ends = np.cumsum(np.count_nonzero(spikes, axis=2), axis=1)
        if not ends.size:
            return
        begins = self.bounds[of_set, :, row].copy()
        self.bounds[of_set, :, row + 1 : row + 1 + ends.shape[1]] = begins[:, None] + ends
        trial, _, channel = spikes.nonzero()
        firsts = np.cumsum(ends[:, -1]) - ends[:, -1]
        self.channels[of_set, (begins - firsts)[trial] + np.arange(len(trial))] = channel

    def given(self, array: Array) -> Array:
        """Offsets or channels as a kernel takes them."""
        return array if len(array) > 1 else array[0]

    def between(self, first: int, last: int) -> Events:
        """Of the steps from first to last - 1."""
        offsets = self.bounds[0] - self.places[:, None]
        return listed(offsets, self.channels[0], self.places, (self.past + first, self.past + last), self.size)


class Window:
    """feed: what is the same for all its steps, the state that they begin with among it. steps: that there is room for. done: so far.

    noise: "population.xi" -> [batch, time, neuron].
    """

    def __init__(
        self, compiled: CompiledNetwork, executable: Executable, constants: Arrays, feed: Feed, noise: Mapping[str, Array],
        wanted: Wanted,
    ) -> None:  # fmt: skip
        self.compiled, self.executable, self.steps, self.done = compiled, executable, feed.steps, 0
        self.wanted = wanted
        self.feed = replace(feed, steps=feed.steps + 1)  # the last one is never run: see Fed
        self._delayed = layout(compiled.network).spikes
        self.lists: dict[str, Fed] = {}
        self.currents: dict[str, Array] = {}
        given = compiled.fixed | constants | self._inputs() | self._noise(noise) | places(wanted, compiled.order)
        given |= beginning(compiled, executable, feed.state)
        whole = [(0, self.steps + 1)]
        self.run, call = executable.begun(given, self.feed, 1, compiled.threads, whole, kept=True)
        assert isinstance(call, Call)  # on the host
        self.call = call
        arrays, pointers = self.run.arrays, executable.places
        self._left = [(n, pointers[n], arrays[n].shape, arrays[n].dtype) for n in executable.left_behind if n in arrays]
        self._traces = [(n, arrays[mangled("record", t.owner, t.variable)], t.shape) for n, t in wanted.traces.items()]
        self._plastic = [(s, mangled("final", s.name, "w")) for s in compiled.step.synapses if "w" in s.states]
        cells = [c for c in compiled.step.cells if c.spikes]
        self.populations = {
            c.name: (arrays[mangled("offsets", c.name)], arrays[mangled("events", c.name)], c.size) for c in cells
        }

    def _inputs(self) -> Arrays:
        found = drives.of_run(self.compiled.network, self.feed) | synaptic.of_run(self.compiled.network, self.feed)
        for item in self.compiled.network.inputs:
            if item.kind == "drive":
                continue
            if item.kind == "current":
                rows = self.feed.batch, self.feed.steps, item.size
                found[mangled("current", item.name)] = self.currents[item.name] = np.empty(rows, self.compiled.real)
                found[mangled("channels", item.name)] = np.array([item.size])
                continue
            before = history(self.feed, item.name, item.size)
            if self.feed.population is None:
                before = before[None]
            elif (before == before[:1]).all():
                before = before[:1]
            self.lists[item.name] = fed = Fed(before, self.steps)
            found[mangled("offsets", item.name)] = fed.given(fed.offsets)
            found[mangled("channels", item.name)] = fed.given(fed.channels)
        return found

    def _noise(self, noise: Mapping[str, Array]) -> Arrays:
        found: Arrays = {}
        for name, values in noise.items():
            rows = np.empty((len(values), self.feed.steps, values.shape[2]), self.compiled.real)
            rows[:, :-1] = values
            found[mangled("stream", *name.split(".", 1))] = rows
        return found

    def step(self, inputs: Mapping[str, Array], steps: int) -> Recording | None:
        """The next steps; None where something left the finite numbers. inputs: checked, [batch, steps, channel]."""
        first = self.done
        last = first + steps
        for name, fed in self.lists.items():
            fed.add(inputs[name], first)
        for name, rows in self.currents.items():
            rows[:, first:last] = inputs[name]
        left: Arrays = {}
        for name, place, shape, dtype in self._left:
            left[name] = array = np.empty(shape, dtype)
            self.call.put(place, array)
        if not self.call(first, last):
            return None
        self.done = last
        lead = self.feed.lead
        traces = {}
        for name, values, shape in self._traces:
            own = values[:, first:last].copy()
            traces[name] = own if len(lead) == len(shape) == 1 else own.reshape(*lead, steps, *shape)
        final = {
            f"{s.name}.w": self.compiled.out_of_order(s, left[n]).reshape(*lead, *s.shape) for s, n in self._plastic
        }
        spikes, chosen = self.wanted.fired(_Spikes(self, first, last)), self.wanted.chosen
        units, end = units_among(self.compiled.network, traces), partial(self._state, last, left)
        return Recording(self.compiled.step.dt, spikes, traces, 1, final, end, chosen, units)

    def between(self, source: str, first: int, last: int) -> Events:
        """A source's spikes in the steps from first to last - 1: all trials of all parameter sets, but an input's only once."""
        if source in self.lists:
            return self.lists[source].between(first, last)
        offsets, events, size = self.populations[source]
        places, past = np.arange(len(offsets)) * events[0].size, self.run.past
        return listed(offsets, events, places, (past + first, past + last), size)

    def raster(self, population: str, step: int) -> Array:
        """Spikes of one step of the only trial."""
        offsets, events, size = self.populations[population]
        row = self.run.past + step
        found = np.zeros(size, np.bool_)
        found[events.reshape(-1)[offsets[0, row] : offsets[0, row + 1]]] = True
        return found

    def _state(self, done: int, left: Arrays) -> State:
        spikes = {n: partial(self.between, n, max(done - late, 0), done) for n, (late, _) in self._delayed.items()}
        return Ending(self.compiled, self.executable, replace(self.feed, steps=done), left, spikes).state()


class _Lists(Mapping[str, Events]):
    """Events of the populations in some steps of a window, made when somebody asks."""

    def __init__(self, window: Window, first: int, last: int) -> None:
        self.window, self.first, self.last = window, first, last

    def __getitem__(self, name: str) -> Events:
        if name not in self.window.populations:
            raise KeyError(name)
        return self.window.between(name, self.first, self.last)

    def __iter__(self) -> Iterator[str]:
        return iter(self.window.populations)

    def __len__(self) -> int:
        return len(self.window.populations)


class _Spikes(Rasters):
    """Of some steps of a window; the lists that they are made of stay as they are."""

    def __init__(self, window: Window, first: int, last: int) -> None:
        super().__init__(_Lists(window, first, last), window.feed.lead)
        self._window, self._step, self._single = window, first, last - first == 1 and window.feed.lead == (1,)

    def __getitem__(self, name: str) -> Array:
        if self._single and name not in self._made and name in self._window.populations:
            self._made[name] = self._window.raster(name, self._step)[None, None]
        return super().__getitem__(name)

    def __reduce__(self) -> tuple[type[Rasters], tuple[Any, ...]]:
        """Copies hold their own spikes, not the window."""
        return Rasters, (dict(self.events), self.lead)
