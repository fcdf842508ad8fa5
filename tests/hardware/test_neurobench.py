"""NeuroBench's own metrics against `neuro.analysis.energy` on trained networks: the same operations and sparsities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import learning
from neuro.analysis.energy import measure, needed
from neuro.compiler import streams
from neuro.compiler.parameters import values
from tests.hardware import harness
from tests.tasks.recordings import needs

pytestmark = pytest.mark.hardware
TRIALS, UPDATES = 12, 20


def played(name: str, **options: Any) -> tuple[Any, Any, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A network after some updates, a third of whose recurrent weights are 0: it, its test run, the run's inputs, its parameters."""
    task = tasks.get(name, **options)
    program: Any = backends.get("native").compile(task.network(0), **task.settings.for_backend("native"))
    rule = learning.get("bptt", **task.settings.rules["bptt"])
    parameters, state = values(program.network), rule.init(program)
    batches = task.train_batches(streams.generator(0, "data/0"), 32)
    for _, batch in zip(range(UPDATES), batches, strict=False):
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
    cut = np.random.default_rng(0).random(parameters["loop0.w"].shape) < 1 / 3
    parameters = {**parameters, "loop0.w": np.where(cut, 0.0, parameters["loop0.w"])}
    inputs = {n: np.asarray(a)[:TRIALS] for n, a in task.test_batch().inputs.items()}
    return program.network, program.run(parameters, inputs, needed(program.network)), inputs, parameters


@pytest.mark.parametrize("name", ["sequential-digits", "ecg"])
def test_operations_and_sparsities_are_neurobenchs(name: str, tmp_path: Path) -> None:
    needs(name)
    client = harness.version("common", "neurobench")
    network, recording, inputs, parameters = played(name, **({"hidden": (24,)} if name == "sequential-digits" else {}))
    ours = measure(network, recording, inputs, parameters)
    graded = {"given": recording.traces.get("given.I", inputs["x"])}
    sent = {**inputs, **graded, **recording.spikes}
    run = {f"w/{p.name}": parameters[f"{p.name}.w"] for p in network.projections}
    run |= {f"sent/{p.name}": np.asarray(sent[p.pre], np.float64) for p in network.projections}
    run |= {f"active/{n}": np.asarray(sent[n], np.float64) for n in ours.populations}
    np.savez(tmp_path / "run.npz", **run)
    harness.run("common", "neurobench_metrics", tmp_path / "run.npz", tmp_path / "found.json")
    theirs, own = json.loads((tmp_path / "found.json").read_text()), ours.summary()
    for kind in ("MACs", "ACs"):
        assert theirs[f"Effective_{kind}"] == pytest.approx(own[f"effective {kind} a sample"], rel=1e-12)
    assert theirs["Dense"] == pytest.approx(own["synaptic operations a sample, dense"], rel=1e-12)
    assert theirs["ActivationSparsity"] == pytest.approx(own["activation sparsity"], rel=1e-12)
    assert theirs["ConnectionSparsity"] == pytest.approx(
        own["connection sparsity"], abs=5e-4
    )  # it rounds to three digits
    remark = f"{own['effective MACs a sample']:.0f} MACs, {own['effective ACs a sample']:.0f} ACs a sample"
    harness.note("energy", name, client, sum(int(r.sum()) for r in recording.spikes.values()), 0, remark)
