"""Evidence accumulation: which side had more cues, asked after a delay. Source: Bellec et al. (2020), Nat Commun 11:3625."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.events import Events
from neuro.model import Network
from neuro.options import OptionError
from neuro.protocols import Batch, Recording, Settings
from tasks.adaptive_cells import cell, network
from tasks.synthetic import SyntheticTask

DT = 1e-3
SILENCE, CUE, ANSWER = 50, 100, 150  # steps
GROUP, ACTIVE, NOISE = 10, 0.04, 0.01  # channels a group; spikes a step


class Evidence(SyntheticTask):
    """`cues` cues of 100 ms left or right, `delay` ms of silence, then 150 ms in which the answer counts. Channels: left, right,
    recall, noise, 10 each. Loss: cross entropy, mean over the answer's steps; metric: accuracy of the mean output there.
    An output answers a spike one step later, so a trial has one step more.
    """

    name = "evidence"
    version = 1
    output = "output"
    readout = ("readout.w",)
    updates = 20
    settings = Settings(
        epochs=10,
        batch=64,
        backends={"torch": {"dtype": "float32", "surrogate": "triangle", "detach_reset": False}},
        rules={
            rule: {"learning_rate": 5e-3, "target_rate": 10.0, "rate_strength": 1e-4, **options}
            for rule, options in {"bptt": {}, "eprop": {"feedback": "random", "feedback_std": 1.0}}.items()
        },
    )

    def __init__(
        self,
        cues: int = 7,
        delay: int = 1050,
        lif: int = 50,
        alif: int = 50,
        tau_a: float = 2.0,
        test_trials: int = 200,
    ) -> None:
        if cues < 1 or cues % 2 == 0:
            raise OptionError(f"cues={cues}: an odd number, so that one side has more")
        self.cues, self.delay, self.lif, self.alif, self.tau_a, self.test_trials = (
            cues,
            delay,
            lif,
            alif,
            tau_a,
            test_trials,
        )
        self.steps = cues * (SILENCE + CUE) + delay + ANSWER

    def network(self, seed: int) -> Network:
        """40 inputs -> recurrent LIF and adaptive LIF (20 ms, refractory 5 ms) -> two leaky readouts (20 ms)."""
        adaptive = cell(dt=DT, tau_m=0.02, v_th=0.6, normalised=False, tau_a=self.tau_a, refractory=5)
        alpha, rho = np.exp(-DT / 0.02), np.exp(-DT / self.tau_a)
        betas = np.repeat([0.0, 1.7 * (1 - rho) / (1 - alpha)], [self.lif, self.alif])
        return network(self.name, 4 * GROUP, adaptive, betas, 2, 0.02, dt=DT, seed=seed)

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        side = rng.integers(0, 2, trials)
        right = rng.random((trials, self.cues)) < np.where(side, 0.7, 0.3)[:, None]
        rates = np.zeros((trials, self.steps + 1, 4 * GROUP))
        for i in range(self.cues):
            start = i * (SILENCE + CUE) + SILENCE
            for group in (0, 1):
                rates[right[:, i] == group, start : start + CUE, group * GROUP : (group + 1) * GROUP] = ACTIVE
        rates[:, self.steps - ANSWER : self.steps, 2 * GROUP : 3 * GROUP] = ACTIVE
        rates[:, : self.steps, 3 * GROUP :] = NOISE
        spikes = rng.random(rates.shape, dtype=np.float32) < rates
        mask = np.zeros((trials, self.steps + 1), bool)
        mask[:, -ANSWER:] = True
        return Batch({"x": Events.of(spikes)}, (right.sum(axis=1) > self.cues // 2).astype(np.int64), mask)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.y",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        logits = traces[f"{self.output}.y"][:, -ANSWER:]
        targets = torch.as_tensor(batch.targets).to(logits.device)[:, None].expand(logits.shape[:2])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def metric(self, recording: Recording, batch: Batch) -> float:
        answer = recording.traces[f"{self.output}.y"][:, -ANSWER:].mean(axis=1).argmax(axis=1)
        return float(np.mean(answer == batch.targets))

    def perfect(self, batch: Batch) -> Recording:
        """The right output is 20 above the other."""
        y = np.repeat(20.0 * np.eye(2)[batch.targets][:, None], self.steps + 1, axis=1)
        return Recording(DT, traces={f"{self.output}.y": y})
