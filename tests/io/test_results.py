"""The store: round trips, damage, and kills at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuro import Recording
from neuro.compiler.parameters import Parameter
from neuro.io.results import FinishedError, ResultsError, Run, checkpoint_path, open_run, write_group, write_recording
from neuro.language.units import unit

WEIGHT = Parameter("feed.w", np.zeros((2, 3)), "nA", unit("nA").dimension, ("pre", "post"))
ROOT = Path(__file__).parents[2]


def begin(path: Path, **options: bool) -> Run:
    return Run.create(path, model="{}", semantics={"dt": 1e-3}, config={"a": 1}, seed=3, metrics=("loss",), **options)


def complete(path: Path) -> Path:
    run = begin(path)
    run.log(1, {"loss": 0.5})
    run.finish({"feed.w": np.arange(6.0).reshape(2, 3)}, {"feed.w": WEIGHT}, 1)
    return path


def test_round_trip(tmp_path: Path) -> None:
    reader = open_run(complete(tmp_path / "run.h5"))
    assert reader.complete and reader.seed == 3 and reader.config == {"a": 1}
    np.testing.assert_array_equal(reader.metrics()["loss"], [[1, 0.5]])
    np.testing.assert_array_equal(reader.parameters()["feed.w"], np.arange(6.0).reshape(2, 3))
    assert "numpy" in reader.versions
    with h5py.File(reader.path) as file:
        np.testing.assert_array_equal(file["parameters/0/feed.w"], 0)
        assert dict(file["parameters/1/feed.w"].attrs) == {"unit": "nA", "axes": "pre, post"}


def test_readable_while_written(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    run = begin(path)
    run.log(7, {"loss": 0.25})
    code = f"from neuro.io.results import open_run; r = open_run({str(path)!r}); print(r.complete, r.metrics()['loss'].tolist())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "False [[7.0, 0.25]]"
    run.close()


def test_recording_and_groups(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.h5")
    raster = np.random.default_rng(0).random((3, 50, 4)) < 0.2
    trace = np.random.default_rng(1).random((3, 50, 4))
    write_recording(path, Recording(1e-3, {"cells": raster}, {"cells.v": trace}), {"cells.v": "volt"})
    write_group(path, "comparison", {"pairs": {"torch": {"identical": True, "error": 0.5, "name": "x"}}})
    reader = open_run(path)
    np.testing.assert_array_equal(reader.recording().spikes["cells"], raster)
    np.testing.assert_array_equal(reader.recording().traces["cells.v"], trace)
    assert reader.group("comparison")["pairs"]["torch"] == {"identical": True, "error": 0.5, "name": "x"}
    with pytest.raises(ResultsError, match="holds no 'energy'"):
        reader.group("energy")


def test_sonata_readers_open_the_spikes(tmp_path: Path) -> None:
    libsonata = pytest.importorskip("libsonata")
    path = complete(tmp_path / "run.h5")
    raster = np.zeros((1, 10, 4), bool)
    raster[0, 3, 2] = raster[0, 7, 1] = True
    write_recording(path, Recording(1e-3, {"cells": raster}), {})
    spikes = libsonata.SpikeReader(str(path))["cells"].get()
    assert [(int(n), float(t)) for n, t in spikes] == [(2, 3.0), (1, 7.0)]


def test_files_in_the_way_and_damage_are_named(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.h5")
    with pytest.raises(ResultsError, match="exists; continue it with --resume"):
        begin(path)
    with pytest.raises(FinishedError, match="is complete"):
        Run.resume(path)
    with pytest.raises(ResultsError, match="there is no run"):
        Run.resume(tmp_path / "none.h5")
    with pytest.raises(ResultsError, match="there is no file"):
        open_run(tmp_path / "none.h5")
    with pytest.raises(ResultsError, match="can't write"):
        begin(tmp_path / "folder" / "run.h5")
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["x"] = 1
    with pytest.raises(ResultsError, match="not a run file"):
        open_run(foreign)
    text = tmp_path / "text.h5"
    text.write_text("hello")
    with pytest.raises(ResultsError, match="not a readable HDF5 file"):
        open_run(text)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_truncated_file_is_an_error(tmp_path: Path, part: float) -> None:
    path = complete(tmp_path / "run.h5")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ResultsError):
        open_run(path).parameters()


def test_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    run = begin(path)
    run.checkpoint({"x": np.arange(3)})
    run.close()
    side = checkpoint_path(path)
    data = bytearray(side.read_bytes())
    data[len(data) // 2] ^= 1
    side.write_bytes(bytes(data))
    with pytest.raises(ResultsError, match="is damaged"):
        Run.resume(path)


def test_a_complete_run_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    path, run = tmp_path / "run.h5", begin(tmp_path / "run.h5")
    run.log(1, {"loss": 0.5})
    run.checkpoint({"x": np.arange(3)})
    run.finish({"feed.w": np.arange(6.0).reshape(2, 3)}, {"feed.w": WEIGHT}, 1)
    assert not checkpoint_path(path).exists()
    with pytest.raises(FinishedError):
        Run.resume(path)
    again, state = Run.resume(path, {"a": 2})
    assert again.header["config"] == {"a": 2} and again.history["loss"] == [(1, 0.5)]
    np.testing.assert_array_equal(state["x"], np.arange(3))
    again.close()


@pytest.mark.parametrize("damage", ["none", "one bit", "text", "a link"])
def test_a_complete_run_without_a_sound_checkpoint_stays_as_it_is(damage: str, tmp_path: Path) -> None:
    path, run = tmp_path / "run.h5", begin(tmp_path / "run.h5")
    run.checkpoint({"x": np.arange(3)})
    run.finish({"feed.w": np.arange(6.0).reshape(2, 3)}, {"feed.w": WEIGHT}, 1)
    with h5py.File(path, "r+") as file:
        kept = file["checkpoint"][()]
        del file["checkpoint"]
        if damage == "one bit":
            kept[100] ^= 1
            file["checkpoint"] = kept
        elif damage == "text":
            file["checkpoint"] = "hello"
        elif damage == "a link":
            file["checkpoint"] = h5py.ExternalLink("other.h5", "/checkpoint")
    before = path.read_bytes()
    with pytest.raises(ResultsError):
        Run.resume(path, {"a": 2})
    assert path.read_bytes() == before and not checkpoint_path(path).exists()
    np.testing.assert_array_equal(open_run(path).parameters()["feed.w"], np.arange(6.0).reshape(2, 3))


def test_changed_settings_outlive_a_stop_before_the_next_checkpoint(tmp_path: Path) -> None:
    path, run = tmp_path / "run.h5", begin(tmp_path / "run.h5")
    run.checkpoint({"x": np.arange(3)})
    run.close()
    Run.resume(path, {"epochs": 2})[0].close()
    again, _ = Run.resume(path)
    assert again.header["config"]["epochs"] == 2
    again.close()


def test_a_run_that_is_replaced_leaves_nothing_to_go_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the new one is stopped: its file would go on with the old one's state."""
    path, run = tmp_path / "run.h5", begin(tmp_path / "run.h5")
    run.checkpoint({"x": np.arange(3)})
    run.close()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("neuro.io.results.h5py.File", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        begin(path, overwrite=True)
    with pytest.raises(ResultsError, match="there is no checkpoint"):
        Run.resume(path)


def test_one_run_writes_a_file(tmp_path: Path) -> None:
    """Whoever comes second is refused, and takes nothing from the first: not its file, not its checkpoint."""
    path = tmp_path / "run.h5"
    run = begin(path)
    run.log(1, {"loss": 0.5})
    run.checkpoint({"x": np.arange(3)})
    code = f"from tests.io.test_results import begin, Path; begin(Path({str(path)!r}), overwrite=True)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "is being written by another run; wait until it ends" in found.stderr
    for second in (lambda: Run.resume(path), lambda: begin(path, overwrite=True)):
        with pytest.raises(ResultsError, match="is being written by another run"):
            second()
    run.log(2, {"loss": 0.25})
    run.checkpoint({"x": np.arange(4)})
    np.testing.assert_array_equal(open_run(path).metrics()["loss"], [[1, 0.5], [2, 0.25]])
    run.close()
    again, state = Run.resume(path)
    assert again.history["loss"] == [(1, 0.5), (2, 0.25)] and len(state["x"]) == 4
    again.finish({"feed.w": np.ones((2, 3))}, {"feed.w": WEIGHT}, 2)
    assert open_run(path).complete


def test_groups_written_at_once_are_all_there(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.h5")
    code = "import sys; from neuro.io.results import *\nfor i in range(20): write_group(Path(sys.argv[1]), f'{sys.argv[2]}{i}', {'n': i})"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), name], cwd=ROOT) for name in "ab"]
    assert [p.wait(timeout=100) for p in running] == [0, 0]
    reader = open_run(path)
    assert [reader.group(f"{name}{i}")["n"] for name in "ab" for i in range(20)] == [*range(20), *range(20)]


