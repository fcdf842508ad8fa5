"""NIR files as networks: our own come back spike for spike, other tools' fire as an independent client makes them."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
from snntorch.export_nir import export_to_nir

import backends
from backends.nir_client import replay
from neuro import Input, Network, Neuron, Population, Projection, Uniform, library, quantity
from neuro.checks.common import ModelWarning
from neuro.export import ExportError, ForeignFileError, targets
from neuro.export.nir.common import export_nir
from neuro.export.nir.importer import import_nir

LIF, PULSE = library.get("lif"), library.get("pulse")
CUBA, JUMP = library.get("cuba_lif"), library.get("current_jump")
ZERO = {"E_L": "0 mV", "v_th": "20 mV"}
SOFT = replace(LIF, reset="v -= v_th", parameters={**LIF.parameters, **ZERO}, initial={})
SOFT_CUBA = replace(CUBA, reset="v -= v_th", parameters={**CUBA.parameters, **ZERO}, initial={})
PURE = Neuron("pure", "dv/dt = I/C : volt\nI : amp", "v > 1*volt", "v = 0*volt", parameters={"C": "50 pF"})
TRIALS, STEPS = 20, 100


def chain(neuron: Neuron = LIF, synapse: Any = PULSE, *, loop: bool = False, scale: float = 1.0) -> Network:
    """16 channels -> 12 cells, recurrent on request -> 5 cells."""
    random = np.random.default_rng(1)

    def weights(pre: int, post: int, mean: float) -> Any:
        return quantity(scale * random.normal(mean, 0.4, (pre, post)), "nA")

    projections = [
        Projection("feed", "pixels", "hidden", synapse, weights(16, 12, 0.3)),
        Projection("read", "hidden", "out", synapse, weights(12, 5, 0.3)),
    ]
    if loop:
        projections.append(Projection("loop", "hidden", "hidden", synapse, weights(12, 12, -0.1)))
    cells = (Population("hidden", neuron, 12), Population("out", neuron, 5))
    return Network(cells, tuple(projections), (Input("pixels", 16),), dt="1 ms", name="chain")


def varied() -> Network:
    network = chain(loop=True)
    taus = {
        "tau_m": Uniform(quantity("5 ms"), quantity("20 ms")),
        "v_th": Uniform(quantity("-55 mV"), quantity("-45 mV")),
    }
    return replace(network, populations=(replace(network.populations[0], parameters=taus), network.populations[1]))


def given(channels: int = 16, rate: float = 0.2) -> np.ndarray:
    return np.random.default_rng(5).random((TRIALS, STEPS, channels)) < rate


def fired(network: Network, spikes: np.ndarray, backend: str = "reference") -> dict[str, np.ndarray]:
    run = backends.get(backend).compile(network).run(inputs={network.inputs[0].name: spikes})
    return dict(run.spikes)


OURS: dict[str, tuple[str, Callable[[], Network]]] = {
    "common, lif": ("nir", chain),
    "common, recurrent lif": ("nir", lambda: chain(loop=True)),
    "common, recurrent cuba": ("nir", lambda: chain(CUBA, JUMP, loop=True, scale=0.3)),
    "common, per-neuron": ("nir", varied),
    "sinabs, lif": ("nir-sinabs", chain),
    "sinabs, soft reset": ("nir-sinabs", lambda: chain(SOFT)),
    "sinabs, no leak": ("nir-sinabs", lambda: chain(PURE, scale=30)),
    "rockpool, recurrent": ("nir-rockpool", lambda: chain(SOFT_CUBA, JUMP, loop=True, scale=0.3)),
}


@pytest.mark.parametrize("name", OURS)
def test_round_trip_fires_identical_spikes(name: str, tmp_path: Path) -> None:
    target, build = OURS[name]
    network = build()
    export = targets.get(target).export(network, None, tmp_path / "net.nir")
    again = import_nir(export.files[0])
    spikes = given()
    before, after = fired(network, spikes), fired(again, spikes)
    assert (again.name, again.dt) == ("chain", network.dt) and set(after) == {"hidden", "out"}
    for population, raster in before.items():
        assert raster.sum() > 300 and raster.mean() < 0.9
        np.testing.assert_array_equal(after[population], raster)


@pytest.mark.parametrize("backend", ["brian2", "torch", "snntorch"])
def test_imported_networks_run_on_every_backend(backend: str, tmp_path: Path) -> None:
    export_nir(chain(CUBA, JUMP, loop=True, scale=0.3), None, tmp_path / "net.nir")
    again = import_nir(tmp_path / "net.nir")
    ours, theirs = (fired(again, given()[:3], b)["out"] for b in ("reference", backend))
    assert ours.sum() > 50
    np.testing.assert_array_equal(theirs, ours)


# -- other tools' files -------------------------------------------------------------------------------------------


def lif(size: int, **fields: Any) -> nir.LIF:
    values = {"tau": 1e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1, "v_reset": 0.0} | fields
    return nir.LIF(**{k: np.full(size, v) for k, v in values.items()})


def cuba(size: int, **fields: Any) -> nir.CubaLIF:
    values = {"tau_syn": 5e-4, "tau_mem": 1e-3, "r": 10.0, "w_in": 5.0, "v_leak": 0.0, "v_threshold": 3.0} | fields
    return nir.CubaLIF(**{k: np.full(size, v) for k, v in values.items()}, v_reset=np.zeros(size))


def file(path: Path, nodes: dict[str, Any], edges: list[tuple[str, str]], channels: int = 8, size: int = 4) -> Path:
    ends = {"input": nir.Input({"input": np.array([channels])}), "output": nir.Output({"output": np.array([size])})}
    nir.write(str(path), nir.NIRGraph({**ends, **nodes}, edges))
    return path


def matrix(post: int, pre: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.15, 0.4, (post, pre))


FOREIGN: dict[str, tuple[dict[str, Any], int]] = {
    "lif, biases": (
        {"a": nir.Affine(matrix(6, 8, 0), np.full(6, 0.05)), "b": lif(6), "c": nir.Affine(matrix(4, 6, 1), np.full(4, 0.04)),
         "d": lif(4)}, 2),
    "cuba, biases": (
        {"a": nir.Affine(matrix(6, 8, 0), np.full(6, 0.05)), "b": cuba(6), "c": nir.Affine(matrix(4, 6, 1), np.full(4, 0.04)),
         "d": cuba(4)}, 2),
    "linear": ({"a": nir.Linear(matrix(4, 8, 2)), "b": lif(4)}, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_file_fires_as_in_snntorch(name: str, tmp_path: Path) -> None:
    nodes, layers = FOREIGN[name]
    chained = ["input", *nodes, "output"]
    path = file(tmp_path / "foreign.nir", nodes, list(pairwise(chained)))
    network, spikes = import_nir(path), given(8)
    last = network.populations[-1].name
    ours, theirs = fired(network, spikes)[last], replay(path, spikes)
    assert theirs.sum() > 200 and theirs.mean() < 0.9
    np.testing.assert_array_equal(ours[:, layers:], theirs[:, :-layers])


def snntorch_modules() -> Any:
    torch.manual_seed(0)
    first = snntorch.Synaptic(
        alpha=torch.full((6,), 0.5), beta=torch.full((6,), 0.9), threshold=torch.ones(6), init_hidden=True
    )
    last = snntorch.Leaky(beta=torch.full((4,), 0.8), threshold=torch.ones(4), init_hidden=True, output=True)
    modules = torch.nn.Sequential(torch.nn.Linear(8, 6), first, torch.nn.Linear(6, 4), last)
    for parameter in modules.parameters():
        parameter.data *= 2
    return modules


@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")  # as snntorch calls it
def test_a_file_that_snntorch_wrote(tmp_path: Path) -> None:
    """Biases, and nodes called 0, 1, 2, 3."""
    graph = export_to_nir(snntorch_modules(), torch.zeros(1, 8), ignore_dims=[0])
    snntorch.SpikingNeuron.instances.clear()
    nir.write(str(tmp_path / "net.nir"), graph)
    with pytest.warns(ModelWarning, match="'1' is 'n1', '3' is 'n3'"):
        network, spikes = import_nir(tmp_path / "net.nir"), given(8, 0.3)
    ours, theirs = fired(network, spikes)["n3"], replay(tmp_path / "net.nir", spikes)
    assert theirs.sum() > 200
    np.testing.assert_array_equal(ours[:, 2:], theirs[:, :-2])


def test_matrices_between_neurons_are_multiplied(tmp_path: Path) -> None:
    a, b, scale = matrix(5, 8, 3), matrix(4, 5, 4), np.array([1.0, 2, 3, 4, 5])
    nodes = {"a": nir.Linear(a), "b": nir.Scale(scale), "c": nir.Linear(b), "d": lif(4)}
    path = file(tmp_path / "net.nir", nodes, [("input", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("d", "output")])
    found = import_nir(path).projections[0].weights
    np.testing.assert_allclose(np.asarray(found.value), (b @ np.diag(scale) @ a).T)


def test_a_skip_connection_gets_the_delay_of_the_longer_way(tmp_path: Path) -> None:
    """input -> a -> c beside input -> c: a reader delivers both at once."""
    nodes = {"w1": nir.Linear(np.eye(4)), "a": lif(4, v_threshold=0.05), "w2": nir.Linear(np.eye(4)), "c": lif(4),
             "skip": nir.Linear(np.eye(4))}  # fmt: skip
    edges = [("input", "w1"), ("w1", "a"), ("a", "w2"), ("w2", "c"), ("input", "skip"), ("skip", "c"), ("c", "output")]
    network = import_nir(file(tmp_path / "net.nir", nodes, edges, channels=4))
    delays = {p.name: p.delay.value for p in network.projections}
    assert delays == {"input_to_a": 0, "a_to_c": 0, "input_to_c": 1e-4}
    spikes = np.zeros((1, 6, 4), bool)
    spikes[0, 1] = True
    # 0.1 from each way, together past the threshold of 0.1 only where they meet
    assert fired(network, spikes)["c"][0].any(axis=1).tolist() == [False, False, False, True, False, False]


def test_delay_nodes_flatten_and_scalars(tmp_path: Path) -> None:
    nodes = {"f": nir.Flatten({"input": np.array([2, 2])}, 0, -1), "d": nir.Delay(np.full(4, 3e-4)),
             "w": nir.Linear(np.eye(4)), "c": lif(4)}  # fmt: skip
    ends = {"input": nir.Input({"input": np.array([2, 2])}), "output": nir.Output({"output": np.array([4])})}
    names = ["input", *nodes, "output"]
    nir.write(str(tmp_path / "net.nir"), nir.NIRGraph({**ends, **nodes}, list(pairwise(names))))
    (projection,) = import_nir(tmp_path / "net.nir").projections
    np.testing.assert_allclose(float(projection.delay.value), 3e-4, rtol=1e-12)


def test_readout_and_resting_values(tmp_path: Path) -> None:
    nodes = {
        "w": nir.Linear(matrix(4, 8, 5)), "a": lif(4, v_leak=0.02, v_reset=0.01), "x": nir.Linear(np.eye(4)),
        "y": nir.LI(tau=np.full(4, 1e-3), r=np.ones(4), v_leak=np.zeros(4)),
    }  # fmt: skip
    names = ["input", *nodes, "output"]
    network = import_nir(file(tmp_path / "net.nir", nodes, list(pairwise(names))))
    spikes = given(8)
    run = backends.get("reference").compile(network).run(inputs={"input": spikes}, record=["y.v"])
    v, u, hidden = np.full((TRIALS, 4), 0.02), np.zeros((TRIALS, 4)), []
    for k in range(STEPS - 2):
        v = v + 0.1 * (0.02 - v + spikes[:, k] @ nodes["w"].weight.T)
        z = v > 0.1
        v = np.where(z, 0.01, v)
        u = u + 0.1 * (z - u)
        hidden.append(z)
        np.testing.assert_allclose(run.traces["y.v"][:, k + 2], u, atol=1e-12)
    np.testing.assert_array_equal(run.spikes["a"][:, 1:-1], np.stack(hidden, axis=1))
    assert np.sum(hidden) > 200


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: (chain(), "nir-rockpool"), "population 'hidden', neuron: nir-rockpool has no lif"),
        (
            lambda: (chain(CUBA, JUMP), "nir-rockpool"),
            "population 'hidden', reset: 'zero'; nir-rockpool has 'subtract'",
        ),
        (lambda: (chain(CUBA, JUMP), "nir-sinabs"), "population 'hidden', neuron: nir-sinabs has no cuba_lif"),
        (lambda: (chain(loop=True), "nir-sinabs"), "projection 'loop', recurrence"),
        (lambda: (chain(PURE), "nir"), "population 'hidden', tau_mem: a variable without a leak"),
        (lambda: (chain(replace(LIF, threshold="v >= v_th")), "nir"), "population 'hidden', threshold: '>='"),
    ],
)
def test_profiles_refuse_by_name(build: Any, message: str, tmp_path: Path) -> None:
    network, target = build()
    with pytest.raises(ExportError, match=message):
        targets.get(target).export(network, None, tmp_path / "net.nir")
    assert not list(tmp_path.iterdir())


def test_sinabs_and_rockpool_numbers(tmp_path: Path) -> None:
    """Closed forms: tau in steps; weights over decay and threshold; r gives the step."""
    targets.get("nir-sinabs").export(chain(), None, tmp_path / "s.nir")
    node = nir.read(str(tmp_path / "s.nir")).nodes["n02_lif_hidden"]
    np.testing.assert_allclose((node.tau[0], node.r[0], node.v_threshold[0]), (10, 1, 1), rtol=1e-6)
    assert isinstance(nir.read(str(tmp_path / "s.nir")).nodes["n01_fc_hidden"], nir.Affine)
    network = chain(SOFT_CUBA, JUMP)
    targets.get("nir-rockpool").export(network, None, tmp_path / "r.nir")
    graph = nir.read(str(tmp_path / "r.nir"))
    node = graph.nodes["n02_lif_hidden"]
    np.testing.assert_allclose((node.tau_mem[0], node.tau_syn[0], node.r[0]), (1e-3, 5e-4, 9), rtol=1e-6)
    gain = (
        1e8 * 5 / (5 - 10) * (np.exp(-1 / 5) - np.exp(-1 / 10)) / 0.02
    )  # of I_syn into v in a step, exact integration
    np.testing.assert_allclose(
        graph.nodes["n01_fc_hidden"].weight,
        np.asarray(network.projections[0].weights.value).T * gain / np.exp(-0.2),
        rtol=1e-6,
    )


def test_a_million_synapses_within_twice_their_memory(tmp_path: Path) -> None:
    """Writing and reading take seconds, and on top of the network at most twice the bytes of its weights."""
    weights = np.random.default_rng(0).normal(0.1, 0.4, (1000, 1000))
    feed = Projection("feed", "x", "cells", PULSE, quantity(weights, "nA"))
    network = Network((Population("cells", LIF, 1000),), (feed,), (Input("x", 1000),), dt="1 ms")
    import_nir(export_nir(chain(), None, tmp_path / "small.nir").files[0])  # imports and caches
    for step in (lambda: export_nir(network, None, tmp_path / "net.nir"), lambda: import_nir(tmp_path / "net.nir")):
        start = time.perf_counter()
        tracemalloc.start()
        result = step()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.perf_counter() - start < 10
        assert peak < 2 * weights.nbytes
    assert isinstance(result, Network)
    assert result.projections[0].weights is not None and result.projections[0].weights.shape == (1000, 1000)


def test_unknown_convention_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(ForeignFileError, match="did you mean 'sinabs'"):
        import_nir(tmp_path / "net.nir", "sinab")
