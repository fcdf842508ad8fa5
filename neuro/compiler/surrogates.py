"""Surrogate derivatives of the spike, one expression each: torch, native and the local rules all render these.

Each is a function of x = margin / scale: 0 at the threshold, -1 one scale below. The first six are those that snntorch has, with
its defaults: Eshraghian et al. (2023), Proc IEEE 111:1016.
"""

from __future__ import annotations

import math

import sympy as sp

from neuro.language.elementary import greater_equal, magnitude, maximum
from neuro.language.symbolic import symbol
from neuro.registry import Registry

X = symbol("x")


class UnknownSurrogateError(Exception):
    """No surrogate of that name, or an option that it doesn't take."""


def fast_sigmoid(slope: float = 25.0) -> sp.Expr:
    """1/(1 + k |x|)**2. Zenke & Ganguli (2018), Neural Comput 30:1514."""
    return 1 / (slope * magnitude(X) + 1) ** 2


def atan(alpha: float = 2.0) -> sp.Expr:
    """alpha/2 / (1 + (pi alpha x/2)**2). Fang et al. (2021), ICCV, 2661."""
    return alpha / 2 / (1 + (sp.Float(math.pi / 2 * alpha) * X) ** 2)


def sigmoid(slope: float = 25.0) -> sp.Expr:
    """k exp(-k x)/(1 + exp(-k x))**2, which is even: of |x| it can't overflow. Zenke & Ganguli (2018), Neural Comput 30:1514."""
    falling = sp.exp(-slope * magnitude(X))
    return slope * falling / (falling + 1) ** 2


def spike_rate_escape(beta: float = 1.0, slope: float = 25.0) -> sp.Expr:
    """k exp(-beta |x - 1|). Gerstner & Kistler (2002), Spiking neuron models, Cambridge University Press."""
    return slope * sp.exp(-beta * magnitude(X - 1))


def straight_through_estimator() -> sp.Expr:
    """1. Bengio, Leonard & Courville (2013), arXiv:1308.3432."""
    return sp.Integer(1)


def triangular(threshold: float = 1.0) -> sp.Expr:
    """threshold below the threshold and -threshold from it on, as snntorch has it; e-prop's is `triangle`."""
    return threshold * (1 - 2 * greater_equal(X, 0))


def triangle(gamma: float = 0.3) -> sp.Expr:
    """gamma max(0, 1 - |x|). Bellec et al. (2020), Nat Commun 11:3625."""
    return gamma * maximum(sp.Integer(0), 1 - magnitude(X))


def _gaussian(mean: float, sigma: float) -> sp.Expr:
    return sp.exp(-((X - mean) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))


def multi_gaussian(gamma: float = 0.5, h: float = 0.15, s: float = 6.0, sigma: float = 0.5) -> sp.Expr:
    """gamma ((1 + h) N(x; 0, sigma) - h N(x; sigma, s sigma) - h N(x; -sigma, s sigma)).

    Source: Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905. Its negative lobes regularise activity.
    """
    lobes = _gaussian(sigma, s * sigma) + _gaussian(-sigma, s * sigma)
    return gamma * ((1 + h) * _gaussian(0.0, sigma) - h * lobes)


def gaussian(sigma: float = 0.5) -> sp.Expr:
    """N(x; 0, sigma). Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905, which compares it with their multi-Gaussian."""
    return _gaussian(0.0, sigma)


def linear() -> sp.Expr:
    """max(0, 1 - |x|). Bellec et al. (2018), NeurIPS 31."""
    return triangle(1.0)


def exponential(slope: float = 5.0) -> sp.Expr:
    """exp(-k |x|). Shrestha & Orchard (2018), NeurIPS 31 (SLAYER)."""
    return sp.exp(-slope * magnitude(X))


_SURROGATES = Registry(
    "surrogate",
    {
        f.__name__: f"{__name__}:{f.__name__}"
        for f in (
            fast_sigmoid, atan, sigmoid, spike_rate_escape, straight_through_estimator, triangular, triangle, multi_gaussian, gaussian, linear,
            exponential,
        )
    },
    UnknownSurrogateError,
)  # fmt: skip


def names() -> tuple[str, ...]:
    """Names of all surrogates."""
    return _SURROGATES.names()


def derivative(name: str, /, **options: float) -> sp.Expr:
    """The surrogate's derivative as an expression of X. Raises UnknownSurrogateError."""
    return sp.sympify(_SURROGATES.make(name, options))
