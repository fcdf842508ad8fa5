"""sympy expressions as source text, whatever the language.

Only sums and products print bare. Everything else is an atom: a name, a number, a call, or it brings its own parentheses (a power
that is written as a product, a reciprocal, a number with a sign). So parentheses depend on nothing but whether an operand is a sum
or a product, and a new form can't be taken apart by its surroundings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

_PLAIN_POWERS = range(2, 5)  # these are written as products


class CodePrinter(StrPrinter):  # type: ignore[misc]
    """name: how a symbol prints. A language says how numbers, calls, roots and powers look."""

    def __init__(self, name: Callable[[str], str]) -> None:
        super().__init__({"order": "none"})
        self.name = name

    # -- what a language says ------------------------------------------------------------------------------

    @abstractmethod
    def number(self, value: float) -> str:
        """A number that isn't negative, inf included."""

    @abstractmethod
    def call(self, function: str, arguments: Sequence[str]) -> str:
        """A call of a function by the name that its sympy class has; sqrt and pow are called so as well."""

    # -- numbers and names ---------------------------------------------------------------------------------

    def _signed(self, expr: Any) -> str:
        value = float(expr)
        return f"(-{self.number(-value)})" if value < 0 else self.number(value)

    _print_Integer = _print_Float = _print_Rational = _print_NumberSymbol = _print_Pi = _print_Exp1 = _signed  # noqa: N815
    _print_Infinity = _print_NegativeInfinity = _print_Zero = _print_One = _print_Half = _print_NegativeOne = _signed  # noqa: N815

    def _print_Symbol(self, expr: sp.Symbol) -> str:  # noqa: N802
        return self.name(expr.name)

    # -- arithmetic ----------------------------------------------------------------------------------------

    def _print_Add(self, expr: sp.Add, order: Any = None) -> str:  # noqa: N802
        return " + ".join(f"({self._print(a)})" if a.is_Add else str(self._print(a)) for a in expr.args)

    def _print_Mul(self, expr: sp.Mul) -> str:  # noqa: N802
        minus = "-" if expr.args[0] == -1 else ""
        top: list[str] = []
        bottom: list[str] = []
        for factor in expr.args[1:] if minus else expr.args:
            if factor.is_Pow and factor.exp.is_number and factor.exp.is_negative:
                bottom.append(self._atom(sp.Pow(factor.base, -factor.exp, evaluate=False)))
            else:
                top.append(self._atom(factor))
        return minus + ("*".join(top) or self.number(1.0)) + "".join(f"/{b}" for b in bottom)

    def _atom(self, expr: sp.Expr) -> str:
        """An operand of a product."""
        if expr.is_Pow and expr.exp == 1:
            expr = expr.base
        return f"({self._print(expr)})" if expr.is_Add or expr.is_Mul else str(self._print(expr))

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> str:  # noqa: N802
        base, exponent = expr.base, expr.exp
        if exponent == 1:
            return str(self._print(base))
        if base == sp.E:
            return self.call("exp", [self._print(exponent)])
        if exponent.is_number and exponent.is_negative:
            return f"({self.number(1.0)}/{self._atom(sp.Pow(base, -exponent, evaluate=False))})"
        if exponent.is_Integer and int(exponent) in _PLAIN_POWERS:
            return "(" + "*".join([self._atom(base)] * int(exponent)) + ")"
        if exponent == sp.Rational(1, 2):
            return self.call("sqrt", [self._print(base)])
        return self.call("pow", [self._print(base), self._print(exponent)])

    def _print_Function(self, expr: sp.Expr) -> str:  # noqa: N802
        return self.call(type(expr).__name__, [self._print(a) for a in expr.args])

    def emptyPrinter(self, expr: Any) -> str:  # noqa: N802
        raise TypeError(f"no form for {type(expr).__name__}")
