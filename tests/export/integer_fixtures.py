"""Integer networks with nothing trained, for tests with clients and without."""

from __future__ import annotations

import numpy as np

from neuro.export.chips.integer import IntegerChain, IntegerLayer

Array = np.ndarray


def loihi_cells(size: int, v_th: int, i_decay: int, v_decay: int, bias: Array | int = 0) -> dict[str, Array]:
    numbers = {"v_th": v_th, "i_decay": i_decay, "v_decay": v_decay, "bias": bias}
    return {name: np.broadcast_to(value, (size,)).astype(np.int64) for name, value in numbers.items()}


def loihi(recurrent: bool = False, bias: bool = False, memory: bool = True) -> tuple[IntegerChain, Array]:
    """12 -> 20 -> 5 cells and 200 steps of spikes [1, time, channel]. memory: synaptic currents outlive a step."""
    g = np.random.default_rng(3)
    spikes = g.random((12, 200)) < 0.25
    first, second = 2 * g.integers(-40, 80, (20, 12)), 2 * g.integers(-60, 100, (5, 20))
    loop, biases = 2 * g.integers(-50, 30, (20, 20)), g.integers(-20, 40, 20)
    hidden = loihi_cells(20, 300, 1024 if memory else 4096, 410, biases if bias else 0)
    out = loihi_cells(5, 400, 512 if memory else 4096, 128)
    layers = (
        IntegerLayer("hidden", first.T, loop.T if recurrent else None, hidden),
        IntegerLayer("out", second.T, None, out),
    )
    return IntegerChain("fixture", "x", layers, 1e-3), spikes.T[None]


def per_neuron() -> tuple[IntegerChain, Array]:
    """The same with decays and thresholds of each cell's own, and odd weights."""
    chain, spikes = loihi(recurrent=True)
    g, (hidden, out) = np.random.default_rng(4), chain.layers
    cells = {"v_th": g.integers(150, 500, 20), "i_decay": g.integers(300, 4097, 20), "v_decay": g.integers(0, 1500, 20),
             "bias": g.integers(-20, 40, 20)}  # fmt: skip
    odd = np.clip(hidden.feed + 1, -127, 127)
    loop = np.clip(np.asarray(hidden.loop) - 1, -127, 127)
    return IntegerChain("odd", "x", (IntegerLayer("hidden", odd, loop, cells), out), 1e-3), spikes


def overflowing() -> tuple[IntegerChain, Array]:
    """64 -> 6 cells, 120 steps: currents wrap, membranes saturate on both sides."""
    g = np.random.default_rng(0)
    spikes = g.random((1, 120, 64)) < 0.6
    weights = 2 * g.integers(-20, 127, (64, 6))
    weights[:, 3:] -= 140
    weights = np.clip(weights, -256, 254)
    cells = loihi_cells(6, 131071, 40, 60)
    return IntegerChain("overflow", "x", (IntegerLayer("cells", weights, None, cells),), 1e-3), spikes


def thresholds() -> tuple[IntegerChain, Array]:
    """16 -> 24 -> 6 cells without any memory, weights 1 and -1, thresholds from 0 on: what folded networks are."""
    g = np.random.default_rng(8)
    spikes = g.random((1, 100, 16)) < 0.4
    layers = []
    for name, pre, post in (("hidden", 16, 24), ("out", 24, 6)):
        cells = loihi_cells(post, 0, 4096, 4096) | {"v_th": g.integers(0, 4, post)}
        layers.append(IntegerLayer(name, g.choice([-1, 1], (pre, post)), None, cells))
    return IntegerChain("thresholds", "x", tuple(layers), 1e-3), spikes


def wide() -> tuple[IntegerChain, Array]:
    """64 inputs, 256 recurrent cells, 100 steps."""
    g = np.random.default_rng(6)
    spikes = g.random((1, 100, 64)) < 0.2
    feed, loop = 2 * g.integers(-40, 60, (64, 256)), 2 * g.integers(-30, 25, (256, 256))
    return IntegerChain(
        "wide", "x", (IntegerLayer("cells", feed, loop, loihi_cells(256, 2000, 1024, 256)),), 1e-3
    ), spikes
