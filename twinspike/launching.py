"""A command in several processes that train one network: started from here, or by torchrun. What goes wrong in one ends all of them, with one message."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import typer

from twinspike import cli

Value = TypeVar("Value")
RESTARTS = 3  # of all processes, when one was lost
PATIENCE = timedelta(
    hours=1
)  # that a process waits for the others; the first one measures on all test examples meanwhile
GRACE = 10.0  # seconds in which somebody else may say why a process is gone
LOOK = 1.0  # seconds between two looks whether torchrun is there
_ASKED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun says to each process
_AGENT = "TORCHELASTIC_RUN_ID"  # where torch's agent started this process, ours or torchrun's
_OURS = "TWINSPIKE_STARTED"  # by `start`, which says what ended all processes
_PRELOADED = (
    "neuro.learning.loop",
    "neuro.learning.gradient.bptt",
    "backends",
    "tasks",
    "torch._dynamo",
)  # once, by the server that processes are forked from
_store: list[Any] = []  # what all processes can write to, once they have met
_launch: list[str] = []  # what they call their launch


def launched() -> bool:
    """Whether this is one of several processes already."""
    return all(name in os.environ for name in _ASKED)


def launch_id() -> str:
    """Of the launch that this process belongs to, however often it was restarted: torchrun's own is often one for several."""
    return _launch[-1] if _launch else ""


def restarts() -> int:
    """How often all processes began again because one was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def start(subcommand: str, number: int) -> None:
    """Run the subcommand with this process's arguments in so many processes. As `launch`."""
    launch(["twinspike", subcommand, *cli.arguments()], number)


def launch(words: list[str], number: int) -> None:
    """Run a command, the one called twinspike or a script, in so many processes; returns when they are done. A lost process makes all begin again, RESTARTS times."""
    import logging
    import multiprocessing
    import uuid

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL + 1)  # we say ourselves what happened
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    multiprocessing.set_forkserver_preload(list(_PRELOADED))
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=number, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=RESTARTS, start_method="forkserver",
    )  # fmt: skip
    try:
        codes = elastic_launch(config, _worked)(words)
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise cli.UserError(
            f"process {rank} of {number} ended with {_end(failure.exitcode)}, and all had begun again {RESTARTS} times; the run file continues with --resume"
        ) from None
    if code := max(codes.values()):
        sys.exit(code)


def _worked(words: list[str]) -> int:
    """The command of these words in this process, and the code with which it ends. It fails only where processes don't meet: torch's agent then begins again."""
    import runpy

    from twinspike.__main__ import main

    os.environ[_OURS] = "1"
    sys.argv = words
    try:
        if words[0] == "twinspike":
            main()
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _meet() -> None:
    """Waits until all processes are there. See neuro.learning.common.processes for what they then tell each other."""
    import uuid

    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    shared, rank, number = next(rendezvous("env://", timeout=PATIENCE))
    store = PrefixStore(f"{restarts()}", shared)  # the agent's keeps what processes wrote before they began again
    _store.append(store)
    _launch.append(shared.compare_set("twinspike/launch", "", uuid.uuid4().hex).decode())  # by whoever was first
    dist.init_process_group("gloo", store=store, rank=rank, world_size=number, timeout=PATIENCE)


