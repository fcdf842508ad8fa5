"""Reward-based e-prop: the online form is the gradient of the actor-critic's loss, and rewards alone teach the delayed choice."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import backends
import tasks
from neuro import Network, UnsupportedError, learning
from neuro.compiler.parameters import values
from neuro.learning.traces.reward_eprop import ActorCritic, by_errors
from neuro.learning.traces.trial import run_trial
from neuro.protocols import Batch
from tasks.adaptive_cells import cell, network
from tests.learning.test_eligibility import error

STEPS, ARMS = 120, 3


class Bandit:
    """Every step chooses one of three arms, which pay what the targets [batch, time, arm] say."""

    name, output = "bandit", "output"

    def record(self) -> tuple[str, ...]:
        return ("output.y",)

    def reward(self, actions: np.ndarray, batch: Batch) -> np.ndarray:
        return np.take_along_axis(batch.targets, actions[..., None], axis=-1)[..., 0]


@cache
def setting(refractory: int = 3) -> tuple[Network, Any, Batch]:
    cells = cell(dt=1e-3, tau_m=0.02, v_th=0.6, normalised=False, refractory=refractory)
    model = network("bandit", 8, cells, np.repeat([0.0, 0.07], 6), ARMS + 1, 0.005, dt=1e-3, seed=0)
    random = np.random.default_rng(0)
    batch = Batch({"x": random.random((2, STEPS, 8)) < 0.15}, random.normal(size=(2, STEPS, ARMS)))
    return model, backends.get("torch").compile(model, surrogate="triangle"), batch


@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_forms_are_one_gradient(feedback: str) -> None:
    """Temporal differences with filtered traces, the adjoint by torch, traces with returns: equal to rounding."""
    model, program, batch = setting()
    assert program.run(values(model), batch.inputs).spike_count() > 100
    found = {
        form: learning.get("reward-eprop", feedback=feedback, form=form).gradient(
            program, values(model), batch, Bandit()
        )
        for form in ("adjoint", "traces", "online")
    }
    assert set(found["online"]) == {"feed.w", "loop.w", "readout.w"}
    assert error(found["online"], found["adjoint"]) < 1e-10
    assert error(found["traces"], found["adjoint"]) < 1e-10


def test_it_is_autograd_of_the_loss_on_the_detached_graph() -> None:
    model, program, batch = setting()
    judged = ActorCritic(Bandit(), 0.99, 0.5, np.random.default_rng(7))
    variant = program.variant(detached=("loop",), detach_reset=True)
    expected = learning.get("bptt").gradient(variant, values(model), batch, judged)
    again = ActorCritic(Bandit(), 0.99, 0.5, np.random.default_rng(7))
    trial = run_trial(program, values(model), batch, again, {}, detach_reset=True)
    same = {f"{n}.w": by_errors(trial, trial.summed_inputs[n], again, {}) for n in ("feed", "loop", "readout")}
    assert error(same, expected) < 1e-10


def test_actions_follow_the_policy() -> None:
    """Two arms of equal preference and one that is e times as likely."""
    judged = ActorCritic(Bandit(), 0.9, 0.5, np.random.default_rng(0))
    y = torch.tensor([0.0, 0.0, 1.0, 0.0]).repeat(200, 50, 1)
    batch = Batch({}, np.broadcast_to(np.eye(3)[2], (200, 50, 3)))
    judged.loss({}, {"output.y": y}, batch)
    assert judged.reward / 50 == pytest.approx(np.e / (2 + np.e), abs=0.02)


def test_it_continues_where_it_stopped() -> None:
    model, program, long = setting()
    batch = Batch({"x": long.inputs["x"][:, :30]}, long.targets[:, :30])
    rule = learning.get("reward-eprop", form="online", feedback="adaptive", feedback_decay=0.01)

    def learn(stop: int | None) -> tuple[Any, list[float]]:
        state, now, losses = rule.init(program), dict(values(model)), []
        for i in range(4):
            state = rule.load(program, rule.save(state)) if i == stop else state
            now, state, metrics = rule.step(program, now, state, batch, Bandit())
            losses.append(metrics["loss"])
        return now, losses

    (whole, losses), (resumed, again) = learn(None), learn(2)
    assert losses == again and len(set(losses)) == 4
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name])


def test_what_it_needs_is_named() -> None:
    model, program, batch = setting()
    with pytest.raises(UnsupportedError, match="task 'evidence' gives no rewards"):
        learning.get("reward-eprop").gradient(program, values(model), batch, tasks.get("evidence"))
    with pytest.raises(learning.UnknownRuleError, match="no rate regularisation"):
        learning.get("reward-eprop", form="online", rate_strength=1.0)
