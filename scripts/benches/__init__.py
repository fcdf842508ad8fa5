"""Benchmarks, one module each with `run(study, rounds)`; a new file is found by itself, peers' networks in `*_peers.py`."""

from __future__ import annotations

import pkgutil


def names() -> tuple[str, ...]:
    """Names of all benchmarks."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.endswith("_peers")))
