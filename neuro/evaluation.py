"""Numbers from a Step's expressions, by numpy."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special
import sympy as sp

from neuro.model import Network
from neuro.parameters import initial_state, values
from neuro.step import Step, Threshold


def _propagator(row: int, column: int, n: int, *entries: Any) -> Any:
    matrix = np.stack(np.broadcast_arrays(*(np.asarray(e, np.float64) for e in entries)), axis=-1)
    return scipy.linalg.expm(matrix.reshape(*matrix.shape[:-1], n, n))[..., row, column]


_FUNCTIONS = {
    "exprel": scipy.special.exprel, "expm1": np.expm1, "log1p": np.log1p, "sign_of": np.sign, "magnitude": np.abs,
    "step": lambda x: np.heaviside(x, 0), "step_or_equal": lambda x: np.heaviside(x, 1),
    "minimum": np.minimum, "maximum": np.maximum, "floor_of": np.floor, "ceil_of": np.ceil, "remainder": np.mod, "propagator": _propagator,
}  # fmt: skip


@lru_cache(maxsize=4096)
def _compiled(expr: sp.Expr) -> tuple[tuple[str, ...], Callable[..., Any]]:
    symbols = sorted(expr.free_symbols, key=lambda s: s.name)
    return tuple(s.name for s in symbols), sp.lambdify(symbols, expr, modules=[_FUNCTIONS, "numpy"])


def evaluate(expr: sp.Expr, lookup: Callable[[str], Any]) -> Any:
    """A sympy expression on numpy arrays."""
    names, function = _compiled(expr)
    return function(*(lookup(name) for name in names))


def margin_scales(step: Step, network: Network) -> dict[str, float]:
    """Distance from the initial state to the threshold, the median over cells: the surrogate's unit, SI."""
    known = {**values(network), **initial_state(network)}
    found = {}
    for op in step.operations:
        if isinstance(op, Threshold):
            inputs = {f"{op.population}.{n}": 0.0 for n in step.population(op.population).inputs}
            table = {**known, **inputs, f"{op.population}.t": 0.0, f"{op.population}.dt": step.dt}
            margin = evaluate(op.margin, lambda n, t=table, p=op.population: t[f"{p}.{n}"])  # type: ignore[misc]
            scale = float(np.median(np.abs(margin)))
            found[op.population] = scale if np.isfinite(scale) and scale > 0 else 1.0
    return found
