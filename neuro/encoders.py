"""Numbers in [0, 1] [batch, channel], and signals (`bsa`), as spikes: events of [batch, time, channel]. All raise EventsError on other numbers.

latency and rate follow snntorch.spikegen's definitions; they are written here so that nobody needs a simulator for them,
and so that a trial's spikes don't depend on how a batch is split. Times that are known are taken by `Events.from_times`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.events import Events, EventsError

ENCODERS = ("latency", "rate", "poisson")
_TAPS = np.exp(-((np.arange(24) - 12.0) ** 2) / 25)
BELL = _TAPS / _TAPS.sum()  # a filter of BSA's that cochleas are read with: a Gaussian of 24 steps, sum 1


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


def bsa(values: npt.NDArray[np.floating], *, kernel: npt.NDArray[np.floating] = BELL, threshold: float = 0.6) -> Events:
    """Ben's spiker algorithm: spikes whose sum, each spread out by a kernel, is about the signal. values: [batch, time, channel], not negative.

    A step spikes where taking the kernel away from the signal, from this step on, makes the sum of what is left smaller by more than the threshold. After the
    last step there is silence. Source: Schrauwen & Van Campenhout (2003), IJCNN, 2825.
    """
    taps = np.asarray(kernel, np.float64)
    left = _numbers(values, ("batch", "time", "channel"), np.inf).astype(np.float64)
    batch, time, size = left.shape
    left = np.concatenate([left, np.zeros((batch, len(taps), size))], axis=1)
    fired = np.zeros((batch, time, size), bool)
    for k in range(time):
        window = left[:, k : k + len(taps)]
        without = window - taps[:, None]
        fired[:, k] = np.abs(without).sum(axis=1) < np.abs(window).sum(axis=1) - threshold
        left[:, k : k + len(taps)] = np.where(fired[:, k, None], without, window)
    return Events.of(fired)


def _checked(values: npt.ArrayLike, steps: int) -> npt.NDArray[np.floating]:
    """Numbers from 0 to 1 to encode. Raises EventsError."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise EventsError(f"steps={steps!r}; give a whole number of at least 1")
    return _numbers(values, ("batch", "channel"), 1.0)


def _numbers(values: npt.ArrayLike, axes: tuple[str, ...], most: float) -> npt.NDArray[np.floating]:
    """Finite numbers from 0 to `most` with these axes. Raises EventsError."""
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise EventsError(f"values that are no array of numbers: {error}") from None
    if found.ndim != len(axes) or found.dtype.kind not in "biuf":
        raise EventsError(f"values of the shape {found.shape} and {found.dtype}; give numbers [{', '.join(axes)}]")
    for place in np.argwhere(~((found >= 0) & (found <= most) & np.isfinite(found)))[:1]:
        where = ", ".join(f"{'example' if a == 'batch' else a} {k}" for a, k in zip(axes, place, strict=True))
        limits = f"from 0 to {most:g}" if np.isfinite(most) else "of at least 0"
        raise EventsError(f"{where}: {found[tuple(place)]} is no number {limits}; scale the values")
    return found.astype(np.float64) if found.dtype.kind in "biu" else found
