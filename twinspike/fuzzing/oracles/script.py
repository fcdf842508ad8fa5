"""g) a network as a Brian2 script, run as a reader would run it: the spikes and traces of the reference."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuro.protocols import Recording, UnsupportedError
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles.outcome import Failure, Outcome, Programs, attempt, expected, limited, summary
from twinspike.fuzzing.oracles.tolerance import BOUND, Sensitivity, first_difference

NAME = "script"
Array = np.ndarray[Any, Any]


class FirstTrial(Case):
    """A case with one trial."""

    def inputs(self) -> dict[str, Array]:
        return {name: array[:1] for name, array in super().inputs().items()}


def check(case: Case, programs: Programs) -> Outcome:
    """Where the reference and Brian2 can run it; what they can't is another oracle's."""
    outcome, one = Outcome(), first_trial(case)
    program = programs.get("reference")
    if isinstance(program, Exception) or isinstance(programs.get("brian2"), Exception):
        return outcome
    wanted = attempt(lambda: one.run(program))
    if isinstance(wanted, Exception):
        return outcome
    found = attempt(lambda: recorded(one, wanted))
    if isinstance(found, UnsupportedError):
        outcome.refusals.append((NAME, f"{found.what}: {found.why}"))
    elif isinstance(found, Exception):
        kind = "raises" if not expected(found) else "refuses"
        outcome.failures.append(Failure(NAME, f"the script {kind}", summary(found)))
    elif difference := first_difference(
        replace(wanted, traces={n: wanted.traces[n] for n in found.traces}, final={}), found, BOUND
    ):
        if Sensitivity(one, wanted).explains(difference):
            outcome.notes.append("tie: script")
        else:
            outcome.failures.append(Failure(NAME, "the script differs", str(difference)))
    return outcome


def first_trial(case: Case) -> Case:
    """The case with its first trial alone."""
    return FirstTrial(case.network, case.steps, 1, case.seed, case.dyadic, case.large)


def recorded(case: Case, wanted: Recording) -> Recording:
    """The script's spikes and the traces of its cells."""
    from backends.brian import to_brian2_script

    cells = {p.name for p in case.network.populations}
    record = [name for name in case.record() if name.partition(".")[0] in cells]
    with limited("brian2"), tempfile.TemporaryDirectory() as folder:
        script = to_brian2_script(case.network, inputs=case.inputs(), record=record, steps=case.steps)
        return recording_of(script, ran(script, Path(folder)), wanted)


def ran(script: Any, folder: Path) -> Mapping[str, Any]:
    """What a script's names mean after it ran."""
    path, *_ = script.write(folder / "network.py")
    found: dict[str, Any] = {"__file__": str(path), "__name__": "script"}
    with as_before(), contextlib.redirect_stdout(io.StringIO()):
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), found)
    return found


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """Brian2's preferences, functions and default clock, which a script sets, are put back."""
    from backends.brian.devices import DEFAULT_FUNCTIONS, fresh_clock, settings

    known = dict(DEFAULT_FUNCTIONS)
    try:
        with settings("numpy"), fresh_clock():
            yield
    finally:
        DEFAULT_FUNCTIONS.clear()
        DEFAULT_FUNCTIONS.update(known)


def recording_of(script: Any, found: Mapping[str, Any], wanted: Recording) -> Recording:
    """wanted: which populations, and of which shape."""
    spikes, traces = {}, {}
    for name, raster in wanted.spikes.items():
        monitor = found[script.monitors[name]]
        spikes[name] = np.zeros(np.shape(raster), bool)
        spikes[name][0, np.round(np.asarray(monitor.t) / wanted.dt).astype(int), np.asarray(monitor.i)] = True
    for name, (monitor, variable) in script.traces.items():
        traces[name] = np.asarray(getattr(found[monitor], f"{variable}_")).T[None]
    return Recording(wanted.dt, spikes, traces)
