"""Spike-train measures: closed forms, then algebra, then errors."""

from __future__ import annotations

import math
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuro.analysis.spike_trains import (
    RasterError,
    coincidence,
    interval_cv,
    rates,
    synchrony,
    van_rossum,
    victor_purpura,
)
from neuro.registry import MissingPackageError

DT = 1e-3
Raster = npt.NDArray[np.bool_]


def train(*steps: int, length: int = 200) -> Raster:
    raster = np.zeros((1, length, 1), dtype=np.bool_)
    raster[0, list(steps), 0] = True
    return raster


@st.composite
def rasters(draw: st.DrawFn, count: int = 2) -> list[Raster]:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 3)))
    return [draw(hnp.arrays(np.bool_, shape)) for _ in range(count)]


@pytest.mark.parametrize("lag", [1, 3, 10, 47, 150])
@pytest.mark.parametrize("tau", [2e-3, 10e-3, 50e-3])
def test_van_rossum_of_two_single_spikes(lag: int, tau: float) -> None:
    found = van_rossum(train(20), train(20 + lag), DT, tau=f"{tau} s")
    assert found.mean == pytest.approx(math.sqrt(2 * (1 - math.exp(-lag * DT / tau))), rel=1e-9)


def test_van_rossum_of_a_spike_against_silence_is_one() -> None:
    assert van_rossum(train(5), train(), DT).mean == pytest.approx(1.0, rel=1e-12)
    assert van_rossum(train(), train(5), DT).mean == pytest.approx(1.0, rel=1e-12)


def test_van_rossum_is_the_filtered_difference() -> None:
    """The definition: sqrt(2/tau integral (f - g)^2 dt), here summed from the exact filter on a fine grid."""
    a, b, tau, fine = (3, 9, 40), (5, 41, 90, 91), 7e-3, 1e-6
    time = np.arange(0, 0.3, fine)
    signal = np.zeros_like(time)
    for spikes, sign in ((a, 1), (b, -1)):
        for step in spikes:
            signal += sign * np.where(time >= step * DT, np.exp(-np.maximum(time - step * DT, 0) / tau), 0)
    expected = math.sqrt(2 / tau * float(np.sum(signal**2)) * fine)
    assert van_rossum(train(*a), train(*b), DT, tau="7 ms").mean == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("lag", "cost"), [(0, 0.0), (1, 0.1), (7, 0.7), (19, 1.9), (20, 2.0), (21, 2.0), (150, 2.0)])
def test_victor_purpura_cost_of_a_shift(lag: int, cost: float) -> None:
    assert victor_purpura(train(20), train(20 + lag), DT, cost="100 Hz").mean == pytest.approx(cost, rel=1e-9)


def test_victor_purpura_cost_of_insertions() -> None:
    assert victor_purpura(train(10, 60), train(10), DT).mean == pytest.approx(1.0)
    assert victor_purpura(train(), train(1, 5, 9, 100), DT).mean == pytest.approx(4.0)
    # one shift of 3 ms and one insertion
    assert victor_purpura(train(10, 60), train(13, 60, 120), DT).mean == pytest.approx(1.3)


def test_units_of_time_scales_matter() -> None:
    assert victor_purpura(train(20), train(27), DT, cost="0.1 kHz").mean == pytest.approx(0.7)
    assert victor_purpura(train(20), train(27), DT / 10, cost="100 Hz").mean == pytest.approx(0.07)
    assert van_rossum(train(20), train(30), DT, tau="0.01 s") == van_rossum(train(20), train(30), DT, tau="10 ms")


def test_average_is_over_all_pairs_and_counts_them() -> None:
    a, b = np.zeros((2, 100, 3), dtype=np.bool_), np.zeros((2, 100, 3), dtype=np.bool_)
    a[1, 10, 2] = True  # distance 1
    a[0, 10, 0], b[0, 15, 0] = True, True  # cost 0.5
    a[0, 50, 1] = b[0, 50, 1] = True
    found = victor_purpura(a, b, DT)
    assert (found.pairs, found.differing, found.computed, found.exact) == (6, 2, 2, True)
    assert found.mean == pytest.approx(1.5 / 6)
    assert found.mean_differing == pytest.approx(0.75)
    assert found.maximum == pytest.approx(1.0)


