"""Gradients by e-prop and by BPTT of the same network on a device."""

from __future__ import annotations

from benchmark import Bench
from device import Device

from benches import eprop
from benches.on_device.measuring import Goal, built, measure

TASK, BATCH = "evidence", 256


def run(bench: Bench, device: Device) -> None:
    import numpy as np

    import tasks

    task = tasks.get(TASK)
    data = next(iter(task.train_batches(np.random.default_rng(0), 4 if bench.quick else BATCH)))
    batch, steps = data.inputs["x"].shape[:2]
    for backend in bench.backends:
        makers = {
            f"{backend}, {rule}": lambda rule=rule: eprop.gradient(backend, rule, task, data, device=device.name)  # type: ignore[misc]
            for rule in eprop.RULES
        }
        title = f"e-prop on {backend}, {TASK}, {batch} x {steps}"
        measure(bench, device, title, built(makers, device), Goal(), lambda gradients: gradients, ours=list(makers)[:1])
