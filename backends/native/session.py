"""A session whose kernel stays open: checked and allocated once, then each step writes its inputs, calls, and reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import (
    Feed,
    check_room,
    converted,
    draw_poisson,
    given_inputs,
    missing,
    same_trials,
)
from backends.common.recording import check_record
from backends.common.starting_state import check_state, layout, refuse_weights
from backends.common.streaming import Session
from backends.common.values import given_parameters, whole
from backends.native.compiled import CompiledNetwork
from backends.native.window import Window
from neuro.compiler import streams
from neuro.compiler.streams import BLOCK
from neuro.protocols import Parameters, Program, Record, Recording, RunError
from neuro.state import State

Array = npt.NDArray[Any]
ROOM = 2**26  # bytes that the rows of a window may take


class Drawn:
    """Random numbers of a session: those of a block of steps are drawn at once, and used up."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, int, int, Array]] = {}

    def between(self, name: str, draw: Callable[[int, int, int], Array], trial: int, first: int, last: int) -> Array:
        """[batch, time, ...] of the steps from first to last - 1. draw: of a trial, first step, last step + 1."""
        held = self._held.get(name)
        if held is None or held[0] != trial or first < held[1] or last > held[2]:
            begin, end = first // BLOCK * BLOCK, -(-last // BLOCK) * BLOCK
            held = self._held[name] = trial, begin, end, draw(trial, begin, end)
        return held[3][:, first - held[1] : last - held[1]]


