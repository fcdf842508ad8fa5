"""Sweeps from the command line: every trial once, whatever is killed when, and one table of what came of it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro.io.checkpoints import checkpoint_path
from neuro.io.hdf5 import alone, in_use
from neuro.io.merging import open_member, read_table
from neuro.io.results import ResultsError, Run, open_run
from tests.children import ROOT, environment, until
from tests.scripts.test_mistakes import called
from tests.tasks.own_data import examples, files, graded
from twinspike import cli
from twinspike.sweeping import engines
from twinspike.sweeping.trials import Trial, train_it

CODE = """
import os, time
from tasks.arrays import FromFiles

class Mine(FromFiles):
    name = "mine"

    def network(self, seed):
        if seed == 1:
            os.kill(os.getpid(), 9)
        return super().network(seed)

    def train_batches(self, random, batch):
        time.sleep(float(os.environ.get("PAUSE", 0)))
        return super().train_batches(random, batch)
"""
Call = Callable[..., tuple[int, str, str]]


class Inline:
    """An engine that trains at once, in this process."""

    started: list[str]

    def __init__(self, jobs: int) -> None:
        self.started, self._done = [], list[tuple[Trial, str]]()
        type(self).last = self

    def free(self) -> bool:
        return not self._done

    def busy(self) -> bool:
        return bool(self._done)

    def start(self, trial: Trial, code: str) -> None:
        self.started.append(trial.name)
        trial.file("error").unlink(missing_ok=True)
        before = sys.argv
        try:
            train_it(trial, code)
        except Exception as error:
            assert cli.is_user_error(error)
            trial.fail(str(error))
        finally:
            sys.argv = before
        self._done.append((trial, ""))

    def ended(self, seconds: float) -> list[tuple[Trial, str]]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        pass


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return lambda script, *arguments: called(capsys, monkeypatch, script, *arguments)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Sweeps train in this process; gives the names of the trials that the last one started."""
    monkeypatch.setattr(engines, "Local", Inline)
    return lambda: Inline.last.started


def written(folder: Path, more: str, **options: Any) -> Path:
    """A sweep of own data on torch."""
    x, y = examples()
    own = {**files(folder, graded(), x=x.astype(float), y=y), "output": "out.y", **options}
    path = folder / "sweep.toml"
    lines = [f"{n} = {json.dumps(v)}" for n, v in own.items()]
    path.write_text("\n".join(['backend = "torch"\nepochs = 1\nbatch = 16\n[task_options]', *lines, more]))
    path.write_text('task = "arrays"\n' + path.read_text())
    return path


def first_row(said: str) -> str:
    """The name in the first row of the table that was printed."""
    return next(line.split()[1] for line in said.splitlines() if line.startswith("│"))


GRID = '[grid]\nseed = [0, 1]\n"rule_options.learning_rate" = [0.01, 0.1]\n'


def test_a_grid_from_file_to_table(tmp_path: Path, call: Call, inline: Callable[[], list[str]]) -> None:
    spec, out = written(tmp_path, GRID), tmp_path / "out"
    code, said, error = call("sweep", spec, "--out", out)
    assert code == 0 and "best 4 of 4" in said and "4 trials: 4 complete" in said, error
    assert (out / "response.png").read_bytes().startswith(b"\x89PNG")
    table = read_table(out / "sweep.h5")
    assert list(table["seed"]) == [0, 0, 1, 1] and list(table["rule_options.learning_rate"]) == [0.01, 0.1] * 2
    assert table["status"] == ["complete"] * 4
    for name, path, final in zip(table["name"], table["path"], table["final test_accuracy"], strict=True):
        run = open_run(out / path)
        assert run.metrics()["test_accuracy"][-1, 1] == final and Path(path).stem == name
        assert run.config["command"].startswith("twinspike train --config ")
        assert open_member(out / "sweep.h5", name).config == run.config
    assert len({open_run(out / p).metrics()["loss"][-1, 1] for p in table["path"]}) == 4
    best = max(range(4), key=lambda i: (table["final test_accuracy"][i], -i))
    assert first_row(said) == table["name"][best]
    first = table["name"]
    code, said, error = call("sweep", spec, "--out", out)
    assert code == 0 and inline() == [] and "4 trials: 4 complete" in said, error
    written(tmp_path, GRID.replace("[0, 1]", "[2, 1]"))
    code, said, error = call("sweep", spec, "--out", out)
    assert code == 0 and [n[:4] for n in inline()] == ["0004", "0005"]
    assert "2 trials are new" in error and "2 trials of" in error and "aren't asked for any more" in error
    assert read_table(out / "sweep.h5")["name"] == [*inline(), *first[2:]]


