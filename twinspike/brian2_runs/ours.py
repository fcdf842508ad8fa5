"""What was imported, run here, and compared with what Brian2 computed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import backends
from backends.brian.importing.importer import Imported
from twinspike.brian2_runs.watched import Ran, Variable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Comparison:
    """steps, states: compared. spikes: Brian2's. differing: spikes that one side alone has, until which step (the first) there is none.

    trace: the worst error of a trace up to there, as a part of the variable's largest value, and whose it is; end: that of all
    cells and synapses after the last step, of runs whose rasters are equal. theirs, ours: seconds of the two runs.
    """

    steps: int
    states: tuple[str, ...]
    spikes: int
    differing: int
    first: int | None
    trace: float
    worst: str
    end: float
    worst_end: str
    theirs: float
    ours: float


def run(imported: Imported, watched: Sequence[Variable], steps: int, backend: str = "native") -> Ran:
    """Run the network for so many steps. Raises UnsupportedError, RunError."""
    program = backends.get(backend).compile(imported.network)
    inputs = imported.inputs(steps)
    record: Mapping[str, Any] = {v.ours: v.index.tolist() for v in watched}
    program.run(inputs={n: a[:, :1] for n, a in inputs.items()}, record=record, steps=1, batch=1)  # compiled by now
    begin = time.perf_counter()
    found = program.run(inputs=inputs, record=record, steps=steps, batch=1)
    seconds = time.perf_counter() - begin
    state = found.state
    return Ran(
        steps,
        seconds,
        {n: _events(raster[0]) for n, raster in found.spikes.items()},
        {n: np.asarray(a[0]) for n, a in found.traces.items()},
        {v.ours: _end(state.variables[v.ours][0], v) for v in watched},
    )


def _end(values: Array, variable: Variable) -> Array:
    found = np.asarray(values, dtype=np.float64).ravel()
    return found[:1] if variable.scalar else found


def _events(raster: Array) -> tuple[Array, Array]:
    step, cell = np.nonzero(raster)
    return step, cell


def compare(theirs: Ran, ours: Ran) -> Comparison:
    """Spikes exactly, values up to the first step with another spike."""
    steps = min(theirs.steps, ours.steps)
    spikes = differing = 0
    first: int | None = None
    for name in sorted({*theirs.spikes, *ours.spikes}):
        mine, other = (_numbered(r.spikes.get(name), steps) for r in (ours, theirs))
        spikes += len(other)
        apart = np.setxor1d(mine, other)
        differing += len(apart)
        if len(apart):
            step = int(apart[0] >> 32)
            first = step if first is None else min(first, step)
    until = steps if first is None else first
    trace, worst = _worst({n: (theirs.traces[n][:until], ours.traces[n][:until]) for n in ours.traces})
    ends = {n: (theirs.end[n], ours.end[n]) for n in ours.end} if first is None else {}
    end, worst_end = _worst(ends)
    return Comparison(
        steps, tuple(ours.traces), spikes, differing, first, trace, worst, end, worst_end, theirs.seconds, ours.seconds
    )


def _numbered(events: tuple[Array, Array] | None, steps: int) -> Array:
    """Step and cell of each spike as one number."""
    if events is None:
        return np.zeros(0, np.int64)
    step, cell = (a.astype(np.int64) for a in events)
    return ((step << 32) | cell)[step < steps]


def _worst(pairs: Mapping[str, tuple[Array, Array]]) -> tuple[float, str]:
    """The largest difference as a part of the largest value of its variable, and its name."""
    worst, whose = 0.0, ""
    for name, both in pairs.items():
        a, b = (np.asarray(values, np.float64) for values in both)  # Brian2 has truth values too
        if not a.size:
            continue
        with np.errstate(invalid="ignore"):
            apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        scale = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)) or 1.0
        error = float(np.max(np.where(np.isnan(apart), np.inf, apart))) / scale
        if error > worst:
            worst, whose = error, name
    return worst, whose
