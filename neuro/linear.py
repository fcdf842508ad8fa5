"""Is a system linear? Which term breaks it? Its propagator, for the exact and exponential integrators.

The exponential of a triangular matrix is made of divided differences of the exponential at its diagonal: that needs
no eigenvectors, and most differences of equal rates have a finite form.
Source: Higham (2008), Functions of Matrices, theorem 4.11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import sympy as sp

from neuro.symbolic import exprel, symbol, to_sympy

if TYPE_CHECKING:
    from neuro.equations import Equation
    from neuro.scope import NeuronScope, SynapseScope

Rates = tuple[sp.Expr, ...]
_ZERO = sp.Integer(0)


def inlined(equation: Equation, scope: NeuronScope | SynapseScope) -> sp.Expr:
    """Right-hand side with all subexpressions put in."""
    found = _right_hand_side(equation)
    table = {symbol(e.name): _right_hand_side(e) for e in scope.of_kind("subexpression")}
    while found.free_symbols & set(table):
        found = found.xreplace({k: v for k, v in table.items() if k in found.free_symbols})
    return found


def _right_hand_side(equation: Equation) -> sp.Expr:
    return _ZERO if equation.expression is None else to_sympy(equation.expression)


def nonlinear_term(equation: Equation, scope: NeuronScope | SynapseScope, method: str = "exact") -> str | None:
    """The first additive term of the right-hand side that the integrator can't take, or None.

    exact: terms must be linear in the differential variables, and must not depend on time. exponential_euler: terms
    must be linear in the equation's own variable.
    """
    full, time = inlined(equation, scope), symbol("t")
    if method == "exact":
        states = [symbol(e.name) for e in scope.of_kind("differential")]
    else:
        states, time = [symbol(equation.name)], symbol("")
        if affine(full, states) is not None:
            return None
    for term in sp.Add.make_args(sp.expand(full)):
        if time in term.free_symbols or affine(term, states) is None:
            return str(term)
    return None


def affine(expr: sp.Expr, variables: Sequence[sp.Symbol]) -> tuple[dict[sp.Symbol, sp.Expr], sp.Expr] | None:
    """Slopes and constant of an expression that is affine in the variables; None where it is not."""
    for rewrite in (lambda e: e, sp.expand, sp.simplify):  # most are affine as they stand, and simplify is slow
        form = rewrite(expr)
        used = [x for x in variables if x in form.free_symbols]
        slopes = {x: sp.diff(form, x) for x in used}
        inside = {s for f in form.atoms(sp.Function) for s in f.free_symbols}  # steps have slope 0 but are not affine
        if not inside & set(used) and not any(s.free_symbols & set(used) for s in slopes.values()):
            return {x: s for x, s in slopes.items() if s != 0}, form.xreplace(dict.fromkeys(used, _ZERO))
    return None


def path_products(matrix: Mapping[tuple[str, str], sp.Expr], start: str) -> Iterator[tuple[str, sp.Expr, Rates]]:
    """All paths from `start` along the matrix's off-diagonal entries: (last variable, product of entries, rates).

    matrix: (row, column) -> entry. Raises LoopError where variables depend on each other in a loop.
    """
    yield from _paths(matrix, (start,), sp.Integer(1))


def _paths(
    matrix: Mapping[tuple[str, str], sp.Expr], path: tuple[str, ...], product: sp.Expr
) -> Iterator[tuple[str, sp.Expr, Rates]]:
    yield path[-1], product, tuple(matrix.get((name, name), _ZERO) for name in path)
    for (row, column), entry in matrix.items():
        if row == path[-1] and column != row:
            if column in path:
                raise LoopError(path[path.index(column) :])
            yield from _paths(matrix, (*path, column), product * entry)


class LoopError(Exception):
    """Variables that depend on each other, so that no order of them makes the matrix triangular."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        super().__init__(" -> ".join((*names, names[0])))


@lru_cache(maxsize=1024)
def divided_difference(rates: Rates, dt: sp.Symbol) -> sp.Expr:
    """Divided difference of r -> exp(r dt) at the rates.

    Two rates may be equal in value. Of three and more, the pairs that `divisors` lists may not.
    """
    last = len(rates) - 1
    pair = _apart(rates)
    if pair is None:
        return dt**last / sp.factorial(last) * sp.exp(rates[0] * dt)
    a, b = (rates[i] for i in pair)
    if last == 1:
        return dt * sp.exp(b * dt) * exprel((a - b) * dt)
    without_a, without_b = (tuple(r for i, r in enumerate(rates) if i != left_out) for left_out in pair)
    return (divided_difference(without_b, dt) - divided_difference(without_a, dt)) / (a - b)


def divisors(rates: Rates) -> set[tuple[sp.Expr, sp.Expr]]:
    """Pairs of rates by whose difference `divided_difference` divides."""
    pair = _apart(rates)
    if pair is None or len(rates) < 3:
        return set()
    rest = (tuple(r for i, r in enumerate(rates) if i != left_out) for left_out in pair)
    return {(rates[pair[0]], rates[pair[1]])}.union(*map(divisors, rest))


def _apart(rates: Rates) -> tuple[int, int] | None:
    """Places of two different rates, the second one 0 if any is: 1/tau never vanishes."""
    for b in sorted(range(len(rates)), key=lambda i: rates[i] != 0):
        for a in range(len(rates)):
            if rates[a] != rates[b]:
                return a, b
    return None
