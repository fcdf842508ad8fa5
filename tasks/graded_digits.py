"""Handwritten digits at the fixed point of a relaxing network: pixels -> hidden units <-> one output a class.

Equilibrium propagation's task, after Scellier & Bengio (2017), Front Comput Neurosci 11:24, on scikit-learn's 8 x 8 digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neuro.model import Network
from neuro.protocols import Batch, Recording, Settings
from tasks.digits import data
from tasks.relaxing_networks import Array, held, relaxing_network, settled_at, settled_error, shown

CLASSES, PIXELS = 10, 64


class GradedDigits:
    """Loss: half the squared distance of the settled outputs from 1 for the right class and 0 for the others; metric: accuracy of the largest.

    steps: of a trial, from the initial state; the units' time constant is five.
    """

    name = "graded-digits"
    version = 1
    output = "output"
    readout = ("up.w", "down.w", "output.b")
    settings = Settings(
        epochs=10,
        batch=20,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "contrastive": {
                "beta": 0.5, "tolerance": 1e-2, "longest": 10_000, "chunk": 25, "learning_rate": 0.01, "trainable": ("*.w", "*.b"),
            },
            "bptt": {"learning_rate": 5e-3, "trainable": ("*.w", "*.b")},
        },
    )  # fmt: skip

    def __init__(self, hidden: int = 64, steps: int = 100) -> None:
        self.hidden, self.steps = hidden, steps

    def network(self, seed: int) -> Network:
        """Normal weights with the variance of Glorot's uniform ones, 2/(fan-in + fan-out)."""
        feed, up = (math.sqrt(2 / (n + self.hidden)) for n in (PIXELS, CLASSES))
        stds = {"feed": feed, "up": up, "down": up}
        return relaxing_network("graded_digits", PIXELS, self.hidden, CLASSES, seed=seed, stds=stds)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        images, labels, _, _ = data()
        order = rng.permutation(len(labels))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            yield held(images[chosen], one_hot(labels[chosen]), self.steps)

    def test_batch(self) -> Batch:
        _, _, images, labels = data()
        return held(images, one_hot(labels), self.steps)

    def record(self) -> Sequence[str]:
        return shown()

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        return settled_error(traces, batch.targets)

    def metric(self, recording: Recording, batch: Batch) -> float:
        found = recording.traces[f"{self.output}.V"][:, -1].argmax(axis=1)
        return float((found == batch.targets.argmax(axis=1)).mean())

    def perfect(self, batch: Batch) -> Recording:
        return settled_at(batch.targets, self.steps)


def one_hot(labels: Any) -> Array:
    """[batch, class] of 0 and 1."""
    return np.asarray(np.eye(CLASSES)[labels])
