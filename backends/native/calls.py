"""A function of a kernel, called for spans of steps with the same arrays."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.protocols import RunError

Array = npt.NDArray[Any]
DONE, FAILED, CUT, PAUSED, NO_MEMORY, WRONG = 0, 1, 2, 3, -1, -2  # what a status says first; work.h, cuda_on_cpu.h
LINE = 64  # bytes of a cache line
START, RESUMED, TEAM = 3, 5, 6  # places in run_t
STOP, TAKEN = 4, 8  # places in team
_POINTER, _LONG, _BYTE = ctypes.c_void_p, ctypes.c_long, ctypes.c_char
SIGNATURE = (*(_POINTER,) * 4, *(_LONG,) * 5, _POINTER, _LONG)


def address(array: Array) -> int:
    """Where its numbers begin."""
    try:
        return ctypes.addressof(_BYTE.from_buffer(array))  # type: ignore[arg-type]  # four times as quick as what numpy tells
    except (TypeError, ValueError):  # read-only, or empty
        return int(array.__array_interface__["data"][0])


class Call:
    """Calls a function for spans of steps. A kernel comes back from time to time and is called again at once: Ctrl-C gets through.

    arrays: in the order of the kernel's slots, None for one that it doesn't read. strides: bytes from one parameter set's
    values to the next's. numbers: of the run (run_t). work: (first unit, last + 1, lane) of each thread. room: bytes of a unit's
    scratch. kept: whether units keep theirs from one span to the next. together: whether the threads share one unit.
    """

    def __init__(
        self, function: Any, arrays: Sequence[Array | None], strides: Sequence[int], numbers: Sequence[int],
        work: Sequence[tuple[int, int, int]], threads: int, room: int, *, kept: bool, together: bool = False, held: Any = None,
    ) -> None:  # fmt: skip
        self.function, self.work, self.held = function, work, (arrays, held)  # which a thread may still use
        try:
            self.scratch = _aligned(room * (work[-1][1] if kept else len(work)))
        except MemoryError:
            raise no_memory() from None
        self._pointers = (_POINTER * len(arrays))(*[None if a is None else address(a) for a in arrays])
        self._team = (_LONG * (TAKEN + len(work)))() if together else None
        team = 0 if self._team is None else ctypes.addressof(self._team)
        self._fixed = (_LONG * len(strides))(*strides), (_LONG * (len(numbers) + 1))(*numbers, team)
        self.statuses = [(_LONG * 6)() for _ in work]
        begin, pointers = address(self.scratch), ctypes.addressof(self._pointers)
        strides_, numbers_ = map(ctypes.addressof, self._fixed)
        self._heads = [(pointers, strides_, ctypes.addressof(s), numbers_) for s in self.statuses]
        self._tails = [
            (*units, begin if kept or together else begin + i * room, room if kept else 0)
            for i, units in enumerate(work)
        ]
        self._threads = min(threads, len(work))
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0  # whose threads they are
        self._stopped = False

    def put(self, slot: int, array: Array) -> None:
        """Another array in place of a slot's, which the caller holds."""
        self._pointers[slot] = address(array)

    def begin(self, start: int, *, resumed: bool) -> None:
        """Another run with the same arrays. start: steps done before. resumed: whether it goes on from a state."""
        numbers = self._fixed[1]
        numbers[START], numbers[RESUMED] = start, int(resumed)

    def kept(self) -> Array:
        """What is in the scratch of all units now."""
        return self.scratch.copy()

    def put_back(self, kept: Array) -> None:
        """What was there then."""
        self.scratch[...] = kept

    def start(self, begin: int, end: int) -> None:
        """Steps that can't fail. Raises RunError."""
        self(begin, end)

    def __call__(self, begin: int, end: int) -> bool:
        """Steps begin ... end - 1. Whether everything went well; `statuses` say what didn't. Raises RunError."""
        if self._threads == 1 or not self._side_by_side(begin, end):
            self._alone(begin, end)
        said = [status[0] for status in self.statuses]
        if NO_MEMORY in said:
            raise no_memory()
        if WRONG in said:
            raise wrong(self.statuses[said.index(WRONG)])
        return not any(said)

    def _side_by_side(self, begin: int, end: int) -> bool:
        """Whether there were threads to do it. Where the system gives fewer than asked for, those do the others' work."""
        if self._pool is None or self._process != os.getpid():  # a fork has none of its parent's threads
            self._pool, self._process = ThreadPoolExecutor(self._threads), os.getpid()
        self._stopped = False
        if self._team is not None:
            self._team[:] = [len(self.work), *[0] * (len(self._team) - 1)]
        left, running = deque(range(len(self.work))), list[Future[None]]()

        def some() -> None:
            with suppress(IndexError):  # nothing is left
                while True:
                    self._one(left.popleft(), begin, end)

        try:
            with suppress(RuntimeError):  # no more threads
                while len(running) < self._threads:
                    running.append(self._pool.submit(some))
            for each in running:
                each.result()
        except BaseException:
            self._stopped = True
            if self._team is not None:
                self._team[STOP] = 1
            wait(running)
            raise
        finally:
            left.clear()  # what waits in the pool for a thread finds nothing to do
        return bool(running)

    def _alone(self, begin: int, end: int) -> None:
        """By the thread that asks, which can be interrupted."""
        self._stopped, numbers = False, self._fixed[1]
        team, numbers[TEAM] = numbers[TEAM], 0
        for status in self.statuses:
            status[0] = DONE
        try:
            for i in range(1 if team else len(self.work)):
                self._one(i, begin, end)
        finally:
            numbers[TEAM] = team

    def _one(self, i: int, begin: int, end: int) -> None:
        status, head, tail, function = self.statuses[i], self._heads[i], self._tails[i], self.function
        status[0] = DONE
        function(*head, begin, end, *tail)
        while status[0] == PAUSED and not self._stopped:
            function(*head, begin, end, *tail)

    def close(self) -> None:
        """Its threads end."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _aligned(size: int) -> Array:
    """Bytes that begin at a cache line, so that a copy of what a kernel kept here serves elsewhere."""
    found = np.empty(size + LINE, np.uint8)
    first = -address(found) % LINE
    return found[first : first + size]


def wrong(status: Any) -> RunError:
    """What the emulation of CUDA says of two threads of a block: see cuda_on_cpu.h."""
    what, a, line_a, b, line_b = status[1:]
    did = "are at different barriers" if what == 1 else "write the same number between two barriers"
    return RunError(
        f"the kernel's text is wrong: threads {a} and {b} of a block {did} (next in its lines {line_a} and {line_b}); "
        "please report this network, and use device='cpu'"
    )


def no_memory() -> RunError:
    return RunError("the kernel got no memory for its scratch; use a smaller batch")
