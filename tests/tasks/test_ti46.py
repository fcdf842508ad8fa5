"""TI46: what the names of its recordings say, and what is said where they are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tasks
from neuro.options import OptionError
from tests.tasks.own_data import ti46


def test_names(tmp_path: Path) -> None:
    """The first two characters are the word, the session says the side, in whatever folders and letters."""
    task = tasks.get("ti46", hidden=(6,), **ti46(tmp_path / "x"))
    train, valid, test = task.sides
    assert [len(s) for s in (train, valid, test)] == [9, 1, 8]
    assert np.bincount(task.data.labels[np.concatenate([train, valid])]).tolist() == [5, 5]
    assert np.bincount(task.test_batch().targets).tolist() == [4, 4]
    loudest = np.array([s[:-3].mean(axis=0).argmax() for s in task.data.sequences])
    assert loudest[task.data.labels == 0].max() < loudest[task.data.labels == 1].min()  # 400 and 1600 Hz


def test_what_is_missing(tmp_path: Path) -> None:
    options = ti46(tmp_path / "x")
    for wrong, what in (
        ({"hidden": ()}, "hidden"),
        ({"words": ()}, "words"),
        ({"valid": 1.0}, "valid"),
        ({"frames": 0}, "frames"),
    ):
        with pytest.raises(tasks.UnknownTaskError, match=what):
            tasks.get("ti46", **{**options, **wrong})
    with pytest.raises(OptionError, match=r"no recordings of '03' for training, or none for the test.*LDC93S9"):
        tasks.get("ti46", **{**options, "words": ["03"]}).test_batch()
    with pytest.raises(OptionError, match=r"no folder '.*none'.*LDC93S9"):
        tasks.get("ti46", folder=str(tmp_path / "none")).test_batch()
    (tmp_path / "x" / "train" / "00f9seT0.wav").symlink_to("/dev/zero")
    with pytest.raises(OptionError, match="link out of its folder"):
        tasks.get("ti46", **options).test_batch()
