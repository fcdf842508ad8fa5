"""Integer targets without their clients: arithmetic twice over, Brian2, a C compiler, files read back, refusals."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tasks
from backends.reference import ReferenceBackend
from neuro import Input, Network, Population, Projection, library, quantity
from neuro.compiler.parameters import parameters
from neuro.export import ExportError
from neuro.export.bundle import LossError, write_bundle
from neuro.export.chips.c_header import c_network, largest_state, write_header
from neuro.export.chips.integer import IntegerChain, IntegerLayer
from neuro.export.chips.loihi2 import loihi_network, write_netx
from neuro.export.chips.sana_fe import sana_fe_network, write_yaml
from neuro.export.targets import Export, get
from neuro.protocols import Batch
from tests.export import integer_fixtures as fixtures
from tests.export import loihi_model, xylo_fixtures
from tests.export.networks import profiles

LOIHI = {
    "dense": (fixtures.loihi(), 963),
    "with bias": (fixtures.loihi(bias=True), 971),
    "without memory": (fixtures.loihi(memory=False), 328),
    "recurrent": (fixtures.loihi(recurrent=True), 641),
    "per neuron, odd weights": (fixtures.per_neuron(), 726),
    "wrap and saturation": (fixtures.overflowing(), 76),
    "thresholds from 0 on": (fixtures.thresholds(), 259),
}


XYLO = {"neuron": "cuba_lif", "recurrent": True, "reset": "subtract", "pixels": 16}


def run(network: Network, inputs: dict[str, np.ndarray], *record: str, parameters: Any = None) -> Any:
    return ReferenceBackend().compile(network).run(parameters, inputs, record)


def digits(**options: Any) -> tuple[Network, dict[str, np.ndarray]]:
    """An untrained digits network and 20 images."""
    task = tasks.get("digits", hidden=24, **options)
    return task.network(0), {"pixels": np.asarray(task.test_batch().inputs["pixels"][:20])}


def exported(target: str, path: Path, **options: Any) -> tuple[Network, dict[str, np.ndarray], Export]:
    network, inputs = digits(**options)
    return network, inputs, get(target).export(network, None, path / f"net{get(target).profile.suffix}")


# -- arithmetic -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOIHI)
def test_loihi_is_what_64_bit_shifts_compute(name: str) -> None:
    (chain, spikes), expected = LOIHI[name]
    ours = run(loihi_network(chain), {"x": spikes}).spikes
    theirs, counts = loihi_model.run(chain, spikes[0])
    assert ours[chain.layers[-1].name].sum() == expected
    for population, raster in theirs.items():
        np.testing.assert_array_equal(ours[population][0], raster)
    assert (min(counts.wraps, counts.high, counts.low) > 0) == (name == "wrap and saturation")


@pytest.mark.parametrize("bias", [False, True])
def test_xylo_is_what_one_spike_after_the_other_computes(bias: bool) -> None:
    given, counts = xylo_fixtures.xylo(bias), xylo_fixtures.counts(100)
    found = run(
        xylo_fixtures.counting(given), {"counts": counts.astype(float)}, "hidden.n", "output.n", "hidden.unsure"
    )
    hidden, output = xylo_fixtures.run(given, xylo_fixtures.later(counts)[0])
    np.testing.assert_array_equal(found.traces["hidden.n"][0], hidden)
    np.testing.assert_array_equal(found.traces["output.n"][0], output)
    assert hidden.sum() > 5000 and hidden.max() == 31 and not found.traces["hidden.unsure"].any()


def test_xylo_guard_rises_before_the_order_of_spikes_matters() -> None:
    given, counts = xylo_fixtures.xylo(size=120), xylo_fixtures.counts(40)
    found = run(xylo_fixtures.counting(given), {"counts": counts.astype(float)}, "hidden.n", "hidden.unsure").traces
    hidden, _ = xylo_fixtures.run(given, xylo_fixtures.later(counts)[0])
    wrong, unsure = (found["hidden.n"][0] != hidden).any(axis=1), found["hidden.unsure"][0].any(axis=1)
    assert wrong.any() and int(unsure.argmax()) <= int(wrong.argmax())


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler 'cc'")
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_c_header_compiles_and_fires_the_same_spikes(reset: str, tmp_path: Path) -> None:
    _, inputs, export = exported("c-header", tmp_path, neuron="cuba_lif", recurrent=True, reset=reset)
    assert export.integers is not None
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "net.h"\n'
        "int main(void) { static digits_state s; uint8_t in[DIGITS_INPUTS]; digits_reset(&s);\n"
        "while (fread(in, 1, sizeof in, stdin) == sizeof in) { digits_step(&s, in);\n"
        "fwrite(s.hidden_z, 1, sizeof s.hidden_z, stdout); fwrite(s.output_z, 1, sizeof s.output_z, stdout); } return 0; }\n"
    )
    command = ["cc", "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover"]
    subprocess.run([*command, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    ours, given = run(export.integers, inputs).spikes, np.asarray(inputs["pixels"])
    for trial in range(5):
        raw = subprocess.run(
            [tmp_path / "main"], input=given[trial].astype(np.uint8).tobytes(), capture_output=True, check=True
        )
        found = np.frombuffer(raw.stdout, np.uint8).reshape(given.shape[1], -1)
        for name, theirs in (("hidden", found[:, :24]), ("output", found[:, 24:])):
            late = export.latency[name]
            np.testing.assert_array_equal(ours[name][trial, late:], theirs[:-late].astype(bool))
    assert ours["hidden"][:5].sum() > 100


def test_c_header_never_overflows() -> None:
    """The bound is reached by the worst input and not passed, and what could pass it is refused."""
    cells = {"v_th": 2**31 - 1, "keep_i": 30000, "keep_v": 32700, "scale": 1}
    layer = IntegerLayer("cells", np.full((50, 2), 127), None, {n: np.full(2, v) for n, v in cells.items()})
    chain = IntegerChain("worst", "x", (layer,), 1e-3)
    found = run(c_network(chain, frozenset()), {"x": np.ones((1, 4000, 50), bool)}, "cells.v").traces["cells.v"]
    assert 0.95 < found.max() / largest_state(layer).max() <= 1
    wide = replace(layer, cells={**layer.cells, "scale": np.full(2, 256)})
    with pytest.raises(ExportError, match="32 bits"):
        write_header(replace(chain, layers=(wide,)), frozenset(), Path("never.h"))


def test_netx_file_holds_the_integers(tmp_path: Path) -> None:
    chain, _ = fixtures.per_neuron()
    write_netx(chain, tmp_path / "net.net")
    with h5py.File(tmp_path / "net.net") as file:
        layer = file["layer/0"]
        assert layer["type"][0] == b"dense_rec" and layer["neuron/type"][0] == b"CUBA"
        np.testing.assert_array_equal(layer["weight"][()].T, chain.layers[0].feed)
        np.testing.assert_array_equal(layer["weight_rec"][()].T, chain.layers[0].loop)
        np.testing.assert_array_equal(layer["neuron/vThMant"][()], chain.layers[0].cells["v_th"])
        assert file["layer/1/neuron/iDecay"][()] == 512
    assert [p.name for p in tmp_path.iterdir()] == ["net.net"]


def test_yaml_holds_the_integers(tmp_path: Path) -> None:
    chain, _ = fixtures.loihi(memory=False)
    write_yaml(chain, tmp_path / "net.yaml")
    text = (tmp_path / "net.yaml").read_text()
    feed = np.zeros_like(chain.layers[0].feed)
    for i, j, w in re.findall(r"- x\.(\d+) -> hidden\.(\d+): \{weight: (-?\d+)\}", text):
        feed[int(i), int(j)] = int(w)
    np.testing.assert_array_equal(feed, chain.layers[0].feed)
    assert sana_fe_network(chain).population("hidden").size == text.count("soma: loihi_lif") - 5


def test_xylo_file_holds_the_integers(tmp_path: Path) -> None:
    given = xylo_fixtures.xylo()
    given.write(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as file:
        for name, value in given.arrays().items():
            np.testing.assert_array_equal(file[name], value)


# -- refusals -------------------------------------------------------------------------------------------------------


def loihi_with(**changes: Any) -> IntegerChain:
    chain, _ = fixtures.loihi()
    layer = chain.layers[0]
    cells = {**layer.cells, **{n: np.full(20, v) for n, v in changes.items() if n != "feed"}}
    feed = layer.feed.copy()
    feed[0, :2] = changes.get("feed", feed[0, :2])
    return replace(chain, layers=(replace(layer, feed=feed, cells=cells), chain.layers[1]))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"feed": (129, -8)}, "weights"),
        ({"feed": (-258, 4)}, "weights"),
        ({"v_th": 131072}, "v_th"),
        ({"bias": 4096}, "bias"),
        ({"i_decay": 4097}, "i_decay"),
        ({"v_decay": -1}, "v_decay"),
    ],
)
def test_loihi_refuses_numbers_beyond_its_bits(changes: dict[str, Any], field: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"population 'hidden', {field}"):
        write_netx(loihi_with(**changes), tmp_path / "net.net")
    assert not list(tmp_path.iterdir())


def test_floats_are_refused(tmp_path: Path) -> None:
    chain, _ = fixtures.loihi()
    layer = replace(chain.layers[0], feed=chain.layers[0].feed + 0.5)
    with pytest.raises(ExportError, match="float64"):
        write_netx(replace(chain, layers=(layer, chain.layers[1])), tmp_path / "net.net")


def test_xylo_refuses_leaks_that_are_no_power_of_two(tmp_path: Path) -> None:
    network, _ = digits(**XYLO)
    cell = library.get("cuba_lif").with_parameters(tau_m=quantity("20 ms"))
    wrong = replace(
        network,
        populations=tuple(replace(p, neuron=replace(cell, reset="v -= v_th - E_L")) for p in network.populations),
    )
    with pytest.raises(ExportError, match="train with a time constant of"):
        get("xylo-a3").export(wrong, None, tmp_path / "net.npz")


def test_nothing_is_delivered_where_the_guard_rises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds at the end of 16 bits, so that sums saturate on the way."""
    monkeypatch.setattr("neuro.export.chips.xylo._HEADROOM", 1)
    task = tasks.get("digits", hidden=24, **XYLO)
    network = task.network(0)
    strong = {n: 30 * p.value for n, p in parameters(network).items() if n.endswith(".w")}
    batch = task.test_batch()
    few = Batch({n: v[:5] for n, v in batch.inputs.items()}, batch.targets[:5])
    with pytest.raises(LossError, match="not what the chip computes"):
        write_bundle("xylo-a3", network, strong, task, tmp_path, ReferenceBackend(), budget=100.0, batch=few)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", [n for n, p in profiles().items() if p.integer])
