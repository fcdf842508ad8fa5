"""Printed text means what the expression means, whatever stands inside what."""

from __future__ import annotations

import math
from collections.abc import Sequence

import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.common.code_printer import CodePrinter

VALUES = {"x": 0.7, "y": 1.3, "z": 2.9}
NUMBERS = (sp.Integer(2), sp.Integer(-3), sp.Rational(1, 3), sp.Float(-0.7), sp.pi)
LEAVES = st.sampled_from([*(sp.Symbol(n, real=True) for n in VALUES), *NUMBERS])
EXPONENTS = st.sampled_from([sp.Integer(n) for n in (-3, -2, -1, 2, 3, 5)] + [sp.Rational(1, 2), sp.Rational(-3, 2)])


class Python(CodePrinter):
    def number(self, value: float) -> str:
        return repr(value)

    def call(self, function: str, arguments: Sequence[str]) -> str:
        return f"{function}({', '.join(arguments)})"


def _joined(inner: st.SearchStrategy[sp.Expr]) -> st.SearchStrategy[sp.Expr]:
    """Sums, products, powers, quotients, unevaluated as well, as printers of hoisted parts meet them."""
    evaluate = st.booleans()
    pairs = st.tuples(inner, inner)
    return st.one_of(
        st.builds(lambda ab, e: sp.Add(*ab, evaluate=e), pairs, evaluate),
        st.builds(lambda ab, e: sp.Mul(*ab, evaluate=e), pairs, evaluate),
        st.builds(lambda a, p, e: sp.Pow(sp.exp(a / 50), p, evaluate=e), inner, EXPONENTS, evaluate),
        st.builds(lambda a, e: sp.Pow(sp.Add(2, a**2, evaluate=e), -1, evaluate=e), inner, evaluate),
        st.builds(lambda a: sp.Mul(-1, a, evaluate=False), inner),
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.recursive(LEAVES, _joined, max_leaves=12))
def test_text_has_the_value_of_its_expression(expr: sp.Expr) -> None:
    table = {sp.Symbol(n, real=True): v for n, v in VALUES.items()}
    names = {"exp": math.exp, "sqrt": math.sqrt, "pow": math.pow, **VALUES}
    text = Python(lambda name: name).doprint(expr)
    wanted = float(expr.subs(table).doit().evalf())
    try:
        found = eval(text, names)
    except OverflowError:
        return
    assert math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9 * max(1.0, abs(wanted))), text
