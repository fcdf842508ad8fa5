"""The spike under autograd: a step forward, a surrogate's derivative backward."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from backends.common.torch_elementary import ELEMENTARY
from backends.common.torch_printer import code
from neuro.compiler.surrogates import X, derivative

Spike = Callable[[torch.Tensor], torch.Tensor]


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, slope: Spike) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return torch.gt(x, 0, out=torch.empty_like(x))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.slope(x), None


def spike(name: str, **options: float) -> Spike:
    """The spike function of that surrogate: 1 where x > 0. Raises UnknownSurrogateError."""
    return _of_slope(f"lambda {X.name}: {code(derivative(name, **options))}", name)


@cache
def _of_slope(text: str, name: str) -> Spike:
    """text: made by sympy."""
    slope = eval(compile(text, f"<surrogate {name}>", "eval"), dict(ELEMENTARY))
    return lambda x: _Step.apply(x, slope)  # type: ignore[no-untyped-call]


def spikes(surrogate: Spike, margin: torch.Tensor, factor: float, condition: torch.Tensor | None) -> torch.Tensor:
    """Spikes where the condition is 1 (left out: where the margin is positive); the surrogate only where somebody wants
    gradients: its slope is that at the margin."""
    if not torch.is_grad_enabled():
        return torch.gt(margin, 0, out=torch.empty_like(margin)) if condition is None else condition.expand_as(margin)
    z = surrogate(margin * factor)
    return z if condition is None else z + (condition - z).detach()
