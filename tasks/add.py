"""Add task: the output is the probability 1/2 + x(t - t1)/2 - x(t - t2)/4 of a random binary input's past.

Source: Pitis (2016), as used by Marschall, Cho & Savin (2020), JMLR 21:135.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.language.units import quantity
from neuro.model import Network
from neuro.options import OptionError
from neuro.protocols import Batch, Recording, Settings
from tasks.counting import frames
from tasks.rate_networks import rate_network
from tasks.synthetic import SyntheticTask

CLIP = 60.0  # log odds of certainty


class Add(SyntheticTask):
    """Targets: probabilities [batch, time, 1]. Loss: cross entropy of the output as log odds, nats a step. Metric: share of
    the gap between guessing the mean and knowing the probabilities that is closed: 1 perfect, 0 at chance.
    """

    name = "add"
    version = 1
    output = "output"
    readout = ("readout.w",)
    settings = Settings(
        epochs=50,
        batch=10,
        backends={"torch": {"dtype": "float32"}},
        rules={"bptt": {"learning_rate": 0.003}},
    )

    def __init__(self, steps: int = 100, t1: int = 4, t2: int = 6, hidden: int = 32) -> None:
        if not 0 < t1 < t2 < steps:
            raise OptionError(f"t1={t1}, t2={t2}, steps={steps}: they must rise, from 1 on")
        self.steps, self.t1, self.t2, self.hidden = steps, t1, t2, hidden

    def network(self, seed: int) -> Network:
        """The input and its complement and a constant -> hidden rate units (tau = 2 steps) -> log odds."""
        return rate_network(
            self.name, 3, self.hidden, 1, seed=seed, tau=quantity("2 ms"), dt=quantity("1 ms"), gain=1.0, out=0.1
        )

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        bits = rng.random((trials, self.steps)) < 0.5
        x = bits.astype(np.float64)
        target = np.full_like(x, 0.5)
        target[:, self.t1 :] += 0.5 * x[:, : -self.t1]
        target[:, self.t2 :] -= 0.25 * x[:, : -self.t2]
        inputs = np.stack([x, 1 - x, np.ones_like(x)], axis=-1)
        mask = np.zeros_like(bits)
        mask[:, self.t2 :] = True
        return Batch({"x": inputs}, target[..., None], mask)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.x",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        odds = traces[f"{self.output}.x"]
        targets = torch.as_tensor(batch.targets).to(odds)
        chosen = torch.as_tensor(batch.mask).to(odds.device)
        return torch.nn.functional.binary_cross_entropy_with_logits(odds[chosen], targets[chosen])

    def weight(self, batch: Batch) -> float:
        return frames(batch)

    def metric(self, recording: Recording, batch: Batch) -> float:
        odds = recording.traces[f"{self.output}.x"][batch.mask]
        p = batch.targets[batch.mask]

        def entropy(log_odds: Any) -> float:
            return float(np.mean(np.logaddexp(0, log_odds) - p * log_odds))

        best, chance = entropy(_odds(p)), entropy(_odds(p.mean()))
        return (chance - entropy(odds)) / (chance - best)

    def perfect(self, batch: Batch) -> Recording:
        return Recording(1e-3, traces={f"{self.output}.x": _odds(batch.targets)})


def _odds(p: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -CLIP, CLIP)
