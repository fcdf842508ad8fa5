"""Neo's blocks, pandas' tables and NWB's files hold the numbers of the recording."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro import Recording
from neuro.registry import MissingPackageError

DT, STEPS, EVERY = 1e-3, 40, 5
RNG = np.random.default_rng(3)


def recording() -> Recording:
    spikes = {"E": RNG.random((2, STEPS, 4)) < 0.2, "I": np.zeros((2, STEPS, 2), bool)}
    traces = {"E.v": RNG.normal(-0.06, 0.01, (2, STEPS // EVERY, 4)), "s.w": RNG.normal(size=(2, STEPS // EVERY, 2, 2))}
    return Recording(DT, spikes, traces, EVERY, units={"E.v": "volt", "s.w": "amp"})


def test_neo() -> None:
    found = recording()
    block = found.to_neo()
    assert [s.name for s in block.segments] == ["trial 0", "trial 1"]
    for trial, segment in enumerate(block.segments):
        assert len(segment.spiketrains) == 6
        for train in segment.spiketrains:
            name, cell = train.annotations["population"], train.annotations["cell"]
            right = np.flatnonzero(found.spikes[name][trial, :, cell]) * DT * 1e3
            np.testing.assert_allclose(train.rescale("ms").magnitude, right)
            assert float(train.t_stop.rescale("ms")) == pytest.approx(STEPS * DT * 1e3)
        voltage, weight = segment.analogsignals
        np.testing.assert_allclose(voltage.rescale("mV").magnitude, found.traces["E.v"][trial] * 1e3)
        np.testing.assert_allclose(voltage.times.rescale("s").magnitude, found.sample_times("E.v").to("second"))
        assert weight.rescale("nA").shape == (STEPS // EVERY, 4)
        assert list(weight.array_annotations["column"]) == ["0, 0", "0, 1", "1, 0", "1, 1"]


def test_neo_is_read_by_elephant() -> None:
    """Its mean rates are ours."""
    import quantities as pq
    from elephant.statistics import mean_firing_rate

    found = recording()
    trains = found.to_neo().segments[1].spiketrains[:4]
    theirs = [float(mean_firing_rate(t, t_start=0 * pq.s, t_stop=STEPS * DT * pq.s).rescale("Hz")) for t in trains]
    np.testing.assert_allclose(theirs, found.spikes["E"][1].sum(axis=0) / (STEPS * DT))


def test_pandas() -> None:
    pytest.importorskip("pandas", reason="needs the extra 'pandas'")
    found = recording()
    spikes, traces = found.to_pandas()
    assert list(spikes.columns) == ["population", "trial", "cell", "time"] and len(spikes) == found.spike_count() > 20
    one = spikes[(spikes.population == "E") & (spikes.trial == 1) & (spikes.cell == 2)]
    np.testing.assert_allclose(one.time, np.flatnonzero(found.spikes["E"][1, :, 2]) * DT)
    assert traces.shape == (2 * STEPS // EVERY, 8) and traces.attrs["units"] == found.units
    np.testing.assert_array_equal(traces.loc[1][("E.v", 3)], found.traces["E.v"][1, :, 3])
    np.testing.assert_array_equal(traces[("s.w", "1, 0")], found.traces["s.w"][:, :, 1, 0].ravel())
    np.testing.assert_allclose(traces.loc[0].index, found.sample_times("E.v").to("second"))
    only = Recording(DT, {}, {}).to_pandas()
    assert len(only.spikes) == 0 and len(only.traces) == 0


def test_nwb(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb", reason="needs the extra 'nwb'")
    found = recording()
    path = found.to_nwb(tmp_path / "run.nwb", session_description="mine")
    assert list(tmp_path.iterdir()) == [path]
    assert pynwb.validate(path=str(path)) == []
    with pynwb.NWBHDF5IO(str(path), "r") as stream:
        file = stream.read()
        assert file.session_description == "mine"
        np.testing.assert_allclose(file.trials["stop_time"][:], [STEPS * DT, 2 * STEPS * DT])
        units = file.units.to_dataframe()
        assert list(zip(units.population, units.cell, strict=True)) == [
            *(("E", i) for i in range(4)),
            ("I", 0),
            ("I", 1),
        ]
        right = np.flatnonzero(found.spikes["E"][:, :, 3].ravel()) * DT
        np.testing.assert_allclose(units.spike_times[3], right)
        series = file.acquisition["E.v"]
        assert series.unit == "volt"
        np.testing.assert_array_equal(series.data[:], found.traces["E.v"].reshape(-1, 4))
        own = found.sample_times("E.v").to("second")
        np.testing.assert_allclose(series.timestamps[:], np.concatenate([own, own + STEPS * DT]))


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    pytest.importorskip("pynwb", reason="needs the extra 'nwb'")
    path = tmp_path / "run.nwb"
    path.write_bytes(b"old")
    with pytest.raises((TypeError, ValueError)):
        recording().to_nwb(path, session_description=3)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("package", "call", "command"),
    [
        ("neo", lambda r, path: r.to_neo(), "pip install 'twinspike[analysis]'"),
        ("pandas", lambda r, path: r.to_pandas(), "pip install 'twinspike[pandas]'"),
        ("pynwb", lambda r, path: r.to_nwb(path), "pip install 'twinspike[nwb]'"),
    ],
)
def test_a_package_that_is_missing_is_named(
    package: str, call: Any, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=re.escape(command)):
        call(recording(), tmp_path / "run.nwb")
    assert list(tmp_path.iterdir()) == []
