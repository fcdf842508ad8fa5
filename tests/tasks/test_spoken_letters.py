"""Synthesised letters: who is on which side, bins, and what is kept of what was heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from neuro.options import OptionError
from tasks import synthetic_speech
from tasks.synthetic_speech import CHANNELS, VOICES, Utterances, utterances
from tests.tasks.recordings import needs

LENGTHS = (9, 14, 3)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Utterances:
    """Three words of every voice, that nobody said."""
    random = np.random.default_rng(0)
    every = [(random.random((n, CHANNELS)) < 0.1, k, v) for v in range(len(VOICES)) for k, n in enumerate(LENGTHS)]
    spikes, word, voice = zip(*every, strict=True)
    found = Utterances(tuple(spikes), np.array(word), np.array(voice))
    monkeypatch.setattr("tasks.spoken_letters.utterances", lambda words: found)
    return found


def test_voices_are_on_one_side_and_bins_hold_their_steps(made_up: Utterances) -> None:
    task: Any = tasks.get("spoken-letters", words="digits", bins=4, held_out=("m3", "f5"))
    train, test = task.sides
    assert sorted(np.concatenate([train, test])) == list(range(len(made_up.spikes)))
    assert {VOICES[v] for v in made_up.voice[test]} == {"m3", "f5"}
    batch = task.test_batch()
    assert batch.inputs["x"].shape == (6, 4 + 3, CHANNELS)  # 14 steps are 4 bins, and the output is 3 steps late
    for row, k in enumerate(test):
        heard, shown = made_up.spikes[k], batch.inputs["x"][row]
        for b in range(7):
            np.testing.assert_array_equal(shown[b], heard[4 * b : 4 * b + 4].any(axis=0))
    np.testing.assert_array_equal(batch.targets, made_up.word[test])


@pytest.mark.parametrize("skip", [True, False])
def test_the_control_trains_all_that_reaches_the_output(skip: bool) -> None:
    task: Any = tasks.get("spoken-letters", skip=skip, hidden=(4, 3))
    reach = {f"{p.name}.w" for p in task.network(0).projections if p.post == task.output}
    assert set(task.readout) == reach and len(reach) == 1 + skip


def test_options_that_do_not_fit() -> None:
    for options in ({"words": "sentences"}, {"held_out": ("m9",)}, {"bins": 0}, {"hidden": (0,)}):
        with pytest.raises(tasks.UnknownTaskError, match=next(iter(options))):
            tasks.get("spoken-letters", **options)
    with pytest.raises(OptionError, match="hidden"):
        tasks.get("spoken-letters", hidden=()).network(0)


def test_without_the_program_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_speech.shutil, "which", lambda name: None)
    with pytest.raises(OptionError, match=r"no program 'espeak-ng'.*apt-get install espeak-ng"):
        utterances.__wrapped__("letters")


def test_what_was_heard_is_kept_and_a_broken_file_is_heard_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, str]] = []

    def say(word: str, voice: str, pitch: int, speed: int) -> np.ndarray:
        said.append((word, voice))
        return np.full((len(word) + pitch) % 7 + 1, hash_of(word, voice, pitch))

    def hash_of(*what: Any) -> float:
        return float(sum(map(ord, "".join(map(str, what)))) % 11)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(synthetic_speech, "_synthesiser", lambda: "test 1.0")
    monkeypatch.setattr(synthetic_speech, "said", say)
    monkeypatch.setattr(synthetic_speech, "spikes", lambda sound: np.arange(CHANNELS)[None] % (sound[:, None] + 2) == 0)
    first = utterances.__wrapped__("digits")
    assert len(said) == len(first.spikes) == 390
    (path,) = tmp_path.rglob("*.npz")
    for damage in (None, b"", path.read_bytes()[:-30]):
        said.clear()
        if damage is not None:
            path.write_bytes(damage)
        again = utterances.__wrapped__("digits")
        assert len(said) == (0 if damage is None else 390)
        for a, b in zip(first.spikes, again.spikes, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(first.word, again.word)
        np.testing.assert_array_equal(first.voice, again.voice)


def test_the_cochlea_hears_what_is_said() -> None:
    """High tones in low channels, as Lyon's filters are counted; a word is the same when it is said again."""
    needs("spoken-letters")
    time = np.arange(5000) / synthetic_speech.RATE
    loudest = [
        synthetic_speech.spikes(0.5 * np.sin(2 * np.pi * f * time)).sum(axis=0).argmax() for f in (300, 1000, 3000)
    ]
    assert loudest[0] > loudest[1] > loudest[2]
    a, b = (synthetic_speech.said("seven", "f2", 50, 160) for _ in "ab")
    np.testing.assert_array_equal(a, b)
    assert np.abs(a[[0, -1]]).min() > synthetic_speech.QUIET and np.abs(a).max() <= 1
