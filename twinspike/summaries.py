"""What a module says of itself in its first line, without importing it."""

from __future__ import annotations

import ast
from pathlib import Path


def summary(path: Path) -> str:
    """First line of a module's docstring; empty where it has none."""
    return first_line(ast.parse(path.read_text(encoding="utf-8")))


def first_line(module: ast.Module) -> str:
    """Of its docstring."""
    return (ast.get_docstring(module) or "").partition("\n")[0]
