"""Pattern generation: a sum of four sinusoids out of frozen noise. Source: Bellec et al. (2020), Nat Commun 11:3625."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.events import Events
from neuro.model import Network
from neuro.protocols import Batch, Recording, Settings
from tasks.adaptive_cells import cell, network
from tasks.synthetic import SameBatch

DT = 1e-3
SHARES = (1, 2, 3, 5)  # periods a pattern


def sinusoids(random: Any, steps: int) -> npt.NDArray[np.float64]:
    """Sum of four sinusoids with random amplitudes and phases, minus its first value, over its largest magnitude."""
    amplitudes, phases = random.uniform(0.5, 2, 4), random.uniform(0, 2 * np.pi, 4)
    t = np.linspace(0, 1, steps)
    sines = [a * np.sin(p + 2 * np.pi * n * t) for a, p, n in zip(amplitudes, phases, SHARES, strict=True)]
    found = np.sum(sines, axis=0) - np.sum(sines, axis=0)[0]
    return np.asarray(found / np.abs(found).max())


class Pattern(SameBatch):
    """One trial of `steps` ms: 100 frozen Poisson inputs of 50 Hz, one target. Loss: half the squared error, summed over steps, averaged over trials.
    Metric: 1 - error / variance of the target. An output answers a spike one step later, so a trial has one step more.
    """

    name = "pattern"
    version = 1
    output = "output"
    readout = ("readout.w",)
    settings = Settings(
        epochs=50,
        batch=1,
        backends={"torch": {"dtype": "float32", "surrogate": "triangle", "detach_reset": False}},
        rules={
            rule: {"optimiser": "sgd", "learning_rate": 1e-4, "target_rate": 10.0, "rate_strength": 0.015, **options}
            for rule, options in {
                "bptt": {},
                "eprop": {"feedback": "random", "feedback_std": 0.1},
            }.items()
        },
    )

    def __init__(self, steps: int = 1000, cells: int = 100, pattern: int = 0, updates: int = 20) -> None:
        self.steps, self.cells, self.pattern, self.updates = steps, cells, pattern, updates
        random = streams.generator(pattern, "task/pattern")
        self._target = sinusoids(random, steps)
        self._spikes = Events.of(random.random((1, steps + 1, 100)) < 50 * DT)

    def network(self, seed: int) -> Network:
        """100 inputs -> recurrent LIF (30 ms) -> one leaky readout (30 ms)."""
        lif = cell(dt=DT, tau_m=0.03, v_th=0.03, normalised=True)
        return network(self.name, 100, lif, np.zeros(self.cells), 1, 0.03, dt=DT, seed=seed)

    def batch(self) -> Batch:
        target = np.concatenate([[0.0], self._target])[None, :, None]
        return Batch({"x": self._spikes}, target)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.y",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        y = traces[f"{self.output}.y"]
        return 0.5 * ((y - torch.as_tensor(batch.targets).to(y))[:, 1:] ** 2).sum() / len(y)

    def metric(self, recording: Recording, batch: Batch) -> float:
        target = batch.targets[:, 1:]
        error = recording.traces[f"{self.output}.y"][:, 1:] - target
        return float(1 - (error**2).sum() / ((target - target.mean()) ** 2).sum())

    def perfect(self, batch: Batch) -> Recording:
        return Recording(DT, traces={f"{self.output}.y": batch.targets})
