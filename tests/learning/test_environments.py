"""Other people's environments, and everything that judges a network by what it does in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

import backends
import tasks
from neuro import Network, Neuron, Population, Projection, RunError, Synapse, UnsupportedError, learning
from neuro.analysis.energy import EnergyError, measure
from neuro.analysis.replay import replay
from neuro.compiler.parameters import values
from neuro.episodes import by_chance, played, run_of
from neuro.export.stages import Stage
from neuro.export.stages import measure as staged
from neuro.learning.audit import Audit
from neuro.learning.search.search_space import losses
from neuro.learning.traces.reward_eprop import ActorCritic
from neuro.options import OptionError
from neuro.protocols import Array
from tests.learning.test_acting import RNG, Follow, Following, program_of


class Other(Follow):
    """An environment that does one thing as others don't."""

    def __init__(self, episodes: int, change: Callable[..., Any]) -> None:
        super().__init__(episodes)
        self.change, self.count = change, 0

    def step(self, actions: Array) -> Any:
        found = super().step(np.array(actions))
        self.count += 1
        return self.change(actions, *found) if self.count == 2 else found


def with_change(change: Callable[..., Any]) -> Following:
    class Changed(Following):
        def environment(self, episodes: int) -> Follow:
            return Other(episodes, change)

    return Changed()


def raises(*found: Any) -> Any:
    raise KeyError("no such joint")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (raises, "KeyError: 'no such joint'"),
        (lambda a, o, r, e, c, i: (o, r * np.nan, e, c, i), "its rewards are not finite"),
        (lambda a, o, r, e, c, i: (np.full_like(o, np.inf), r, e, c, i), "its observations are not finite"),
        (lambda a, o, r, e, c, i: (o, [None] * len(r), e, c, i), "its rewards are not finite"),
        (lambda a, o, r, e, c, i: (o, "much", e, c, i), "its rewards are no numbers"),
        (lambda a, o, r, e, c, i: (o, r[:-1], e, c, i), r"rewards of the shape \(3,\) for 4 episodes"),
    ],
)
def test_what_an_environment_does_wrong_is_told_with_the_step(change: Callable[..., Any], said: str) -> None:
    with pytest.raises(RunError, match=rf"the environment of task 'following' at step 1: .*{said}"):
        by_chance(with_change(change), np.arange(4), RNG(0))


def test_rewards_may_have_other_types_and_actions_may_be_changed() -> None:
    def change(actions: Array, o: Array, r: Array, e: Array, c: Array, i: Any) -> Any:
        actions += 7
        return o.astype(np.float32), (r > 0)[:, None], e.tolist(), c, i

    found, plain = (by_chance(t, np.arange(4), RNG(0)) for t in (with_change(change), Following()))
    np.testing.assert_array_equal(found.actions, plain.actions)
    np.testing.assert_array_equal(found.rewards, plain.rewards)


def test_an_action_space_may_start_elsewhere() -> None:
    gymnasium = pytest.importorskip("gymnasium")

    class FromFive(gymnasium.Env):  # type: ignore[name-defined,misc]
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))
        action_space = gymnasium.spaces.Discrete(2, start=5)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.k = 0
            return np.zeros(2, np.float32), {}

        def step(self, action: Any) -> Any:
            assert action in (5, 6)
            self.k += 1
            return np.zeros(2, np.float32), float(action == 6), self.k == 4, False, {}

    gymnasium.register("FromFive-v0", entry_point=FromFive)
    batch = tasks.get("control", environment="FromFive-v0", steps=10, hidden=4).sample(RNG(0), 50)
    assert set(np.unique(batch.actions)) == {0, 1} and batch.returns.mean() == pytest.approx(2, abs=0.5)


def test_a_network_is_judged_by_what_it_does_itself() -> None:
    """Replays, stages of an export and the training loop's test: the return of another policy is never taken for a network's own."""
    task = Following()
    task.metric = lambda recording, batch: float(batch.returns.mean())  # type: ignore[attr-defined]
    programs = {b: program_of(b, "static") for b in ("native", "torch")}
    batch, network = task.sample(RNG(0), 40), programs["native"].network
    strong = {**values(network), "readout.w": 50 * values(network)["readout.w"]}
    for given in (values(network), strong):
        own = {n: played(p, given, task, batch) for n, p in programs.items()}
        found = replay(task, programs, given, batch)  # type: ignore[arg-type]
        assert found.accuracies == {n: e.returns.mean() for n, e in own.items()}
        np.testing.assert_array_equal(found.batch.inputs["senses"], own["native"].inputs["senses"])
        stage = staged([Stage("trained", network, given)], task, batch, backends.get("native"))[0]  # type: ignore[arg-type]
        assert stage.accuracy == own["native"].returns.mean() != batch.returns.mean()
        assert run_of(programs["native"], given, task, batch)[1].returns.mean() == stage.accuracy


