"""Episodes: what was played can be run again; the actor-critic's loss and gradient; rules that learn by acting; gymnasium's environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

import backends
import tasks
from neuro import Network, UnsupportedError, learning
from neuro.compiler.parameters import values
from neuro.episodes import Episodes, by_chance, played
from neuro.learning.common.policies import discounted
from neuro.options import OptionError
from neuro.protocols import Array, Batch
from tasks.acting import ActingTask
from tasks.self_modifying import TRAINED, plastic_network

RNG = np.random.default_rng


class Follow:
    """Shows a side and pays for going there. An episode ends after 3 + seed mod 3 steps; whatever comes afterwards doesn't count."""

    def __init__(self, episodes: int) -> None:
        self.num_envs, self.closed = episodes, False

    def reset(self, *, seed: Any = None) -> tuple[Array, Mapping[str, Any]]:
        self._random = [RNG(s) for s in seed]
        self._left = np.array([3 + s % 3 for s in seed])
        return self._seen(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Mapping[str, Any]]:
        rewards = np.where(actions == self._side, 1.0, 0.0)
        self._left = self._left - 1
        return self._seen(), rewards, self._left <= 0, np.zeros(self.num_envs, bool), {}

    def _seen(self) -> Array:
        self._side = np.array([r.integers(2) for r in self._random])
        return np.eye(2)[self._side]

    def close(self) -> None:
        self.closed = True


class Following(ActingTask):
    name, actions, steps = "following", 2, 5

    def environment(self, episodes: int) -> Follow:
        self.last = Follow(episodes)
        return self.last

    def network(self, seed: int, form: str = "modulated") -> Network:
        return plastic_network(self.name, 5, 6, 3, form, clip=1.0, eta=0.1, scale=0.5, seed=seed)


def program_of(backend: str = "native", form: str = "modulated") -> Any:
    return backends.get(backend).compile(Following().network(0, form))


@pytest.mark.parametrize("form", ["static", "plastic", "modulated", "retroactive"])
def test_what_was_played_runs_again(form: str) -> None:
    """On every backend the same actions, and the outputs that they were drawn on."""
    task = Following()
    batch = task.sample(RNG(0), 7)
    found = {b: played(program_of(b, form), None, task, batch) for b in ("native", "torch", "reference", "brian2")}
    first = found["native"]
    assert isinstance(first, Episodes) and task.last.closed
    for other in found.values():
        np.testing.assert_array_equal(other.actions, first.actions)
        np.testing.assert_array_equal(other.inputs["senses"], first.inputs["senses"])
    assert len(np.unique(first.actions)) == 2 and not np.array_equal(first.actions, batch.actions)
    again = program_of("native", form).run(inputs=first.inputs, record=task.record())
    from neuro.compiler import streams

    random = streams.generator(0, "actions/following", 0)
    drawn = np.stack([task.act(y, random) for y in np.moveaxis(again.traces["output.y"], 1, 0)], 1)
    np.testing.assert_array_equal(drawn, first.actions)


def test_an_episode_s_end_is_marked_and_nothing_counts_after_it() -> None:
    task, seeds = Following(), np.array([0, 1, 2, 9])
    found = by_chance(task, seeds, RNG(1))
    np.testing.assert_array_equal(found.mask.sum(axis=1), 3 + seeds % 3)
    assert not found.rewards[~found.mask].any() and found.rewards[found.mask].any()
    np.testing.assert_array_equal(found.returns, found.rewards.sum(axis=1))
    assert by_chance(task, np.array([0, 3]), RNG(1)).actions.shape == (2, 3)  # nobody plays on when all are over
    shown = found.inputs["senses"]
    np.testing.assert_array_equal(shown[:, 1:, 2], found.rewards[:, :-1])  # the reward is seen one step later
    np.testing.assert_array_equal(shown[:, 1:, 3:].argmax(-1), found.actions[:, :-1])
    assert not shown[:, 0, 2:].any()


def test_the_loss_is_the_published_one() -> None:
    task, random = Following(), RNG(2)
    episodes = by_chance(task, np.array([0, 1, 2]), random)
    y = random.normal(0, 1, (*episodes.mask.shape, 3))
    for baseline in ("per_episode", "shared_first"):
        rule = learning.get("actor-critic", discount=0.8, value_cost=0.3, diversity_cost=0.2, value_baseline=baseline)
        got = float(rule.judged(task).loss({}, {"output.y": torch.as_tensor(y)}, episodes))
        wanted = 0.0
        for b, k in np.argwhere(episodes.mask):
            pi = np.exp(y[b, k, :2]) / np.exp(y[b, k, :2]).sum()
            later = sum(0.8 ** (i - k) * r for i, r in enumerate(episodes.rewards[b]) if i >= k)
            a = later - y[0 if baseline == "shared_first" else b, k, 2]
            wanted += -np.log(pi[episodes.actions[b, k]]) * a + 0.3 * a * a + 0.2 * (pi**2).sum()
        assert got == pytest.approx(wanted / y.shape[0] / y.shape[1], rel=1e-12)
    assert discounted(np.array([[1.0, 0.0, 2.0]]), 0.5) == pytest.approx(np.array([[1.5, 1.0, 2.0]]))


