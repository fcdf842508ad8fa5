"""How the numbers of a distribution are made: what a generator gives for each, and what becomes of it by itself."""

from __future__ import annotations

from collections.abc import Callable
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
    match item:
        case Uniform(low=low, high=high):
            return _uniform, lambda u: _scaled(u, high.value - low.value, low.value)
        case Normal(mean=mean, std=std):
            shaped: Made = lambda z: _scaled(z, std.value, mean.value)
            raw, inverse = _normal, _between_normal(item, float(mean.value), float(std.value), lambda x: x)
        case LogNormal(mean=mean, std=std):
            variance = np.log1p((std.value / mean.value) ** 2)
            shaped = lambda z: _exponential(_scaled(z, np.sqrt(variance), -variance / 2), mean.value)
            middle = float(np.log(mean.value) - variance / 2)
            raw, inverse = _normal, _between_normal(item, middle, float(np.sqrt(variance)), _logarithm)
        case Gamma(mean=mean, std=std):
            shape, scale = (mean.value / std.value) ** 2, std.value / mean.value * std.value
            shaped = lambda x: _scaled(x, scale, 0.0)
            raw, inverse = lambda random, n: random.standard_gamma(shape, n), _between_gamma(item, shape, scale)
    if item.outside == "clip":
        return raw, lambda x: _clipped(shaped(x), item)
    return _uniform, lambda u: _clipped(shaped(inverse(u)), item)


def _uniform(random: np.random.Generator, count: int) -> Array:
    return random.random(count)


def _normal(random: np.random.Generator, count: int) -> Array:
    return random.standard_normal(count)


def _scaled(values: Array, factor: float, first: float) -> Array:
    values *= factor
    values += first
    return values


def _exponential(values: Array, factor: float) -> Array:
    np.exp(values, out=values)
    values *= factor
    return values


def _logarithm(value: float) -> float:
    return float(np.log(value)) if value > 0 else -np.inf


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