def test_nothing_after_an_episode_s_end_counts_for_reward_eprop() -> None:
    task = Following()
    episodes = by_chance(task, np.array([0, 1, 2]), RNG(1))
    y = torch.tensor(RNG(2).normal(0, 1, (*episodes.mask.shape, 3)), requires_grad=True)
    judged = ActorCritic(task, 0.9, 0.5, RNG(0))
    judged.loss({}, {"output.y": y}, episodes).backward()
    assert y.grad is not None
    over = ~episodes.mask
    assert over.any() and not y.grad[torch.as_tensor(over)].any() and not judged.delta[over].any()
    assert y.grad[torch.as_tensor(episodes.mask)].any()
    last = episodes.mask.sum(axis=1) - 1
    for b, k in enumerate(last):  # nothing is expected after the last step
        assert judged.delta[b, k] == pytest.approx(episodes.rewards[b, k] - float(y.detach()[b, k, -1]))


def test_searches_draw_new_noise_for_each_update() -> None:
    network = Following().network(0, "static")
    noisy = Neuron("noisy", "dx/dt = (tanh(z + b) - x)/(1*ms) + 3*xi*(1/ms)**0.5 : 1\nz : 1", parameters={"b": "0"})
    cells = tuple(Population("hidden", noisy, 6) if p.name == "hidden" else p for p in network.populations)
    program = backends.get("native").compile(Network(cells, network.projections, network.inputs, dt="1 ms"))
    task = Following()
    task.act = lambda output, random: output[..., :2].argmax(-1)  # type: ignore[method-assign]
    sets = {"readout.w": np.stack([5 * values(program.network)["readout.w"]] * 2)}
    found = [losses(program, sets, task.sample(RNG(0), 150), task, trial=k) for k in (0, 150, 300)]
    assert len({f[0] for f in found}) == 3 and all(f[0] == f[1] for f in found)


def test_who_cannot_follow_a_return_says_so() -> None:
    task, program = Following(), program_of(form="static")
    rule = learning.get("finite-differences")
    with pytest.raises(UnsupportedError, match=r"'following' for rule 'finite-differences'.*use rule 'es'"):
        rule.step(program, values(program.network), rule.init(program), task.sample(RNG(0), 4), task)
    for name in ("actor-critic", "es", "reward-eprop"):
        with pytest.raises(UnsupportedError, match=f"an audit of rule '{name}'"):
            Audit(program, task, {name: learning.get(name)})


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("cue-reward", {"cues": 5}, "cues=5, bits=2: there are only 4 patterns"),
        ("cue-reward", {"steps": 9}, "steps=9: a trial takes up to 5; give at least 10"),
        ("cue-reward", {"cues": 0}, "cues=0; give a whole number"),
        ("maze", {"steps": 0}, "steps=0; give a whole number"),
        ("maze", {"size": 6}, "an odd number of at least 5"),
        ("control", {"hidden": 0}, "hidden=0; give a whole number"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, options: Mapping[str, Any], said: str) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=said):
        tasks.get(name, **options)


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OptionError, match="clip=-1"):
        tasks.get("cue-reward", clip=-1.0).network(0)
    assert "0.12345678" in tasks.get("cue-reward", clip=0.12345678).network(0).projection("loop").synapse.every_step
    rule = learning.get("actor-critic", optimiser_options={"eps": "1e-4"})
    with pytest.raises(OptionError, match="optimiser 'adam' with"):
        rule.init(program_of(form="static"))


def test_what_is_sent_at_the_end_of_a_step_is_counted_or_refused() -> None:
    graded = Neuron("graded", "x : 1", every_step="x = 1.5 - x")
    firing = Neuron("firing", "x : 1", every_step="x = x + 0.5", threshold="x > 0.7", reset="x = 0")
    unit, link = Neuron("unit", "z : 1\ny = z : 1"), Synapse("link", "w : 1", transmits="w*x_pre", target="z")

    def counted(cell: Neuron, summed: Any) -> tuple[float, int]:
        network = Network(
            (Population("c", cell, 1), Population("o", unit, 1)),
            Projection("p", "c", "o", link, 1.0, summed=summed),
            dt="1 ms",
        )
        found = backends.get("reference").compile(network).run(record=["c.x", "o.z"], steps=10, batch=1)
        macs = float(measure(network, found, {}, values(network)).summary()["effective MACs a sample"])
        return macs, int(np.count_nonzero(found.traces["o.z"]))

    assert counted(graded, "start") == (5, 5) and counted(graded, "end") == (5, 5)
    assert counted(firing, "start") == (5, 5)
    with pytest.raises(EnergyError, match="projection 'p': it sends what 'c' is before spikes act on it"):
        counted(firing, "end")
