"""Options of rules that only change how far or where a step goes, each against the plain formula."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import learning, quantity
from neuro.compiler import streams
from neuro.compiler.parameters import parameters, values
from neuro.language.units import Quantity
from neuro.learning.common.parametrisation import ParameterError, Parametrisation
from neuro.learning.search.search_space import SearchSpace
from neuro.learning.traces.eligibility import by_traces
from neuro.learning.traces.trial import run_trial
from tests.learning.test_rules import Tiny, TinyRecurrent

NANO = 1e-9


def one_update(
    name: str, task: Any = None, inputs: Any = None, **options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights before and after one update on the tiny task, in nA."""
    task = task or Tiny()
    batch = task.batch() if inputs is None else replace(task.batch(), inputs=inputs)
    program = backends.get("torch").compile(task.network(0))
    rule = learning.get(name, **options)
    before = dict(values(program.network))
    after, _, _ = rule.step(program, before, rule.init(program), batch, task)
    first, last = ({n: np.asarray(v) / NANO for n, v in d.items() if n.endswith(".w")} for d in (before, after))
    return first, last


def test_clip_bounds_the_norm_of_a_step_and_weight_decay_adds_to_it() -> None:
    plain, clipped, decayed = (
        {"optimiser": "sgd", "learning_rate": 1.0, **more} for more in ({}, {"clip": 1e-3}, {"weight_decay": 0.25})
    )
    before, after = one_update("bptt", **plain)
    step = after["feed.w"] - before["feed.w"]
    assert np.linalg.norm(step) > 2e-3
    _, found = one_update("bptt", **clipped)
    np.testing.assert_allclose(found["feed.w"] - before["feed.w"], step * 1e-3 / np.linalg.norm(step), rtol=1e-5)
    _, found = one_update("bptt", **decayed)
    np.testing.assert_allclose(found["feed.w"] - before["feed.w"], step - 0.25 * before["feed.w"], rtol=1e-6)


@pytest.mark.parametrize("name", ["wp0", "hybrid"])
def test_decay_multiplies_what_an_update_left(name: str) -> None:
    _, plain = one_update(name, sigma=1e-3, learning_rate=0.05)
    _, found = one_update(name, sigma=1e-3, learning_rate=0.05, decay=0.1)
    np.testing.assert_allclose(found["feed.w"], 0.9 * plain["feed.w"], rtol=1e-12)


def silent_channel() -> dict[str, Any]:
    spikes = Tiny().batch().inputs["x"].copy()
    spikes[:, :, 2] = False
    return {"x": spikes}


@pytest.mark.parametrize(("name", "stays"), [("wp0", True), ("hybrid", True), ("wp", False)])
def test_synapses_without_activity_stay(name: str, stays: bool) -> None:
    """Zuege et al. (2023): what sets wp0 and hybrid apart from weight perturbation."""
    before, after = one_update(name, inputs=silent_channel(), sigma=1e-3, learning_rate=0.05)
    moved = np.abs(after["feed.w"] - before["feed.w"]) > 0
    assert moved[[0, 1, 3, 4, 5]].all() and moved[2].any() != stays


def test_hybrid_credits_what_its_weights_did_to_the_sum() -> None:
    task, sigma = Tiny(), 1e-3
    network, batch = task.network(0), task.batch()
    program = backends.get("reference").compile(network)
    start = values(network)["feed.w"]
    move = (
        sigma
        * streams.generator(network.seed, "rule/hybrid", 4).standard_normal(start.size).reshape(start.shape)
        * NANO
    )

    def loss(weights: Any) -> float:
        found = program.run({"feed.w": weights}, batch.inputs, ["cells.v"])
        return float(task.loss({}, {"cells.v": torch.from_numpy(found.traces["cells.v"])}, batch))

    x, expected = batch.inputs["x"].astype(float), np.zeros_like(start)
    for b in range(x.shape[0]):
        for k in range(1, x.shape[1]):
            expected += np.outer(x[b, k - 1], x[b, k - 1] @ move)
    expected *= (loss(start + move) - loss(start)) / (sigma * NANO) ** 2
    found = learning.get("hybrid", sigma=sigma).gradient(program, values(network), batch, task, 4)
    np.testing.assert_allclose(found["feed.w"], expected, rtol=1e-6)


