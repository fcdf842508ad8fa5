"""sympy expressions as C."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

TILE = 8  # trials side by side: a matrix row is read once for all of them

_UNARY = {
    "exp": "R(exp)", "log": "R(log)", "sqrt": "R(sqrt)", "sin": "R(sin)", "cos": "R(cos)", "tan": "R(tan)",
    "sinh": "R(sinh)", "cosh": "R(cosh)", "tanh": "R(tanh)", "asin": "R(asin)", "acos": "R(acos)", "atan": "R(atan)",
    "expm1": "R(expm1)", "log1p": "R(log1p)", "exprel": "exprel", "sign_of": "sign_of", "magnitude": "R(fabs)",
    "floor_of": "R(floor)", "ceil_of": "R(ceil)", "step": "step", "step_or_equal": "step_or_equal",
}  # fmt: skip
_BINARY = {"minimum": "minimum", "maximum": "maximum", "remainder": "remainder_of"}


@cache
def prelude(dtype: str, tile: int) -> str:
    """What every kernel's text begins with."""
    head = f"#define TILE {tile}\n" + ("#define REAL_IS_FLOAT\n" if dtype == "float32" else "")
    return head + files("backends.native").joinpath("prelude.h").read_text(encoding="utf-8")


class _Printer(StrPrinter):  # type: ignore[misc]
    """names: how symbols print."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__({"order": "none"})
        self.names = names

    def _print_Symbol(self, expr: sp.Symbol) -> str:  # noqa: N802
        return self.names[expr.name]

    def _number(self, expr: Any) -> str:
        value = float(expr)
        return f"(real){value!r}" if value >= 0 else f"(-(real){-value!r})"

    _print_Integer = _print_Float = _print_Rational = _print_NumberSymbol = _print_Pi = _print_Exp1 = _number  # noqa: N815

    def _print_Infinity(self, expr: sp.Expr) -> str:  # noqa: N802
        return "(real)INFINITY"

    def _print_Mul(self, expr: sp.Mul) -> str:  # noqa: N802
        if expr.is_number:
            return self._number(expr)
        top, bottom = [], []
        for factor in expr.args:
            if factor.is_Pow and factor.exp.is_number and factor.exp.is_negative:
                bottom.append(sp.Pow(factor.base, -factor.exp))
            elif factor != -1:
                top.append(factor)
        text = "*".join(self.parenthesize(f, 50) for f in top) or "(real)1"
        text = ("-" if expr.args[0] == -1 else "") + text
        return text + "".join(f"/{self.parenthesize(f, 60)}" for f in bottom)

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> str:  # noqa: N802
        if expr.is_number:
            return self._number(expr)
        base, exponent = self.parenthesize(expr.base, 60), expr.exp
        if exponent.is_Integer and 1 <= int(exponent) <= 4:
            return "(" + "*".join([base] * int(exponent)) + ")"
        if exponent.is_number and exponent.is_negative:
            return f"(1/{self.parenthesize(sp.Pow(expr.base, -exponent), 60)})"
        if exponent == sp.Rational(1, 2):
            return f"R(sqrt)({self._print(expr.base)})"
        return f"R(pow)({self._print(expr.base)}, {self._print(exponent)})"

    def _print_Function(self, expr: sp.Expr) -> str:  # noqa: N802
        if expr.is_number:
            return self._number(expr)
        name = type(expr).__name__
        arguments = ", ".join(self._print(a) for a in expr.args)
        return f"{_UNARY.get(name) or _BINARY[name]}({arguments})"

    def emptyPrinter(self, expr: Any) -> str:  # noqa: N802
        raise TypeError(f"no C form for {type(expr).__name__}")


def c_code(expr: sp.Expr, names: Mapping[str, str]) -> str:
    """One C expression; names: symbol -> C."""
    return str(_Printer(names).doprint(expr))