def test_the_config_of_a_trial_repeats_it(tmp_path: Path, call: Call, inline: Callable[[], list[str]]) -> None:
    spec, out = (
        written(tmp_path, "[grid]\ncontrol = [true]\nquantise = ['linear4']\n".replace("'", '"')),
        tmp_path / "out",
    )
    spec.write_text(spec.read_text().replace("[grid]", "[grid]\nseed = [3]"))
    assert call("sweep", spec, "--out", out)[0] == 0
    (run,) = (out / "trials").glob("*.h5")
    config = open_run(run).config
    assert (
        config["rule_options"]["trainable"] == ["link.w"]
        and "quantise" in config["rule_options"]
        and config["threads"] == 1
    )
    again = config["command"].split()[2:]
    again[again.index("--out") + 1] = str(tmp_path / "again.h5")
    code, _, error = call("train", *again)
    assert code == 0, error
    ours, theirs = open_run(run), open_run(tmp_path / "again.h5")
    np.testing.assert_array_equal(ours.metrics()["loss"], theirs.metrics()["loss"])


def test_a_failed_trial_is_kept_with_its_error(tmp_path: Path, call: Call, inline: Callable[[], list[str]]) -> None:
    more, out = tmp_path / "y.npz", tmp_path / "out"
    spec = written(tmp_path, "[grid]\n")
    data = json.dumps([str(tmp_path / "x.npz"), str(more)])
    spec.write_text(spec.read_text() + f'"task_options.data" = {data}\n')
    for started in (2, 0):  # it isn't tried again by itself
        code, said, error = call("sweep", spec, "--out", out)
        assert code == 1 and "1 complete, 1 failed" in said and len(inline()) == started
        assert f"{more} can't be read" in error and "run it again with --retry" in error
    table = read_table(out / "sweep.h5")
    assert table["status"] == ["complete", "failed"] and "can't be read" in table["error"][1]
    more.write_bytes((tmp_path / "x.npz").read_bytes())
    code, said, error = call("sweep", spec, "--out", out, "--retry")
    assert code == 0 and inline() == [table["name"][1]] and "2 complete" in said, error
    assert read_table(out / "sweep.h5")["error"] == ["", ""]


