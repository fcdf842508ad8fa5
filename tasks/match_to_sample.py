"""Delayed match-to-sample in 35 steps, from recurrent weights of a chosen gain: how far initial connectivity decides what is learnt.

Source: the question of Liu, Zhang & Liu (2024), arXiv:2410.11164; the trial's times and the network are this library's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.language.units import quantity
from neuro.library.leaky_tanh import leaky_tanh
from neuro.model import Input, Network, Normal, Population, Projection, Synapse
from neuro.options import OptionError
from neuro.protocols import Batch, Recording, Settings
from tasks.rate_networks import graded, linear
from tasks.synthetic import SyntheticTask

SAMPLE, TEST, STEPS = slice(0, 5), slice(25, 30), 35
ANSWER = slice(30, STEPS)
NOISE = 0.1

sent = Synapse("sent", "w : 1", transmits="w*r_pre", target="z", source="weighted sum of rates")


class MatchToSample(SyntheticTask):
    """A sample of 5 steps on one of two channels, 20 steps of delay, a test of 5 steps, and 5 steps in which the answer counts: the
    same channel, or not. Both channels are noisy; a third one says when to wait. Loss: cross entropy, mean over the answer's
    steps; metric: accuracy in the last of them. An output answers one step later, so a trial has one step more.
    """

    name = "match-to-sample"
    version = 1
    output = "output"
    readout = ("readout.w", "output_bias.w")
    updates = 50
    settings = Settings(
        epochs=6,
        batch=64,
        backends={"torch": {"dtype": "float32"}},
        rules={r: {"learning_rate": 1e-3, "optimiser": "adam"} for r in ("bptt", "eprop", "rflo")},
    )

    def __init__(self, hidden: int = 64, gain: float = 1.0) -> None:
        if hidden < 1 or gain < 0:
            raise OptionError(f"hidden={hidden}, gain={gain}: at least one unit, and a gain of 0 or more")
        self.hidden, self.gain = hidden, gain

    def network(self, seed: int) -> Network:
        """Three inputs -> leaky tanh units (5 steps), each joined to each -> two linear outputs; all of them with a bias."""

        def normal(std: float) -> Normal:
            return Normal(quantity(0.0, ""), quantity(std, ""))

        n, zero = self.hidden, quantity(0.0, "")
        return Network(
            (
                Population("inputs", linear, 3),
                Population("constant", linear, 1),
                Population("hidden", leaky_tanh.with_parameters(tau=quantity("50 ms")), n),
                Population("output", linear, 2),
            ),
            (
                Projection("feed", "inputs", "hidden", graded, normal(1 / np.sqrt(3))),
                Projection("hidden_bias", "constant", "hidden", graded, zero),
                Projection("loop", "hidden", "hidden", sent, normal(self.gain / np.sqrt(n))),
                Projection("readout", "hidden", "output", sent, normal(1 / np.sqrt(n))),
                Projection("output_bias", "constant", "output", graded, zero),
            ),
            (Input("x", 3, "current", "inputs.z"), Input("one", 1, "current", "constant.z")),
            dt="10 ms",
            seed=seed,
            name=self.name,
        )

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        cues = rng.integers(0, 2, (trials, 2))
        x = np.zeros((trials, STEPS + 1, 3))
        for which, span in enumerate((SAMPLE, TEST)):
            x[np.arange(trials), span, cues[:, which]] = 1.0
        x[..., :2] += NOISE * rng.standard_normal((trials, STEPS + 1, 2))
        x[:, : ANSWER.start, 2] = 1.0
        mask = np.zeros((trials, STEPS + 1), bool)
        mask[:, ANSWER.start + 1 :] = True
        return Batch(
            {"x": x, "one": np.ones((trials, STEPS + 1, 1))}, (cues[:, 0] == cues[:, 1]).astype(np.int64), mask
        )

    def record(self) -> Sequence[str]:
        return (f"{self.output}.x",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        logits = traces[f"{self.output}.x"][:, ANSWER.start + 1 :]
        labels = torch.as_tensor(batch.targets).to(logits.device)[:, None].expand(logits.shape[:2])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float(np.mean(recording.traces[f"{self.output}.x"][:, -1].argmax(-1) == batch.targets))

    def perfect(self, batch: Batch) -> Recording:
        one_hot = np.eye(2)[batch.targets]
        return Recording(0.01, traces={f"{self.output}.x": np.repeat(one_hot[:, None], STEPS + 1, axis=1)})
