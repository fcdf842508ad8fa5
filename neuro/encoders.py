"""Numbers in [0, 1] as spikes, and signals: events of [batch, time, channel].

latency and rate follow snntorch.spikegen's definitions; they are written here so that nobody needs a simulator for them,
and so that a trial's spikes don't depend on how a batch is split. Times that are known are taken by `Events.from_times`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.events import Events

ENCODERS = ("latency", "rate", "poisson")
_TAPS = np.exp(-((np.arange(24) - 12.0) ** 2) / 25)
BELL = _TAPS / _TAPS.sum()  # a filter of BSA's that cochleas are read with: a Gaussian of 24 steps, sum 1


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


def bsa(values: npt.NDArray[np.floating], *, kernel: npt.NDArray[np.floating] = BELL, threshold: float = 0.6) -> Events:
    """Ben's spiker algorithm: spikes whose sum, each spread out by a kernel, is about the signal. values: [batch, time, channel], not negative.

    A step spikes where taking the kernel away from the signal, from this step on, makes the sum of what is left smaller by more than the threshold. After the
    last step there is silence. Source: Schrauwen & Van Campenhout (2003), IJCNN, 2825.
    """
    taps = np.asarray(kernel, np.float64)
    left = np.array(values, np.float64)
    batch, time, size = left.shape
    left = np.concatenate([left, np.zeros((batch, len(taps), size))], axis=1)
    fired = np.zeros((batch, time, size), bool)
    for k in range(time):
        window = left[:, k : k + len(taps)]
        without = window - taps[:, None]
        fired[:, k] = np.abs(without).sum(axis=1) < np.abs(window).sum(axis=1) - threshold
        left[:, k : k + len(taps)] = np.where(fired[:, k, None], without, window)
    return Events.of(fired)
