"""Delayed choice: a cue, a pause, then a choice that pays if it fits the cue. For rules that learn from rewards.

Source: a bandit with cue and delay, in the form of evidence accumulation in Bellec et al. (2020), Nat Commun 11:3625.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.model import Network
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.adaptive_cells import cell, network
from tasks.synthetic import SyntheticTask

DT = 1e-3
CUE, ANSWER = 100, 50  # steps
GROUP, ACTIVE, NOISE = 10, 0.04, 0.01  # channels a group; spikes a step
_COMMON = {"learning_rate": 5e-3, "target_rate": 10.0, "rate_strength": 1e-4}
_RULES: dict[str, dict[str, Any]] = {
    "bptt": {}, "eprop": {"feedback": "random", "feedback_std": 1.0}, "reward-eprop": {"discount": 0.9, "value_cost": 0.02},
}  # fmt: skip


class DelayedChoice(SyntheticTask):
    """A cue of 100 ms left or right, `delay` ms of silence, 50 ms in which each step chooses. Channels: left, right, recall,
    noise, 10 each. Outputs: preference for left, for right, and the value of what is to come.

    Loss, for rules that are told the answer: cross entropy of the preferences, mean over the answer's steps. Reward: 1 for each
    of the steps that chooses right. Metric: accuracy of the mean preference. An output answers a spike one step later.
    """

    name = "delayed-choice"
    version = 1
    output = "output"
    readout = ("readout.w",)
    updates = 20
    settings = Settings(
        epochs=10,
        batch=32,
        backends={"torch": {"dtype": "float32", "surrogate": "triangle", "detach_reset": False}},
        rules={name: {**_COMMON, **own} for name, own in _RULES.items()},
    )

    def __init__(self, delay: int = 200, lif: int = 30, alif: int = 30, tau_a: float = 0.4) -> None:
        self.delay, self.lif, self.alif, self.tau_a = delay, lif, alif, tau_a
        self.steps = CUE + delay + ANSWER

    def network(self, seed: int) -> Network:
        """40 inputs -> recurrent LIF and adaptive LIF (20 ms, refractory 5 ms) -> three leaky readouts (20 ms)."""
        adaptive = cell(dt=DT, tau_m=0.02, v_th=0.6, normalised=False, tau_a=self.tau_a, refractory=5)
        alpha, rho = np.exp(-DT / 0.02), np.exp(-DT / self.tau_a)
        betas = np.repeat([0.0, 1.7 * (1 - rho) / (1 - alpha)], [self.lif, self.alif])
        return network(self.name, 4 * GROUP, adaptive, betas, 3, 0.02, dt=DT, seed=seed)

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        side = rng.integers(0, 2, trials)
        rates = np.zeros((trials, self.steps + 1, 4 * GROUP))
        for group in (0, 1):
            rates[side == group, :CUE, group * GROUP : (group + 1) * GROUP] = ACTIVE
        rates[:, self.steps - ANSWER : self.steps, 2 * GROUP : 3 * GROUP] = ACTIVE
        rates[:, : self.steps, 3 * GROUP :] = NOISE
        mask = np.zeros((trials, self.steps + 1), bool)
        mask[:, -ANSWER:] = True
        return Batch({"x": rng.random(rates.shape) < rates}, side.astype(np.int64), mask)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.y",)

    def reward(self, actions: Array, batch: Batch) -> Array:
        """Rewards [batch, time] of actions [batch, time]."""
        return np.asarray((actions == batch.targets[:, None]) & batch.mask, dtype=np.float64)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        logits = traces[f"{self.output}.y"][:, -ANSWER:, :2]
        targets = torch.as_tensor(batch.targets).to(logits.device)[:, None].expand(logits.shape[:2])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def metric(self, recording: Recording, batch: Batch) -> float:
        answer = recording.traces[f"{self.output}.y"][:, -ANSWER:, :2].mean(axis=1).argmax(axis=1)
        return float(np.mean(answer == batch.targets))

    def perfect(self, batch: Batch) -> Recording:
        """The right preference is 20 above the other."""
        y = np.repeat(20.0 * np.eye(3)[batch.targets][:, None], self.steps + 1, axis=1)
        return Recording(DT, traces={f"{self.output}.y": y})
