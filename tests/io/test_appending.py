"""A recording that is appended part by part: readable at any moment, resumed after a kill to the same file, in flat memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import backends
from neuro import Recording, quantity
from neuro.io.results import FinishedError, ResultsError, append_recording, open_run, write_group, write_recording
from neuro.io.serialisation import content_hash, from_json
from tests.backends.networks import drive, networks
from tests.io.test_recordings import same
from tests.io.test_results import ROOT, begin, complete

NETWORKS = networks()
STEPS = 100


class Long:
    """A run of one network, whole and in parts."""

    def __init__(self, feature: str = "plastic", backend: str = "native", every: int = 2, **options: Any) -> None:
        self.network = NETWORKS[feature]
        self.program = backends.get(backend).compile(self.network, **options)
        record = [f"{p.name}.{v}" for p in self.network.populations for v in p.neuron.scope.states]
        self.options: dict[str, Any] = {"record": record, "batch": 2, "every": every}

    def inputs(self, first: int, last: int) -> dict[str, np.ndarray[Any, Any]]:
        return {n: a[:, first:last] for n, a in drive(self.network, steps=STEPS).items()}

    def whole(self) -> Recording:
        found: Recording = self.program.run(inputs=self.inputs(0, STEPS), steps=STEPS, **self.options)
        assert found.spike_count() > 50
        return found

    def parts(self, done: int = 0, state: Any = None, chunk: int = 32, last: int = STEPS) -> Any:
        return self.program.stream(
            inputs=lambda a, b: self.inputs(a + done, b + done),
            steps=last - done,
            chunk=chunk,
            state=state,
            **self.options,
        )


def cut(found: Recording, first: int, last: int) -> Recording:
    traces = {n: a[..., first // found.every : last // found.every, :] for n, a in found.traces.items()}
    return Recording(found.dt, {n: a[..., first:last, :] for n, a in found.spikes.items()}, traces, found.every)


def equal(found: Recording, whole: Recording) -> None:
    """Spikes and traces."""
    same(replace(found, final={}, end=None), replace(cut(whole, 0, STEPS), final={}))


@pytest.mark.parametrize("backend", ["native", "reference", "torch", "brian2"])
@pytest.mark.parametrize("feature", ["plastic", "noise", "heterogeneous delays", "poisson", "readout"])
def test_parts_are_read_as_the_whole_and_while_they_come(feature: str, backend: str, tmp_path: Path) -> None:
    run, path = Long(feature, backend), tmp_path / "run.h5"
    whole = run.whole()
    with append_recording(path, run.network) as file:
        for part in run.parts():
            file.append(part)
            found = open_run(path).recording()
            assert file.steps == found.state.step and not open_run(path).complete
            same(replace(found, final={}, end=None), replace(cut(whole, 0, file.steps), final={}))
            same(Recording(1, final=found.final, end=found.end), Recording(1, final=part.final, end=part.end))
    assert open_run(path).complete
    same(open_run(path).recording(), whole)
    assert content_hash(from_json(open_run(path).model)) == content_hash(run.network)


def test_a_complete_file_is_laid_out_as_if_it_were_written_at_once(tmp_path: Path) -> None:
    run, appended, written = Long(), tmp_path / "appended.h5", complete(tmp_path / "written.h5")
    with append_recording(appended, run.network) as file:
        for part in run.parts():
            file.append(part)
    write_recording(written, run.whole(), {"cells.v": "volt"})
    with h5py.File(appended) as ours, h5py.File(written) as theirs:
        for group in ("spikes", "traces", "report", "final", "state"):
            names: list[str] = []
            theirs[group].visit(names.append)
            assert names
            for name in names:
                a, b = ours[group][name], theirs[group][name]
                for key in b.attrs:
                    if key in ("unit", "axes") and group == "state":
                        continue  # the other file has no network that gives them
                    np.testing.assert_array_equal(a.attrs[key], b.attrs[key])
                if isinstance(b, h5py.Dataset):
                    assert a.dtype == b.dtype
                    np.testing.assert_array_equal(a[()], b[()])
    write_group(appended, "comparison", {"a": 1})
    write_recording(appended, Recording(1e-3, {"c": np.zeros((1, 5, 3), bool)}), {})
    assert open_run(appended).recording().spikes["c"].shape == (1, 5, 3)
    with h5py.File(appended) as file:
        assert {*file} == {"model", "config", "spikes", "comparison"}


def test_sonata_readers_open_it(tmp_path: Path) -> None:
    libsonata = pytest.importorskip("libsonata")
    run, path = Long("noise"), tmp_path / "run.h5"
    whole = run.whole()
    with append_recording(path, run.network) as file:
        for part in run.parts():
            file.append(part)
    raster = whole.spikes["cells"]
    read = [(int(n), round(float(t), 6)) for n, t in libsonata.SpikeReader(str(path))["cells"].get()]
    assert sorted(read) == sorted((b * raster.shape[2] + n, float(k)) for b, k, n in np.argwhere(raster))
    frames = libsonata.SomaReportReader(str(path))["cells"].get()
    np.testing.assert_allclose(frames.times, np.arange(1, STEPS, 2), atol=1e-9)
    np.testing.assert_array_equal(frames.data, np.hstack(whole.traces["cells.v"]).astype(np.float32))


@pytest.mark.parametrize("how", ["appended", "written"])
def test_a_range_of_steps_is_read_alone(how: str, tmp_path: Path) -> None:
    run, path = Long(), tmp_path / "run.h5"
    whole = run.whole()
    if how == "appended":
        with append_recording(path, run.network) as file:
            for part in run.parts():
                file.append(part)
    else:
        write_recording(complete(path), whole, {})
    reader = open_run(path)
    for first, last in ((0, 1), (0, 100), (10, 33), (32, 64), (50, 50), (98, 100)):
        found = reader.recording(first, last)
        same(replace(found, final={}, end=None), cut(whole, first, last))
        assert (found.end is None) == (last < STEPS) == (not found.final)
    with h5py.File(path, "r+") as file:  # what isn't asked for may be anything
        file["traces/cells/v"][:, :10] = np.nan
        file["spikes/cells/node_ids"][0] = 10**6
    same(replace(reader.recording(40, 60), final={}), cut(whole, 40, 60))
    with pytest.raises(ResultsError, match="spikes outside"):
        reader.recording()
    for first, last, message in (
        (0, 101, "the recording has 100 steps, not those from 0 to 101"),
        (60, 50, "not those from 60 to 50"),
        (-2, 50, "not those from -2"),
        (3, 50, "steps from 3 of a recording with every=2; begin at 2"),
    ):
        with pytest.raises(ResultsError, match=message):
            reader.recording(first, last)


@pytest.mark.parametrize("chunk", [8, 50])
@pytest.mark.parametrize("kept", [0, 1, 2, 4])
def test_a_stopped_recording_goes_on(kept: int, chunk: int, tmp_path: Path) -> None:
    """Also in other parts, and on another day."""
    run, path = Long(), tmp_path / "run.h5"
    with pytest.raises(KeyboardInterrupt), append_recording(path, run.network) as file:
        for i, part in enumerate(run.parts(chunk=8)):
            if i == kept:
                raise KeyboardInterrupt
            file.append(part)
    assert not open_run(path).complete
    with append_recording(path, run.network, resume=True) as file:
        assert file.steps == 8 * kept and (file.state is None) == (kept == 0)
        for part in run.parts(file.steps, file.state, chunk):
            file.append(part)
    same(open_run(path).recording(), run.whole())
    with pytest.raises(FinishedError, match="is complete; there is nothing to resume"):
        append_recording(path, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_a_recording_that_lacks_only_its_end(tmp_path: Path) -> None:
    """All parts are there, the last one between two frames; nothing is left to run."""
    run, path = Long(every=7), tmp_path / "run.h5"
    file = append_recording(path, run.network)
    for part in run.parts(chunk=28):
        file.append(part)
    file.close()
    with append_recording(path, resume=True) as file:
        assert file.steps == STEPS
        for part in run.parts(file.steps, file.state, chunk=28):
            file.append(part)
    same(open_run(path).recording(), run.whole())


def test_a_recording_may_begin_with_a_state(tmp_path: Path) -> None:
    run, path = Long(), tmp_path / "run.h5"
    state = next(iter(run.parts(chunk=30))).state
    file = append_recording(path, run.network, state=state)
    file.close()
    with append_recording(path, resume=True) as file:  # before its first part
        assert file.state is not None and file.state.differences(state) == {} and file.steps == 0
        for part in run.parts(30, file.state, chunk=10):
            file.append(part)
    found = open_run(path).recording()
    same(replace(found, final={}, end=None), cut(run.whole(), 30, 100))
    assert found.state.step == 100


def test_parameter_sets_and_single_precision(tmp_path: Path) -> None:
    program = backends.get("native").compile(NETWORKS["noise"], dtype="float32")
    sets = {"feed.w": np.stack([np.full((7, 5), w) for w in (1e-9, 2e-9)])}
    options: dict[str, Any] = {"record": ["cells.v"], "population": 2, "every": 3}
    inputs = drive(NETWORKS["noise"], steps=60)
    whole, path = program.run(sets, inputs, **options), tmp_path / "run.h5"
    with append_recording(path, NETWORKS["noise"], semantics=program.semantics.to_data(), config={"by": "me"}) as file:
        for part in program.stream(sets, inputs, steps=60, chunk=24, **options):
            file.append(part)
    reader = open_run(path)
    same(reader.recording(), whole)
    assert whole.spikes["cells"].shape == (2, 2, 60, 5) and whole.traces["cells.v"].dtype == np.float32
    assert reader.semantics["dtype"] == "float32" and reader.config == {"by": "me"}


def test_parts_that_dont_follow_are_refused_and_leave_the_file(tmp_path: Path) -> None:
    run, path = Long(), tmp_path / "run.h5"
    first, second, third, _ = run.parts()
    with append_recording(path, run.network) as file:
        file.append(first)
        single = Long(dtype="float32")
        bad: list[tuple[Any, str]] = [
            (third, "the file ends at step 32, and the part's state is of step 96"),
            (first, "the file ends at step 32, and the part's state is of step 32"),
            (replace(second, every=1), "the part has dt=0.001, every=1; the file dt=0.001, every=2"),
            (replace(second, traces={}), r"the part has traces of \[\], the file of \['cells.v'\]"),
            (replace(second, spikes={}), r"the part has spikes of \[\], the file of \['cells'\]"),
            (next(single.parts(32, first.state)), "traces of 'cells.v' are float32"),
            (replace(second, final={"x.w": np.zeros(1)}), r"the final values of \['x.w'\] are no part of the state"),
            ("part", r"a part is 'part'; give a Recording: file.append\("),
        ]
        for part, message in bad:
            with pytest.raises(ResultsError, match=message):
                file.append(part)
        assert file.steps == 32
        for part in (second, third):
            file.append(part)
        file.append(next(run.parts(96, file.state)))
    same(open_run(path).recording(), run.whole())
    with pytest.raises(ResultsError, match=r"is closed; go on with append_recording\(path, resume=True\)"):
        file.append(first)
    odd = tmp_path / "odd.h5"
    with append_recording(odd, run.network) as file:
        file.append(next(run.parts(last=33)))
        file.append(next(run.parts(32, first.state, last=33)))
        with pytest.raises(ResultsError, match="no part follows after 33 steps with every=2"):
            file.append(next(run.parts(33, file.state)))


def test_what_is_in_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, path = NETWORKS["plastic"], tmp_path / "run.h5"
    other = replace(network, dt=quantity("0.5 ms"), name="other")
    with pytest.raises(ResultsError, match=r"there is no recording .* to resume"):
        append_recording(path, network, resume=True)
    with pytest.raises(ResultsError, match=r"the network is None; give the one that runs"):
        append_recording(path)
    assert not path.exists()
    with pytest.raises(ResultsError, match="can't write"):
        append_recording(tmp_path / "folder" / "run.h5", network)
    file = append_recording(path, network)
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(ResultsError, match="is being written by another run"):
            append_recording(path, network, **options)
    with pytest.raises(ResultsError, match="holds no recording"):
        open_run(path).recording()
    file.close()
    with pytest.raises(ResultsError, match="exists; continue it with resume=True, replace it with overwrite=True"):
        append_recording(path, network)
    with pytest.raises(ResultsError, match="a recording of another network, 'plastic', than 'other'"):
        append_recording(path, other, resume=True)
    with pytest.raises(ResultsError, match="leave state out"):
        append_recording(path, resume=True, state=next(iter(Long().parts())).state)
    with pytest.raises(ResultsError, match=r"is not complete; finish it with .*resume=True"):
        write_group(path, "x", {"a": 1})
    begin(tmp_path / "training.h5").close()
    with pytest.raises(ResultsError, match=r"is the file of a training run; continue it with train\.py"):
        append_recording(tmp_path / "training.h5", resume=True)
    with append_recording(path, other, overwrite=True):
        pass
    assert open_run(path).complete


def test_another_process_reads_and_is_kept_from_writing(tmp_path: Path) -> None:
    run, path = Long(), tmp_path / "run.h5"
    code = (
        "import sys; from neuro.io.results import *\n"
        "r = open_run(sys.argv[1]); f = r.recording(); print(r.complete, f.spike_count(), f.state.step)\n"
        "append_recording(sys.argv[1], resume=True)"
    )
    with append_recording(path, run.network) as file:
        for part in run.parts(chunk=50):
            file.append(part)
            found = subprocess.run(
                [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, cwd=ROOT
            )
            counted = int(run.whole().spikes["cells"][:, : file.steps].sum())
            assert found.stdout.split() == ["False", str(counted), str(file.steps)]
            assert "is being written by another run" in found.stderr


@pytest.mark.timeout(300)
def test_killed_at_twelve_random_moments_it_ends_in_the_same_file(tmp_path: Path) -> None:
    """A reader beside it finds a consistent prefix all the time, and after each kill."""
    command = [sys.executable, "-m", "tests.io.killed", str(tmp_path), "12", "0"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["stops"] == sorted(told["stops"]) and len(told["stops"]) == 12
    assert told["stops"][-1] > 0 and told["reads"] > 20


def test_memory_follows_the_parts(tmp_path: Path) -> None:
    """Peak of Python's allocations."""
    network = NETWORKS["noise"]
    program = backends.get("native").compile(network)

    def spikes(first: int, last: int) -> dict[str, np.ndarray[Any, Any]]:
        return {"x": np.random.default_rng(first).random((1, last - first, 7)) < 0.1}

    def peak(steps: int) -> int:
        tracemalloc.start()
        with append_recording(tmp_path / "run.h5", network, overwrite=True) as file:
            for part in program.stream(inputs=spikes, steps=steps, chunk=1000, record=["cells.v"], every=10):
                file.append(part)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2000)
    assert peak(20_000) < 1.3 * peak(2000)


