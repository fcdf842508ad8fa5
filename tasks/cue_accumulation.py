"""Cue accumulation in noise: which side had more of five cues, asked after a delay, for networks that must hold it in their synapses.

Source: the noisy evidence accumulation of Bellec et al. (2020), Nat Commun 11:3625, in the form of a prototype; Schmidgall et al. (2021), Front
Neurorobot 15:629210, train on temporal tasks that aren't specified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.model import Network
from neuro.options import OptionError, one_of
from neuro.protocols import Batch, Recording, Settings
from tasks.plastic_networks import FORMS, plastic_network, trained
from tasks.synthetic import SyntheticTask

GROUP = 10  # channels of a population: left, right, recall, noise
CUE, GAP, RECALL = 4, 3, 6  # steps
ACTIVE, BACKGROUND = 0.4, 0.1  # spikes a step: of a cue's or the recall population, of the noise population
RATE, STRENGTH = 0.05, 0.1  # spikes a step that the loss wants of the cells, and how strongly


class CueAccumulation(SyntheticTask):
    """`cues` cues of 4 steps, each left or right, with 3 steps after each, `delay` steps, and 6 steps of recall in which the answer is read.

    noise: probability of a spike a step that every channel has in addition; each trial's own, uniform within `spread` of it. form: of the
    network, see tasks.plastic_networks. Channels: left, right, recall, noise, 10 each. Target: the side with more cues. Loss: cross entropy
    of the mean output of the recall, and 0.1 times the squared distance of the mean of the cells' spikes a step from 0.05. Metric: accuracy.
    An output answers a spike one step later, so a trial has one step more.
    """

    name = "cue-accumulation"
    version = 1
    output = "output"
    readout = ("readout.w", "output.bias")
    updates = 20
    indivisible = "its loss has the square of the cells' mean rate over the whole batch"

    def __init__(
        self, form: str = "ndp-oja", noise: float = 0.05, spread: float = 0.0, delay: int = 20, cues: int = 5, hidden: int = 40,
        test_trials: int = 200,
    ) -> None:  # fmt: skip
        one_of("form", form, FORMS)
        if not 0 <= noise - spread <= noise + spread <= 1:
            raise OptionError(f"noise={noise}, spread={spread}: probabilities from noise - spread to noise + spread")
        if delay < 0 or hidden < 1:
            raise OptionError(f"delay={delay}, hidden={hidden}: no delay below 0, at least one cell")
        if cues < 1 or cues % 2 == 0:
            raise OptionError(f"cues={cues}: an odd number, so that one side has more")
        self.form, self.noise, self.spread, self.delay = form, noise, spread, delay
        self.cues, self.hidden, self.test_trials = cues, hidden, test_trials
        self.steps = cues * (CUE + GAP) + delay + RECALL
        self.settings = Settings(
            epochs=10,
            batch=64,
            backends={"torch": {"dtype": "float32", "surrogate": "triangle", "detach_reset": False}},
            rules={"bptt": {"trainable": trained(form), "learning_rate": 5e-3, "clip": 1.0}},
        )

    def network(self, seed: int) -> Network:
        """40 channels -> cells -> 2 linear outputs with a bias."""
        return plastic_network(self.name, self.form, 4 * GROUP, self.hidden, 2, seed=seed)

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        right = rng.random((trials, self.cues)) < 0.5
        chance = np.zeros((trials, self.steps, 4, 1))
        for i in range(self.cues):
            start = i * (CUE + GAP)
            chance[:, start : start + CUE, 0] = np.where(right[:, i], 0, ACTIVE)[:, None, None]
            chance[:, start : start + CUE, 1] = np.where(right[:, i], ACTIVE, 0)[:, None, None]
        chance[:, -RECALL:, 2], chance[:, :, 3] = ACTIVE, BACKGROUND
        noise = (
            rng.uniform(self.noise - self.spread, self.noise + self.spread, (trials, 1, 1, 1))
            if self.spread
            else self.noise
        )
        spikes = rng.random((trials, self.steps, 4, GROUP)) < chance + noise
        x = np.zeros((trials, self.steps + 1, 4 * GROUP))
        x[:, :-1] = spikes.reshape(trials, self.steps, -1)
        return Batch({"x": x}, (right.sum(axis=1) > self.cues // 2).astype(np.int64))

    def record(self) -> Sequence[str]:
        return (f"{self.output}.y",)

    def logits(self, traces: Mapping[str, Any]) -> Any:
        """Mean output of the recall [batch, class], arrays or tensors."""
        return traces[f"{self.output}.y"][:, -RECALL:].mean(1)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        logits = self.logits(traces)
        error = torch.nn.functional.cross_entropy(logits, torch.as_tensor(batch.targets).to(logits.device))
        return error + STRENGTH * (spikes["cells"][:, : self.steps].mean() - RATE) ** 2

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float(np.mean(self.logits(recording.traces).argmax(axis=1) == batch.targets))

    def perfect(self, batch: Batch) -> Recording:
        """The right output is 20 above the other; every cell spikes in one step of 20."""
        y = np.repeat(20.0 * np.eye(2)[batch.targets][:, None], self.steps + 1, axis=1)
        spikes = np.zeros((len(y), self.steps + 1, self.hidden), bool)
        spikes[:, ::20] = True
        return Recording(1e-3, {"cells": spikes}, {f"{self.output}.y": y})
