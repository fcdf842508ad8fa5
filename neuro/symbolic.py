"""Syntax trees -> sympy. Only names, numbers and the whitelisted functions exist here."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from neuro.equations import Expression
from neuro.matrices import exponential
from neuro.units import is_unit_name, unit


class _Elementary(sp.Function):  # type: ignore[misc]
    """A function that sympy lacks, or knows only as a complex one. numeric: its value at plain numbers."""

    numeric: Callable[..., Any]

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        if not all(a.is_number for a in args):
            return None
        try:
            return number(float(cls.numeric(*map(float, args))))
        except (ArithmeticError, ValueError, TypeError):  # TypeError: a complex number
            return sp.nan


class _Flat(_Elementary):
    """A function of slope 0 wherever it has one."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.Integer(0)


class exprel(_Elementary):  # noqa: N801  the name is what prints
    """(exp(x) - 1) / x, with its limit 1 at 0."""

    nargs = 1
    numeric = staticmethod(lambda x: math.expm1(x) / x if x else 1.0)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """(exp(x) - exprel(x))/x, but its series near 0, where that is 0/0."""
        x = self.args[0]
        far = step(magnitude(x) - sp.Rational(1, 50))
        safe = x + (1 - far) * (1 - x)
        series = sp.Add(*(x**n / ((n + 2) * sp.factorial(n)) for n in range(6)))
        return far * (sp.exp(safe) - exprel(safe)) / safe + (1 - far) * series


class expm1(_Elementary):  # noqa: N801
    nargs = 1
    numeric = staticmethod(math.expm1)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.exp(self.args[0])


class log1p(_Elementary):  # noqa: N801
    nargs = 1
    numeric = staticmethod(math.log1p)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return 1 / (1 + self.args[0])


class sigmoid_of(_Elementary):  # noqa: N801
    """1/(1 + exp(-x)), whose slope stays finite where exp(-x) does not."""

    nargs = 1
    numeric = staticmethod(lambda x: 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x)))

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        x = self.args[0]
        return sigmoid_of(x) * sigmoid_of(-x)


class pow(_Elementary):  # noqa: N801
    """x**p where p is not a number. Its slope in p is 0 where x is not positive."""

    nargs = 2

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        x, p = args
        return x**p if p.is_number else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        x, p = self.args
        safe = x + step_or_equal(-x) * (1 - x)  # x where it is positive, without a loss of digits, else 1
        return p * pow(x, p - 1) if argindex == 1 else pow(x, p) * sp.log(safe)


class step(_Flat):  # noqa: N801
    """1 where the argument is positive, else 0: the strict comparison `x > 0` as a number."""

    numeric = staticmethod(lambda x: float(x > 0))


class step_or_equal(_Flat):  # noqa: N801
    """1 where the argument is not negative, else 0: `x >= 0` as a number."""

    numeric = staticmethod(lambda x: float(x >= 0))


class sign_of(_Flat):  # noqa: N801
    numeric = staticmethod(lambda x: float((x > 0) - (x < 0)))


class magnitude(_Elementary):  # noqa: N801
    """abs()."""

    nargs = 1
    numeric = staticmethod(abs)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sign_of(self.args[0])


def _beside_infinity(a: sp.Expr, b: sp.Expr, neutral: sp.Expr) -> sp.Expr | None:
    """What min or max is beside an infinite number: the other one, or that number."""
    for one, other in ((a, b), (b, a)):
        if one.is_number and one.is_infinite:  # of what holds symbols, sympy may reason for half a minute
            return other if one == neutral else one
    return None


class minimum(_Elementary):  # noqa: N801
    """The smaller of two; at a tie the first takes the whole slope."""

    nargs = 2
    numeric = staticmethod(min)

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        a, b = args
        return _beside_infinity(a, b, sp.oo) or super().eval(a, b)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return step_or_equal(b - a) if argindex == 1 else step(a - b)


class maximum(_Elementary):  # noqa: N801
    """The larger of two; at a tie the first takes the whole slope."""

    nargs = 2
    numeric = staticmethod(max)

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        a, b = args
        return _beside_infinity(a, b, -sp.oo) or super().eval(a, b)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return step_or_equal(a - b) if argindex == 1 else step(b - a)


class floor_of(_Flat):  # noqa: N801
    numeric = staticmethod(math.floor)


class ceil_of(_Flat):  # noqa: N801
    numeric = staticmethod(math.ceil)


