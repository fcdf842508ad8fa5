"""Delayed match-to-sample: two cues with a pause between them; the answer at the end says whether they differ.

Source: Miconi (2017), eLife 6:e20899; cue times as in its public versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.language.units import quantity
from neuro.model import Network
from neuro.protocols import Batch, Recording, Settings
from tasks.rate_networks import rate_network
from tasks.synthetic import SyntheticTask

STEPS, ANSWER = 100, 80  # of 10 ms
CUES = (slice(0, 20), slice(40, 60))


class DelayedMatch(SyntheticTask):
    """1 s; cues of 200 ms from 0 and from 400 ms on, each on one of two channels; the answer, -1 for equal cues and +1 for
    different ones, counts from 800 ms on. Loss: mean squared error there. Metric: accuracy of the mean answer's sign.
    """

    name = "delayed-match"
    version = 1
    output = "output"
    readout = ("readout.w",)
    settings = Settings(
        epochs=50,
        batch=16,
        backends={"torch": {"dtype": "float32"}},
        rules={"bptt": {"learning_rate": 0.002, "clip": 1.0}},
    )

    def __init__(self, hidden: int = 100) -> None:
        self.hidden = hidden

    def network(self, seed: int) -> Network:
        """Two cue channels and a constant -> hidden rate units (30 ms) -> answer."""
        tau, dt = quantity("30 ms"), quantity("10 ms")
        return rate_network(self.name, 3, self.hidden, 1, seed=seed, tau=tau, dt=dt, gain=1.2, out=0.1)

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        cues = rng.integers(0, 2, (trials, 2))
        x = np.zeros((trials, STEPS, 3))
        x[..., 2] = 1.0
        for which, span in enumerate(CUES):
            x[np.arange(trials), span, cues[:, which]] = 1.0
        answer = np.where(cues[:, 0] == cues[:, 1], -1.0, 1.0)
        mask = np.zeros((trials, STEPS), bool)
        mask[:, ANSWER:] = True
        return Batch({"x": x}, np.broadcast_to(answer[:, None, None], (trials, STEPS, 1)).copy(), mask)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.x",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        found = traces[f"{self.output}.x"][:, ANSWER:]
        return torch.mean((found - torch.as_tensor(batch.targets[:, ANSWER:]).to(found)) ** 2)

    def metric(self, recording: Recording, batch: Batch) -> float:
        answer = recording.traces[f"{self.output}.x"][:, ANSWER:].mean(axis=(1, 2))
        return float(np.mean(np.sign(answer) == batch.targets[:, -1, 0]))

    def perfect(self, batch: Batch) -> Recording:
        return Recording(0.01, traces={f"{self.output}.x": batch.targets})
