"""Matrix functions in numpy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def exponential(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """exp of matrices [..., n, n]: Taylor's series of A/2**k, squared k times.

    scipy's divides by differences of nearly equal rates where a matrix is triangular, and loses half of its digits.
    """
    norm = float(np.abs(matrix).sum(axis=-1).max(initial=0))
    if not math.isfinite(norm):
        return np.full(matrix.shape, np.nan)
    halved = max(0, math.ceil(math.log2(norm)) + 2) if norm else 0
    term = total = np.broadcast_to(np.eye(matrix.shape[-1]), matrix.shape)
    for power in range(1, 15):
        term = term @ matrix / (2**halved * power)
        total = total + term
    for _ in range(halved):
        total = total @ total
    return total