TRAIN = [
    sys.executable, "scripts/train.py", "--task", "digits", "--epochs", "20", "--seed", "1", "--config",
]  # fmt: skip


def start(out: Path, config: Path, *options: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*TRAIN, str(config), "--out", str(out), *options]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_ten_random_moments_it_continues_to_the_same_numbers(tmp_path: Path) -> None:
    config = tmp_path / "small.toml"
    config.write_text("threads = 1\nbatch = 128\n[task_options]\nhidden = 16\nsteps = 10\n")
    whole = tmp_path / "whole.h5"
    assert start(whole, config).wait() == 0
    out, kills, moments = tmp_path / "killed.h5", 0, random.Random(0)
    process = start(out, config)
    while kills < 10:
        while not checkpoint_path(out).exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.25))
        if process.poll() is not None and process.returncode == 0:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        process = start(out, config, "--resume")
        time.sleep(moments.uniform(1.0, 2.5))  # mostly imports
    process.wait()
    if not open_run(out).complete:
        assert start(out, config, "--resume").wait() == 0
    assert kills == 10
    a, b = open_run(whole), open_run(out)
    for name, values in a.metrics().items():
        np.testing.assert_array_equal(values, b.metrics()[name])
    for name, values in a.parameters().items():
        np.testing.assert_array_equal(values, b.parameters()[name])
