"""Gradients by e-prop and by BPTT of the same network on a device, trials of random events."""

from __future__ import annotations

from twinspike.benches import eprop
from twinspike.benches.on_device.measuring import Goal, built, measure
from twinspike.benchmark import Bench
from twinspike.device import Device

BATCH, STEPS = 256, 100


def run(bench: Bench, device: Device) -> None:
    import tasks

    task, (batch, steps) = tasks.get("evidence"), (4, 20) if bench.quick else (BATCH, STEPS)
    data = eprop.trials(steps, batch)
    for backend in bench.backends:
        makers = {
            rule: lambda backend=backend, rule=rule: eprop.gradient(backend, rule, task, data, device=device.name)
            for rule in eprop.RULES
        }
        title = f"e-prop on {backend}, {batch} x {steps}"
        measure(bench, device, title, built(makers, device), Goal(), lambda gradients: gradients, ours=list(makers)[:1])
