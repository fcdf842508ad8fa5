"""Words as spikes: what a fibre hears, files of spikes in the published layouts, and what of a broken one is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tasks
from neuro.io.hdf5 import ResultsError
from neuro.options import OptionError
from tasks.cochlea import FIBRES, STEP, centres, fibres
from tasks.event_files import read_lists, read_named
from tasks.spoken_spikes import SOURCES
from tests.tasks.own_data import spike_lists
from tests.tasks.recordings import needs

RATE = 8000.0
TIME = np.arange(4000) / RATE


def test_fibres_hear_their_frequency() -> None:
    """A tone is loudest at the fibre of its frequency; fibres are evenly apart in equivalent rectangular bandwidths of 24.7 (1 + 0.00437 f)."""
    f = centres(RATE)
    assert f.shape == (FIBRES,) and f[0] == pytest.approx(60) and f[-1] == pytest.approx(3600)
    apart = np.diff(f) / (24.7 * (1 + 0.00437 * (f[1:] + f[:-1]) / 2))
    np.testing.assert_allclose(apart, apart[0], rtol=1e-3)
    for channel in (150, 350, 550):
        ((_, heard),) = fibres([np.sin(2 * np.pi * f[channel] * TIME)], RATE)
        count = np.bincount(heard, minlength=FIBRES)
        assert abs(np.flatnonzero(count == count.max()).mean() - channel) < 15 and count.max() > 30
        assert count[max(0, channel - 300)] < count.max() / 3


def test_spikes_come_when_the_sound_does() -> None:
    """Loudness doesn't matter, nor what is heard together; silence has no spikes; each sound ends its own."""
    tone = np.where(TIME > 0.3, np.sin(2 * np.pi * 1000 * TIME), 0.0)
    alone, louder = fibres([tone], RATE)[0], fibres([-3e4 * tone], RATE)[0]
    others = fibres([np.zeros(900), tone, tone[:2900], np.zeros(0), np.sin(3000 * TIME)], RATE)
    for found in (louder, others[1]):
        np.testing.assert_array_equal(found[0], alone[0])
        np.testing.assert_array_equal(found[1], alone[1])
    near = abs(centres(RATE)[alone[1]] - 1000) < 100
    assert alone[0][near].min() > 0.3 and near.sum() > 500 and alone[0].max() < len(tone) / RATE + 0.02
    assert len(others[0][0]) == len(others[3][0]) == 0 and others[2][0].max() < 2900 / RATE + 0.02
    assert np.diff(np.sort(alone[0][alone[1] == np.bincount(alone[1]).argmax()])).min() >= 3 * STEP - 1e-9


def put(name: str, value: Any) -> Callable[[h5py.File], None]:
    """Replaces an item, or one list of it."""

    def change(file: h5py.File) -> None:
        if isinstance(value, tuple):
            file[name][value[0]] = value[1]
        else:
            del file[name]
            if value is not None:
                file[name] = value

    return change


def test_lists(tmp_path: Path) -> None:
    spikes, labels = read_lists(spike_lists(tmp_path / "x.h5", 4), 700, 20)
    assert labels.tolist() == [0, 1, 2, 3] and [len(t) for t, _ in spikes] == [3, 4, 5, 6]
    np.testing.assert_allclose(spikes[2][0], np.arange(5) / 64)
    assert spikes[2][1].tolist() == [0, 100, 200, 300, 400]
    with pytest.raises(OptionError, match=r"x\.h5' has 4 recordings, the published file 8156"):
        read_lists(tmp_path / "x.h5", 700, 20, 8156)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (put("labels", None), "labels.* missing"),
        (put("labels", np.arange(3)), "and labels"),
        (put("labels", np.full(7, 20)), "labels from 20 to 20"),
        (put("labels", np.arange(7.0)), "labels.*float64"),
        (put("spikes/times", np.zeros((7, 2))), "lists of numbers"),
        (put("spikes/units", (3, [1, 2])), r"recording 3: \(6,\) times and \(2,\)"),
        (put("spikes/units", (0, [1, 2, 700])), "recording 0: channels from 1 to 700"),
        (put("spikes/times", (1, [0, 1, np.nan, 2])), "recording 1: times that are"),
        (put("spikes/times", (1, [0, 1, -1, 2])), "recording 1: times that are"),
        (put("spikes/times", h5py.ExternalLink("other.h5", "/times")), "link to .*must hold its own data"),
        (put("spikes/times", h5py.SoftLink("/spikes/units")), "link to .*must hold its own data"),
    ],
)
def test_broken_lists(change: Callable[[h5py.File], None], what: str, tmp_path: Path) -> None:
    with pytest.raises((OptionError, ResultsError), match=rf"x\.h5'.*{what}"):
        read_lists(spike_lists(tmp_path / "x.h5", change=change), 700, 20)


