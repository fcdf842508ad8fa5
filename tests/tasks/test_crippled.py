"""Walkers of which a part gets no power: what reaches the simulator, how often, for which parts, and what episodes bring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import UnsupportedError, learning
from neuro.compiler.parameters import values
from neuro.episodes import played
from neuro.learning.search.search_space import SearchSpace
from neuro.options import OptionError
from neuro.protocols import Batch
from tasks.crippled import ALIVE, SEEN, STRAINED, WALKERS, CrippledEnvironment, masks
from tests.extras import lacking

pytestmark = lacking("crippled")
RNG = np.random.default_rng
Array = np.ndarray


def environment(walker: str = "ant", **options: Any) -> CrippledEnvironment:
    return tasks.get("crippled", walker=walker, **options).environment(2)  # type: ignore[no-any-return]


def simulated(made: CrippledEnvironment) -> Array:
    """What the simulator's motors were told last [episode, action]."""
    return np.stack([one.unwrapped.data.ctrl for one in made._made.envs])


@pytest.mark.parametrize("walker", WALKERS)
def test_the_actions_of_the_part_are_exactly_zero_and_no_others(walker: str) -> None:
    parts = WALKERS[walker].parts
    for part in range(len(parts)):
        made = environment(walker, disabled=str(part))
        made.reset(seed=[5, 6])
        for actions in RNG(part).uniform(-1, 1, (4, 2, WALKERS[walker].actions)):
            made.step(actions)
            told = simulated(made)
            assert not told[:, parts[part]].any()
            others = np.delete(np.arange(told.shape[1]), parts[part])
            np.testing.assert_allclose(told[:, others], actions[:, others], rtol=1e-7)
        made.close()
    assert sorted(i for part in parts for i in part) == list(range(WALKERS[walker].actions))


def test_a_part_of_the_ant_is_one_leg() -> None:
    """The actions begin with leg 4, and a leg has two joints."""
    model = environment()._made.envs[0].unwrapped.model
    joints = [model.joint(int(j)).name for j in model.actuator_trnid[:, 0]]
    legs = [{joints[i].partition("_")[2] for i in part} for part in WALKERS["ant"].parts]
    assert legs == [{"4"}, {"1"}, {"2"}, {"3"}]
    assert [joints[i].partition("_")[0] for part in WALKERS["ant"].parts for i in part] == ["hip", "ankle"] * 4


def test_a_walker_without_a_handicap_gets_what_the_network_says_within_bounds() -> None:
    made = environment(disabled="none")
    made.reset(seed=[5, 6])
    actions = np.tile([0.5, -3.0, 1.0, 7.0], (2, 2))
    before = actions.copy()
    made.step(actions)
    np.testing.assert_array_equal(simulated(made), np.clip(actions, -1, 1))
    np.testing.assert_array_equal(actions, before)


@pytest.mark.parametrize(("walker", "sound"), [("ant", 0.4), ("half-cheetah", 0.5), ("hopper", 0.5)])
def test_parts_fail_as_often_as_published(walker: str, sound: float) -> None:
    """Within four standard errors of 6,000 seeds; each part as often as any other."""
    made, number = environment(walker), len(WALKERS[walker].parts)
    found = np.array([made._part(seed) for seed in range(6000)])
    for part in range(-1, number):
        p = sound if part < 0 else (1 - sound) / number
        assert np.mean(found == part) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 6000))


def test_the_seed_says_everything_and_nobody_is_told_the_part() -> None:
    made = environment()
    actions = RNG(0).uniform(-1, 1, (5, 2, 8))

    def episode(seeds: list[int]) -> tuple[Array, Array, Array]:
        seen, _ = made.reset(seed=seeds)
        steps = [made.step(a) for a in actions]
        return np.stack([seen, *(s[0] for s in steps)]), np.stack([s[1] for s in steps]), made.without

    first, again, other = episode([3, 8]), episode([3, 8]), episode([8, 4])
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first[0][0, 1], other[0][0, 0])
    assert first[2][1] == other[2][0] and not np.array_equal(first[0][:, 0], first[0][:, 1])
    starts = [environment(disabled=d).reset(seed=[3, 8])[0] for d in ("none", "0", "3")]
    assert all(np.array_equal(starts[0], s) for s in starts) and starts[0].shape == (2, 27)


def test_rewards_are_metres_or_the_published_sum_and_what_is_seen_is_bounded() -> None:
    plain, published = environment(disabled="1"), environment(disabled="1", reward="published")
    rewards: list[list[Array]] = [[], []]
    for found, made in zip(rewards, (plain, published), strict=True):
        made.reset(seed=[1, 2])
        first = [one.unwrapped.data.qpos[0] for one in made._made.envs]
        strained = []
        for actions in RNG(4).uniform(-1, 1, (40, 2, 8)):
            seen, reward, ended, cut, _ = made.step(actions)
            found.append(reward)
            assert np.abs(seen).max() <= SEEN and not ended.any() and not cut.any()
            for one in made._made.envs:
                low, high = one.unwrapped.model.jnt_range[1:].T
                place = (one.unwrapped.data.qpos[7:] - (low + high) / 2) / ((high - low) / 2)
                strained.append(np.sum(np.abs(place) > 0.99))
        last = [one.unwrapped.data.qpos[0] for one in made._made.envs]
        np.testing.assert_allclose(np.sum(rewards[0], axis=0), np.subtract(last, first), atol=1e-12)
    wanted = np.array(rewards[0]) + ALIVE - STRAINED * np.reshape(strained, (40, 2))
    np.testing.assert_allclose(rewards[1], wanted, atol=1e-12)
    assert 0 < np.sum(strained) < 40 * 2 * 8


