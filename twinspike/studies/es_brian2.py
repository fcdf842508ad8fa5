"""Digits by evolution strategies where every evaluation is a Brian2 simulation.

A network of 24 hidden cells, 15 steps an image. Arms: all weights on Brian2; the readout alone on Brian2, hidden layer frozen
(control); all weights on torch in float64, which proposes the same candidates and so must end at the same weights; and mixed
fidelity, screened on torch in float32 with the best 4 of 32 candidates run again on Brian2. A run of its own shows a
recurrent network of 8 rate cells learn a sine from Brian2 simulations.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neuro import Input, Network, Neuron, Normal, Population, Projection, Synapse, quantity
from neuro.protocols import Batch
from twinspike.study import Study

ES: dict[str, Any] = {"samples": 16, "sigma": 0.1, "learning_rate": 0.1}
MINUTES = 3  # from processor seconds an update: 0.1 (Brian2), 0.03 (torch), 0.02 (sine); and compiling


def simulator(study: Study) -> dict[str, str]:
    """Brian2's options: compiling takes longer than a quick run."""
    return {"target": "numpy" if study.quick else "cython"}


def batches(task: Any, seed: int) -> Iterator[Any]:
    """Batches of 64 images without end; the last, shorter one of an epoch is left out."""
    from neuro.compiler import streams

    epoch = 0
    while True:
        found = task.train_batches(streams.generator(seed, f"data/{epoch}"), 64)
        yield from (b for b in found if len(b.targets) == 64)
        epoch += 1


def trained(task: Any, program: Any, rule: Any, seed: int, updates: int, update: Any) -> tuple[dict[str, Any], Any]:
    """Parameters, and losses [update, 3]: loss, best so far, disagreement."""
    from neuro.compiler.parameters import values

    state, parameters = rule.init(program), dict(values(program.network))
    rows, source = [], batches(task, seed)
    for k in range(updates):
        parameters, state, metrics = rule.step(program, parameters, state, next(source), task)
        rows.append((metrics["loss"], metrics["best_loss"], metrics.get("disagreement", np.nan)))
        update(k + 1, updates, f"loss {metrics['loss']:.3f}")
    return parameters, np.array(rows)


def digits(study: Study) -> None:
    import backends
    import tasks
    from neuro import learning

    updates = 2 if study.quick else 150
    task = tasks.get("digits", hidden=24, steps=15)
    network, test = task.network(study.seed), task.test_batch()
    brian = backends.get("brian2").compile(network, **simulator(study))
    torch32, torch64 = (backends.get("torch").compile(network, dtype=d) for d in ("float32", "float64"))
    readout = {"trainable": ("hidden_to_output.w",)}
    arms: dict[str, tuple[Any, dict[str, Any]]] = {
        "Brian2, all weights": (brian, {}),
        "Brian2, readout only (control)": (brian, readout),
        "torch float64, all weights": (torch64, {}),
        "torch float32, elite on Brian2": (torch32, {"confirm": brian, "elite": 4}),
    }
    found, accuracy, rows = {}, {}, []
    for label, (program, options) in arms.items():
        start = time.perf_counter()
        with study.progress(label) as update:
            parameters, losses = trained(
                task, program, learning.get("es", **ES, **options), study.seed, updates, update
            )
        seconds = time.perf_counter() - start
        accuracy[label] = task.metric(brian.run(parameters, test.inputs), test)
        found[label] = parameters
        study.array(f"digits/{label}", losses)
        rows.append((label, 32 * updates, float(losses[-10:, 0].mean()), accuracy[label], seconds))
    header = ("arm", "candidates", "last losses", "test accuracy on Brian2", "seconds")
    study.table(f"digits, 24 hidden cells, {updates} updates of 32 candidates, one seed", header, rows)
    every, control, same, mixed = arms
    study.criterion("ES on Brian2: test accuracy", accuracy[every], ">= 0.6", accuracy[every] >= 0.6, full=True)
    gain = accuracy[every] - accuracy[control]
    study.criterion("ES on Brian2: gain over the frozen hidden layer", gain, "> 0", gain > 0, full=True)
    apart = max(float(np.abs(found[every][n] / found[same][n] - 1).max()) for n in found[every] if n.endswith(".w"))
    study.criterion(
        "weights learned on Brian2 and on torch: largest relative difference", apart, "<= 1e-6", apart <= 1e-6
    )
    worst = float(np.nanmax(study.arrays[f"digits/{mixed}"][:, 2]))
    study.criterion("mixed fidelity: largest disagreement of a confirmed loss", worst, "<= 0.5", worst <= 0.5)


class Sine:
    """Eight recurrent rate cells, constant input, a linear readout: one period of a sine in 100 ms. Metric: minus the loss."""

    steps = 100

    def network(self, seed: int) -> Network:
        cell = Neuron("rate_cell", "dx/dt = (-x + z)/tau : 1\nz : 1", parameters={"tau": "10 ms"}, method="exact")
        sums = Neuron("sums", "y = z : 1\nz : 1")
        coupling = Synapse("coupling", "w : 1", transmits="w*tanh(x_pre)", target="z")
        return Network(
            (
                Population("cells", cell, 8, initial={"x": Normal(quantity("0"), quantity("0.5"))}),
                Population("out", sums, 1),
            ),
            (
                Projection("loop", "cells", "cells", coupling, Normal(quantity("0"), quantity("0.5"))),
                Projection("readout", "cells", "out", coupling, Normal(quantity("0"), quantity("0.3"))),
            ),
            (Input("drive", 8, "current", "cells.z"),), dt="1 ms", seed=seed,
        )  # fmt: skip

    def batch(self) -> Batch:
        target = np.sin(2 * np.pi * np.arange(self.steps) / self.steps)
        return Batch({"drive": np.full((1, self.steps, 8), 0.1)}, target[None, :, None])

    def record(self) -> Sequence[str]:
        return ("out.y",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        return ((traces["out.y"] - torch.as_tensor(batch.targets)) ** 2).mean()


def sine(study: Study) -> None:
    import backends
    from neuro import learning

    updates, task, rows = (30 if study.quick else 300), Sine(), []
    last = {}
    for label, trainable in {"all weights": ("*.w",), "readout only (control)": ("readout.w",)}.items():
        program: Any = backends.get("brian2").compile(task.network(study.seed), **simulator(study))
        rule = learning.get("es", samples=16, sigma=0.05, learning_rate=0.05, trainable=trainable)
        state, losses = rule.init(program), []
        parameters: dict[str, Any] = {}
        with study.progress(f"sine, {label}") as update:
            for k in range(updates):
                parameters, state, metrics = rule.step(program, parameters, state, task.batch(), task)
                losses.append(metrics["loss"])
                update(k + 1, updates, f"loss {losses[-1]:.4f}")
        study.array(f"sine/{label}", losses)
        last[label] = float(np.mean(losses[-10:]))
        rows.append((label, losses[0], last[label], program.builds))
    study.table("sine by 8 rate cells on Brian2", ("trained", "first loss", "last losses", "networks built"), rows)
    every, control = last.values()
    study.criterion("J3 sine on Brian2, all weights: loss", every, "<= 0.05", every <= 0.05, full=True)
    study.criterion("J3 sine on Brian2: loss over the frozen network's", every / control, "< 1", every < control)


def run(study: Study) -> None:
    sine(study)
    digits(study)
