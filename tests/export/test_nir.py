"""NIR files, run by other programs' importers: every spike where the network has it, layer latency taken off."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

import neuro.export.nir.common as nir_format
from backends.nir_client import prove, replay
from backends.reference import ReferenceBackend
from backends.snn_torch import SnnTorchBackend
from neuro import Input, Network, Neuron, Pairs, Population, Projection, Synapse, Uniform, library, quantity
from neuro.compiler.parameters import parameters
from neuro.compiler.semantics import Semantics, semantics
from neuro.export.nir.common import ExportError, export_nir

LIF, PULSE = library.get("lif"), library.get("pulse")
CUBA, JUMP = library.get("cuba_lif"), library.get("current_jump")
CURRENT = library.get("exponential_current")
READOUT = library.get("leaky_integrator")
SIZES = {"pixels": 64, "hidden": 40, "out": 10}
TRIALS, STEPS = 200, 25


def weights(pre: str, post: str, scale: float) -> Any:
    """nA; excitation a little stronger than inhibition, more inhibition within a layer."""
    mean = -0.05 if pre == post else 0.1
    random = np.random.default_rng(len(pre) + 10 * len(post))
    return quantity(scale * random.normal(mean, 0.4, (SIZES[pre], SIZES[post])), "nA")


def digits(neuron: Neuron = LIF, synapse: Synapse = PULSE, *, loops: tuple[str, ...] = (), **options: Any) -> Network:
    """64 pixels -> 40 cells -> 10 cells, recurrent where in `loops`."""
    scale = 1.0 if synapse is PULSE else 0.2
    pairs = [("pixels", "hidden"), ("hidden", "out"), *((n, n) for n in loops)]
    projections = [Projection(f"{a}_{b}", a, b, synapse, weights(a, b, scale), **options) for a, b in pairs]
    cells = tuple(Population(n, neuron, SIZES[n]) for n in ("hidden", "out"))
    return Network(cells, tuple(projections), (Input("pixels", 64),), dt="1 ms", seed=4, name="digits")


def spikes(trials: int = TRIALS, rate: float = 0.1, seed: int = 0) -> dict[str, np.ndarray]:
    return {"pixels": np.random.default_rng(seed).random((trials, STEPS, 64)) < rate}


def heterogeneous() -> Network:
    network = digits(loops=("hidden",))
    cells = [replace(network.populations[0], parameters={"tau_m": Uniform(quantity("5 ms"), quantity("20 ms"))})]
    return replace(network, populations=(*cells, network.populations[1]))


def thresholds() -> Network:
    network = digits(loops=("hidden",))
    cells = [
        replace(p, parameters={"v_th": Uniform(quantity("-55 mV"), quantity("-45 mV"))}) for p in network.populations
    ]
    return replace(network, populations=tuple(cells))


def sparse() -> Network:
    """Explicit pairs, some of them twice."""
    network, random = digits(), np.random.default_rng(2)
    pairs = Pairs(random.integers(0, 64, 900), random.integers(0, 40, 900))
    feed = replace(network.projections[0], connectivity=pairs, weights=quantity(random.normal(0.2, 0.5, 900), "nA"))
    return replace(network, projections=(feed, network.projections[1]))


FIXTURES: dict[str, Callable[[], Network]] = {
    "lif": digits,
    "lif, euler": lambda: digits(replace(LIF, method="euler")),
    "recurrent lif": lambda: digits(loops=("hidden", "out")),
    "cuba": lambda: digits(CUBA, JUMP),
    "recurrent cuba": lambda: digits(CUBA, JUMP, loops=("hidden", "out")),
    "current receptor": lambda: digits(replace(LIF, method="exponential_euler"), CURRENT, loops=("hidden",)),
    "per-neuron tau": heterogeneous,
    "per-neuron threshold": thresholds,
    "sparse": sparse,
}
each_fixture = pytest.mark.parametrize("name", FIXTURES)


@each_fixture
def test_snntorch_fires_the_same_spikes(name: str, tmp_path: Path) -> None:
    network = FIXTURES[name]()
    export_nir(network, None, tmp_path / "net.nir")
    proof = prove(network, None, tmp_path / "net.nir", spikes())
    assert proof.trials >= 200 and proof.spikes > 100
    assert proof.spikes < 0.6 * TRIALS * STEPS * SIZES["out"], "rates say nothing"
    assert proof.differences == 0, f"nearest to a threshold: {proof.nearest}"


def test_hidden_layer_too(tmp_path: Path) -> None:
    network = digits(loops=("hidden",))
    first = Network(
        network.populations[:1], (network.projections[0], network.projections[2]), network.inputs, dt="1 ms"
    )
    report = export_nir(first, None, tmp_path / "net.nir")
    proof = prove(first, None, report.files[0], spikes())
    assert proof.differences == 0 and 1000 < proof.spikes < 0.6 * TRIALS * STEPS * SIZES["hidden"]


def test_network_in_single_precision_fires_them_too(tmp_path: Path) -> None:
    network = digits(loops=("hidden",))
    report = export_nir(network, None, tmp_path / "net.nir")
    given = spikes()
    ours = SnnTorchBackend().compile(network, dtype="float32").run(inputs=given).spikes["out"]
    theirs = replay(report.files[0], given["pixels"])
    late = report.latency["out"]
    assert ours.sum() > 100 and not ours[:, :late].any()
    np.testing.assert_array_equal(ours[:, late:], theirs[:, :-late])


def norse_client(path: Path, inputs: np.ndarray) -> np.ndarray:
    norse = pytest.importorskip("norse.torch")
    return steps_of(norse.from_nir(nir.read(str(path)), dt=1e-4), inputs)


def spikingjelly_client(path: Path, inputs: np.ndarray) -> np.ndarray:
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    return steps_of(exchange.import_from_nir(str(path), dt=1e-4), inputs)


def steps_of(client: Any, inputs: np.ndarray) -> np.ndarray:
    state, found = None, []
    with torch.no_grad():
        for k in range(inputs.shape[1]):
            out, state = client(torch.as_tensor(inputs[:, k], dtype=torch.float32), state)
            found.append(out > 0)
    return torch.stack(found, dim=1).numpy()


@pytest.mark.parametrize("client", [norse_client, spikingjelly_client])
@pytest.mark.parametrize("name", ["lif", "recurrent lif", "cuba", "recurrent cuba", "per-neuron threshold"])
def test_other_clients_read_the_same_file_alike(name: str, client: Any, tmp_path: Path) -> None:
    report = export_nir(FIXTURES[name](), None, tmp_path / "net.nir")
    given = spikes(50)["pixels"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the clients themselves
        theirs = client(report.files[0], given)
    ours = replay(report.files[0], given)
    assert ours.sum() > 100
    np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize("defect", ["weights", "threshold", "tau", "latency"])
def test_a_wrong_file_is_noticed(defect: str, tmp_path: Path) -> None:
    network = digits()
    path = tmp_path / "net.nir"
    export_nir(network, None, path)
    graph = nir.read(str(path))
    match defect:
        case "weights":
            graph.nodes["n01_fc_hidden"].weight = graph.nodes["n01_fc_hidden"].weight * 1.02
        case "threshold":
            graph.nodes["n02_lif_hidden"].v_threshold = graph.nodes["n02_lif_hidden"].v_threshold * 1.02
        case "tau":
            graph.nodes["n02_lif_hidden"].tau = graph.nodes["n02_lif_hidden"].tau * 1.1
        case "latency":
            record = json.loads(Path(f"{path}.json").read_text())
            Path(f"{path}.json").write_text(json.dumps({**record, "latency": {"hidden": 1, "out": 3}}))
    if defect != "latency":
        nir.write(str(path), graph)
    proof = prove(network, None, path, spikes())
    assert proof.differences >= proof.unexplained > 20


def test_other_parameters_than_the_networks(tmp_path: Path) -> None:
    network = digits()
    given = {"pixels_hidden.w": 1.3 * parameters(network)["pixels_hidden.w"].value, "out.v_th": np.array(-0.052)}
    report = export_nir(network, given, tmp_path / "net.nir")
    proof = prove(network, given, report.files[0], spikes())
    assert proof.differences == 0 and proof.spikes > 100
    assert prove(network, None, report.files[0], spikes()).differences > 20


def test_numbers_in_the_file(tmp_path: Path) -> None:
    """Closed form: 100 Mohm (1 - exp(-0.1)) per amp against 20 mV; tau of a client's Euler step."""
    network = digits(loops=("hidden",))
    report = export_nir(network, None, tmp_path / "net.nir")
    graph = nir.read(str(report.files[0]))
    assert list(graph.nodes) == sorted(graph.nodes)
    assert list(graph.nodes) == ["input", "n01_fc_hidden", "n02_lif_hidden", "n03_fc_out", "n04_lif_out", "output"]
    assert set(graph.nodes["n02_lif_hidden"].nodes) == {"input", "lif", "output", "w_rec"}
    scale = 1e8 * -np.expm1(-0.1) / 0.02
    w = parameters(network)
    loop = graph.nodes["n02_lif_hidden"].nodes["w_rec"].weight
    np.testing.assert_allclose(graph.nodes["n01_fc_hidden"].weight, scale * w["pixels_hidden.w"].value.T, rtol=2e-7)
    np.testing.assert_allclose(loop, scale * w["hidden_hidden.w"].value.T, rtol=2e-7)
    lif = graph.nodes["n04_lif_out"]
    fields = {"tau": 1e-4 / -np.expm1(-0.1), "r": 1, "v_leak": 0, "v_reset": 0, "v_threshold": -np.expm1(-0.1)}
    for field, value in fields.items():
        array = getattr(lif, field)
        assert (array.shape, array.dtype) == ((10,), np.float32)
        np.testing.assert_allclose(array, value, rtol=2e-7)
    assert lif.metadata == {"population": "out"}
    assert 0 < report.rounding["weights"] <= 2**-24 and 0 < report.rounding["leaks"] < 1e-6


