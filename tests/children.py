"""Python processes that tests start: nothing of the shell that runs the tests is needed to find this checkout."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    """Variables with which a process finds this checkout and its scripts, wherever it starts."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": path, **more}
