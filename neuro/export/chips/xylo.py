"""Xylo Audio 2 and 3: chains of cells with a synaptic current, the last population as the chip's output cells.

Source: limits as rockpool 3.1 checks them; Bos & Muir (2022), arXiv:2208.12991.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from neuro.export import ExportError
from neuro.export.chips.dequantised import Held, integer_export
from neuro.export.chips.integer import Array, IntArray
from neuro.export.chips.xylo_integers import BIAS, MOST_HIDDEN, SHIFT, THRESHOLD, WEIGHT, XyloIntegers, xylo_network
from neuro.export.layers import Graph, Layer, read
from neuro.export.profile import Decay, Profile, State
from neuro.export.quantisation.quantisers import Quantiser
from neuro.export.targets import Export, Target
from neuro.model import Network
from neuro.protocols import Parameters

_AUDIO_2 = Profile(
    name="xylo-a2",
    title="Xylo Audio 2",
    suffix=".npz",
    neurons=("cuba_lif",),
    thresholds=(">", ">="),
    resets=("subtract",),
    weight=WEIGHT,
    threshold=THRESHOLD,
    bias=BIAS,
    current=State(16, "saturate"),
    voltage=State(16, "saturate"),
    decay=Decay("dash", 4),
    inputs=16,
    hidden=1000,
    outputs=8,
    layers=(2, None),
    output_recurrence=False,
    input_spikes=15,
    input_latency=0,
    spikes=MOST_HIDDEN,
    order="add-decay",
)
_AUDIO_3 = replace(_AUDIO_2, name="xylo-a3", title="Xylo Audio 3", hidden=992, outputs=32)
_CODES = Quantiser(bits=8, per="neuron", symmetric=True)
_HEADROOM = 4  # times the threshold, which currents and membranes may reach within 16 bits
_EXACT = 1e-3  # relative error of a leak that counts as none
_GUARD = "Where a cell's `unsure` is above 0, sums came near 16 bits: the chip may then differ from the network."


def export(network: Network, parameters: Parameters | None, path: Path, *, profile: Profile) -> Export:
    """Write the arrays of a network. See neuro.export.targets.Target."""
    graph = read(network, parameters, profile)
    layers = graph.chain()
    dashes = [_dashes(layer) for layer in layers]
    integers = _quantise(graph, layers, dashes, network.name)
    integers.check(profile.inputs or 0, profile.hidden or 0, profile.outputs or 0)
    integers.write(path)
    held, guards = _held(layers, dashes, integers), tuple(f"{layer.name}.unsure" for layer in layers)
    more = {"guards": guards, "notes": (_GUARD,)}
    return integer_export(profile, path, graph, layers, held, xylo_network(integers), **more)


AUDIO_2 = Target(_AUDIO_2, partial(export, profile=_AUDIO_2))
AUDIO_3 = Target(_AUDIO_3, partial(export, profile=_AUDIO_3))


# -- integers -----------------------------------------------------------------------------------------------------


def _dashes(layer: Layer) -> tuple[IntArray, IntArray]:
    """Bit shifts of membrane and current. Raises ExportError where a leak is no power of two."""
    found = []
    for what, decay in (("membrane", layer.numbers.beta), ("current", layer.numbers.alpha)):
        leak = 1 - np.asarray(decay)
        dash = np.clip(np.rint(-np.log2(leak)), 1, 15).astype(np.int64)
        wrong = np.abs(2.0**-dash / leak - 1) > _EXACT
        if wrong.any():
            near, tau = dash[wrong][0], -1 / np.log1p(-(2.0 ** -dash[wrong][0]))
            why = (
                f"a step takes {leak[wrong][0]:.4g} of the {what} away, the chip 1/2, 1/4, ... 1/32768; for 1/{2**near} "
                f"train with a time constant of {tau:.6g} dt (method 'exact')"
            )
            raise ExportError(f"population '{layer.name}'", "equations", why)
        found.append(dash)
    return found[0], found[1]


def _quantise(
    graph: Graph, layers: Sequence[Layer], dashes: Sequence[tuple[IntArray, IntArray]], name: str
) -> XyloIntegers:
    """8-bit weights, each cell's largest at its limit; shifts that put thresholds just below a quarter of 16 bits."""
    *hidden, last = layers
    inputs, ends = hidden[0].feed.shape[0], np.cumsum([0, *(x.feed.shape[1] for x in hidden)])
    cells = [slice(int(a), int(b)) for a, b in pairwise(ends)]
    feed, loop = np.zeros((inputs, ends[-1])), np.zeros((ends[-1], ends[-1]))
    out = np.zeros((ends[-1], last.feed.shape[1]))
    for k, layer in enumerate(hidden):
        rows = feed if k == 0 else loop[cells[k - 1]]
        rows[:, cells[k]] = layer.feed / _kept(dashes[k][1])
        if layer.loop is not None:
            loop[cells[k], cells[k]] = layer.loop / _kept(dashes[k][1])
    out[cells[-1]] = last.feed / _kept(dashes[-1][1])
    both = np.vstack([feed, loop])
    codes, threshold, shift = _scaled(both, np.concatenate([x.numbers.threshold for x in hidden]))
    codes_out, threshold_out, shift_out = _scaled(out, last.numbers.threshold)
    first, second = (np.concatenate([d[i] for d in dashes[:-1]]) for i in (0, 1))
    return XyloIntegers(
        name=name,
        source=next(iter(graph.model.step.sources)),
        hidden=tuple((x.name, x.feed.shape[1]) for x in hidden),
        output=last.name,
        dt=graph.model.step.dt,
        weights_in=_two(codes[:inputs]),
        weights_rec=_two(codes[inputs:]),
        weights_out=codes_out,
        weight_shift_in=shift,
        weight_shift_rec=shift,
        weight_shift_out=shift_out,
        dash_mem=first,
        dash_mem_out=dashes[-1][0],
        dash_syn=second,
        dash_syn_2=second,
        dash_syn_out=dashes[-1][1],
        threshold=threshold,
        threshold_out=threshold_out,
        bias=np.zeros_like(threshold),
        bias_out=np.zeros_like(threshold_out),
    )


