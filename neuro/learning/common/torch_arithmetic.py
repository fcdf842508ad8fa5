"""Tangents of a step in torch, so that what follows from them can be differentiated: see neuro.compiler.tangents."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
import torch

from neuro.compiler.trajectory import Arithmetic
from neuro.language.counts import poisson
from neuro.language.mangling import mangled
from neuro.language.symbolic import symbol


def _exprel(x: torch.Tensor) -> torch.Tensor:
    near = x.abs() < 1e-5
    safe = torch.where(near, 1.0, x)
    return torch.where(near, 1 + x / 2, torch.expm1(safe) / safe)


def _propagator(row: float, column: float, n: float, *entries: torch.Tensor) -> torch.Tensor:
    parts = torch.broadcast_tensors(*entries)  # type: ignore[no-untyped-call]
    matrix = torch.stack(parts, dim=-1).reshape(*parts[0].shape, int(n), int(n))
    found: torch.Tensor = torch.linalg.matrix_exp(matrix)[..., int(row), int(column)]
    return found


def _poisson(mean: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(poisson(mean.detach().numpy(), uniform.numpy()))


def product(slope: Any, tangent: Any) -> torch.Tensor:
    """slope * tangent, and 0 where one of them is 0: what isn't moved has no derivative, were the other infinite."""
    slope, tangent = torch.as_tensor(slope), torch.as_tensor(tangent)
    return torch.where((slope == 0) | (tangent == 0), 0.0, slope * tangent)


def _finite(tangent: torch.Tensor) -> bool:
    return bool(torch.isfinite(tangent).all())


def _flag(condition: Callable[[Any, Any], torch.Tensor]) -> Callable[[Any, Any], torch.Tensor]:
    return lambda a, b: condition(a, b).to(torch.result_type(a, b))


_FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    **{n: getattr(torch, n) for n in (
        "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan",
        "minimum", "maximum", "remainder", "pow",
    )},
    "exprel": _exprel, "sign_of": torch.sign, "magnitude": torch.abs, "sigmoid_of": torch.sigmoid, "floor_of": torch.floor,
    "ceil_of": torch.ceil, "floor_ratio": lambda a, b: torch.floor(a / b), "greater": _flag(torch.gt), "greater_equal": _flag(torch.ge), "chain_product": product,
    "propagator": _propagator, "chosen": lambda condition, a, b: torch.where(condition > 0, a, b), "poisson_of": _poisson,
}  # fmt: skip


def in_dtype(dtype: torch.dtype) -> Arithmetic:
    """With floating numbers of this type."""

    def array(value: Any) -> torch.Tensor:
        if isinstance(value, torch.Tensor):
            return value
        found = np.asarray(value)
        return torch.as_tensor(found) if found.dtype == np.bool_ else torch.as_tensor(found, dtype=dtype)

    def called(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda *arguments: function(*map(array, arguments))

    functions = {n: called(f) for n, f in _FUNCTIONS.items()}

    @lru_cache(maxsize=4096)
    def compiled(expr: sp.Expr, names: tuple[str, ...]) -> Callable[..., Any]:
        arguments = [symbol(mangled("value", str(place))) for place in range(len(names))]
        anonymous = expr.xreplace(dict(zip(map(symbol, names), arguments, strict=True)))
        return sp.lambdify(arguments, anonymous, modules=[functions], cse=True)  # type: ignore[no-any-return]

    def added(values: torch.Tensor, index: Any, size: int) -> torch.Tensor:
        total = torch.zeros((values.shape[0], size, *values.shape[2:]), dtype=values.dtype)
        return total.index_add(1, torch.as_tensor(index), values)

    return Arithmetic(compiled, product, _finite, array, torch.where, torch.broadcast_to, torch.cat, added)
