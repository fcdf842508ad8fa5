"""What doesn't change during a run is moved out of the time loop: sympy expressions in, torch source and names of constants out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import sympy as sp

from backends.common.ranges import Range
from backends.common.torch_printer import code
from neuro.language.elementary import sigmoid_of
from neuro.language.mangling import mangled
from neuro.language.symbolic import closed, symbol


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
