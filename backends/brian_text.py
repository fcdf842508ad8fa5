"""Our equations and statements in Brian2's words: the same continuous text, nothing discretised.

Names that Brian2, C++ or Cython keep for themselves get two underscores at their end, which no model's name has.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache

from backends.brian_devices import DEFAULT_UNITS, brian2  # pyright: ignore[reportAttributeAccessIssue]
from neuro.equations import Equation, Expression, Statement, literal
from neuro.scope import is_noise
from neuro.units import BASE_UNITS, Dimension, is_unit_name, unit

_CODE_WORDS = frozenset(
    [
        "alignas",
        "alignof",
        "asm",
        "auto",
        "bint",
        "bool",
        "catch",
        "char",
        "cdef",
        "cimport",
        "complex",
        "const",
        "constexpr",
        "cpdef",
        "ctypedef",
        "decltype",
        "default",
        "delay",
        "delete",
        "do",
        "double",
        "dynamic_cast",
        "enum",
        "explicit",
        "export",
        "extern",
        "float",
        "friend",
        "goto",
        "inline",
        "int32",
        "int64",
        "lastupdate",
        "long",
        "mutable",
        "namespace",
        "new",
        "noexcept",
        "nullptr",
        "object",
        "operator",
        "private",
        "protected",
        "public",
        "register",
        "reinterpret_cast",
        "short",
        "signed",
        "sizeof",
        "static",
        "static_assert",
        "static_cast",
        "str",
        "struct",
        "switch",
        "template",
        "this",
        "thread_local",
        "throw",
        "typedef",
        "typeid",
        "typename",
        "union",
        "unsigned",
        "using",
        "virtual",
        "void",
        "volatile",
        "wchar_t",
        "N_incoming",
        "N_outgoing",
    ]
)
Name = Callable[[str], str]
_FORMS = {"sigmoid": "1.0/(1.0 + exp(-(X)))", "relu": "0.5*((X) + abs(X))"}


@cache
def safe(name: str) -> str:
    """A variable's name in Brian2."""
    for end in ("_pre", "_post"):
        if name.endswith(end):
            return safe(name.removesuffix(end)) + end
    try:
        brian2.Equations.check_identifier(name)
    except SyntaxError:
        return f"{name}__"
    return f"{name}__" if name in _CODE_WORDS else name


@cache
def unit_text(dimension: Dimension) -> str:
    """A dimension as Brian2 writes it."""
    parts = [f"{n}**{float(p):g}" for n, p in zip(BASE_UNITS, dimension.exponents, strict=True) if p]
    return "*".join(parts) or "1"


@cache
def _unit(name: str) -> ast.expr:
    """A unit by its name where Brian2 means the same by it, otherwise by its value."""
    value = unit(name)
    same = name in DEFAULT_UNITS and float(DEFAULT_UNITS[name]) == value.value
    return ast.parse(name if same else f"({value.value!r}*{unit_text(value.dimension)})", mode="eval").body


class _Rewriter(ast.NodeTransformer):
    """Functions and units that Brian2 lacks in terms of those it has; noise as a number drawn for the step."""

    def __init__(self, name: Name) -> None:
        self.name = name

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(argument) for argument in node.args]
        form = _FORMS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        return ast.parse(form.replace("X", ast.unparse(node.args[0])), mode="eval").body if form else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, ast.Div) and (value := literal(node)) is not None:
            return ast.Constant(value)  # C++ code divides whole numbers in single precision
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in ("pi", "inf", "t", "dt"):
            return node
        if is_unit_name(node.id):
            return _unit(node.id)
        if is_noise(node.id):
            return ast.parse(f"{draw(node.id)}/sqrt(dt)", mode="eval").body  # Euler-Maruyama
        return ast.Name(self.name(node.id))


def text(expression: Expression, name: Name = safe) -> str:
    """An expression on one line. name: variables in Brian2, by our names."""
    tree = ast.parse(f"({expression.text})", mode="eval")
    return ast.unparse(_Rewriter(name).visit(tree))


def split(expression: Expression, numbers: Collection[str]) -> tuple[Expression, Expression] | None:
    """A product's presynaptic factors and the rest; None where there are none worth a variable of their own.

    numbers: parameters of the projection that are one number, which may stand on either side.
    """
    factors = list(_factors(ast.parse(f"({expression.text})", mode="eval").body))
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


def statements(block: Iterable[Statement], name: Name = safe, target: Name | None = None) -> str:
    """Statements, one a line. target: what they assign, where it is not the variable they name."""
    return "\n".join(f"{(target or name)(s.target)} {s.op} {text(s.expression, name)}" for s in block)


def equation(item: Equation, flags: Iterable[str] = (), names: Name = safe) -> str:
    """One line of equations."""
    name = names(item.name)
    end = f" ({', '.join(flags)})" if flags else ""
    if item.expression is None:
        return f"{name} : {unit_text(item.dimension)}{end}"
    left = f"d{name}/dt" if item.kind == "differential" else name
    return f"{left} = {text(item.expression, names)} : {unit_text(item.dimension)}{end}"


def declaration(name: str, dimension: Dimension, flag: str = "") -> str:
    """A variable without equation; the name is Brian2's."""
    return f"{name} : {unit_text(dimension)}" + (f" ({flag})" if flag else "")


# -- variables that only this backend has; their double underscore keeps them apart from a model's ---------------------


def arriving(name: str) -> str:
    """What events add up for the next step's value of an input."""
    return f"{name}__next"


def part(name: str, source: str) -> str:
    """What a current input or projection adds to a variable."""
    return f"{name}__from__{source}"


def sent(projection: str) -> str:
    """Presynaptic factor of a projection's graded values."""
    return f"sent__{projection}"


def number(name: str, projection: str) -> str:
    """A projection's parameter that its presynaptic cells hold."""
    return f"{name}__of__{projection}"


def draw(noise: str) -> str:
    """The step's standard normal number."""
    return f"draw__{noise}"


def finite_steps(name: str) -> str:
    """Number of steps that a state stayed finite."""
    return f"{name}__finite"


def of_synapse(variables: Iterable[str]) -> Name:
    """Names in a synapse: Brian2 wants its own variables to differ from the cells'."""
    table = {n: f"{n}__synapse" for n in variables}
    return lambda name: table.get(name, safe(name))


def synapse_target(inputs: Iterable[str], name: Name) -> Name:
    """Synapses write to an input's arriving sum."""
    table = {f"{n}_post": f"{arriving(n)}_post" for n in inputs}
    return lambda n: table.get(n, name(n))
