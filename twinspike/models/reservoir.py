"""Drawing a butterfly with the readout of a rate reservoir, as in Zuege, Klos & Memmesheimer (2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, quantity
from neuro.protocols import Batch
from tasks.perturbation import Perturbation, basis

CELLS, STEPS, WARM_UP, SINES = 500, 500, 100, 5


@dataclass(frozen=True)
class Drawing:
    """The readout's task on recorded states. power: trace of the states' mean square, dimension: participation ratio,
    line: error of the best readout of the five largest principal components."""

    task: Perturbation
    batch: Batch
    power: float
    dimension: float
    line: float

    @property
    def rate(self) -> float:
        return 1 / ((2 * self.dimension + 2) * self.power / self.dimension)

    def network(self, seed: int) -> Network:
        return self.task.network(seed)

    def train_batches(self, rng: Any, batch: int) -> Iterator[Batch]:
        while True:
            yield self.batch

    def record(self) -> Any:
        return self.task.record()

    def loss(self, *arguments: Any) -> Any:
        return self.task.loss(*arguments)


def butterfly() -> Any:
    """Target curve [time, 2]."""
    a = 2 * np.pi * np.arange(STEPS) / (STEPS - 1)
    radius = (
        9 - np.sin(a) + 2 * np.sin(3 * a) + 2 * np.sin(5 * a) - np.sin(7 * a) + 3 * np.cos(2 * a) - 2 * np.cos(4 * a)
    )
    return 0.1 * np.stack([radius * np.cos(a), radius * np.sin(a)], axis=1)


def states(seed: int) -> Any:
    """tanh x of the reservoir driven by five sines, after the warm-up; [time, cell]."""
    from neuro.compiler import streams

    draw = streams.generator(seed, "reservoir")
    w_in = draw.standard_normal((SINES, CELLS)) / np.sqrt(SINES)
    w = draw.standard_normal((CELLS, CELLS)) / np.sqrt(CELLS)
    w /= np.linalg.eigvals(w).real.max()
    cell = Neuron("reservoir", "dx/dt = (-x + z)/tau : 1\nz : 1", parameters={"tau": "10 ms"}, method="exact")
    coupling = Synapse("coupling", "w : 1", transmits="w*tanh(x_pre)", target="z")
    network = Network(
        (Population("cells", cell, CELLS),), (Projection("loop", "cells", "cells", coupling, quantity(w, "1")),),
        (Input("drive", CELLS, "current", "cells.z"),), dt="1 ms",
    )  # fmt: skip
    sines = np.sqrt(STEPS) * basis(STEPS)[:SINES].T
    drive = np.concatenate([sines[-WARM_UP:], sines]) @ w_in
    found = backends.get("torch").compile(network).run(inputs={"drive": drive[None]}, record=["cells.x"])
    return np.tanh(found.traces["cells.x"][0, WARM_UP:])


def drawing(seed: int) -> Drawing:
    r, target = states(seed), butterfly()
    task = Perturbation(inputs=CELLS, outputs=2, bins=STEPS, active=1, bins_as="trials")
    second = r.T @ r / STEPS
    power = float(np.trace(second))
    dimension = power**2 / float((second * second).sum())
    values, vectors = np.linalg.eigh(second)
    largest = r @ vectors[:, np.argsort(values)[-5:]]
    fit = largest @ np.linalg.lstsq(largest, target, rcond=None)[0]
    line = 0.5 * float(((target - fit) ** 2).sum(axis=1).mean())
    batch = Batch({"signals": r[:, None]}, target[:, None])
    return Drawing(task, batch, power, dimension, line)
