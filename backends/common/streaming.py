"""Runs that go on: a long one in parts of bounded memory, and a session that is stepped from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from backends.common.values import named, whole
from neuro.events import Events, Rasters
from neuro.language.foreign import shown
from neuro.protocols import Inputs, Parameters, Program, Record, Recording, RunError
from neuro.state import State

Source = Inputs | Callable[[int, int], Inputs]


def stream(
    program: Program,
    parameters: Parameters | None = None,
    inputs: Source | None = None,
    record: Record = (),
    *,
    steps: int,
    chunk: int,
    every: int = 1,
    state: State | None = None,
    **options: Any,
) -> Iterator[Recording]:
    """A run of so many steps as recordings of `chunk` steps each, the last one of what is left; together they are the whole.

    Of no steps, none. Memory follows `chunk`, not `steps`. inputs: arrays of the whole run, or a function (first, last) -> inputs of the steps
    from first to last - 1 of this run. The rest as in Program.run. Raises RunError.
    """
    every = check_part("chunk", chunk, every)
    steps = whole("steps", steps, 0)
    yield from in_parts(
        program.run, parameters, inputs, record, steps=steps, length=chunk, state=state, every=every, **options
    )


def check_part(what: str, length: int, every: int) -> int:
    """`every`, of parts of so many steps. what: how the length is called. Raises RunError unless frames end where parts do."""
    length, every = whole(what, length), whole("every", every)
    if length % every:
        raise RunError(
            f"{what}={length} is no multiple of every={every}; give {what}={length // every * every or every}"
        )
    return every


def in_parts(
    run: Callable[..., Any], parameters: Any, inputs: Any, record: Record, *,
    steps: int, length: int, state: State | None, carried: Callable[[State], State] = lambda state: state, **options: Any,
) -> Iterator[Any]:  # fmt: skip
    """What a run of so many steps gives in parts of `length`, each of which begins with the state that the last one ended with.

    run: a program's run or forward. inputs: see `stream`. carried: what is done to a state on its way into the next part.
    """
    given = inputs if callable(inputs) else parts_of(inputs, steps)
    for first in range(0, steps, length):
        last = min(first + length, steps)
        found = run(parameters, given(first, last), record, steps=last - first, state=state, **options)
        state = carried(found.state)
        parameters = without_plastic(parameters, state)
        yield found


def parts_of(inputs: Inputs | None, steps: int) -> Callable[[int, int], Inputs]:
    """What gives the inputs of some steps of a run. Raises RunError."""
    arrays = named(inputs, "inputs")
    for name, array in arrays.items():
        if not hasattr(array, "shape") or len(array.shape) < 2:
            raise RunError(f"input '{name}' is {shown(array)}; give an array [batch, time, channel]")
        if array.shape[1] != steps:
            raise RunError(f"input '{name}' has {array.shape[1]} entries along time; the run has {steps}")
    return lambda first, last: {
        n: a.between(first, last) if isinstance(a, Events) else a[:, first:last] for n, a in arrays.items()
    }


def one_after_another(parts: Sequence[Recording], axis: int) -> Recording:
    """Recordings of parts of a run as that of the whole. axis: that of time."""
    end, spikes = parts[-1], [p.spikes for p in parts]
    rasters: Mapping[str, Any]
    if all(isinstance(s, Rasters) for s in spikes):
        lists: list[Rasters] = spikes  # type: ignore[assignment]
        rasters = Rasters({n: Events.following(*(s.events[n] for s in lists)) for n in lists[0].events}, lists[0].lead)
    else:
        rasters = {n: np.concatenate([s[n] for s in spikes], axis) for n in spikes[0]}
    traces = {n: np.concatenate([p.traces[n] for p in parts], axis) for n in end.traces}
    return replace(end, spikes=rasters, traces=traces)


def without_plastic(parameters: Parameters | None, state: State) -> Parameters:
    """The parameters of the parts that follow: plastic weights are the state's then."""
    return {n: v for n, v in (parameters or {}).items() if n not in state.variables}


def _record(record: Record) -> Record:
    """Read once, for all steps."""
    return dict(record) if isinstance(record, Mapping) else tuple(record)


class Session:
    """A run that is advanced from outside, step by step: an agent's network in its environment.

    Opened by `program.session(...)`. state: what the next step begins with; it may be replaced.
    """

    def __init__(
        self,
        program: Program,
        batch: int = 1,
        parameters: Parameters | None = None,
        record: Record = (),
        *,
        trial: int = 0,
        population: int | None = None,
        state: State | None = None,
    ) -> None:
        self.program, self.batch, self.record = program, whole("batch", batch), _record(record)
        self.parameters, self.trial, self.population = parameters, trial, population
        self._state = state
        self._run: Callable[..., Any] = program.run

    @property
    def state(self) -> State:
        """Of the last step. Raises RunError before the first one."""
        if self._state is None:
            raise RunError("this session has not begun; step() first")
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state

    def step(self, inputs: Mapping[str, Any] | None = None, steps: int | None = None) -> Any:
        """The next step, or as many as the inputs have, or `steps`. inputs: as in Program.run. Raises RunError."""
        if not inputs and steps is None:
            steps = 1
        found = self._run(
            self.parameters, inputs, self.record, steps=steps, batch=self.batch, trial=self.trial,
            population=self.population, state=self._state,
        )  # fmt: skip
        self._state = found.state
        self.parameters = without_plastic(self.parameters, found.state)
        return found

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the session holds."""


class GraphSession(Session):
    """A session under autograd: each step gives Signals, and gradients go back through all steps since the last `cut`."""

    def __init__(self, program: Any, *options: Any, **more: Any) -> None:
        super().__init__(program, *options, **more)
        self._run = program.forward

    def cut(self) -> None:
        """Forget what led to the present state: no gradient goes back through it. Raises RunError before the first step."""
        self.state = self.state.detach()
