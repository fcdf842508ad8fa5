"""sympy expressions as torch source, with everything that doesn't change during a run moved out of the time loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sympy as sp

from backends.common.code_printer import CodePrinter
from backends.pytorch.elementary import STEEP
from backends.pytorch.ranges import Range, range_of
from neuro.language.elementary import sigmoid_of
from neuro.language.mangling import mangled
from neuro.language.symbolic import closed, symbol

_CALLS = {
    "exp": "exp", "expm1": "expm1", "exprel": "exprel", "sqrt": "sqrt", "log": "log", "log1p": "log1p", "sin": "torch.sin",
    "cos": "torch.cos", "tan": "torch.tan", "sinh": "sinh", "cosh": "cosh", "tanh": "torch.tanh", "asin": "asin",
    "acos": "acos", "atan": "torch.atan", "sign_of": "torch.sign", "magnitude": "torch.abs",
    "floor_of": "torch.floor", "ceil_of": "torch.ceil", "sigmoid_of": "torch.sigmoid", "greater": "greater",
    "greater_equal": "greater_equal", "remainder": "remainder", "pow": "power", "propagator": "propagator",
    "minimum": "minimum", "maximum": "maximum",
}  # fmt: skip
_INFINITE_SLOPES = {"log", "log1p", "asin", "acos", "pow"}
_BOUNDS = {"minimum": "at_most", "maximum": "at_least"}


class _Printer(CodePrinter):
    """Calls of torch and of backends.pytorch.elementary. known: see range_of.

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
    """Source of one expression. known: see range_of."""
    return str(_Printer(known or {}).doprint(expr))


class Constants:
    """Expressions that hold only invariant names; each is computed once before the loop.

    ranges: of names that the step has given values, as far as they matter to gradients.
    """

    def __init__(self, invariant: Callable[[str], bool]) -> None:
        self.invariant = invariant
        self.table: dict[sp.Expr, str] = {}
        self.ranges: dict[str, Range] = {}

    def name_of(self, expr: sp.Expr) -> sp.Expr:
        """A symbol for an invariant expression; numbers and names stay as they are."""
        if expr.is_number or expr.is_Symbol:
            return expr
        if expr not in self.table:
            self.table[expr] = mangled("c", str(len(self.table)))
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
        found = _sigmoid(expr)
        if found is not None:
            argument, factor, exponent = found
            return factor * sigmoid_of(self.hoist(argument)) ** exponent
        return closed(expr.func(*(self.hoist(a) for a in expr.args))) if expr.args else expr

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
            return code(self.hoist(expr), self.ranges)
        rest, terms = found
        return self._affine_source(rest, terms)

    def _affine_source(self, rest: sp.Expr, terms: Iterable[tuple[sp.Expr, sp.Symbol]]) -> str:
        """`rest + sum of coefficient * variable` with fused operations."""
        text = "" if rest == 0 else code(rest)
        tensor = bool(text) and not sp.sympify(rest).is_number
        for slope, x in terms:
            finite = x.name not in self.ranges or self.ranges[x.name].finite
            product = f"{code(slope)}*{x.name}" if finite or slope.is_number else f"times({code(slope)}, {x.name})"
            if not text:
                text = x.name if slope == 1 else f"-{x.name}" if slope == -1 else product
            elif slope in (1, -1):
                text = f"{text} {'+' if slope == 1 else '-'} {x.name}"
            elif slope.is_number or not tensor or not finite:
                text = f"{text} + {product}"
            else:
                text = f"torch.addcmul({text}, {code(slope)}, {x.name})"
            tensor = True
        return text


def _sigmoid(expr: sp.Expr) -> tuple[sp.Expr, sp.Expr, sp.Expr] | None:
    """(x, factor, exponent) where the expression is factor*sigmoid(x)**exponent: 1/(a + b*exp(u))**n of positive a and b."""
    if not (
        expr.is_Pow and expr.exp.is_number and expr.exp.is_negative and expr.base.is_Add and len(expr.base.args) == 2
    ):
        return None
    a, other = sorted(expr.base.args, key=lambda x: not x.is_number)
    b, rest = other.as_coeff_Mul()
    if not (a.is_number and a.is_positive and b.is_positive and isinstance(rest, sp.exp)):
        return None
    shift = sp.Float(math.log(float(b / a)), 17) if a != b else sp.Integer(0)
    return -rest.args[0] - shift, a**expr.exp, -expr.exp
