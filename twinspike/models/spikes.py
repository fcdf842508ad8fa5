"""Random spikes as events."""

from __future__ import annotations

import numpy as np

from neuro.events import Events


def random_events(rng: np.random.Generator, shape: tuple[int, int, int], rate: float) -> Events:
    """About `rate` spikes a step and channel, no channel twice in one step; shape: batch, time, channel."""
    batch, time, channels = shape
    cells = batch * time * channels
    rows, found = np.divmod(np.unique(rng.integers(0, cells, round(rate * cells))), channels)
    offsets = np.searchsorted(rows, np.arange(batch * time + 1)).astype(np.int64)
    return Events(shape, offsets, found.astype(np.int32))
