"""Functions whose own forms in Brian2's targets differ in range, type or at ties: its numpy rounds to 32-bit integers, its C++
divides integers in single precision and cuts bounds to the type of the first argument, C++ and Cython take remainders of rounded
quotients. These give what numpy gives, as floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import sympy as sp

from backends.brian.devices import DEFAULT_FUNCTIONS, brian2, settings  # pyright: ignore[reportAttributeAccessIssue]
from neuro.language.counts import poisson

_REMAINDER_CPP = """
static inline double _remainder_of(double a, double b)
{
    const double r = fmod(a, b);
    return r != 0.0 && (r < 0.0) != (b < 0.0) ? r + b : r;
}
"""
_REMAINDER_CYTHON = """
cdef inline double _remainder_of(double a, double b):
    cdef double r = fmod(a, b)
    return r + b if r != 0.0 and (r < 0.0) != (b < 0.0) else r
"""

_POISSON_CPP = """
static inline double _poisson_of(double m, double u)
{
    double left = m, p = 1, s = 1, k = 0, scale = exp(-m);
    if (!(m > 0)) return m != m ? m : 0;
    if (m > 1e6) return INFINITY;
    while (u >= s * scale && !(k > m && p < s * 1e-17)) {
        k += 1; p *= m / k; s += p;
        if (p > 1e200 && left > 0) {
            const double shift = left < 400 ? left : 400;
            p *= exp(-shift); s *= exp(-shift); left -= shift; scale = exp(-left);
        }
    }
    return k;
}
"""
_POISSON_CYTHON = """
cdef inline double _poisson_of(double m, double u):
    cdef double left = m, p = 1, s = 1, k = 0, scale = exp(-m), shift
    if not m > 0:
        return m if m != m else 0
    if m > 1e6:
        return 1e300*1e300
    while u >= s * scale and not (k > m and p < s * 1e-17):
        k += 1
        p *= m / k
        s += p
        if p > 1e200 and left > 0:
            shift = left if left < 400 else 400
            p *= exp(-shift)
            s *= exp(-shift)
            left -= shift
            scale = exp(-left)
    return k
"""


def _code(name: str, arguments: str, cpp: str, cython: str) -> tuple[str, str]:
    """A function of one expression in C++ and Cython."""
    return (
        f"\nstatic inline double {name}({arguments})\n{{\n    return {cpp};\n}}\n",
        f"\ncdef inline double {name}({arguments}):\n    return {cython}\n",
    )


def _extremum(name: str, sign: str) -> tuple[str, str]:
    """NaN passes."""
    cpp, cython = f"a {sign} b || a != a ? a : b", f"a if a {sign} b or a != a else b"
    return _code(name, "double a, double b", cpp, cython)


class _Real(sp.Function):  # type: ignore[misc]
    """What sympy must know, or it takes real and imaginary parts of what may be complex. It asks for slopes to see what is constant: that of a condition too."""

    is_real = True

    def _eval_derivative(self, s: Any) -> Any:
        return sp.Derivative(self, s, evaluate=False)


def _function(
    name: str, numpy: Callable[..., Any], arguments: int, cpp: str | None = None, cython: str | None = None, *,
    word: str = "", plain: bool = False,
) -> brian2.Function:  # fmt: skip
    """A function of our own; units of arguments have been checked by us.

    word: its name in C++ and Cython. plain: the value has no unit; otherwise the first argument's.
    """
    unit = 1 if plain else lambda *units: units[0]
    made = brian2.Function(numpy, sympy_func=type(name, (_Real,), {}), arg_units=[None] * arguments, return_unit=unit)
    made.implementations.add_implementation("numpy", code=numpy)
    made.implementations.add_implementation("cpp", code=cpp, name=word or f"_{name}")
    made.implementations.add_implementation("cython", code=cython, name=word or f"_{name}")
    return made


FUNCTIONS: Mapping[str, brian2.Function] = {
    "floor_of": _function("floor_of", np.floor, 1, word="floor"),
    "ceil_of": _function("ceil_of", np.ceil, 1, word="ceil"),
    "exponential_of": _function("exponential_of", np.exp, 1, word="exp", plain=True),  # sympy's is expanded: of a sum it is a product, which overflows
    "magnitude_of": _function("magnitude_of", np.abs, 1, word="fabs"),  # sympy's splits what it doesn't know to be real
    "sign_of": _function(
        "sign_of", np.sign, 1,
        *_code("_sign_of", "double a", "(a > 0.0) - (a < 0.0)", "<double>(a > 0.0) - <double>(a < 0.0)"),
        plain=True,
    ),
    "truth_of": _function(
        "truth_of", lambda c: np.asarray(c, np.float64), 1, *_code("_truth_of", "bool c", "c ? 1.0 : 0.0", "1.0 if c else 0.0"),
        plain=True,
    ),
    "truncated_of": _function(
        "truncated_of", np.trunc, 1, *_code("_truncated_of", "double a", "trunc(a)", "floor(a) if a >= 0.0 else ceil(a)")
    ),
    "floor_ratio_of": _function(
        "floor_ratio_of", lambda a, b: np.floor(np.true_divide(a, b)), 2,
        *_code("_floor_ratio_of", "double a, double b", "floor(a / b)", "floor(a / b) if b != 0.0 else a*(1e308*10)"), plain=True,
    ),
    "remainder_of": _function("remainder_of", np.mod, 2, _REMAINDER_CPP, _REMAINDER_CYTHON),
    "poisson_of": _function("poisson_of", poisson, 2, _POISSON_CPP, _POISSON_CYTHON, plain=True),
    "minimum_of": _function("minimum_of", np.minimum, 2, *_extremum("_minimum_of", "<")),
    "maximum_of": _function("maximum_of", np.maximum, 2, *_extremum("_maximum_of", ">")),
}  # fmt: skip


@contextmanager
def session(target: str) -> Iterator[None]:
    """Brian2 with our settings, and with these functions among its own."""
    DEFAULT_FUNCTIONS.update(FUNCTIONS)
    try:
        with settings(target):
            yield
    finally:
        for name in FUNCTIONS:
            del DEFAULT_FUNCTIONS[name]
