"""Is a system linear? Which term breaks it? Its matrix, for the exact and exponential integrators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp

from neuro.symbolic import symbol, to_sympy

if TYPE_CHECKING:
    from neuro.equations import Equation
    from neuro.scope import NeuronScope


def inlined(equation: Equation, scope: NeuronScope) -> sp.Expr:
    """Right-hand side with all subexpressions put in."""
    found = _right_hand_side(equation)
    table = {
        symbol(e.name): _right_hand_side(e) for e in scope.of_kind("subexpression")
    }
    while found.free_symbols & set(table):
        found = found.subs({k: v for k, v in table.items() if k in found.free_symbols})
    return found


def _right_hand_side(equation: Equation) -> sp.Expr:
    return sp.Integer(0) if equation.expression is None else to_sympy(equation.expression)


def nonlinear_term(equation: Equation, scope: NeuronScope) -> str | None:
    """The first additive term of the right-hand side that is not linear in the differential variables, or None."""
    states = [symbol(e.name) for e in scope.of_kind("differential")]
    expression = sp.expand(inlined(equation, scope))
    for term in sp.Add.make_args(expression):
        for state in states:
            slope = sp.diff(term, state)
            if slope.free_symbols & set(states) or symbol("t") in slope.free_symbols:
                return str(term)
        used = term.free_symbols & set(states)
        if used and not any(sp.diff(term, s) != 0 for s in used):
            return str(term)  # step-like functions have slope 0 but are not constant
    return None
