"""Xylo's integers: 16 bit cells with saturating sums and bit-shift decays, as a Network and as a file of its arrays.

In one step, in 16 bits:

    i += w << shift                  one spike after the other, each sum saturating
    i -= decay(i, dash_syn)          decay(x, d) = x >> d, or sign(x) where that is 0
    v += sum(i) - decay(v, dash_mem) + bias
    n = min(v // threshold, most);  v -= n threshold

The network adds all spikes of a step before it saturates. That is the same unless a sum would leave the 16 bits on the
way: each cell's `unsure` counts the steps in which the order of its spikes could matter, and where all are 0 the
network has computed what the chip computes. A hidden cell's spikes act one step later, as in our networks; input spikes
act in their own step, so the chip is one step ahead of the network.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export import ExportError
from neuro.export.chips.integer import between, check_range
from neuro.export.profile import Integers
from neuro.io.files import replaced
from neuro.language.units import quantity
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse

IntArray = npt.NDArray[np.int64]
WEIGHT, SHIFT, DASH = Integers(-128, 127), Integers(0, 7), Integers(1, 15)
THRESHOLD, BIAS = Integers(1, 32767), Integers(-32768, 32767)
MOST_HIDDEN, MOST_OUTPUT = 31, 1  # spikes of a cell in one step


def _current(i: str, a: str, m: str, d: str) -> str:
    """a: sum of what arrived; m: sum of its sizes, so that (m + a)/2 raised i and (m - a)/2 lowered it."""
    return f"""
    unsure = unsure + int({i} + ({m} + {a})/2 > 32767 or {i} - ({m} - {a})/2 < -32768)
    {i} = clip({i} + {a}, -32768, 32767)
    {i} = {i} - floor({i}/{d}) - int({i} > 0 and {i} < {d})
    """


_MEMBRANE = """
    dv = clip({i} - floor(v/d_mem) - int(v > 0 and v < d_mem), -32768, 32767)
    dv = clip(dv + bias, -32768, 32767)
    v = clip(v + dv, -32768, 32767)
    n = clip(floor(v/v_th), 0, {most})
    v = v - n*v_th
    """

_STATES = "v : 1\ndv : 1\nn : 1\nunsure : 1\n"
xylo_hidden = Neuron(
    "xylo_hidden",
    _STATES + "i0 : 1\ni1 : 1\na0 : 1\na1 : 1\nm0 : 1\nm1 : 1",
    threshold="n > 0",
    every_step=_current("i0", "a0", "m0", "d_syn")
    + _current("i1", "a1", "m1", "d_syn_2")
    + _MEMBRANE.format(i="i0 + i1", most=MOST_HIDDEN),
    parameters={"d_mem": "2", "d_syn": "2", "d_syn_2": "2", "v_th": "1", "bias": "0"},
    source="Bos & Muir (2022), arXiv:2208.12991; integers as in xylosim 0.1.3",
)
xylo_output = Neuron(
    "xylo_output",
    _STATES + "i0 : 1\na0 : 1\nm0 : 1",
    threshold="n > 0",
    every_step=_current("i0", "a0", "m0", "d_syn") + _MEMBRANE.format(i="i0", most=MOST_OUTPUT),
    parameters={"d_mem": "2", "d_syn": "2", "v_th": "1", "bias": "0"},
    source=xylo_hidden.source,
)


def _arrival(name: str, branch: int, count: str = "") -> Synapse:
    return Synapse(name, "w : 1", on_pre=f"a{branch}_post += w{count}; m{branch}_post += abs(w){count}")


FROM_INPUT = tuple(_arrival(f"xylo_input_{b}", b) for b in (0, 1))
FROM_CELLS = tuple(_arrival(f"xylo_spikes_{b}", b, "*n_pre") for b in (0, 1))


@dataclass(frozen=True)
class XyloIntegers:
    """Arrays under rockpool's names. hidden: names and sizes of the populations that share the hidden cells.

    weights_in [input, hidden, 2], weights_rec [hidden, hidden, 2], weights_out [hidden, output]; the last axis is the
    cell's synapse. dt: seconds.
    """

    name: str
    source: str
    hidden: tuple[tuple[str, int], ...]
    output: str
    dt: float
    weights_in: IntArray
    weights_rec: IntArray
    weights_out: IntArray
    weight_shift_in: int
    weight_shift_rec: int
    weight_shift_out: int
    dash_mem: IntArray
    dash_mem_out: IntArray
    dash_syn: IntArray
    dash_syn_2: IntArray
    dash_syn_out: IntArray
    threshold: IntArray
    threshold_out: IntArray
    bias: IntArray
    bias_out: IntArray

    def check(self, inputs: int, hidden: int, outputs: int) -> None:
        """Raises ExportError naming what the chip can't hold."""
        sizes = {"inputs": (self.weights_in.shape[0], inputs), "hidden cells": (len(self.threshold), hidden),
                 "output cells": (len(self.threshold_out), outputs)}  # fmt: skip
        for what, (found, most) in sizes.items():
            if found > most:
                raise ExportError("the network", what, f"{found} of them; the chip has {most}")
        for name, value in self.arrays().items():
            check_range("the network", name, value, _allowed(name))

    def arrays(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)[5:]}

    def write(self, path: Path) -> None:
        """Write an npz file. It replaces an older one at once. Raises OSError."""
        aliases = np.zeros((0, 2), np.int64)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self.arrays(), aliases=aliases, dt=self.dt)
        replaced(path, lambda side: side.write_bytes(buffer.getvalue()))


