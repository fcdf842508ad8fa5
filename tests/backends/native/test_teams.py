"""Threads that share one trial: whoever is there does what there is to do, and the numbers are the same."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from backends.native import compiled
from neuro.protocols import RunError
from tests.backends.native.test_compact import FORMS, native, network, same
from tests.backends.networks import drive

ASKED: dict[str, Any] = {"record": ["cells.v"]}


@pytest.fixture(autouse=True)
def small_teams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share the cells of small networks too."""
    monkeypatch.setattr(compiled, "WORTH", 1)


def gives(number: int, monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """A system that starts so many threads, and refuses the rest. Gives those that it started."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def perhaps(self: threading.Thread) -> None:
        if len(started) == number:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", perhaps)
    return started


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_system_that_gives_fewer_threads(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there do the work of the others; without any, whoever asks does it."""
    item = network("own delays")
    inputs = drive(item, batch=1, steps=60)
    alone, program = native(item).run(inputs=inputs, **ASKED), native(item, threads=3)
    with monkeypatch.context() as patch:
        started = gives(number, patch)
        same(program.run(inputs=inputs, **ASKED), alone)
    assert len(started) == number
    same(program.run(inputs=inputs, **ASKED), alone)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_who_comes_late_says_the_same(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is another's work has no news of its own: what left the finite numbers, and when, is what one thread finds."""
    item = network("own delays")
    inputs, said = drive(item, batch=1, steps=60), []
    for threads in (1, 3):
        with monkeypatch.context() as patch, pytest.raises(RunError) as error:
            program = native(item, threads=threads)
            gives(number, patch)
            program.run({"loop.w": np.full(6000, 1e308)}, inputs)
        said.append(str(error.value))
    assert said[0] == said[1] and "is not finite at step" in said[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("patience", [0, 1])
def test_threads_that_sleep_at_once(form: str, patience: int, monkeypatch: pytest.MonkeyPatch) -> None:
    item = network(form)
    inputs = drive(item, batch=1, steps=60)
    alone = native(item).run(inputs=inputs, **ASKED)
    monkeypatch.setenv("TWINSPIKE_NATIVE_FLAGS", f"-DPATIENCE={patience}")
    program = native(item, threads=3)
    for _ in range(5):
        same(program.run(inputs=inputs, **ASKED), alone)
