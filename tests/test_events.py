"""Events of times: the stated rule of steps, against a raster filled by hand; what doesn't fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.events import Events, EventsError

SHAPE = (2, 10, 3)


@given(st.integers(0, 2**32), st.sampled_from([1e-3, 1e-4, 0.3, 7.0]), st.integers(0, 60))
def test_steps_hold_their_times(seed: int, dt: float, number: int) -> None:
    """Times anywhere within a step, boundaries among them, written as k*dt and as a sum."""
    random = np.random.default_rng(seed)
    steps, channels = random.integers(0, 10, (2, number)), random.integers(0, 3, (2, number))
    within = random.choice([0.0, 0.25, 0.999], (2, number))
    times = np.where(within == 0, np.cumsum(np.full(11, dt))[steps] - dt, (steps + within) * dt)
    raster = np.zeros(SHAPE, bool)
    for trial in range(2):
        raster[trial, steps[trial], channels[trial]] = True
    found = Events.from_times(list(times), list(channels), SHAPE, dt)
    np.testing.assert_array_equal(np.asarray(found), raster)
    assert found.sum() == raster.sum()  # several in a step are one


@pytest.mark.parametrize(("kind", "last"), [("f8", 10**6), ("f4", 10**5), ("f2", 1500)])
def test_times_of_few_digits_are_in_the_steps_that_were_rounded_to_them(kind: str, last: int) -> None:
    """As data sets keep them. A time within a step stays there as long as its digits tell it from the next boundary."""
    steps = np.unique(np.random.default_rng(0).integers(0, last, 3000))
    shape, channels = (1, last, 1), np.zeros(len(steps), int)
    for within in (0.0, 0.5) if kind != "f2" else (0.0,):
        times = ((steps + within) * 1e-3).astype(kind)
        found = Events.from_times([times], [channels], shape, 1e-3)
        np.testing.assert_array_equal(np.flatnonzero(np.diff(found.offsets)), steps)


def test_trials_of_any_length() -> None:
    found = Events.from_times([[], [0.5, 0.1, 0.1]], [[], [2, 1, 1]], SHAPE, 0.1)
    assert [tuple(x) for x in np.argwhere(np.asarray(found))] == [(1, 1, 1), (1, 5, 2)]
    assert Events.from_times([], [], (0, 10, 3), 0.1).sum() == 0


@pytest.mark.parametrize(
    ("times", "channels", "dt", "wrong"),
    [
        ([[0.1], []], [[0]], 0.1, "2 trials and channels of 1"),
        ([[0.1], []], [[0, 1], []], 0.1, "trial 0: 1 times and 2 channels"),
        ([[], [1.0]], [[], [0]], 0.1, "trial 1: an event at 1 s, and it has 10 steps, 1 s"),
        ([[-0.1], []], [[0], []], 0.1, "event at -0.1 s"),
        ([[np.nan], []], [[0], []], 0.1, "event at nan s"),
        ([[0.1], []], [[3], []], 0.1, "whole numbers from 0 to 2"),
        ([[0.1], []], [[-1], []], 0.1, "whole numbers from 0 to 2"),
        ([[0.1], []], [[0.5], []], 0.1, "whole numbers from 0 to 2"),
        ([[0.1], []], [[0], []], 0.0, "seconds of a step"),
        ([[0.1], []], [[0], []], np.nan, "seconds of a step"),
    ],
)
def test_what_does_not_fit_is_refused(
    times: list[list[float]], channels: list[list[int]], dt: float, wrong: str
) -> None:
    with pytest.raises(EventsError, match=wrong):
        Events.from_times(times, channels, SHAPE, dt)
