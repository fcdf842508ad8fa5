"""Where the tests look for recordings that no package brings (without them they skip, with the reason), and what no test may leave behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.files import FOLDER

os.environ.setdefault(FOLDER, str(Path(__file__).resolve().parents[2] / "shared" / "data"))


def brian2_state() -> tuple[float, str, str]:
    """What Brian2 keeps for the whole process and a later network would meet: its default clock's step, its target, its precision."""
    brian2: Any = sys.modules.get("brian2")
    if brian2 is None:
        return 1e-4, "auto", "float64"
    target, precision = brian2.prefs["codegen.target"], brian2.prefs["core.default_float_dtype"]
    return float(brian2.defaultclock.dt), str(target), precision.__name__


@pytest.fixture(autouse=True)
def _brian2_is_left_as_it_was() -> Iterator[None]:
    before = brian2_state()
    yield
    assert brian2_state() == before
