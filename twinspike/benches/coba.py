"""The COBA network, 4,000 cells, 1 s at 0.1 ms in float64: see benches.cuba."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twinspike.benches.cuba import balanced_network, compare
from twinspike.benches.peers import balanced
from twinspike.benchmark import Bench


def network(pairs: Any, start: Mapping[str, Any]) -> Any:
    """The network as a twinspike definition. pairs, start: see peers."""
    from neuro import library

    initial = {"v": start["v"], "g_e": start["ge"], "g_i": start["gi"]}
    return balanced_network(library.get("coba_lif"), pairs, initial, ("6 nS", "67 nS"), "siemens")


def run(bench: Bench) -> None:
    rng = np.random.default_rng(bench.seed)
    pairs = balanced.connections(rng)
    start = {
        "v": rng.normal(-65e-3, 5e-3, balanced.CELLS),
        "ge": rng.normal(40e-9, 15e-9, balanced.CELLS).clip(0),
        "gi": rng.normal(200e-9, 120e-9, balanced.CELLS).clip(0),
    }
    compare(bench, "COBA", lambda: network(pairs, start), balanced.coba, pairs, start, {"run": 0.5})
