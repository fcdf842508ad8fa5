"""Chains of layers as NIR files, whatever the profile: names, order, semantics record, sidecar.

A client delivers a spike in the step in which it is sent, the network one step later: layer d of the network fires
d steps after the client's. Weights are in units of the distance from rest to threshold, so every threshold is 1.
Source: Pedersen et al. (2024), Nat Commun 15:8122 (the format).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.compiler.semantics import semantics
from neuro.export import ExportError
from neuro.export.layers import Graph, Layer, latency, read
from neuro.export.nir.clock import Clock
from neuro.export.profile import Profile
from neuro.export.targets import Export
from neuro.io.files import replaced, replaced_text
from neuro.model import Network
from neuro.protocols import Parameters
from neuro.registry import command

Array = npt.NDArray[Any]

_BLOCK = 2**16  # numbers that are scaled at a time


@dataclass(frozen=True)
class Style:
    """How a profile writes. version: of the mapping, in the file. neuron: a layer's node. weights: a matrix [out, in].

    divide_by_alpha: readers add, then decay, so weights are divided by the current's decay. flat: recurrence as edges of
    the graph instead of a subgraph.
    """

    profile: Profile
    version: str
    clock: Clock
    neuron: Callable[[Any, Layer], Any]
    weights: Callable[[Any, Array], Any]
    divide_by_alpha: bool = False
    flat: bool = False


def write(network: Network, parameters: Parameters | None, path: Path, style: Style) -> Export:
    """Write a network with these parameters (its own where left out) to `path` and its semantics to `path`.json.

    The files replace older ones at once or not at all. Raises ExportError, OSError.
    """
    nir = package()
    graph = read(network, parameters, style.profile)
    layers = graph.chain()
    rounding = {"weights": 0.0, "leaks": _leak_rounding(layers, style.clock)}
    nodes, edges = _nodes(nir, layers, style, rounding)
    late = latency(layers, style.profile)
    text = json.dumps(_record(network, graph, layers, late, rounding, style), indent=1)
    del graph, layers  # nodes hold what is written, in half the memory
    sidecar = path.with_name(f"{path.name}.json")
    file = nir.NIRGraph(nodes, edges, metadata={"profile": style.version, "record": text})
    replaced(path, lambda side: _write(nir, side, file))
    replaced_text(sidecar, text + "\n")
    return Export(style.profile.name, (path, sidecar), late, rounding=rounding)


def package() -> Any:
    """The format's own package, which only writing needs. Raises ExportError where it isn't installed."""
    try:
        import nir
    except ModuleNotFoundError:
        raise ExportError("to NIR", "package 'nir'", f"it is not installed; {command('nir')}") from None
    return nir


def _write(nir: Any, path: Path, file: Any) -> None:
    """Without v_reset, which is zero: readers before nir 1.0.5 don't know the name, later ones take it for zero."""
    nir.write(str(path), file)
    with h5py.File(path, "r+") as written:
        zeros: list[str] = []
        written.visit(lambda name: zeros.append(name) if name.endswith("/v_reset") else None)
        for name in zeros:
            del written[name]


# -- nodes --------------------------------------------------------------------------------------------------------


def _nodes(
    nir: Any, layers: Sequence[Layer], style: Style, rounding: dict[str, float]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Named so that alphabetical order, in which readers get them, is that of the chain. rounding: grows by the weights'."""
    width = max(2, len(str(2 * len(layers))))
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([layers[0].feed.shape[0]])})}
    loops: dict[str, Any] = {}
    for i, layer in enumerate(layers):
        name, cells = layer.name, f"n{2 * i + 2:0{width}}_lif_{layer.name}"
        scale = _scale(layer, style)
        nodes[f"n{2 * i + 1:0{width}}_fc_{name}"] = style.weights(nir, _weights(layer.feed, scale, rounding))
        neuron = style.neuron(nir, layer)
        loop = None if layer.loop is None else nir.Linear(_weights(layer.loop, scale, rounding))
        nodes[cells] = neuron if loop is None or style.flat else _recurrent(nir, neuron, loop)
        if loop is not None and style.flat:
            loops[cells] = loop
    nodes["output"] = nir.Output({"output": np.array([layers[-1].cell.cells.size])})
    edges = list(pairwise(nodes))
    for cells, loop in loops.items():
        back = cells.replace("_lif_", "_rec_", 1)
        nodes[back] = loop
        edges += [(cells, back), (back, cells)]
    return nodes, edges


