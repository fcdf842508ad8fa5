"""tonic's data sets as tasks: the same spikes as our own reader of the same file; slices; cameras; what doesn't fit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tasks
from neuro import Input, Network, Population, Projection, library
from neuro.events import Events
from neuro.language.units import quantity
from neuro.options import OptionError
from neuro.registry import MissingPackageError
from tasks.event_files import read_lists
from tests.tasks.own_data import spike_lists

WINDOW = 15625.0  # microseconds: spikes of the files are as far apart


def network(channels: int, classes: int = 20) -> Network:
    cells = Population("out", library.get("lif"), classes)
    weights = quantity(np.full((channels, classes), 2.0), "nA")
    return Network(
        (cells,), (Projection("link", "x", "out", library.get("pulse"), weights),), (Input("x", channels),), dt="1 ms"
    )


def tonics(folder: Path, number: int = 8) -> Any:
    """tonic's SHD on a file that this writes."""
    tonic = pytest.importorskip("tonic", reason="tonic isn't installed: pip install 'twinspike[events]'")

    def more(file: h5py.File) -> None:
        file["extra/keys"], file["extra/speaker"] = np.arange(20), np.zeros(number, int)

    (folder / "SHD").mkdir()
    spike_lists(folder / "SHD" / "shd_train.h5", number, more)
    (folder / "SHD" / "shd_train.h5.zip").write_bytes(b"")  # what it was unpacked from
    return tonic.datasets.SHD(str(folder))


def test_the_same_spikes_as_ours(tmp_path: Path) -> None:
    found = tasks.from_tonic(tonics(tmp_path), network(700), time_window=WINDOW, test=0.25)
    ours, labels = read_lists(tmp_path / "SHD" / "shd_train.h5", 700, 20)
    steps = max(len(t) for t, _ in ours)
    for side in (found.train, found.test):
        for k, label in enumerate(side.y):
            times, units = ours[int(np.flatnonzero(labels == label)[0])]
            np.testing.assert_array_equal(
                side.x["x"][[k]], Events.from_times([times], [units], (1, steps, 700), WINDOW * 1e-6)
            )
            assert side.mask[k].sum() == len(times)
    assert sorted([*found.train.y, *found.test.y]) == list(range(8))
    batch = next(iter(found.train_batches(np.random.default_rng(0), 4)))
    assert found.metric(found.perfect(batch), batch) == 1


def test_slices(tmp_path: Path) -> None:
    """Recordings in parts of four steps are examples of their own."""
    shd = tonics(tmp_path)
    from tonic import SlicedDataset
    from tonic.slicers import SliceByTime

    sliced = SlicedDataset(shd, slicer=SliceByTime(time_window=4 * WINDOW, include_incomplete=True))
    found = tasks.from_tonic(sliced, network(700), time_window=WINDOW)
    whole = tasks.from_tonic(shd, network(700), time_window=WINDOW)
    assert len(found.train) + len(found.test) == len(sliced) > 8
    assert found.train.x["x"].shape[1] == 4 < whole.train.x["x"].shape[1]


def test_a_camera(tmp_path: Path) -> None:
    """Channels are polarity, row, column; events of one pixel in one step are one spike."""
    pytest.importorskip("tonic", reason="tonic isn't installed: pip install 'twinspike[events]'")
    kind = np.dtype([("t", int), ("x", int), ("y", int), ("p", int)])
    events = np.array([(0, 2, 1, 0), (400, 2, 1, 0), (900, 0, 0, 1), (1000, 1, 1, 1)], kind)
    pairs = [(events, 0), (events[:3], 1), (events, 0), (events, 1)]
    found = tasks.from_tonic(pairs, network(12, 2), time_window=1000, sensor_size=(3, 2, 2), test=0.25)
    every = np.concatenate([np.asarray(s.x["x"]) for s in (found.train, found.test)])
    assert every.shape == (4, 2, 12) and every.sum() == 3 * 3 + 2
    assert {tuple(place) for place in np.argwhere(every)[:, 1:].tolist()} == {(0, 5), (0, 6), (1, 10)}
    for wrong, what in (({"sensor_size": ()}, "sensor_size"), ({"time_window": 0}, "time_window")):
        with pytest.raises(OptionError, match=what):
            tasks.from_tonic(pairs, network(12, 2), **{"time_window": 1000, "sensor_size": (3, 2, 2), **wrong})
    with pytest.raises(OptionError, match="no recordings"):
        tasks.from_tonic([], network(12, 2), time_window=1000, sensor_size=(3, 2, 2))


def test_without_tonic(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tonic", "tonic.transforms"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r"from_tonic needs .*tonic.*pip install 'twinspike\[events\]'"):
        tasks.from_tonic([], network(4), time_window=1000)
