"""Local rules against loops written down from the papers' formulas, on the spikes that a run gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backends
from neuro import learning
from neuro.compiler.parameters import values
from neuro.language.units import quantity
from neuro.protocols import Batch
from tests.learning.test_local_rules import RULES, W_MAX, poisson

STEPS, DT, START = 400, 1e-3, 0.5  # START: of all weights, in w_max, where no bound is met for long
Array = np.ndarray


class Loop:
    """Weights and traces [pre, post]. Each rule: what a step, an arriving spike and a spike of the target do."""

    def __init__(self, constants: dict[str, Any]) -> None:
        self.c, self.w = constants, np.full((7, 5), START * W_MAX)
        self.x, self.y, self.r2, self.o2, self.mark = (np.zeros((7, 5)) for _ in range(5))

    def add(self, change: Array, where: Array) -> None:
        self.w = np.where(where, np.clip(self.w + change, 0, W_MAX), self.w)

    def fade(self, **times: str) -> None:
        for name, tau in times.items():
            setattr(self, name, getattr(self, name) * np.exp(-DT / self.c[tau]))


def pairs(s: Loop, pre: Array, post: Array, reward: float, nearest: bool = False) -> None:
    """Song, Miller & Abbott (2000): all pairs; Morrison et al. (2008): nearest neighbours."""
    s.fade(x="tau_plus", y="tau_minus")
    s.x = np.where(pre, 1.0 if nearest else s.x + 1, s.x)
    s.add(-s.c["A_minus"] * W_MAX * s.y, pre)
    s.y = np.where(post, 1.0 if nearest else s.y + 1, s.y)
    s.add(s.c["A_plus"] * W_MAX * s.x, post)


def nearest_pairs(s: Loop, pre: Array, post: Array, reward: float) -> None:
    pairs(s, pre, post, reward, nearest=True)


def triplets(s: Loop, pre: Array, post: Array, reward: float) -> None:
    """Pfister & Gerstner (2006), equations 3 and 4: the slow traces are read before their own jumps."""
    s.fade(x="tau_r1", r2="tau_r2", y="tau_o1", o2="tau_o2")
    s.add(-W_MAX * s.y * (s.c["A2_minus"] + s.c["A3_minus"] * s.r2), pre)
    s.x, s.r2 = s.x + pre, s.r2 + pre
    s.add(W_MAX * s.x * (s.c["A2_plus"] + s.c["A3_plus"] * s.o2), post)
    s.y, s.o2 = s.y + post, s.o2 + post


def homeostasis(s: Loop, pre: Array, post: Array, reward: float) -> None:
    """Vogels et al. (2011): alpha = 2 rho0 tau."""
    s.fade(x="tau_trace", y="tau_trace")
    s.x = s.x + pre
    s.add(s.c["eta"] * W_MAX * (s.y - 2 * s.c["target"] * s.c["tau_trace"]), pre)
    s.y = s.y + post
    s.add(s.c["eta"] * W_MAX * s.x, post)


def rewarded(s: Loop, pre: Array, post: Array, reward: float) -> None:
    """Izhikevich (2007): ds/dt = c d, and c collects what pair-based STDP would do."""
    s.fade(x="tau_plus", y="tau_minus", mark="tau_mark")
    s.add(W_MAX * reward * s.mark * DT, np.ones_like(pre))
    s.x = s.x + pre
    s.mark = s.mark - np.where(pre, s.c["A_minus"] * s.y, 0.0)
    s.y = s.y + post
    s.mark = s.mark + np.where(post, s.c["A_plus"] * s.x, 0.0)


def scaled(s: Loop, pre: Array, post: Array, reward: float) -> None:
    """van Rossum, Bi & Turrigiano (2000): dw/dt = beta w (goal - activity)."""
    s.fade(y="tau_rate")
    s.add(s.c["eta"] * s.w * (s.c["target"] - s.y) * DT, np.ones_like(pre))
    s.y = s.y + np.where(post, 1 / s.c["tau_rate"], 0.0)


FORMULAS: dict[str, Callable[[Loop, Array, Array, float], None]] = {
    "stdp": pairs, "stdp_nearest": nearest_pairs, "triplet_stdp": triplets, "inhibitory_stdp": homeostasis,
    "reward_stdp": rewarded, "scaling": scaled,
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_weights_follow_the_papers_formulas(name: str) -> None:
    rule, random = RULES[name], np.random.default_rng(0)
    network = poisson(rule)
    spikes, reward = random.random((1, STEPS, 7)) < 0.08, random.normal(20.0, 10.0, (1, STEPS, 1))
    inputs = {"x": spikes, **({"reward": reward} if name == "reward_stdp" else {})}
    start = {"feed.w": np.full_like(values(network)["feed.w"], START * W_MAX)}
    found = backends.get("reference").compile(network).run(start, inputs)
    loop = Loop({n: float(quantity(v).value) for n, v in rule.parameters.items()})
    post = found.spikes["cells"][0]
    for k in range(STEPS):
        before, after = np.broadcast_arrays(spikes[0, k][:, None], post[k][None])
        FORMULAS[name](loop, before, after, float(reward[0, k, 0]))
    changed = np.abs(found.final["feed.w"][0] - START * W_MAX)
    assert post.sum() > 50 and changed.max() > 1e-3 * W_MAX
    np.testing.assert_allclose(found.final["feed.w"][0], loop.w, rtol=1e-9)


def test_an_update_takes_the_mean_of_its_trials() -> None:
    network, spikes = poisson(RULES["stdp"]), np.random.default_rng(0).random((3, 100, 7)) < 0.1
    program = backends.get("reference").compile(network)
    rule = learning.get("stdp", projection="feed", w_max="3 nA")

    class Nothing:
        def record(self) -> tuple[str, ...]:
            return ()

        def loss(self, spikes: Any, traces: Any, batch: Batch) -> float:
            return 0.0

    start = values(network)
    after, _, _ = rule.step(program, start, rule.init(program), Batch({"x": spikes}, np.zeros(3)), Nothing())
    each = [program.run(start, {"x": spikes[b : b + 1]}).final["feed.w"][0] for b in range(3)]
    assert np.abs(each[0] - each[1]).max() > 0
    np.testing.assert_allclose(after["feed.w"], np.mean(each, axis=0), rtol=1e-12)
