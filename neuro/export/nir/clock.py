"""Time constants in files, and the decay factors that a reader's step makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Clock:
    """A reader's step. dt: in the unit of its time constants. euler: decay 1 - dt/tau, else exp(-dt/tau)."""

    dt: float
    euler: bool = True

    def tau(self, decay: Array) -> Array:
        """The time constant of a decay factor: within [0, 1) by Euler, else (0, 1)."""
        return self.dt / (1 - decay) if self.euler else -self.dt / np.log(decay)

    def leak(self, tau: Array) -> Array:
        """1 - decay, what a step takes away."""
        return self.dt / tau if self.euler else -np.expm1(-self.dt / tau)
