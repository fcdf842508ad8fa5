"""Random spikes as events."""

from __future__ import annotations

import numpy as np

from neuro.events import Events


def random_events(rng: np.random.Generator, shape: tuple[int, int, int], rate: float) -> Events:
    """About `rate` spikes a step and channel; shape: batch, time, channel. A channel may fire twice in one step."""
    batch, time, channels = shape
    counts = rng.poisson(rate * channels, batch * time)
    offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
    return Events(shape, offsets, rng.integers(0, channels, int(offsets[-1]), dtype=np.int32))
