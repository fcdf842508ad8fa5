"""Numbers from expressions, by numpy."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.special
import sympy as sp

from neuro.language.counts import poisson
from neuro.language.mangling import mangled
from neuro.language.matrices import exponential
from neuro.language.symbolic import symbol


def _propagator(row: int, column: int, n: int, *entries: Any) -> Any:
    """See neuro.language.symbolic.propagator. Arrays broadcast; the value has their common shape and type."""
    parts = np.broadcast_arrays(*entries)
    matrix = np.stack([np.asarray(p, np.float64) for p in parts], axis=-1).reshape(*parts[0].shape, n, n)
    return exponential(matrix)[..., row, column].astype(np.result_type(*entries, np.float32))[()]


def _flag(condition: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A comparison as 0 or 1 in its sides' own precision; a nan fulfils none."""
    return lambda a, b: np.asarray(condition(a, b)).astype(np.result_type(a, b, np.float32))[()]


def chain_product(slope: Any, value: Any) -> Any:
    """slope * value, and 0 where one of them is 0 and the slope is infinite: what isn't moved has no derivative."""
    if np.isfinite(slope).all():
        return slope * value
    with np.errstate(invalid="ignore"):
        found = slope * value
    return np.where((np.asarray(slope) == 0) | (np.asarray(value) == 0), 0.0, found)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


_FUNCTIONS = {
    "exprel": scipy.special.exprel, "expm1": np.expm1, "log1p": np.log1p, "sign_of": np.sign, "magnitude": np.abs,
    "greater": _flag(np.greater), "greater_equal": _flag(np.greater_equal),
    "sigmoid_of": _sigmoid, "pow": np.power, "minimum": np.minimum, "maximum": np.maximum, "floor_of": np.floor,
    "floor_ratio": lambda a, b: np.floor(np.true_divide(a, b)), "ceil_of": np.ceil, "chain_product": chain_product, "remainder": np.mod, "propagator": _propagator,
    "straight_through": lambda value, slope_of: value, "chosen": lambda condition, a, b: np.where(condition > 0, a, b), "poisson_of": poisson,
}  # fmt: skip


@lru_cache(maxsize=4096)
def compiled(expr: sp.Expr, names: tuple[str, ...]) -> Callable[..., Any]:
    """An expression, or a tuple of them, as a function of numpy arrays in the order of its names.

    No name appears in the generated text, so none can meet numpy's or sympy's own (e, E, S, exp).
    """
    arguments = [symbol(mangled("value", str(place))) for place in range(len(names))]
    anonymous = expr.xreplace(dict(zip(map(symbol, names), arguments, strict=True)))
    several = isinstance(expr, sp.Tuple)
    return sp.lambdify(arguments, anonymous, modules=[_FUNCTIONS, "numpy"], cse=several)  # type: ignore[no-any-return]


@lru_cache(maxsize=4096)
def _of_its_names(expr: sp.Expr) -> tuple[Callable[..., Any], tuple[str, ...]]:
    names = tuple(sorted(s.name for s in expr.free_symbols))
    return compiled(expr, names), names


def evaluate(expr: sp.Expr, lookup: Callable[[str], Any]) -> Any:
    """A sympy expression on numpy arrays."""
    function, names = _of_its_names(expr)
    return function(*map(lookup, names))
