"""sympy expressions as C."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import sympy as sp

from backends.common.code_printer import CodePrinter
from neuro.language.elementary import greater, greater_equal

_LIBRARY = (
    "exp",
    "log",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "asin",
    "acos",
    "atan",
    "expm1",
    "log1p",
    "pow",
)
_NAMES = {name: f"R({name})" for name in _LIBRARY} | {
    "magnitude": "R(fabs)", "floor_of": "R(floor)", "ceil_of": "R(ceil)", "remainder": "remainder_of",
    "floor_ratio": "floor_ratio",
    "exprel": "exprel", "sign_of": "sign_of", "greater": "greater", "greater_equal": "greater_equal", "minimum": "minimum",
    "maximum": "maximum", "sigmoid_of": "sigmoid_of", "exprel_slope": "exprel_slope", "power_by_base": "power_by_base",
    "power_by_exponent": "power_by_exponent", "straight_through": "straight_through", "chosen": "chosen",
    "poisson_of": "poisson_of",
}  # fmt: skip

_OWN_ROUNDING = re.compile(
    r"\bR\((?!sqrt|floor|ceil|fabs)\w+\)|\b(exprel|exprel_slope|sigmoid_of|power_by_\w+|poisson_of|propagator)\("
)


def calls_library(text: str) -> bool:
    """Whether C calls a function whose last bits depend on whether vectors are made of it."""
    return _OWN_ROUNDING.search(text) is not None


@cache
def prelude(dtype: str, tile: int, dt: float) -> str:
    """What every kernel's text begins with: functions of numbers and arrays, then how a run's units and threads work through its steps."""
    return definitions(dtype, tile, dt) + header("real.h", "prelude.h", "functions.h", "vectors.h", "run.h", "work.h")


def definitions(dtype: str, tile: int, dt: float) -> str:
    """What the files of C ask about a kernel."""
    return f"#define TILE {tile}\n#define DT {dt!r}\n" + ("#define REAL_IS_FLOAT\n" if dtype == "float32" else "")


@cache
def header(*names: str) -> str:
    """Files of C that kernels' texts begin with."""
    return "\n".join(files("backends.native").joinpath(name).read_text(encoding="utf-8") for name in names)


class _Printer(CodePrinter):
    def number(self, value: float) -> str:
        return "(real)INFINITY" if value == float("inf") else f"(real){value!r}"

    def call(self, function: str, arguments: Sequence[str]) -> str:
        if function == "propagator":
            row, column, size, *entries = arguments
            return f"propagator((int){row}, (int){column}, (int){size}, (const real[]){{{', '.join(entries)}}})"
        return f"{_NAMES[function]}({', '.join(arguments)})"


def c_code(expr: sp.Expr, names: Mapping[str, str]) -> str:
    """One C expression; names: symbol -> C."""
    return str(_Printer(names.__getitem__).doprint(expr))


def c_condition(expr: sp.Expr, names: Mapping[str, str]) -> str:
    """A condition, 1 or 0 as a number, as C's own comparison: compilers make vectors of it more readily."""
    if isinstance(expr, greater | greater_equal):
        a, b = (c_code(x, names) for x in expr.args)
        return f"({a} {'>' if isinstance(expr, greater) else '>='} {b})"
    if expr.is_Mul and all(a.has(greater, greater_equal) for a in expr.args):
        return f"({' & '.join(c_condition(a, names) for a in expr.args)})"
    if expr.is_Add and len(expr.args) == 2 and expr.args[0] == 1 and expr.args[1].could_extract_minus_sign():
        return f"(!{c_condition(-expr.args[1], names)})"
    return f"(({c_code(expr, names)}) > 0)"