def test_a_stopped_trial_goes_on(
    tmp_path: Path, call: Call, inline: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its checkpoint; where there is none yet, from the beginning."""
    spec, whole, out = written(tmp_path, "[grid]\nepochs = [3]\n"), tmp_path / "whole", tmp_path / "out"
    assert call("sweep", spec, "--out", whole)[0] == 0
    log, left = Run.log, [2, 5]

    def stop(run: Run, step: int, values: Any) -> None:
        if left and step == left[0]:
            left.pop(0)
            run.close()
            raise KeyboardInterrupt
        log(run, step, values)

    monkeypatch.setattr(Run, "log", stop)
    assert call("sweep", spec, "--out", out)[0] == 130
    (run,) = (out / "trials").glob("*.h5")
    checkpoint_path(run).unlink()
    assert call("sweep", spec, "--out", out)[0] == 130 and checkpoint_path(run).exists()
    code, said, error = call("sweep", spec, "--out", out)
    assert code == 0 and "1 complete" in said, error
    (other,) = (whole / "trials").glob("*.h5")
    assert open_run(run).metrics()["loss"].tolist() == open_run(other).metrics()["loss"].tolist()


def test_a_file_of_another_run_is_refused(tmp_path: Path, call: Call, inline: Callable[[], list[str]]) -> None:
    spec, out = written(tmp_path, "[grid]\nseed = [0, 1]\n"), tmp_path / "out"
    assert call("sweep", spec, "--out", out)[0] == 0
    first, second = sorted((out / "trials").glob("*.h5"))
    second.write_bytes(first.read_bytes())
    code, _, error = call("sweep", spec, "--out", out)
    assert code == 2 and f"'{second}' has seed 0, and trial '{second.stem}' asks for 1" in error


def test_mistakes(tmp_path: Path, call: Call, inline: Callable[[], list[str]]) -> None:
    spec, out = written(tmp_path, "[grid]\nseed = [0]\n[best]\nmetric = 'acuracy'\n"), tmp_path / "out"
    code, _, error = call("sweep", spec, "--out", out)
    assert code == 2 and "has no metric 'acuracy'; did you mean" in error
    with alone(out / "sweep.lock"):
        code, _, error = call("sweep", spec, "--out", out)
        assert code == 2 and "another sweep is under way" in error and "another folder with --out" in error
    for more, wrong in (
        (("--share", "4/4"), "write 0/8 to 7/8"),
        (("--address", "local", "--jobs", 2), "leave one of them out"),
        (("--jobs", 0), "greater than or equal to 1"),
    ):
        code, _, error = call("sweep", spec, "--out", out, *more)
        assert code == 2 and wrong in error and error.count("\n") == 1
    code, _, error = call("sweep", tmp_path / "none.toml", "--out", out)
    assert code == 2 and "there is no file" in error
    code, _, error = call("sweep", spec, "--out", spec / "x")
    assert code == 2 and "can't write to" in error
    spec = written(tmp_path, "[search]\ntrials = 2\n[search.over]\nseed = {int = [0, 9]}\n")
    code, _, error = call("sweep", spec, "--out", tmp_path / "other", "--share", "0/2")
    assert code == 2 and "can't be cut into shares" in error


def test_shares_then_the_whole(tmp_path: Path, call: Call, inline: Callable[[], list[str]]) -> None:
    spec, out = written(tmp_path, "[grid]\nseed = [0, 1, 2]\n"), tmp_path / "out"
    for k, count in ((1, 1), (0, 2)):
        code, said, error = call("sweep", spec, "--out", out, "--share", f"{k}/2")
        assert code == 0 and f"{count} trials of share {k}/2 are done" in said and len(inline()) == count, error
        assert not (out / "sweep.h5").exists()
    code, said, _ = call("sweep", spec, "--out", out)
    assert code == 0 and inline() == [] and "3 complete" in said


def test_a_search_from_file_to_table(tmp_path: Path, call: Call, inline: Callable[[], list[str]]) -> None:
    text = '[search]\ntrials = 4\nat_once = 2\n[search.over]\n"rule_options.learning_rate" = {loguniform = [1e-3, 1.0]}\n[best]\nmetric = "loss"\ndirection = "minimize"\n'
    spec, out = written(tmp_path, text), tmp_path / "out"
    code, said, error = call("sweep", spec, "--out", out)
    assert code == 0 and "4 complete" in said and "final loss" in said, error
    table = read_table(out / "sweep.h5")
    assert len(set(table["rule_options.learning_rate"])) == 4
    best = table["name"][int(np.argmin(np.asarray(table["final loss"], float)))]
    assert first_row(said) == best


# -- processes ----------------------------------------------------------------------------------------------------


def started(folder: Path, spec: Path, *more: str, pause: float = 0.0) -> subprocess.Popen[bytes]:
    """A sweep of one's own code in a process of its own."""
    (folder / "killer.py").write_text(CODE)
    command = [
        sys.executable,
        str(ROOT / "scripts/sweep.py"),
        str(spec),
        "--out",
        "out",
        "--task",
        "killer:Mine",
        *more,
    ]
    return subprocess.Popen(
        command, cwd=folder, env=environment(PAUSE=str(pause)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip


def ours(folder: Path, seeds: int, epochs: int) -> Path:
    spec = written(folder, f"[grid]\nseed = {list(range(seeds))}\n")
    spec.write_text(spec.read_text().replace('"arrays"', '"killer:Mine"').replace("epochs = 1", f"epochs = {epochs}"))
    return spec


def reached(folder: Path, number: int) -> int:
    """Epochs that a trial has done."""
    for path in (folder / "out" / "trials").glob(f"{number:04d}-*.h5"):
        try:
            return len(open_run(path).metrics()["test_accuracy"])
        except ResultsError:  # it begins this moment
            return 0
    return 0


def test_a_sweep_that_is_killed_goes_on(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """One trial is whole, one kills its own process, one is cut; nobody goes on when the sweep is gone, and nothing is done twice."""
    spec = ours(tmp_path, 3, 3)
    sweep = started(tmp_path, spec, "--jobs", "1", pause=0.5)
    until(lambda: reached(tmp_path, 2) >= 1 or sweep.poll() is not None)
    sweep.kill()
    assert sweep.wait() == -signal.SIGKILL
    runs = sorted((tmp_path / "out" / "trials").glob("*.h5"))
    assert [r.name[:4] for r in runs] == ["0000", "0002"]
    until(lambda: not in_use(runs[1]), 10.0)
    assert not open_run(runs[1]).complete and open_run(runs[0]).complete
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("PAUSE", raising=False)
    code, said, error = call("sweep", spec, "--out", "out", "--task", "killer:Mine", "--jobs", 2)
    assert code == 1 and "2 complete, 1 failed" in said and "its process was ended by SIGKILL" in error, error
    logs = {r.stem[:4]: r.with_suffix(".log").read_text().count("twinspike train") for r in runs}
    assert logs == {"0000": 1, "0002": 2} and " --resume " in runs[1].with_suffix(".log").read_text()
    code, _, error = call(
        "train", "--config", runs[1].with_suffix(".json"), "--task", "killer:Mine", "--out", tmp_path / "whole.h5"
    )
    assert code == 0, error
    a, b = open_run(runs[1]), open_run(tmp_path / "whole.h5")
    np.testing.assert_array_equal(a.metrics()["loss"], b.metrics()["loss"])
    np.testing.assert_array_equal(a.parameters()["link.w"], b.parameters()["link.w"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_any_moment(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, moments = ours(tmp_path, 6, 4), random.Random(0)
    for k in range(8):
        sweep = started(tmp_path, spec, "--jobs", "2", pause=0.3)
        time.sleep(moments.uniform(0.0, 14.0))
        sweep.send_signal(signal.SIGINT if k % 2 else signal.SIGKILL)
        sweep.wait()
    sweep = started(tmp_path, spec, "--jobs", "2")
    assert sweep.wait() == 1  # the trial that kills itself
    table = read_table(tmp_path / "out" / "sweep.h5")
    assert table["status"] == ["complete", "failed", *["complete"] * 4]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, path in zip(table["name"], table["path"], strict=True):
        if name.startswith("0001"):
            continue
        run, log = tmp_path / "out" / path, (tmp_path / "out" / path).with_suffix(".log").read_text()
        assert log.count("epochs; out") == 1  # it ended once
        assert (
            call("train", "--config", run.with_suffix(".json"), "--task", "killer:Mine", "--out", f"{name}.h5")[0] == 0
        )
        a, b = open_run(run), open_run(f"{name}.h5")
        np.testing.assert_array_equal(a.metrics()["loss"], b.metrics()["loss"])
        np.testing.assert_array_equal(a.parameters()["link.w"], b.parameters()["link.w"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_on_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same table as processes of this machine give; a trial that kills its worker is tried again, then kept as failed."""
    pytest.importorskip("ray")
    spec = ours(tmp_path, 3, 1)
    found = []
    for more in (("--jobs", "2"), ("--address", "local")):
        assert started(tmp_path, spec, *more).wait() == 1
        table = read_table(tmp_path / "out" / "sweep.h5")
        found.append([list(table[n]) for n in ("name", "status", "final loss", "final test_accuracy")])
        (tmp_path / "out").rename(tmp_path / f"out{len(found)}")
    np.testing.assert_equal(found[0], found[1])
    assert found[0][1] == ["complete", "failed", "complete"]


# -- watching and merging -----------------------------------------------------------------------------------------
