"""Word evidence: statistics of phrases and weights, delay, starts of trials, and gradients through the units on both backends that have them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import learning
from neuro.compiler.parameters import values
from tasks.word_evidence import EOS, NULL

SMALL: dict[str, Any] = {"units": 8, "words": 4, "word_steps": 20, "dt": 0.2}


def said(task: Any, inputs: np.ndarray) -> np.ndarray:
    """Words [trial, word] from the channels."""
    apart = np.abs(inputs[:, :: task.word_steps, None] - task.patterns).sum(-1)
    assert (apart.min(-1) == 0).all() and (np.abs(np.diff(inputs, axis=1)).sum(-1) > 0).mean() < 1 / task.word_steps
    return apart.argmin(-1)


def test_numbers_of_words_are_uniform_over_all_that_have_a_winner() -> None:
    task = tasks.get("word-evidence", words=4)
    found, times = np.unique(task.counts(np.random.default_rng(0), 60_000), axis=0, return_counts=True)
    ranked = ((n, sorted(n[:3])) for n in product(range(5), repeat=4) if sum(n) == 4)
    wanted = sorted(n for n, evidence in ranked if evidence[-1] > evidence[-2])
    assert found.tolist() == [list(n) for n in wanted]
    np.testing.assert_allclose(times / times.mean(), 1, atol=5 / np.sqrt(times.mean()))


@pytest.mark.parametrize("delay", [0, 3])
def test_a_phrase_is_shuffled_words_then_the_delay_then_the_end(delay: int) -> None:
    task = tasks.get("word-evidence", delay=delay, **SMALL)
    batch = task.sample(np.random.default_rng(1), 500)
    words = said(task, batch.inputs["x"])
    assert words.shape == (500, 4 + delay + 1) and (words[:, -1] == EOS).all() and (words[:, 4:-1] == NULL).all()
    counts = (words[:, :4, None] == np.arange(3)).sum(1)
    np.testing.assert_array_equal(counts.argmax(1), batch.targets)
    assert np.abs(np.bincount(batch.targets) / 500 - 1 / 3).max() < 0.1
    first = (words[:, 0, None] == np.arange(4)).mean(0)  # no word has a place of its own
    np.testing.assert_allclose(first, (words[:, 3, None] == np.arange(4)).mean(0), atol=0.1)


def test_initial_weights_have_the_published_moments() -> None:
    task = tasks.get("word-evidence", units=128, words=49, dt=0.1)
    found = values(task.network(3))
    feed, loop, readout = (found[f"{n}.w"] for n in ("feed", "loop", "readout"))
    assert feed.shape == (50, 128) and loop.shape == (128, 128) and readout.shape == (128, 3) and task.steps == 2000
    for weights, mean, std in ((feed, 0.1, 0.051), (loop, 0.001, 0.0455), (readout, 0.1, 0.051)):
        assert weights.mean() == pytest.approx(mean, abs=4 * std / np.sqrt(weights.size))
        assert weights.std() == pytest.approx(
            std, rel=0.005 + 4 * np.sqrt(0.2 / weights.size)
        )  # of a uniform distribution
    assert (loop == 0.001).mean() == pytest.approx(0.2, abs=0.01)
    strong = values(tasks.get("word-evidence", units=128, words=49, dt=0.1, coupling=5.0).network(3))
    np.testing.assert_allclose(strong["loop.w"], 5 * loop, rtol=1e-15)


def test_every_trial_begins_elsewhere() -> None:
    task = tasks.get("word-evidence")
    batch = task.sample(np.random.default_rng(2), 100)
    v = batch.state.variables["cells.v"]
    assert (
        v.shape == (100, 64)
        and v.mean() == pytest.approx(-20e-3, abs=0.3e-3)
        and v.std() == pytest.approx(5e-3, rel=0.05)
    )
    program, first = backends.get("auto").compile(task.network(0)), batch.inputs["x"][:, :1]
    moved = program.run(inputs={"x": first}, record=["cells.v"], state=batch.state).traces["cells.v"][:, 0] - v
    assert 0 < np.abs(moved).max() < 3e-3


@pytest.mark.parametrize("name", ["brian2", "torch", "native"])
def test_backends_agree_on_the_loss(name: str) -> None:
    task = tasks.get("word-evidence", **SMALL)
    batch, found = task.sample(np.random.default_rng(3), 3), {}
    for backend in ("reference", name):
        program = backends.get(backend).compile(task.network(0))
        found[backend] = program.run(inputs=batch.inputs, record=("output.y", "cells.v"), state=batch.state).traces
    for trace, expected in found["reference"].items():
        np.testing.assert_allclose(found[name][trace], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["torch", "native"])
def test_the_gradient_is_the_slope_of_the_loss(name: str) -> None:
    task = tasks.get("word-evidence", **SMALL)
    program: Any = backends.get(name).compile(task.network(0))
    batch, now = task.sample(np.random.default_rng(4), 3), dict(values(program.network))
    trained = ("*.w", "output.bias")
    slope = learning.get("bptt", trainable=trained).gradient(program, now, batch, task)
    truth = learning.get("finite-differences", sigma=1e-5, trainable=trained).gradient(program, now, batch, task)
    for parameter, true in truth.items():
        np.testing.assert_allclose(slope[parameter], true, rtol=0, atol=2e-4 * np.abs(true).max(), err_msg=parameter)


@pytest.mark.parametrize("options", [{"words": 0}, {"delay": -1}, {"dt": 0.0}, {"words": 1, "word_steps": 1}])
def test_phrases_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=next(iter(options))):
        tasks.get("word-evidence", **options)