def test_sizes_that_are_declared_are_not_taken(tmp_path: Path) -> None:
    """Many more lists than the file has bytes for, a long list that many recordings name, and what is no HDF5 file."""

    def sparse(file: h5py.File) -> None:
        del file["spikes/times"]
        file.create_dataset("spikes/times", (10**9,), h5py.vlen_dtype(np.float16), chunks=(1000,))

    with pytest.raises(ResultsError, match="declares"):
        read_lists(spike_lists(tmp_path / "x.h5", change=sparse), 700, 20)
    path = spike_lists(tmp_path / "many.h5", 20, put("spikes/times", (0, np.zeros(10**5))))
    content, shown = path.read_bytes(), {}
    with h5py.File(path) as file:
        place = file["spikes/times"].id.get_offset()
    shown = content[place : place + 16]  # length, address and number of a list in the file's heap
    path.write_bytes(content[:place] + shown * 20 + content[place + 320 :])
    with pytest.raises(ResultsError, match="its lists take more than"):
        read_lists(path, 700, 20)
    (tmp_path / "text.h5").write_text("no file of spikes")
    for name in ("text.h5", "none.h5"):
        with pytest.raises(ResultsError, match=name):
            read_lists(tmp_path / name, 700, 20)


def named(path: Path, names: list[str], lacking: str = "") -> Path:
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        for part in ("train", "test"):
            file[f"{part}_labels"] = np.array(names, "S")
            for k, name in enumerate(names):
                file[f"{part}_timestamps/{name}"] = np.arange(2 + k, dtype=np.float32) * 0.1
                if name != lacking:
                    file[f"{part}_addresses/{name}"] = np.arange(2 + k) % 64
    return path


def test_named(tmp_path: Path) -> None:
    """Only single digits are read; all are counted."""
    path = named(tmp_path / "x.hdf5", ["man-ah-a-z", "man-ah-b-o", "woman-ak-a-12", "woman-ak-a-7"])
    spikes, labels = read_named(path, "test", 64, 4)
    assert labels.tolist() == [0, 10, 7] and [len(t) for t, _ in spikes] == [2, 3, 5]
    for number, names, lacking, what in (
        (8700, ["man-ah-a-z"], "", "1 recordings, the published file 8700"),
        (0, ["man-ah-a-x"], "", "'man-ah-a-x' ends in no digit"),
        (0, ["man-ah-a-1"], "man-ah-a-1", "test_addresses/man-ah-a-1.* missing"),
    ):
        with pytest.raises((OptionError, ResultsError), match=what):
            read_named(named(tmp_path / "y.hdf5", names, lacking), "test", 64, number)


def test_files_as_a_task(tmp_path: Path) -> None:
    """Parts are the files'; times are steps, a recording is read until its last spike, what is later than the steps is left out."""
    for part, number in (("train", 5), ("valid", 3), ("test", 4)):
        spike_lists(tmp_path / f"ssc_{part}.h5", number)
    options: dict[str, Any] = {"source": "ssc", "folder": str(tmp_path), "hidden": (6,)}
    with pytest.raises(OptionError, match="5 recordings, the published file 75466"):
        tasks.get("spoken-spikes", **options).test_batch()
    task = tasks.get("spoken-spikes", counted=False, steps=10, dt_ms=1000 / 128, **options)
    assert [s.tolist() for s in task.sides] == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9, 10, 11]] and task.lag == 2
    batch = task.test_batch()
    x = np.asarray(batch.inputs["x"])
    assert x.shape == (4, 12, 700) and batch.targets.tolist() == [0, 1, 2, 3]
    assert [list(zip(*np.nonzero(t), strict=True)) for t in x[[0, 3]]] == [
        [(0, 0), (2, 100), (4, 200)], [(0, 0), (2, 100), (4, 200), (6, 300), (8, 400)],
    ]  # fmt: skip
    assert batch.mask.sum(axis=1).tolist() == [5, 7, 9, 9] and not batch.mask[:, :2].any()
    for part in ("train", "test"):
        spike_lists(tmp_path / f"shd_{part}.h5", 8)
    drawn = tasks.get("spoken-spikes", source="shd", folder=str(tmp_path), counted=False, valid=0.25).sides
    assert [len(s) for s in drawn] == [6, 2, 8]


def test_published_numbers_are_those_that_are_asked_for() -> None:
    assert SOURCES["shd"].numbers == {"train": 8156, "test": 2264}
    assert SOURCES["ssc"].numbers == {"train": 75466, "valid": 9981, "test": 20382}
    assert SOURCES["n-tidigits"].numbers == {"train": 8623, "test": 8700}


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    for wrong in ({"source": "dvs"}, {"steps": 0}, {"hidden": ()}, {"dt_ms": 0.0}, {"valid": 1.0}):
        with pytest.raises(tasks.UnknownTaskError, match=next(iter(wrong))):
            tasks.get("spoken-spikes", **wrong)
    for source in ("shd", "ssc", "n-tidigits"):
        with pytest.raises(OptionError, match=r"there is no file .*CC BY"):
            tasks.get("spoken-spikes", source=source, folder=str(tmp_path)).test_batch()


@pytest.mark.slow
def test_fsdd() -> None:
    """The official split; every recording has spikes all over the ear."""
    needs("spoken-spikes")
    task = tasks.get("spoken-spikes")
    assert [len(s) for s in task.sides] == [2430, 270, 300]
    number = [len(times) for times, _ in task.data.sequences]
    assert min(number) > 1000 and 5000 < np.median(number) < 15000
    heard = np.bincount(np.concatenate([c for _, c in task.data.sequences]), minlength=FIBRES)
    assert heard.min() > 0 and heard.max() < 10 * np.median(heard)
