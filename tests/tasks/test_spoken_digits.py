"""Spoken digits: what a mel band hears, who is on which side, and where a recording ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
import tasks
from tasks.sounds import log_mel, mel_filters
from tasks.spoken_digits import CLASSES, OFFICIAL, SPEAKERS, recordings
from tests.tasks.recordings import needs

RATE = 8000.0


def test_bands_hear_their_frequency() -> None:
    """A tone at a band's centre is loudest there, and centres are as far apart in mel."""
    channels, size = 20, 256
    filters = mel_filters(RATE, size, channels, 20.0, 4000.0)
    np.testing.assert_allclose(filters.sum(axis=1), 1.0)
    edges = np.linspace(0, 1, channels + 2) * (2595 * np.log10(1 + 4000 / 700) - 2595 * np.log10(1 + 20 / 700))
    centres = 700 * (10 ** ((edges + 2595 * np.log10(1 + 20 / 700)) / 2595) - 1)[1:-1]
    time = np.arange(4000) / RATE
    for band in range(4, channels):
        found = log_mel(np.sin(2 * np.pi * centres[band] * time), RATE, channels)
        assert set(found[2:-3].argmax(axis=1)) <= {band}


def test_frames_and_level() -> None:
    """A frame every 10 ms from the beginning; loudness doesn't matter, an impulse is where it is; silence is finite."""
    sound = np.zeros(1234)
    sound[700] = 1000.0
    found = log_mel(sound, RATE)
    assert found.shape == (16, 40)
    np.testing.assert_allclose(log_mel(-0.01 * sound, RATE), found)
    heard = np.flatnonzero(found.max(axis=1) > found.min() + 1e-6)
    assert heard.tolist() == [7, 8]  # samples 560 to 759 and 640 to 839
    assert np.isfinite(log_mel(np.zeros(100), RATE)).all() and np.isfinite(log_mel(np.zeros(0), RATE)).all()


@pytest.mark.parametrize(
    "options",
    [{"hidden": ()}, {"hidden": (0,)}, {"held_out": "nobody"}, {"valid": 1.0}, {"channels": 0}, {"frames": 0}],
)
def test_options_that_do_not_fit(options: dict[str, Any]) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=next(iter(options))):
        tasks.get("spoken-digits", **options)


def test_sides() -> None:
    needs("spoken-digits")
    whole = recordings(40)
    train, valid, test = tasks.get("spoken-digits").sides
    assert [len(s) for s in (train, valid, test)] == [2430, 270, 300]
    assert len(np.unique(np.concatenate([train, valid, test]))) == 3000
    assert (whole.index[test] < OFFICIAL).all() and np.bincount(whole.digit[test]).tolist() == [30] * CLASSES
    train, valid, test = tasks.get("spoken-digits", held_out="theo", valid=0.0).sides
    assert [len(s) for s in (train, valid, test)] == [2500, 0, 500]
    assert set(whole.speaker[test]) == {"theo"} and set(whole.speaker[train]) == {*SPEAKERS} - {"theo"}
    assert tasks.get("spoken-digits", valid=0.0).valid_batch() is None


def test_a_recording_is_read_until_it_ends() -> None:
    """What comes after it, or after the answer to it, changes neither loss nor metric; what a trial shows is the features, scaled."""
    needs("spoken-digits")
    task = tasks.get("spoken-digits", hidden=(12, 8), frames=60)
    batch, whole = task.test_batch(), recordings(40)
    x, lengths = batch.inputs["x"], [min(60, len(whole.features[k])) for k in task.sides[2]]
    np.testing.assert_array_equal(batch.mask.sum(axis=1), lengths)
    assert task.lag == 2 and x.shape[1] == 62
    mean, deviation = task.scale
    np.testing.assert_allclose(x[7, : lengths[7]] * deviation + mean, whole.features[task.sides[2][7]][:60])
    program = backends.get("native").compile(task.network(0))
    later = np.where(np.arange(62)[None, :, None] >= np.array(lengths)[:, None, None], 5.0, x)
    found = [program.run(None, {"x": a}, task.record()) for a in (x, later)]
    answers = [f.traces["output.m"] for f in found]
    assert (answers[0] != answers[1]).any()
    np.testing.assert_array_equal(answers[0][batch.mask], answers[1][batch.mask])
    assert task.metric(found[0], batch) == task.metric(found[1], batch)
