"""NIR files, common profile: a chain of (recurrent) LIF or CubaLIF layers; snntorch, norse, spikingjelly run it alike.

A client delivers a spike in the step in which it is sent, the network one step later: layer d of the network fires
d steps after the client's. Weights are in units of the distance from rest to threshold, so every threshold is 1.
Source: Pedersen et al. (2024), Nat Commun 15:8122 (the format).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export import ExportError as ExportError
from neuro.export.files import replaced, replaced_text
from neuro.export.layers import Layer, read, starts_at_rest
from neuro.export.leaky import LeakyCell, LeakyNumbers
from neuro.export.profile import Profile
from neuro.export.targets import Export, Target
from neuro.model import Network
from neuro.protocols import Parameters
from neuro.semantics import semantics

Array = npt.NDArray[Any]

PROFILE = Profile(
    name="nir",
    title="NIR, common profile: snntorch, norse, spikingjelly",
    suffix=".nir",
    neurons=("lif", "cuba_lif"),
    layer_latency=0,
)
VERSION = "NIR common profile 1"
CLIENT_DT = 1e-4  # seconds; only tau/CLIENT_DT matters to a client, whatever the model's own dt


@dataclass(frozen=True)
class Report:
    """What was written. sidecar: the JSON file next to it. nodes: in the file's order. latency: population -> steps by
    which its spikes in the network are later than in a client. rounding: largest relative error of float32, by field.
    """

    path: Path
    sidecar: Path
    nodes: tuple[str, ...]
    latency: Mapping[str, int]
    rounding: Mapping[str, float]


def export_nir(network: Network, parameters: Parameters | None, path: str | Path) -> Report:
    """Write a network with these parameters (its own where left out) to `path` and its semantics to `path`.json.

    parameters: name -> SI values. The files replace older ones at once or not at all. Raises ExportError naming what
    the format can't express; OSError.
    """
    path = Path(path)
    graph = read(network, parameters, PROFILE)
    layers = [_scaled(layer) for layer in graph.chain()]
    sidecar = path.with_name(f"{path.name}.json")
    nodes, edges = _nodes(layers)
    latency = {layer.cell.name: depth for depth, layer in enumerate(layers, 1)}
    rounding = _rounding(layers)
    record = {
        "profile": VERSION,
        "network": network.name,
        "client_dt": CLIENT_DT,
        "semantics": semantics(network, "float32").to_data(),
        "latency": latency,
        "rounding": rounding,
        "layers": [_record(layer, graph.model.step.dt) for layer in layers],
    }
    text = json.dumps(record, indent=1)
    nir = _package()
    file = nir.NIRGraph(nodes, edges, metadata={"profile": VERSION, "record": text})
    replaced(path, lambda side: nir.write(str(side), file))
    replaced_text(sidecar, text + "\n")
    return Report(path, sidecar, tuple(nodes), latency, rounding)


def _package() -> Any:
    try:
        import nir
    except ModuleNotFoundError:
        raise ExportError("to NIR", "package 'nir'", "it is not installed; pip install nir") from None
    return nir


def _scaled(layer: Layer) -> Layer:
    """Weights in units of the threshold."""
    _check(layer.cell, layer.numbers)
    scale = layer.numbers.threshold
    return replace(layer, feed=layer.feed / scale, loop=None if layer.loop is None else layer.loop / scale)


def _check(cell: LeakyCell, numbers: LeakyNumbers) -> None:
    where = f"population '{cell.name}'"
    if cell.threshold is None:
        raise ExportError(
            where, "threshold", "no spikes; clients drop or refuse such a readout: let the host integrate"
        )
    if cell.reset != "zero":
        raise ExportError(where, "reset", f"'{cell.reset}'; clients reset to the resting value")
    if not (numbers.threshold > 0).all():
        raise ExportError(where, "threshold", "it must lie above the resting value")
    if not starts_at_rest(cell, numbers):
        raise ExportError(where, "initial", "clients start at the resting value, without currents")
    for decay in (numbers.beta, numbers.alpha):
        if decay is not None and (decay == 1).any():
            raise ExportError(where, "equations", "a variable without a leak has no finite time constant")


# -- nodes --------------------------------------------------------------------------------------------------------


def _nodes(layers: Sequence[Layer]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Named so that alphabetical order, in which readers get them, is that of the chain."""
    nir = _package()
    width = max(2, len(str(2 * len(layers))))
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([layers[0].feed.shape[0]])})}
    for i, layer in enumerate(layers):
        name = layer.cell.name
        nodes[f"n{2 * i + 1:0{width}}_fc_{name}"] = nir.Linear(_single(layer.feed.T))
        neuron = _neuron(nir, layer)
        node = neuron if layer.loop is None else _recurrent(nir, neuron, layer.loop)
        nodes[f"n{2 * i + 2:0{width}}_lif_{name}"] = node
    nodes["output"] = nir.Output({"output": np.array([layers[-1].cell.cells.size])})
    names = list(nodes)
    return nodes, list(pairwise(names))


