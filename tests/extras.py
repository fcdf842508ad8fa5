"""What needs packages of an extra is skipped, with the reason, where they aren't installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import pytest

PHYSICS = ("gymnasium", "mujoco", "imageio")
NEEDS = {"crippled": PHYSICS, "control": ("gymnasium",)}  # tasks
NEEDS |= dict.fromkeys(("evolved-plasticity", "evolved-plasticity-night"), PHYSICS)  # studies


def lacking(name: str) -> pytest.MarkDecorator:
    """Skips without the packages that a task or study needs."""
    absent = [package for package in NEEDS.get(name, ()) if find_spec(package) is None]
    return pytest.mark.skipif(bool(absent), reason=f"'{name}' needs {', '.join(absent)}: install the extra 'control'")


def each(names: Iterable[str]) -> list[Any]:
    """Names as pytest's parameters."""
    return [pytest.param(name, marks=lacking(name)) for name in names]