def test_the_record_says_what_the_format_cannot(tmp_path: Path) -> None:
    network = digits(CUBA, JUMP)
    report = export_nir(network, None, tmp_path / "net.nir")
    record = json.loads(report.files[1].read_text())
    assert report.files[1] == tmp_path / "net.nir.json"
    assert json.loads(nir.read(str(report.files[0])).metadata["record"]) == record
    assert Semantics.from_data(record["semantics"]) == semantics(network, "float32")
    assert record["latency"] == report.latency == {"hidden": 1, "out": 2}
    layer = record["layers"][1]
    np.testing.assert_allclose(layer["tau_mem"], 0.01, rtol=1e-9)
    np.testing.assert_allclose(layer["tau_syn"], 0.005, rtol=1e-9)
    np.testing.assert_allclose((layer["rest"][0], layer["threshold"][0]), (-0.07, -0.05), rtol=1e-9)


def test_a_tie_is_reported(tmp_path: Path) -> None:
    """tau = 2 dt by Euler and weights of a quarter: u meets the threshold exactly, float32 or not."""
    neuron = replace(
        LIF.with_parameters(E_L="0 mV", v_reset="0 mV", v_th="1 V", R="1 ohm", tau_m="2 ms"), method="euler", initial={}
    )
    feed = Projection("feed", "x", "cells", PULSE, "2 amp")
    network = Network((Population("cells", neuron, 1),), (feed,), (Input("x", 1),), dt="1 ms")
    export_nir(network, None, tmp_path / "net.nir")
    proof = prove(network, None, tmp_path / "net.nir", {"x": np.ones((1, 5, 1), bool)})
    assert (proof.nearest, proof.ties) == (0, 1)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.nir"
    export_nir(digits(), None, path)
    before = path.read_bytes()

    def full(target: str, graph: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nir, "write", full)
    with pytest.raises(OSError, match="No space"):
        export_nir(digits(CUBA, JUMP), None, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.nir", "net.nir.json"]


def test_without_the_package_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ExportError, match="package 'nir': it is not installed"):
        export_nir(digits(), None, tmp_path / "net.nir")


