"""NIR files, common profile: a chain of (recurrent) LIF or CubaLIF layers; snntorch, norse, spikingjelly run it alike.

A client delivers a spike in the step in which it is sent, the network one step later: layer d of the network fires
d steps after the client's. Weights are in units of the distance from rest to threshold, so every threshold is 1.
Source: Pedersen et al. (2024), Nat Commun 15:8122 (the format).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export import ExportError as ExportError
from neuro.export.leaky import LeakyCell, LeakyNetwork, LeakyNumbers, Link, NotLeakyError, leaky_network
from neuro.model import Network
from neuro.parameters import values
from neuro.protocols import Parameters
from neuro.semantics import semantics

Array = npt.NDArray[Any]

PROFILE = "NIR common profile 1"
CLIENT_DT = 1e-4  # seconds; only tau/CLIENT_DT matters to a client, whatever the model's own dt
_START = 1e-10  # of the threshold: rounding of a resting value


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


@dataclass(frozen=True)
class _Layer:
    """One population. feed: [in, this], loop: [this, this] or None, both in units of the threshold."""

    cell: LeakyCell
    numbers: LeakyNumbers
    feed: Array
    loop: Array | None


def export_nir(network: Network, parameters: Parameters | None, path: str | Path) -> Report:
    """Write a network with these parameters (its own where left out) to `path` and its semantics to `path`.json.

    parameters: name -> SI values. The files replace older ones at once or not at all. Raises ExportError naming what
    the format can't express; OSError.
    """
    path = Path(path)
    try:
        model = leaky_network(network)
        given = _parameters(network, parameters)
        numbers = model.numbers(given)
    except NotLeakyError as error:
        raise ExportError(error.where, error.field, error.why) from None
    layers = _layers(model, numbers, given)
    sidecar = path.with_name(f"{path.name}.json")
    nodes, edges = _nodes(model, layers)
    latency = {layer.cell.name: depth for depth, layer in enumerate(layers, 1)}
    rounding = _rounding(layers)
    record = {
        "profile": PROFILE,
        "network": network.name,
        "client_dt": CLIENT_DT,
        "semantics": semantics(network, "float32").to_data(),
        "latency": latency,
        "rounding": rounding,
        "layers": [_record(model, layer) for layer in layers],
    }
    text = json.dumps(record, indent=1)
    nir = _package()
    graph = nir.NIRGraph(nodes, edges, metadata={"profile": PROFILE, "record": text})
    _replace(path, lambda target: nir.write(str(target), graph))
    _replace(sidecar, lambda target: target.write_text(text + "\n", encoding="utf-8"))
    return Report(path, sidecar, tuple(nodes), latency, rounding)


def _package() -> Any:
    try:
        import nir
    except ModuleNotFoundError:
        raise ExportError("to NIR", "package 'nir'", "it is not installed; pip install nir") from None
    return nir


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write to a side file, then move it over: readers never meet half a file."""
    side = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(side)
        os.replace(side, path)
    finally:
        side.unlink(missing_ok=True)


def _parameters(network: Network, given: Parameters | None) -> dict[str, Array]:
    found = values(network)
    for name, value in (given or {}).items():
        if name not in found:
            raise ExportError(f"parameter '{name}'", "name", "the network has no such parameter")
        array = np.asarray(value, dtype=np.float64)
        if array.shape != found[name].shape:
            raise ExportError(f"parameter '{name}'", "shape", f"{array.shape}; the network's is {found[name].shape}")
        if not np.isfinite(array).all():
            raise ExportError(f"parameter '{name}'", "value", "not finite everywhere")
        found[name] = array
    return found


# -- layers -------------------------------------------------------------------------------------------------------


def _layers(model: LeakyNetwork, numbers: Mapping[str, LeakyNumbers], parameters: Parameters) -> list[_Layer]:
    order = _chain(model)
    layers = []
    for source, name in pairwise(order):
        cell, found = model.cells[name], numbers[name]
        _check(cell, found)
        feed = [link for link in model.links if (link.synapses.pre, link.synapses.post) == (source, name)]
        loop = [link for link in model.links if (link.synapses.pre, link.synapses.post) == (name, name)]
        scaled = [sum(model.matrix(link, parameters) / found.threshold for link in links) for links in (feed, loop)]
        layers.append(_Layer(cell, found, np.asarray(scaled[0]), np.asarray(scaled[1]) if loop else None))
    return layers


def _chain(model: LeakyNetwork) -> list[str]:
    """Input and populations in the order of the chain."""
    for population, names in model.currents.items():
        raise ExportError(f"input '{names[0]}'", "kind", f"a current into '{population}'; the format's input is spikes")
    sources = list(model.step.sources)
    if len(sources) != 1:
        raise ExportError("the network", "inputs", f"{len(sources)} of them; the common profile has one")
    forward = [link for link in model.links if link.synapses.pre != link.synapses.post]
    order, waiting = sources, list(model.cells)
    while waiting:
        ready = [n for n in waiting if all(link.synapses.pre in order for link in forward if link.synapses.post == n)]
        if not ready:
            link = next(link for link in forward if link.synapses.pre in waiting and link.synapses.post in waiting)
            raise ExportError(
                _name(link), "layers", "a loop through several layers; only a layer onto itself can recur"
            )
        order, waiting = [*order, ready[0]], [n for n in waiting if n != ready[0]]
    place = {name: i for i, name in enumerate(order)}
    for link in forward:
        pre, post = link.synapses.pre, link.synapses.post
        if place[post] != place[pre] + 1:
            chain = " -> ".join(order)
            why = f"from '{pre}' to '{post}', past the chain {chain}; a client would deliver it at another step"
            raise ExportError(_name(link), "layers", why)
    fed = {link.synapses.post for link in forward}
    for name in model.cells:
        if name not in fed:
            raise ExportError(f"population '{name}'", "layers", "nothing feeds it")
    return order


def _name(link: Link) -> str:
    return f"projection '{link.name}'"


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
    if (np.abs(numbers.u) > _START * numbers.threshold).any() or numbers.i.any():
        raise ExportError(where, "initial", "clients start at the resting value, without currents")
    for decay in (numbers.beta, numbers.alpha):
        if decay is not None and (decay == 1).any():
            raise ExportError(where, "equations", "a variable without a leak has no finite time constant")


# -- nodes --------------------------------------------------------------------------------------------------------


def _nodes(model: LeakyNetwork, layers: Sequence[_Layer]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
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


def _neuron(nir: Any, layer: _Layer) -> Any:
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


def _rounding(layers: Sequence[_Layer]) -> dict[str, float]:
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


def _record(model: LeakyNetwork, layer: _Layer) -> dict[str, Any]:
    """The model's own numbers, SI: a client's v is (v - rest)/(threshold - rest), times v_threshold."""
    numbers, dt = layer.numbers, model.step.dt
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
