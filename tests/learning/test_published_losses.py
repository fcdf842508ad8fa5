"""e-prop's published losses: the authors' TensorFlow code and NEST, from the recipe of their first draws.

Source: NEST's eprop_*_bsshslm_2020 test suite and its TensorFlow reference; numpy's legacy generator, seed 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import backends
from neuro import learning
from neuro.protocols import Batch
from tasks.adaptive_cells import cell, network

DT = 1e-3
REGRESSION = {
    "TensorFlow": ([101.964363098144, 103.466735839843, 103.340606689453, 103.680244445800, 104.412780761718], 1e-7),
    "NEST": ([101.964356999041, 103.466731126205, 103.340607074771, 103.680244037686, 104.412775748752], 1e-8),
}
EVIDENCE = {
    "TensorFlow": ([0.741152524948, 0.740388214588, 0.665785133838, 0.663644134998, 0.729429066181], 1e-6),
    "NEST": ([0.741152550006, 0.740388187700, 0.665785233177, 0.663644193322, 0.729428962844], 1e-8),
}


class Outputs:
    """A loss of the output in the last `window` steps, and strength * sum over cells of (rate - 0.01)^2, per step.

    An output answers a spike one step later: the last step's spikes don't count. plain: the losses without the penalty.
    """

    output = "output"

    def __init__(self, window: int, cross_entropy: bool, strength: float) -> None:
        self.window, self.cross_entropy, self.strength = window, cross_entropy, strength
        self.plain: list[float] = []

    def record(self) -> tuple[str, ...]:
        return ("output.y",)

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        y = traces["output.y"][:, -self.window :]
        if self.cross_entropy:
            labels = torch.as_tensor(batch.targets)[:, None].expand(y.shape[:2])
            found = torch.nn.functional.cross_entropy(y.flatten(0, 1), labels.flatten())
        else:
            found = 0.5 * ((y - torch.as_tensor(batch.targets)) ** 2).sum()
        self.plain.append(float(found.detach()))
        rates = spikes["hidden"][:, :-1].mean(dim=(0, 1))
        return found + self.strength * ((rates - 0.01) ** 2).sum()


def trial(spikes: np.ndarray) -> np.ndarray:
    """Input spikes of step t act on the potential of step t, here on that of the next: sent one step earlier."""
    return np.concatenate([spikes[:, 1:], np.zeros_like(spikes[:, :2])], axis=1)


def losses(
    program: Any, task: Outputs, weights: dict[str, Any], feedback: Any, batches: Any, update: Any
) -> list[float]:
    """Of one trial after another, learning from each."""
    rule = learning.get("eprop", feedback="random")
    weights = {n: w.astype(np.float32).astype(np.float64) for n, w in weights.items()}
    memory = {"readout": feedback.astype(np.float32).astype(np.float64)}
    for number, batch in enumerate(batches, start=1):
        _, slopes = rule.estimate(program, weights, batch, task, memory, 0)
        weights = {n: update(n, w, slopes[n], number) for n, w in weights.items()}
    return task.plain


def test_regression() -> None:
    random = np.random.RandomState(1)
    into, loop = (random.randn(100, 100).T / np.sqrt(100) for _ in range(2))
    np.fill_diagonal(loop, 0)
    out, feedback = random.randn(100, 1).T / np.sqrt(100), random.randn(100, 1) / np.sqrt(100)
    spikes = random.rand(1000, 100) < 0.05
    spikes[0] = False
    amplitudes, phases = random.uniform(0.5, 2, 4), random.uniform(0, 2 * np.pi, 4)
    periods = (1000, 500, 333, 200)
    target = sum(
        a * np.sin(np.linspace(p, p + 2 * np.pi * (1000 // n), 1000)) for a, p, n in zip(amplitudes, phases, periods)
    )
    target = target - target[0]
    target = target / np.abs(target).max()
    cells = cell(dt=DT, tau_m=0.03, v_th=0.03, normalised=True, operator=">=")
    program = backends.get("torch").compile(
        network("regression", 100, cells, np.zeros(100), 1, 0.03, dt=DT, seed=0), surrogate="triangle"
    )
    weights = {"feed.w": into.T, "loop.w": loop.T, "readout.w": out.T}
    batch = Batch({"x": trial(spikes[None])}, target[None, :, None])
    task = Outputs(1000, False, strength=300 / 2)
    found = losses(program, task, weights, feedback, [batch] * 5, lambda n, w, g, k: w - 1e-4 * g)
    for name, (expected, tolerance) in REGRESSION.items():
        np.testing.assert_allclose(found, expected, rtol=tolerance, err_msg=name)


def cue_trials(random: np.random.RandomState) -> Batch:
    """One trial of evidence accumulation, in the recipe's order of draws."""
    side = random.choice([0, 1], 1)
    p = np.zeros((1, 2250, 40))
    cues = random.choice([0, 1], 7, p=[(0.3, 0.7), (0.7, 0.3)][int(side[0])])
    for i, cue in enumerate(cues):
        p[0, 150 * i + 50 : 150 * i + 150, 10 * cue : 10 * cue + 10] = 0.04
    p[:, -150:, 20:30], p[:, :, 30:] = 0.04, 0.01
    spikes = p > random.rand(2250 * 40).reshape(1, 2250, 40)
    spikes[:, 0] = False
    return Batch({"x": trial(spikes)}, np.array([int(cues.sum() > 3)]))


class TensorFlowAdam:
    """Adam with an epsilon that isn't corrected for bias."""

    def __init__(self) -> None:
        self.m: dict[str, Any] = {}
        self.v: dict[str, Any] = {}

    def __call__(self, name: str, w: Any, g: Any, k: int) -> Any:
        self.m[name] = 0.9 * self.m.get(name, 0.0) + 0.1 * g
        self.v[name] = 0.999 * self.v.get(name, 0.0) + 0.001 * g * g
        rate = 5e-3 * np.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        return w - rate * self.m[name] / (np.sqrt(self.v[name]) + 1e-8)


def test_evidence_accumulation() -> None:
    random = np.random.RandomState(1)
    into, loop = random.randn(40, 100).T / np.sqrt(40), random.randn(100, 100).T / np.sqrt(100)
    np.fill_diagonal(loop, 0)
    limit = np.sqrt(3 / 51)
    out, feedback = random.uniform(-limit, limit, (100, 2)).T, random.randn(100, 2)
    batches = [cue_trials(random) for _ in range(5)]
    alpha, rho = np.exp(-1 / 20), np.exp(-1 / 2000)
    betas = np.repeat([0.0, 1.7 * (1 - rho) / (1 - alpha)], 50)
    cells = cell(dt=DT, tau_m=0.02, v_th=0.6, normalised=False, tau_a=2.0, refractory=5, operator=">=")
    program = backends.get("torch").compile(
        network("evidence", 40, cells, betas, 2, 0.02, dt=DT, seed=0), surrogate="triangle"
    )
    weights = {"feed.w": into.T, "loop.w": loop.T, "readout.w": out.T}
    found = losses(program, Outputs(150, True, strength=1.0), weights, feedback, batches, TensorFlowAdam())
    for name, (expected, tolerance) in EVIDENCE.items():
        np.testing.assert_allclose(found, expected, rtol=tolerance, err_msg=name)
