"""Syntax trees -> sympy. Only names, numbers and the whitelisted functions exist here."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy as sp

from neuro.language.elementary import (
    Elementary,
    acos,
    asin,
    atan,
    ceil_of,
    chain_product,
    cos,
    cosh,
    expm1,
    exprel,
    floor_of,
    floor_ratio,
    greater,
    greater_equal,
    log1p,
    magnitude,
    maximum,
    minimum,
    number,
    poisson_of,
    pow,
    remainder,
    sigmoid_of,
    sign_of,
    sin,
    sinh,
    straight_through,
    tan,
    tanh,
)  # fmt: skip
from neuro.language.equations import Expression, is_condition
from neuro.language.units import is_unit_name, unit


def _truncated(x: sp.Expr) -> sp.Expr:
    return sign_of(x) * floor_of(magnitude(x))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": sp.exp, "log": sp.log, "log10": lambda x: sp.log(x) / sp.log(sp.Integer(10)), "log1p": log1p,
    "expm1": expm1, "exprel": exprel, "sqrt": sp.sqrt, "sin": sin, "cos": cos, "tan": tan,
    "sinh": sinh, "cosh": cosh, "tanh": tanh, "arcsin": asin, "arccos": acos, "arctan": atan,
    "sigmoid": sigmoid_of, "abs": magnitude, "sign": sign_of, "floor": floor_of,
    "ceil": ceil_of, "relu": lambda x: maximum(sp.Integer(0), x), "clip": lambda x, a, b: minimum(maximum(x, a), b),
    "int": _truncated, "straight_through": straight_through, "poisson": poisson_of,
    "timestep": lambda x, dt: _truncated((x + number(1e-3) * dt) / dt),
}  # fmt: skip


# -- the closed set of kinds ---------------------------------------------------------------------------------

_CLOSED = (Elementary, sp.Add, sp.Mul, sp.Pow, sp.exp, sp.log)
_OURS: dict[Any, Any] = {sp.Abs: magnitude, sp.sign: sign_of}  # sympy makes Abs of (x**2)**0.5


class NumberError(Exception):
    """Numbers alone that give nothing real and finite, such as sqrt(-1)."""


def symbol(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)


@lru_cache(maxsize=1 << 14)
def closed(expr: sp.Expr) -> sp.Expr:
    """An expression made of symbols, real numbers, sums, products, powers by a number and the functions of `neuro.language.elementary`.

    What holds no symbol becomes one number. Derivatives of such an expression are of the same kind. Raises NumberError
    for a number that is not real, or nan; TypeError for anything that no printer knows.
    """
    if expr.is_Symbol:
        return expr
    if expr.is_number:
        return _folded(expr)
    args = tuple(closed(a) for a in expr.args)
    kind = _OURS.get(expr.func, expr.func)
    if not issubclass(kind, _CLOSED):
        raise TypeError(f"no form for {kind.__name__}")
    if kind is sp.Pow and not args[1].is_number:
        kind = pow
    if kind in (sp.Pow, pow) and (inner := _saturated(args[0])) is not None and not args[1].is_positive:
        args = (sigmoid_of(inner), -args[1])
    if kind is sp.Pow and isinstance(args[0], pow) and args[1].is_Integer:
        kind, args = pow, (args[0].args[0], args[1] * args[0].args[1])
    if kind is expr.func and args == expr.args:
        return expr
    return closed(kind(*args))


def _saturated(base: sp.Expr) -> sp.Expr | None:
    """x of 1 + exp(-x), which overflows where its inverse saturates; None for everything else."""
    if base.is_Add and len(base.args) == 2 and base.args[0] == 1 and isinstance(base.args[1], sp.exp):
        return -base.args[1].args[0]
    return None


def _folded(expr: sp.Expr) -> sp.Expr:
    if expr.is_Rational or expr in (sp.oo, -sp.oo):
        return expr
    try:
        value = float(expr)
    except TypeError:  # complex, or sympy's zoo
        raise NumberError(str(expr)) from None
    if math.isnan(value) or (math.isinf(value) and not expr.is_infinite):
        raise NumberError(str(expr))
    return number(value)


def substituted(expr: sp.Expr, table: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    """Symbols replaced, all at once; the result is closed."""
    inside = {k: v for k, v in table.items() if k in expr.free_symbols}
    return closed(expr.xreplace(inside)) if inside else expr


def within_functions(expr: sp.Expr) -> set[sp.Symbol]:
    """Symbols that stand in a function, which is not affine in them, whatever its slope says: a step's is 0."""
    return {s for f in expr.atoms(sp.Function) for s in f.free_symbols}


@lru_cache(maxsize=4096)
def derivative(expr: sp.Expr, by: sp.Symbol) -> sp.Expr:
    """d expr/d by, by the chain rule; a product of slopes is 0 where one of them is, as gradients on torch and native have it."""
    if by not in expr.free_symbols or expr == by:
        return sp.Integer(int(expr == by))
    total: sp.Expr = sp.Integer(0)
    for place, argument in enumerate(expr.args):
        inner: sp.Expr = derivative(argument, by)
        if inner == 0:
            continue
        outer = _partial(expr, place)
        finite = not (outer.has(sp.Pow, sp.Function) or inner.has(sp.Pow, sp.Function))
        total += outer * inner if outer == 0 or inner.is_number or finite else chain_product(outer, inner)
    return total


