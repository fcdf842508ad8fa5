"""Worker processes that make calls: results in the calls' order, whoever made them, and whoever was lost on the way.

A call has no state: what it gives follows from its message alone. So it may be made again where a worker died, and twice where
one is slow; the first answer counts, and they are the same.
"""

from __future__ import annotations

import hashlib
import pickle
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from backends.workers.worker import KEPT, dumps
from neuro.protocols import RunError

SHARE = 0.5  # of the median time of a call, by which one may be late before another worker gets it too
SOONEST = 0.2  # seconds: what is faster is waited for
SUSPECT, REFUSED = 2, 4  # workers lost to one call: after which it runs alone, and after which it is refused
LOOK = 0.5  # seconds between two looks at workers that start


class Lost(Exception):
    """A worker ended before it answered."""


class Engine(Protocol):
    """Processes somewhere. A place is where they find something shared; a handle stands for a call under way."""

    workers: int
    at_exit: bool  # whether it must be closed before this process ends

    def put(self, data: bytes) -> Any:
        """Gives its place."""
        ...

    def drop(self, place: Any) -> None: ...

    def free(self) -> int:
        """Workers that have no call, of those that are there. Raises RunError where none ever comes."""
        ...

    def submit(self, message: bytes, places: Mapping[str, Any]) -> Any:
        """Gives the handle. Raises Lost."""
        ...

    def wait(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        """Those that are over, after so many seconds at most."""
        ...

    def result(self, handle: Any) -> bytes:
        """The answer of one that is over. Raises Lost."""
        ...

    def close(self) -> None:
        """Ends the processes, whatever they do; they start again with the next call."""
        ...


@dataclass
class Traffic:
    """Bytes that were pickled for the workers and by them, seconds that these worked, and how often a worker was lost and a call made twice."""

    sent: int = 0
    received: int = 0
    seconds: float = 0.0
    lost: int = 0
    twice: int = 0


@dataclass(eq=False)
class _Call:
    number: int
    message: bytes
    words: str
    losses: int = 0
    begun: list[float] = field(default_factory=list)  # when each copy under way was given to a worker


class WorkerTraceback(Exception):
    """Where an error arose, in a worker process: the cause of the error that is raised here."""


class Crew:
    """An engine's workers. share: see SHARE. traffic: since the crew was made."""

    def __init__(self, engine: Engine, share: float = SHARE) -> None:
        self.engine, self.share, self.traffic = engine, share, Traffic()
        self._places: OrderedDict[str, Any] = OrderedDict()
        self._known: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._running: dict[Any, _Call] = {}  # handle -> call, those of earlier rounds that nobody waits for too
        weakref.finalize(self, engine.close).atexit = engine.at_exit

    def each(
        self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]], shared: Sequence[Any] = (), name: str = ""
    ) -> list[Any]:
        """function(*shared, *item) of each item, in their order. shared: pickled once, sent where it isn't there yet; nobody may change it. name: of what is called, in messages.

        What the function raises is raised here. Raises RunError where something can't be pickled, and on a call whose worker dies each time.
        """
        digests = [self._hold(value) for value in shared]
        self._let_go(set(digests))
        places = {d: self._places[d] for d in digests}
        calls = [
            _Call(k, dumps((function, digests, item)), f"call {k} of '{name or function.__name__}'")
            for k, item in enumerate(items)
        ]
        try:
            return _Round(self, calls, places).results()
        except (KeyboardInterrupt, SystemExit):
            self.close()
            raise

    def close(self) -> None:
        """End the workers; they start again with the next call."""
        self._running.clear()
        self._places.clear()
        self.engine.close()

    def _hold(self, value: Any) -> str:
        kind: Any = type(value)
        # told apart by identity, so that it needn't be pickled again; None is such a thing for Python 3.11, but can't be referred to weakly
        once = kind.__hash__ is object.__hash__ and kind.__weakrefoffset__ != 0
        if once and self._known.get(value) in self._places:
            self._places.move_to_end(self._known[value])
            return self._known[value]
        data = dumps(value)
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        if digest not in self._places:
            self._places[digest] = self.engine.put(data)
            self.traffic.sent += len(data)
        if once:
            self._known[value] = digest
        self._places.move_to_end(digest)
        return digest

    def _let_go(self, needed: set[str]) -> None:
        """Of what is kept for nobody, the oldest."""
        spare = [digest for digest in self._places if digest not in needed]
        for digest in spare[: max(0, len(self._places) - KEPT)]:
            self.engine.drop(self._places.pop(digest))


