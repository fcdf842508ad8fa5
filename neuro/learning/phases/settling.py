"""Relaxation to a fixed point, which is seen and never assumed: runs go on in parts until no state changes any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuro.language.units import Dimension, has_unit, quantity
from neuro.learning.gradient.gradient_rule import RuleError
from neuro.options import OptionError
from neuro.protocols import Array, Parameters, Recording
from neuro.state import State


class SettlingError(RuleError):
    """A phase hasn't settled; the message says which variable still moves, how fast, and what to change."""


@dataclass(frozen=True)
class Settled:
    """recording: of the last steps. residual: largest |du/dt| in the last step, SI, of the variable `where`. steps: all that were run."""

    recording: Recording
    residual: float
    where: str
    steps: int


@dataclass(frozen=True)
class Settling:
    """tolerance: largest |du/dt| of a settled network, SI. longest: steps a phase may take. chunk: steps between two looks.

    raises: whether a phase that hasn't settled is an error; else it ends where it is, and its residual says how far that is.
    """

    tolerance: float
    longest: int
    chunk: int
    raises: bool = True

    def relax(
        self, program: Any, parameters: Parameters, held: Mapping[str, Array], states: Sequence[str], phase: str,
        record: Sequence[str] = (), state: State | None = None, population: int | None = None,
    ) -> Settled:  # fmt: skip
        """Runs under constant inputs from `state` (None: the initial one) until every one of `states` has settled.

        held: input -> SI values [batch, channel]. states: "population.variable". phase: its name in messages. record: further
        traces. Raises SettlingError.
        """
        names, done = tuple(dict.fromkeys((*states, *record))), 0
        while True:
            steps = min(self.chunk, self.longest - done)
            if 0 < self.longest - done - steps < 2:  # two steps are the least that show a change
                steps += 1
            found = program.run(
                parameters, over(held, steps), names, state=state, **({} if population is None else {"population": population})
            )  # fmt: skip
            done += steps
            residual, where = speed(found, states)
            if residual <= self.tolerance or (done >= self.longest and not self.raises):
                return Settled(found, residual, where, done)
            if done >= self.longest or not np.isfinite(residual):
                raise SettlingError(
                    f"the {phase} phase has not settled after {done} steps: |d/dt| of '{where}' is {residual:.3g} in SI units, the "
                    f"tolerance {self.tolerance:.3g}; give more steps (longest), a smaller dt where it oscillates, a tolerance "
                    "that the program's precision can reach, or unsettled='report'"
                )
            state = found.state


def over(held: Mapping[str, Array], steps: int) -> dict[str, Array]:
    """Constant inputs [batch, channel] as [batch, time, channel]."""
    return {n: np.repeat(np.asarray(v)[:, None], steps, axis=1) for n, v in held.items()}


def speed(found: Recording, states: Sequence[str], whole: bool = False) -> tuple[float, str]:
    """Largest |du/dt| of these traces, SI, and whose it is: of the last step, or of any step of the whole recording."""
    first = 0 if whole else -2
    rates = {}
    for n in states:
        moved = np.diff(np.asarray(found.traces[n], np.float64)[..., first:, :], axis=-2)
        rates[n] = float(np.abs(moved).max(initial=0.0)) / found.dt
    where = max(rates, key=lambda n: (not np.isfinite(rates[n]), rates[n]))
    return rates[where], where


def in_si(option: str, value: float | str, dimension: Dimension) -> float:
    """A number as it is, or text with a unit of this dimension in SI. Raises OptionError."""
    if not has_unit(value):
        return float(value)
    given = quantity(value)
    if given.dimension != dimension:
        raise OptionError(f"{option}={value!r} has the unit of {given.dimension}; give one of {dimension}")
    return float(given.value)