def first() -> bool:
    """Whether this is the process that writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def from_first(make: Callable[[], Value]) -> Value:
    """What the first process makes, in all of them."""
    if not launched():
        return make()
    from neuro.learning.common.processes import here

    return here().from_first(make)


def shared(processes: int | None) -> dict[str, Any]:
    """Settings that say how many processes take part, and in which launch. processes: as asked for. Raises UserError."""
    if not launched():
        return {"processes": 1}
    number = int(os.environ["WORLD_SIZE"])
    if processes not in (None, number):
        raise cli.UserError(f"--processes {processes}, and {number} were started; leave --processes out")
    return {"processes": number, "launch": launch_id()}


def run(command: Callable[..., None] | typer.Typer, arguments: Sequence[str] | None = None) -> None:
    """As cli.run. Of several processes one says what went wrong."""
    if not launched():
        return cli.run(command, arguments)
    if _AGENT in os.environ:
        end_with_starter()
    _meet()
    code = 0
    try:
        cli.run(command, arguments, _unheard)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except Exception:  # a defect, shown whole
        traceback.print_exc()
        code = 1
    from neuro.learning.common.processes import leave

    leave()  # torch's agent keeps this process until all are done, and those that wait for it must hear that it is
    sys.exit(code)


def end_with_starter() -> None:
    """End this process once whoever started it is gone, killed even: it would go on for hours, and keep the run for itself."""
    from multiprocessing import connection, parent_process

    asked, parent = parent_process(), os.getppid()

    def wait() -> None:
        if asked is not None:  # its parent is the server that it was forked from, which ends after it
            connection.wait([asked.sentinel])
        while asked is None and os.getppid() == parent:
            time.sleep(LOOK)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def own_threads(threads: int) -> int:
    """Of so many for all processes of this machine, those of this one."""
    return max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def own_device(device: Any) -> Any:
    """What this process computes on where all are told this: each has its own GPU. Raises UserError."""
    import torch

    local, place = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), os.environ.get("LOCAL_RANK", "0")
    if local == 1 or device in (None, "cpu") or (device == "auto" and not torch.cuda.is_available()):
        return device
    if device not in ("auto", "cuda"):
        raise cli.UserError(
            f"--device {device} is one for all {local} processes; use --device cuda, of which each takes its own"
        )
    if local > (found := torch.cuda.device_count()):
        raise cli.UserError(
            f"{local} processes on this machine, and it has {found} GPUs; start {found} at most, or use --device cpu"
        )
    return f"cuda:{place}"


def again(out: Path, resume: bool, overwrite: bool) -> tuple[bool, bool, bool]:
    """`after_a_loss` where all processes have begun again; else as asked for, and not complete."""
    return from_first(lambda: after_a_loss(out, resume, overwrite)) if restarts() else (resume, overwrite, False)


def after_a_loss(out: Path, resume: bool, overwrite: bool) -> tuple[bool, bool, bool]:
    """resume and overwrite, as all processes that begin again take them, and whether the run is complete already: what this launch has written goes on."""
    from neuro.io.results import ResultsError, Run, open_run

    cli.note(f"a process was lost; all begin again from the last checkpoint (restart {restarts()})")

    try:
        done, (header, _, _) = Run.stopped(out)
    except ResultsError:
        done, header = False, {}
    if header.get("config", {}).get("launch") == launch_id():
        return not done, False, done
    try:
        begun = open_run(out).config.get("launch") == launch_id()
    except ResultsError:
        begun = False
    return resume, overwrite or begun, False


def _unheard(error: BaseException) -> bool:
    """Whether another process says what went wrong."""
    from neuro.learning.common.processes import ElsewhereError, LostError, here

    if not _store or here().number == 1:
        return False
    if isinstance(error, ElsewhereError):
        return True
    if isinstance(error, LostError) and _said_within(GRACE):
        return True
    if isinstance(error, KeyboardInterrupt) and _OURS in os.environ:  # whoever started this one hears it too
        return True
    if _claimed(1) > 1:
        return True
    if not isinstance(error, (cli.UserError, LostError)):
        cli.speaker = f"process {here().rank} of {here().number}: "
    return False


def _said_within(seconds: float) -> bool:
    """Whether another process has claimed to speak by then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if _claimed(0):
            return True
        time.sleep(0.1)
    return False


def _claimed(more: int) -> int:
    """How many have claimed to speak. more: 1 to do so."""
    try:
        return int(_store[0].add("twinspike/errors", more))
    except RuntimeError:  # where it was kept is gone
        return more


def _end(code: int) -> str:
    import signal

    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
