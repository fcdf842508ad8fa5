"""Threads for what is drawn and arranged in parts: whoever compiles lends them, and the numbers are the same without."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PART = 2**16  # numbers, or synapses, that are worked on at once: what is made on the way stays small, and in the cache
_threads = ContextVar("threads", default=1)


@contextmanager
def lent(threads: int) -> Iterator[None]:
    """`mapped` may use so many threads within this block."""
    before = _threads.set(threads)
    try:
        yield
    finally:
        _threads.reset(before)


class _Task(Generic[Result]):
    """A call that whoever comes first makes."""

    def __init__(self, function: Callable[[Item], Result], item: Item) -> None:
        self._call: Callable[[], Result] = lambda: function(item)
        self._taken, self.result = Lock(), Future[Result]()

    def run(self) -> None:
        if not self._taken.acquire(blocking=False):
            return
        try:
            with lent(1):
                self.result.set_result(self._call())
        except BaseException as error:  # who asks for the result gets it
            self.result.set_exception(error)


def mapped(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """A function of each item, in order, by the threads that are lent; what the system gives no thread for, the caller does.

    Items are taken one after another in the calling thread, little ahead of what is asked for, so that neither they nor the results pile up.
    A function that runs in one of these threads has no others.
    """
    threads = _threads.get()
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque[Future[Result]]()
        for item in items:
            task = _Task(function, item)
            waiting.append(task.result)
            try:
                pool.submit(task.run)
            except RuntimeError:  # no more threads; one that is there may take it all the same
                task.run()
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def spans(size: int, part: int = PART) -> Iterator[slice]:
    """0 ... size - 1 in parts of equal length, but for the last."""
    for first in range(0, size, part):
        yield slice(first, min(first + part, size))
