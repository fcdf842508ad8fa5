"""NIR files of trained networks in six clients: every spike where our network has it, the layers' latency taken off."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from neuro.export.layers import Layer, read
from neuro.export.nir.common import PROFILE, export_nir
from neuro.export.targets import get
from neuro.language.units import quantity
from tests.hardware import harness

pytestmark = pytest.mark.hardware

COMMON = ("snntorch", "norse", "spikingjelly")
CASES = [
    *(("nir", network, client) for network in ("lif", "cuba_lif") for client in COMMON),
    ("nir-sinabs", "lif", "sinabs"),
    ("nir-rockpool", "xylo", "rockpool"),
]


@pytest.mark.parametrize(("target", "network", "client"), CASES)
def test_trained_network(target: str, network: str, client: str, tmp_path: Path) -> None:
    version = harness.version("common", client)
    trained = harness.trained(network)
    export = get(target).export(trained.network, trained.parameters, tmp_path / "net.nir")
    ours = harness.reference(trained.network, {"pixels": trained.images}, parameters=trained.parameters).spikes
    theirs = harness.raster("common", "nir_file", tmp_path / "net.nir", trained.images, client)
    differing = harness.differences(ours["output"], theirs, export.latency["output"])
    spikes = ours["output"][:, export.latency["output"] :].sum()
    harness.note(target, f"digits {network}", version, spikes, differing, f"{len(trained.images)} images")
    assert differing == 0 and spikes > 1000


# -- spyx: a spike is seen one step after the membrane crossed, and the reset subtracts --------------------------------


@dataclass
class _Cells:
    layer: Layer
    i: np.ndarray
    v: np.ndarray

    def advance(self, arriving: np.ndarray) -> np.ndarray:
        """One step of spyx's cells in single precision; the spikes of the membrane before it."""
        numbers = self.layer.numbers
        one = np.float32(1)
        z = (self.v > one).astype(np.float32)
        scale = numbers.threshold.astype(np.float64)
        x = arriving @ (self.layer.feed / scale).astype(np.float32)
        if self.layer.loop is not None:
            x = x + z @ (self.layer.loop / scale).astype(np.float32)
        beta = numbers.beta.astype(np.float32)
        if numbers.alpha is None:
            self.v = beta * self.v + x - z
        else:
            self.i = numbers.alpha.astype(np.float32) * self.i + x
            self.v = beta * (self.v - z) + self.i
        return z


@pytest.mark.parametrize("network", ["lif", "cuba_lif"])
def test_spyx_in_its_own_timing(network: str, tmp_path: Path) -> None:
    version = harness.version("common", "spyx")
    trained = harness.trained(network)
    export_nir(trained.network, trained.parameters, tmp_path / "net.nir", form="unit")
    layers = read(trained.network, trained.parameters, PROFILE).chain()
    images = trained.images.astype(np.float32)
    cells = [_Cells(x, *(np.zeros((len(images), x.feed.shape[1]), np.float32) for _ in "iv")) for x in layers]
    ours = np.zeros((*images.shape[:2], cells[-1].v.shape[1]), bool)
    for k in range(images.shape[1]):
        arriving = images[:, k]
        for c in cells:
            arriving = c.advance(arriving)
        ours[:, k] = arriving > 0
    theirs = harness.raster("common", "nir_file", tmp_path / "net.nir", trained.images, "spyx")
    differing = harness.differences(ours, theirs)
    harness.note("nir (unit)", f"digits {network}", version, ours.sum(), differing, "its own timing, single precision")
    assert differing == 0 and ours.sum() > 1000


# -- schema ---------------------------------------------------------------------------------------------------------


def test_snn_mlir_accepts_the_flat_copy_only(tmp_path: Path) -> None:
    version = harness.version("common", "snn-mlir")
    trained = harness.trained("cuba_lif")
    codes = {}
    for form in ("flat", "common"):
        path = tmp_path / f"{form}.nir"
        export_nir(trained.network, trained.parameters, path, form=form)  # type: ignore[arg-type]
        command = [harness.python("common").with_name("snn-mlir"), "check", path]
        codes[form] = subprocess.run(command, capture_output=True, check=False).returncode
    harness.note(
        "nir (flat)", "digits cuba_lif", version, 0, 0, f"check: flat {codes['flat']}, subgraph {codes['common']}"
    )
    assert codes == {"flat": 0, "common": 1}


# -- ties -------------------------------------------------------------------------------------------------------------


def test_ties_divide_the_clients_unless_the_threshold_is_no_dyadic_number(tmp_path: Path) -> None:
    """Weights in quarters and decays of 1/2: `>` and `>=` differ at a threshold of 1, and agree at 0.99.

    At 1 - 1/64 they still differ where six halvings of a quarter meet it.
    """
    versions = {name: harness.version("common", name) for name in ("snntorch", "spikingjelly")}
    trained = harness.trained("lif")
    g = np.random.default_rng(1)
    cell = replace(
        trained.network.populations[0].neuron.with_parameters(
            tau_m=quantity("2 ms"), R=quantity("2 ohm"), E_L=quantity("0 V"), v_reset=quantity("0 V")
        ),
        method="euler",
        initial={"v": quantity("0 V")},
    )
    spikes = g.random((1, 400, 64)) < 0.1
    weights = {
        "pixels_to_hidden.w": g.integers(-2, 4, (64, 64)) / 4,
        "hidden_to_output.w": g.integers(-2, 4, (64, 10)) / 4,
    }
    found = {}
    for name, threshold in (("tie", 1.0), ("between", 0.99)):
        changed = cell.with_parameters(v_th=quantity(threshold, "V"))
        network = replace(
            trained.network, populations=tuple(replace(p, neuron=changed) for p in trained.network.populations)
        )
        export = export_nir(network, weights, tmp_path / f"{name}.nir")
        ours = harness.reference(network, {"pixels": spikes}, parameters=weights).spikes["output"]
        late = export.latency["output"]
        for client, version in versions.items():
            theirs = harness.raster("common", "nir_file", tmp_path / f"{name}.nir", spikes, client)
            found[name, client] = harness.differences(ours, theirs, late)
            harness.note(
                "nir",
                f"dyadic, {name}",
                version,
                ours.sum(),
                found[name, client],
                "expected of >=" * (found[name, client] > 0),
            )
        assert ours.sum() > 50
    assert found["tie", "spikingjelly"] > 0 == found["tie", "snntorch"]
    assert found["between", "spikingjelly"] == found["between", "snntorch"] == 0
