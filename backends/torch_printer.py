"""sympy expressions as torch source, with everything that doesn't change during a run moved out of the time loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from neuro.symbolic import symbol

_UNARY = {
    "exp": "torch.exp", "log": "torch.log", "sqrt": "torch.sqrt", "sin": "torch.sin", "cos": "torch.cos",
    "tan": "torch.tan", "sinh": "torch.sinh", "cosh": "torch.cosh", "tanh": "torch.tanh", "asin": "torch.asin",
    "acos": "torch.acos", "atan": "torch.atan", "expm1": "torch.expm1", "log1p": "torch.log1p", "exprel": "exprel",
    "sign_of": "torch.sign", "magnitude": "torch.abs", "floor_of": "torch.floor", "ceil_of": "torch.ceil",
    "sigmoid_of": "torch.sigmoid", "step": "above", "step_or_equal": "not_below",
}  # fmt: skip


class _Printer(StrPrinter):  # type: ignore[misc]
    """Only the functions of neuro.symbolic and plain arithmetic exist."""

    def _print_Float(self, expr: sp.Float) -> str:  # noqa: N802
        return repr(float(expr))

    def _print_Rational(self, expr: sp.Rational) -> str:  # noqa: N802
        return repr(float(expr))

    def _print_NumberSymbol(self, expr: sp.Expr) -> str:  # noqa: N802
        return repr(float(expr))

    _print_Pi = _print_Exp1 = _print_NumberSymbol  # noqa: N815

    def _print_Infinity(self, expr: sp.Expr) -> str:  # noqa: N802
        return "float('inf')"

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> str:  # noqa: N802
        if expr.is_number:
            return repr(float(expr))
        base, exponent = self.parenthesize(expr.base, 60), expr.exp
        if exponent.is_Integer and 2 <= int(exponent) <= 4:
            return "*".join([base] * int(exponent))
        if exponent == -1:
            return f"1/{base}"
        if exponent == sp.Rational(1, 2):
            return f"torch.sqrt({self._print(expr.base)})"
        if exponent == sp.Rational(-1, 2):
            return f"torch.rsqrt({self._print(expr.base)})"
        return f"{base}**({self._print(exponent)})"

    def _print_Function(self, expr: sp.Expr) -> str:  # noqa: N802
        if expr.is_number:
            return repr(float(expr))
        name, args = type(expr).__name__, expr.args
        if name in _UNARY:
            return f"{_UNARY[name]}({self._print(args[0])})"
        first, second = (self._print(a) for a in args)
        if name == "remainder":
            return f"torch.remainder({first}, {second})"
        kind = {"minimum": "max", "maximum": "min"}[name]
        if args[1].is_number:
            return f"torch.clamp({first}, {kind}={second})"
        if args[0].is_number:
            return f"torch.clamp({second}, {kind}={first})"
        return f"torch.{name}({first}, {second})"

    def emptyPrinter(self, expr: Any) -> str:  # noqa: N802
        raise TypeError(f"no torch form for {type(expr).__name__}")


def code(expr: sp.Expr) -> str:
    """Source of one expression."""
    return str(_Printer({"order": "none"}).doprint(expr))


class Constants:
    """Expressions that hold only invariant names; each is computed once before the loop."""

    def __init__(self, invariant: Callable[[str], bool]) -> None:
        self.invariant = invariant
        self.table: dict[sp.Expr, str] = {}

    def name_of(self, expr: sp.Expr) -> sp.Expr:
        """A symbol for an invariant expression; numbers and names stay as they are."""
        if expr.is_number or expr.is_Symbol:
            return expr
        if expr not in self.table:
            self.table[expr] = f"c{len(self.table)}"
        return symbol(self.table[expr])

    def fixed(self, expr: sp.Expr) -> bool:
        return all(self.invariant(s.name) or s.name in self.table.values() for s in expr.free_symbols)

    def hoist(self, expr: sp.Expr) -> sp.Expr:
        """The expression with its invariant parts replaced by names."""
        if self.fixed(expr):
            return self.name_of(expr)
        if isinstance(expr, sp.Add | sp.Mul):
            fixed = [a for a in expr.args if self.fixed(a)]
            moving = [self.hoist(a) for a in expr.args if not self.fixed(a)]
            head = [self.name_of(expr.func(*fixed))] if fixed else []
            return expr.func(*head, *moving, evaluate=False)
        argument = _sigmoid_argument(expr)
        if argument is not None:
            return sp.Function("sigmoid_of")(self.hoist(argument))
        return expr.func(*(self.hoist(a) for a in expr.args)) if expr.args else expr

    def affine(self, expr: sp.Expr) -> tuple[sp.Expr, list[tuple[sp.Expr, sp.Symbol]]] | None:
        """(constant, [(coefficient, variable)]) with invariant coefficients; None where it isn't affine."""
        moving = sorted((s for s in expr.free_symbols if not self.fixed(s)), key=lambda s: s.name)
        if not moving or not expr.is_polynomial(*moving):
            return None
        slopes = [(sp.diff(expr, x), x) for x in moving]
        if not all(self.fixed(a) for a, _ in slopes):
            return None
        rest = expr.xreplace(dict.fromkeys(moving, sp.Integer(0)))
        return self.name_of(rest), [(self.name_of(a), x) for a, x in slopes]

    def source(self, expr: sp.Expr) -> str:
        """Source of an expression inside the loop."""
        found = self.affine(expr)
        if found is None:
            return code(self.hoist(expr))
        rest, terms = found
        return _affine_source(rest, terms)


def _sigmoid_argument(expr: sp.Expr) -> sp.Expr | None:
    """x of 1/(1 + exp(-x)); None for everything else."""
    if expr.is_Pow and expr.exp == -1 and isinstance(expr.base, sp.Add) and len(expr.base.args) == 2:
        one, other = expr.base.args
        if one == 1 and isinstance(other, sp.exp):
            return -other.args[0]
    return None


def _affine_source(rest: sp.Expr, terms: Iterable[tuple[sp.Expr, sp.Symbol]]) -> str:
    """`rest + sum of coefficient * variable` with fused operations."""
    text = "" if rest == 0 else code(rest)
    tensor = bool(text) and not sp.sympify(rest).is_number
    for slope, x in terms:
        if not text:
            text = x.name if slope == 1 else f"-{x.name}" if slope == -1 else f"{code(slope)}*{x.name}"
        elif slope in (1, -1):
            text = f"{text} {'+' if slope == 1 else '-'} {x.name}"
        elif slope.is_number or not tensor:
            text = f"{text} + {code(slope)}*{x.name}"
        else:
            text = f"torch.addcmul({text}, {code(slope)}, {x.name})"
        tensor = True
    return text
