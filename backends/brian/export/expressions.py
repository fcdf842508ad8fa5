"""Numbers, units and expressions as somebody would write them who uses Brian2."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.devices import DEFAULT_UNITS  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.functions import FUNCTIONS
from backends.brian.text import unit_text
from neuro.language.units import Dimension

_PREFIXES = ("m", "u", "n", "p", "k", "M", "G")
_SHORT = {"second": "s", "volt": "V", "amp": "A", "siemens": "S", "farad": "F", "hertz": "Hz"}  # after a prefix
_EXPANDED = ("exact", "exponential_euler")  # methods for which Brian2 has sympy multiply everything out


def dimension_of(dimensions: Any) -> Dimension:
    """Brian2's dimensions as ours; it has the same seven, in the same order."""
    return Dimension(tuple(Fraction(float(d)).limit_denominator(1000) for d in dimensions._dims))


def quantity_text(value: float, dimension: Dimension) -> str:
    """A number in the unit that makes it shortest, which is that number to the last bit."""
    unit = unit_text(dimension)
    if not np.isfinite(value):
        return f"{'-' if value < 0 else ''}inf*{unit}" if unit != "1" else f"{value}"
    if unit == "1":
        return number_text(value)
    found = [f"{number_text(value)}*{unit}"]
    for name, scale in _scaled(unit):
        count = float(f"{value / scale:.12g}")
        if count * scale == value and 0.01 <= abs(count) < 10000:
            found.append(f"{number_text(count)}*{name}")
    return min(found, key=len)


def _scaled(unit: str) -> Iterator[tuple[str, float]]:
    """The unit with each prefix, and what it is."""
    for name in (f"{prefix}{_SHORT.get(unit, unit)}" for prefix in _PREFIXES):
        if name in DEFAULT_UNITS:
            yield name, float(DEFAULT_UNITS[name])


def array_text(values: npt.NDArray[Any], dimension: Dimension) -> str:
    """A list of numbers in a unit in which all are exact."""
    unit, numbers = unit_text(dimension), [float(v) for v in values]
    for name, scale in _scaled(unit):
        counts = [float(f"{v / scale:.12g}") for v in numbers]
        if all(c * scale == v and len(repr(c)) <= len(repr(v)) for c, v in zip(counts, numbers, strict=True)):
            return f"[{', '.join(map(number_text, counts))}]*{name}"
    listed = f"[{', '.join(map(number_text, numbers))}]"
    return listed if unit == "1" else f"{listed}*{unit}"


def number_text(value: float) -> str:
    """A number that Python reads back to the last bit."""
    whole = float(value).is_integer() and abs(value) < 1e6 and (value != 0 or not np.signbit(value))
    return str(int(value)) if whole else repr(float(value))


class Plain(ast.NodeTransformer):
    """The builder's forms as Brian2's own functions, where numpy computes the same by them.

    method: of the equations that an expression stands in; "" for statements and conditions, which sympy doesn't see.
    """

    def __init__(self, method: str = "") -> None:
        self.method = method

    def visit_Call(self, node: ast.Call) -> Any:
        arguments = [self.visit(a) for a in node.args]
        match node.func, node.args:
            case ast.Name(id="minimum_of"), [ast.Call(func=ast.Name(id="maximum_of")), _] if (
                self.method not in _EXPANDED
            ):
                inner, high = arguments
                return ast.Call(ast.Name("clip"), [*inner.args, high], [])
            case ast.Name(id="exponential_of"), _ if self.method not in _EXPANDED:
                return ast.Call(ast.Name("exp"), arguments, [])
            case (ast.Name(id="magnitude_of" | "sign_of" as name), _) if not self.method:
                return ast.Call(ast.Name({"magnitude_of": "abs", "sign_of": "sign"}[name]), arguments, [])
        return ast.Call(node.func, arguments, [])


def plain(text: str, method: str = "") -> str:
    """An expression, or statements."""
    tree = Plain(method).visit(ast.parse(text))
    return "\n".join(re.sub(r" ([*/]) ", r"\1", _line(statement)) for statement in tree.body)


def _line(statement: ast.stmt) -> str:
    """One statement. Where Brian2 checks units of `x *= ...`, it writes the operator before the bare text."""
    match statement:
        case ast.AugAssign(target=target, op=ast.Mult() | ast.Div() as op, value=ast.BinOp() | ast.UnaryOp() as value):
            sign = "*" if isinstance(op, ast.Mult) else "/"
            return f"{ast.unparse(target)} {sign}= ({ast.unparse(value)})"
    return ast.unparse(statement)


def functions_in(texts: Iterable[str]) -> list[str]:
    """The functions of ours that these texts call."""
    called = {
        node.func.id
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return [name for name in FUNCTIONS if name in called]