class NativeSession(Session):
    """See neuro.protocols.Session. What can be checked before the first step is checked when it opens.

    program: whose session it is; compiled: the same network for the kernel.
    """

    def __init__(
        self, program: Program, compiled: CompiledNetwork, batch: int = 1, parameters: Parameters | None = None,
        record: Record = (), *, trial: int = 0, population: int | None = None, state: State | None = None,
    ) -> None:  # fmt: skip
        network, wanted = compiled.network, check_record(compiled.network, record, 1)
        population = None if population is None else whole("population", population)
        super().__init__(
            program, batch, parameters, record, trial=whole("trial", trial, 0), population=population, state=state
        )
        self._compiled, self._network, self._wanted = compiled, network, wanted
        values = given_parameters(compiled.declared, parameters, population)
        self._executable = compiled.executable(compiled.recorded(wanted), self.batch)
        self._constants = compiled.constants(self._executable, values, population)
        plastic = layout(network).variables
        self._later = {n: v for n, v in (parameters or {}).items() if n not in plastic}
        self._needed = [
            (i.name, np.dtype(np.float64 if i.kind == "current" else np.bool_), i.size)
            for i in network.inputs if not i.drawn
        ]  # fmt: skip
        self._poisson = [i for i in network.inputs if i.kind == "poisson"]
        self._drives = {i.name for i in network.inputs if i.kind == "drive"}
        self._noise = {f"{p.name}.{n}": (p.name, n) for p in network.populations for n in p.neuron.scope.noise}
        self._drawn, self._rows = Drawn(), self._room()
        self._window: Window | None = None
        self._last: Recording | None = None

    def _room(self) -> int:
        """Steps of a window, so that it takes a bounded part of memory."""
        sizes, cells = self._executable.kernel.size, self._compiled.step.cells
        reals = sum(trace.size for trace in self._wanted.traces.values()) * 8
        given = sum(8 * i.size for i in self._network.inputs if i.kind != "drive") + sum(
            8 * sizes(p) for p, _ in self._noise.values()
        )
        row = (self.population or 1) * (reals + sum(4 * c.size for c in cells if c.spikes)) + given
        return max(1, min(BLOCK, ROOM // max(1, row * self.batch)))

    # -- state ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Of the last step. Raises RunError before the first one."""
        return super().state if self._last is None else self._last.state

    @state.setter
    def state(self, state: State) -> None:
        self.close()
        self._state, self._last = state, None

    def close(self) -> None:
        """Give back the kernel's arrays; the next step takes them again."""
        if self._window is not None:
            self._window.call.close()
            self._window = None

    # -- steps ---------------------------------------------------------------------------------------------

    def step(self, inputs: Mapping[str, Any] | None = None, steps: int | None = None) -> Recording:
        """See neuro.protocols.Session."""
        arrays, n = self._given(inputs, steps)
        if n > BLOCK or self._drives & arrays.keys():  # a window has no rows for counts
            return self._at_once(inputs, steps)
        window = self._window
        try:
            if window is None or window.done + n > window.steps:
                window = self._window = self._opened(n)
            if self._poisson:
                arrays = self._with_poisson(arrays, window, n)
            found = window.step(arrays, n)
            if found is not None:
                self._last, self._state, self.parameters = found, None, self._later
                return found
        except BaseException:  # Ctrl-C as well: the next step goes on from the state before this one
            self.close()
            raise
        return self._at_once(inputs, steps)  # something left the finite numbers, and a run names it

    def _at_once(self, inputs: Mapping[str, Any] | None, steps: int | None) -> Recording:
        """The steps as a run of their own."""
        if self._last is not None:
            self._state, self._last = self._last.state, None
        self.close()
        found: Recording = super().step(inputs, steps)
        return found

    def _opened(self, steps: int) -> Window:
        """A window for at least so many steps, which begins with the present state."""
        population, trial, state = self.population, self.trial, self._state
        if self._last is not None:
            state = self._last.state
        elif state is not None:
            state = check_state(self._network, state, self.batch, population).numpy()
            refuse_weights(state, self.parameters)
        self.close()
        trial = trial if state is None else same_trials(state, trial)
        first = 0 if state is None else state.step
        random = self._noise or self._poisson
        room = max(steps, min(self._rows, BLOCK - first % BLOCK if random else BLOCK))
        check_room(self._network, room, self.batch, population or 1, True, room)
        noise = {
            name: self._drawn.between(name, partial(self._draw_noise, *of), trial, first, first + room)
            for name, of in self._noise.items()
        }
        feed = Feed(room, self.batch, {}, population, state, trial)
        return Window(self._compiled, self._executable, self._constants, feed, noise, self._wanted)

    def _draw_noise(self, population: str, name: str, trial: int, first: int, last: int) -> Array:
        return streams.noise(self._network, population, name, trial, self.batch, first, last)

    # -- inputs --------------------------------------------------------------------------------------------

    def _given(self, inputs: Mapping[str, Any] | None, steps: int | None) -> tuple[Mapping[str, Array], int]:
        """Inputs as arrays of their kinds, those that are drawn left out, and the number of steps. Raises RunError."""
        number = self._plain(inputs, steps) if type(inputs) is dict else 0
        if number:
            return inputs or {}, number
        if not inputs and steps is None:
            steps = 1
        given, found, _ = given_inputs(self._network, inputs, steps, self.batch)
        if found is None or found < 1:
            raise RunError(f"a run needs at least one step and one trial, not steps={found}, batch={self.batch}")
        arrays: dict[str, Array] = {}
        for item in self._network.inputs:
            if item.name in given:
                arrays[item.name] = converted(item, given[item.name])
            elif not item.drawn:
                raise missing(self._network, item)
        return arrays, found

    def _plain(self, inputs: dict[str, Any], steps: int | None) -> int:
        """The number of steps where the inputs are as they must be; 0 where they are to be checked one by one."""
        found = 0
        if len(inputs) != len(self._needed):
            return 0
        for name, dtype, size in self._needed:
            array = inputs.get(name)
            if type(array) is not np.ndarray or array.dtype != dtype or array.ndim != 3:
                return 0
            batch, time, channels = array.shape
            if batch != self.batch or channels != size or (found and time != found):
                return 0
            if dtype.kind == "f" and not np.isfinite(array).all():
                return 0
            found = time
        return found if steps is None or (type(steps) is int and steps == found) else 0

    def _with_poisson(self, arrays: Mapping[str, Array], window: Window, steps: int) -> Mapping[str, Array]:
        """With Poisson inputs that nobody gives."""
        first, trial = window.feed.start + window.done, window.feed.trial
        drawn = {
            i.name: self._drawn.between(i.name, partial(self._draw_poisson, i.name), trial, first, first + steps)
            for i in self._poisson
            if i.name not in arrays
        }
        return {**arrays, **drawn}

    def _draw_poisson(self, name: str, trial: int, first: int, last: int) -> Array:
        item = self._network.input(name)
        return draw_poisson(self._network, item, trial, self.batch, last - first, first)
