"""Functions whose own forms in Brian2's targets differ in range, type or at ties: its numpy rounds to 32-bit integers, its C++
divides integers in single precision and cuts bounds to the type of the first argument, C++ and Cython take remainders of rounded
quotients. These give what numpy gives, as floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backends.brian_devices import brian2  # pyright: ignore[reportAttributeAccessIssue]

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


def _function(
    numpy: Callable[..., Any], arguments: int, name: str, cpp: str | None = None, cython: str | None = None
) -> brian2.Function:
    """A function whose value has its first argument's unit. Units have been checked by us."""
    made = brian2.Function(numpy, arg_units=[None] * arguments, return_unit=lambda *units: units[0])
    for target, code in (("numpy", numpy), ("cpp", cpp), ("cython", cython)):
        made.implementations.add_implementation(target, code=code, name=None if target == "numpy" else name)
    return made


FUNCTIONS: Mapping[str, brian2.Function] = {
    "floor_of": _function(np.floor, 1, "floor"),
    "ceil_of": _function(np.ceil, 1, "ceil"),
    "sign_of": _function(
        np.sign,
        1,
        "_sign_of",
        *_code("_sign_of", "double a", "(a > 0.0) - (a < 0.0)", "<double>(a > 0.0) - <double>(a < 0.0)"),
    ),
    "truth_of": _function(
        lambda c: np.asarray(c, np.float64),
        1,
        "_truth_of",
        *_code("_truth_of", "bool c", "c ? 1.0 : 0.0", "1.0 if c else 0.0"),
    ),
    "remainder_of": _function(np.mod, 2, "_remainder_of", _REMAINDER_CPP, _REMAINDER_CYTHON),
    "minimum_of": _function(np.minimum, 2, "_minimum_of", *_extremum("_minimum_of", "<")),
    "maximum_of": _function(np.maximum, 2, "_maximum_of", *_extremum("_maximum_of", ">")),
}
