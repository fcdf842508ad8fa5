"""Loihi 2: integers of its CUBA neuron, as a Network, and as lava-dl's netx HDF5 file.

    u = trunc(u (4096 - i_decay)/4096) + 64 a         wraps at 24 bit
    v = trunc(v (4096 - v_decay)/4096) + u + 64 bias  saturates at 24 bit;  a spike where v > 64 v_th, then v = 0

with `a` the sum of weights of the spikes of the step before: every synapse delays by one step, as in our networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuro.export import ExportError
from neuro.export.chips.dequantised import Held, integer_export
from neuro.export.chips.integer import (
    Array,
    IntArray,
    IntegerChain,
    IntegerLayer,
    check_chain,
    check_range,
    largest_sum,
    mixed,
    network_of,
    outside,
    scales_of,
    threshold_of,
    whole_layer,
)
from neuro.export.layers import Graph, Layer, read
from neuro.export.profile import Decay, Integers, Profile, State
from neuro.export.quantisation.quantisers import Quantiser
from neuro.export.targets import Export, Target
from neuro.io.files import replaced
from neuro.model import Network, Neuron
from neuro.protocols import Parameters

SMALL, EVEN = Integers(-127, 127), Integers(-256, 254, 2)
PROFILE = Profile(
    name="loihi2",
    title="Loihi 2",
    suffix=".net",
    neurons=("lif", "cuba_lif"),
    leak_free=True,
    weight=Integers(-256, 255),
    mixed_weight=(SMALL, EVEN),
    threshold=Integers(0, 131071),
    bias=Integers(-4096, 4095),
    current=State(24, "wrap"),
    voltage=State(24, "saturate"),
    decay=Decay("linear", 12),
)
UNIT_DECAY = 4096
LARGEST_SUM = 2**17 - 1  # 64 of it are the largest u
DECAYS = Integers(0, UNIT_DECAY)

loihi_cuba = Neuron(
    "loihi_cuba",
    """
    u : 1
    v : 1
    a : 1
    """,
    threshold="v > 64*v_th",
    reset="v = 0",
    every_step="""
    u = sign(u)*floor(abs(u)*(4096 - i_decay)/4096) + 64*a
    u = u - 16777216*int(u > 8388608) + 16777216*int(u <= -8388608)
    v = clip(sign(v)*floor(abs(v)*(4096 - v_decay)/4096) + u + 64*bias, -8388607, 8388607)
    """,
    parameters={"v_th": "1", "i_decay": "4096", "v_decay": "0", "bias": "0"},
    source="Davies et al. (2018), IEEE Micro 38:82; integers as in lava-nc 0.10",
)


def export(network: Network, parameters: Parameters | None, path: Path) -> Export:
    """Write the netx file of a network. See neuro.export.targets.Target."""
    return export_chain(PROFILE, write_netx, loihi_network, network, parameters, path)


def export_chain(
    profile: Profile, write: Callable[[IntegerChain, Path], None], integers: Callable[[IntegerChain], Network],
    network: Network, parameters: Parameters | None, path: Path, **more: Any,
) -> Export:  # fmt: skip
    """A network in these integers, for this chip or a simulator of it. integers: the network of a chain. more: fields of Export."""
    graph = read(network, parameters, profile)
    layers = graph.chain()
    chain = quantise(graph, layers, network.name)
    write(chain, path)
    meant = held(chain, layers)
    scales = {name: scale / 64 for name, scale in scales_of(layers, meant).items()}
    return integer_export(profile, path, graph, layers, meant, integers(chain), scales=scales, **more)


TARGET = Target(PROFILE, export)


# -- integers -----------------------------------------------------------------------------------------------------


def quantise(graph: Graph, layers: tuple[Layer, ...], name: str) -> IntegerChain:
    """8-bit weights with the least squared error, or smaller ones where the threshold would leave its 17 bits.

    Layers of whole numbers without memory stay as they are. Raises ExportError.
    """
    source = next(iter(graph.model.step.sources))
    return IntegerChain(name, source, tuple(_quantise(layer) for layer in layers), graph.model.step.dt)


def _whole(layer: Layer) -> IntegerLayer | None:
    """A layer of whole numbers. Raises ExportError where its sums could leave 24 bits."""
    found = whole_layer(layer, PROFILE)
    if found is None:
        return None
    worst = int(largest_sum(found).max(initial=0))
    if worst > LARGEST_SUM:
        why = f"they could sum up to {worst} in a step; u holds {LARGEST_SUM}; use smaller ones, or fewer inputs"
        raise ExportError(f"population '{layer.name}'", "weights", why)
    all_of_it = np.full(found.size, UNIT_DECAY)
    return replace(found, cells={**found.cells, "i_decay": all_of_it, "v_decay": all_of_it, "bias": 0 * all_of_it})


def _quantise(layer: Layer) -> IntegerLayer:
    whole = _whole(layer)
    if whole is not None:
        return whole
    numbers, size = layer.numbers, layer.numbers.beta.size
    matrices = [layer.feed] if layer.loop is None else [layer.feed, layer.loop]
    stacked = np.vstack(matrices)
    step, bits = (2, 8) if mixed(stacked) else (1, 9)  # one sign leaves 8 bits for the size
    codes = Quantiser(bits=bits, symmetric=True, fit="error")
    scale = PROFILE.threshold.high / float(numbers.threshold.max())  # type: ignore[union-attr]
    if stacked.any():
        scale = min(scale, step / float(codes.scale(stacked)))
    feed, *loop = (step * codes.codes(m, step / scale) for m in matrices)
    alpha = np.zeros(size) if numbers.alpha is None else numbers.alpha
    cells = {
        "v_th": np.rint(numbers.threshold * scale),
        "i_decay": np.rint(UNIT_DECAY * (1 - alpha)),
        "v_decay": np.rint(UNIT_DECAY * (1 - numbers.beta)),
        "bias": np.zeros(size),
    }
    if (cells["v_th"] < 1).any():
        why = "it vanishes beside the largest weight in 8 bits; scale weights into this population down"
        raise ExportError(f"population '{layer.name}'", "threshold", why)
    return IntegerLayer(layer.name, feed, loop[0] if loop else None, {n: v.astype(np.int64) for n, v in cells.items()})


def decays(codes: IntArray) -> Array:
    """Decay factors of codes of 12 bits."""
    return np.asarray((UNIT_DECAY - codes) / UNIT_DECAY)


def held(chain: IntegerChain, layers: tuple[Layer, ...]) -> dict[str, Held]:
    """What the integers stand for."""
    found, source = {}, chain.source
    for codes, layer in zip(chain.layers, layers, strict=True):
        weights = {source: codes.feed} | ({} if codes.loop is None else {codes.name: codes.loop})
        alpha = None if layer.numbers.alpha is None else decays(codes.cells["i_decay"])
        found[codes.name] = Held(decays(codes.cells["v_decay"]), alpha, threshold_of(codes, layer), weights)
        source = codes.name
    return found


def loihi_network(chain: IntegerChain) -> Network:
    """The network that computes with the chip's integers. Raises ExportError on numbers that the chip can't hold."""
    check(chain)
    return network_of(chain, lambda _: loihi_cuba)


def check(chain: IntegerChain) -> None:
    """Raises ExportError naming population, field and number."""
    check_chain(chain.layers)
    limits = {"v_th": PROFILE.threshold, "i_decay": DECAYS, "v_decay": DECAYS, "bias": PROFILE.bias}
    for layer in chain.layers:
        where = f"population '{layer.name}'"
        for name, values in layer.cells.items():
            if name not in limits:
                raise ExportError(where, name, f"a CUBA neuron has {', '.join(limits)} only")
            check_range(where, name, values, limits[name])
        _check_weights(where, layer.weights)


def _check_weights(where: str, weights: IntArray) -> None:
    """One exponent for all weights into a population; where signs are mixed, 8 bits hold even ones beyond 127."""
    check_range(where, "weights", weights, PROFILE.weight)
    if mixed(weights) and outside(weights, SMALL).any():
        check_range(where, "weights", weights, EVEN)


# -- file ---------------------------------------------------------------------------------------------------------


def write_netx(chain: IntegerChain, path: Path) -> None:
    """Write lava-dl's netx file. It replaces an older one at once. Raises ExportError, OSError."""
    check(chain)

    def write(side: Path) -> None:
        with h5py.File(side, "w") as file:
            for k, layer in enumerate(chain.layers):
                _write_layer(file.create_group(f"layer/{k}"), layer)

    replaced(path, write)


def _write_layer(group: h5py.Group, layer: IntegerLayer) -> None:
    group["type"] = np.array([b"dense" if layer.loop is None else b"dense_rec"], "S10")
    group["shape"] = np.array([layer.size])
    group["inFeatures"], group["outFeatures"] = layer.feed.shape
    group["weight"] = layer.feed.T.astype(np.int32)
    if layer.loop is not None:
        group["weight_rec"] = layer.loop.T.astype(np.int32)
    if layer.cells["bias"].any():
        group["bias"] = layer.cells["bias"].astype(np.int32)
    neuron = group.create_group("neuron")
    neuron["type"] = np.array([b"CUBA"], "S10")
    for key, name in {"iDecay": "i_decay", "vDecay": "v_decay", "vThMant": "v_th"}.items():
        values = layer.cells[name].astype(np.int32)
        neuron[key] = values[0] if (values == values[0]).all() else values
    neuron["refDelay"], neuron["gradedSpike"] = 1, False
