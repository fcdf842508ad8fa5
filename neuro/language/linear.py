"""Is a system linear? Which term breaks it? Its propagator, for the exact and exponential integrators.

An entry of the exponential of a matrix is a sum over the walks that lead from row to column through the groups of variables
that depend on each other in loops; most groups are single variables. A walk's share is the product of the entries that it
crosses times an entry of the exponential of a matrix of its own, whose other couplings are 1: for one or two single
variables a closed form, a divided difference of the exponential; otherwise `neuro.language.symbolic.propagator`. Nothing divides by
a difference of rates, so rates may be equal, or nearly so.
Source: Higham (2008), Functions of Matrices, theorem 4.11.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import sympy as sp

from neuro.language.elementary import exprel, propagator
from neuro.language.symbolic import closed, part, substituted, symbol, to_sympy, within_functions

if TYPE_CHECKING:
    from neuro.language.equations import Equation
    from neuro.language.scope import NeuronScope, SynapseScope

Matrix = Mapping[tuple[str, str], sp.Expr]  # (row, column) -> entry; zeros are left out
_ZERO, _ONE = sp.Integer(0), sp.Integer(1)


def inlined(equation: Equation, scope: NeuronScope | SynapseScope) -> sp.Expr:
    """Right-hand side with all subexpressions put in. Raises NumberError where that leaves impossible numbers."""
    return _put_in(_right_hand_side(equation), scope)


def _put_in(expr: sp.Expr, scope: NeuronScope | SynapseScope) -> sp.Expr:
    table = {symbol(e.name): _right_hand_side(e) for e in scope.of_kind("subexpression")}
    while expr.free_symbols & set(table):
        expr = substituted(expr, table)
    return expr


def _right_hand_side(equation: Equation) -> sp.Expr:
    return _ZERO if equation.expression is None else to_sympy(equation.expression)


def nonlinear_term(equation: Equation, scope: NeuronScope | SynapseScope, method: str = "exact") -> ast.expr | None:
    """The part of the right-hand side that the integrator can't take, or None.

    exact: terms must be linear in the differential variables, and must not depend on time. exponential_euler: terms must
    be conditionally linear in the equation's own variable.
    """
    if equation.expression is None:
        return None
    time, own = symbol("t"), symbol(equation.name)
    states = [symbol(e.name) for e in scope.of_kind("differential")]

    def breaks(expr: sp.Expr) -> bool:
        if method == "exact":
            return time in expr.free_symbols or affine(expr, states) is None
        return affine(expr, (own,)) is None and bool(set(_by_power(expr, own)) - {own, _ONE})

    expression, whole = equation.expression, inlined(equation, scope)
    if not breaks(whole) and (method == "exact" or conditionally_linear(whole, own) is not None):
        return None
    return culprit(expression.tree, lambda node: breaks(_put_in(part(expression, node), scope)))


def culprit(tree: ast.expr, breaks: Callable[[ast.expr], bool]) -> ast.expr:
    """The smallest part of a sum or product that breaks a rule by itself; the whole where none does."""
    while True:
        match tree:
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), left=left, right=right):
                inner = [left, right] if isinstance(tree.op, ast.Add | ast.Sub | ast.Mult) else [left]
            case ast.UnaryOp(operand=operand):
                inner = [operand]
            case _:
                return tree
        found = next((node for node in inner if breaks(node)), None)
        if found is None:
            return tree
        tree = found


def affine(expr: sp.Expr, variables: Sequence[sp.Symbol]) -> tuple[dict[sp.Symbol, sp.Expr], sp.Expr] | None:
    """Slopes and constant of an expression that is affine in the variables; None where it is not."""
    for rewrite in (lambda e: e, sp.expand, sp.simplify):  # most are affine as they stand, and simplify is slow
        form = rewrite(expr)
        used = [x for x in variables if x in form.free_symbols]
        slopes = {x: sp.diff(form, x) for x in used}
        if not within_functions(form) & set(used) and not any(s.free_symbols & set(used) for s in slopes.values()):
            return {x: closed(s) for x, s in slopes.items() if s != 0}, substituted(form, dict.fromkeys(used, _ZERO))
    return None


def conditionally_linear(expr: sp.Expr, x: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """A and B of an expression A x + B; None where there are none.

    In each term of the expanded expression x may be a factor once, to the first power; that term's other factors belong to
    A, also where they depend on x themselves (a gate that follows x at once). Terms without the factor x belong to B. This
    is how Brian2 reads conditionally linear equations. Source: brian2/stateupdaters/exponential_euler.py.
    """
    found = affine(expr, (x,))
    if found is not None:
        return found[0].get(x, _ZERO), found[1]
    parts = _by_power(expr, x)
    if set(parts) - {x, _ONE} or x not in parts:
        return None
    return closed(parts[x]), closed(parts.get(_ONE, _ZERO))


def held_within_step(scope: NeuronScope | SynapseScope) -> tuple[str, ...]:
    """Variables of which exponential_euler holds more than other variables for a step: what of their own slope isn't linear in them."""
    equations = scope.of_kind("differential")
    return tuple(e.name for e in equations if affine(inlined(e, scope), (symbol(e.name),)) is None)


