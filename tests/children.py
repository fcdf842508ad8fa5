"""Python processes that tests start: nothing of the shell that runs the tests is needed to find this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    """Variables with which a process finds this checkout and its scripts, wherever it starts."""
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": path, **more}


@contextmanager
def running(*arguments: object, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process with these arguments, as Popen has it; it doesn't outlive the block."""
    command = [sys.executable, *map(str, arguments)]
    with subprocess.Popen(command, **{"env": environment(), "text": True} | how) as process:
        try:
            yield process
        finally:
            process.kill()


def marked(mark: object) -> list[int]:
    """Processes whose environment has it, as those have that such a process started, however they are related to it now."""
    found, wanted = list[int](), os.fsencode(str(mark))
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def until(what: Callable[[], Any], seconds: float = 120.0) -> None:
    """Wait for what comes by then."""
    last = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < last, "nothing came"
        time.sleep(0.05)
