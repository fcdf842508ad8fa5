"""Distances to a closed curve, and the adjoints in numpy against finite differences and against both differentiable backends."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import tasks
from tasks.trajectory import DT, FINE, PERIOD, curve, distances
from twinspike.models.trajectory_adjoint import Rates, of_equations, of_steps
from twinspike.studies.pearlmutter import apart, by_autograd, drawn

PARTS = tuple(f.name for f in fields(Rates))
whichever = pytest.mark.parametrize("which", ["circle", "eight"])


def test_distances_of_a_larger_circle_and_of_half_of_one() -> None:
    phase = 2 * np.pi * np.arange(PERIOD) / PERIOD
    mean, gap = distances("circle", 0.5 + 1.1 * (curve("circle", phase) - 0.5))
    half = np.pi / PERIOD  # from a point of the run to the middle between two, which the curve's points hold
    assert FINE % 2 == 0
    assert mean == pytest.approx(0.03, rel=1e-12)
    assert gap == pytest.approx(np.sqrt(0.33**2 + 0.3**2 - 2 * 0.33 * 0.3 * np.cos(half)), rel=1e-12)
    mean, gap = distances("circle", curve("circle", phase[: PERIOD // 2 + 1]))
    assert mean == pytest.approx(0, abs=1e-15)
    assert gap == pytest.approx(0.3 * np.sqrt(2), rel=1e-12)  # from the bottom to either end


@whichever
def test_curves_close_and_stay_within_the_range_of_a_logistic_unit(which: str) -> None:
    points = curve(which, np.linspace(0, 2 * np.pi, 1001))
    np.testing.assert_allclose(points[0], points[-1], atol=1e-15)
    assert 0.1 < points.min() < points.max() < 0.9
    task = tasks.get("trajectory", which=which)
    first = next(iter(task.train_batches(np.random.default_rng(0), 1)))
    np.testing.assert_allclose(first.targets[0, PERIOD - 1], curve(which, np.zeros(())), atol=1e-15)
    assert first.mask is not None and first.mask[0].argmax() == 39 and first.mask.shape == (1, 2 * PERIOD)
    assert task.test_batch().mask[0].sum() == 3 * PERIOD


def test_an_unknown_curve_is_refused_by_name() -> None:
    with pytest.raises(tasks.UnknownTaskError, match="which 'circel'; use one of circle, eight"):
        tasks.get("trajectory", which="circel")
    with pytest.raises(tasks.UnknownTaskError, match="hidden=-1; give 0 or more units"):
        tasks.get("trajectory", hidden=-1)


def test_the_network_starts_on_the_curve_with_bounded_time_constants() -> None:
    network = tasks.get("trajectory", which="eight", hidden=3).network(2)
    (units,) = network.populations
    assert units.size == 5
    np.testing.assert_array_equal(units.initial["x"].value, 0.5)  # the figure eight begins where it crosses itself
    assert [q.value for q in units.neuron.bounds["tau"]] == pytest.approx([5e-3, 0.1])
    circle = tasks.get("trajectory").network(0).populations[0]
    np.testing.assert_allclose(circle.initial["x"].value, [0.8, 0.5, 0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("part", PARTS)
def test_the_discrete_adjoint_is_the_slope_of_the_error(part: str) -> None:
    _, rates, error = drawn("circle", 5)
    _, found = of_steps(rates, error, DT)
    value, slope = getattr(rates, part), getattr(found, part)
    for at in (np.unravel_index(np.abs(slope).argmax(), slope.shape), (0,) * slope.ndim):
        step, ends = 1e-4 * max(1.0, abs(value[at])), []
        for sign in (1, -1):
            moved = value.copy()
            moved[at] += sign * step
            ends.append(of_steps(replace(rates, **{part: moved}), error, DT)[0])
        assert slope[at] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("backend", ["torch", "native"])
@whichever
def test_autograd_is_the_discrete_adjoint(which: str, backend: str) -> None:
    task, rates, error = drawn(which, 7)
    value, exact = of_steps(rates, error, DT)
    loss, found = by_autograd(task, rates, backend)
    assert loss == pytest.approx(value, rel=1e-12)
    for part in PARTS:
        assert apart(found[part], getattr(exact, part)) <= 1e-11, part


def test_the_adjoint_ode_is_its_limit() -> None:
    _, rates, error = drawn("circle", 7)
    limit: Any = of_equations(rates, error)
    coarse, fine = (of_steps(rates, error, dt)[1] for dt in (DT, DT / 4))
    for part in PARTS:
        far, near = (apart(getattr(s, part), getattr(limit, part)) for s in (coarse, fine))
        assert 3.5 < far / near < 4.5, part