class _Round:
    """Calls that are made together."""

    def __init__(self, crew: Crew, calls: Sequence[_Call], places: Mapping[str, Any]) -> None:
        self.crew, self.engine, self.places = crew, crew.engine, places
        self.waiting, self.open = deque(calls), {c.number: c for c in calls}
        self.found: dict[int, Any] = {}
        self.times: list[float] = []

    def results(self) -> list[Any]:
        while self.open:
            self._give()
            for handle in self.engine.wait(list(self.crew._running), self._patience()):
                self._take(handle)
        return [self.found[k] for k in sorted(self.found)]

    # -- giving ----------------------------------------------------------------------------------------------------

    def _give(self) -> None:
        """What waits goes to the workers that are free, then what is late; a suspect goes alone."""
        for _ in range(self.engine.free()):
            call = self._next()
            if call is None:
                return
            try:
                handle = self.engine.submit(call.message, self.places)
            except Lost:
                self.waiting.appendleft(call)
                return
            self.crew.traffic.sent += len(call.message)
            self.crew.traffic.twice += bool(call.begun)
            call.begun.append(time.monotonic())
            self.crew._running[handle] = call

    def _next(self) -> _Call | None:
        under_way = [c for c in self.open.values() if c.begun]
        if any(c.losses >= SUSPECT for c in under_way):
            return None
        if self.waiting and self.waiting[0].losses >= SUSPECT:
            return None if under_way else self.waiting.popleft()
        if self.waiting:
            return self.waiting.popleft()
        late = [c for c in under_way if self._due(c) <= time.monotonic()]
        return min(late, key=lambda c: c.begun[-1]) if late else None

    def _due(self, call: _Call) -> float:
        """When another worker may get a call too."""
        if not self.times or len(call.begun) >= self.engine.workers:
            return float("inf")
        return call.begun[-1] + max(SOONEST, (1 + self.crew.share) * median(self.times))

    def _patience(self) -> float:
        due = min((self._due(c) for c in self.open.values() if c.begun), default=float("inf"))
        left = due - time.monotonic()
        return min(LOOK, left) if left > 0 else LOOK  # late already, and no worker is free

    # -- taking ----------------------------------------------------------------------------------------------------

    def _take(self, handle: Any) -> None:
        call = self.crew._running.pop(handle)
        mine = self.open.get(call.number) is call
        try:
            answer = self.engine.result(handle)
        except Lost:
            self.crew.traffic.lost += 1
            if mine:
                self._lost(call)
            return
        self.crew.traffic.received += len(answer)
        well, value, text, seconds = pickle.loads(answer)
        self.crew.traffic.seconds += seconds
        if not mine:
            return
        if not well:
            raise value from WorkerTraceback(f"\n{text}")
        self.times.append(time.monotonic() - min(call.begun))
        self.found[call.number] = value
        del self.open[call.number]

    def _lost(self, call: _Call) -> None:
        call.losses += 1
        if call.losses >= REFUSED:
            raise RunError(
                f"a worker process died {call.losses} times at {call.words}, also when nothing else ran; it wants more memory than there is, or what it calls ends its process: "
                "run it in this process (leave the workers out) to see which"
            )
        call.begun.pop()
        if not call.begun:
            (self.waiting.append if call.losses >= SUSPECT else self.waiting.appendleft)(call)
