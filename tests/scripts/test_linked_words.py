"""The example of linked modules on made-up sounds: two that learn apart, a text that links them, and what is frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuro.options import OptionError
from tasks.spoken_digits import Recordings
from twinspike.models import linked_words
from twinspike.models.linked_words import APART, LINKED, RANDOM, TOGETHER, WHOLE, Sizes, run_all
from twinspike.models.linked_words import linked_words as study_part
from twinspike.study import Study


def made_up(channels: int) -> Recordings:
    """Ten words: each lifts a band of its own; seven recordings of each, of unequal lengths."""
    random = np.random.default_rng(0)
    digit, index = (a.ravel() for a in np.meshgrid(np.arange(10), np.arange(7), indexing="ij"))
    features = [random.normal(size=(random.integers(16, 30), channels)) + 2 * np.eye(channels)[d] for d in digit]
    return Recordings(tuple(features), digit, np.full(len(digit), "somebody"), index)


def test_modules_apart_then_linked_then_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked_words, "recordings", made_up)
    found = run_all(tmp_path, Sizes(2, 20, 40, 2), seed=0)
    assert set(found[APART]) == {"low", "high"} and {LINKED, RANDOM, WHOLE, TOGETHER} < set(found)
    assert found[f"{LINKED}: unchanged"] and found[f"{RANDOM}: unchanged"] and found["moved together"]
    assert found[LINKED] > 0.5
    lines = found["text"].splitlines()
    assert "population high_features: 24 x unit, frozen" in lines
    assert "projection from_low: low_features -> third_units, sum, AllToAll" in lines
    assert (tmp_path / "together.toml").read_text().count("frozen = false") == 1


def test_without_the_recordings_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(channels: int) -> Recordings:
        raise OptionError("there is no file 'fsdd.npz'")

    monkeypatch.setattr(linked_words, "recordings", missing)
    study = Study("data-parallel", tmp_path, quick=True)
    study_part(study)
    assert [(c.name, c.holds, c.lacks) for c in study.criteria] == [
        ("D4 linked modules", None, "there is no file 'fsdd.npz'")
    ]
