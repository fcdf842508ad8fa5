"""What each process of a group does in tests/learning/test_processes.py. Imported once by a fork server, so that a process costs nothing to start."""

from __future__ import annotations

import time
import traceback
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from neuro import learning
from neuro.learning.common.processes import here
from neuro.learning.loop import Unwritten, train
from neuro.protocols import Batch, RunError
from tests.learning.shared_batches import Ragged, curve, gradient, program_of

CASES = (("bptt", "native"), ("bptt", "torch"), ("eprop", "torch"), ("rflo", "native"))
UPDATES = 20


@cache
def prepared(rule: str, backend: str) -> tuple[Ragged, Any]:
    """Task and program, compiled once: a fork has those of its server."""
    task = task_for(rule)
    return task, program_of(task, backend)


def task_for(rule: str) -> Ragged:
    """Eligibility rules want all spikes in the batch."""
    return Ragged(drawn=rule == "bptt")


def options(rule: str, **others: Any) -> dict[str, Any]:
    return {"learning_rate": 0.05 if rule == "bptt" else 1e-3, "clip": 1.0, **others}


class Broken(Ragged):
    """One of its examples is an error."""

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        if batch.trial + len(batch.targets) > 6:
            raise RunError("the last example is broken")
        return super().loss(spikes, traces, batch)


class Blind(Ragged):
    """Whose test can't be measured."""

    def metric(self, recording: Any, batch: Batch) -> float:
        raise RunError("no metric")


def said(call: Any) -> tuple[str, str]:
    """Kind and text of what it raises."""
    try:
        call()
    except Exception as error:
        return type(error).__name__, str(error)
    return "", ""


def found() -> dict[str, Any]:
    """All that a process finds."""
    together, results = here(), dict[str, Any]()
    for rule, backend in CASES:
        task, program = prepared(rule, backend)
        results[f"{rule} {backend} gradient"] = gradient(learning.get(rule), program, task)
        results[f"{rule} {backend} curve"] = curve(learning.get(rule, **options(rule)), program, task, UPDATES)
    task, program = prepared("bptt", "torch")
    results["slices"] = curve(learning.get("bptt", **options("bptt", slices=5)), program, task, 2)
    together.spent()
    gradient(learning.get("bptt"), program, task)
    results["spent"] = together.spent()
    results["broken"] = said(lambda: gradient(learning.get("bptt"), program, Broken()))
    results["blind"] = said(
        lambda: train(Blind(), program, learning.get("bptt"), Unwritten(), epochs=1, seed=0, batch=7)
    )
    results["black box"] = said(
        lambda: train(task, program, learning.get("es"), Unwritten(), epochs=1, seed=0, batch=7)
    )
    results["apart"] = said(lambda: together.check_same({"a": np.zeros(2), "b": np.array(float(together.rank > 0))}))
    results["afterwards"] = gradient(learning.get("bptt"), program, task)
    results["first"] = together.from_first(lambda: together.rank)
    return results


def work(rank: int, number: int, place: str, answers: Any) -> None:
    """One process of a group that meets in a file."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{place}", rank=rank, world_size=number, timeout=timedelta(seconds=100)
    )
    try:
        answers.put((rank, found() | {"cpu": time.process_time()}))
    except Exception:
        answers.put((rank, traceback.format_exc()))
    dist.destroy_process_group()
