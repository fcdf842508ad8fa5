"""Numbers in [0, 1] [batch, channel] as spikes: events of [batch, time, channel]. All raise EventsError on other numbers.

latency and rate follow snntorch.spikegen's definitions; they are written here so that nobody needs a simulator for them,
and so that a trial's spikes don't depend on how a batch is split. Times that are known are taken by `Events.from_times`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.events import Events, EventsError

ENCODERS = ("latency", "rate", "poisson")


def latency(values: npt.NDArray[np.floating], steps: int, *, threshold: float = 0.01) -> Events:
    """One spike a channel, the larger the earlier, linear in the value; none below the threshold. values: [batch, channel]."""
    values = _checked(values, steps)
    time = np.round((steps - 1) * (1 - values.astype(np.float64))).astype(int)
    batch, channel = np.nonzero(values > threshold)
    rows = batch * steps + time[batch, channel]
    order = np.argsort(rows, kind="stable")
    offsets = np.searchsorted(rows[order], np.arange(len(values) * steps + 1)).astype(np.int64)
    return Events((len(values), steps, values.shape[1]), offsets, channel[order].astype(np.int32))


def rate(values: npt.NDArray[np.floating], steps: int, *, seed: int, first: int = 0) -> Events:
    """A spike in each step with probability `value`. first: index of the first trial in the stream."""
    values = _checked(values, steps)
    trials = [
        Events.of(streams.poisson_spikes(seed, "encoder/rate", first + b, 1, steps, v)) for b, v in enumerate(values)
    ]
    return Events.joined(trials) if trials else Events.of(np.zeros((0, steps, values.shape[1])))


def poisson(
    values: npt.NDArray[np.floating], steps: int, *, seed: int, first: int = 0, dt: float, peak: float
) -> Events:
    """Poisson spikes at `value * peak` Hz, at most one per step of dt seconds."""
    if not 0 <= peak * dt <= 1:
        raise EventsError(
            f"peak={peak} Hz is {peak * dt:g} spikes a step of {dt:g} s, where none to one fits; give another peak, or shorter steps"
        )
    return rate(_checked(values, steps) * peak * dt, steps, seed=seed, first=first)


def _checked(values: npt.ArrayLike, steps: int) -> npt.NDArray[np.floating]:
    """Numbers to encode. Raises EventsError."""
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise EventsError(f"values that are no array of numbers: {error}") from None
    if found.ndim != 2 or found.dtype.kind not in "biuf":
        raise EventsError(f"values of the shape {found.shape} and {found.dtype}; give numbers [batch, channel]")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise EventsError(f"steps={steps!r}; give a whole number of at least 1")
    for batch, channel in np.argwhere(~((found >= 0) & (found <= 1)))[:1]:
        value = found[batch, channel]
        raise EventsError(f"example {batch}, channel {channel}: {value} is no number from 0 to 1; scale the values")
    return found.astype(np.float64) if found.dtype.kind in "biu" else found