def _two(weights: IntArray) -> IntArray:
    """Weights onto a cell's first synapse; none onto its second."""
    return np.stack([weights, np.zeros_like(weights)], axis=-1)


def _kept(dash: IntArray) -> Array:
    """Decay factors of bit shifts."""
    return np.asarray(1 - 2.0**-dash, np.float64)


def _scaled(weights: Array, threshold: Array) -> tuple[IntArray, IntArray, int]:
    """Codes, thresholds and the shift of one matrix [pre, post] and its thresholds [post]."""
    found = _CODES.quantise(weights)
    ratio = threshold / np.broadcast_to(found.scale, threshold.shape)  # in weight codes
    shift = int(np.clip(np.floor(np.log2(THRESHOLD.high / _HEADROOM / ratio.max())), SHIFT.low, SHIFT.high))
    return found.codes, np.rint(ratio * 2**shift).astype(np.int64), shift


# -- what they stand for ------------------------------------------------------------------------------------------


def _held(layers: Sequence[Layer], dashes: Sequence[tuple[IntArray, IntArray]], given: XyloIntegers) -> dict[str, Held]:
    """Decays, thresholds and weights in the float network's order: the chip's current decays what arrives as well."""
    found, start, source = {}, 0, given.source
    before = slice(0, 0)
    for k, (layer, (membrane, current)) in enumerate(zip(layers, dashes, strict=True)):
        cells = slice(start, start + layer.feed.shape[1])
        if k == len(layers) - 1:
            weights = {source: given.weights_out[before] << given.weight_shift_out}
            threshold = given.threshold_out
        else:
            feed = given.weights_in[:, cells, 0] if k == 0 else given.weights_rec[before, cells, 0]
            weights = {source: feed << given.weight_shift_in}
            if layer.loop is not None:
                weights[layer.name] = given.weights_rec[cells, cells, 0] << given.weight_shift_rec
            threshold = given.threshold[cells]
        kept = _kept(current)
        scaled = {name: kept * values for name, values in weights.items()}
        found[layer.name] = Held(_kept(membrane), kept, threshold.astype(float), scaled)
        source, before, start = layer.name, cells, cells.stop
    return found
