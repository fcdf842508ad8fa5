"""What a NIR file leaves open: everything in a foreign file, nothing in our own but where readers part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np

from neuro.export.nir.lint import undetermined
from tests.export import hostile


def written(path: Path, nodes: dict[str, Any], edges: list[tuple[str, str]]) -> Path:
    ends = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}
    nir.write(str(path), nir.NIRGraph({**ends, **nodes}, edges))
    return path


def found(path: Path) -> set[tuple[str, str]]:
    return {(p.where, p.field) for p in undetermined(path)}


def lif(**fields: Any) -> nir.LIF:
    values = {"tau": 1e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1, "v_reset": 0.0} | fields
    return nir.LIF(**{k: np.broadcast_to(np.asarray(v, float), (2,)) for k, v in values.items()})


def test_our_own_file_leaves_nothing_open(tmp_path: Path) -> None:
    assert undetermined(hostile.whole(tmp_path / "net.nir")) == ()


def test_a_foreign_file_leaves_the_conventions_open(tmp_path: Path) -> None:
    edges = [("input", "n1"), ("n1", "n2"), ("n2", "output")]
    path = written(tmp_path / "net.nir", {"n1": nir.Linear(np.eye(2)), "n2": lif()}, edges)
    cell = {("node 'n2'", f) for f in ("initial", "threshold", "reset", "reset timing")}
    assert found(path) == {("the file", "dt"), ("the file", "integrator"), ("node 'input'", "kind")} | cell
    assert all(p.warning and p.fix for p in undetermined(path))


def test_traps_of_readers_are_named(tmp_path: Path) -> None:
    """A flat loop, per-neuron values, a reset off rest, a gain that norse ignores, names out of order, a bias, LI."""
    nodes = {
        "z_fc": nir.Affine(np.eye(2), np.ones(2)),
        "lif": lif(tau=[1e-3, 2e-3], v_threshold=[0.1, 0.2], v_reset=0.05, r=3.0),
        "rec": nir.Linear(np.eye(2)),
        "w": nir.Linear(np.eye(2)),
        "x": nir.LI(tau=np.full(2, 1e-3), r=np.ones(2), v_leak=np.zeros(2)),
    }
    edges = [
        ("input", "z_fc"),
        ("z_fc", "lif"),
        ("lif", "rec"),
        ("rec", "lif"),
        ("lif", "w"),
        ("w", "x"),
        ("x", "output"),
    ]
    wanted = {
        ("node 'lif'", "tau"), ("node 'lif'", "v_threshold"), ("node 'lif'", "v_reset"), ("node 'lif'", "r"),
        ("node 'lif'", "bias"), ("node 'lif'", "recurrence"), ("the file", "edges"), ("the file", "names"),
        ("node 'x'", "type"),
    }  # fmt: skip
    assert wanted <= found(written(tmp_path / "net.nir", nodes, edges))
