"""Numbers in [0, 1] as spikes: bool [batch, time, channel].

latency and rate follow snntorch.spikegen's definitions; they are written here because tasks don't import a simulator,
and so that a trial's spikes don't depend on how a batch is split.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuro import streams

ENCODERS = ("latency", "rate", "poisson")


def latency(values: npt.NDArray[np.floating], steps: int, *, threshold: float = 0.01) -> npt.NDArray[np.bool_]:
    """One spike a channel, the larger the earlier, linear in the value; none below the threshold. values: [batch, channel]."""
    time = np.round((steps - 1) * (1 - np.asarray(values, dtype=np.float64))).astype(int)
    found = np.zeros((values.shape[0], steps, values.shape[1]), bool)
    batch, channel = np.nonzero(values > threshold)
    found[batch, time[batch, channel], channel] = True
    return found


def rate(values: npt.NDArray[np.floating], steps: int, *, seed: int, first: int = 0) -> npt.NDArray[np.bool_]:
    """A spike in each step with probability `value`. first: index of the first trial in the stream."""
    draws = [
        streams.poisson_spikes(seed, "encoder/rate", first + b, 1, steps, np.clip(v, 0, 1))[0]
        for b, v in enumerate(values)
    ]
    return np.stack(draws)


def poisson(
    values: npt.NDArray[np.floating], steps: int, *, seed: int, first: int = 0, dt: float, peak: float
) -> npt.NDArray[np.bool_]:
    """Poisson spikes at `value * peak` Hz, at most one a step of dt seconds."""
    return rate(np.asarray(values) * peak * dt, steps, seed=seed, first=first)
