"""Where an expression's value may be infinite or zero: there, and only there, autograd could form inf*0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp


@dataclass(frozen=True)
class Range:
    """What is known of a value in floating point. sign: 1 where it is never negative, -1 where never positive, 0 unknown.

    nonzero: bounded away from 0, so that no rounding or underflow makes it 0.
    """

    finite: bool = True
    nonzero: bool = False
    sign: int = 0


UNKNOWN = Range(finite=False)
_BOUNDED = {"sin", "cos", "tanh", "asin", "acos", "atan", "sign_of"}
_UNIT = {"greater", "greater_equal", "sigmoid_of"}  # from 0 to 1
_AT_MOST_ONE = {"exp", "exprel"}  # where the argument isn't positive
_ROUNDED = {"floor_of", "ceil_of"}


def range_of(expr: sp.Expr, known: Mapping[str, Range]) -> Range:
    """known: names whose values may be infinite, or have a sign; all others are taken as finite."""
    if expr.is_number:
        value = float(expr)
        return Range(abs(value) < float("inf"), value != 0, 1 if value >= 0 else -1)
    if expr.is_Symbol:
        return known.get(expr.name, Range())
    parts = [range_of(a, known) for a in expr.args]
    if expr.is_Add:
        signs = {p.sign for p in parts}
        sign = signs.pop() if len(signs) == 1 else 0
        return Range(all(p.finite for p in parts), bool(sign) and any(p.nonzero for p in parts), sign)
    if expr.is_Mul:
        sign = 1
        for part in parts:
            sign *= part.sign
        return Range(all(p.finite for p in parts), all(p.nonzero for p in parts), sign)
    if expr.is_Pow:
        return _power(parts[0], expr.exp)
    return _function(type(expr).__name__, parts)


def _power(base: Range, exponent: sp.Expr) -> Range:
    if not exponent.is_number:
        return UNKNOWN
    sign = base.sign if exponent.is_Integer and int(exponent) % 2 else 1
    return Range(base.nonzero, base.finite, sign) if exponent.is_negative else Range(base.finite, base.nonzero, sign)


def _function(name: str, parts: list[Range]) -> Range:
    first = parts[0]
    if name in _BOUNDED:
        return Range(sign=first.sign if name in ("tanh", "atan", "asin", "sign_of") else 0)
    if name in _UNIT:
        return Range(sign=1)
    if name in _AT_MOST_ONE:
        rising = name == "exprel" or first.sign > 0
        return Range(first.sign < 0, rising and first.finite, 1)
    if name == "cosh":
        return Range(finite=False, nonzero=True, sign=1)
    if name in ("sinh", "expm1"):
        return Range(name == "expm1" and first.sign < 0, sign=first.sign)
    if name == "magnitude":
        return Range(first.finite, first.nonzero, 1)
    if name in _ROUNDED:
        return Range(first.finite)
    if name in ("minimum", "maximum"):
        same = first.sign if first.sign == parts[1].sign else 0
        outer = -1 if name == "minimum" else 1
        sign = outer if outer in (first.sign, parts[1].sign) else same
        return Range(first.finite and parts[1].finite, bool(same) and first.nonzero and parts[1].nonzero, sign)
    if name == "straight_through":
        return first
    if name == "chosen":
        a, b = parts[1:]
        return Range(
            a.finite and b.finite, a.nonzero and b.nonzero and a.sign == b.sign, a.sign if a.sign == b.sign else 0
        )
    if name == "propagator":
        return Range()
    return UNKNOWN
