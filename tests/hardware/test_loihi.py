"""Loihi's integers in lava (netx) and in brian2-loihi, which share no code: every spike where our network has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuro.export.chips.integer import IntegerChain
from neuro.export.chips.loihi2 import loihi_network, write_netx
from neuro.export.targets import get
from tests.export import integer_fixtures as fixtures
from tests.hardware import harness

pytestmark = pytest.mark.hardware

FIXTURES: dict[str, tuple[Callable[[], tuple[IntegerChain, Any]], int]] = {
    "dense": (fixtures.loihi, 963),
    "with bias": (lambda: fixtures.loihi(bias=True), 971),
    "without memory": (lambda: fixtures.loihi(memory=False), 328),
    "recurrent": (lambda: fixtures.loihi(recurrent=True), 641),
    "per neuron, odd weights": (fixtures.per_neuron, 726),
    "wrap and saturation": (fixtures.overflowing, 76),
    "64 inputs, 256 recurrent": (fixtures.wide, 0),
    "thresholds from 0 on": (fixtures.thresholds, 259),
}
LAVA = ("lava", "lava_netx", "lava-dl", 0)
BRIAN = ("brian2-loihi", "brian2_loihi_netx", "brian2-loihi", 1)  # inputs act at once, so it is one step earlier


@pytest.mark.parametrize("name", FIXTURES)
def test_lava_computes_the_same_integers(name: str, tmp_path: Path) -> None:
    make, expected = FIXTURES[name]
    chain, spikes = make()
    _compare(chain, spikes, LAVA, name, tmp_path, expected)


@pytest.mark.parametrize("name", ["dense", "without memory", "recurrent", "thresholds from 0 on"])
def test_brian2_loihi_computes_the_same_integers(name: str, tmp_path: Path) -> None:
    make, expected = FIXTURES[name]
    chain, spikes = make()
    _compare(chain, spikes, BRIAN, name, tmp_path, expected)


def _compare(
    chain: IntegerChain, spikes: Any, client: tuple[str, str, str, int], name: str, folder: Path, expected: int
) -> None:
    environment, script, package, late = client
    version = harness.version(environment, package)
    write_netx(chain, folder / "net.net")
    ours = harness.reference(loihi_network(chain), {chain.source: spikes}).spikes[chain.layers[-1].name]
    theirs = harness.raster(environment, script, folder / "net.net", spikes)
    differing = harness.differences(ours, theirs, late)
    harness.note("loihi2", name, version, ours.sum(), differing)
    assert differing == 0 and ours.sum() > 50
    assert not expected or ours.sum() == expected


@pytest.mark.parametrize("network", ["lif", "cuba_lif"])
@pytest.mark.parametrize("client", [LAVA, BRIAN], ids=["lava", "brian2-loihi"])
def test_trained_network(network: str, client: tuple[str, str, str, int], tmp_path: Path) -> None:
    """lava gets the images one after the other in one run, which takes seconds instead of minutes."""
    environment, script, package, late = client
    version = harness.version(environment, package)
    trained = harness.trained(network)
    images = trained.images
    if client is LAVA:
        images = images.reshape(1, -1, images.shape[2])
    export = get("loihi2").export(trained.network, trained.parameters, tmp_path / "net.net")
    assert export.integers is not None
    ours = harness.reference(export.integers, {"pixels": images}).spikes["output"]
    theirs = harness.raster(environment, script, tmp_path / "net.net", images)
    differing = harness.differences(ours, theirs, late)
    harness.note("loihi2", f"digits {network}", version, ours.sum(), differing, f"{len(trained.images)} images")
    assert differing == 0 and ours.sum() > 1000
