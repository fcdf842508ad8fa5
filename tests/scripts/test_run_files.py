"""Run files from the command line: watched while they grow, and many made one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from neuro.io.hdf5 import in_use
from tests.io.test_merging import begun, whole
from tests.scripts.test_mistakes import called
from twinspike import inspect_run

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return lambda script, *arguments: called(capsys, monkeypatch, script, *arguments)


def test_watching_a_run(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(tmp_path / "run.h5", steps=2)
    found = inspect_run.news(run.path)
    monkeypatch.setattr(inspect_run, "LOOK", 0.0)
    assert [step for step, _ in next(found)] == [1]  # more of the second may come
    run.log(2, {"accuracy": 0.5})
    run.log(3, {"loss": 0.125})
    assert next(found) == [(2, {"loss": 0.05, "accuracy": 0.5})]
    assert next(found) == []
    run.finish({}, {}, 3)
    assert next(found) == [(3, {"loss": 0.125})]
    assert next(found, None) is None
    code, said, error = call("inspect_run", run.path, "--watch")
    assert code == 0 and said.splitlines()[0] == "update 1: loss 0.1" and "is complete" in said, error


def test_watching_a_run_that_nobody_writes_any_more(tmp_path: Path, call: Call) -> None:
    run = begun(tmp_path / "run.h5")
    assert in_use(run.path)
    run.close()
    assert in_use(run.path) is False
    code, said, error = call("inspect_run", run.path, "--watch")
    assert code == 2 and "update 3: loss" in said and "nobody writes run" in error and "--resume" in error


def test_merging_from_the_command_line(tmp_path: Path, call: Call) -> None:
    run = whole(tmp_path / "a.h5")
    begun(tmp_path / "b.h5").close()
    code, _, error = call("merge", run, tmp_path / "b.h5", "--out", tmp_path / "all.h5")
    assert code == 2 and "b.h5' is incomplete" in error and "--partial" in error
    code, said, error = call(
        "merge", run, tmp_path / "b.h5", "--out", tmp_path / "all.h5", "--partial", "--no-parameters"
    )
    assert code == 0 and "2 runs, 1 complete" in said and "b.h5' is incomplete" in error
    code, _, error = call("merge", run, "--out", tmp_path / "all.h5")
    assert code == 2 and "--overwrite" in error
    code, _, error = call("merge", tmp_path / "none.h5", "--out", tmp_path / "x.h5")
    assert code == 2 and "there is no file" in error
    with h5py.File(tmp_path / "all.h5") as file:
        assert "parameters" not in file["runs/a"]
