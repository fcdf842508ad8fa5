"""Periodic output: a rate network without input makes a sum of three sines. Source: Murray (2019), eLife 8:e43299."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.language.units import quantity
from neuro.model import Network
from neuro.protocols import Batch, Recording, Settings
from tasks.rate_networks import rate_network
from tasks.synthetic import SameBatch

STEPS = 100


class Periodic(SameBatch):
    """100 steps; loss: half the mean squared error; metric: 1 - error / variance. The output reads the rates one step later, so a
    trial has one step more.
    """

    name = "rflo"
    version = 1
    output = "output"
    readout = ("readout.w",)
    settings = Settings(
        epochs=100,
        batch=1,
        backends={"torch": {"dtype": "float64"}},
        rules={
            rule: {"optimiser": "sgd", "learning_rate": 0.03, "trainable": ("loop.w", "readout.w"), **options}
            for rule, options in {
                "bptt": {}, "rtrl": {}, "snap1": {}, "uoro": {}, "eprop": {}, "rflo": {"feedback_std": 1.0},
                "wp": {"sigma": 1e-4}, "np": {"sigma": 1e-3},
            }.items()
        },
    )  # fmt: skip

    def __init__(self, hidden: int = 50, gain: float = 1.5, updates: int = 100) -> None:
        self.hidden, self.gain, self.updates = hidden, gain, updates

    def network(self, seed: int) -> Network:
        """Rate units (10 steps), starting at 0.1, -> one output."""
        tau, dt = quantity("10 ms"), quantity("1 ms")
        return rate_network(
            self.name,
            1,
            self.hidden,
            1,
            seed=seed,
            tau=tau,
            dt=dt,
            gain=self.gain,
            into=0.1,
            out=0.1 / np.sqrt(3),
            start=0.1,
        )

    def batch(self) -> Batch:
        t = 2 * np.pi * np.arange(STEPS + 1) / STEPS
        target = np.sin(t) + 0.5 * np.sin(2 * t) + 0.25 * np.sin(4 * t)
        return Batch({"x": np.zeros((1, STEPS + 1, 1))}, target[None, :, None])

    def record(self) -> Sequence[str]:
        return (f"{self.output}.x",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        y = traces[f"{self.output}.x"]
        return 0.5 * ((y - torch.as_tensor(batch.targets).to(y))[:, 1:] ** 2).mean()

    def metric(self, recording: Recording, batch: Batch) -> float:
        target = batch.targets[:, 1:]
        error = recording.traces[f"{self.output}.x"][:, 1:] - target
        return float(1 - (error**2).mean() / target.var())

    def perfect(self, batch: Batch) -> Recording:
        return Recording(1e-3, traces={f"{self.output}.x": batch.targets})
