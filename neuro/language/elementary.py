"""The functions of the language as sympy takes them: their values at numbers, their derivatives, and nothing rewritten."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from neuro.language.counts import poisson
from neuro.language.matrices import exponential


def number(value: float) -> sp.Expr:
    """A number as every printer takes it: whole ones as integers."""
    if not math.isfinite(value):
        return sp.nan if math.isnan(value) else sp.oo if value > 0 else -sp.oo
    return sp.Integer(int(value)) if value.is_integer() and abs(value) < 2**53 else sp.Float(repr(value), 17)


class Elementary(sp.Function):  # type: ignore[misc]
    """A function that sympy lacks, or that it rewrites as a complex one. numeric: its value at plain numbers."""

    numeric: Callable[..., Any]

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        if not all(a.is_number for a in args):
            return None
        try:
            return number(float(cls.numeric(*map(float, args))))
        except (ArithmeticError, ValueError, TypeError):  # TypeError: a complex number
            return sp.nan


class _Flat(Elementary):
    """A function of slope 0 wherever it has one."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.Integer(0)


class chain_product(sp.Function):  # type: ignore[misc]  # noqa: N801
    """Slope times inner slope, and 0 where one of them is 0: what isn't moved has no derivative, were the other infinite."""

    nargs = 2


class exprel(Elementary):  # noqa: N801  the name is what prints
    """(exp(x) - 1) / x, with its limit 1 at 0."""

    nargs = 1
    numeric = staticmethod(lambda x: math.expm1(x) / x if x else 1.0)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """(exp(x) - exprel(x))/x, but its series near 0, where that is 0/0."""
        x = self.args[0]
        far = greater(magnitude(x), sp.Rational(1, 50))
        safe = x + (1 - far) * (1 - x)
        series = sp.Add(*(x**n / ((n + 2) * sp.factorial(n)) for n in range(6)))
        return far * (sp.exp(safe) - exprel(safe)) / safe + (1 - far) * series


class expm1(Elementary):  # noqa: N801
    nargs = 1
    numeric = staticmethod(math.expm1)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.exp(self.args[0])


class log1p(Elementary):  # noqa: N801
    nargs = 1
    numeric = staticmethod(math.log1p)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return 1 / (1 + self.args[0])


class sigmoid_of(Elementary):  # noqa: N801
    """1/(1 + exp(-x)), whose slope stays finite where exp(-x) does not."""

    nargs = 1
    numeric = staticmethod(lambda x: 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x)))

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        x = self.args[0]
        return sigmoid_of(x) * sigmoid_of(-x)


class pow(Elementary):  # noqa: N801
    """x**p where p is not a number. Its slope in p is 0 where x is not positive."""

    nargs = 2

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        x, p = args
        return x**p if p.is_number else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        x, p = self.args
        safe = x + greater_equal(0, x) * (1 - x)  # x where it is positive, without a loss of digits, else 1
        return p * pow(x, p - 1) if argindex == 1 else pow(x, p) * sp.log(safe)


class greater(_Flat):  # noqa: N801
    """1 where a > b, else 0. Both sides stand for themselves: terms of a - b would be summed in an order of their own, and round."""

    nargs = 2
    numeric = staticmethod(lambda a, b: float(a > b))

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        return sp.Integer(0) if args[0] == args[1] else super().eval(*args)


class greater_equal(_Flat):  # noqa: N801
    """1 where a >= b, else 0."""

    nargs = 2
    numeric = staticmethod(lambda a, b: float(a >= b))


class poisson_of(_Flat):  # noqa: N801
    """A count of this mean, from a uniform number: see `neuro.language.counts`."""

    nargs = 2
    numeric = staticmethod(lambda mean, uniform: float(poisson(mean, uniform)))


class sign_of(_Flat):  # noqa: N801
    numeric = staticmethod(lambda x: float((x > 0) - (x < 0)))


class magnitude(Elementary):  # noqa: N801
    """abs()."""

    nargs = 1
    numeric = staticmethod(abs)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sign_of(self.args[0])


def _beside_infinity(a: sp.Expr, b: sp.Expr, neutral: sp.Expr) -> sp.Expr | None:
    """What min or max is beside an infinite number: the other one, or that number."""
    for one, other in ((a, b), (b, a)):
        if one.is_number and one.is_infinite:  # of what holds symbols, sympy may reason for half a minute
            return other if one == neutral else one
    return None


class minimum(Elementary):  # noqa: N801
    """The smaller of two; at a tie the first takes the whole slope."""

    nargs = 2
    numeric = staticmethod(min)

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        a, b = args
        return _beside_infinity(a, b, sp.oo) or super().eval(a, b)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return greater_equal(b, a) if argindex == 1 else greater(a, b)


