"""Studies that reproduce published results, one module each; a new file is found by itself."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path
from typing import Any

from twinspike.summaries import first_line


def names() -> tuple[str, ...]:
    """Names of all studies; `es_digits.py` is "es-digits"."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__)))


def summary(name: str) -> str:
    """First line of a study's docstring, without importing it."""
    return first_line(_parsed(name))


def minutes(name: str) -> float:
    """What a full run takes on two cores, without importing the study: its constant MINUTES."""
    found = _constant(name, "MINUTES")
    if found is None:
        raise LookupError(f"study '{name}' doesn't say what a full run takes; give it MINUTES = ...")
    return float(found)


def data(name: str) -> str:
    """What a study takes as --data: its constant DATA; empty where it takes nothing."""
    return _constant(name, "DATA") or ""


def _constant(name: str, wanted: str) -> Any:
    for line in _parsed(name).body:
        if isinstance(line, ast.Assign) and [t.id for t in line.targets if isinstance(t, ast.Name)] == [wanted]:
            return ast.literal_eval(line.value)
    return None


def _parsed(name: str) -> ast.Module:
    path = Path(__path__[0]) / f"{name.replace('-', '_')}.py"
    return ast.parse(path.read_text(encoding="utf-8"))