HOSTILE: dict[str, tuple[Any, str]] = {
    "rows of another width": (lambda f: _rows(f, np.zeros((1, 9))), "parts: .* where rows of 4 whole numbers belong"),
    "no whole row": (lambda f: f["parts"].__setitem__(slice(None), 1), "parts: no part is whole"),
    "a group": (lambda f: (f.__delitem__("parts"), f.create_group("parts")), "parts: a group, not a dataset"),
    "more spikes than there are": (lambda f: f["spikes/cells/timestamps"].resize(3, axis=0), "cells: 3 spikes, where its parts"),
    "fewer frames": (lambda f: f["traces/cells/v"].resize(3, axis=1), "v: entries from 0 to 50 of an array of the shape"),
    "another state": (lambda f: f["state/variables/cells.v"].__setitem__(0, 0), "its last state is not the one"),
    "no step": (lambda f: f["state"].attrs.__delitem__("step"), "its last state is not the one"),
}  # fmt: skip


def _rows(file: h5py.File, rows: np.ndarray[Any, Any]) -> None:
    del file["parts"]
    file["parts"] = rows.astype("<i8")


@pytest.mark.parametrize("name", HOSTILE)
def test_damage_is_named(name: str, tmp_path: Path) -> None:
    run, path = Long(), tmp_path / "run.h5"
    with append_recording(path, run.network) as file:
        for part in run.parts():
            file.append(part)
    damage, message = HOSTILE[name]
    with h5py.File(path, "r+") as opened:
        damage(opened)
    with pytest.raises(ResultsError, match=message):
        open_run(path).recording()
    with h5py.File(path, "r+") as opened:
        opened.attrs["complete"] = False
    with pytest.raises(ResultsError):
        append_recording(path, resume=True)
