"""Rules for times that are whole numbers of steps: delays, refractory periods, periods of what runs regularly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from neuro.checks.common import plain
from neuro.checks.parts import Neuron, Projection, Synapse
from neuro.language.equations import Problem
from neuro.language.units import Quantity

MOST_STEPS = 10**9  # what a counter of steps holds on every backend
DELAY_TOLERANCE = 1e-6  # of one step; far above rounding of "0.3 ms" / "0.1 ms", far below any meant delay


def check_grid(name: str, item: Quantity, dt: Quantity, where: str) -> Iterator[Problem]:
    """Delays and refractory periods are whole numbers of steps."""
    steps = np.asarray(item.value) / dt.value
    if np.any(steps > MOST_STEPS):
        message = f"{name} {np.max(item.value):.6g} s is more than {MOST_STEPS} steps of {dt}"
        yield plain(where, message, "give a shorter time", str(item))
        return
    off = np.abs(steps - np.round(steps))
    if np.any(off > DELAY_TOLERANCE):
        worst = float(np.ravel(np.asarray(item.value))[np.argmax(np.ravel(off))]) * 1e3
        below, above = (f"{float(f(worst / dt.to('ms'))) * dt.to('ms'):.6g} ms" for f in (np.floor, np.ceil))
        message = f"{name} {worst:.6g} ms is not a multiple of dt = {dt}"
        yield plain(where, message, f"use {below} or {above}, or change dt", str(item))


def check_periods(item: Neuron | Synapse, dt: Quantity, where: str) -> Iterator[Problem]:
    """What runs regularly does so once in a whole number of steps, one at least."""
    for regular in item.scope.regularly:
        yield from check_grid("the period", regular.period, dt, where)
        if regular.period.value < 0.5 * dt.value:
            yield plain(
                where, f"the period {regular.text} is shorter than dt = {dt}", "give dt or longer", regular.text
            )


def delays_drawn(steps: npt.NDArray[np.float64], projection: Projection, dt: Quantity) -> Iterator[Problem]:
    """Delays drawn from a distribution, in steps."""
    if steps.size and not steps.max() <= MOST_STEPS:
        where, message = (
            f"projection '{projection.name}', delay drawn",
            f"a delay is more than {MOST_STEPS} steps of {dt}",
        )
        yield plain(where, message, "use a narrower distribution, or give it a high=", str(projection.delay))
