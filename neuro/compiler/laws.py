"""How the numbers of a distribution are made: what a generator gives for each, and what becomes of it by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special

from neuro.model import Drawn, Gamma, LogNormal, Normal, Uniform

Array = npt.NDArray[np.float64]
Raw = Callable[[np.random.Generator, int], Array]
Made = Callable[[Array], Array]  # in place, where it can be


def law(item: Drawn) -> tuple[Raw, Made]:
    """What is drawn for so many numbers, one after another, and SI values of it.

    Between limits where it is drawn again, a number is the inverse of the truncated distribution function of one uniform number.
    """
    if isinstance(item, Uniform):
        low, width = float(item.low.value), float(item.high.value - item.low.value)
        return _uniform, lambda u: _scaled(u, width, low)
    mean, std = float(item.mean.value), float(item.std.value)
    raw, shaped, between = (
        _positive(item, mean, std) if isinstance(item, LogNormal | Gamma) else _about_mean(item, mean, std)
    )
    if item.outside == "clip":
        return raw, lambda x: _clipped(shaped(x), item)
    inverse = between()
    return _uniform, lambda u: _clipped(shaped(inverse(u)), item)


def _about_mean(item: Normal, mean: float, std: float) -> tuple[Raw, Made, Callable[[], Made]]:
    """What is drawn, SI values of it, and what uniform numbers become so that those lie between the limits."""
    return _normal, lambda z: _scaled(z, std, mean), partial(_between_normal, item, mean, std, lambda x: x)


def _positive(item: LogNormal | Gamma, mean: float, std: float) -> tuple[Raw, Made, Callable[[], Made]]:
    """The same."""
    if isinstance(item, Gamma):
        shape, scale = (mean / std) ** 2, std / mean * std
        return partial(_gamma, shape), lambda x: _scaled(x, scale, 0.0), partial(_between_gamma, item, shape, scale)
    variance = float(np.log1p((std / mean) ** 2))
    spread, middle = math.sqrt(variance), math.log(mean) - variance / 2
    shaped = lambda z: _exponential(_scaled(z, spread, -variance / 2), mean)
    return _normal, shaped, partial(_between_normal, item, middle, spread, _logarithm)


def _uniform(random: np.random.Generator, count: int) -> Array:
    return random.random(count)


def _normal(random: np.random.Generator, count: int) -> Array:
    return random.standard_normal(count)


def _gamma(shape: float, random: np.random.Generator, count: int) -> Array:
    return random.standard_gamma(shape, count)


def _scaled(values: Array, factor: float, first: float) -> Array:
    values *= factor
    values += first
    return values


def _exponential(values: Array, factor: float) -> Array:
    np.exp(values, out=values)
    values *= factor
    return values


def _logarithm(value: float) -> float:
    return math.log(value) if value > 0 else -np.inf


def _limits(item: Any) -> tuple[float, float]:
    low, high = (
        limit if end is None else float(end.value) for end, limit in ((item.low, -np.inf), (item.high, np.inf))
    )
    return low, high


def _clipped(values: Array, item: Any) -> Array:
    return values if item.low is None and item.high is None else np.clip(values, *_limits(item), out=values)


def _between_normal(item: Any, mean: float, std: float, transformed: Callable[[float], float]) -> Made:
    """Uniform numbers -> standard normal ones between an item's limits. mean, std: of what is normal, which `transformed` gives."""
    if not std:
        return np.zeros_like
    low, high = ((transformed(end) - mean) / std for end in _limits(item))
    side = -1.0 if low > 0 else 1.0  # the share below a limit is precise where it is small
    first, last = sorted((scipy.special.ndtr(side * low), scipy.special.ndtr(side * high)))

    def inverse(u: Array) -> Array:
        return _scaled(scipy.special.ndtri(_scaled(u, last - first, first), out=u), side, 0.0)

    return inverse


def _between_gamma(item: Any, shape: float, scale: float) -> Made:
    """Uniform numbers -> gamma distributed ones of scale 1 between an item's limits."""
    low, high = (max(end / scale, 0.0) for end in _limits(item))
    below, inverse_of = scipy.special.gammainc, scipy.special.gammaincinv
    if below(shape, low) > 0.5:  # as above
        below, inverse_of = scipy.special.gammaincc, scipy.special.gammainccinv
    first, last = sorted((below(shape, low), below(shape, high)))

    def inverse(u: Array) -> Array:
        found: Array = inverse_of(shape, _scaled(u, last - first, first), out=u)
        return found

    return inverse
