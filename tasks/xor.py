"""XOR at the fixed point of a relaxing network in which every unit is joined to every other one.

Task of Baldi & Pineda (1991), Neural Comput 3:526, and Movellan (1990); sizes and targets of the project's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.model import Network
from neuro.protocols import Batch, Recording, Settings
from tasks.relaxing_networks import held, relaxing_network, settled_at, settled_error, shown, symmetric_stds
from tasks.synthetic import SameBatch

PATTERNS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
TARGETS = np.array([[0.1], [0.9], [0.9], [0.1]])


class Xor(SameBatch):
    """Four patterns, one batch. Loss: half the squared error of the settled output, averaged; metric: share of patterns on the right side of 0.5.

    steps: of a trial, from the initial state; the units' time constant is five. updates: batches an epoch.
    """

    name = "xor"
    version = 1
    output = "output"
    readout = ("skip.w", "up.w", "down.w", "output.b")
    settings = Settings(
        epochs=10,
        batch=4,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "contrastive": {
                "beta": 10.0, "teacher": "hard", "tolerance": 1e-2, "longest": 10_000, "chunk": 30, "persistent": True,
                "optimiser": "sgd", "learning_rate": 0.4, "trainable": ("*.w", "*.b"),
            },
            "bptt": {"learning_rate": 0.03, "trainable": ("*.w", "*.b")},
        },
    )  # fmt: skip

    def __init__(self, hidden: int = 8, steps: int = 150, updates: int = 100) -> None:
        self.hidden, self.steps, self.updates = hidden, steps, updates

    def network(self, seed: int) -> Network:
        """Two inputs, hidden units, one output, all joined but the inputs among themselves."""
        stds = symmetric_stds(3 + self.hidden)
        return relaxing_network(self.name, 2, self.hidden, 1, seed=seed, stds=stds)

    def batch(self) -> Batch:
        return held(PATTERNS, TARGETS, self.steps)

    def record(self) -> Sequence[str]:
        return shown()

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        return settled_error(traces, batch.targets)

    def metric(self, recording: Recording, batch: Batch) -> float:
        right = (recording.traces[f"{self.output}.V"][:, -1] > 0.5) == (batch.targets > 0.5)
        return float(right.mean())

    def perfect(self, batch: Batch) -> Recording:
        return settled_at(batch.targets, self.steps)
