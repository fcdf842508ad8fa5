"""Numbers in [0, 1] as spikes: events of [batch, time, channel].

latency and rate follow snntorch.spikegen's definitions; they are written here so that nobody needs a simulator for them,
and so that a trial's spikes don't depend on how a batch is split. Times that are known are taken by `Events.from_times`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.events import Events

ENCODERS = ("latency", "rate", "poisson")


def latency(values: npt.NDArray[np.floating], steps: int, *, threshold: float = 0.01) -> Events:
    """One spike a channel, the larger the earlier, linear in the value; none below the threshold. values: [batch, channel]."""
    time = np.round((steps - 1) * (1 - np.asarray(values, dtype=np.float64))).astype(int)
    batch, channel = np.nonzero(values > threshold)
    rows = batch * steps + time[batch, channel]
    order = np.argsort(rows, kind="stable")
    offsets = np.searchsorted(rows[order], np.arange(len(values) * steps + 1)).astype(np.int64)
    return Events((len(values), steps, values.shape[1]), offsets, channel[order].astype(np.int32))


def rate(values: npt.NDArray[np.floating], steps: int, *, seed: int, first: int = 0) -> Events:
    """A spike in each step with probability `value`. first: index of the first trial in the stream."""
    return Events.joined(
        [
            Events.of(streams.poisson_spikes(seed, "encoder/rate", first + b, 1, steps, np.clip(v, 0, 1)))
            for b, v in enumerate(values)
        ]
    )


def poisson(
    values: npt.NDArray[np.floating], steps: int, *, seed: int, first: int = 0, dt: float, peak: float
) -> Events:
    """Poisson spikes at `value * peak` Hz, at most one per step of dt seconds."""
    return rate(np.asarray(values) * peak * dt, steps, seed=seed, first=first)
