"""Elementary functions whose gradients stay numbers: 0 times anything is 0.

Where a value is infinite and what follows doesn't depend on it any more, autograd would form 0*inf. `exp` and `expm1` pass no
gradient where they overflow or vanish, which is one operation; the others multiply by the rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import hardtanh

from neuro.language.counts import poisson

Function = Callable[..., torch.Tensor]
_SERIES = 1 / 50  # below it exprel's slope is a sum of powers


class _Guarded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Function, slopes: tuple[Function, ...], *arguments: torch.Tensor) -> torch.Tensor:
        found = value(*arguments)
        ctx.slopes = slopes
        ctx.save_for_backward(found, *arguments)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (g,), (value, *arguments) = gradients, ctx.saved_tensors
        found: list[torch.Tensor | None] = [None, None]
        for needed, slope, argument in zip(ctx.needs_input_grad[2:], ctx.slopes, arguments, strict=True):
            part = _product(g, slope(value, *arguments)) if needed else None
            found.append(None if part is None else part.sum_to_size(argument.shape))
        return tuple(found)


def _product(g: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(torch.logical_and(g, slope), g * slope, 0.0)


def _beside(like: torch.Tensor, value: Any) -> torch.Tensor:
    """A value as a tensor that fits beside another."""
    return torch.as_tensor(value, dtype=like.dtype) if isinstance(value, torch.Tensor) else like.new_full((), value)


def guarded(value: Function, *slopes: Function) -> Function:
    """`value` with these slopes, one an argument, each called with (value, *arguments); 0 times a slope is 0."""

    def function(*given: Any) -> torch.Tensor:
        tensors = [a for a in given if isinstance(a, torch.Tensor)]
        if not torch.is_grad_enabled() or not any(a.requires_grad for a in tensors):
            return value(*given)
        arguments = [_beside(tensors[0], a) for a in given]
        return _Guarded.apply(value, slopes, *arguments)  # type: ignore[no-any-return, no-untyped-call]

    return function


def _ends(dtype: torch.dtype, low: float) -> tuple[float, float]:
    high = torch.tensor(math.log(torch.finfo(dtype).max), dtype=dtype)
    while not torch.isinf(torch.exp(high)):
        high = torch.nextafter(high, torch.full_like(high, math.inf))
    return low, float(high)


_ENDS = {torch.float32: _ends(torch.float32, -104.0), torch.float64: _ends(torch.float64, -746.0)}  # exp is 0; inf


def _within_ends(x: torch.Tensor) -> torch.Tensor:
    """x, without slope where exp(x) is 0 or inf."""
    return hardtanh(x, *_ENDS[x.dtype]) if x.requires_grad and torch.is_grad_enabled() else x


def exp(x: torch.Tensor) -> torch.Tensor:
    """exp(x), without slope where that is 0 or inf."""
    return torch.exp(_within_ends(x))


def expm1(x: torch.Tensor) -> torch.Tensor:
    """exp(x) - 1, without slope where exp(x) is 0 or inf."""
    return torch.expm1(_within_ends(x))


def _exprel(x: torch.Tensor) -> torch.Tensor:
    near = x.abs() < 1e-5
    safe = torch.where(near, 1.0, x)
    return torch.where(near, 1 + x / 2, torch.expm1(safe) / safe)


def _exprel_slope(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    near = x.abs() < _SERIES
    safe = torch.where(near, 1.0, x)
    series = 1 / 2 + x * (1 / 3 + x * (1 / 8 + x * (1 / 30 + x * (1 / 144 + x / 840))))
    return torch.where(near, series, (torch.exp(safe) - y) / safe)


def _power_base(y: torch.Tensor, base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    return torch.where(exponent == 0, 0.0, exponent * base ** (exponent - 1))


def _power_exponent(y: torch.Tensor, base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    return torch.where(base > 0, y * torch.log(base), 0.0)


exprel = guarded(_exprel, _exprel_slope)
sqrt = guarded(torch.sqrt, lambda y, x: 0.5 / y)
log = guarded(torch.log, lambda y, x: 1 / x)
log1p = guarded(torch.log1p, lambda y, x: 1 / (1 + x))
sinh = guarded(torch.sinh, lambda y, x: torch.cosh(x))
cosh = guarded(torch.cosh, lambda y, x: torch.sinh(x))
asin = guarded(torch.asin, lambda y, x: torch.rsqrt(1 - x * x))
acos = guarded(torch.acos, lambda y, x: -torch.rsqrt(1 - x * x))
power = guarded(torch.pow, _power_base, _power_exponent)
times = guarded(torch.mul, lambda y, a, b: b, lambda y, a, b: a)
remainder = guarded(torch.remainder, lambda y, a, b: torch.ones_like(y), lambda y, a, b: -torch.floor(a / b))
floor_ratio = guarded(
    lambda a, b: torch.floor(a / b), lambda y, a, b: torch.zeros_like(y), lambda y, a, b: torch.zeros_like(y)
)
ratio = guarded(torch.div, lambda y, a, b: 1 / b, lambda y, a, b: -y / b)

# what stands inside a function whose slope may be infinite: torch's own form 0 times it
STEEP: dict[str, Function] = {
    "sin": guarded(torch.sin, lambda y, x: torch.cos(x)),
    "cos": guarded(torch.cos, lambda y, x: -torch.sin(x)),
    "tan": guarded(torch.tan, lambda y, x: 1 + y * y),
    "tanh": guarded(torch.tanh, lambda y, x: 1 - y * y),
    "atan": guarded(torch.atan, lambda y, x: 1 / (1 + x * x)),
    "sigmoid_of": guarded(torch.sigmoid, lambda y, x: y * (1 - y)),
    "magnitude": guarded(torch.abs, lambda y, x: torch.sign(x)),
}


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, value: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        fired = gate > 0
        ctx.shapes = gate.shape, value.shape, before.shape
        ctx.save_for_backward(fired, value, before)
        return torch.where(fired, value, before)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (g,), (fired, value, before) = gradients, ctx.saved_tensors
        parts: tuple[Callable[[], torch.Tensor], ...] = (
            lambda: _product(g, value - before), lambda: torch.where(fired, g, 0.0),
            lambda: torch.where(fired, 0.0, g),
        )  # fmt: skip
        needed = zip(ctx.needs_input_grad, parts, ctx.shapes, strict=True)
        return tuple(part().sum_to_size(shape) if wanted else None for wanted, part, shape in needed)


def jump(gate: torch.Tensor, value: Any, before: Any) -> torch.Tensor:
    """value where the gate, which is 0 or 1, is open, else before; the gate's slope is their difference."""
    if not isinstance(value, torch.Tensor):
        value = _beside(gate, value)  # of two numbers torch would choose the precision
    if not gate.requires_grad or not torch.is_grad_enabled():
        return torch.where(gate > 0, value, before)
    value, before = (_beside(gate, a) for a in (value, before))
    return _Jump.apply(gate, value, before)  # type: ignore[no-any-return, no-untyped-call]


