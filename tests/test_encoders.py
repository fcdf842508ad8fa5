"""Encoders do what snntorch.spikegen's do, from our own random streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuro.encoders import BELL, bsa, latency, poisson, rate
from neuro.events import EventsError

VALUES = np.random.default_rng(3).random((6, 40))
VALUES[0, :5] = (0.0, 0.005, 0.011, 0.999, 1.0)


def test_latency_is_spikegens_linear_normalised_one() -> None:
    torch = pytest.importorskip("torch")
    spikegen = pytest.importorskip("snntorch.spikegen")
    theirs = spikegen.latency(
        torch.tensor(VALUES), num_steps=25, normalize=True, linear=True, clip=True, threshold=0.01
    )
    np.testing.assert_array_equal(latency(VALUES, 25), np.moveaxis(theirs.numpy(), 0, 1) > 0)


def test_rate_has_spikegens_probabilities() -> None:
    torch = pytest.importorskip("torch")
    spikegen = pytest.importorskip("snntorch.spikegen")
    steps = 4000
    mine = np.asarray(rate(VALUES, steps, seed=1)).mean(axis=1)
    torch.manual_seed(0)
    theirs = spikegen.rate(torch.tensor(VALUES), num_steps=steps).numpy().mean(axis=0)
    spread = np.sqrt(np.maximum(VALUES * (1 - VALUES), 1e-4) / steps)
    assert (abs(mine - VALUES) < 5 * spread).all()
    assert (abs(mine - theirs) < 7 * spread).all()


def test_a_trials_spikes_do_not_depend_on_the_batch() -> None:
    whole = np.asarray(rate(VALUES, 50, seed=2))
    parts = [rate(VALUES[i : i + 2], 50, seed=2, first=i) for i in (0, 2, 4)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert (whole != np.asarray(rate(VALUES, 50, seed=3))).any()


def test_poisson_rate_in_hertz() -> None:
    found = poisson(np.full((1, 200), 0.5), 5000, seed=0, dt=1e-3, peak=100.0)
    assert np.asarray(found).mean() / 1e-3 == pytest.approx(50, rel=0.02)


ENCODERS = {
    "latency": latency,
    "rate": lambda values, steps: rate(values, steps, seed=0),
    "poisson": lambda values, steps: poisson(values, steps, seed=0, dt=1e-3, peak=100.0),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(
    ("values", "steps", "wrong"),
    [
        ([[0.5, 0.5], [0.5, 1.2]], 5, "example 1, channel 1: 1.2 is no number from 0 to 1"),
        ([[0.5, -0.1]], 5, "example 0, channel 1: -0.1"),
        ([[np.nan]], 5, "example 0, channel 0: nan"),
        ([[0, 255]], 5, "255 is no number from 0 to 1; scale"),
        ([0.5], 5, r"shape \(1,\)"),
        ([["a"]], 5, "give numbers"),
        ([[0.5], [0.5, 0.5]], 5, "no array of numbers"),
        ([[0.5]], 0, "steps=0"),
        ([[0.5]], 2.0, "steps=2.0"),
    ],
)
def test_other_numbers_are_refused(name: str, values: Any, steps: Any, wrong: str) -> None:
    """Of a value above 1 the latency would lie in the trial before."""
    with pytest.raises(EventsError, match=wrong):
        ENCODERS[name](values, steps)


@pytest.mark.parametrize("name", ENCODERS)
def test_no_examples_are_no_events(name: str) -> None:
    assert ENCODERS[name](np.zeros((0, 4)), 5).shape == (0, 5, 4)
    assert ENCODERS[name]([[0, 1]], 5).shape == (1, 5, 2)


def test_more_than_a_spike_a_step_is_refused() -> None:
    for peak in (2000.0, -1.0, np.nan):
        with pytest.raises(EventsError, match="where none to one fits"):
            poisson(VALUES, 5, seed=0, dt=1e-3, peak=peak)


def test_bsa_takes_away_what_each_spike_says() -> None:
    """By its definition, step by step and channel by channel; at the highest threshold a signal made of spikes gives them back."""
    random = np.random.default_rng(0)
    signal, kernel = random.gamma(0.5, 1.0, (2, 60, 3)), np.array([0.2, 0.5, 0.3])
    found = np.asarray(bsa(signal, kernel=kernel, threshold=0.4))
    for b, c in np.ndindex(2, 3):
        left = np.concatenate([signal[b, :, c], np.zeros(3)])
        for k in range(60):
            window = left[k : k + 3].copy()
            fires = np.abs(window - kernel).sum() < np.abs(window).sum() - 0.4
            assert found[b, k, c] == fires
            left[k : k + 3] -= kernel * fires
    assert 0.1 < found.mean() < 0.9
    sent = np.zeros((1, 80, 1))
    sent[0, [3, 30, 55]] = 1
    heard = np.stack([np.convolve(sent[0, :, 0], BELL)[:80]])[..., None]
    np.testing.assert_array_equal(np.asarray(bsa(heard, threshold=0.99)), sent > 0)
    assert not np.asarray(bsa(np.zeros((1, 5, 2)))).any()
    for wrong in (np.full((1, 4, 2), np.nan), np.full((1, 4, 2), np.inf), -np.ones((1, 4, 2)), np.ones((4, 2))):
        with pytest.raises(EventsError, match=r"example 0, time 0, channel 0|give numbers"):
            bsa(wrong)