def test_importing_the_exporter_needs_no_client() -> None:
    code = "import sys, neuro.export.nir.common; sys.exit(bool({'nir', 'torch', 'snntorch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert nir_format.CLIENT_DT == 1e-4


# -- refusals -----------------------------------------------------------------------------------------------------


def with_projection(pre: str, post: str, **options: Any) -> Network:
    network = digits()
    extra = Projection("extra", pre, post, PULSE, "0.1 nA", **options)
    return replace(network, projections=(*network.projections, extra))


def with_readout() -> Network:
    network = with_projection("hidden", "hidden")
    cells = (*network.populations, Population("readout", READOUT, 3))
    return replace(
        network, populations=cells, projections=(*network.projections, Projection("r", "out", "readout", PULSE, "1 nA"))
    )


def with_current() -> Network:
    network = digits()
    return replace(network, inputs=(*network.inputs, Input("bias", 10, "current", "out.I")))


def with_second_input() -> Network:
    network = digits()
    return replace(network, inputs=(*network.inputs, Input("more", 3)))


def lonely() -> Network:
    network = digits()
    return replace(network, populations=(*network.populations, Population("alone", LIF, 2)))


def changed(**changes: Any) -> Network:
    return digits(replace(LIF, **changes))


SOFT = {"reset": "v -= v_th", "parameters": {**LIF.parameters, "E_L": "0 mV", "v_th": "20 mV"}, "initial": {}}
PURE = Neuron("pure", "dv/dt = I/C : volt\nI : amp", "v > 1*volt", "v = 0*volt", parameters={"C": "1 nF"})
REFUSALS: dict[str, tuple[Callable[[], Network], str]] = {
    "delay": (lambda: digits(delay="1 ms"), "projection 'pixels_hidden', delay"),
    "refractory": (lambda: changed(refractory=quantity("2 ms")), "population 'hidden', refractory: 2 steps"),
    "soft reset": (lambda: changed(**SOFT), "population 'hidden', reset: 'subtract'"),
    "reset off rest": (lambda: changed(reset="v = E_L - 5*mV"), "population 'hidden', reset: it leads to"),
    "inclusive threshold": (lambda: changed(threshold="v >= v_th"), "population 'hidden', threshold: '>='"),
    "initial value": (lambda: changed(initial={"v": "-60 mV"}), "population 'hidden', initial"),
    "no leak": (lambda: digits(PURE), "population 'hidden', tau_mem: a variable without a leak"),
    "threshold at rest": (lambda: digits(LIF.with_parameters(v_th="-70 mV")), "population 'hidden', threshold"),
    "skip connection": (lambda: with_projection("pixels", "out"), "projection 'extra', layers: from 'pixels' to 'out'"),
    "feedback": (lambda: with_projection("out", "hidden"), "projection '.*', layers: a loop through several layers"),
    "readout": (with_readout, "population 'readout', neuron: nir has no leaky_integrator"),
    "current input": (with_current, "input 'bias', kind: a current into 'out'"),
    "two inputs": (with_second_input, "the network, inputs: 2 of them"),
    "a population that nothing feeds": (lonely, "population 'alone', layers: nothing feeds it"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_names_the_culprit_and_the_field(name: str, tmp_path: Path) -> None:
    build, message = REFUSALS[name]
    network = build()
    with pytest.raises(ExportError, match=f"can't export {message}"):
        export_nir(network, None, tmp_path / "net.nir")
    assert not list(tmp_path.iterdir())
    ReferenceBackend().compile(network)  # the definition itself is fine


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out.w": np.array(1.0)}, "parameter 'out.w', name"),
        ({"out.v_th": np.zeros(3)}, r"parameter 'out.v_th', shape: \(3,\)"),
        ({"out.v_th": np.array(np.inf)}, "parameter 'out.v_th', value"),
    ],
)
def test_wrong_parameters_are_named(given: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export_nir(digits(), given, tmp_path / "net.nir")
