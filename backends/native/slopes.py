"""Surrogate derivatives as expressions of x = margin / scale: those of backends.surrogates, with their default options."""

from __future__ import annotations

import math
from difflib import get_close_matches

import sympy as sp

from neuro.protocols import UnsupportedError
from neuro.symbolic import magnitude, maximum, step_or_equal, symbol

X = symbol("x")


def _gaussian(mean: float, sigma: float) -> sp.Expr:
    return sp.exp(-((X - mean) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))


def _multi_gaussian(gamma: float = 0.5, h: float = 0.15, s: float = 6.0, sigma: float = 0.5) -> sp.Expr:
    lobes = _gaussian(sigma, s * sigma) + _gaussian(-sigma, s * sigma)
    return gamma * ((1 + h) * _gaussian(0.0, sigma) - h * lobes)


SLOPES: dict[str, sp.Expr] = {
    "fast_sigmoid": 1 / (25 * magnitude(X) + 1) ** 2,
    "atan": 1 / (1 + (sp.Float(math.pi) * X) ** 2),
    "sigmoid": 25 * sp.exp(-25 * magnitude(X)) / (sp.exp(-25 * magnitude(X)) + 1) ** 2,  # even, so it can't overflow
    "spike_rate_escape": 25 * sp.exp(-magnitude(X - 1)),
    "straight_through_estimator": sp.Integer(1),
    "triangular": 1 - 2 * step_or_equal(X),  # snntorch's own, negative above the threshold
    "triangle": sp.Float(0.3) * maximum(1 - magnitude(X), sp.Integer(0)),
    "multi_gaussian": _multi_gaussian(),
}


def slope_of(name: str) -> sp.Expr:
    """The derivative of that surrogate. Raises UnsupportedError."""
    if name not in SLOPES:
        close = get_close_matches(name, SLOPES, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(SLOPES)}"
        raise UnsupportedError("native", f"surrogate '{name}'", hint, ("torch",))
    return SLOPES[name]
