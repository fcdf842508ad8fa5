"""SANA-FE's YAML in SANA-FE: spikes, energy, latency and packets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuro.export.chips.integer import IntegerChain, IntegerLayer
from neuro.export.chips.sana_fe import sana_fe_network, write_yaml
from neuro.export.targets import get
from tests.export.integer_fixtures import loihi_cells
from tests.hardware import harness

pytestmark = pytest.mark.hardware


def _client(folder: Path, source: str, spikes: np.ndarray) -> dict[str, np.ndarray]:
    np.save(folder / "in.npy", spikes)
    harness.run("common", "sana_fe", folder / "net.yaml", source, folder / "in.npy", folder / "out.npz")
    return dict(np.load(folder / "out.npz"))


def _cost(found: dict[str, np.ndarray]) -> str:
    energy, latency, packets = (found[f"cost_{n}"] for n in ("energy", "latency", "packets"))
    assert (energy > 0).all() and (latency > 0).all() and (packets > 0).all()
    return f"{energy.mean():.3g} J, {latency.mean():.3g} s, {packets.mean():.0f} packets a trial"


def test_recurrent_network_with_cells_of_their_own(tmp_path: Path) -> None:
    version = harness.version("common", "sanafe")
    g = np.random.default_rng(5)
    spikes = g.random((2, 100, 8)) < 0.3
    hidden = {**loihi_cells(12, 1, 4096, 0), "v_th": g.integers(100, 500, 12), "v_decay": g.integers(100, 900, 12)}
    layers = (
        IntegerLayer("hid", 2 * g.integers(-60, 100, (8, 12)), 2 * g.integers(-40, 30, (12, 12)), hidden),
        IntegerLayer("out", 2 * g.integers(-60, 100, (12, 4)), None, loihi_cells(4, 300, 4096, 410)),
    )
    chain = IntegerChain("fixture", "x", layers, 1e-3)
    write_yaml(chain, tmp_path / "net.yaml")
    ours = harness.reference(sana_fe_network(chain), {"x": spikes}).spikes
    theirs = _client(tmp_path, "x", spikes)
    differing = sum(harness.differences(ours[n], theirs[n]) for n in ours)
    total = sum(int(r.sum()) for r in ours.values())
    harness.note("sana-fe", "8/12/4 recurrent", version, total, differing, _cost(theirs))
    assert differing == 0 and ours["hid"].sum() > 100 and ours["out"].sum() > 50
    np.testing.assert_array_equal(theirs["x"], spikes)


def test_trained_network(tmp_path: Path) -> None:
    version = harness.version("common", "sanafe")
    trained = harness.trained("lif")
    export = get("sana-fe").export(trained.network, trained.parameters, tmp_path / "net.yaml")
    assert export.integers is not None
    ours = harness.reference(export.integers, {"pixels": trained.images}).spikes
    theirs = _client(tmp_path, "pixels", trained.images)
    differing = sum(harness.differences(ours[n], theirs[n]) for n in ours)
    total = sum(int(r.sum()) for r in ours.values())
    harness.note("sana-fe", "digits lif", version, total, differing, f"{len(trained.images)} images, {_cost(theirs)}")
    assert differing == 0 and ours["output"].sum() > 1000
