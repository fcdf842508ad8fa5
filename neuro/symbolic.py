"""Syntax trees -> sympy. Only names, numbers and the whitelisted functions exist here."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

import sympy as sp

from neuro.equations import Expression
from neuro.units import is_unit_name, unit


class _Elementary(sp.Function):  # type: ignore[misc]
    """A function that sympy lacks, or knows only as a complex one. numeric: its value at plain numbers."""

    numeric: Callable[..., Any]

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        if not all(a.is_number for a in self.args):
            return None
        return sp.Float(type(self).numeric(*(float(a) for a in self.args)), 17)


class exprel(_Elementary):  # noqa: N801  the name is what prints
    """(exp(x) - 1) / x, with its limit 1 at 0."""

    nargs = 1
    numeric = staticmethod(lambda x: math.expm1(x) / x if x else 1.0)

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        return sp.Integer(1) if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """(exp(x) - exprel(x))/x, but its series near 0, where that is 0/0."""
        x = self.args[0]
        far = step(magnitude(x) - sp.Rational(1, 50))
        safe = x * far + (1 - far)
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


class step(_Elementary):  # noqa: N801
    """1 where the argument is positive, else 0: the strict comparison `x > 0` as a number."""

    nargs = 1
    numeric = staticmethod(lambda x: float(x > 0))

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.Integer(0)


class step_or_equal(_Elementary):  # noqa: N801
    """1 where the argument is not negative, else 0: `x >= 0` as a number."""

    nargs = 1
    numeric = staticmethod(lambda x: float(x >= 0))

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.Integer(0)


class sign_of(_Elementary):  # noqa: N801
    nargs = 1
    numeric = staticmethod(lambda x: float((x > 0) - (x < 0)))

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.Integer(0)


class magnitude(_Elementary):  # noqa: N801
    """abs()."""

    nargs = 1
    numeric = staticmethod(abs)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sign_of(self.args[0])


class minimum(_Elementary):  # noqa: N801
    """The smaller of two; at a tie the first takes the whole slope."""

    nargs = 2
    numeric = staticmethod(min)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return step_or_equal(b - a) if argindex == 1 else step(a - b)


class maximum(_Elementary):  # noqa: N801
    """The larger of two; at a tie the first takes the whole slope."""

    nargs = 2
    numeric = staticmethod(max)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return step_or_equal(a - b) if argindex == 1 else step(b - a)


class floor_of(_Elementary):  # noqa: N801
    nargs = 1
    numeric = staticmethod(math.floor)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.Integer(0)


class ceil_of(_Elementary):  # noqa: N801
    nargs = 1
    numeric = staticmethod(math.ceil)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.Integer(0)


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
        from scipy.linalg import expm

        size = int(n)
        matrix = [entries[i * size : (i + 1) * size] for i in range(size)]
        return float(expm(matrix)[int(row), int(column)])

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
    "sigmoid": lambda x: 1 / (1 + sp.exp(-x)), "abs": magnitude, "sign": sign_of, "floor": floor_of,
    "ceil": ceil_of, "relu": lambda x: maximum(sp.Integer(0), x), "clip": lambda x, a, b: minimum(maximum(x, a), b),
    "int": lambda x: x,
}  # fmt: skip


def symbol(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)


def to_sympy(expression: Expression, rename: Callable[[str], str] = lambda name: name) -> sp.Expr:
    """A sympy expression over real symbols; units become SI numbers; conditions become 0/1 numbers."""
    return _convert(expression.tree, rename)


def margin(expression: Expression) -> sp.Expr:
    """A condition as a number that is positive where it holds and negative where it doesn't; 0 is a matter of the comparison."""
    return _margin(expression.tree, lambda name: name)


def comparison(expression: Expression) -> str:
    """How a condition compares: ">" without equality, ">=" with it, "logic" where and, or, not join comparisons."""
    tree = expression.tree
    if not isinstance(tree, ast.Compare):
        return "logic"
    return ">=" if isinstance(tree.ops[0], ast.GtE | ast.LtE) else ">"


def _number(value: float) -> sp.Expr:
    return sp.Integer(int(value)) if float(value).is_integer() and abs(value) < 2**53 else sp.Float(repr(value), 17)


def _convert(node: ast.expr, rename: Callable[[str], str]) -> sp.Expr:
    match node:
        case ast.Constant(value=int() | float() as value):
            return _number(value)
        case ast.Name(id=name):
            if name in ("pi", "inf"):
                return sp.pi if name == "pi" else sp.oo
            renamed = rename(name)
            if renamed == name and is_unit_name(name):
                return _number(float(unit(name).value))
            return symbol(renamed)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_convert(inner, rename)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _convert(inner, rename)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _convert(left, rename), _convert(right, rename))
        case ast.Call(func=ast.Name(id=name), args=args):
            if name == "int" and isinstance(args[0], ast.Compare | ast.BoolOp):
                return _convert(args[0], rename)
            return _FUNCTIONS[name](*(_convert(a, rename) for a in args))
        case ast.Compare(ops=[op]):
            return (step_or_equal if isinstance(op, ast.GtE | ast.LtE) else step)(_margin(node, rename))
        case ast.BoolOp(op=ast.And(), values=values):
            return sp.Mul(*(_convert(v, rename) for v in values))
        case ast.BoolOp(op=ast.Or(), values=values):
            return 1 - sp.Mul(*(1 - _convert(v, rename) for v in values))
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return 1 - _convert(inner, rename)
    raise TypeError(type(node).__name__)


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
            return a**b
    return remainder(a, b)


def _margin(node: ast.expr, rename: Callable[[str], str]) -> sp.Expr:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            a, b = _convert(left, rename), _convert(right, rename)
            return a - b if isinstance(op, ast.Gt | ast.GtE) else b - a
        case ast.BoolOp(op=op, values=values):
            join = minimum if isinstance(op, ast.And) else maximum
            found = _margin(values[0], rename)
            for value in values[1:]:
                found = join(found, _margin(value, rename))
            return found
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return -_margin(inner, rename)
    raise TypeError(type(node).__name__)