def test_what_is_not_finite_ends_an_episode_and_nothing_else_does() -> None:
    made = environment()
    made.reset(seed=[1, 2])
    made.step(np.zeros((2, 8)))
    original = made._made.step

    def broken(actions: Array) -> Any:
        seen, *rest = original(actions)
        return np.where([[True], [False]], np.nan, seen), *rest

    made._made.step = broken
    seen, reward, ended, cut, _ = made.step(np.ones((2, 8)))
    assert ended.tolist() == [True, False] and not cut.any()
    assert reward[0] == 0 and reward[1] != 0 and not seen[0].any() and seen[1].any()


@pytest.mark.parametrize("walker", WALKERS)
def test_a_policy_plays_the_same_episode_again(walker: str) -> None:
    """An action is of the step in which its observation came."""
    task = tasks.get("crippled", walker=walker, steps=20, hidden=8, form="eligibility")
    network = task.network(0)
    program = backends.get("native").compile(network)
    p = {n: RNG(1).normal(0, 0.3, np.shape(v)) for n, v in values(network).items()}
    batch = Batch({}, np.array([11, 12]))
    first, again = (played(program, p, task, batch) for _ in range(2))
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.rewards, again.rewards)
    assert first.actions.shape == (2, 20, WALKERS[walker].actions) and np.ptp(first.actions) > 0.1
    run = program.run(p, first.inputs, ["motors.y"])
    np.testing.assert_array_equal(run.traces["motors.y"], first.actions)
    assert not played(program, values(network), task, batch).actions.any()  # all parameters are 0


@pytest.mark.parametrize("form", ["spiking-static", "spiking-ndp-oja", "spiking-dp-bcm"])
def test_a_spiking_policy_plays_the_same_episode_again(form: str) -> None:
    """Without power in its leg; what it did is what a run on the same senses gives, so that every episode begins with all state at 0."""
    task = tasks.get("crippled", form=form, steps=20, hidden=8, disabled="2")
    network = task.network(0)
    program, random = backends.get("native").compile(network), RNG(1)
    p = values(network) | {n: random.normal(0, 0.3, np.shape(values(network)[n])) for n in task.readout}
    batch = Batch({}, np.array([11, 12]))
    assert not played(program, values(network), task, batch).actions.any()
    first, again = (played(program, p, task, batch) for _ in range(2))
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.rewards, again.rewards)
    assert np.ptp(first.actions, axis=1).min() > 0.01
    run = program.run(p, first.inputs, ["motors.y"])
    np.testing.assert_array_equal(run.traces["motors.y"], first.actions)
    assert run.spikes["cells"].sum() > 10
    made = task.environment(2)
    made.reset(seed=[11, 12])
    for actions in np.moveaxis(first.actions, 1, 0):
        made.step(actions)
        told = simulated(made)
        assert not told[:, 4:6].any() and np.delete(told, (4, 5), axis=1).all()
    made.close()


def test_an_oracle_shows_a_mask_of_the_part_and_nobody_else_sees_one() -> None:
    """6 of 32 units work under each condition, others in each; the mask is what the environment says in every step."""
    found = masks(5, 32)
    assert found.sum(axis=1).tolist() == [6] * 5 and len(np.unique(found, axis=0)) == 5
    np.testing.assert_array_equal(found, masks(5, 32))
    for part, disabled in enumerate(("none", "0", "3")):
        row = found[(0, 1, 4)[part]]
        task = tasks.get("crippled", form="static", oracle=True, disabled=disabled, steps=4)
        network = task.network(0)
        p = {n: RNG(1).normal(0, 0.3, np.shape(v)) for n, v in values(network).items()}
        program, batch = backends.get("native").compile(network), Batch({}, np.array([3, 4]))
        shown = played(program, p, task, batch).inputs
        assert shown["senses"].shape == (2, 4, 27)
        np.testing.assert_array_equal(shown["mask"], np.broadcast_to(row, (2, 4, 32)))
        x = program.run(p, shown, ["hidden.x"]).traces["hidden.x"]
        np.testing.assert_array_equal(x != 0, np.broadcast_to(row == 1, x.shape))
        plain = tasks.get("crippled", form="static", disabled=disabled, steps=4)
        seen = plain.shown(plain.environment(2).reset(seed=[3, 4])[0], None, np.zeros(2))
        assert set(seen) == {"senses"}
        np.testing.assert_array_equal(seen["senses"], shown["senses"][:, 0])


