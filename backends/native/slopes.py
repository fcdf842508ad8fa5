"""Surrogate derivatives for the kernel: those of neuro.compiler.surrogates, with their default options."""

from __future__ import annotations

import sympy as sp

from neuro.compiler.surrogates import UnknownSurrogateError, derivative
from neuro.protocols import UnsupportedError


def slope_of(name: str) -> sp.Expr:
    """The derivative of that surrogate. Raises UnsupportedError."""
    try:
        return derivative(name)
    except UnknownSurrogateError as error:
        raise UnsupportedError("native", f"surrogate '{name}'", str(error)) from None
