"""Xylo's integers in xylosim: counts of spikes of hidden and output cells."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from neuro.export.targets import get
from tests.export import xylo_fixtures as fixtures
from tests.hardware import harness

pytestmark = pytest.mark.hardware
GUARDS = ("hidden.unsure", "output.unsure")


def _client(folder: Path, arriving: np.ndarray) -> dict[str, np.ndarray]:
    np.save(folder / "in.npy", arriving)
    harness.run("common", "xylo", folder / "net.npz", folder / "in.npy", folder / "out.npz")
    return dict(np.load(folder / "out.npz"))


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
def test_counts_of_spikes(bias: bool, tmp_path: Path) -> None:
    version = harness.version("common", "xylosim")
    given, counts = fixtures.xylo(bias), fixtures.counts()
    given.write(tmp_path / "net.npz")
    record = ("hidden.n", "output.n", *GUARDS)
    ours = harness.reference(fixtures.counting(given), {"counts": counts.astype(float)}, *record).traces
    start = time.perf_counter()
    theirs = _client(tmp_path, fixtures.later(counts))
    assert time.perf_counter() - start < 20
    differing = sum(int((ours[f"{n}.n"] != theirs[n]).sum()) for n in ("hidden", "output"))
    spikes = ours["hidden.n"].sum() + ours["output.n"].sum()
    harness.note("xylo", "16/60/8" + ", bias" * bias, version, spikes, differing, "31 spikes in a step")
    assert differing == 0 and spikes > 5e4 and ours["hidden.n"].max() == 31
    assert not any(ours[name].any() for name in GUARDS)


def test_guard_tells_where_the_order_of_spikes_matters(tmp_path: Path) -> None:
    """Weights so large that sums leave 16 bits: until a cell's guard rises, the network is the chip."""
    harness.version("common", "xylosim")
    given, counts = fixtures.xylo(size=120), fixtures.counts()
    given.write(tmp_path / "net.npz")
    record = ("hidden.n", "output.n", *GUARDS)
    ours = harness.reference(fixtures.counting(given), {"counts": counts.astype(float)}, *record).traces
    theirs = _client(tmp_path, fixtures.later(counts))
    sure = int(np.argmax(ours["hidden.unsure"][0].any(axis=1)))
    assert 0 < sure < 400 and (ours["hidden.n"] != theirs["hidden"]).any()
    np.testing.assert_array_equal(ours["hidden.n"][0, :sure], theirs["hidden"][0, :sure])


@pytest.mark.parametrize(("target", "network"), [("xylo-a3", "xylo"), ("xylo-a2", "xylo_8")])
def test_trained_network(target: str, network: str, tmp_path: Path) -> None:
    version = harness.version("common", "xylosim")
    trained = harness.trained(network)
    export = get(target).export(trained.network, trained.parameters, tmp_path / "net.npz")
    assert export.integers is not None
    found = harness.reference(export.integers, {"pixels": trained.images}, "hidden.n", "output.n", *GUARDS).traces
    theirs = _client(tmp_path, trained.images)
    differing = sum(harness.differences(found[f"{n}.n"], theirs[n], export.latency[n]) for n in ("hidden", "output"))
    spikes = found["hidden.n"].sum() + found["output.n"].sum()
    harness.note(target, f"digits {network}", version, spikes, differing, f"{len(trained.images)} images")
    assert differing == 0 and spikes > 1000
    assert not any(found[name].any() for name in GUARDS)