def _recurrent(nir: Any, neuron: Any, loop: Array) -> Any:
    shape = np.array([loop.shape[0]])
    nodes = {
        "input": nir.Input({"input": shape}),
        "lif": neuron,
        "output": nir.Output({"output": shape}),
        "w_rec": nir.Linear(_single(loop.T)),
    }
    return nir.NIRGraph(nodes, [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")])


def _neuron(nir: Any, layer: Layer) -> Any:
    """LIF with r = 1, which all clients read alike; CubaLIF where there is a current or leaks differ.

    Clients compute a LIF's gain from tau, so its threshold is that gain, rounded as they round it.
    """
    beta, alpha = layer.numbers.beta, layer.numbers.alpha
    tau = _tau(beta)
    zero, one = np.zeros_like(tau), np.ones_like(tau)
    metadata = {"population": layer.cell.name}
    if alpha is None and np.unique(tau).size == 1:
        gain = CLIENT_DT / tau
        return nir.LIF(tau=tau, r=one, v_leak=zero, v_threshold=gain, v_reset=zero, metadata=metadata)
    tau_syn = _tau(np.zeros_like(beta) if alpha is None else alpha)
    return nir.CubaLIF(
        tau_syn=tau_syn,
        tau_mem=tau,
        r=tau / np.float32(CLIENT_DT),
        w_in=tau_syn / np.float32(CLIENT_DT),
        v_leak=zero,
        v_threshold=one,
        v_reset=zero,
        metadata=metadata,
    )


def _tau(decay: Array) -> Array:
    """The time constant with which a client's Euler step has this decay."""
    return _single(CLIENT_DT / (1 - decay))


def _single(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32)


def _rounding(layers: Sequence[Layer]) -> dict[str, float]:
    """Largest relative errors: of weights, and of the leaks 1 - decay that clients compute from the time constants."""
    found = {"weights": 0.0, "leaks": 0.0}
    for layer in layers:
        for matrix in (layer.feed, layer.loop):
            if matrix is not None:
                found["weights"] = max(found["weights"], _error(matrix, _single(matrix)))
        for decay in (layer.numbers.beta, layer.numbers.alpha):
            if decay is not None:
                found["leaks"] = max(found["leaks"], _error(1 - decay, CLIENT_DT / _tau(decay)))
    return found


def _error(exact: Array, rounded: Array) -> float:
    error = np.abs(rounded.astype(np.float64) - exact)
    return float(np.max(np.divide(error, np.abs(exact), out=error.copy(), where=exact != 0), initial=0.0))


def _record(layer: Layer, dt: float) -> dict[str, Any]:
    """The model's own numbers, SI: a client's v is (v - rest)/(threshold - rest), times v_threshold."""
    numbers = layer.numbers
    found = {
        "rest": numbers.rest,
        "threshold": numbers.rest + numbers.gain * numbers.threshold,
        "tau_mem": _physical(numbers.beta, dt),
    }
    if numbers.alpha is not None:
        found["tau_syn"] = _physical(numbers.alpha, dt)
    return {"population": layer.cell.name, **{name: value.tolist() for name, value in found.items()}}


def _physical(decay: Array, dt: float) -> Array:
    """Time constant of the exponential with this decay in one step of the model, seconds; 0 where nothing remains."""
    positive = decay > 0
    return np.where(positive, -dt / np.log(np.where(positive, decay, 0.5)), 0.0)


def _export(network: Network, parameters: Parameters | None, path: Path) -> Export:
    report = export_nir(network, parameters, path)
    return Export("nir", (report.path, report.sidecar), report.latency, rounding=report.rounding)


TARGET = Target(PROFILE, _export)
