"""Comparison of recordings: planted differences are found where they were planted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuro.analysis.comparison import ComparisonError, TooFewSpikesError, compare, localise
from neuro.protocols import Recording

Floats = npt.NDArray[np.float64]
DT = 1e-3


def simulate(
    *,
    reset: str = "zero",
    euler: bool = False,
    delay: int = 3,
    steps: int = 300,
    drive: float = 1.3,
) -> Recording:
    """Two cells in a chain over two trials: `first` is driven, `second` gets its spikes `delay` steps later."""
    tau, weight, trials, cells = 20e-3, 0.35, 2, 4
    decay = 1 - DT / tau if euler else math.exp(-DT / tau)
    drives = drive + 0.125 * np.arange(cells) + 0.25 * np.arange(trials)[:, None]
    spikes = {name: np.zeros((trials, steps, cells), dtype=np.bool_) for name in ("first", "second")}
    traces = {f"{name}.v": np.zeros((trials, steps, cells)) for name in spikes}
    v, u = np.zeros((trials, cells)), np.zeros((trials, cells))
    for k in range(steps):
        v = drives + (v - drives) * decay
        u = u * decay
        fired, fired_second = v > 1.0, u > 1.0
        spikes["first"][:, k], spikes["second"][:, k] = fired, fired_second
        if k >= delay:
            u = u + weight * spikes["first"][:, k - delay]
        v = np.where(fired, v - 1.0 if reset == "subtract" else 0.0, v)
        u = np.where(fired_second, 0.0, u)
        traces["first.v"][:, k], traces["second.v"][:, k] = v, u
    return Recording(DT, spikes, traces)


def planted(**changes: tuple[tuple[int, int, int], Any]) -> tuple[Recording, Recording]:
    """A random recording and a copy with `spikes` flipped or `v` added to at one entry."""
    rng = np.random.default_rng(3)
    spikes, v = rng.random((3, 40, 5)) < 0.2, rng.normal(size=(3, 40, 5))
    flipped, shifted = spikes.copy(), v.copy()
    if "spikes" in changes:
        flipped[changes["spikes"][0]] ^= True
    if "v" in changes:
        shifted[changes["v"][0]] += changes["v"][1]
    return Recording(DT, {"h": spikes}, {"h.v": v}), Recording(DT, {"h": flipped}, {"h.v": shifted})


def test_the_same_recording_agrees() -> None:
    a = simulate()
    found = compare(a, simulate())
    assert found.identical_spikes and found.agrees(0.0)
    assert all(v.first is None and v.max_abs == v.max_rel == 0 and v.divergent == 0 for v in found.variables)
    assert all(p.first is None and p.coincidence.same == 1 and p.van_rossum.mean == 0 for p in found.populations)
    assert found.require_spikes(100) is found
    assert localise(found) == f"no disagreement between a and b: {a.spike_count()} identical spikes, " + (
        "traces within 0 relative"
    )


def test_a_planted_error_is_measured_and_localised() -> None:
    a, b = planted(v=((2, 17, 4), 0.25))
    found = compare(a, b, names=("brian2", "torch"))
    (variable,) = found.variables
    scale = float(np.abs(a.traces["h.v"]).max())
    assert variable.max_abs == pytest.approx(0.25, rel=1e-12)
    assert variable.max_rel == pytest.approx(0.25 / scale, rel=1e-12)
    assert (variable.divergent, variable.entries, variable.scale) == (1, 600, scale)
    assert variable.first is not None
    assert (variable.first.step, variable.first.trial, variable.first.neuron) == (17, 2, 4)
    assert variable.first.b - variable.first.a == pytest.approx(0.25)
    assert found.identical_spikes and not found.agrees(1e-9) and found.agrees(0.25 / scale + 1e-6)
    assert "'h.v', step 17, neuron 4, trial 2: brian2 has" in localise(found)


def test_a_planted_spike_is_counted_and_localised() -> None:
    a, b = planted(spikes=((1, 30, 3), True))
    found = compare(a, b, names=("brian2", "torch"))
    (population,) = found.populations
    assert population.differing == 1 and abs(population.spikes_a - population.spikes_b) == 1
    assert population.first is not None
    assert (population.first.step, population.first.trial, population.first.neuron) == (30, 1, 3)
    assert not found.identical_spikes and not found.agrees(1.0)
    assert population.victor_purpura.mean_differing == pytest.approx(1.0)
    owner = "brian2" if a.spikes["h"][1, 30, 3] else "torch"
    assert localise(found) == f"first disagreement in spikes of 'h', step 30, neuron 3, trial 1: only {owner} spikes"


def test_an_error_at_the_tolerance_is_no_divergence() -> None:
    a = Recording(DT, {}, {"v": np.array([[[4.0], [1.0]]])})
    b = Recording(DT, {}, {"v": np.array([[[4.0], [1.5]]])})
    assert compare(a, b, tolerance=0.125).variables[0].first is None  # 0.5 == 0.125 * 4
    assert compare(a, b, tolerance=0.1249).variables[0].divergent == 1


def test_of_one_step_the_largest_error_is_named() -> None:
    a = Recording(DT, {}, {"v": np.ones((2, 3, 2))})
    b = Recording(DT, {}, {"v": np.ones((2, 3, 2))})
    b.traces["v"][0, 1, 0] += 0.1
    b.traces["v"][1, 1, 1] += 0.2
    b.traces["v"][0, 2, 0] += 9
    first = compare(a, b).variables[0].first
    assert first is not None and (first.step, first.trial, first.neuron) == (1, 1, 1)


def test_steps_of_sampled_traces() -> None:
    a = Recording(DT, {}, {"v": np.ones((1, 5, 1))}, every=10)
    b = Recording(DT, {}, {"v": np.ones((1, 5, 1))}, every=10)
    b.traces["v"][0, 2] = 2
    first = compare(a, b).variables[0].first
    assert first is not None and first.step == 29


class TestDefects:
    """The four defects of issue 2, planted in a small simulator; the expected place comes from the definition."""

    def test_wrong_reset(self) -> None:
        a = simulate()
        found = compare(a, simulate(reset="subtract"))
        step = int(np.flatnonzero(a.spikes["first"].any(axis=(0, 2)))[0])  # spikes agree, the reset after them doesn't
        spiking = a.spikes["first"][:, step]
        first = found.variables[0].first
        assert first is not None and first.step == step and spiking[first.trial, first.neuron]
        assert localise(found).startswith(
            f"first disagreement in 'first.v', step {step}, neuron {first.neuron}, trial {first.trial}: a has 0, b "
        )

    def test_at_least_instead_of_above(self) -> None:
        # a sum of sixteenths meets the threshold 1 exactly, at its 16th step
        a, b = (Recording(DT, {"c": np.zeros((1, 50, 2), dtype=np.bool_)}, {"c.v": np.zeros((1, 50, 2))}) for _ in "ab")
        for recording, at_least in ((a, False), (b, True)):
            v = np.zeros(2)
            for k in range(50):
                v = v + np.array([0.0625, 0.03])
                fired = v >= 1.0 if at_least else v > 1.0
                recording.spikes["c"][0, k] = fired
                v = np.where(fired, 0.0, v)
                recording.traces["c.v"][0, k] = v
        found = compare(a, b)
        assert localise(found) == "first disagreement in spikes of 'c', step 15, neuron 0, trial 0: only b spikes"
        assert found.populations[0].coincidence.same < 1

    def test_euler_instead_of_exact(self) -> None:
        found = compare(simulate(), simulate(euler=True))
        first = found.variables[0].first
        assert first is not None and first.step == 0
        assert (first.trial, first.neuron) == (1, 3)  # the strongest drive has the largest error
        assert localise(found).startswith("first disagreement in 'first.v', step 0, neuron 3, trial 1: ")

    def test_delay_off_by_one(self) -> None:
        a = simulate()
        found = compare(a, simulate(delay=4))
        step = int(np.flatnonzero(a.spikes["first"].any(axis=(0, 2)))[0]) + 3
        first = found.variables[1].first
        assert found.variables[0].first is None and found.populations[0].first is None
        assert first is not None and first.step == step
        assert f"'second.v', step {step}, neuron {first.neuron}, trial {first.trial}: a has 0.35, b 0" in localise(
            found
        )

    def test_all_are_over_enough_spikes(self) -> None:
        assert min(compare(simulate(), simulate(euler=True)).spikes) >= 100


def test_nan_and_infinity_are_never_silently_equal() -> None:
    a = Recording(DT, {}, {"v": np.ones((1, 6, 2))})
    b = Recording(DT, {}, {"v": np.ones((1, 6, 2))})
    b.traces["v"][0, 3, 1] = np.nan
    for found in (compare(a, b, tolerance=1e9), compare(b, a, tolerance=1e9)):
        (variable,) = found.variables
        assert variable.max_abs == variable.max_rel == math.inf and variable.divergent == 1
        assert variable.first is not None and (variable.first.step, variable.first.neuron) == (3, 1)
        assert not found.agrees(1e300)
    assert "step 3, neuron 1, trial 0: a has 1, b nan" in localise(compare(a, b))
    a.traces["v"][0, 3, 1] = np.nan
    both = compare(a, b)
    assert both.variables[0].both_nan == 1 and both.variables[0].first is None and not both.agrees(1.0)
    assert "NaN in both: v, 1 of 12 values" in both.lines()


def test_infinity_in_the_reference_hides_nothing() -> None:
    a = Recording(DT, {}, {"v": np.array([[[np.inf], [1.0], [-np.inf]]])})
    b = Recording(DT, {}, {"v": np.array([[[np.inf], [2.0], [np.inf]]])})
    (variable,) = compare(a, b).variables
    assert variable.scale == 1.0 and variable.divergent == 2
    assert variable.first is not None and variable.first.step == 1


def test_a_silent_reference_has_infinite_relative_error() -> None:
    a = Recording(DT, {}, {"v": np.zeros((1, 2, 1))})
    b = Recording(DT, {}, {"v": np.array([[[0.0], [1e-30]]])})
    (variable,) = compare(a, b).variables
    assert variable.max_rel == math.inf and variable.divergent == 1
    assert compare(a, a).agrees(0.0)


def test_what_only_one_recorded_is_reported() -> None:
    a = simulate()
    b = replace(a, spikes={"first": a.spikes["first"]}, traces={**a.traces, "first.w": a.traces["first.v"]})
    found = compare(a, b, names=("brian2", "torch"))
    assert (found.only_a, found.only_b) == (("spikes second",), ("trace first.w",))
    assert not found.identical_spikes and not found.agrees(1.0)
    assert localise(found).endswith("(2 recorded in one of them only, not compared)")
    assert {"only in brian2: spikes second", "only in torch: trace first.w"} <= set(found.lines())


def test_final_parameters_are_compared() -> None:
    a = replace(simulate(), final={"ff.w": np.ones((2, 3, 4))})
    b = replace(simulate(), final={"ff.w": np.ones((2, 3, 4))})
    b.final["ff.w"][1, 2, 3] += 0.5
    found = compare(a, b)
    (final,) = found.finals
    assert final.first is not None
    assert (final.first.step, final.first.trial, final.first.neuron) == (None, 1, 2 * 4 + 3)
    assert not found.agrees(0.4) and found.agrees(0.6)
    assert localise(found) == "first disagreement in 'ff.w', end of the run, neuron 11, trial 1: a has 1, b 1.5"


def test_too_few_spikes() -> None:
    silent = compare(simulate(drive=0.1), simulate(drive=0.1), names=("brian2", "torch"))
    assert silent.identical_spikes
    with pytest.raises(TooFewSpikesError, match=r"'brian2' has 0 spikes.*at least 100 are required \(first: 0 and 0"):
        silent.require_spikes(100)
    with pytest.raises(TooFewSpikesError):  # one silent recording is enough
        compare(simulate(), simulate(drive=0.1)).require_spikes(1)


def _with(**changes: Any) -> Recording:
    return replace(simulate(steps=20), **changes)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (simulate(steps=19), r"spikes of 'first' has the shape \(2, 20, 4\) in 'x' and \(2, 19, 4\) in 'y'"),
        (
            _with(traces={"first.v": np.zeros((2, 20, 3))}),
            r"variable 'first.v' has the shape \(2, 20, 4\) in 'x' and \(2, 20, 3\) in 'y'",
        ),
        (_with(dt=2e-3), "'x' has dt = 0.001 s and 'y' 0.002 s"),
        (_with(every=2), "'x' sampled its traces every 1 steps and 'y' every 2"),
        (_with(spikes={"first": np.zeros((2, 20, 4))}), "'first' must be booleans, not bool and float64"),
        (Recording(DT, {"other": np.zeros((1, 1, 1), dtype=np.bool_)}), "nothing to compare.*spikes other"),
    ],
)
def test_recordings_that_do_not_fit(b: Recording, message: str) -> None:
    with pytest.raises(ComparisonError, match=message):
        compare(simulate(steps=20), b, names=("x", "y"))


def test_wrong_axes_and_tolerance() -> None:
    flat = Recording(DT, {}, {"v": np.zeros((3, 4))})
    with pytest.raises(ComparisonError, match=r"'v' has the shape \(3, 4\) in both; expected \[batch, time, neuron\]"):
        compare(flat, flat)
    with pytest.raises(ComparisonError, match="tolerance is nan"):
        compare(simulate(), simulate(), tolerance=math.nan)


def test_lines_and_data_hold_the_figures() -> None:
    found = compare(*planted(spikes=((1, 30, 3), True), v=((2, 17, 4), 0.25)), names=("brian2", "torch"))
    data = found.to_data()
    assert data["variables"]["h.v"]["first"]["step"] == 17
    assert data["populations"]["h"]["first"]["neuron"] == 3
    assert data["populations"]["h"]["victor_purpura"]["computed"] == 1
    assert data["summary"] == localise(found) == found.lines()[0]
    assert "first" not in compare(simulate(), simulate()).to_data()["variables"]["first.v"]

    def leaves(item: Any) -> list[Any]:
        return [leaf for value in item.values() for leaf in leaves(value)] if isinstance(item, dict) else [item]

    assert len(leaves(data)) > 30 and {type(leaf) for leaf in leaves(data)} <= {bool, int, float, str}
    row = next(line for line in found.lines() if line.startswith("h.v"))
    assert row.split() == ["h.v", "0.25", f"{found.variables[0].max_rel:.3g}", "1/600", "17", "2", "4"]


def test_a_limited_distance_says_so() -> None:
    found = compare(simulate(), simulate(euler=True), max_pairs=2)
    distance = found.populations[0].van_rossum
    assert distance.computed == 2 < distance.differing
    assert any(f"(from 2 of {distance.differing} pairs)" in line for line in found.lines())


@st.composite
def recordings(draw: st.DrawFn) -> tuple[Recording, Recording]:
    shape = draw(st.tuples(st.integers(1, 2), st.integers(1, 8), st.integers(1, 3)))
    values = st.floats(allow_nan=True, allow_infinity=True)

    def one() -> Recording:
        return Recording(
            DT, {"h": draw(hnp.arrays(np.bool_, shape))}, {"h.v": draw(hnp.arrays(np.float64, shape, elements=values))}
        )

    return one(), one()


@settings(max_examples=60, deadline=None)
@given(recordings())
def test_symmetry_and_identity(pair: tuple[Recording, Recording]) -> None:
    a, b = pair
    left, right = compare(a, b, max_pairs=1), compare(b, a, max_pairs=1)
    assert left.populations[0].differing == right.populations[0].differing
    assert left.populations[0].coincidence.same == right.populations[0].coincidence.same
    assert left.variables[0].max_abs == right.variables[0].max_abs
    itself = compare(a, a)
    assert itself.identical_spikes and localise(itself).startswith("no disagreement")
    assert itself.variables[0].first is None and itself.variables[0].max_abs == itself.variables[0].max_rel == 0.0
    exact = compare(a, b, tolerance=0.0, max_pairs=0)
    assert (exact.variables[0].first is None) == np.array_equal(a.traces["h.v"], b.traces["h.v"], equal_nan=True)
    assert exact.identical_spikes == np.array_equal(a.spikes["h"], b.spikes["h"])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.integers(0, 39), st.integers(0, 4), st.integers(0, 39))
def test_every_planted_place_is_found(trial: int, step: int, neuron: int, spike_step: int) -> None:
    found = compare(*planted(v=((trial, step, neuron), 1e-3), spikes=((trial, spike_step, neuron), True)), max_pairs=0)
    kind = "spikes of 'h'" if spike_step <= step else "'h.v'"
    assert localise(found).startswith(
        f"first disagreement in {kind}, step {min(step, spike_step)}, neuron {neuron}, trial {trial}: "
    )
