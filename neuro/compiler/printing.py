"""Expressions of a Step as text that a person can read; golden files hold it for every library model."""

from __future__ import annotations

import sympy as sp
from sympy.printing.str import StrPrinter


class _Printer(StrPrinter):  # type: ignore[misc]
    def _print_Float(self, expr: sp.Float) -> str:  # noqa: N802
        return f"{float(expr):.12g}"


def expression_text(expr: sp.Expr) -> str:
    return str(_Printer({"order": "none"}).doprint(expr))