def _scale(layer: Layer, style: Style) -> Array:
    """What weights are divided by: the threshold, and the decay where readers apply it to arrivals too."""
    alpha, scale = layer.numbers.alpha, layer.numbers.threshold
    for name, decay in (("tau_mem", layer.numbers.beta), ("tau_syn", alpha)):
        if decay is not None and not style.clock.euler and (decay == 0).any():
            why = "nothing remains after one step; no time constant of an exponential does that"
            raise ExportError(f"population '{layer.name}'", name, why)
    return scale * alpha if style.divide_by_alpha and alpha is not None else scale


def _weights(matrix: Array, scale: Array, rounding: dict[str, float]) -> Array:
    """[out, in] as readers hold it, from [in, out]; by blocks of rows, so that no second matrix is needed."""
    found = np.empty(matrix.shape[::-1], np.float32)
    rows = max(1, _BLOCK // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        exact = matrix[start : start + rows] / scale
        found[:, start : start + rows] = exact.T
        rounding["weights"] = max(rounding["weights"], _error(exact, found[:, start : start + rows].T))
    return found


def _recurrent(nir: Any, neuron: Any, loop: Any) -> Any:
    shape = np.array([loop.weight.shape[0]])
    nodes = {
        "input": nir.Input({"input": shape}),
        "lif": neuron,
        "output": nir.Output({"output": shape}),
        "w_rec": loop,
    }
    return nir.NIRGraph(nodes, [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")])


def linear(nir: Any, weight: Array) -> Any:
    return nir.Linear(weight)


def single(values: Array) -> Array:
    """As readers hold them."""
    return np.ascontiguousarray(values, dtype=np.float32)


# -- what the format can't say ------------------------------------------------------------------------------------


def _record(
    network: Network, graph: Graph, layers: Sequence[Layer], latency: Mapping[str, int], rounding: Mapping[str, float],
    style: Style,
) -> dict[str, Any]:  # fmt: skip
    return {
        "profile": style.version,
        "network": network.name,
        "input": next(iter(graph.model.step.sources)),
        "client_dt": style.clock.dt,
        "semantics": semantics(network, "float32").to_data(),
        "latency": dict(latency),
        "rounding": dict(rounding),
        "layers": [_physical_values(layer, graph.model.step.dt) for layer in layers],
    }


def _physical_values(layer: Layer, dt: float) -> dict[str, Any]:
    """The model's own numbers, SI: a client's v is (v - rest)/(threshold - rest), times v_threshold."""
    numbers = layer.numbers
    found = {
        "rest": numbers.rest,
        "threshold": numbers.rest + numbers.gain * numbers.threshold,
        "tau_mem": _physical(numbers.beta, dt),
    }
    if numbers.alpha is not None:
        found["tau_syn"] = _physical(numbers.alpha, dt)
    return {"population": layer.name, **{name: value.tolist() for name, value in found.items()}}


def _physical(decay: Array, dt: float) -> Array:
    """Time constant of the exponential with this decay in one step, seconds; 0 where nothing remains, -1 without leak."""
    within = (decay > 0) & (decay < 1)
    return np.where(within, -dt / np.log(np.where(within, decay, 0.5)), np.where(decay == 1, -1.0, 0.0))


def _leak_rounding(layers: Sequence[Layer], clock: Clock) -> float:
    """Largest relative error of the leaks 1 - decay that clients compute from the time constants."""
    found = 0.0
    for layer in layers:
        for decay in (layer.numbers.beta, layer.numbers.alpha):
            if decay is not None and ((decay > 0) | clock.euler).all() and (decay < 1).all():
                rounded = clock.leak(single(clock.tau(decay)).astype(np.float64))
                found = max(found, _error(1 - decay, rounded))
    return found


def _error(exact: Array, rounded: Array) -> float:
    error = np.abs(rounded - exact)
    return float(np.max(np.divide(error, np.abs(exact), out=error, where=exact != 0), initial=0.0))
