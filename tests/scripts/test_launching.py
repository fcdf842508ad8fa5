"""train.py in processes that share batches: one is killed and the run has the curve of one process; it goes on with another number; what is refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from neuro.io.hdf5 import in_use
from neuro.io.results import ResultsError, Run, checkpoint_path, open_run
from tests.children import ROOT, environment, marked, until
from tests.scripts.test_mistakes import called
from tests.tasks.own_data import files, graded
from twinspike import cli, launching

EPOCHS = 100
SAME = ("loss", "gradient_norm", "test_accuracy")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *arguments: called(capsys, monkeypatch, "train", *arguments)


def ours(folder: Path) -> tuple[Any, ...]:
    """Sequences of which not all steps count, into leaky sums that follow a target, 33 examples in batches of 8."""
    random = np.random.default_rng(0)
    x, y = random.random((40, 20, 4)), random.random((40, 20, 2))
    mask = np.arange(20) < random.integers(1, 21, 40)[:, None]
    options = files(folder, graded(), x=x, y=y, mask=mask)
    own = ("--network", options["network"], "--data", options["data"], "--answer", "out.y")
    return (*own, "--backend", "native", "--batch", 8)


def histories(path: Path) -> dict[str, Any]:
    found = open_run(path).metrics()
    return {n: found[n][:, 1] for n in SAME}


def kill(out: Path, ranks: Sequence[int]) -> None:
    """SIGKILL for one process of each of so many launches, as soon as it has left a checkpoint."""
    since, gone = 0.0, set[int]()
    for rank in ranks:
        while not written(out, since) or gone & set(found := processes()) or len(found) <= max(ranks):
            time.sleep(0.02)
        os.kill(found[rank], signal.SIGKILL)
        since, gone = time.time(), gone | set(found)


def written(out: Path, since: float) -> bool:
    """Whether there is a checkpoint of some updates that is newer than that."""
    try:
        return checkpoint_path(out).stat().st_mtime > since and Run.stopped(out)[1][2]["position/update"] > 0
    except (FileNotFoundError, ResultsError):
        return False


def processes() -> list[int]:
    """Those that train, in the order of their ranks."""
    server, found = forkserver._forkserver._forkserver_pid, list[int]()  # type: ignore[attr-defined]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == server:
                found.append(int(folder.name))
    return sorted(found)


def killed(out: Path, ranks: Sequence[int], call: Any, *arguments: Any) -> tuple[int, str]:
    """A run of which these processes are killed, one after another; its exit code, and what it said."""
    killer = Thread(target=kill, args=(out, ranks), daemon=True)
    killer.start()
    code, _, error = call(*arguments, "--out", out)
    killer.join(timeout=60)
    assert not killer.is_alive()
    return code, error


def test_a_killed_process_costs_time_and_nothing_else(tmp_path: Path, call: Any) -> None:
    """And the run goes on in one process, as one that was alone from the start."""
    shared, alone = tmp_path / "shared.h5", tmp_path / "alone.h5"
    code, error = killed(shared, (1,), call, *ours(tmp_path), "--epochs", EPOCHS, "--processes", 2)
    assert code == 0, error
    assert call(*ours(tmp_path), "--epochs", EPOCHS, "--out", alone)[0] == 0
    found = open_run(shared)
    assert found.complete and found.config["processes"] == 2 and "processes" not in open_run(alone).config
    for name, values in histories(alone).items():
        np.testing.assert_allclose(histories(shared)[name], values, rtol=1e-8, atol=1e-12, err_msg=name)
    size = sum(v.size for n, v in found.parameters().items() if n.endswith(".w"))
    sent = found.metrics()["communication_bytes"][:, 1]
    assert len(sent) == len(histories(alone)["loss"]) and np.median(sent) == 8 * (size + 2)

    for out in (shared, alone):
        code, _, error = call("--resume", "--epochs", EPOCHS + 2, "--processes", 1, "--out", out)
        assert code == 0, error
    for name, values in histories(alone).items():
        np.testing.assert_allclose(histories(shared)[name], values, rtol=1e-8, atol=1e-12, err_msg=name)
    assert open_run(shared).config["processes"] == 1 and len(open_run(shared).metrics()["communication_s"]) == len(sent)


LAUNCHERS = {
    "ours": (str(ROOT / "scripts" / "train.py"), "--processes", "2"),
    "torchrun": ("-m", "torch.distributed.run", "--nproc-per-node", "2", str(ROOT / "scripts" / "train.py")),
}


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Any]:
    """Starts a run of many epochs in two processes; `marked(tmp_path)` are all that belong to it. None of them outlives the test."""

    def start(launcher: str) -> subprocess.Popen[bytes]:
        command = [*LAUNCHERS[launcher], *map(str, ours(tmp_path)), "--epochs", "100000", "--overwrite"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(
            [sys.executable, *command, "--out", str(tmp_path / "run.h5")],
            env=environment(MARK=str(tmp_path)), **quiet,
        )  # fmt: skip

    yield start
    for number in marked(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("launcher", ["ours", pytest.param("torchrun", marks=pytest.mark.slow)])
def test_nobody_stays_when_the_launcher_is_killed(launcher: str, tmp_path: Path, launched: Any) -> None:
    """Nor keeps the run for itself, which can go on."""
    out = tmp_path / "run.h5"
    process = launched(launcher)
    until(lambda: written(out, 0.0) or process.poll() is not None)
    assert process.poll() is None and len(marked(tmp_path)) >= 3
    process.kill()
    process.wait()
    until(lambda: not marked(tmp_path), 10.0)
    assert not in_use(out) and not Run.stopped(out)[0]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_nobody_stays_whenever_the_launcher_is_killed(launcher: str, tmp_path: Path, launched: Any) -> None:
    moments = np.random.default_rng(0)
    for _ in range(10):
        process = launched(launcher)
        time.sleep(moments.uniform(0.0, 8.0))
        process.kill()
        process.wait()
        until(lambda: not marked(tmp_path), 30.0)  # who imports at that moment does it to the end


def test_two_launches_of_one_name_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun may call all of them "none", and Slurm gives a job that it starts again the number that it had."""
    from torch.distributed import HashStore

    out, found = tmp_path / "run.h5", list[str]()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr("torch.distributed.init_process_group", lambda *_, **__: None)
    for name in ("_store", "_launch"):
        monkeypatch.setattr(launching, name, [])
    for agent in (HashStore(), HashStore()):
        met = iter([(agent, 0, 2)] * 2)
        monkeypatch.setattr(
            sys.modules["torch.distributed.rendezvous"], "rendezvous", lambda *_, found=met, **__: found
        )
        for restart in ("0", "1"):
            monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restart)
            launching._meet()
            found.append(launching.launch_id())
        assert launching.after_a_loss(out, False, True) == (False, True, False)  # nothing there is of this launch
        config = {"launch": found[-1]}
        run = Run.create(out, model="{}", semantics={}, config=config, seed=0, metrics=(), overwrite=True)
        run.checkpoint({})
        run.finish({}, {}, 0)
        assert launching.after_a_loss(out, False, True) == (False, False, True)
    assert found[0] == found[1] != found[2] == found[3]


