"""Many seeds over several processes. A process that dies or hangs is a failure with its seed, and is replaced."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection, wait
from typing import Any

from twinspike.fuzzing.examination import Examination, examine
from twinspike.fuzzing.networks import generate
from twinspike.fuzzing.oracles.outcome import DEVICE, Failure

# Every n-th network is compiled as users compile; the others without optimisation, which takes a twentieth of the time. The number has no divisor
# in common with any oracle's turn: so every oracle meets it, and the costly ones don't always do so together.
FULL_FLAGS = 41
QUICK = "-O0"
COLLECTED = 10  # networks after which garbage is collected: Python's own collector looks through all caches each time, for a fifteenth of the time
RECYCLED = 150  # networks after which a process is replaced: libraries and caches are never given back


@dataclass
class Worker:
    """A process and the seed it works on."""

    process: Any
    connection: Connection
    seed: int | None = None
    since: float = 0.0
    done: int = 0


class Campaign:
    """timeout: seconds for one network."""

    def __init__(self, oracles: Iterable[str], jobs: int, timeout: float = 120.0) -> None:
        self.oracles, self.jobs, self.timeout = tuple(oracles), jobs, timeout
        self.context: Any = multiprocessing.get_context(
            "spawn" if DEVICE in os.environ else "fork"
        )  # CUDA bears no fork
        self.workers: list[Worker] = []

    def run(self, seeds: Iterable[int], minutes: float = float("inf")) -> Iterator[Examination]:
        """Examinations as they are done; stops after so many minutes."""
        warm_up()
        queue, end = iter(seeds), time.monotonic() + 60 * minutes
        self.workers = [self.start() for _ in range(self.jobs)]
        try:
            for worker in list(self.workers):
                self.give(worker, queue, end)
            while any(w.seed is not None for w in self.workers):
                yield from self.collect(queue, end)
        finally:
            for worker in self.workers:
                self.stop(worker)

    def start(self) -> Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, self.oracles), daemon=True)
        process.start()
        theirs.close()
        return Worker(process, ours)

    @staticmethod
    def stop(worker: Worker) -> None:
        worker.connection.close()
        worker.process.kill()
        worker.process.join()
        shutil.rmtree(_folder(worker.process.pid), ignore_errors=True)

    def give(self, worker: Worker, queue: Iterator[int], end: float) -> None:
        """The next seed, if there is time for one."""
        seed = next(queue, None) if time.monotonic() < end else None
        worker.seed, worker.since = seed, time.monotonic()
        if seed is not None:
            with suppress(OSError):  # it died meanwhile: collect() sees that
                worker.connection.send(seed)

    def collect(self, queue: Iterator[int], end: float) -> Iterator[Examination]:
        """What is ready; then what took too long."""
        busy = {w.connection: w for w in self.workers if w.seed is not None}
        for connection in wait(list(busy), timeout=1.0):
            worker = busy[connection]  # type: ignore[index]
            try:
                found = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join()
                found = self.lost(worker, f"the process dies ({_death(worker.process.exitcode)})")
                worker = self.replace(worker)
            else:
                worker.done += 1
                if worker.done >= RECYCLED:
                    worker = self.replace(worker)
            yield found
            self.give(worker, queue, end)
        for worker in [w for w in self.workers if w.seed is not None and time.monotonic() - w.since > self.timeout]:
            yield self.lost(worker, f"takes longer than {self.timeout:.0f} s")
            self.give(self.replace(worker), queue, end)

    @staticmethod
    def lost(worker: Worker, kind: str) -> Examination:
        seed = worker.seed or 0
        return Examination(seed, [Failure("process", kind, f"seed {seed}")])

    def replace(self, worker: Worker) -> Worker:
        self.stop(worker)
        self.workers.remove(worker)
        self.workers.append(self.start())
        return self.workers[-1]


def warm_up() -> None:
    """Import once what every process needs."""
    import backends.brian.program
    import backends.native.program
    import backends.pytorch.program  # noqa: F401

    generate(0)


def _death(code: int | None) -> str:
    try:
        return signal.Signals(-(code or 0)).name
    except ValueError:
        return f"exit code {code}"


def _folder(pid: int | None) -> str:
    return os.path.join(tempfile.gettempdir(), f"twinspike-fuzz-{pid}")


def _work(connection: Connection, oracles: tuple[str, ...]) -> None:
    """Examine seeds until the pipe closes; compiled libraries and Brian2's list of names go with each network."""
    from brian2.core.names import Nameable

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    folder = _folder(os.getpid())
    os.environ["XDG_CACHE_HOME"] = folder
    gc.disable()
    gc.freeze()  # all that came from the process that forked this one, however much that is
    for done in count(1):
        if done % COLLECTED == 0:
            collect()
        try:
            seed = connection.recv()
        except EOFError:
            return
        choose_flags(seed)
        try:
            found = examine(seed, oracles)
        except Exception as error:
            found = Examination(seed, [Failure("generator", f"raises {type(error).__name__}", str(error)[:300])])
        connection.send(found)
        shutil.rmtree(folder, ignore_errors=True)
        Nameable.__instances__().clear()  # every new object's name is compared with all of them


def collect() -> None:
    """Garbage goes; what lives now, caches above all, isn't looked through again."""
    gc.collect()
    gc.freeze()


def choose_flags(seed: int) -> None:
    """How native compiles this seed's network."""
    if seed % FULL_FLAGS:
        os.environ["TWINSPIKE_NATIVE_FLAGS"] = QUICK
    else:
        os.environ.pop("TWINSPIKE_NATIVE_FLAGS", None)
