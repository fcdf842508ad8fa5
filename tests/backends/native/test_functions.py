"""Every function and operator of the language in C: value and derivative against numpy's, at random points, at kinks, far out."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
import scipy.special

import backends
from backends.native.build import load
from backends.native.printer import prelude
from neuro import Network, Neuron, Population, quantity
from neuro.language.symbolic import _FUNCTIONS

Array = npt.NDArray[Any]
One = Callable[[Array, Array], Any]


def _exprel_slope(x: Array, z: Array) -> Array:
    near = np.abs(x) < 0.3
    safe = np.where(near, 1.0, x)
    series = sum(x**n / ((n + 2) * scipy.special.factorial(n)) for n in range(14))
    return np.where(near, series, (np.exp(safe) - scipy.special.exprel(safe)) / safe)  # type: ignore[no-any-return]


def _logistic(x: Array, z: Array) -> Array:
    return scipy.special.expit(x)  # type: ignore[no-any-return]


def _bell(x: Array, z: Array) -> Array:
    return _logistic(x, z) * _logistic(-x, z)


# text in x and z: value, derivative by x, derivative by z
TABLE: dict[str, tuple[One, One, One | None]] = {
    "exp(x)": (lambda x, z: np.exp(x), lambda x, z: np.exp(x), None),
    "log(x)": (lambda x, z: np.log(x), lambda x, z: 1 / x, None),
    "log10(x)": (lambda x, z: np.log10(x), lambda x, z: 1 / (x * np.log(10)), None),
    "log1p(x)": (lambda x, z: np.log1p(x), lambda x, z: 1 / (1 + x), None),
    "expm1(x)": (lambda x, z: np.expm1(x), lambda x, z: np.exp(x), None),
    "exprel(x)": (lambda x, z: scipy.special.exprel(x), _exprel_slope, None),
    "sqrt(x)": (lambda x, z: np.sqrt(x), lambda x, z: 0.5 / np.sqrt(x), None),
    "sin(x)": (lambda x, z: np.sin(x), lambda x, z: np.cos(x), None),
    "cos(x)": (lambda x, z: np.cos(x), lambda x, z: -np.sin(x), None),
    "tan(x)": (lambda x, z: np.tan(x), lambda x, z: 1 + np.tan(x) ** 2, None),
    "sinh(x)": (lambda x, z: np.sinh(x), lambda x, z: np.cosh(x), None),
    "cosh(x)": (lambda x, z: np.cosh(x), lambda x, z: np.sinh(x), None),
    "tanh(x)": (lambda x, z: np.tanh(x), lambda x, z: 1 - np.tanh(x) ** 2, None),
    "arcsin(x)": (lambda x, z: np.arcsin(x), lambda x, z: 1 / np.sqrt(1 - x**2), None),
    "arccos(x)": (lambda x, z: np.arccos(x), lambda x, z: -1 / np.sqrt(1 - x**2), None),
    "arctan(x)": (lambda x, z: np.arctan(x), lambda x, z: 1 / (1 + x**2), None),
    "sigmoid(x)": (_logistic, _bell, None),
    "abs(x)": (lambda x, z: np.abs(x), lambda x, z: np.sign(x), None),
    "sign(x)": (lambda x, z: np.sign(x), lambda x, z: 0 * x, None),
    "floor(x)": (lambda x, z: np.floor(x), lambda x, z: 0 * x, None),
    "ceil(x)": (lambda x, z: np.ceil(x), lambda x, z: 0 * x, None),
    "relu(x)": (lambda x, z: np.maximum(x, 0), lambda x, z: 1.0 * (x > 0), None),
    "clip(x, -0.5, z)": (
        lambda x, z: np.minimum(np.maximum(x, -0.5), z),
        lambda x, z: 1.0 * ((x >= -0.5) & (x <= z)),
        lambda x, z: 1.0 * (np.maximum(x, -0.5) > z),
    ),
    "clip(x, -inf, z)": (np.minimum, lambda x, z: 1.0 * (x <= z), lambda x, z: 1.0 * (x > z)),
    "int(x > z)": (lambda x, z: 1.0 * (x > z), lambda x, z: 0 * x, lambda x, z: 0 * x),
    "int(x >= z and not z > 1)": (lambda x, z: 1.0 * ((x >= z) & ~(z > 1)), lambda x, z: 0 * x, lambda x, z: 0 * x),
    "int(x < z or x >= 2)": (lambda x, z: 1.0 * ((x < z) | (x >= 2)), lambda x, z: 0 * x, lambda x, z: 0 * x),
    "int(x == z)*(1 - int(x != 2))": (lambda x, z: 1.0 * ((x == z) & (x == 2)), lambda x, z: 0 * x, lambda x, z: 0 * x),
    "int(x)": (lambda x, z: np.trunc(x), lambda x, z: 0 * x, None),
    "x // z": (lambda x, z: np.floor(x / z), lambda x, z: 0 * x, lambda x, z: 0 * x),
    "timestep(x*second, 0.25*second)": (lambda x, z: np.trunc((x + 2.5e-4) / 0.25), lambda x, z: 0 * x, None),
    "x % z": (np.mod, lambda x, z: 0 * x + 1, lambda x, z: -np.floor(x / z)),
    "x/z": (lambda x, z: x / z, lambda x, z: 1 / z, lambda x, z: -x / z / z),
    "x*z - z": (lambda x, z: x * z - z, lambda x, z: z, lambda x, z: x - 1),
    "abs(x)**z": (
        lambda x, z: np.abs(x) ** z,
        lambda x, z: np.where(z == 0, 0, np.sign(x) * z * np.abs(x) ** (z - 1)),
        lambda x, z: np.where(x == 0, 0, np.abs(x) ** z * np.log(np.where(x == 0, 1, np.abs(x)))),
    ),
    "straight_through(sign(x), clip(x, -1, z))": (
        lambda x, z: np.sign(x),
        lambda x, z: 1.0 * ((x >= -1) & (x <= z)),
        lambda x, z: 1.0 * (np.maximum(x, -1) > z),
    ),
    "straight_through(x*z, x)*z": (lambda x, z: x * z * z, lambda x, z: z, lambda x, z: x * z),
    "x**3": (lambda x, z: x**3, lambda x, z: 3 * x**2, None),
    "x**-2": (lambda x, z: x**-2.0, lambda x, z: -2 * x**-3.0, None),
    "abs(x)**1.5": (lambda x, z: np.abs(x) ** 1.5, lambda x, z: 1.5 * np.sign(x) * np.abs(x) ** 0.5, None),
    "(x**2)**0.5": (lambda x, z: np.abs(x), lambda x, z: np.sign(x), None),
    "1/(1 + exp(-x))**2": (lambda x, z: _logistic(x, z) ** 2, lambda x, z: 2 * _logistic(x, z) * _bell(x, z), None),
}
KINKS = np.array([0.0, -0.5, 0.5, 1.0, 2.0, -1.0])
FAR = np.array([30.0, -30.0, 95.0, -95.0, 720.0, -720.0, 3e4, -3e4])


@cache
def points() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 60), rng.normal(0, 1e-3, 20), KINKS, FAR])
    z = np.concatenate([rng.normal(0, 1, 60), rng.normal(0, 1, 20), KINKS[::-1], np.full(len(FAR), 0.75)])
    z[60:66], x[60:66] = x[:6], x[:6]  # ties
    return x.astype(np.float32).astype(np.float64), z.astype(np.float32).astype(np.float64)


@cache
def results(dtype: str) -> dict[str, tuple[Array, Array, Array]]:
    """Value and both derivatives of every text, from one kernel."""
    x, z = points()
    shifted = [re.sub(r"\b[xz]\b", r"(\g<0> + u)", text) for text in TABLE]
    lines = "\n".join(f"y{n} = {text} : 1" for n, text in enumerate(shifted))
    cells = Neuron("n", f"du/dt = -u/(10*ms) : 1\n{lines}", parameters={"x": 1.0, "z": 1.0}, method="euler")
    given = {"x": quantity(x, "1"), "z": quantity(z, "1")}
    network = Network((Population("p", cells, len(x), parameters=given),), dt="1 ms")
    program: Any = backends.get("native").compile(network, dtype=dtype)
    record = [f"p.y{n}" for n in range(len(shifted))]
    values = program.run(steps=1, batch=1, record=record).traces
    found = {}
    for text, name in zip(TABLE, record, strict=True):
        _, slopes = program.value_and_grad(
            lambda f, n=name: f.traces[n].sum(), {}, {}, ("p.x", "p.z"), record, steps=1, batch=1
        )
        found[text] = values[name][0, 0], slopes["p.x"], slopes["p.z"]
    return found


def test_the_table_is_complete() -> None:
    elsewhere = {"poisson"}  # stands in statements alone: tests/language/test_poisson.py
    assert {f for f in _FUNCTIONS if not any(f"{f}(" in text for text in TABLE)} == elsewhere


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("text", TABLE)
def test_value_and_derivative(text: str, dtype: str) -> None:
    x, z = points()
    value, by_x, by_z = TABLE[text]
    real: Any = np.dtype(dtype).type
    with np.errstate(all="ignore"):
        wanted = [np.asarray(f(x, z), np.float64) if f else np.zeros_like(x) for f in (value, by_x, by_z)]
        wanted = [w.astype(real).astype(np.float64) for w in wanted]
    known = ~np.isnan(wanted[0])
    bound = 1e-12 if dtype == "float64" else 3e-5
    for what, got, right in zip(("value", "by x", "by z"), results(dtype)[text], wanted, strict=True):
        some = known & ~np.isnan(right)
        if what == "value":
            np.testing.assert_array_equal(np.isnan(got), ~known, err_msg=text)
        np.testing.assert_allclose(
            np.float64(got)[some],
            right[some],
            rtol=bound,
            atol=bound if dtype == "float32" else 1e-14,
            err_msg=f"{text} {what}",
        )
        assert some.sum() > 30


def test_the_remainder_is_numpys() -> None:
    """Signs of b, whole multiples, zeros, infinities."""
    text = prelude("float64", 1, 1e-3) + "double rest(double a, double b) { return remainder_of(a, b); }\n"
    function = load(text, "x", "float64").rest
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * 2
    numbers = [0.0, -0.0, 1.0, -1.0, 0.1, 0.3, -0.7, 5.0, 1e300, -1e-300, np.inf, -np.inf, np.nan]
    for a in numbers:
        for b in numbers:
            with np.errstate(all="ignore"):
                right, found = np.mod(a, b), function(a, b)
            assert (np.isnan(right) and np.isnan(found)) or (
                right == found and np.signbit(right) == np.signbit(found)
            ), (a, b)


@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_nan_passes_through(name: str) -> None:
    text = prelude("float64", 1, 1e-3) + f"double of(double a, double b) {{ return {name}(a, b); }}\n"
    function = load(text, "x", "float64").of
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * 2
    for a in (1.0, np.nan, np.inf, -np.inf):
        for b in (2.0, np.nan, np.inf, -np.inf):
            np.testing.assert_equal(function(a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_the_propagator_is_the_exponential(size: int) -> None:
    """Small and large norms, stiff and decaying ones, loops; each entry to 1e-12 of the largest."""
    text = (
        prelude("float64", 1, 1e-3)
        + "double of(int i, int j, int n, const double *m) { return propagator(i, j, n, m); }\n"
    )
    function = load(text, "x", "float64").of
    function.restype = ctypes.c_double
    rng = np.random.default_rng(size)
    for norm in (0.0, 1e-9, 1e-3, 0.5, 3.0, 40.0):
        for stiff in (0.0, norm):
            matrix = np.ascontiguousarray(
                norm * rng.normal(0, 1, (size, size)) / size - stiff * np.diag(10.0 ** rng.uniform(-3, 1, size))
            )
            right = scipy.linalg.expm(matrix)
            at = matrix.ctypes.data_as(ctypes.c_void_p)
            found = [[function(i, j, size, at) for j in range(size)] for i in range(size)]
            np.testing.assert_allclose(found, right, rtol=0, atol=1e-12 * np.abs(right).max())
    broken = np.full((size, size), np.nan)
    assert np.isnan(function(0, 0, size, broken.ctypes.data_as(ctypes.c_void_p)))