@pytest.mark.parametrize(
    "options",
    [
        {"form": "spiking-ndp-oja"},
        {"form": "spiking-dp-oja"},
        {"form": "spiking-static"},
        {"form": "es-single"},
        {"form": "static", "structural": True},
        {"form": "modulated", "structural": True},
        {"form": "modulated", "gate": True},
        {"form": "static", "oracle": True},
    ],
)
def test_two_generations_move_what_is_searched_and_nothing_else(options: dict[str, Any]) -> None:
    """Adam's first two steps are of the learning rate at most, in every number of which the members' returns say anything."""
    task = tasks.get("crippled", hidden=6, steps=12, **options)
    network = task.network(0)
    program = backends.get("native").compile(network, threads=1)
    settings = {**task.settings.rules["es"], "samples": 4}
    rule, before = learning.get("es", **settings), values(network)
    parameters, state, random = before, rule.init(program, before), RNG(5)
    for _ in range(2):
        parameters, state, found = rule.step(program, parameters, state, task.sample(random, 1), task)
        assert np.isfinite(found["loss"]) and found["loss"] != 0
    moved = {n: float(np.abs(parameters[n] - before[n]).max()) for n in before}
    searched = SearchSpace.of(program, settings["trainable"]).names
    assert {n for n, by in moved.items() if by} == set(searched)
    assert all(0.01 < moved[n] <= 0.0601 for n in searched)


def displacement(task: Any, program: Any, parameters: dict[str, Array], seed: int) -> float:
    """Of the torso, from where the episode begins [m]."""
    made = task.environment(1)
    seen, _ = made.reset(seed=[seed])
    data = made._made.envs[0].unwrapped.data
    begins = float(data.qpos[0])
    with program.session(1, parameters, ["motors.y"]) as session:
        for _ in range(task.steps):
            seen, *_ = made.step(session.step({"senses": seen[:, None]}).traces["motors.y"][:, -1])
    moved = float(data.qpos[0]) - begins
    made.close()
    return moved


def test_three_generations_are_the_specification_s_by_hand() -> None:
    """Ranks of the displacement, best +.5; z-scored; eps' u/(n sigma^2), less .005 theta; Adam upwards, .03, betas .9 and .999. All members play one episode."""
    task = tasks.get("crippled", hidden=3, steps=12)
    program, n, sigma = backends.get("native").compile(task.network(0), threads=1), 32, 0.05
    rule, parameters = learning.get("es", **task.settings.rules["es"]), dict(values(program.network))
    state = rule.init(program, parameters)
    theta = state.space.vector(parameters)
    m, v, random = np.zeros_like(theta), np.zeros_like(theta), RNG(4)
    for t in range(1, 4):
        members, directions = rule.search.ask(state.search)
        epsilon = sigma * np.concatenate([directions, -directions])
        np.testing.assert_allclose(members, theta + epsilon, rtol=1e-12, atol=1e-14)
        batch = task.sample(random, 1)
        sets = [parameters | state.space.arrays(member) for member in members]
        moved = np.array([displacement(task, program, each, int(batch.targets[0])) for each in sets])
        rank = np.empty(n)
        rank[np.argsort(-moved)] = np.arange(n)
        u = (n / 2 - rank) / (n / 2) / 2
        u = (u - u.mean()) / u.std()
        gradient = epsilon.T @ u / (n * sigma**2) - 0.005 * theta
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        theta = theta + 0.03 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        parameters, state, found = rule.step(program, parameters, state, batch, task)
        assert len(np.unique(moved)) == n and found["loss"] == pytest.approx(-moved.mean(), rel=1e-12)
        np.testing.assert_allclose(state.space.vector(parameters), theta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"walker": "humanoid"}, "no walker 'humanoid'; known: ant"),
        ({"disabled": "4"}, "disabled '4'; use one of drawn, none, 0, 1, 2, 3"),
        ({"steps": 1001}, "at most 1000"),
        ({"noise": -0.1}, "noise=-0.1"),
        ({"reward": "speed"}, "use one of displacement, published"),
        ({"form": "spiking"}, "form 'spiking'; use one of static, .*spiking-ndp-oja"),
        ({"form": "spiking-static", "gate": True}, "gate=True: form 'spiking-static' has no tanh units"),
        ({"form": "spiking-static", "modulator": "own"}, "modulator='own': form 'spiking-static' has no tanh units"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=said):
        tasks.get("crippled", **options)


def test_rules_that_need_probabilities_or_answers_say_so() -> None:
    task = tasks.get("crippled", steps=3, hidden=2)
    program = backends.get("native").compile(task.network(0))
    batch = task.sample(RNG(0), 1)
    for name in ("actor-critic", "reward-eprop"):
        rule = learning.get(name, trainable=("plastic.w",))
        with pytest.raises(UnsupportedError, match=f"task 'crippled' for rule '{name}'.*use rule 'es'"):
            rule.step(program, values(program.network), rule.init(program, values(program.network)), batch, task)
    with pytest.raises(UnsupportedError, match="nobody knows the right actions; use rule 'es'"):
        task.loss({}, {}, batch)


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "imageio", None)
    with pytest.raises(OptionError, match=r"'crippled' needs the package 'imageio'; install it: .*\[control\]"):
        environment()