def greater(a: Any, b: Any) -> torch.Tensor:
    """1 where a > b, else 0. One of them is a tensor."""
    return (a > b).to((a if isinstance(a, torch.Tensor) else b).dtype)  # type: ignore[no-any-return]


def greater_equal(a: Any, b: Any) -> torch.Tensor:
    """1 where a >= b, else 0. One of them is a tensor."""
    return (a >= b).to((a if isinstance(a, torch.Tensor) else b).dtype)  # type: ignore[no-any-return]


def minimum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The smaller of two, or NaN; at a tie the first takes the whole slope."""
    return torch.where((a > b) | (b != b), b, a)


def maximum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The larger of two, or NaN; at a tie the first takes the whole slope."""
    return torch.where((a < b) | (b != b), b, a)


def at_most(x: torch.Tensor, bound: float, *, first: bool) -> torch.Tensor:
    """The smaller of x and a number; first: x is the first of them, which at a tie takes the slope."""
    return torch.clamp(x, max=bound) if first else hardtanh(x, -math.inf, bound)


def at_least(x: torch.Tensor, bound: float, *, first: bool) -> torch.Tensor:
    """The larger of x and a number; first: x is the first of them, which at a tie takes the slope."""
    return torch.clamp(x, min=bound) if first else hardtanh(x, bound, math.inf)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, slope_of: torch.Tensor) -> torch.Tensor:
        ctx.shape = slope_of.shape
        return value.expand(torch.broadcast_shapes(value.shape, slope_of.shape)).clone()  # type: ignore[no-untyped-call]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, gradients[0].sum_to_size(ctx.shape)


def straight_through(value: Any, slope_of: Any) -> torch.Tensor:
    """The value of the first with the slope of the second. One of them is a tensor."""
    like = value if isinstance(value, torch.Tensor) else slope_of
    value, slope_of = (_beside(like, a) for a in (value, slope_of))
    return _StraightThrough.apply(value, slope_of)  # type: ignore[no-any-return, no-untyped-call]


def poisson_of(mean: Any, uniform: torch.Tensor) -> torch.Tensor:
    """A count of this mean from a uniform number; it has no slope."""
    given = (a.detach().cpu().numpy() if isinstance(a, torch.Tensor) else a for a in (mean, uniform))
    return torch.as_tensor(poisson(*given), dtype=uniform.dtype, device=uniform.device)


def chosen(condition: torch.Tensor, a: Any, b: Any) -> torch.Tensor:
    """a where the condition is 1, b where it is 0."""
    return torch.where(condition > 0, _beside(condition, a), _beside(condition, b))


def propagator(row: float, column: float, n: float, *entries: Any) -> torch.Tensor:
    """One entry of exp of an n x n matrix, whose entries come row by row."""
    like = next(e for e in entries if isinstance(e, torch.Tensor))
    tensors = [_beside(like, e) for e in entries]
    shape = torch.broadcast_shapes(*(e.shape for e in tensors))  # type: ignore[no-untyped-call]
    matrix = torch.stack([e.expand(shape) for e in tensors], dim=-1).reshape(*shape, int(n), int(n))
    found: torch.Tensor = torch.linalg.matrix_exp(matrix)[..., int(row), int(column)]
    return found


# what the source of backends.common.torch_printer calls
ELEMENTARY: dict[str, Any] = {
    "torch": torch, "exp": exp, "expm1": expm1, "exprel": exprel, "sqrt": sqrt, "log": log, "log1p": log1p, "sinh": sinh, "cosh": cosh,
    "asin": asin, "acos": acos, "power": power, "times": times, "ratio": ratio, "remainder": remainder, "floor_ratio": floor_ratio, "jump": jump,
    "greater": greater, "greater_equal": greater_equal, "minimum": minimum, "maximum": maximum, "at_most": at_most, "at_least": at_least,
    "propagator": propagator, "straight_through": straight_through, "chosen": chosen, "poisson_of": poisson_of, **STEEP,
}  # fmt: skip
