"""Every function and operator of the language on torch: value and slope, at random points, at kinks, and far out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch

from backends.common.torch_elementary import jump
from backends.common.torch_printer import code
from backends.pytorch.constants import Constants
from backends.pytorch.functions import FUNCTIONS
from neuro.compiler.evaluation import evaluate
from neuro.language.elementary import propagator
from neuro.language.equations import FUNCTIONS as LANGUAGE
from neuro.language.equations import parse_expression
from neuro.language.symbolic import symbol, to_sympy

KINKS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, 0.02, -0.02, 1e-6, -1e-9]
FAR = [30.0, -30.0, 100.0, -100.0, 709.0, 710.5, -745.0, 800.0, -800.0, 1e5, -1e5, 1e300, -1e300]
POINTS = np.concatenate([np.random.default_rng(0).normal(0, 2, 200), KINKS, FAR])
CALLS = [f"{name}(x)" for name in sorted(LANGUAGE - {"clip", "straight_through", "timestep"})]
TEXTS = [
    *CALLS, "clip(x, -0.5, 1)", "clip(x, y, 2)", "clip(1, x, y)", "clip(x, x, x)", "int(x > y)", "int(x >= y and x < 2)",
    "int(not (x >= 1) or y < x)", "int(x == y) + int(x != 2)", "x // 3", "x // y", "timestep(x, 0.5)", "x % y", "x % 3", "2.5 % x", "x**2", "x**3", "x**5", "x**-1", "x**-2", "x**0.5", "x**-0.5",
    "x**1.7", "x**y", "2**x", "x*y", "x/y", "(x - y)/(1 + x**2)", "1/(1 + exp(-x))", "1/(1 + 0.25*exp(-x/2))**2", "y/(2 + 3*exp(x))",
    "1/(1 + y*exp(x))", "x*exp(x)", "exp(x)*y/x", "(x**2)**0.5", "-x**2", "2 - (x - (y - 3))", "x/y/(x*y)", "x/(y/x)", "relu(x)*y",
    "abs(x - y)", "sign(x)*x", "floor(x)*ceil(y)", "exp(-abs(x))", "log(1 + x**2)", "sqrt(1 + x**2)", "cosh(x)*sinh(y)",
    "straight_through(sign(x), clip(x, -1, 1))", "straight_through(x, y)*y", "straight_through(1, x)", "straight_through(exp(x), 2)*x",
]  # fmt: skip


def _torch(text: str, **names: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(eval(text, dict(FUNCTIONS), names), dtype=torch.float64)


def _expected(expr: sp.Expr, **names: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with np.errstate(all="ignore"):
        return np.broadcast_to(evaluate(expr, names.__getitem__), names["x"].shape)


def _agree(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], what: str) -> None:
    finite = np.isfinite(wanted)
    assert finite.sum() > 40, what
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=2e-10, atol=1e-12, err_msg=what)


@pytest.mark.parametrize("text", TEXTS)
def test_value_and_slope(text: str) -> None:
    """Wherever the interpreter's value and sympy's slope are numbers, torch has the same; no slope of a number is NaN."""
    expr = to_sympy(parse_expression(text, "test"))
    x, y = (a.ravel() for a in np.meshgrid(POINTS, [0.7, -1.3, 2.0, 0.0, 1.0, -1.0]))
    value = _expected(expr, x=x, y=y)
    for source in (
        code(expr),
        Constants(lambda name: False).source(expr),
        Constants(lambda name: name == "y").source(expr),
    ):
        if "c__" in source:
            continue  # holds constants, which test_names runs
        given = {n: torch.tensor(a, requires_grad=True) for n, a in (("x", x), ("y", y))}
        found = _torch(source, **given).expand(x.shape)
        _agree(found.detach().numpy(), value, f"{text}: {source}")
        np.testing.assert_array_equal(np.isnan(found.detach().numpy()), np.isnan(value), err_msg=source)
        if not found.requires_grad:
            continue
        slopes = torch.autograd.grad(found.sum(), list(given.values()), allow_unused=True)
        for (name, _), slope in zip(given.items(), slopes, strict=True):
            wanted = _expected(sp.diff(expr, symbol(name)), x=x, y=y)
            usual = np.isfinite(value) & (np.abs(x) < 700)  # beyond, sympy's own form is inf/inf
            got = np.zeros(x.shape) if slope is None else slope.numpy()
            _agree(got, np.where(usual, wanted, np.nan), f"d/d{name} {text}: {source}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", TEXTS)
def test_nothing_times_a_slope_is_nothing(text: str, dtype: torch.dtype) -> None:
    """A gradient of 0 stays 0, where values and slopes are infinite as well."""
    expr = to_sympy(parse_expression(text, "test"))
    points = POINTS[np.abs(POINTS) < (1e7 if dtype == torch.float32 else 1e60)]  # no power of these overflows
    x, y = (torch.tensor(a.ravel(), dtype=dtype) for a in np.meshgrid(points, [0.7, -1.3, 2.0, 0.0]))
    given = [x.requires_grad_(), y.requires_grad_()]
    found = torch.as_tensor(eval(code(expr), dict(FUNCTIONS), {"x": x, "y": y}))
    if found.requires_grad:
        for slope in torch.autograd.grad((found * 0.0).nansum() * 0.0, given, allow_unused=True):
            assert slope is None or not slope.any(), text


SATURATING = [
    "1/(1 + exp(-x))", "1/(1 + y*exp(x))", "1/(1 + (y/x)**2)", "1/(1 + exp(x))**2", "1/(1 + exp(x) + exp(2*x))", "tanh(exp(x))",
    "clip(exp(x), 0, 1)", "clip(1/x, -1, 1)", "clip(log(abs(x)), -1, 1)", "clip(sqrt(abs(x)) + 2, 0, 1)", "arctan(y*sinh(x))",
    "1/(1 + cosh(x))", "1/(1 + exprel(x))", "clip(expm1(x), -0.5, 1)", "exp(-exp(x))", "1/(1 + abs(x)**y)", "y/exprel(x)",
    "exp(-y*exp(x)) + x", "1/(1 + exp(x))**3 - 2*x", "clip(x*exp(x), 0, 1)*y",
    "sqrt(abs(tanh(x))*(1 - abs(tanh(x))))", "sqrt(relu(x))", "sqrt(relu(x) + abs(x))", "relu(x)**0.5", "sqrt(x*int(x > 1))",
    "sqrt(1 - tanh(x*x)**2)", "sqrt(sigmoid(9*x)*(1 - sigmoid(9*x)))", "relu(x)**y", "1/(1 + 1/relu(x))",
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", SATURATING)
def test_no_gradient_of_a_finite_value_is_nan(text: str, dtype: torch.dtype) -> None:
    expr = to_sympy(parse_expression(text, "test"))
    far = 90.0 if dtype == torch.float32 else 720.0
    points = np.concatenate([POINTS[np.abs(POINTS) < 1e6], np.linspace(-far, far, 41)])
    x, y = (torch.tensor(a.ravel(), dtype=dtype) for a in np.meshgrid(points, [0.7, 2.0]))
    given = [x.requires_grad_(), y.requires_grad_()]
    for source in (code(expr), Constants(lambda name: False).source(expr)):
        found = eval(source, dict(FUNCTIONS), {"x": x, "y": y})
        assert bool(torch.isfinite(found).all()), "the test wants finite values"
        for slope in torch.autograd.grad(found.sum(), given, allow_unused=True):
            assert slope is None or bool(torch.isfinite(slope).all()), source


def test_ties_and_nans() -> None:
    """At a tie the first argument takes the whole slope; a NaN in either comes through."""
    for text, wanted in (("minimum(x, y)", (1.0, 0.0)), ("maximum(x, y)", (1.0, 0.0)), ("minimum(y, x)", (0.0, 1.0))):
        x, y = (torch.tensor(2.0, requires_grad=True) for _ in range(2))
        assert (
            tuple(float(g) for g in torch.autograd.grad(eval(text, dict(FUNCTIONS), {"x": x, "y": y}), [x, y]))
            == wanted
        )
    for text, at, wanted_slope in (
        ("relu(x)", 0.0, 0.0), ("clip(x, 0, 1)", 0.0, 1.0), ("clip(x, 0, 1)", 1.0, 1.0), ("clip(1, x, 2)", 1.0, 0.0),
        ("clip(1, 0, x)", 1.0, 0.0), ("abs(x)", 0.0, 0.0), ("x % 2", 2.0, 1.0),
    ):  # fmt: skip
        x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        found = eval(code(to_sympy(parse_expression(text, "test"))), dict(FUNCTIONS), {"x": x})
        assert float(torch.autograd.grad(found, x)[0]) == wanted_slope, text
    x = torch.tensor(math.nan, dtype=torch.float64)
    for text in ("relu(x)", "clip(x, 0, 1)", "clip(1, x, 2)", "clip(0.5, 0, x)", "clip(y, x, 1)", "clip(x, y, z)"):
        found = _torch(code(to_sympy(parse_expression(text, "test"))), x=x, y=torch.tensor(0.5), z=torch.tensor(0.7))
        assert math.isnan(found), text


def test_propagator() -> None:
    """Value and slopes of an entry of a matrix exponential are those of the interpreter, rates equal, close and apart."""
    rng = np.random.default_rng(0)
    names = [f"a{i}" for i in range(9)]
    expr = propagator(0, 2, 3, *map(symbol, names))
    columns = rng.normal(0, 1, (9, 20))
    columns[[0, 4, 8], :5] = -1.0
    columns[[3, 6, 7], :10] = 0.0
    given = dict(zip(names, columns, strict=True))
    tensors = {n: torch.tensor(a, requires_grad=True) for n, a in given.items()}
    found = eval(code(expr), dict(FUNCTIONS), dict(tensors))
    np.testing.assert_allclose(found.detach().numpy(), evaluate(expr, given.__getitem__), rtol=1e-12)
    slopes = torch.autograd.grad(found.sum(), [tensors[n] for n in names])
    for name, slope in zip(names, slopes, strict=True):
        wanted = evaluate(sp.diff(expr, symbol(name)), given.__getitem__)
        np.testing.assert_allclose(slope.numpy(), np.broadcast_to(wanted, 20), rtol=1e-9, atol=1e-12)


def test_a_jump_takes_what_the_gate_chooses() -> None:
    """What isn't chosen may be infinite, forward and backward."""
    gate = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    value = torch.tensor([math.inf, 2.0, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    before = torch.tensor([1.0, math.inf, 5.0, 6.0], dtype=torch.float64, requires_grad=True)
    found = jump(gate, value, before)
    assert found.tolist() == [1.0, 2.0, 5.0, 4.0]
    weights = torch.tensor([0.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    slopes = torch.autograd.grad((found * weights).sum(), [gate, value, before])
    assert [s.tolist() for s in slopes] == [[0, 0, -2, -4], [0, 0, 0, 2], [0, 0, 1, 0]]
