"""Where trials run: processes of this machine, or a Ray cluster. An engine starts trials and says which have ended; their files say what came of them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Protocol

from backends.workers.cluster import check_installed, connected, modules
from twinspike.sweeping.trials import Trial, carry_out

PRELOADED = ["torch", "neuro.learning.loop", "neuro.learning.gradient.bptt", "backends.native", "tasks.digits"]
PATIENCE = 3.0  # seconds for a process to end by itself
LOST = 2  # times that a trial is started again whose worker or machine was lost; after that it has failed, and --retry goes on with it


class Engine(Protocol):
    def free(self) -> bool:
        """Whether a trial that is started now runs at once, or is taken in charge."""

    def busy(self) -> bool:
        """Whether trials are under way."""

    def start(self, trial: Trial, code: str) -> None: ...

    def ended(self, seconds: float) -> list[tuple[Trial, str]]:
        """Trials that have ended, within these seconds, and why if not by themselves."""

    def close(self) -> None:
        """End what is under way."""


class Local:
    """Processes of this machine, at most `jobs` at once. Each is a copy of one that has imported what all need."""

    def __init__(self, jobs: int) -> None:
        import multiprocessing

        try:
            self._context: Any = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(PRELOADED)
        except ValueError:  # a system without it
            self._context = multiprocessing.get_context("spawn")
        self.jobs = jobs
        self._running: dict[int, tuple[Any, Trial]] = {}

    def free(self) -> bool:
        return len(self._running) < self.jobs

    def busy(self) -> bool:
        return bool(self._running)

    def start(self, trial: Trial, code: str) -> None:
        process = self._context.Process(target=carry_out, args=(trial, code), name=trial.name)
        process.start()
        self._running[process.sentinel] = (process, trial)

    def ended(self, seconds: float) -> list[tuple[Trial, str]]:
        from multiprocessing.connection import wait

        found = []
        for sentinel in wait(list(self._running), seconds):
            process, trial = self._running.pop(sentinel)  # type: ignore[arg-type]
            process.join()
            found.append((trial, _why(process.exitcode)))
        return found

    def close(self) -> None:
        for end in ("terminate", "kill"):  # a run that has processes of its own ends them, if it may
            for process, _ in self._running.values():
                getattr(process, end)()
            for process, _ in self._running.values():
                process.join(PATIENCE)
        self._running.clear()


def _carry_out_in(folder: str, trial: Trial, code: str) -> None:
    """The same in the working folder of whoever asks for it, which settings may name files in."""
    os.chdir(folder)
    carry_out(trial, code)


def _why(code: int) -> str:
    import signal

    if code >= 0:
        return f"its process ended with status {code}" if code else ""
    name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
    return f"its process was ended by {name}"


class Ray:
    """A Ray cluster whose machines see the sweep's folder under the same name. Every trial is a task in a worker of its own."""

    def __init__(self, address: str) -> None:
        check_installed("--address")
        self._ray, self._ours = connected(address)
        self._running = dict[Any, Trial]()

    def free(self) -> bool:
        return True

    def busy(self) -> bool:
        return bool(self._running)

    def start(self, trial: Trial, code: str) -> None:
        processors = int(trial.settings["threads"])
        environment = {"env_vars": modules()}
        task = self._ray.remote(num_cpus=processors, max_calls=1, max_retries=LOST, runtime_env=environment)(
            _carry_out_in
        )
        self._running[task.remote(os.getcwd(), replace(trial, folder=trial.folder.resolve()), code)] = trial

    def ended(self, seconds: float) -> list[tuple[Trial, str]]:
        ready, _ = self._ray.wait(list(self._running), timeout=seconds)
        return [(self._running.pop(reference), self._said(reference)) for reference in ready]

    def _said(self, reference: Any) -> str:
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return str(error).strip().splitlines()[0]
        return ""

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        if self._ours:
            self._ray.shutdown()
