"""Fair times on a shared machine: interleaved rounds, CPU time, medians, ratios, and an A/A control."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

CONTROL = " again"  # the same function under this name's ending shows what a ratio of 1 looks like here


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    update: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> dict[str, list[float]]:
    """CPU seconds of each function in each round, children's included; every round calls all, in turning order."""
    names = list(functions)
    for function in functions.values():
        function()  # first calls compile and fill caches
    found: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = cpu_seconds()
            functions[name]()
            found[name].append(cpu_seconds() - start)
        update(i + 1, rounds, "")
    return found


def cpu_seconds() -> float:
    """CPU time of this process and the children it waited for."""
    found = time.process_time()
    children = os.times()
    return float(found + children.children_user + children.children_system)


def ratio_rows(times: Mapping[str, list[float]], ours: str, notes: Mapping[str, str]) -> list[list[Any]]:
    """Rows (name, median CPU s, median of the rounds' ratios of ours to it, spread of the ratios, note)."""
    rows = []
    for name, found in times.items():
        ratios = sorted(a / b for a, b in zip(times[ours], found, strict=True))
        spread = f"{ratios[0]:.3g}..{ratios[-1]:.3g}"
        note = "A/A control" if name.endswith(CONTROL) else notes.get(name, "")
        rows.append([name, median(found), median(ratios), spread, note])
    return rows
