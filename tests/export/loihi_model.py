"""Loihi's cells once more, in 64-bit integers with shifts: nothing in common with the network's text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuro.export.chips.integer import IntegerChain

TOP = 2**23


@dataclass
class Counts:
    wraps: int = 0
    high: int = 0
    low: int = 0


def run(chain: IntegerChain, spikes: np.ndarray) -> tuple[dict[str, np.ndarray], Counts]:
    """spikes: [time, channel]. Rasters [time, cell], and how often states left 24 bits."""
    counts, rasters = Counts(), {x.name: np.zeros((len(spikes), x.size), bool) for x in chain.layers}
    state = {x.name: np.zeros((2, x.size), np.int64) for x in chain.layers}
    before = {chain.source: spikes[0] * 0, **{x.name: np.zeros(x.size, np.int64) for x in chain.layers}}
    for k, arriving in enumerate(spikes):
        after = {chain.source: arriving.astype(np.int64)}
        source = chain.source
        for layer in chain.layers:
            u, v = state[layer.name]
            total = before[source] @ layer.feed + (0 if layer.loop is None else before[layer.name] @ layer.loop)
            u = _decayed(u, layer.cells["i_decay"]) + (total << 6)
            counts.wraps += int(((u > TOP) | (u <= -TOP)).sum())
            u = np.where(u > TOP, u - 2 * TOP, np.where(u <= -TOP, u + 2 * TOP, u))
            v = _decayed(v, layer.cells["v_decay"]) + u + (layer.cells["bias"] << 6)
            counts.high, counts.low = counts.high + int((v > TOP - 1).sum()), counts.low + int((v < 1 - TOP).sum())
            v = np.clip(v, 1 - TOP, TOP - 1)
            fired = v > (layer.cells["v_th"] << 6)
            rasters[layer.name][k], after[layer.name] = fired, fired.astype(np.int64)
            state[layer.name] = np.stack([u, np.where(fired, 0, v)])
            source = layer.name
        before = after
    return rasters, counts


def _decayed(x: np.ndarray, code: np.ndarray) -> np.ndarray:
    return np.sign(x) * ((np.abs(x) * (4096 - code)) >> 12)