@pytest.mark.parametrize("names", [("x_", "p_", "q_"), ("a", "p", "a_to_p"), ("p_to_p", "p", "q")])
def test_any_names_of_populations(target: str, names: tuple[str, str, str], tmp_path: Path) -> None:
    """Names of the projections between them are made, and are neither illegal nor somebody's."""
    x, p, q = names
    profile = get(target).profile
    kind = "lif" if "lif" in profile.neurons else "cuba_lif"
    cell = digits(pixels=16, neuron=kind, reset=profile.resets[0])[0].populations[0].neuron
    synapse = library.get("pulse" if kind == "lif" else "current_jump")
    ways = [(x, p), *([(p, p)] if profile.recurrence else []), (p, q)]
    projections = [Projection(f"g{k}", *ends, synapse, "3 nA") for k, ends in enumerate(ways)]
    network = Network([Population(p, cell, 3), Population(q, cell, 2)], projections, [Input(x, 4)], dt="1 ms")
    found = get(target).export(network, None, tmp_path / f"net{profile.suffix}").integers
    assert found is not None
    assert sorted((s.pre, s.post) for s in found.projections) == sorted(ways)
    spikes = run(found, {x: np.ones((1, 30, 4), bool)}).spikes
    assert all(spikes[name].sum() > 5 for name in (p, q))
