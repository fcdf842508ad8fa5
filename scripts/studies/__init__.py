"""Studies that reproduce published results, one module each; a new file is found by itself."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path


def names() -> tuple[str, ...]:
    """Names of all studies; `es_digits.py` is "es-digits"."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__)))


def summary(name: str) -> str:
    """First line of a study's docstring, without importing it."""
    path = Path(__path__[0]) / f"{name.replace('-', '_')}.py"
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
