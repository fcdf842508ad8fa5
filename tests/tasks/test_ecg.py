"""The electrocardiogram's task: what is masked, where the labels stand, and what is said where the files are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from neuro.options import OptionError
from tasks import ecg
from tasks.ecg import CLASSES, SETTLING, STEPS, TEST, TRAIN, UNLABELLED
from tasks.files import FOLDER
from tests.tasks.recordings import needs


def made_up(monkeypatch: pytest.MonkeyPatch, number: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Recordings whose first channel counts the steps in its spikes, by labels that count too."""
    random = np.random.default_rng(0)
    spikes = random.random((number, STEPS, 4)) < 0.1
    labels = random.integers(UNLABELLED, CLASSES, (number, STEPS))
    monkeypatch.setattr(ecg, "recordings", lambda part: (spikes, labels))
    return spikes, labels


@pytest.mark.parametrize("unlabelled", [False, True])
@pytest.mark.parametrize("crop", [0, 100])
def test_labels_stand_where_the_answer_is(crop: int, unlabelled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cut is a piece of a recording; its labels are `lag` steps later than the events that they are of."""
    spikes, labels = made_up(monkeypatch)
    task = tasks.get("ecg", crop=crop, unlabelled=unlabelled)
    batches = list(task.train_batches(np.random.default_rng(1), 3))
    assert [len(b.targets) for b in batches] == [3, 3, 1]
    steps = crop or STEPS
    for batch in batches:
        events = np.asarray(batch.inputs["x"])
        assert events.shape[1] == steps + task.lag == batch.targets.shape[1]
        assert not events[:, steps:].any()
        for k, cut in enumerate(events[:, :steps]):
            places = [
                (r, t) for r in range(7) for t in range(STEPS - steps + 1)
                if np.array_equal(cut[:20], spikes[r, t : t + 20]) and np.array_equal(cut, spikes[r, t : t + steps])
            ]  # fmt: skip
            ((r, t),) = places
            own = labels[r, t : t + steps]
            counted = np.arange(steps) >= SETTLING if unlabelled else (np.arange(steps) >= SETTLING) & (own >= 0)
            np.testing.assert_array_equal(batch.mask[k], np.pad(counted, (task.lag, 0)))
            np.testing.assert_array_equal(batch.targets[k, task.lag :], np.maximum(own, 0))


@pytest.mark.parametrize("options", [{"crop": 10}, {"crop": 2000}, {"hidden": 0}])
def test_options_that_do_not_fit(options: dict[str, Any]) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=next(iter(options))):
        tasks.get("ecg", **options)


def test_files_that_are_missing_or_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    ecg.recordings.cache_clear()
    with pytest.raises(OptionError, match=rf"there is no file .*QTDB_test.mat.*get it: .*{FOLDER}"):
        tasks.get("ecg").test_batch()
    (tmp_path / TEST.name).write_bytes(b"another")
    with pytest.raises(OptionError, match="is not the test recordings"):
        tasks.get("ecg").test_batch()


def test_the_recordings_are_those_of_the_publication() -> None:
    """Counts and shares of the published files."""
    needs("ecg")
    for part, number, unlabelled, shares in (
        (TRAIN, 618, 0.082, (0.136, 0.067, 0.063, 0.048, 0.329, 0.356)), (TEST, 141, 0.104, (0.147, 0.062, 0.060, 0.055, 0.340, 0.336)),
    ):  # fmt: skip
        spikes, labels = ecg.recordings(part)
        assert spikes.shape == (number, STEPS, 4) and spikes.dtype == bool
        assert (labels == UNLABELLED).mean() == pytest.approx(unlabelled, abs=5e-4)
        found = np.bincount(labels[labels >= 0]) / (labels >= 0).sum()
        np.testing.assert_allclose(found, shares, atol=6e-4)
        assert not (spikes[..., 0] & spikes[..., 1]).any() and not (spikes[..., 2] & spikes[..., 3]).any()