@pytest.mark.parametrize("form", ["plastic", "modulated", "retroactive"])
def test_the_gradient_goes_through_the_plastic_episode(form: str) -> None:
    """Against finite differences along a random direction, the episodes held: 1e-6 for each kind of parameter."""
    task, network = Following(), Following().network(0, form)
    rule, batch = learning.get("actor-critic", trainable=TRAINED), task.sample(RNG(0), 6)
    programs = {b: backends.get(b).compile(network) for b in ("native", "torch")}
    episodes = played(programs["native"], None, task, batch)
    found = {b: rule.gradient(p, values(network), batch, task) for b, p in programs.items()}
    held = values(network)
    step, names = 1e-5, sorted(found["native"])
    assert {"loop.w", "loop.alpha", "readout.w", "enter.w", "hidden.b"} <= set(names)
    assert ("loop.eta" in names) == (form != "modulated") and ("hear.w" in names) == (form != "plastic")

    def output(parameters: Mapping[str, Array]) -> Any:
        """The outputs."""
        return torch.as_tensor(programs["native"].run(parameters, episodes.inputs, task.record()).traces["output.y"])

    before = output(held)
    advantage = torch.as_tensor(discounted(episodes.rewards, rule.discount)) - before[..., -1]

    def loss(parameters: Mapping[str, Array]) -> float:
        """With advantages as they were, which the gradient holds."""
        y, counts = output(parameters), torch.as_tensor(episodes.mask, dtype=torch.float64)
        log_pi = torch.log_softmax(y[..., :-1], -1)
        chosen = log_pi.gather(-1, torch.as_tensor(episodes.actions)[..., None])[..., 0]
        missing = torch.as_tensor(discounted(episodes.rewards, rule.discount)) - y[..., -1]
        total = -chosen * advantage + rule.value_cost * missing**2 + rule.diversity_cost * (log_pi.exp() ** 2).sum(-1)
        return float((total * counts).sum() / counts.numel())

    for name in names:
        np.testing.assert_allclose(found["native"][name], found["torch"][name], rtol=1e-9, atol=1e-13)
        direction = RNG(3).normal(0, 1, np.shape(held[name]))
        ends = [loss({**held, name: held[name] + s * step * direction}) for s in (1, -1)]
        along = (ends[0] - ends[1]) / (2 * step)
        assert float((found["native"][name] * direction).sum()) == pytest.approx(along, rel=1e-6, abs=1e-10), name


@pytest.mark.parametrize(
    ("name", "options", "updates"),
    [
        ("actor-critic", {"learning_rate": 0.03, "trainable": TRAINED, "discount": 0.0}, 60),
        ("reward-eprop", {"learning_rate": 0.03, "discount": 0.0}, 60),
        ("es", {"learning_rate": 0.1, "sigma": 0.2, "trainable": TRAINED}, 40),
    ],
)
def test_rules_learn_by_acting(name: str, options: Mapping[str, Any], updates: int) -> None:
    task, program = Following(), program_of(form="static")
    rule, random = learning.get(name, **options), RNG(5)
    parameters: Any = values(program.network)
    state = rule.init(program, parameters)

    def earned(draw: int) -> float:
        episodes = played(program, parameters, task, task.sample(RNG(9), 100), draw)
        return float(episodes.returns.sum() / episodes.mask.sum())

    before = earned(1)
    for _ in range(updates):
        parameters, state, metrics = rule.step(program, parameters, state, task.sample(random, 16), task)
    assert 0.3 < before < 0.7 and earned(2) > 0.9
    assert metrics["loss"] < -3.2  # of at most 4 in the mean


def test_rules_that_take_sums_apart_refuse_a_readout_that_answers_at_once() -> None:
    task, program = Following(), program_of(form="static")
    rule = learning.get("reward-eprop", form="traces")
    with pytest.raises(UnsupportedError, match="summed='end'"):
        rule.step(program, values(program.network), rule.init(program), task.sample(RNG(0), 4), task)


def test_what_does_not_act_is_refused_by_name() -> None:
    task = tasks.get("pattern")
    program = backends.get("native").compile(task.network(0))
    rule = learning.get("actor-critic")
    with pytest.raises(UnsupportedError, match=r"rule 'actor-critic'.*task 'pattern' has no environment"):
        rule.step(program, values(program.network), rule.init(program), next(iter(task.train_batches(RNG(0), 2))), task)
    with pytest.raises(learning.UnknownRuleError, match="value_baseline"):
        learning.get("actor-critic", value_baseline="first")
    with pytest.raises(learning.UnknownRuleError, match=r"discount=1\.5"):
        learning.get("actor-critic", discount=1.5)
    with pytest.raises(learning.UnknownRuleError, match="optimiser 'adam' has no 'epsilon'"):
        learning.get("actor-critic", optimiser_options={"epsilon": 1e-6})


def test_a_batch_of_another_task_is_left_as_it_is() -> None:
    batch = Batch({"x": np.zeros((1, 2, 3))}, np.zeros(1))
    assert played(None, None, tasks.get("pattern"), batch) is batch


def test_cart_pole_by_its_own_name() -> None:
    pytest.importorskip("gymnasium")
    task = tasks.get("control", environment="CartPole-v1", steps=60, hidden=8)
    network = task.network(0)
    program = backends.get("native").compile(network)
    rule = learning.get("actor-critic", **task.settings.rules["actor-critic"])
    parameters, state, batch = dict(values(network)), rule.init(program), task.sample(RNG(0), 8)
    assert 8 < batch.returns.mean() < 40  # by chance a pole stands for about 20 steps
    np.testing.assert_array_equal(batch.mask.sum(axis=1), batch.returns)
    after, state, metrics = rule.step(program, parameters, state, batch, task)
    assert metrics["loss"] == -played(program, parameters, task, batch).returns.mean()
    assert any(not np.array_equal(after[n], parameters[n]) for n in parameters)
    with pytest.raises(UnsupportedError, match="nobody knows the right actions"):
        learning.get("bptt").step(program, parameters, learning.get("bptt").init(program), batch, task)
    with pytest.raises(OptionError, match="Pendulum-v1"):
        tasks.get("control", environment="Pendulum-v1").network(0)
    with pytest.raises(OptionError, match="NoSuch-v0"):
        tasks.get("control", environment="NoSuch-v0").network(0)
