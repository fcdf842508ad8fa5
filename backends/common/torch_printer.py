"""sympy expressions as torch source: calls of backends.common.torch_elementary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from backends.common.code_printer import CodePrinter
from backends.common.ranges import Range, range_of
from backends.common.torch_elementary import STEEP

_CALLS = {
    "exp": "exp", "expm1": "expm1", "exprel": "exprel", "sqrt": "sqrt", "log": "log", "log1p": "log1p", "sin": "torch.sin",
    "cos": "torch.cos", "tan": "torch.tan", "sinh": "sinh", "cosh": "cosh", "tanh": "torch.tanh", "asin": "asin",
    "acos": "acos", "atan": "torch.atan", "sign_of": "torch.sign", "magnitude": "torch.abs",
    "floor_of": "torch.floor", "ceil_of": "torch.ceil", "sigmoid_of": "torch.sigmoid", "greater": "greater",
    "greater_equal": "greater_equal", "remainder": "remainder", "floor_ratio": "floor_ratio", "pow": "power", "propagator": "propagator",
    "minimum": "minimum", "maximum": "maximum", "straight_through": "straight_through",
    "chosen": "chosen", "poisson_of": "poisson_of",
}  # fmt: skip
_INFINITE_SLOPES = {"log", "log1p", "asin", "acos", "pow"}
_BOUNDS = {"minimum": "at_most", "maximum": "at_least"}


class _Printer(CodePrinter):
    """Calls of torch and of backends.common.torch_elementary. known: see range_of.

    Products and quotients that may hold an infinite factor or a divisor of 0 are calls that keep 0 times anything 0 in gradients.
    steep: so is everything, since it stands in a function whose slope may be infinite.
    """

    def __init__(self, known: Mapping[str, Range], *, steep: bool = False) -> None:
        super().__init__(lambda name: name)
        self.known, self.steep = known, steep

    def number(self, value: float) -> str:
        return repr(value) if value < float("inf") else "float('inf')"

    def call(self, function: str, arguments: Sequence[str]) -> str:
        name = function if self.steep and function in STEEP else _CALLS[function]
        return f"{name}({', '.join(arguments)})"

    def _print(self, expr: Any, **options: Any) -> str:
        if isinstance(expr, sp.Expr) and expr.is_number:
            return self._signed(expr)
        return str(super()._print(expr, **options))

    def _range(self, expr: sp.Expr) -> Range:
        return range_of(expr, self.known)

    def _inside(self, argument: sp.Expr) -> _Printer:
        """What prints the argument of a function whose slope is infinite at 0."""
        return self if self.steep or self._range(argument).nonzero else _Printer(self.known, steep=True)

    def _print_Function(self, expr: sp.Expr) -> str:  # noqa: N802
        name = type(expr).__name__
        if name in _BOUNDS and any(a.is_number for a in expr.args):
            first = expr.args[1].is_number
            x, number = expr.args if first else reversed(expr.args)
            return f"{_BOUNDS[name]}({self._print(x)}, {self._print(number)}, first={first})"
        if name in _INFINITE_SLOPES:
            printer = self._inside(expr.args[0] if name in ("log", "pow") else sp.Integer(0))
            return self.call(name, [printer._print(a) for a in expr.args])
        return str(super()._print_Function(expr))

    def _print_Mul(self, expr: sp.Mul) -> str:  # noqa: N802
        divisors = [f for f in expr.args if f.is_Pow and not f.is_number and f.exp.is_number and f.exp.is_negative]
        others = [f for f in expr.args if f not in divisors]
        careful = [f for f in others if not f.is_number and (self.steep or not self._range(f).finite)]
        single = sum(not f.is_number for f in expr.args) == 1
        if all(self._range(f).finite and not self.steep for f in divisors) and (single or not careful):
            return str(super()._print_Mul(expr))
        text = str(self._print(sp.Mul(*(f for f in others if f not in careful), evaluate=False)))
        for factor in careful:
            text = f"times({text}, {self._print(factor)})"
        for factor in divisors:
            text = f"ratio({text}, {self._inside(factor.base)._print(sp.Pow(factor.base, -factor.exp))})"
        return text

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> str:  # noqa: N802
        base, exponent = expr.base, expr.exp
        inside = self._inside(base)
        if exponent.is_number and exponent.is_negative and (self.steep or inside is not self):
            return f"ratio({self.number(1.0)}, {inside._print(sp.Pow(base, -exponent))})"
        if not exponent.is_Integer:
            return str(CodePrinter._print_Pow(inside, expr))
        finite = self._range(base).finite and not self.steep
        if exponent.is_negative or (base.is_Symbol and finite and exponent in range(5)):
            return str(super()._print_Pow(expr))
        return f"{'torch.pow' if finite else 'power'}({self._print(base)}, {exponent})"


def code(expr: sp.Expr, known: Mapping[str, Range] | None = None) -> str:
    """Source of one expression, which calls what is in ELEMENTARY. known: see range_of."""
    return str(_Printer(known or {}).doprint(expr))
