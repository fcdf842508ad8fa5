"""Digits by evolution strategies against BPTT: test accuracy against the number of simulations.

Both rules train the same network of 64 hidden cells, on all weights and, as control, on the readout alone with the
hidden layer frozen. One simulation is one parameter set on one batch of 256 images; BPTT's backward pass is not counted.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from study import Study

MINUTES = 6  # from 0.7 processor seconds an update by ES and 0.05 by BPTT
ARMS = {"all weights": ("*.w",), "readout only (control)": ("hidden_to_output.w",)}
RULES: dict[str, dict[str, Any]] = {
    "es": {"samples": 64, "sigma": 0.05, "learning_rate": 0.05},
    "bptt": {"learning_rate": 0.03},
}
LEVEL, BACKEND = 0.8, "torch"


def curve(
    rule: str, trainable: tuple[str, ...], seed: int, epochs: int, size: int, update: Any
) -> tuple[Any, Any, float]:
    """[epoch, 2]: simulations so far and test accuracy; the loss of each update; seconds. size: images a batch."""
    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    task = tasks.get("digits", hidden=64)
    program = backends.get(BACKEND).compile(task.network(seed), dtype="float32", surrogate="atan")
    chosen = learning.get(rule, trainable=trainable, **RULES[rule])
    state, parameters = chosen.init(program), dict(values(program.network))
    test, rows, losses, start = task.test_batch(), [], [], time.perf_counter()
    for epoch in range(epochs):
        for batch in task.train_batches(streams.generator(seed, f"data/{epoch}"), size):
            parameters, state, metrics = chosen.step(program, parameters, state, batch, task)
            losses.append(metrics["loss"])
        accuracy = task.metric(program.run(parameters, test.inputs), test)
        rows.append((metrics.get("evaluations", len(losses)), accuracy))
        update(epoch + 1, epochs, f"test accuracy {accuracy:.3f}")
    return np.array(rows), np.array(losses), time.perf_counter() - start


def needed(found: Any) -> float:
    """Simulations until the level is reached; infinite if it never is."""
    reached = found[found[:, 1] >= LEVEL]
    return float(reached[0, 0]) if len(reached) else float("inf")


def run(study: Study) -> None:
    import matplotlib.pyplot as plt

    rows, curves, falls = [], {}, {}
    size, epochs = (32, {"es": 1, "bptt": 1}) if study.quick else (256, {"es": 30, "bptt": 150})
    figure, axes = plt.subplots(figsize=(6, 4))
    for rule in RULES:
        for label, trainable in ARMS.items():
            with study.progress(f"{rule}, {label}") as update:
                found, losses, seconds = curve(rule, trainable, study.seed, epochs[rule], size, update)
            curves[rule, label] = found
            study.array(f"{rule}/{label}", found)
            falls[rule, label] = float(losses[-5:].mean() / losses[:5].mean())
            rows.append((rule, label, int(found[-1, 0]), needed(found), float(found[-1, 1]), seconds))
            axes.semilogx(found[:, 0], found[:, 1], label=f"{rule}, {label}")
    header = ("rule", "trained", "simulations", f"simulations to {LEVEL:.0%}", "test accuracy", "seconds")
    study.table(f"digits, 64 hidden cells, batches of {size}, one seed", header, rows)
    axes.set(xlabel="simulations of one batch", ylabel="test accuracy")
    axes.legend()
    study.figure("accuracy", figure)
    plt.close(figure)
    fall, (every, control) = falls["es", "all weights"], (float(curves["es", label][-1, 1]) for label in ARMS)
    study.criterion("ES, loss of the last 5 updates over the first 5", fall, "< 1", fall < 1)
    study.criterion("ES, all weights: test accuracy", every, ">= 0.9", every >= 0.9, full=True)
    gain = every - control
    study.criterion("ES, gain over the frozen hidden layer", gain, "> 0", gain > 0, full=True)
    ratio = needed(curves["es", "all weights"]) / needed(curves["bptt", "all weights"])
    study.criterion(f"simulations to {LEVEL:.0%}, ES over BPTT", ratio, "finite", np.isfinite(ratio), full=True)