def test_what_slices_do_not_give_is_refused_before_a_file_goes(tmp_path: Path, call: Any) -> None:
    out, config = tmp_path / "run.h5", tmp_path / "sliced.toml"
    assert call(*ours(tmp_path), "--epochs", 1, "--out", out)[0] == 0
    config.write_text("[rule_options]\nslices = 2\nrate_strength = 1.0\n")
    code, _, error = call(*ours(tmp_path), "--epochs", 1, "--config", config, "--out", out, "--overwrite")
    assert code == 2 and "rate_strength" in error
    assert open_run(out).complete


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("--rule", "es"), "rule 'es' follows no gradient .* --workers 2, and leave --processes out"),
        (("--workers", 2), "--processes share a batch, and --workers candidates; leave one of them out"),
        (("--rule", "nothing"), "there is no rule 'nothing'"),
    ],
)
def test_what_processes_do_not_share_is_refused_before_they_start(arguments: Any, wrong: str, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(launching, "start", lambda script, number: pytest.fail("started"))
    code, _, error = call(*ours(tmp_path), *arguments, "--processes", 2, "--out", tmp_path / "run.h5")
    assert code == 2
    assert re.search(wrong, error)
    assert not (tmp_path / "run.h5").exists()


def test_settings_say_how_many(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(launching, "start", lambda subcommand, number: started.append((subcommand, number)))
    (tmp_path / "run.toml").write_text("processes = 3")
    call(*ours(tmp_path), "--config", tmp_path / "run.toml", "--out", tmp_path / "run.h5")
    call(*ours(tmp_path), "--config", tmp_path / "run.toml", "--processes", 2, "--out", tmp_path / "run.h5")
    assert started == [("train", 3), ("train", 2)]


def test_each_process_takes_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert (launching.own_threads(3), launching.own_device("cuda:1")) == (3, "cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [launching.own_threads(n) for n in (1, 2, 5)] == [1, 1, 2]
    assert [launching.own_device(d) for d in ("cpu", "cuda", "auto")] == ["cpu", "cuda:1", "cuda:1"]
    with pytest.raises(cli.UserError, match="--device cuda:0 is one for all 2 processes"):
        launching.own_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(cli.UserError, match="2 processes on this machine, and it has 1 GPUs"):
        launching.own_device("cuda")


def test_processes_that_begin_again_take_up_what_is_theirs(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Not another run's file, which --overwrite was to replace, nor its checkpoint."""
    done, begun, out = tmp_path / "done.h5", tmp_path / "begun.h5", tmp_path / "none.h5"
    monkeypatch.setattr(launching, "_launch", ["ours"])
    for path in (done, begun):
        run = Run.create(path, model="{}", semantics={}, config={"launch": "ours"}, seed=0, metrics=())
        run.checkpoint({})
        if path == done:
            run.finish({}, {}, 0)
        else:
            run.close()
    again = launching.after_a_loss
    assert again(done, False, True) == (False, False, True)
    assert again(begun, False, True) == (True, False, False)
    assert again(out, False, False) == (False, False, False)
    checkpoint_path(begun).unlink()
    assert again(begun, False, False) == (False, True, False)
    monkeypatch.setattr(launching, "_launch", ["another"])
    for path in (done, begun):
        assert again(path, False, True) == (False, True, False)
        assert again(path, False, False) == (False, False, False)


SCRIPT = """
import os, sys
from twinspike import launching
from neuro import RunError

def main() -> None:
    launching.first()
    if "{what}" == "all":
        raise RunError("everything is wrong")
    if "{what}" == "defect" and os.environ["RANK"] == "1":
        raise ZeroDivisionError("a defect")
    if "{what}" == "one" and os.environ["RANK"] == "1":
        raise RunError("one is wrong")
    launching.from_first(lambda: launching.from_first(lambda: 3))

if __name__ == "__main__":
    launching.run(main)
"""


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        pytest.param("all", 2, r"^error: process [01] of 2: everything is wrong$", marks=pytest.mark.slow),
        ("one", 2, r"^error: process 1 of 2: one is wrong$"),
        pytest.param("defect", 1, "ZeroDivisionError: a defect", marks=pytest.mark.slow),
    ],
)
def test_one_message_ends_all(what: str, code: int, said: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("{what}", what))
    caller = f"from twinspike import launching; launching.launch([{str(script)!r}], 2)"
    left = subprocess.run(
        [sys.executable, "-c", caller], check=False, capture_output=True, text=True, timeout=120, env=environment()
    )
    assert left.returncode == code
    assert len(re.findall(said, left.stderr, re.MULTILINE)) == 1
    assert what == "defect" or len(left.stderr.strip().splitlines()) == 1, left.stderr


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again_ends_the_run(tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run.h5"
    code, error = killed(
        out, (1,) * (launching.RESTARTS + 1), call, *ours(tmp_path), "--epochs", 5000, "--processes", 2
    )
    assert code == 2
    assert re.search("process 1 of 2 ended with SIGKILL, and all had begun again 3 times; .* --resume", error)
    assert checkpoint_path(out).exists()


@pytest.mark.slow
def test_four_processes_of_which_any_is_killed(tmp_path: Path, call: Any) -> None:
    """The one that writes, too; with slices the bits are those of two processes that nobody killed."""
    found = []
    for number, ranks in ((2, ()), (4, (3, 0, 1))):
        out, config = tmp_path / f"{number}.h5", tmp_path / "run.toml"
        config.write_text("[rule_options]\nslices = 6\nlearning_rate = 0.01\n")
        arguments = (*ours(tmp_path), "--epochs", 200, "--config", config, "--processes", number)
        code, error = killed(out, ranks, call, *arguments)
        assert code == 0, error
        found.append((histories(out), open_run(out).parameters()))
    for name, values in found[0][0].items():
        np.testing.assert_array_equal(found[1][0][name], values)
    for name, value in found[0][1].items():
        np.testing.assert_array_equal(found[1][1][name], value)


@pytest.mark.slow
def test_torchrun_starts_the_same(tmp_path: Path, call: Any) -> None:
    alone, shared = tmp_path / "alone.h5", tmp_path / "shared.h5"
    assert call(*ours(tmp_path), "--epochs", 3, "--out", alone)[0] == 0
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", str(ROOT / "scripts" / "train.py"), *map(str, ours(tmp_path)), "--epochs", "3", "--out", str(shared)]  # fmt: skip
    left = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True, timeout=200)
    assert left.returncode == 0, left.stderr
    assert left.stdout.count("test accuracy") == 1
    for name, values in histories(alone).items():
        np.testing.assert_allclose(histories(shared)[name], values, rtol=1e-8, atol=1e-12)
    left = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True, timeout=200)
    assert left.returncode == 1
    assert left.stderr.count("error: ") == 1 and "shared.h5' exists; continue it with --resume" in left.stderr
