"""What workers are made to do in tests. A process that is told to fail once knows by a file that it has."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path

from neuro import ModelError
from neuro.checks.common import plain


def late_first(wait: float, number: int) -> tuple[int, int]:
    time.sleep(wait)
    return number, os.getpid()


def total(shared: list[int], number: int) -> int:
    return sum(shared) + number


def once(path: Path) -> bool:
    """Whether nobody was here before."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def killed_once(path: str, number: int) -> int:
    if number == 3 and once(Path(path)):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number**2


def deadly(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def slow_once(path: str, seconds: float, number: int) -> int:
    time.sleep(seconds if number == 1 and once(Path(path)) else 0.05)
    return number


def wrong(number: int) -> float:
    return 1 / number


def set_aside(number: int) -> int:
    """Objects that this worker's search for garbage passes over."""
    time.sleep(0.05)
    return gc.get_freeze_count()


def count(*things: int) -> int:
    return len(things)


class TwoWords(Exception):
    """Which no pickle makes again."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def misshapen(number: int) -> float:
    if number == 1:
        raise TwoWords("this", "the reason")
    raise ModelError([plain("network", "it is none", "make one")])
