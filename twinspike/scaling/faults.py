"""What is lost on purpose while a network trains, what that costs, and whether the numbers are still the same to the last bit."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from neuro.protocols import RunError
from twinspike.scaling.cases import Case, Search, spread

AT, UPDATES = 4, 7  # in which update of how many something is lost
LATEST = 60.0  # seconds after which a worker whose node is gone must have noticed


@dataclass(frozen=True)
class Fault:
    """what: was lost, and when. undisturbed, disturbed: seconds. same: whether all numbers are."""

    what: str
    undisturbed: float
    disturbed: float
    same: bool


# -- processes that share a batch --------------------------------------------------------------------------


def gradients(folder: Path, epochs: int, seed: int) -> Fault:
    """A run of train.py by two processes, of which one is killed when half of its updates are done."""
    undisturbed, losses, whole = _trained(folder / "whole.h5", epochs, seed)
    half = len(losses) // 2
    disturbed, others, after = _trained(folder / "killed.h5", epochs, seed, half)
    same = np.array_equal(losses, others) and all(np.array_equal(after[n], whole[n]) for n in whole)
    what = f"gradients: one of 2 processes of train.py, SIGKILL after update {half} of {len(losses)}"
    return Fault(what, undisturbed, disturbed, same)


def _trained(out: Path, epochs: int, seed: int, killed_after: int = 0) -> tuple[float, Any, Mapping[str, Any]]:
    """Seconds of a run, its losses and parameters. killed_after: updates, after which its last process is killed; 0 for a run that is left alone."""
    from neuro.io.results import open_run

    options = ("--task", "digits", "--rule", "bptt", "--epochs", str(epochs), "--seed", str(seed), "--processes", "2")
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "twinspike", "train", *options, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while killed_after and process.poll() is None and _updates(out) < killed_after:
        time.sleep(0.05)
    if killed_after:
        os.kill(_trainers(process.pid)[-1], signal.SIGKILL)
    said = process.communicate()[0]
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise RunError(f"train.py ended with exit code {process.returncode}: {said}")
    run = open_run(out)
    return seconds, run.metrics()["loss"][:, 1], run.parameters()


def _trainers(launcher: int) -> list[int]:
    """Those that train, in the order of their ranks: they are forked from a server that train.py has started."""
    return next(found for child in _children(launcher) if len(found := _children(child)) > 1)


def _children(process: int) -> list[int]:
    return sorted(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def _updates(out: Path) -> int:
    from neuro.io.results import ResultsError, open_run

    try:
        return len(open_run(out).metrics()["loss"])
    except ResultsError:  # not there yet
        return 0


# -- populations -------------------------------------------------------------------------------------------


def _pid(program: Any, number: int) -> int:
    time.sleep(0.3)
    return os.getpid()


def workers_of(program: Any) -> list[int]:
    """Process numbers of a program's workers, all of them busy for a moment."""
    return sorted(set(program.each(_pid, [(k,) for k in range(2 * program.workers)])))


def searched(
    case: Case, program: Any, candidates: int, lose: Callable[[], None], ends: bool
) -> tuple[list[float], list[float], int]:
    """Losses and seconds of each update, and in which one the loss was felt. lose: called in the middle of update AT. ends: whether a worker ends by it; updates go on until
    one is missed. Raises RunError where none is."""
    search, losses, seconds, felt = Search(case, program, candidates), list[float](), list[float](), -1 if ends else AT
    latest = time.monotonic() + LATEST
    while len(losses) < UPDATES or felt < 0:
        timer = None
        if len(losses) == AT:
            timer = threading.Timer(median(seconds[1:]) / 2, lose)
            timer.start()
            latest = time.monotonic() + LATEST
        took, metrics = search.update()
        if timer is not None:
            timer.join()
        if metrics["workers_lost"] and felt < 0:
            felt = len(losses)
        seconds.append(took)
        losses.append(metrics["loss"])
        if felt < 0 and time.monotonic() > latest:
            raise RunError(f"no worker was lost in {len(losses)} updates")
    return losses, seconds, felt


def compared(
    what: str, case: Case, candidates: int, program: Any, lose: Callable[[], None], ends: bool = True
) -> Fault:
    """ES with a loss, and without workers. The cost is that of the update in which it was felt."""
    losses, seconds, felt = searched(case, program, candidates, lose, ends)
    alone = Search(case, spread(case.hidden, 1, "joblib"), candidates)
    whole = [alone.update()[1]["loss"] for _ in losses]
    later = f", felt in update {felt + 1}" if felt != AT else ""
    return Fault(what + later, median(seconds[1:AT]), seconds[felt], whole == losses)


def killed(case: Case, candidates: int, engine: str) -> Fault:
    """One of two workers."""
    program = spread(case.hidden, 2, engine)
    victim = workers_of(program)[0]
    what = f"ES, {engine}: one of 2 workers, SIGKILL in the middle of update {AT + 1}"
    try:
        return compared(what, case, candidates, program, lambda: os.kill(victim, signal.SIGKILL))
    finally:
        program.crew.close()


def stopped(case: Case, candidates: int, engine: str) -> Fault:
    """One of two workers stands still, until the search is over."""
    program = spread(case.hidden, 2, engine)
    victim = workers_of(program)[0]
    what = f"ES, {engine}: one of 2 workers stands still (SIGSTOP) from the middle of update {AT + 1} on"
    try:
        return compared(what, case, candidates, program, lambda: os.kill(victim, signal.SIGSTOP), ends=False)
    finally:
        os.kill(victim, signal.SIGCONT)
        program.crew.close()


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster of Ray on this machine, to which this process is connected: two nodes, of one processor each. Gives the second one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    ray: Any = import_module("ray")
    options = {"num_cpus": 1, "object_store_memory": 128 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    second = cluster.add_node(num_cpus=1, object_store_memory=128 * 2**20)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield second
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def without_its_node(case: Case, candidates: int) -> Fault:
    """The raylet of one of two nodes, and with it the worker there."""
    with two_nodes() as second:
        program = spread(case.hidden, 2, "ray")
        what = f"ES, ray: a node's raylet, SIGKILL in the middle of update {AT + 1}"
        try:
            return compared(what, case, candidates, program, second.kill_raylet)
        finally:
            program.crew.close()


def rows(faults: Sequence[Fault]) -> list[tuple[str, float, float, float, bool]]:
    """For a table."""
    return [(f.what, f.undisturbed, f.disturbed, f.disturbed - f.undisturbed, f.same) for f in faults]