def test_a_limit_is_reported_and_scales_the_mean() -> None:
    a, b = np.zeros((4, 50, 5), dtype=np.bool_), np.zeros((4, 50, 5), dtype=np.bool_)
    a[:, 7, :4] = True  # 16 of 20 pairs at distance 1
    found = victor_purpura(a, b, DT, max_pairs=5)
    assert (found.pairs, found.differing, found.computed, found.exact) == (20, 16, 5, False)
    assert found.mean == pytest.approx(16 / 20)
    nothing = van_rossum(a, b, DT, max_pairs=0)
    assert math.isnan(nothing.mean) and not nothing.exact and nothing.differing == 16
    assert van_rossum(a, b, DT, max_pairs=16).exact


def test_identical_rasters_never_reach_elephant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "elephant.spike_train_dissimilarity", None)  # importing it now fails
    raster = np.random.default_rng(0).random((360, 100, 138)) < 0.05
    for found in (van_rossum(raster, raster.copy(), DT), victor_purpura(raster, raster.copy(), DT)):
        assert (found.mean, found.pairs, found.differing, found.computed) == (0.0, 360 * 138, 0, 0)
    other = raster.copy()
    other[3, 4, 5] ^= True
    with pytest.raises(MissingPackageError, match=r"pip install 'twinspike\[analysis\]'"):
        van_rossum(raster, other, DT)


def test_coincidence_closed_forms() -> None:
    assert coincidence(train(), train()).same == coincidence(train(), train()).adjacent == 1.0
    assert coincidence(train(4), train()).same == coincidence(train(4), train()).adjacent == 0.0
    found = coincidence(train(10, 20, 30), train(10, 21, 40, 50))
    assert (found.shared, found.shared_adjacent, found.spikes) == (1, 2, (3, 4))
    assert found.same == pytest.approx(1 / 6)
    assert found.adjacent == pytest.approx(2 / 5)
    assert coincidence(train(10), train(12)).adjacent == 0.0


def test_coincidence_uses_each_spike_once() -> None:
    assert coincidence(train(10), train(9, 11)).shared_adjacent == 1
    assert coincidence(train(10, 11, 12), train(11, 12, 13)).shared_adjacent == 3


def _largest_matching(x: list[int], y: list[int]) -> int:
    """By trying everything."""
    if not x:
        return 0
    skip = _largest_matching(x[1:], y)
    uses = [1 + _largest_matching(x[1:], [t for t in y if t != s]) for s in y if abs(s - x[0]) <= 1]
    return max([skip, *uses])


@given(hnp.arrays(np.bool_, (2, 8)))
def test_adjacent_matching_is_the_largest(pair: Raster) -> None:
    found = coincidence(pair[0][None, :, None], pair[1][None, :, None])
    expected = _largest_matching([int(t) for t in np.flatnonzero(pair[0])], [int(t) for t in np.flatnonzero(pair[1])])
    assert found.shared_adjacent == expected


@given(rasters())
def test_coincidence_algebra(pair: list[Raster]) -> None:
    a, b = pair
    found, mirrored = coincidence(a, b), coincidence(b, a)
    assert (found.same, found.adjacent) == (mirrored.same, mirrored.adjacent)
    assert 0.0 <= found.same <= found.adjacent <= 1.0
    union = np.count_nonzero(a | b)
    assert found.same == (np.count_nonzero(a & b) / union if union else 1.0)
    assert (found.same == 1.0) == bool(np.array_equal(a, b))
    assert coincidence(a, a).same == coincidence(a, a).adjacent == 1.0


@settings(max_examples=25, deadline=None)
@given(rasters())
def test_distances_are_symmetric_and_zero_only_for_identical_rasters(pair: list[Raster]) -> None:
    a, b = pair
    for measure in (van_rossum, victor_purpura):
        found = measure(a, b, DT)
        assert found.mean == pytest.approx(measure(b, a, DT).mean, rel=1e-6, abs=1e-9)
        assert (found.mean > 0) == (not np.array_equal(a, b))
        assert measure(a, a.copy(), DT).mean == 0.0


@settings(max_examples=25, deadline=None)
@given(rasters(count=3))
def test_triangle_inequality(triple: list[Raster]) -> None:
    a, b, c = (raster[:1, :, :1] for raster in triple)
    for measure in (van_rossum, victor_purpura):
        assert measure(a, c, DT).mean <= measure(a, b, DT).mean + measure(b, c, DT).mean + 1e-6


