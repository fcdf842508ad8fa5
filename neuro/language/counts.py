"""Counts of Poisson's law, by inversion of a uniform number: sums and products of float64 in one order, the same on every backend.

The terms of the cumulative probability are in units of exp(-left), which is put in bit by bit, so that none overflows or vanishes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST = 1e6  # mean; a larger one gives an infinite count, which every run refuses
LARGE, SHIFT, TAIL = 1e200, 400.0, 1e-17


def poisson(mean: Any, uniform: Any) -> Any:
    """The least count whose cumulative probability is above the uniform number; 0 where the mean isn't positive. Arrays broadcast."""
    kind = np.result_type(np.asarray(mean), np.asarray(uniform), np.float32)
    m, u = (a.ravel() for a in np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(uniform, np.float64)))
    shape = np.broadcast_shapes(np.shape(mean), np.shape(uniform))
    found = np.where(m > MOST, np.inf, np.where(np.isnan(m), m, 0.0))
    place = np.flatnonzero((m > 0) & (m <= MOST))
    m, u = m[place], u[place]
    left, p, s, k, scale = m.copy(), np.ones_like(m), np.ones_like(m), np.zeros_like(m), np.exp(-m)
    while True:
        goes = (u >= s * scale) & ~((k > m) & (p < s * TAIL))
        found[place[~goes]] = k[~goes]
        if not goes.any():
            return found.reshape(shape).astype(kind)[()]
        place = place[goes]
        m, u, left, p, s, k, scale = (a[goes] for a in (m, u, left, p, s, k, scale))
        k = k + 1
        p = p * (m / k)
        s = s + p
        big = (p > LARGE) & (left > 0)
        if big.any():
            shift = np.where(big, np.minimum(left, SHIFT), 0.0)
            p, s, left = p * np.exp(-shift), s * np.exp(-shift), left - shift
            scale = np.exp(-left)