class maximum(Elementary):  # noqa: N801
    """The larger of two; at a tie the first takes the whole slope."""

    nargs = 2
    numeric = staticmethod(max)

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        a, b = args
        return _beside_infinity(a, b, -sp.oo) or super().eval(a, b)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return greater_equal(a, b) if argindex == 1 else greater(b, a)


class floor_of(_Flat):  # noqa: N801
    numeric = staticmethod(math.floor)


class ceil_of(_Flat):  # noqa: N801
    numeric = staticmethod(math.ceil)


class floor_ratio(_Flat):  # noqa: N801
    """The largest whole number up to a/b. Both stand for themselves: times a reciprocal, 49/49 would be less than 1."""

    nargs = 2
    numeric = staticmethod(lambda a, b: math.floor(a / b))


class remainder(Elementary):  # noqa: N801
    """a % b with the sign of b, as in Python and Brian2."""

    nargs = 2
    numeric = staticmethod(lambda a, b: a % b)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return sp.Integer(1) if argindex == 1 else -floor_of(a / b)


class straight_through(Elementary):  # noqa: N801
    """The value of the first argument with the slope of the second, such as a sign's with that of a clip.

    Source: Bengio, Leonard & Courville (2013), arXiv:1308.3432.
    """

    nargs = 2
    numeric = staticmethod(lambda value, slope_of: value)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.Integer(argindex == 2)


class chosen(Elementary):  # noqa: N801
    """chosen(condition, a, b): a where the condition is 1, b where it is 0; what isn't chosen has no slope."""

    nargs = 3
    numeric = staticmethod(lambda condition, a, b: a if condition > 0 else b)

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        condition, a, b = args
        if condition.is_number:
            return a if condition > 0 else b
        return a if a == b else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        condition = self.args[0]
        return (sp.Integer(0), condition, 1 - condition)[argindex - 1]


def values_alone(expr: sp.Expr) -> sp.Expr:
    """The same values, each with the slope of its own."""
    return expr.replace(straight_through, lambda value, slope_of: value)


class propagator(Elementary):  # noqa: N801
    """propagator(row, column, n, a_11, a_12, ...): an entry of exp(A), A an n x n matrix, its entries row by row.

    Its derivative with respect to a_kl is the same entry of the upper right block of exp([[A, E_kl], [0, A]]).
    Source: Najfeld & Havel (1995), Adv Appl Math 16:321.
    """

    @staticmethod
    def numeric(row: float, column: float, n: float, *entries: float) -> float:
        return float(exponential(np.reshape(entries, (int(n), int(n))))[int(row), int(column)])

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        row, column, n = (int(a) for a in self.args[:3])
        entries, place, zero = self.args[3:], argindex - 4, sp.Integer(0)
        rows = [entries[i * n : (i + 1) * n] for i in range(n)]
        unit_ = [[sp.Integer(i * n + j == place) for j in range(n)] for i in range(n)]
        upper = [(*rows[i], *unit_[i]) for i in range(n)]
        lower = [(*[zero] * n, *rows[i]) for i in range(n)]
        return propagator(row, n + column, 2 * n, *(e for line in (*upper, *lower) for e in line))


def _of_one(name: str, numeric: Callable[..., Any], slope: Callable[[sp.Expr], sp.Expr]) -> type[Elementary]:
    """A function of one number with its derivative."""

    def fdiff(self: sp.Function, argindex: int = 1) -> sp.Expr:
        return slope(self.args[0])

    return type(
        name, (Elementary,), {"nargs": 1, "numeric": staticmethod(numeric), "fdiff": fdiff, "__module__": __name__}
    )


# sympy's own rewrite and reason about their arguments, for minutes where such functions stand in each other
sin: type[Elementary] = _of_one("sin", math.sin, lambda x: cos(x))  # noqa: PLW0108  not known yet
cos: type[Elementary] = _of_one("cos", math.cos, lambda x: -sin(x))
tan: type[Elementary] = _of_one("tan", math.tan, lambda x: tan(x) ** 2 + 1)
sinh: type[Elementary] = _of_one("sinh", math.sinh, lambda x: cosh(x))  # noqa: PLW0108  not known yet
cosh: type[Elementary] = _of_one("cosh", math.cosh, sinh)
tanh: type[Elementary] = _of_one("tanh", math.tanh, lambda x: 1 - tanh(x) ** 2)
asin: type[Elementary] = _of_one("asin", math.asin, lambda x: 1 / sp.sqrt(1 - x**2))
acos: type[Elementary] = _of_one("acos", math.acos, lambda x: -1 / sp.sqrt(1 - x**2))
atan: type[Elementary] = _of_one("atan", math.atan, lambda x: 1 / (1 + x**2))
