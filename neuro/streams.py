"""Counter-based random streams: the same numbers on every backend and for every batch split.

A stream is named; its key is a hash of (seed, name), its counter the trial and the block of steps.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 256  # steps drawn at once


def generator(seed: int, name: str, trial: int = 0, block: int = 0) -> np.random.Generator:
    """A Philox generator for one (seed, stream, trial, block)."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    key = np.frombuffer(digest[:16], dtype=np.uint64)
    counter = np.array([0, 0, trial, block], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _blocks(seed: int, name: str, trial: int, steps: int, size: int, kind: str) -> npt.NDArray[np.float64]:
    parts = []
    for block in range(-(-steps // BLOCK)):
        draw = generator(seed, name, trial, block)
        shape = (BLOCK, size)
        parts.append(draw.standard_normal(shape) if kind == "normal" else draw.random(shape))
    return np.concatenate(parts)[:steps] if parts else np.zeros((0, size))


def normal(seed: int, name: str, trial: int, batch: int, steps: int, size: int) -> npt.NDArray[np.float64]:
    """Standard normal numbers [batch, time, neuron] for the trials trial, trial + 1, ..."""
    return np.stack([_blocks(seed, name, trial + b, steps, size, "normal") for b in range(batch)])


def poisson_spikes(
    seed: int, name: str, trial: int, batch: int, steps: int, probability: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Spikes [batch, time, channel]: at most one a step, each with its channel's probability."""
    size = probability.shape[0]
    draws = [_blocks(seed, name, trial + b, steps, size, "uniform") < probability for b in range(batch)]
    return np.stack(draws)


def draw(seed: int, name: str, distribution: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """SI values of a Normal or Uniform distribution."""
    random = generator(seed, name)
    if hasattr(distribution, "mean"):
        return np.asarray(distribution.mean.value + distribution.std.value * random.standard_normal(shape))
    low, high = distribution.low.value, distribution.high.value
    return np.asarray(low + (high - low) * random.random(shape))
