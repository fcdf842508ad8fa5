"""Our equations and statements in Brian2's words: the same continuous text, nothing discretised.

Forms are chosen that mean the same on all targets of Brian2. Whole numbers stay whole numbers, so that sympy sees what cancels.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np

from backends.brian.devices import DEFAULT_UNITS  # pyright: ignore[reportAttributeAccessIssue]
from neuro.language.counts import poisson
from neuro.language.drawn import drawn_by
from neuro.language.equations import Equation, Expression, Statement, is_condition
from neuro.language.scope import is_noise
from neuro.language.units import BASE_UNITS, Dimension, is_unit_name, unit

Table = dict[str, str]  # our name -> Brian2's: all that an expression may use but units, t, dt, pi, inf

_CONDITIONS = ("not_refractory", "not_refractory_pre", "not_refractory_post")  # that Brian2 holds as such

# Forms of functions whose own form in Brian2 is another on some target, or that it lacks; their values are floats.
_FORMS = {
    "sigmoid": "1.0/(1.0 + exponential_of(-X))",
    "exp": "exponential_of(X)",
    "relu": "maximum_of(X, 0.0)",
    "clip": "minimum_of(maximum_of(X, Y), Z)",
    "abs": "magnitude_of(X)",
    "floor": "floor_of(X)",
    "ceil": "ceil_of(X)",
    "sign": "sign_of(X)",
    "int": "truncated_of(X)",
    "timestep": "truncated_of((X + 0.001*Y)/Y)",
    "straight_through": "X",
    "poisson": "poisson_of(X, Y)",
}


@cache
def unit_text(dimension: Dimension) -> str:
    """A dimension as Brian2 writes it, by the name of its unit where Brian2 has all of that name."""
    named = str(dimension)
    if set(re.findall(r"[a-z]+", named)) <= {*DEFAULT_UNITS} and not re.search(r"\*\*\(|\.", named):
        return named
    parts = [f"{n}**{float(p):g}" for n, p in zip(BASE_UNITS, dimension.exponents, strict=True) if p]
    return "*".join(parts) or "1"


@cache
def _unit(name: str) -> ast.expr:
    """A unit by its name where Brian2 means the same by it, otherwise by its value."""
    value = unit(name)
    same = name in DEFAULT_UNITS and float(DEFAULT_UNITS[name]) == value.value
    return ast.parse(name if same else f"({value.value!r}*{unit_text(value.dimension)})", mode="eval").body


class _Rewriter(ast.NodeTransformer):
    """Names, units, functions and conditions in Brian2's words; noise as a number drawn for the step."""

    def __init__(self, names: Table) -> None:
        self.names = names

    def visit(self, node: ast.AST) -> Any:
        """A number; a condition as 0 or 1."""
        if is_condition(node):
            return self.counted(node)
        value = None if isinstance(node, ast.Name) else _number(node)
        return super().visit(node) if value is None else _constant(value)

    def condition(self, node: ast.expr) -> Any:
        match node:
            case ast.Compare(left=left, ops=ops, comparators=[right]):
                return ast.Compare(self.visit(left), ops, [self.visit(right)])
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, [self.condition(v) for v in values])
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return ast.UnaryOp(ast.Not(), self.condition(inner))
        return _parsed("X > 0.5", X=self.visit(node))  # a variable that holds a condition, True

    def visit_Call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "int" and is_condition(node.args[0]):
            return self.visit(node.args[0])
        arguments = [self.visit(argument) for argument in node.args]
        if name in _FORMS:
            return _parsed(_FORMS[name], **dict(zip("XYZ", arguments, strict=False)))
        return ast.Call(node.func, arguments, [])

    def counted(self, condition: ast.AST) -> Any:
        """A condition as the number 0 or 1. Brian2's numpy has no `and`, `or`, `not` within an expression."""
        match condition:
            case ast.BoolOp(op=ast.And(), values=values):
                return _product(map(self.visit, values))
            case ast.BoolOp(values=values):
                return _parsed("1 - C", C=_product(_parsed("1 - C", C=self.visit(v)) for v in values))
            case ast.UnaryOp(operand=inner):
                return _parsed("1 - C", C=self.visit(inner))
        value = _number(condition)
        return _parsed("truth_of(C)", C=self.condition(condition)) if value is None else _constant(value)  # type: ignore[arg-type]

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        left, right = self.visit(node.left), self.visit(node.right)
        form = {ast.Mod: "remainder_of(X, Y)", ast.FloorDiv: "floor_ratio_of(X, Y)"}.get(type(node.op))
        return _parsed(form, X=left, Y=right) if form else ast.BinOp(left, node.op, right)

    def visit_Name(self, node: ast.Name) -> Any:
        if is_noise(node.id) and not drawn_by(node.id):
            return _parsed(f"{self.names[node.id]}/sqrt(dt)")  # Euler-Maruyama
        if node.id in self.names:
            found = self.names[node.id]
            return _parsed(f"truth_of({found})") if found in _CONDITIONS else ast.Name(found)
        return _unit(node.id) if is_unit_name(node.id) else node  # pi, inf, t, dt


class _Put(ast.NodeTransformer):
    def __init__(self, parts: Mapping[str, ast.expr]) -> None:
        self.parts = parts

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.parts.get(node.id, node)


def _parsed(form: str, **parts: ast.expr) -> Any:
    """A form with parts put in place of its capitals."""
    return _Put(parts).visit(ast.parse(form, mode="eval").body)


def _product(factors: Iterable[ast.expr]) -> ast.expr:
    first, *rest = factors
    for factor in rest:
        first = ast.BinOp(first, ast.Mult(), factor)
    return first


