"""Benchmarks, one module each with `run(bench)`; a new file is found by itself, peers' networks are in `peers`."""

from __future__ import annotations

import pkgutil


def names() -> tuple[str, ...]:
    """Names of all benchmarks."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg))
