"""A function of a slow sine: the output of a relaxing network follows 0.7 + 0.15 x - 0.4 x**2 of an input x = sin(phase).

For the rule that integrates contrasts along trajectories, after the appendix of Baldi & Pineda (1991), Neural Comput 3:526.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.model import Network
from neuro.options import OptionError
from neuro.protocols import Batch, Recording, Settings
from tasks.relaxing_networks import relaxing_network, shown
from tasks.synthetic import SameBatch

STEPS_A_TIME_CONSTANT = 5


class SlowSine(SameBatch):
    """One trial is one period. Loss: half the mean squared error; metric: 1 - error / variance.

    period: in time constants of the units; the longer, the nearer the network is to its fixed point all the time.
    updates: trials an epoch.
    """

    name = "slow-sine"
    version = 1
    output = "output"
    readout = ("skip.w", "up.w", "down.w", "output.b")
    settings = Settings(
        epochs=3,
        batch=1,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "contrastive": {
                "beta": 0.1, "phases": "symmetric", "trajectory": True, "learning_rate": 0.03, "scheduler": "cosine",
                "trainable": ("*.w", "*.b"),
            },
            "bptt": {"learning_rate": 0.03, "trainable": ("*.w", "*.b")},
        },
    )  # fmt: skip

    def __init__(self, hidden: int = 8, period: int = 100, updates: int = 100) -> None:
        if period < 1:
            raise OptionError(f"period={period}; give at least one time constant")
        self.hidden, self.period, self.updates = hidden, period, updates

    def network(self, seed: int) -> Network:
        """One input, hidden units, one output, all joined; the input is strong, what units send each other weak."""
        stds = {"feed": 3.0, "skip": 0.3, "loop": 0.2, "up": 0.5, "down": 0.5}
        return relaxing_network("slow_sine", 1, self.hidden, 1, seed=seed, stds=stds)

    def batch(self) -> Batch:
        steps = self.period * STEPS_A_TIME_CONSTANT
        phase = 2 * np.pi * np.arange(steps)[None, :, None] / steps
        target = 0.5 + 0.15 * np.sin(phase) + 0.2 * np.cos(2 * phase)
        return Batch({"x": np.sin(phase), "target": target}, target)

    def record(self) -> Sequence[str]:
        return shown()

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        y = traces[f"{self.output}.V"]
        return 0.5 * ((y - torch.as_tensor(batch.targets).to(y)) ** 2).mean()

    def metric(self, recording: Recording, batch: Batch) -> float:
        error = recording.traces[f"{self.output}.V"] - batch.targets
        return float(1 - (error**2).mean() / batch.targets.var())

    def perfect(self, batch: Batch) -> Recording:
        return Recording(2e-3, traces={f"{self.output}.V": batch.targets})
