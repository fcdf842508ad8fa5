"""Local rules: equal weights on every backend that compiles plasticity, and what theory says of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    Input,
    Network,
    Neuron,
    Normal,
    OneToOne,
    Population,
    Projection,
    Synapse,
    UnsupportedError,
    learning,
    quantity,
)
from neuro.compiler.parameters import values
from neuro.learning.local.bcm import bcm
from neuro.learning.local.inhibitory_stdp import inhibitory
from neuro.learning.local.oja import oja
from neuro.learning.local.plasticity import Plasticity, PlasticityError
from neuro.learning.local.reward_stdp import reward
from neuro.learning.local.scaling import scaling
from neuro.learning.local.stdp import nearest, stdp
from neuro.learning.local.triplet_stdp import triplet
from tasks.digits import Digits
from tasks.rate_networks import graded, linear
from tests.backends.able import able
from tests.backends.networks import LIF, PULSE

RULES = {r.name: r for r in (stdp, nearest, triplet, inhibitory, reward, scaling)}
PLASTIC = able("plasticity")
W_MAX = 3e-9


def poisson(rule: Plasticity, delays: Any = "0 ms") -> Network:
    """7 Poisson inputs -> 5 cells, with that rule."""
    weights = Normal(quantity("1.5 nA"), quantity("0.3 nA"))
    feed = Projection("feed", "x", "cells", PULSE, weights, delay=delays)
    plain = Network([Population("cells", LIF, 5)], [feed], [Input("x", 7, "poisson", rate="60 Hz")], dt="1 ms", seed=3)
    return rule.attach(plain, "feed", w_max="3 nA")


def agree(rule: Plasticity, steps: int) -> None:
    delays = quantity(np.random.default_rng(0).integers(0, 5, (7, 5)).astype(float), "ms")
    network = poisson(rule, delays)
    inputs = {"reward": np.random.default_rng(1).normal(size=(2, steps, 1))} if rule is reward else {}
    found = [backends.get(b).compile(network).run(inputs=inputs, steps=steps, batch=2) for b in PLASTIC]
    assert found[0].spike_count() > 100
    expected = found[0].final["feed.w"]
    assert np.abs(expected - values(network)["feed.w"]).max() > 1e-12
    for other in found[1:]:
        assert found[0].spike_count() == other.spike_count()
        assert np.abs(other.final["feed.w"] - expected).max() <= 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("name", RULES)
def test_equal_weights_on_every_backend(name: str) -> None:
    agree(RULES[name], 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_equal_weights_on_every_backend_after_10_s(name: str) -> None:
    agree(RULES[name], 10_000)


def forced(
    rule: Plasticity, pre: list[list[int]], post: list[int], steps: int, delay: str = "0 ms", **constants: Any
) -> Any:
    """Weight changes, over w_max, of one synapse a list in `pre` onto a cell that fires at the steps in `post`."""
    cells = Population("cells", LIF, 1)
    learn = Projection("learn", "x", "cells", PULSE, quantity(np.full((len(pre), 1), 0.05), "nA"), delay=delay)
    force = Projection("force", "y", "cells", PULSE, "9 nA", OneToOne())
    plain = Network((cells,), (learn, force), (Input("x", len(pre)), Input("y", 1)), dt="1 ms")
    network = rule.attach(plain, "learn", w_max="3 nA", **constants)
    x, y = np.zeros((1, steps, len(pre)), bool), np.zeros((1, steps, 1), bool)
    for i, times in enumerate(pre):
        x[0, times, i] = True
    y[0, [t - 1 for t in post], 0] = True
    extra = {"reward": np.ones((1, steps, 1))} if rule is reward else {}
    start = np.full((len(pre), 1), W_MAX / 2)
    found = (
        backends.get("reference").compile(network).run({"learn.w": start * 0 + W_MAX / 60}, {"x": x, "y": y, **extra})
    )
    assert np.flatnonzero(found.spikes["cells"][0, :, 0]).tolist() == post
    return (found.final["learn.w"][0, :, 0] - W_MAX / 60) / W_MAX


@pytest.mark.parametrize("rule", [stdp, nearest])
def test_stdp_window(rule: Plasticity) -> None:
    """A+ exp(-d/tau) for a postsynaptic spike d after the presynaptic one, -A- exp(-d/tau) before it; d = 0 counts as after."""
    lags = np.array([-30, -10, -1, 0, 1, 10, 30])
    found = forced(rule, [[50 - int(d)] for d in lags], [50], 120)
    expected = np.where(lags >= 0, 0.005 * np.exp(-lags / 20), -0.00525 * np.exp(lags / 20))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_delays_are_axonal() -> None:
    """With a delay the window counts from the arrival; the postsynaptic spike is seen at once."""
    lags = np.array([-8, 0, 8])
    found = forced(stdp, [[50 - int(d) - 5] for d in lags], [50], 120, delay="5 ms")
    np.testing.assert_allclose(found, [-0.00525 * np.exp(-8 / 20), 0.005, 0.005 * np.exp(-8 / 20)], rtol=1e-9)
    network = poisson(stdp, "5 ms")
    assert backends.get("torch").compile(network).semantics.delay_convention.startswith("axonal")


def test_all_pairs_against_nearest_neighbours() -> None:
    """Two presynaptic spikes before a postsynaptic one count both, or the last only."""
    pre = [[40, 45]]
    both = 0.005 * (np.exp(-10 / 20) + np.exp(-5 / 20))
    np.testing.assert_allclose(forced(stdp, pre, [50], 60), [both], rtol=1e-9)
    np.testing.assert_allclose(forced(nearest, pre, [50], 60), [0.005 * np.exp(-5 / 20)], rtol=1e-9)


def test_triplets() -> None:
    """The four closed forms of isolated spikes."""
    small = {"A2_minus": "0.0001", "A3_minus": "0.0002", "A2_plus": "0.001", "A3_plus": "0.003"}
    a2m, a3m, a2p, a3p = 1e-4, 2e-4, 1e-3, 3e-3
    pre_post_pre = forced(triplet, [[50 - 7], [50 - 7, 50 + 12]], [50], 100, **small)
    up = a2p * np.exp(-7 / 25)
    down = np.exp(-12 / 1000) * (a2m + a3m * np.exp(-19 / 25))
    np.testing.assert_allclose(pre_post_pre, [up, up - down], rtol=1e-9)
    post_pre_post = forced(triplet, [[57]], [50, 69], 100, **small)
    expected = -a2m * np.exp(-7 / 1000) + np.exp(-12 / 25) * (a2p + a3p * np.exp(-19 / 25))
    np.testing.assert_allclose(post_pre_post, [expected], rtol=1e-9)
    np.testing.assert_allclose(forced(triplet, [[57]], [50], 100, **small), [-a2m * np.exp(-7 / 1000)], rtol=1e-9)


@pytest.mark.parametrize("rate", [10.0, 120.0])
def test_triplet_drift_of_independent_poisson_spikes(rate: float) -> None:
    """Depression at low postsynaptic rates, potentiation at high ones; over the second half, when all traces have settled."""
    steps, pre_rate, scale = 8000, 20.0, 2e-5
    cells = Population("cells", LIF, 20)
    plain = Network(
        (cells,),
        (
            Projection("learn", "x", "cells", PULSE, quantity(np.zeros((60, 20)), "nA")),
            Projection("force", "y", "cells", PULSE, "9 nA", OneToOne()),
        ),
        (Input("x", 60), Input("y", 20)),
        dt="1 ms",
    )
    amplitudes = {"A2_minus": 0.5, "A3_minus": 0.5, "A2_plus": 10.0, "A3_plus": 10.0}
    constants = {n: str(a * scale) for n, a in amplitudes.items()}
    free = triplet.attach(plain, "learn", w_max="3 nA", **constants)
    random = np.random.default_rng(0)
    x, y = random.random((1, steps, 60)) < pre_rate * 1e-3, random.random((1, steps, 20)) < rate * 1e-3
    # weights far from both bounds that drive nothing: the cells' resistance is turned down, and the force up
    given = {"learn.w": np.full((60, 20), W_MAX / 2), "force.w": np.full(20, 1.0), "cells.R": np.array(1.0)}
    half, program = steps // 2, backends.get("torch").compile(free)
    before = program.run(given, {"x": x[:, :half], "y": y[:, :half]}).final["learn.w"].mean()
    found = program.run(given, {"x": x, "y": y})
    post, pre = found.spikes["cells"][:, half:].mean() * 1e3, x[:, half:].mean() * 1e3
    drift = (found.final["learn.w"].mean() - before) / W_MAX / (half * 1e-3) / scale
    expected = pre * post * (0.25 * (1 + 0.025 * post) - 0.5 * (1 + 0.025 * pre))
    assert post == pytest.approx(rate, rel=0.1)
    assert drift == pytest.approx(expected, rel=0.15)
    assert np.sign(drift) == (1 if rate > 80 else -1)


def rates(rule: Plasticity, inputs: np.ndarray, start: np.ndarray, **constants: Any) -> np.ndarray:
    """Weights of one linear unit after a run."""
    cells = (Population("inputs", linear, inputs.shape[2]), Population("cells", linear, 1))
    feed = Projection("feed", "inputs", "cells", graded, quantity(start[:, None], ""))
    source = Input("x", inputs.shape[2], "current", "inputs.z")
    network = rule.attach(Network(cells, (feed,), (source,), dt="1 ms"), "feed", **constants)
    found = [backends.get(b).compile(network).run(inputs={"x": inputs}).final["feed.w"][0, :, 0] for b in PLASTIC]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-9)
    return found[0]


def test_oja_finds_the_first_principal_component() -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(4, 4)) @ np.diag([2.0, 0.7, 0.4, 0.2])
    x = (random.normal(size=(1, 3000, 4)) @ mixing.T) * 0.5
    found = rates(oja, x, np.full(4, 0.2), eta="0.005")
    first = np.linalg.eigh(np.cov(x[0].T))[1][:, -1]
    assert abs(found @ first) / np.linalg.norm(found) > 0.99
    assert np.linalg.norm(found) == pytest.approx(1, abs=0.05)


def test_bcm_selects_one_pattern() -> None:
    """Two patterns, equally frequent: the unit answers one with 1/p = 2 and the other with 0."""
    patterns = np.array([[1.0, 0.2], [0.2, 1.0]])
    x = patterns[np.random.default_rng(0).integers(0, 2, 6000)][None]
    found = rates(bcm, x, np.array([0.6, 0.5]), eta="0.005", share="0.02")
    answers = np.sort(patterns @ found)
    np.testing.assert_allclose(answers, [0, 2], atol=0.25)


@pytest.mark.parametrize("rule", [inhibitory, scaling])
def test_homeostasis_reaches_its_target_rate(rule: Plasticity) -> None:
    """Inhibition grows against a strong drive, or excitation is scaled down, to 20 Hz."""
    inhibit = Synapse("inhibit", "w : amp", on_pre="I_post -= w")
    feed = Projection("feed", "x", "cells", *((inhibit, "0.01 nA") if rule is inhibitory else (PULSE, "0.5 nA")))
    drive = Input("drive", 1, "current", "cells.I")
    plain = Network(
        (Population("cells", LIF, 4),), (feed,), (Input("x", 50, "poisson", rate="20 Hz"), drive), dt="1 ms"
    )
    constants = {"eta": "0.002"} if rule is inhibitory else {"eta": "0.5", "tau_rate": "0.3 s"}
    network = rule.attach(plain, "feed", w_max="5 nA", target="20 Hz", **constants)
    steps = 8000
    current = np.full((1, steps, 1), 0.4e-9 if rule is inhibitory else 0.0)
    found = backends.get("torch").compile(network).run(inputs={"drive": current}, steps=steps)
    first, last = (found.spikes["cells"][:, s].mean() * 1e3 for s in (slice(0, 300), slice(-3000, None)))
    assert first > 30
    assert last == pytest.approx(20, rel=0.15)


def test_reward_may_come_from_cells() -> None:
    """In the step in which they change: the weights are those of an input that brings the same signal, on every backend."""
    critic = Neuron("critic", "I : Hz\nd = I : Hz")
    feed = Projection("feed", "x", "cells", PULSE, Normal(quantity("1.5 nA"), quantity("0.3 nA")))
    plain = Network([Population("cells", LIF, 5)], [feed], [Input("x", 7, "poisson", rate="60 Hz")], dt="1 ms", seed=3)
    judge = (*plain.populations, Population("dopamine", critic, 1))
    with_critic = replace(plain, populations=judge, inputs=(*plain.inputs, Input("r", 1, "current", "dopamine.I")))
    by_cells = reward.attach(with_critic, "feed", w_max="3 nA", reward="dopamine.d")
    assert [p.name for p in by_cells.projections] == ["feed", "reward"] and len(by_cells.inputs) == 2
    signal = np.random.default_rng(1).normal(0, 20, (2, 150, 1))
    wanted = backends.get("reference").compile(reward.attach(plain, "feed", w_max="3 nA")).run(
        inputs={"reward": signal}, steps=150, batch=2
    ).final["feed.w"]  # fmt: skip
    assert np.abs(wanted - values(plain)["feed.w"]).max() > 1e-12
    for name in PLASTIC:
        found = backends.get(name).compile(by_cells).run(inputs={"r": signal}, steps=150, batch=2).final["feed.w"]
        assert np.abs(found - wanted).max() <= 1e-9 * np.abs(wanted).max()
    with pytest.raises(PlasticityError, match=r"no variable 'dopamine\.c'"):
        reward.attach(with_critic, "feed", w_max="3 nA", reward="dopamine.c")
    two = replace(with_critic, populations=(judge[0], Population("dopamine", critic, 2)))
    with pytest.raises(PlasticityError, match="'dopamine' has 2 cells and 'cells' 5"):
        reward.attach(two, "feed", w_max="3 nA", reward="dopamine.d")


def test_reward_turns_marks_into_weight() -> None:
    """A pair 5 ms apart marks the synapse; a constant reward of 1/s moves w by the mark's integral."""
    found = forced(reward, [[45], [60]], [50], 300)
    steps = np.arange(1, 300 - 50)
    up = np.exp(-5 / 20) * np.exp(-steps * 1e-3).sum() * 1e-3
    assert found[0] == pytest.approx(up, rel=1e-6)
    assert found[1] == pytest.approx(-W_MAX / 60 / W_MAX)  # depressed to its bound
    silent = poisson(reward)
    run = backends.get("reference").compile(silent).run(inputs={"reward": np.zeros((1, 200, 1))}, steps=200)
    np.testing.assert_array_equal(run.final["feed.w"][0], values(silent)["feed.w"])


