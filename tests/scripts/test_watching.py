"""A run of several processes is watched through what happens to them."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import inspect_run
import pytest

from neuro.io.hdf5 import alone
from neuro.io.results import ResultsError, Run


def test_watching_processes_that_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes for a while, then there is another file, which isn't whole at first."""
    path = tmp_path / "run.h5"
    run = Run.create(path, model="{}", semantics={}, config={"processes": 2}, seed=0, metrics=("loss",))
    run.log(1, {"loss": 0.5})
    run.log(2, {"loss": 0.25})
    monkeypatch.setattr(inspect_run, "LOOK", 0.0)
    found = inspect_run.news(path)
    assert [step for step, _ in next(found)] == [1]
    run.close()
    assert next(found) == [] and next(found) == []
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with alone(path):
        later = Thread(target=lambda: path.write_bytes(whole))
        later.start()
        assert next(found) == []
        later.join()
    monkeypatch.setattr(inspect_run, "RESTART", 0.0)
    assert [step for step, _ in next(found)] == [2]
    with pytest.raises(ResultsError, match="nobody writes run"):
        next(found)
