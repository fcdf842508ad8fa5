"""Worker processes of Ray: on a local cluster that starts by itself, or on one that runs somewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from backends.workers.cluster import check_installed, connected, modules
from backends.workers.crew import Lost
from backends.workers.here import NO_THREADS
from backends.workers.worker import answer
from neuro.protocols import RunError

STARTING = 120.0  # seconds without any worker, after which nobody waits longer


class OnRay:
    """See backends.workers.crew.Engine. address: of a cluster; "" for the one that this process is in already, else one of its own.

    A worker is an actor, so that it keeps what it has compiled; one that is lost is replaced wherever the cluster has room. Raises MissingPackageError, RunError.
    """

    at_exit = False  # Ray sees to it itself

    def __init__(self, workers: int, address: str = "") -> None:
        check_installed("engine 'ray'")
        self.workers, self.address = workers, address
        self._ray: Any = None
        self._ours = False  # the connection, which we then end
        self._starting: dict[Any, Any] = {}  # answer to whether it is there -> actor
        self._idle: list[Any] = []
        self._busy: dict[Any, Any] = {}  # handle -> actor
        self._alone_since = 0.0

    def put(self, data: bytes) -> Any:
        return self._open().put(data)

    def drop(self, place: Any) -> None:
        """Ray lets go of what nobody holds."""

    def free(self) -> int:
        ray = self._open()
        for _ in range(self.workers - len(self._starting) - len(self._idle) - len(self._busy)):
            actor: Any = self._kind.remote()
            self._starting[actor.ready.remote()] = actor
        new = list(self._starting)
        for handle in ray.wait(new, num_returns=len(new), timeout=0)[0] if new else ():
            actor = self._starting.pop(handle)
            try:
                ray.get(handle)
                self._idle.append(actor)
            except ray.exceptions.RayTaskError as error:
                raise RunError(f"a worker of Ray can't start: {error.cause or error}") from error
            except ray.exceptions.RayError:
                ray.kill(actor)
        self._check_patience()
        return len(self._idle)

    def submit(self, message: bytes, places: Mapping[str, Any]) -> Any:
        actor = self._idle.pop()
        handle = actor.answer.remote(message, dict(places))
        self._busy[handle] = actor
        return handle

    def wait(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        every = [*handles, *self._starting]
        if not every:
            time.sleep(timeout)
            return []
        done, _ = self._ray.wait(every, num_returns=1, timeout=timeout)
        return [h for h in done if h not in self._starting]

    def result(self, handle: Any) -> bytes:
        actor, errors = self._busy.pop(handle), self._ray.exceptions
        try:
            found: bytes = self._ray.get(handle)
        except errors.RayTaskError as error:
            self._idle.append(actor)
            raise RunError(f"a worker of Ray: {error.cause or error}") from error
        except errors.RayError as error:
            self._ray.kill(actor)
            raise Lost from error
        self._idle.append(actor)
        return found

    def close(self) -> None:
        ray, self._ray = self._ray, None
        actors = [*self._starting.values(), *self._idle, *self._busy.values()]
        self._starting, self._idle, self._busy = {}, [], {}
        if ray is None or not ray.is_initialized():
            return
        for actor in actors:
            ray.kill(actor)
        if self._ours:
            ray.shutdown()

    # -- the cluster -----------------------------------------------------------------------------------------------

    def _open(self) -> Any:
        """Ray, connected."""
        if self._ray is not None:
            return self._ray
        ray, self._ours = connected(self.address, self.workers)
        there = int(ray.cluster_resources().get("CPU", 0))
        if there < self.workers:
            if self._ours:
                ray.shutdown()
            raise RunError(
                f"Ray's cluster has {there} processors for {self.workers} workers; ask for {max(there, 1)} workers, or add nodes"
            )
        actor = ray.remote(_Worker)
        self._kind: Any = actor.options(
            num_cpus=1,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {**NO_THREADS, **modules()}},
        )
        self._ray, self._alone_since = ray, time.monotonic()
        return ray

    def _check_patience(self) -> None:
        if self._idle or self._busy:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > STARTING:
            raise RunError(
                f"no worker of Ray has started for {STARTING:g} s; the cluster's processors are taken or its nodes are gone: see 'ray status'"
            )


class _Worker:
    """An actor's class."""

    def ready(self) -> bool:
        """It is there, and has our packages."""
        return True

    def answer(self, message: bytes, places: Mapping[str, Any]) -> bytes:
        import ray

        return answer(message, places, ray.get)