_NUMERIC: Mapping[str, Callable[..., Any]] = {
    **{n: getattr(np, n) for n in ("exp", "log", "log10", "log1p", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{n: getattr(np, n) for n in ("arcsin", "arccos", "arctan", "abs", "sqrt", "sign", "floor", "ceil")},
    "exprel": lambda x: np.expm1(x) / x if x else 1.0,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0.0),
    "clip": lambda x, a, b: np.minimum(np.maximum(x, a), b),
    "int": np.trunc,
    "timestep": lambda x, dt: np.trunc((x + 1e-3 * dt) / dt),
    "straight_through": lambda x, slope_of: x,
    "poisson": poisson,
}  # fmt: skip
_OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
    ast.Mod: np.mod, ast.FloorDiv: lambda a, b: np.floor(np.true_divide(a, b)), ast.Eq: np.equal, ast.NotEq: np.not_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal, ast.Lt: np.less, ast.LtE: np.less_equal,
    ast.And: np.logical_and, ast.Or: np.logical_or, ast.USub: np.negative, ast.UAdd: np.positive,
    ast.Not: np.logical_not,
}  # fmt: skip


def _number(node: ast.AST) -> float | None:
    """The finite value of an expression or condition of numbers alone, None for others."""
    value = _value(node)
    return float(value) if value is not None and math.isfinite(value) else None


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value):
            return np.float64(value)
        case ast.Name(id="pi"):
            return np.float64(math.pi)
        case ast.Name(id="inf"):
            return np.float64(math.inf)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _applied(_NUMERIC[name], arguments)
        case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
            return _applied(_OPERATORS[type(op)], (left, right))
        case ast.UnaryOp(op=op, operand=operand):
            return _applied(_OPERATORS[type(op)], (operand,))
        case ast.BoolOp(op=op, values=[first, *rest]):
            found = _value(first)
            for value in map(_value, rest):
                found = None if found is None or value is None else _OPERATORS[type(op)](found, value)
            return found
    return None


def _applied(function: Callable[..., Any], arguments: Iterable[ast.AST]) -> Any:
    values = [_value(a) for a in arguments]
    with np.errstate(all="ignore"):
        return None if any(v is None for v in values) else np.float64(function(*values))  # numpy's exp(True) is a half


def _constant(value: float) -> ast.expr:
    whole = value.is_integer() and abs(value) < 2**31  # larger ones are no integers to C++
    found = ast.Constant(int(abs(value)) if whole else abs(value))
    return ast.UnaryOp(ast.USub(), found) if value < 0 else found


def text(expression: Expression, names: Table, *, condition: bool = False) -> str:
    """An expression on one line. condition: it is one, not its value 0 or 1."""
    writer = _Rewriter(names)
    return ast.unparse((writer.condition if condition else writer.visit)(deepcopy(expression.tree)))


def split(expression: Expression, numbers: Collection[str]) -> tuple[Expression, Expression] | None:
    """A product's presynaptic factors and the rest; None where there are none worth a variable of their own.

    numbers: parameters of the projection that are one number, which may stand on either side.
    """
    factors = list(_factors(expression.tree))
    sent: list[ast.expr] = []
    kept: list[ast.expr] = []
    for factor in factors:
        names = set(Expression(ast.unparse(factor), expression.source).names)
        presynaptic = {n for n in names if n.endswith("_pre")}
        sent_too = presynaptic and names <= presynaptic | set(numbers)
        (sent if sent_too else kept).append(factor)
    if not kept or all(isinstance(factor, ast.Name) for factor in sent):
        return None
    before, rest = ("*".join(f"({ast.unparse(f)})" for f in part) for part in (sent, kept))
    return Expression(before, expression.source), Expression(rest, expression.source)


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from _factors(node.left)
        yield from _factors(node.right)
    else:
        yield node


def statements(block: Iterable[Statement], names: Table, targets: Table | None = None, limit: str = "") -> str:
    """Statements, one per line. targets: what they assign, where it is not the variable they name.

    limit: a statement that follows each one that assigns a weight.
    """
    lines = []
    for s in block:
        target, value = (targets or names)[s.target], text(s.expression, names)
        if s.op == "=" and s.target in s.expression.names:
            # Brian2 would have sympy rewrite `v = f(v)` as a sum or a product, which drops functions and infinite values
            lines += [f"assigned_{target} = {value}", f"{target} = assigned_{target}"]
        elif s.op in ("*=", "/="):  # where Brian2 checks units, it writes the operator before the bare text
            lines.append(f"{target} {s.op} ({value})")
        else:
            lines.append(f"{target} {s.op} {value}")
        if limit and s.target == "w":
            lines.append(limit)
    return "\n".join(lines)


def number(value: Any) -> str:
    """A number, which may be infinite."""
    return repr(float(value))


def limited(name: str, low: str, high: str, dimension: Dimension) -> str:
    """The statement that keeps a variable between two numbers of SI units; empty where both are infinite."""
    form = name
    for function, bound in (("maximum_of", low), ("minimum_of", high)):
        if not bound.endswith("inf"):
            form = f"{function}({form}, {bound}*{unit_text(dimension)})"
    return f"{name} = {form}" if form != name else ""


def equation(item: Equation, names: Table, flags: Iterable[str] = ()) -> str:
    """One line of equations."""
    name = names[item.name]
    if item.expression is None or item.kind == "held":
        return declaration(name, item.dimension, *flags)
    left = f"d{name}/dt" if item.kind == "differential" else name
    return declaration(f"{left} = {text(item.expression, names)}", item.dimension, *flags)


def declaration(name: str, dimension: Dimension, *flags: str) -> str:
    """A variable (its name is Brian2's) with its unit."""
    return f"{name} : {unit_text(dimension)}" + (f" ({', '.join(flags)})" if flags else "")
