"""Measures of gradient estimates, and audits that name planted defects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import learning
from neuro.analysis import gradients as ga
from neuro.compiler.parameters import values
from neuro.learning.audit import Audit
from neuro.learning.gradient.bptt import BPTT
from neuro.learning.traces.eprop import EProp
from tests.learning.test_eligibility import setting


def test_measures_of_known_vectors() -> None:
    found = ga.measure(np.array([3.0, 4.0, 0.0]), np.array([3.0, -4.0, 0.0]))
    assert found.cosine == pytest.approx(-7 / 25)
    assert found.norm_ratio == pytest.approx(1)
    assert found.projection == pytest.approx(-7 / 25)
    assert found.sign_agreement == pytest.approx(0.5)
    assert found.deviation == pytest.approx(8 / 5)
    assert np.isnan(ga.measure(np.ones(2), np.zeros(2)).cosine)


def test_by_parameter_and_over_all() -> None:
    truth = {"a": np.array([1.0, 0.0]), "b": np.array([[2.0]])}
    found = ga.measures({"a": np.array([0.0, 1.0]), "b": np.array([[2.0]])}, truth)
    assert found["a"].cosine == pytest.approx(0) and found["b"].deviation == pytest.approx(0)
    assert found[ga.ALL].cosine == pytest.approx(4 / 5)
    np.testing.assert_allclose(ga.alignment({"x": truth, "y": {n: -v for n, v in truth.items()}}), [[1, -1], [-1, 1]])


def test_bias_and_noise_of_draws() -> None:
    """Unit noise on a gradient of norm 2 in 50 dimensions: cosine of the mean grows, variance is 50/4."""
    random, truth = np.random.default_rng(0), {"w": np.full(50, 2 / np.sqrt(50))}
    draws = [{"w": truth["w"] + random.standard_normal(50)} for _ in range(400)]
    found = ga.spread(draws, truth)
    assert found.projection == pytest.approx(1, abs=0.1)
    assert found.variance == pytest.approx(50 / 4, rel=0.1)
    assert found.mean_of_cosines < 0.4 < 0.95 < found.cosine_of_mean
    assert found.needed is not None and 10 < found.needed < 200
    biased = ga.spread([{"w": d["w"] * 0.5} for d in draws], truth)
    assert biased.projection == pytest.approx(0.5, abs=0.1)


def audit(program: Any, task: Any, batch: Any, truth: Any = None, **rules: Any) -> tuple[str, ...]:
    return Audit(program, task, rules, truth=truth).look(values(program.network), batch).problems


def test_a_sound_comparison_has_no_problems() -> None:
    _, program, task, batch = setting("lif, subtractive reset")
    assert audit(program, task, batch, eprop=learning.get("eprop"), rtrl=learning.get("rtrl")) == ()


class _NoSurrogate(BPTT):
    def gradient(self, program: Any, *args: Any, **options: Any) -> Any:
        return super().gradient(program.variant(detached=("loop", "read")), *args, **options)


class _Bypassed(EProp):
    def gradient(self, *args: Any, **options: Any) -> Any:
        return BPTT().gradient(*args, **options)


def test_planted_surrogate_off() -> None:
    _, program, task, batch = setting("lif")
    found = audit(program, task, batch, truth=_NoSurrogate(), eprop=learning.get("eprop"))
    assert any("'feed.w' is exactly 0: no surrogate" in p for p in found)


def test_planted_wrong_detach() -> None:
    network, _, task, batch = setting("lif, subtractive reset")
    program = backends.get("torch").compile(network, surrogate="triangle", detach_reset=False)
    program.semantics = replace(program.semantics, detach_reset=True)
    (found,) = audit(program, task, batch, rtrl=learning.get("rtrl"))
    assert "declared detached" in found and "it is not detached" in found


def test_planted_bypassed_trace() -> None:
    _, program, task, batch = setting("lif")
    (found,) = audit(program, task, batch, eprop=_Bypassed())
    assert "rule 'eprop' deviates" in found and "its trace is bypassed" in found


@pytest.mark.parametrize(("factor", "message"), [(0.0, "'hidden' is silent"), (1e3, "fires in")])
def test_a_network_that_is_not_alive(factor: float, message: str) -> None:
    network, program, task, batch = setting("lif")
    weights = {
        n: v * factor if n != "feed.w" else np.abs(v) * factor for n, v in values(network).items() if n.endswith(".w")
    }
    batch = replace(batch, inputs={"x": np.ones_like(batch.inputs["x"])})
    found = Audit(program, task, {"eprop": learning.get("eprop")}).look({**values(network), **weights}, batch).problems
    assert any(message in p for p in found)


def test_along_training_the_driver_learns_and_others_watch() -> None:
    _, program, task, batch = setting("rates")
    watch = Audit(program, task, {"eprop": learning.get("eprop"), "uoro": learning.get("uoro")}, draws=5)
    watch.along(learning.get("bptt", learning_rate=0.01), [batch] * 5, 2, lambda *_: None)
    assert [s.update for s in watch.snapshots] == [0, 2, 4]
    assert set(watch.snapshots[0].spreads) == {"uoro"}
    first, last = watch.snapshots[0].truth["loop.w"], watch.snapshots[-1].truth["loop.w"]
    assert not np.allclose(first, last)