def test_rates() -> None:
    raster = np.zeros((2, 100, 4), dtype=np.bool_)  # 0.2 s of recording
    raster[0, :10, 1] = raster[1, :30, 1] = True
    raster[0, 5, 2] = True
    raster[1, 5:8, 3] = True
    found = rates(raster, DT)
    assert found.minimum == 0.0
    assert found.maximum == pytest.approx(200.0)
    assert found.median == pytest.approx((5.0 + 15.0) / 2)
    assert found.mean == pytest.approx((0 + 200 + 5 + 15) / 4)
    assert found.silent == 0.25


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coincidence(train(), train(length=3)), r"different shapes, \(1, 200, 1\) and \(1, 3, 1\)"),
        (lambda: coincidence(train()[0], train()[0]), r"\[batch, time, neuron\].*\(200, 1\)"),
        (lambda: van_rossum(train().astype(float), train(), DT), "booleans, this array float64"),
        (lambda: van_rossum(train(), train(), 0.0), "dt is 0.0"),
        (lambda: van_rossum(train(), train(), math.nan), "dt is nan"),
        (lambda: van_rossum(train(), train(), DT, tau="10 mV"), "tau is '10 mV'.*second.*'10 ms'"),
        (lambda: van_rossum(train(), train(), DT, tau=0.01), "tau is 0.01.*'10 ms'"),
        (lambda: van_rossum(train(), train(), DT, tau="ten"), "tau: can't read 'ten'"),
        (lambda: victor_purpura(train(), train(), DT, cost="-1 Hz"), "cost is '-1 Hz'; it must be positive"),
        (lambda: victor_purpura(train(), train(), DT, cost="10 ms"), "cost is '10 ms'.*hertz"),
        (lambda: victor_purpura(train(), train(), DT, max_pairs=-1), "max_pairs is -1"),
        (lambda: rates(np.zeros((1, 0, 3), dtype=np.bool_), DT), r"\(1, 0, 3\) has no firing rate"),
    ],
)
def test_errors_say_what_and_the_fix(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(RasterError, match=message):
        call()


def test_irregularity_is_elephant_s_averaged_over_cells() -> None:
    from elephant.statistics import cv

    raster = np.random.default_rng(1).random((2, 300, 30)) < 0.02
    intervals = [np.diff(np.flatnonzero(train)) for train in np.moveaxis(raster, 1, 2).reshape(60, 300)]
    judged = [cv(gaps) for gaps in intervals if len(gaps) >= 2]
    assert 30 < len(judged) < 60
    np.testing.assert_allclose(interval_cv(raster), np.mean(judged), rtol=1e-12)


def test_irregularity_and_synchrony() -> None:
    """A clock, a Poisson process, and the same spikes in all cells; by hand for three intervals."""
    random = np.random.default_rng(0)
    steps = np.zeros((1, 40, 2), bool)
    steps[0, [3, 5, 9, 17], 0] = True  # 2, 4, 8
    steps[0, [1, 2], 1] = True  # one interval alone
    np.testing.assert_allclose(interval_cv(steps), np.std([2, 4, 8]) / np.mean([2, 4, 8]))
    clock = np.zeros((2, 100, 3), bool)
    clock[:, ::7] = True
    assert interval_cv(clock) == 0
    poisson = random.random((2, 20_000, 20)) < 0.02
    assert abs(interval_cv(poisson) - np.sqrt(0.98)) < 0.03
    assert abs(synchrony(poisson, 30) - 0.98) < 0.1
    alike = np.repeat(poisson[:, :, :1], 20, axis=2)
    assert abs(synchrony(alike, 30) / (20 * 0.98) - 1) < 0.2
    counts = steps[0].sum(axis=1).reshape(8, 5).sum(axis=1)
    np.testing.assert_allclose(synchrony(steps, 5), counts.var() / counts.mean())
    assert np.isnan(interval_cv(np.zeros((1, 5, 2), bool))) and np.isnan(synchrony(np.zeros((1, 5, 2), bool), 2))
    for wrong in (0, -1, 41):
        with pytest.raises(RasterError, match="bins of"):
            synchrony(steps, wrong)
