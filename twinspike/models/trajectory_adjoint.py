"""Gradients of a trajectory's error by adjoints written from the equations, without any backend: of Euler's step, and of the ODE.

Source: Pearlmutter (1989), Neural Comput 1:263. w[i, j] is the weight from unit i to unit j; time has the unit of `tau`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Target = Callable[[float], Array]


@dataclass(frozen=True)
class Rates:
    """Logistic units: tau dy/dt = -y + sigma(y w + b), y(0) = start. A gradient has the same shapes."""

    w: Array
    b: Array
    tau: Array
    start: Array

    def slope(self, y: Array) -> Array:
        return (sigma(y @ self.w + self.b) - y) / self.tau


@dataclass(frozen=True)
class Error:
    """Half the squared distance of the first units to target(t), mean over the time from `first` to `last`."""

    target: Target
    first: float
    last: float

    def by_output(self, y: Array, t: float) -> Array:
        """Derivative of half the squared distance at time t with respect to all units."""
        found, wanted = np.zeros_like(y), self.target(t)
        found[: len(wanted)] = y[: len(wanted)] - wanted
        return found


def sigma(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def of_steps(rates: Rates, error: Error, dt: float) -> tuple[float, Rates]:
    """The error, mean over the ends of Euler's steps that lie between first and last, and its exact gradient."""
    steps = round(error.last / dt)
    counts = np.arange(1, steps + 1) * dt > error.first - dt / 2
    path = [rates.start]
    for _ in range(steps):
        path.append(path[-1] + dt * rates.slope(path[-1]))
    share, z, total = 1 / counts.sum(), np.zeros_like(rates.start), 0.0
    w, b, tau = (np.zeros_like(a) for a in (rates.w, rates.b, rates.tau))
    for k in reversed(range(steps)):
        y = path[k]
        if counts[k]:
            away = error.by_output(path[k + 1], (k + 1) * dt)
            z, total = z + share * away, total + share * 0.5 * float(away @ away)
        s = sigma(y @ rates.w + rates.b)
        q = s * (1 - s) * z / rates.tau
        w += dt * np.outer(y, q)
        b += dt * q
        tau -= dt * z * (s - y) / rates.tau**2
        z = z + dt * (rates.w @ q - z / rates.tau)
    return total, Rates(w, b, tau, z)


def of_equations(rates: Rates, error: Error, tolerance: float = 1e-10) -> Rates:
    """Gradient of the error as an integral over time, by scipy: dz/dt = z/tau - e - w q backwards, with q = sigma' z/tau."""
    from scipy.integrate import solve_ivp

    n, duration = len(rates.start), error.last - error.first
    options = {"method": "DOP853", "rtol": tolerance, "atol": tolerance * 1e-3}
    path = solve_ivp(lambda t, y: rates.slope(y), (0, error.last), rates.start, dense_output=True, **options).sol

    def backwards(counts: bool) -> Callable[[float, Array], Array]:
        def slopes(t: float, state: Array) -> Array:
            y, z = path(t), state[:n]
            s = sigma(y @ rates.w + rates.b)
            q = s * (1 - s) * z / rates.tau
            e = error.by_output(y, t) / duration if counts else 0.0
            parts = (z / rates.tau - e - rates.w @ q, -np.outer(y, q).ravel(), -q, z * (s - y) / rates.tau**2)
            return np.concatenate(parts)

        return slopes

    state = np.zeros(n + n * n + 2 * n)
    for counts, begin, end in ((True, error.last, error.first), (False, error.first, 0.0)):
        state = solve_ivp(backwards(counts), (begin, end), state, **options).y[:, -1]
    z, w, b, tau = np.split(state, np.cumsum((n, n * n, n)))
    return Rates(w.reshape(n, n), b, tau, z)