def _by_power(expr: sp.Expr, x: sp.Symbol) -> dict[sp.Expr, sp.Expr]:
    """The expanded expression's terms by the power of x that is a factor of them: 1, x, x**2, ..."""
    form = sp.expand(expr, power_exp=False, power_base=False, log=False)
    return dict(sp.collect(form, x, evaluate=False))


# -- propagators -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """Variables that depend on each other, and where a walk enters and leaves them."""

    names: tuple[str, ...]
    start: str
    end: str


def flow(matrix: Matrix, start: str, dt: sp.Symbol) -> Iterator[tuple[str, sp.Expr, sp.Expr]]:
    """Row `start` of exp(A dt) and of its integral over 0..dt, in shares: (column, share, share of the integral).

    A column comes once for each walk that leads to it.
    """
    loops = _loops(matrix, start)
    for walk, product in _walks(matrix, loops, start):
        size = len(walk) - 1
        share = product * dt**size * _exponential(matrix, walk, dt)
        yield walk[-1].end, share, product * dt ** (size + 1) * _exponential(matrix, (*walk, _REST), dt)


_REST = _Group(("",), "", "")  # a variable that stays as it is: what a constant adds to


def _walks(
    matrix: Matrix, loops: Mapping[str, tuple[str, ...]], start: str
) -> Iterator[tuple[tuple[_Group, ...], sp.Expr]]:
    names = loops[start]
    for end in names:
        here = _Group(names, start, end)
        yield (here,), _ONE
        for (row, column), entry in matrix.items():
            if row == end and column not in names:
                for rest, product in _walks(matrix, loops, column):
                    yield (here, *rest), entry * product


def _loops(matrix: Matrix, start: str) -> dict[str, tuple[str, ...]]:
    """Each variable that `start` depends on -> those that depend on it in turn, itself included, in the matrix's order."""
    order = list(dict.fromkeys([start, *(row for row, _ in matrix)]))
    reach = {name: _reached(matrix, name) for name in _reached(matrix, start)}
    return {name: tuple(n for n in order if n in reach[name] and name in reach[n]) for name in reach}


def _reached(matrix: Matrix, start: str) -> set[str]:
    found, fresh = {start}, [start]
    while fresh:
        row = fresh.pop()
        later = {column for r, column in matrix if r == row} - found
        found |= later
        fresh += later
    return found


def _exponential(matrix: Matrix, walk: Sequence[_Group], dt: sp.Symbol) -> sp.Expr:
    """Entry (first start, last end) of the exponential of the walk's own matrix."""
    if all(len(group.names) == 1 for group in walk):
        rates = [matrix.get((g.start, g.start), _ZERO) * dt for g in walk]
        if len(set(rates)) == 1:
            return sp.exp(rates[0]) / sp.factorial(len(rates) - 1)
        if len(rates) == 2:
            b, a = sorted(rates, key=lambda rate: rate != 0)  # exp(b) is 1 where one of them is 0
            return sp.exp(b) * exprel(a - b)
    scaled = [_scaled(matrix, group, dt) for group in walk]
    places = [(n, name) for n, group in enumerate(walk) for name in group.names]
    links = {((n, g.end), (n + 1, h.start)) for n, (g, h) in enumerate(pairwise(walk))}
    entries = [
        scaled[row[0]][0].get((row[1], column[1]), _ZERO) if row[0] == column[0] else sp.Integer((row, column) in links)
        for row in places
        for column in places
    ]
    first, last = places.index((0, walk[0].start)), places.index((len(walk) - 1, walk[-1].end))
    return sp.Mul(*(factor for _, factor in scaled)) * propagator(first, last, len(places), *entries)


def _scaled(matrix: Matrix, group: _Group, dt: sp.Symbol) -> tuple[dict[tuple[str, str], sp.Expr], sp.Expr]:
    """A group's entries times dt in units that don't tear them apart (ohms are 1e8), and a factor: that of its end.

    Each variable is counted in units of what it does to the start, along the shortest way there, so that entries on that way
    are 1. Nothing is divided by; where a way that is not the shortest would need that, entries stay as they are.
    """
    ways: dict[str, tuple[tuple[str, str], ...]] = {group.start: ()}
    for row in (queue := [group.start]):
        fresh = [n for n in group.names if (row, n) in matrix and n not in ways]
        ways |= {n: (*ways[row], (row, n)) for n in fresh}
        queue += fresh
    own = {place: entry * dt for place, entry in matrix.items() if set(place) <= set(group.names)}
    found = {}
    for (row, column), entry in own.items():
        length = len(ways[column])
        if ways[column] == (*ways[row], (row, column)):
            found[row, column] = _ONE
        elif ways[row][:length] == ways[column]:
            found[row, column] = entry * sp.Mul(*(own[place] for place in ways[row][length:]))
        else:
            return own, _ONE
    return found, sp.Mul(*(own[place] for place in ways[group.end]))