class remainder(_Elementary):  # noqa: N801
    """a % b with the sign of b, as in Python and Brian2."""

    nargs = 2
    numeric = staticmethod(lambda a, b: a % b)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return sp.Integer(1) if argindex == 1 else -floor_of(a / b)


class propagator(_Elementary):  # noqa: N801
    """propagator(row, column, n, a_11, a_12, ...): an entry of exp(A), A an n x n matrix, its entries row by row.

    Its derivative with respect to a_kl is the same entry of the upper right block of exp([[A, E_kl], [0, A]]).
    Source: Najfeld & Havel (1995), Adv Appl Math 16:321.
    """

    @staticmethod
    def numeric(row: float, column: float, n: float, *entries: float) -> float:
        return float(exponential(np.reshape(entries, (int(n), int(n))))[int(row), int(column)])

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        row, column, n = (int(a) for a in self.args[:3])
        entries, place, zero = self.args[3:], argindex - 4, sp.Integer(0)
        rows = [entries[i * n : (i + 1) * n] for i in range(n)]
        unit_ = [[sp.Integer(i * n + j == place) for j in range(n)] for i in range(n)]
        upper = [(*rows[i], *unit_[i]) for i in range(n)]
        lower = [(*[zero] * n, *rows[i]) for i in range(n)]
        return propagator(row, n + column, 2 * n, *(e for line in (*upper, *lower) for e in line))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": sp.exp, "log": sp.log, "log10": lambda x: sp.log(x) / sp.log(sp.Integer(10)), "log1p": log1p,
    "expm1": expm1, "exprel": exprel, "sqrt": sp.sqrt, "sin": sp.sin, "cos": sp.cos, "tan": sp.tan,
    "sinh": sp.sinh, "cosh": sp.cosh, "tanh": sp.tanh, "arcsin": sp.asin, "arccos": sp.acos, "arctan": sp.atan,
    "sigmoid": sigmoid_of, "abs": magnitude, "sign": sign_of, "floor": floor_of,
    "ceil": ceil_of, "relu": lambda x: maximum(sp.Integer(0), x), "clip": lambda x, a, b: minimum(maximum(x, a), b),
    "int": lambda x: x,
}  # fmt: skip


# -- the closed set of kinds ---------------------------------------------------------------------------------

_CLOSED = (
    _Elementary, sp.Add, sp.Mul, sp.Pow, sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.sinh, sp.cosh, sp.tanh, sp.asin,
    sp.acos, sp.atan,
)  # fmt: skip
_OURS: dict[Any, Any] = {sp.Abs: magnitude, sp.sign: sign_of}  # sympy makes Abs of (x**2)**0.5


class NumberError(Exception):
    """Numbers alone that give nothing real and finite, such as sqrt(-1)."""


def symbol(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)


def number(value: float) -> sp.Expr:
    """A number as every printer takes it: whole ones as integers."""
    if not math.isfinite(value):
        return sp.nan if math.isnan(value) else sp.oo if value > 0 else -sp.oo
    return sp.Integer(int(value)) if value.is_integer() and abs(value) < 2**53 else sp.Float(repr(value), 17)


@lru_cache(maxsize=1 << 14)
def closed(expr: sp.Expr) -> sp.Expr:
    """An expression made of symbols, real numbers, sums, products, powers by a number and the functions of this module.

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
    """How a condition compares: ">" without equality, ">=" with it, "logic" where and, or, not join comparisons."""
    tree = expression.tree
    if not isinstance(tree, ast.Compare):
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
            case ast.Call(func=ast.Name(id=name), args=args):
                return _FUNCTIONS[name](*map(self.of, args))
            case ast.Compare(ops=[op]):
                return (step_or_equal if isinstance(op, ast.GtE | ast.LtE) else step)(self.margin(node))
            case ast.BoolOp(op=ast.And(), values=values):
                return sp.Mul(*map(self.of, values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return 1 - sp.Mul(*(1 - self.of(v) for v in values))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return 1 - self.of(inner)
        raise TypeError(type(node).__name__)

    def margin(self, node: ast.expr) -> sp.Expr:
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                a, b = self.of(left), self.of(right)
                return a - b if isinstance(op, ast.Gt | ast.GtE) else b - a
            case ast.BoolOp(op=op, values=values):
                join = minimum if isinstance(op, ast.And) else maximum
                found = self.margin(values[0])
                for value in values[1:]:
                    found = join(found, self.margin(value))
                return found
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return -self.margin(inner)
        raise TypeError(type(node).__name__)


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
    return remainder(a, b)
