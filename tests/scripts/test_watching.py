"""A run of several processes is watched through what happens to them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from neuro.io.hdf5 import alone
from neuro.io.results import ResultsError, Run, open_run
from tests.children import running, until
from tests.tasks.own_data import files, graded
from twinspike import cli, inspect_run

WAITING = """
import time
from pathlib import Path
from tasks.arrays import FromFiles

class Waiting(FromFiles):
    name = "waiting"
    epochs = 0

    def train_batches(self, random, batch):
        self.epochs += 1
        while self.epochs > 1 and not Path("seen").exists():
            time.sleep(0.02)
        return super().train_batches(random, batch)
"""


def test_two_processes_are_watched_while_they_train(tmp_path: Path) -> None:
    """Their second epoch waits until the first was seen, by another process that knows nothing but the file."""
    random = np.random.default_rng(0)
    own = files(tmp_path, graded(), x=random.random((40, 20, 4)), y=random.random((40, 20, 2)))
    config = {"task_options": {**own, "output": "out.y"}, "backend": "torch", "batch": 8, "epochs": 2}
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "run.json").write_text(json.dumps(config))
    command = ("--task", "waiting:Waiting", "--config", "run.json", "--processes", 2, "--out", "run.h5")
    path, printed = tmp_path / "run.h5", {"cwd": tmp_path, "stdout": subprocess.PIPE}
    with running("-m", "twinspike", "train", *command, **printed) as run:
        until(lambda: path.exists() or run.poll() is not None)
        with running("-m", "twinspike", "inspect", "run.h5", "--watch", **printed) as watcher:
            first = watcher.stdout.readline()
            assert first.startswith("update 1: ") and run.poll() is None and not open_run(path).complete
            (tmp_path / "seen").touch()
            *others, last = watcher.stdout
            assert watcher.wait() == 0 and last == "'run.h5' is complete\n"
            assert run.wait() == 0
    found = open_run(path)
    assert found.complete and found.config["processes"] == 2
    loss = found.metrics()["loss"]
    assert len(loss) == 8 and len(set(loss[:, 1])) == 8
    for (step, value), line in zip(loss, [first, *others], strict=True):
        assert line.startswith(f"update {step:.0f}: ") and f"loss {cli.cell(value)}" in line


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
