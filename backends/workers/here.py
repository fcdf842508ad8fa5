"""Worker processes on this machine: the executor that joblib brings."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from backends.workers.crew import Lost
from backends.workers.worker import answer
from neuro.registry import needed_by

_COUNTS = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "BLIS_NUM", "VECLIB_MAXIMUM", "NUMBA_NUM", "NUMEXPR_NUM")
NO_THREADS = {f"{name}_THREADS": "1" for name in _COUNTS}  # a worker has its own processor, no more
MEMORY = Path("/dev/shm")


class Here:
    """See backends.workers.crew.Engine. What is shared lies in files, in memory where the system has such a folder."""

    at_exit = True  # else the executor waits for a call that is late

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: Any = None
        self._folder: Path | None = None
        self._files = 0
        self._under_way: dict[Any, Any] = {}  # handle -> the executor that has it

    def put(self, data: bytes) -> Any:
        if self._folder is None:
            place = MEMORY if os.access(MEMORY, os.W_OK) else None
            self._folder = Path(tempfile.mkdtemp(prefix="twinspike-", dir=place))
            _tracker().register(str(self._folder), "folder")
        self._files += 1
        path = self._folder / str(self._files)
        path.write_bytes(data)
        return str(path)

    def drop(self, place: Any) -> None:
        Path(place).unlink(missing_ok=True)

    def free(self) -> int:
        return self.workers - len(self._under_way)

    def submit(self, message: bytes, places: Mapping[str, Any]) -> Any:
        with needed_by("several workers"):
            from joblib.externals.loky import ProcessPoolExecutor
            from joblib.externals.loky.process_executor import BrokenProcessPool, ShutdownExecutorError

        if self._executor is None:
            self._executor = ProcessPoolExecutor(self.workers, timeout=None, env=NO_THREADS)
        try:
            handle = self._executor.submit(_answer, message, dict(places))
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            self._executor = None
            raise Lost from error
        self._under_way[handle] = self._executor
        return handle

    def wait(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        from concurrent.futures import FIRST_COMPLETED, wait

        return list(wait(handles, timeout, return_when=FIRST_COMPLETED).done)

    def result(self, handle: Any) -> bytes:
        from concurrent.futures import CancelledError

        from joblib.externals.loky.process_executor import BrokenProcessPool

        executor = self._under_way.pop(handle)
        try:
            found: bytes = handle.result()
            return found
        except (BrokenProcessPool, CancelledError) as error:  # one that dies takes the others along
            self._executor = None if self._executor is executor else self._executor
            raise Lost from error

    def close(self) -> None:
        executor, self._executor = self._executor, None
        self._under_way.clear()
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            _tracker().unregister(str(self._folder), "folder")
            self._folder = None


def _tracker() -> Any:
    """The process that removes our folder where this one is killed."""
    from joblib.externals.loky.backend import resource_tracker

    return resource_tracker


def _answer(message: bytes, places: Mapping[str, Any]) -> bytes:
    found = answer(message, places, lambda place: Path(place).read_bytes())
    _set_aside()
    return found


@cache
def _set_aside() -> None:
    """What a worker has loaded by its first answer is no garbage: its executor looks through all else for that every second, which took a third of one."""
    gc.collect()
    gc.freeze()