def test_sign_feedback_has_the_readouts_signs_and_the_size_of_random_feedback() -> None:
    task = TinyRecurrent()
    program = backends.get("torch").compile(task.network(0), surrogate="triangle")
    rule, start = learning.get("eprop", feedback="sign", feedback_std=3 * NANO), values(program.network)
    drawn = rule.memory(program)["out"]
    feedback = np.sqrt(np.mean(drawn**2)) * np.sign(start["out.w"])
    expected = by_traces(run_trial(program, start, task.batch(), task, {"out": feedback}), ["feed", "loop"])
    found = rule.gradient(program, start, task.batch(), task)
    for name, slope in expected.items():
        assert np.abs(slope).max() > 0
        np.testing.assert_allclose(found[name], slope, rtol=1e-9, atol=1e-12 * np.abs(slope).max())
    assert np.std(drawn) == pytest.approx(3 * NANO, rel=0.3)


def test_the_last_pattern_of_sigma_that_fits_counts() -> None:
    program = backends.get("reference").compile(TinyRecurrent().network(0))
    space = SearchSpace.of(program, ("*.w",))
    sizes = {n: values(program.network)[n].size for n in space.names}
    found = space.scale({"*": 0.5, "loop.*": 0.25})
    expected = np.concatenate([np.full(sizes[n], 0.25 if n == "loop.w" else 0.5) for n in space.names])
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ParameterError, match=r"'feed\.w' has no positive sigma"):
        space.scale({"loop.*": 0.25})


def test_a_second_program_has_the_last_word_on_the_best_candidates() -> None:
    task = Tiny()
    network, batch = task.network(0), task.batch()
    slow = replace(network, populations=tuple(replace(p, parameters={"tau_m": "30 ms"}) for p in network.populations))
    first, second = (backends.get("reference").compile(n) for n in (network, slow))
    rule = learning.get("snes", confirm=second, elite=2)
    state = rule.init(first)
    candidates, _ = rule.search.ask(state.search)
    weights = state.space.arrays(candidates)["feed.w"]

    def losses(program: Any) -> np.ndarray:
        runs = [program.run({"feed.w": w}, batch.inputs, ["cells.v"]).traces["cells.v"] for w in weights]
        return np.array([float(task.loss({}, {"cells.v": torch.from_numpy(v)}, batch)) for v in runs])

    plain, again = losses(first), losses(second)
    best = np.argsort(plain, kind="stable")[:2]
    told = plain.copy()
    told[best] = again[best]
    _, after, metrics = rule.step(first, values(network), state, batch, task)
    assert metrics["disagreement"] == pytest.approx(np.abs(again - plain)[best].max())
    assert metrics["loss"] == pytest.approx(told.mean()) and metrics["best_loss"] == pytest.approx(told.min())
    np.testing.assert_array_equal(after.best_vector, candidates[np.argmin(told)])


@pytest.mark.parametrize(("low", "high"), [("0.5 nA", None), (None, "3 nA"), ("0.5 nA", "3 nA"), (None, None)])
def test_free_numbers_come_back_as_the_values_they_were_made_of(low: str | None, high: str | None) -> None:
    """Also close to a bound, where a smooth map is far from the identity."""
    network = Tiny().network(0)
    start = np.linspace(0.5001, 2.9999, 18).reshape(6, 3) * NANO
    feed = replace(
        network.projections[0], bounds=(low, high), weights=Quantity(start, quantity("1 nA").dimension, "nA")
    )
    maps = Parametrisation.of(parameters(replace(network, projections=(feed,))), ["feed.w"])
    theta = maps.free(dtype=torch.float64)
    np.testing.assert_allclose(maps.arrays(theta)["feed.w"], start, rtol=1e-9)
    for move in (-50.0, 50.0):
        far = maps.arrays({n: t + move for n, t in theta.items()})["feed.w"]
        assert low is None or far.min() >= 0.5 * NANO * (1 - 1e-12)
        assert high is None or far.max() <= 3 * NANO * (1 + 1e-12)


LEAKS = ("5 ms", None), (None, "100 ms"), ("5 ms", "100 ms"), (None, None)


def leaky(bounds: tuple[str | None, str | None]) -> Any:
    """The tiny network with a time constant a cell, within bounds."""
    network = Tiny().network(0)
    cells = replace(network.populations[0], parameters={"tau_m": quantity([8.0, 20.0, 60.0], "ms")})
    return replace(network, populations=(replace(cells, neuron=replace(cells.neuron, bounds={"tau_m": bounds})),))