def _allowed(name: str) -> Integers:
    if name.startswith("weights"):
        return WEIGHT
    if name.startswith("weight_shift"):
        return SHIFT
    if name.startswith("dash"):
        return DASH
    return THRESHOLD if name.startswith("threshold") else BIAS


def xylo_network(given: XyloIntegers) -> Network:
    """The network that computes with the chip's integers."""
    populations, projections, start = [], [], 0
    slices = {}
    for name, size in given.hidden:
        slices[name] = slice(start, start + size)
        start += size
        numbers = {"d_mem": 2**given.dash_mem, "d_syn": 2**given.dash_syn, "d_syn_2": 2**given.dash_syn_2,
                   "v_th": given.threshold, "bias": given.bias}  # fmt: skip
        parts = {n: quantity(v[slices[name]]) for n, v in numbers.items()}
        populations.append(Population(name, xylo_hidden, size, parts))
    numbers = {"d_mem": 2**given.dash_mem_out, "d_syn": 2**given.dash_syn_out, "v_th": given.threshold_out,
               "bias": given.bias_out}  # fmt: skip
    last = {n: quantity(v) for n, v in numbers.items()}
    populations.append(Population(given.output, xylo_output, len(given.threshold_out), last))
    taken = {given.source, given.output, *slices}
    for post, part in slices.items():
        for branch in (0, 1):
            weights = given.weights_in[:, part, branch] << given.weight_shift_in
            projections += _projection(given.source, post, FROM_INPUT[branch], weights, taken)
            for pre, rows in slices.items():
                weights = given.weights_rec[rows, part, branch] << given.weight_shift_rec
                projections += _projection(pre, post, FROM_CELLS[branch], weights, taken)
    for pre, rows in slices.items():
        weights = given.weights_out[rows] << given.weight_shift_out
        projections += _projection(pre, given.output, FROM_CELLS[0], weights, taken)
    inputs = (Input(given.source, given.weights_in.shape[0]),)
    return Network(tuple(populations), tuple(projections), inputs, dt=quantity(given.dt, "s"), name=given.name)


def _projection(pre: str, post: str, synapse: Synapse, weights: IntArray, taken: set[str]) -> list[Projection]:
    """None without weights."""
    if not weights.any():
        return []
    return [Projection(between(pre, post, taken), pre, post, synapse, quantity(weights))]
