"""Cue accumulation: what a trial is, and the networks that learn it, against the published order of a step written down in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro.compiler.parameters import values
from tasks.cue_accumulation import CUE, GAP, RECALL
from tasks.plastic_networks import FORMS
from tests.backends.able import able

Array = np.ndarray
PLASTIC = [f for f in FORMS if "-" in f]
BETA = np.exp(-1 / 5)


def groups(task: Any, trials: int, seed: int = 0) -> tuple[Array, Array]:
    """Spikes a channel and step by group [trial, step, group], and the targets."""
    batch = task.sample(np.random.default_rng(seed), trials)
    x = batch.inputs["x"]
    assert x.shape == (trials, task.steps + 1, 40) and set(np.unique(x)) == {0, 1} and not x[:, -1].any()
    return x[:, :-1].reshape(trials, task.steps, 4, 10).mean(axis=3), batch.targets


@pytest.mark.parametrize(("noise", "delay"), [(0.0, 20), (0.2, 5)])
def test_probabilities_of_spikes(noise: float, delay: int) -> None:
    task = tasks.get("cue-accumulation", noise=noise, delay=delay)
    assert task.steps == 5 * 7 + delay + 6
    found, _ = groups(task, 2000)
    mean = found.mean(axis=0)
    shown = np.tile(np.arange(CUE + GAP) < CUE, 5)
    expected = np.full((task.steps, 4), noise)
    expected[: len(shown), :2] += np.where(shown, 0.2, 0.0)[:, None]  # half of the cues are on a side
    expected[-RECALL:, 2] += 0.4
    expected[:, 3] += 0.1
    np.testing.assert_allclose(mean, expected, atol=0.02)


def test_each_trial_may_have_noise_of_its_own() -> None:
    """In the delay, where left and right have nothing else: uniform from 0.1 to 0.3."""
    task = tasks.get("cue-accumulation", noise=0.2, spread=0.1, delay=500)
    found, _ = groups(task, 300)
    noise = found[:, 40:500, :2].mean(axis=(1, 2))
    assert noise.mean() == pytest.approx(0.2, abs=0.02)
    assert noise.std() == pytest.approx(0.2 / np.sqrt(12), rel=0.1)
    assert 0.09 < noise.min() < 0.12 and 0.28 < noise.max() < 0.31


def test_targets_are_the_sides_with_more_cues() -> None:
    found, targets = groups(tasks.get("cue-accumulation", noise=0.0, cues=7), 400)
    cues = found[:, : 7 * (CUE + GAP)].reshape(400, 7, CUE + GAP, 4)[:, :, :CUE].sum(axis=2)
    assert ((cues[..., 0] > 0) != (cues[..., 1] > 0)).mean() > 0.999  # one side a cue
    np.testing.assert_array_equal((cues[..., 1] > cues[..., 0]).sum(axis=1) > 3, targets)
    assert 0.4 < targets.mean() < 0.6


def by_hand(form: str, v: dict[str, Array], x: Array) -> dict[str, Array]:
    """The recipe's step for one trial x [step, input]; what a step changes in rho is sent from the step after the next one on."""
    pre, post = v["feed.w"].shape
    u, s, left, right, theta = np.zeros(post), np.zeros(post), np.zeros(pre), np.zeros(post), np.zeros(post)
    rho = sent = np.zeros((pre, post))
    found: dict[str, list[Array]] = {"s": [], "rho": [], "x": []}
    for given in x:
        total = given @ (v["feed.w"] + v["feed.alpha"] * sent if "-" in form else v["feed.w"])
        total = total + (s @ v["loop.w"] if form == "recurrent" else 0)
        u = BETA * u + 0.3 * total - s
        s = (u > 1).astype(float)
        left, right = BETA * left + (1 - BETA) * given, BETA * right + (1 - BETA) * s
        sent = rho
        if "-" in form:
            rate = v.get("feed.rate")
            if rate is None:
                rate = np.tanh(np.tanh(right @ v["hear.w"] + v["modulator.bias"]) @ v["fan.w"] + v["gates.bias"])
            if form.endswith("oja"):
                change = right * (left[:, None] - right * rho)
            else:
                theta = 0.98 * theta + 0.02 * right**2
                change = 4 * left[:, None] * right * (right - theta)
            rho = np.clip(rho + 4 * rate * change, -1, 1)
        for name, value in (("s", s), ("rho", rho), ("x", right)):
            found[name].append(value)
    return {n: np.array(a) for n, a in found.items()}