def _partial(expr: sp.Expr, place: int) -> sp.Expr:
    """Derivative by one argument, the others fixed."""
    argument = sp.Dummy(real=True)
    varied = expr.func(*(argument if i == place else a for i, a in enumerate(expr.args)))
    return varied.diff(argument).xreplace({argument: expr.args[place]})


# -- reading -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def to_sympy(expression: Expression) -> sp.Expr:
    """A closed expression over real symbols; units become SI numbers; conditions become 0/1 numbers.

    Raises ModelError, with a caret, where numbers alone give nothing real and finite.
    """
    return _Reader(expression).of(expression.tree)


@lru_cache(maxsize=1024)
def margin(expression: Expression) -> sp.Expr:
    """A condition as a number that is positive where it holds and negative where it doesn't; 0 is a matter of the comparison."""
    return closed(_Reader(expression).margin(expression.tree))


def part(expression: Expression, node: ast.expr) -> sp.Expr:
    """`to_sympy` of one node of an expression."""
    return _Reader(expression).of(node)


def comparison(expression: Expression) -> str:
    """How a condition compares: ">" without equality, ">=" with it, "logic" where and, or, not join comparisons, and for everything else."""
    tree = expression.tree
    if not isinstance(tree, ast.Compare) or isinstance(tree.ops[0], ast.Eq | ast.NotEq):
        return "logic"
    return ">=" if isinstance(tree.ops[0], ast.GtE | ast.LtE) else ">"


@dataclass(frozen=True)
class _Reader:
    expression: Expression

    def of(self, node: ast.expr) -> sp.Expr:
        try:
            found = closed(self.convert(node))
        except NumberError:
            found = sp.nan
        if found is sp.nan or (found.is_number and found.is_infinite and not _names_infinity(node)):
            raise self.expression.source.fail(
                f"'{self.expression.piece(node)}' is no real, finite number", "change the numbers in it", node
            )
        return found

    def convert(self, node: ast.expr) -> sp.Expr:
        match node:
            case ast.Constant(value=int() | float() as value):
                return number(float(value))
            case ast.Name(id=name):
                if name in ("pi", "inf"):
                    return sp.pi if name == "pi" else sp.oo
                return number(float(unit(name).value)) if is_unit_name(name) else symbol(name)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self.of(inner)
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return self.of(inner)
            case ast.BinOp(left=left, op=op, right=right):
                return _binary(op, self.of(left), self.of(right))
            case ast.Call(func=ast.Name(id="int"), args=[inner]) if is_condition(inner):
                return self.of(inner)
            case ast.Call(func=ast.Name(id=name), args=args):
                return _FUNCTIONS[name](*map(self.of, args))
            case ast.Compare(ops=[op]):
                a, b = self.sides(node)
                if isinstance(op, ast.Eq | ast.NotEq):
                    equal = greater_equal(a, b) * greater_equal(b, a)
                    return equal if isinstance(op, ast.Eq) else 1 - equal
                return (greater_equal if isinstance(op, ast.GtE | ast.LtE) else greater)(a, b)
            case ast.BoolOp(op=ast.And(), values=values):
                return sp.Mul(*map(self.of, values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return 1 - sp.Mul(*(1 - self.of(v) for v in values))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return 1 - self.of(inner)
        raise TypeError(type(node).__name__)

    def sides(self, node: ast.Compare) -> tuple[sp.Expr, sp.Expr]:
        """The larger and the smaller one of a comparison that holds."""
        a, b = self.of(node.left), self.of(node.comparators[0])
        return (a, b) if isinstance(node.ops[0], ast.Gt | ast.GtE) else (b, a)

    def margin(self, node: ast.expr) -> sp.Expr:
        match node:
            case ast.Compare(ops=[op]):
                a, b = self.sides(node)
                apart = magnitude(a - b)
                return -apart if isinstance(op, ast.Eq) else apart if isinstance(op, ast.NotEq) else a - b
            case ast.BoolOp(op=op, values=values):
                join = minimum if isinstance(op, ast.And) else maximum
                found = self.margin(values[0])
                for value in values[1:]:
                    found = join(found, self.margin(value))
                return found
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return -self.margin(inner)
        return self.of(node) - sp.Rational(1, 2)  # of a variable that holds a condition, of True


def _names_infinity(node: ast.expr) -> bool:
    """inf or -inf, as bounds and comparisons take it."""
    if isinstance(node, ast.UnaryOp):
        return _names_infinity(node.operand)
    return isinstance(node, ast.Name) and node.id == "inf"


def _binary(op: ast.operator, a: sp.Expr, b: sp.Expr) -> sp.Expr:
    match op:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.Div():
            return a / b
        case ast.Pow():
            return pow(a, sp.Rational(b) if b.is_Float and (2 * b) % 1 == 0 else b)
    return floor_ratio(a, b) if isinstance(op, ast.FloorDiv) else remainder(a, b)
