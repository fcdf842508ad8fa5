"""Surrogate derivatives of the spike.

A spike is a step function forward, and a smooth bump backward: d(spike)/d(margin) = bump(x)/scale with x = margin/scale,
so x is 0 at the threshold and -1 one scale below it. Formulas and defaults of fast_sigmoid, atan, sigmoid,
spike_rate_escape and straight_through_estimator are snntorch's, computed in the margin's own precision (snntorch's
functions return float32). snntorch's "triangular" is left out: its derivative is +1 below and -1 above the threshold, which
is no triangle; `triangle` here is e-prop's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from typing import Any

import torch

Bump = Callable[[torch.Tensor], torch.Tensor]
Spike = Callable[[torch.Tensor], torch.Tensor]


class UnknownSurrogateError(Exception):
    """No surrogate of that name, or an option that it doesn't take."""


def fast_sigmoid(x: torch.Tensor, slope: float = 25.0) -> torch.Tensor:
    """1/(1 + slope |x|)^2. Zenke & Ganguli (2018), Neural Comput 30:1514."""
    return x.abs().mul_(slope).add_(1).pow_(-2)


def atan(x: torch.Tensor, alpha: float = 2.0) -> torch.Tensor:
    """(alpha/2)/(1 + (pi alpha x/2)^2). Fang et al. (2021), ICCV."""
    return alpha / 2 / (1 + (math.pi / 2 * alpha * x) ** 2)


def sigmoid(x: torch.Tensor, slope: float = 25.0) -> torch.Tensor:
    """Derivative of the logistic function of slope x. Zenke & Ganguli (2018)."""
    s = torch.sigmoid(slope * x)
    return slope * s * (1 - s)


def spike_rate_escape(x: torch.Tensor, beta: float = 1.0, slope: float = 25.0) -> torch.Tensor:
    """slope exp(-beta |x - 1|), whose peak is one scale above the threshold."""
    return slope * torch.exp(-beta * (x - 1).abs())


def straight_through_estimator(x: torch.Tensor) -> torch.Tensor:
    """1 everywhere. Bengio et al. (2013), arXiv:1308.3432."""
    return torch.ones_like(x)


def triangle(x: torch.Tensor, gamma: float = 0.3) -> torch.Tensor:
    """gamma max(0, 1 - |x|). Bellec et al. (2020), Nat Commun 11:3625, where the scale is the baseline threshold."""
    return gamma * torch.clamp(1 - x.abs(), min=0)


def gaussian(x: torch.Tensor, sigma: float = 0.5) -> torch.Tensor:
    """Normal density. Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905."""
    return _normal(x, 0.0, sigma)


def slayer(x: torch.Tensor, alpha: float = 5.0) -> torch.Tensor:
    """exp(-alpha |x|). Shrestha & Orchard (2018), NeurIPS 31."""
    return torch.exp(-alpha * x.abs())


def multi_gaussian(
    x: torch.Tensor, gamma: float = 0.5, h: float = 0.15, s: float = 6.0, sigma: float = 0.5
) -> torch.Tensor:
    """gamma ((1 + h) N(x; 0, sigma) - h N(x; sigma, s sigma) - h N(x; -sigma, s sigma)).

    Source: Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905. Its negative lobes regularise activity.
    """
    lobes = _normal(x, sigma, s * sigma) + _normal(x, -sigma, s * sigma)
    return gamma * ((1 + h) * _normal(x, 0.0, sigma) - h * lobes)


def _normal(x: torch.Tensor, mean: float, sigma: float) -> torch.Tensor:
    return torch.exp(-((x - mean) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))


_BUMPS: dict[str, Callable[..., torch.Tensor]] = {
    f.__name__: f
    for f in (
        fast_sigmoid, atan, sigmoid, spike_rate_escape, straight_through_estimator, triangle, gaussian, slayer,
        multi_gaussian,
    )
}  # fmt: skip


class _Spike(torch.autograd.Function):
    """margin > 0 (strict) or >= 0 forward, bump(margin/scale)/scale backward."""

    @staticmethod
    def forward(ctx: Any, margin: torch.Tensor, bump: Bump, scale: float, strict: bool) -> torch.Tensor:
        ctx.save_for_backward(margin)
        ctx.bump, ctx.scale = bump, scale
        return (margin > 0 if strict else margin >= 0).to(margin.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (margin,) = ctx.saved_tensors
        slope = ctx.bump(margin * (1 / ctx.scale))
        return grads[0] * slope * (1 / ctx.scale), None, None, None


def names() -> tuple[str, ...]:
    """Names of all surrogates."""
    return tuple(_BUMPS)


@cache
def get(name: str, **options: float) -> Bump:
    """The derivative of that name as a function of x = margin/scale. Raises UnknownSurrogateError."""
    if name not in _BUMPS:
        close = get_close_matches(name, names(), 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names())}"
        raise UnknownSurrogateError(f"there is no surrogate '{name}'; {hint}")
    bump = _BUMPS[name]
    try:
        bump(torch.zeros(1), **options)
    except TypeError as error:
        raise UnknownSurrogateError(f"surrogate '{name}': {error}") from None
    return lambda x: bump(x, **options)


def spike(bump: Bump, scale: float = 1.0, strict: bool = True) -> Spike:
    """The spike as a function of the margin: 0.0 or 1.0, differentiable through `bump`."""
    return lambda margin: _Spike.apply(margin, bump, scale, strict)  # type: ignore[no-any-return, no-untyped-call]
