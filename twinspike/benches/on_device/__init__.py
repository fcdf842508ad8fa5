"""Benchmarks of whole steps on a device, a GPU or the processor, one module each with `run(bench, device)`: wall time that waits for the device."""

from __future__ import annotations

import pkgutil


def names() -> tuple[str, ...]:
    """Names of all that can be measured on a device."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "measuring"))
