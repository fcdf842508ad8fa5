"""Symbolic derivatives by the chain rule: sympy's where all is finite, and 0 where what is moved isn't."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from neuro.compiler.evaluation import evaluate
from neuro.language.equations import parse_expression
from neuro.language.symbolic import derivative, symbol, to_sympy

SMOOTH = (
    "exp(-x**2)*sin(y)/(1 + y**2)", "tanh(x*y)**3 - sqrt(1 + x**2)", "sigmoid(x/y)*log(2 + x**2)", "x**y + y**x",
    "arctan(x - exprel(x*y))", "clip(x*y, -1, 1) + abs(x - y)", "log1p(x)*expm1(y) + cosh(x)/sinh(y)", "(x % 3)*floor(y)",
)  # fmt: skip


@pytest.mark.parametrize("text", SMOOTH)
@pytest.mark.parametrize("by", ["x", "y"])
def test_it_is_the_derivative(text: str, by: str) -> None:
    expr = to_sympy(parse_expression(text, "a test"))
    random = np.random.default_rng(3)
    point = {"x": random.uniform(0.2, 1.2, 50), "y": random.uniform(0.3, 1.4, 50)}
    ours, theirs = (evaluate(e, point.get) for e in (derivative(expr, symbol(by)), sp.diff(expr, symbol(by))))  # type: ignore[arg-type]
    assert np.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "text", ["sqrt(abs(x))", "abs(x)**0.5", "sqrt(x**2)", "log(1 + sqrt(abs(x)))", "sqrt(clip(x, 1, 2) - 1)"]
)
def test_what_does_not_move_has_no_derivative_where_the_outer_slope_is_infinite(text: str) -> None:
    expr = to_sympy(parse_expression(text, "a test"))
    with np.errstate(divide="ignore", invalid="ignore"):
        assert evaluate(derivative(expr, symbol("x")), {"x": np.array([0.0])}.get) == 0.0  # type: ignore[arg-type]


def test_a_slope_that_is_infinite_stays_so() -> None:
    expr = to_sympy(parse_expression("sqrt(2*x)", "a test"))
    with np.errstate(divide="ignore"):
        assert evaluate(derivative(expr, symbol("x")), {"x": np.array([0.0])}.get) == np.inf  # type: ignore[arg-type]


def test_a_text_is_read_once() -> None:
    """Levels, fuzzer and rules ask for the same formulas again and again."""
    texts = [parse_expression("tanh(x*y) + 0.1234567", "a test") for _ in range(2)]
    to_sympy(texts[0])
    before = to_sympy.cache_info()
    assert to_sympy(texts[1]) == to_sympy(texts[0])
    assert to_sympy.cache_info().misses == before.misses
