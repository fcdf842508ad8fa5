"""Surrogate derivatives of the spike: snntorch's where it has them, e-prop's triangle, the multi-Gaussian.

Each acts on x = margin / scale: 0 at the threshold, -1 one scale below. Forward is the step function, strict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from typing import Any

import torch

Spike = Callable[[torch.Tensor], torch.Tensor]

_SNNTORCH = ("fast_sigmoid", "atan", "sigmoid", "spike_rate_escape", "straight_through_estimator", "triangular")


class UnknownSurrogateError(Exception):
    """No surrogate of that name, or an option that it doesn't take."""


def triangle(x: torch.Tensor, gamma: float = 0.3) -> torch.Tensor:
    """gamma * max(0, 1 - |x|). Bellec et al. (2020), Nat Commun 11:3625."""
    return gamma * torch.clamp(1 - x.abs(), min=0)


def _gaussian(x: torch.Tensor, mean: float, sigma: float) -> torch.Tensor:
    return torch.exp(-((x - mean) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))


def multi_gaussian(
    x: torch.Tensor, gamma: float = 0.5, h: float = 0.15, s: float = 6.0, sigma: float = 0.5
) -> torch.Tensor:
    """gamma * ((1 + h) N(x; 0, sigma) - h N(x; sigma, s sigma) - h N(x; -sigma, s sigma)).

    Source: Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905. Its negative lobes regularise activity.
    """
    lobes = _gaussian(x, sigma, s * sigma) + _gaussian(x, -sigma, s * sigma)
    return gamma * ((1 + h) * _gaussian(x, 0.0, sigma) - h * lobes)


_OURS = {"triangle": triangle, "multi_gaussian": multi_gaussian}


class _SpikeFunction(torch.autograd.Function):
    """Step forward, the given derivative backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, derivative: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.derivative = derivative
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.derivative(x), None


def names() -> tuple[str, ...]:
    """Names of all surrogates."""
    return (*_SNNTORCH, *_OURS)


@cache
def get(name: str, **options: float) -> Spike:
    """The spike function of that surrogate. Raises UnknownSurrogateError."""
    if name not in names():
        close = get_close_matches(name, names(), 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names())}"
        raise UnknownSurrogateError(f"there is no surrogate '{name}'; {hint}")
    try:
        if name in _OURS:
            derivative = _OURS[name]
            derivative(torch.zeros(1), **options)
            return lambda x: _SpikeFunction.apply(x, lambda u: derivative(u, **options))  # type: ignore[no-untyped-call]
        from snntorch import surrogate

        function = getattr(surrogate, name)(**options)
    except TypeError as error:
        raise UnknownSurrogateError(f"surrogate '{name}': {error}") from None
    return lambda x: function(x) if x.dtype == torch.float32 else _SpikeFunction.apply(x, _slope_of(function))  # type: ignore[no-untyped-call]


def _slope_of(function: Spike) -> Callable[[torch.Tensor], torch.Tensor]:
    """Derivative of one of snntorch's spike functions. They give float32, so a float64 gradient that passed would be cut."""

    def slope(x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            (found,) = torch.autograd.grad(function(at).sum(), at)
        return found

    return slope
