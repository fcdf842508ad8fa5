"""Processes of this machine that wait to be called: the first so many of them meet, as torchrun's do, and make a call together."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from neuro.protocols import RunError

LOADED = ["torch", "torch.distributed", "sympy", "scipy.stats", "h5py", "pint"]  # once, before the processes divide
PATIENCE = timedelta(minutes=5)  # that one waits for the others


class Group:
    """number: of processes, each with one thread. Each keeps what it has loaded and compiled from one call to the next. Use it in `with`."""

    def __init__(self, number: int) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        self._folder, self._meetings = TemporaryDirectory(prefix="twinspike-"), 0
        self._pipes, self._processes = [], []
        for rank in range(number):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, rank), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def call(self, number: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What each of the first so many returns, by rank. function: of a module. Raises RunError with what went wrong in them; the group is then of no more use."""
        self._meetings += 1
        place = Path(self._folder.name) / str(self._meetings)
        for pipe in self._pipes[:number]:
            pipe.send((number, str(place), function, arguments))
        answers = [_answer(pipe) for pipe in self._pipes[:number]]
        wrong = [text for text, _ in answers if text]
        if wrong:
            raise RunError("\n".join(wrong))
        return [value for _, value in answers]

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            process.kill()
        self._folder.cleanup()

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _answer(pipe: Connection) -> Sequence[Any]:
    try:
        found: Sequence[Any] = pipe.recv()
        return found
    except EOFError:
        return "a process of the group is gone", None


def _serve(pipe: Connection, rank: int) -> None:
    """In a process of the group."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    while True:
        try:
            number, place, function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            if number > 1:
                dist.init_process_group("gloo", f"file://{place}", PATIENCE, number, rank)
            pipe.send(("", function(*arguments)))
        except Exception:  # its end tells the others, who wait for it
            pipe.send((f"process {rank} of {number}: {traceback.format_exc()}", None))
            return
        if number > 1:
            dist.destroy_process_group()
