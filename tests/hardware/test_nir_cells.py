"""NIR files of cells that the trained networks don't have: per-neuron parameters, a resting value, no leak, Euler's method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro import Input, Network, Neuron, Population, Projection, Uniform, library, quantity
from neuro.export.targets import get
from tests.hardware import harness

pytestmark = pytest.mark.hardware

LIF, PULSE = library.get("lif"), library.get("pulse")
PURE = Neuron("pure", "dv/dt = I/C : volt\nI : amp", "v > 1*volt", "v = 0*volt", parameters={"C": "50 pF"})
VARIED = {
    "tau_m": Uniform(quantity("5 ms"), quantity("20 ms")),
    "v_th": Uniform(quantity("-55 mV"), quantity("-45 mV")),
}


def chain(neuron: Neuron, scale: float = 1.0, parameters: Any = None, loop: bool = False) -> Network:
    """16 channels -> 12 cells, recurrent on request -> 5 cells."""
    random = np.random.default_rng(1)

    def weights(pre: int, post: int, mean: float) -> Any:
        return quantity(scale * random.normal(mean, 0.4, (pre, post)), "nA")

    projections = [Projection("feed", "x", "hidden", PULSE, weights(16, 12, 0.3)),
                   Projection("read", "hidden", "out", PULSE, weights(12, 5, 0.3))]  # fmt: skip
    if loop:
        projections.append(Projection("loop", "hidden", "hidden", PULSE, weights(12, 12, -0.1)))
    cells = (Population("hidden", neuron, 12, parameters or {}), Population("out", neuron, 5))
    return Network(cells, tuple(projections), (Input("x", 16),), dt="1 ms")


NETWORKS: dict[str, Callable[[], Network]] = {
    "per-neuron tau and threshold": lambda: chain(LIF, parameters=VARIED, loop=True),
    "resting value off zero, euler": lambda: chain(replace(LIF, method="euler"), loop=True),
    "without a leak": lambda: chain(PURE, 30.0),
}
CASES = [
    ("nir", "per-neuron tau and threshold", "snntorch"),
    ("nir", "per-neuron tau and threshold", "norse"),
    *(("nir", "resting value off zero, euler", client) for client in ("snntorch", "norse", "spikingjelly")),
    ("nir-sinabs", "without a leak", "sinabs"),
]


@pytest.mark.parametrize(("target", "network", "client"), CASES)
def test_cells(target: str, network: str, client: str, tmp_path: Path) -> None:
    version = harness.version("common", client)
    given = NETWORKS[network]()
    spikes = np.random.default_rng(5).random((20, 100, 16)) < 0.2
    export = get(target).export(given, None, tmp_path / "net.nir")
    ours = harness.reference(given, {"x": spikes}).spikes["out"]
    theirs = harness.raster("common", "nir_file", tmp_path / "net.nir", spikes, client)
    differing = harness.differences(ours, theirs, export.latency["out"])
    harness.note(target, network, version, ours.sum(), differing)
    assert ours.sum() > 1000 and ours.mean() < 0.9
    assert differing == 0
