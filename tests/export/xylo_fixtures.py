"""Xylo's integers with nothing trained, its inputs as counts, and its arithmetic once more: one spike after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neuro import Input, Network, Neuron, Population
from neuro.export.chips.xylo_integers import (
    FROM_CELLS,
    FROM_INPUT,
    MOST_HIDDEN,
    MOST_OUTPUT,
    XyloIntegers,
    xylo_network,
)

Array = np.ndarray
relay = Neuron("relay", "n : 1\nc : 1", threshold="n > 0", every_step="n = clip(c, 0, 15)")


def xylo(bias: bool = False, size: int = 8, thresholds: tuple[int, int] = (60, 900), seed: int = 0) -> XyloIntegers:
    """16 -> 60 recurrent -> 8 cells, dashes 1..7. size: of the weights."""
    g = np.random.default_rng(seed)

    def draw(low: int, high: int, *shape: int) -> Array:
        return g.integers(low, high, shape)

    return XyloIntegers(
        name="fixture",
        source="x",
        hidden=(("hidden", 60),),
        output="output",
        dt=1e-3,
        weights_in=draw(-size // 2, size, 16, 60, 2),
        weights_rec=draw(-size, size - 1, 60, 60, 2) * (g.random((60, 60, 2)) < 0.1),
        weights_out=draw(-size // 2, size // 2, 60, 8),
        weight_shift_in=1,
        weight_shift_rec=0,
        weight_shift_out=1,
        dash_mem=draw(1, 8, 60),
        dash_mem_out=draw(1, 8, 8),
        dash_syn=draw(1, 8, 60),
        dash_syn_2=draw(1, 8, 60),
        dash_syn_out=draw(1, 8, 8),
        threshold=draw(*thresholds, 60),
        threshold_out=draw(*thresholds, 8),
        bias=draw(-50, 100, 60) * bias,
        bias_out=draw(-50, 100, 8) * bias,
    )


def counts(steps: int = 400) -> Array:
    """Poisson counts [trial, time, channel]."""
    return np.random.default_rng(9).poisson(0.3, (1, steps, 16))


def later(arriving: Array) -> Array:
    """The same one step later: what the chip must get to be in step with our networks, which delay inputs by one."""
    return np.concatenate([np.zeros_like(arriving[:, :1]), arriving[:, :-1]], axis=1)


def counting(given: XyloIntegers) -> Network:
    """The network with its input as counts: a current into cells that pass it on, one step later."""
    network = xylo_network(given)
    swap = {a.name: b for a, b in zip(FROM_INPUT, FROM_CELLS, strict=True)}
    channels = given.weights_in.shape[0]
    return replace(
        network,
        populations=(Population(given.source, relay, channels), *network.populations),
        projections=tuple(replace(p, synapse=swap.get(p.synapse.name, p.synapse)) for p in network.projections),
        inputs=(Input("counts", channels, "current", f"{given.source}.c"),),
    )


def run(x: XyloIntegers, arriving: Array) -> tuple[Array, Array]:
    """Spikes of hidden and output cells [time, cell]. arriving: counts [time, channel]."""
    hidden, out = np.zeros((len(arriving), 60), int), np.zeros((len(arriving), 8), int)
    i, i_out = np.zeros((60, 2), int), np.zeros((8, 1), int)
    v, v_out, last = np.zeros(60, int), np.zeros(8, int), np.zeros(60, int)
    syn = np.stack([x.dash_syn, x.dash_syn_2], 1)
    for k, row in enumerate(arriving):
        i = _added(i, x.weights_in << x.weight_shift_in, np.minimum(row, 15))
        i = _added(i, x.weights_rec << x.weight_shift_rec, last)
        i_out = _added(i_out, (x.weights_out << x.weight_shift_out)[:, :, None], last)
        i, v, last = _advanced(i, v, syn, x.dash_mem, x.bias, x.threshold, MOST_HIDDEN)
        i_out, v_out, out[k] = _advanced(
            i_out, v_out, x.dash_syn_out[:, None], x.dash_mem_out, x.bias_out, x.threshold_out, MOST_OUTPUT
        )
        hidden[k] = last
    return hidden, out


def _clip(x: Array) -> Array:
    return np.clip(x, -32768, 32767)


def _added(i: Array, weights: Array, spikes: Array) -> Array:
    for source, number in enumerate(spikes):
        for _ in range(number):
            i = _clip(i + weights[source])
    return i


def _decay(x: Array, dash: Array) -> Array:
    found = x >> dash
    return np.where(found == 0, np.sign(x), found)


def _advanced(
    i: Array, v: Array, dash_syn: Array, dash_mem: Array, bias: Array, threshold: Array, most: int
) -> tuple[Array, Array, Array]:
    i = i - _decay(i, dash_syn)
    v = _clip(v + _clip(_clip(i.sum(axis=1) - _decay(v, dash_mem)) + bias))
    fired = np.zeros(len(v), int)
    for _ in range(most):
        above = v >= threshold
        v, fired = v - above * threshold, fired + above
    return i, v, fired