def test_mistakes_are_named() -> None:
    plain = Digits(steps=5, hidden=4).network(0)
    with pytest.raises(PlasticityError, match="no projection 'feed'; known: pixels_to_hidden"):
        stdp.attach(plain, "feed", w_max="1 nA")
    with pytest.raises(PlasticityError, match="no constant 'A_pluss'"):
        stdp.attach(plain, "pixels_to_hidden", w_max="1 nA", A_pluss="1")
    with pytest.raises(PlasticityError, match="needs w_max"):
        stdp.attach(plain, "pixels_to_hidden")
    with pytest.raises(learning.UnknownRuleError, match="name the projection"):
        learning.get("stdp")


def test_as_a_rule_it_continues_where_it_stopped() -> None:
    task = Digits(steps=10, hidden=8)
    rule = learning.get("stdp", projection="pixels_to_hidden", w_max="2 nA", A_plus="0.02", A_minus="0.021")
    network = rule.attach(task.network(0))
    program = backends.get("torch").compile(network)
    batch = next(iter(task.train_batches(np.random.default_rng(0), 4)))
    start = {n: np.maximum(v, 0) if n == "pixels_to_hidden.w" else v for n, v in values(network).items()}

    def learn(stop: int | None) -> Any:
        state, now = rule.init(program), start
        for i in range(3):
            if i == stop:
                state = rule.load(program, rule.save(state))
            now, state, metrics = rule.step(program, now, state, batch, task)
        assert state == {"updates": 3} and metrics["gradient_norm"] > 0
        return now["pixels_to_hidden.w"]

    np.testing.assert_array_equal(learn(None), learn(1))
    assert not np.array_equal(learn(None), start["pixels_to_hidden.w"])
    with pytest.raises(UnsupportedError, match="plastic"):
        rule.init(backends.get("snntorch").compile(task.network(0)))