@pytest.mark.parametrize("bounds", LEAKS)
def test_logarithms_move_by_factors_and_stay_within_bounds(bounds: tuple[str | None, str | None]) -> None:
    """Without bounds a step of the free number is a factor, the same for every cell; 0 is out of reach in any case."""
    maps = Parametrisation.of(parameters(leaky(bounds)), ["cells.tau_m"], ["cells.*"])
    theta = maps.free(dtype=torch.float64)
    start = maps.arrays(theta)["cells.tau_m"]
    np.testing.assert_allclose(start, [8e-3, 20e-3, 60e-3], rtol=1e-9)
    low, high = (None if b is None else quantity(b).value for b in bounds)
    for move in (-50.0, 50.0):
        far = maps.arrays({n: t + move for n, t in theta.items()})["cells.tau_m"]
        assert far.min() >= (1 - 1e-12) * (low or 0) and far.max() <= (1 + 1e-12) * (high or np.inf) and far.min() > 0
    if bounds == (None, None):
        halved = maps.arrays({n: t - np.log(2) for n, t in theta.items()})["cells.tau_m"]
        np.testing.assert_allclose(halved, start / 2, rtol=1e-9)


def test_what_has_no_logarithm_is_refused_by_name() -> None:
    declared = parameters(leaky((None, None)))
    with pytest.raises(
        ParameterError, match=r"'feed\.w' can't be trained through its logarithm: it may become negative"
    ):
        Parametrisation.of(declared, ["*.w"], ["feed.w"])
    nothing = replace(declared["feed.w"], given=np.zeros((6, 3)), sign="+")
    with pytest.raises(ParameterError, match=r"'feed\.w' can't be trained .*: it has values of 0"):
        Parametrisation.of({"feed.w": nothing}, ["*.w"], ["feed.w"])
    with pytest.raises(ParameterError, match=r"there is no parameter 'cells\.tau'; did you mean 'cells\.tau_m'"):
        Parametrisation.of(declared, ["*.w"], ["cells.tau"])


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_each_time_constant_learns_by_its_logarithm_at_a_rate_of_its_own(backend: str) -> None:
    """One step of gradient descent, against the chain rule: d loss / d log(tau) = tau d loss / d tau."""
    task = Tiny()
    program: Any = backends.get(backend).compile(leaky((None, None)))
    options: dict[str, Any] = {"optimiser": "sgd", "learning_rate": 0.05, "trainable": ("feed.w", "cells.tau_m")}
    rule = learning.get("bptt", logarithmic=("cells.tau_m",), learning_rates={"cells.*": 0.01}, **options)
    before = dict(values(program.network))
    slopes = rule.gradient(program, before, task.batch(), task)
    after, state, _ = rule.step(program, before, rule.init(program), task.batch(), task)
    tau = before["cells.tau_m"]
    np.testing.assert_allclose(np.log(after["cells.tau_m"] / tau), -0.01 * tau * slopes["cells.tau_m"], rtol=1e-8)
    step = (after["feed.w"] - before["feed.w"]) / NANO
    np.testing.assert_allclose(step, -0.05 * NANO * slopes["feed.w"], rtol=1e-8)
    assert np.abs(slopes["cells.tau_m"]).min() > 0
    again = rule.load(program, rule.save(state))
    assert [g["lr"] for g in again.optimiser.param_groups] == [0.05, 0.01]


def test_the_last_rate_that_fits_counts_and_one_for_nothing_is_refused() -> None:
    program = backends.get("torch").compile(leaky((None, None)))
    rule = learning.get("bptt", trainable=("feed.w", "cells.tau_m"), learning_rates={"*": 0.2, "feed.w": 0.3})
    assert [g["lr"] for g in rule.init(program).optimiser.param_groups] == [0.3, 0.2]
    with pytest.raises(ParameterError, match=r"there is no parameter 'cells\.tau'"):
        learning.get("bptt", learning_rates={"cells.tau": 0.2}).init(program)
    with pytest.raises(learning.UnknownRuleError, match=r"learning_rates: 'feed\.w' has the rate -1"):
        learning.get("bptt", learning_rates={"feed.w": -1.0})


def test_options_for_a_parameter_that_is_not_trained_leave_the_others_alone() -> None:
    """As a control takes a task's own settings, and trains fewer."""
    options = {"logarithmic": ("cells.tau_m",), "learning_rates": {"cells.tau_m": 0.5}, "learning_rate": 0.05}
    (_, plain), (_, found) = (one_update("bptt", learning_rate=0.05), one_update("bptt", **options))
    np.testing.assert_array_equal(found["feed.w"], plain["feed.w"])