@pytest.mark.parametrize("backend", able("plasticity"))
@pytest.mark.parametrize("form", FORMS)
def test_networks_follow_the_recipe_with_the_same_spikes(form: str, backend: str) -> None:
    task = tasks.get("cue-accumulation", form=form, hidden=12)
    batch, network = task.sample(np.random.default_rng(1), 2), task.network(3)
    given = dict(values(network))
    given["feed.w"] = 3 * given["feed.w"]  # enough spikes
    if "-" in form:
        given["feed.alpha"] = 10 * given["feed.alpha"]
    if "feed.rate" in given:
        given["feed.rate"] = np.array(0.8)
    elif "gates.bias" in given:
        given["gates.bias"] = np.linspace(-1.5, 2.0, 12)
    record = ["output.y", *(["feed.rho"] if "-" in form else [])]
    run = backends.get(backend).compile(network).run(given, batch.inputs, record)
    for trial in range(2):
        wanted = by_hand(form, given, batch.inputs["x"][trial])
        assert wanted["s"].sum() > 50
        np.testing.assert_array_equal(run.spikes["cells"][trial], wanted["s"])
        y = 10 * wanted["x"] @ given["readout.w"] + given["output.bias"]
        np.testing.assert_allclose(run.traces["output.y"][trial, 1:], y[:-1], rtol=0, atol=1e-9)
        if "-" in form:
            rho = run.traces["feed.rho"][trial].reshape(wanted["rho"].shape)
            assert np.abs(wanted["rho"]).max() > 0.1
            np.testing.assert_allclose(rho[1:], wanted["rho"][:-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", PLASTIC)
def test_without_alpha_a_plastic_network_is_the_static_one(form: str) -> None:
    task = tasks.get("cue-accumulation", form=form)
    batch, network = task.test_batch(), task.network(0)
    given = dict(values(network))
    static = tasks.get("cue-accumulation", form="static").network(0)
    silenced = {**given, "feed.alpha": 0 * given["feed.alpha"]}
    same = {n: given[n] for n in values(static)}
    program = backends.get("auto").compile(network)
    found = [program.run(p, batch.inputs).spikes["cells"] for p in (silenced, given)]
    wanted = backends.get("auto").compile(static).run(same, batch.inputs).spikes["cells"]
    assert wanted.mean() > 0.01
    np.testing.assert_array_equal(found[0], wanted)
    assert (found[1] != wanted).any()


@pytest.mark.parametrize("form", FORMS)
def test_native_and_torch_give_the_same_gradient_of_all_that_is_trained(form: str) -> None:
    from neuro import learning

    task = tasks.get("cue-accumulation", form=form, hidden=8)
    batch, options = task.sample(np.random.default_rng(2), 4), task.settings.rules["bptt"]
    found = []
    for backend in ("native", "torch"):
        program = backends.get(backend).compile(
            task.network(1), **{**task.settings.for_backend(backend), "dtype": "float64"}
        )
        found.append(learning.get("bptt", **options).gradient(program, values(program.network), batch, task))
    expected = {"feed.w", "readout.w", "output.bias"}
    expected |= {"static": set(), "recurrent": {"loop.w"}}.get(form, {"feed.alpha"})
    expected |= {"dp": {"feed.rate"}, "ndp": {"hear.w", "fan.w", "modulator.bias", "gates.bias"}}.get(
        form[: form.find("-")], set()
    )
    assert set(found[0]) == expected
    for name, slope in found[0].items():
        assert np.abs(slope).max() > 0
        np.testing.assert_allclose(slope, found[1][name], rtol=1e-9, atol=1e-9 * np.abs(slope).max(), err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {"form": "ndp"},
        {"noise": 1.5},
        {"spread": 0.1},
        {"spread": -0.1},
        {"delay": -1},
        {"cues": 4},
        {"hidden": 0},
        {"cues": -1},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=next(iter(options))):
        tasks.get("cue-accumulation", **options)
