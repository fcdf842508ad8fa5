"""Quantisers: real arrays as small integers times a scale. Integers and scale are the result; nothing quantises again later.

    binary   x >= 0 ? 1 : -1                                  scale: mean |x|
    ternary  -1, 0 or 1, whichever is nearest                 scale: that of least squared error
    linear   round(x/scale) within -2^(k-1) .. 2^(k-1) - 1    scale: nothing saturates, or least squared error
    log      0 or sign(x) 2^shift, shift < 2^(k-1) - 1        scale: nothing saturates

Quantising what a quantiser gave gives the same integers, and the same scale up to rounding. Sources: Hubara et al. (2018), JMLR 18(187); the scales of
least squared error: Rastegari et al. (2016), ECCV (binary); Li & Liu (2016), arXiv 1605.04711 (ternary, here without their
approximation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

KINDS = ("binary", "ternary", "linear", "log")
PER = ("tensor", "neuron")
FITS = ("range", "error")
BITS = {"binary": (1, 1), "ternary": (2, 2), "linear": (2, 32), "log": (2, 6)}
_PARTS, _HALVES = (
    np.linspace(1.0, 0.3, 71),
    0.5 ** np.arange(4),
)  # of the scale that saturates nothing, tried by fit="error"


class QuantiseError(Exception):
    """A quantiser that isn't there, or numbers that can't be quantised; the message names them and the fix."""


@dataclass(frozen=True)
class Quantised:
    """codes: integers. scale: value of the code 1, SI, broadcastable to codes. bits: that store one code."""

    codes: Codes
    scale: Array
    bits: int

    @property
    def values(self) -> Array:
        """The float numbers that the integers stand for, SI."""
        return self.codes * self.scale


@dataclass(frozen=True)
class Quantiser:
    """kind: see above. bits: of one code, 0 for the only number or 8. per: one scale a "tensor" or a postsynaptic "neuron".

    power_of_two: scales are powers of two, so that weight, threshold and leak share shifts. symmetric: without the code
    -2^(k-1) (linear). fit: "range" saturates nothing, "error" has the least squared error (linear).
    """

    kind: str = "linear"
    bits: int = 0
    per: str = "tensor"
    power_of_two: bool = False
    symmetric: bool = True
    fit: str = "range"

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("per", PER), ("fit", FITS)):
            if getattr(self, name) not in known:
                raise QuantiseError(f"quantiser: {name} '{getattr(self, name)}'; use one of {', '.join(known)}")
        low, high = BITS[self.kind]
        if self.bits == 0:
            object.__setattr__(self, "bits", min(high, 8) if self.kind != "log" else 4)
        if not isinstance(self.bits, int) or not low <= self.bits <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            raise QuantiseError(f"quantiser '{self.kind}': {self.bits} bits; it takes {wanted}")

    @staticmethod
    def of(options: Mapping[str, Any]) -> Quantiser:
        """From plain data, such as a run's configuration. Raises QuantiseError on a name that isn't there."""
        known = [f.name for f in fields(Quantiser)]
        for name in options:
            if name not in known:
                raise QuantiseError(f"quantiser: unknown option '{name}'; known: {', '.join(known)}")
        return Quantiser(**options)

    @property
    def levels(self) -> tuple[int, int]:
        """Smallest and largest code."""
        match self.kind:
            case "linear":
                high = 2 ** (self.bits - 1) - 1
                return (-high if self.symmetric else -high - 1), high
            case "log":
                return -(2 ** (2 ** (self.bits - 1) - 2)), 2 ** (2 ** (self.bits - 1) - 2)
            case _:
                return -1, 1

    @property
    def clips(self) -> bool:
        """Its own scale leaves weights beyond the range of its codes."""
        return self.kind in ("binary", "ternary") or (self.kind == "linear" and self.fit == "error")

    def window(self, scale: Any) -> tuple[Array, Array]:
        """Smallest and largest value that the codes can stand for."""
        low, high = self.levels
        return low * np.asarray(scale), high * np.asarray(scale)

    def beyond(self, x: Any, scale: Any) -> npt.NDArray[np.bool_]:
        """Where x is farther from the range of the codes than rounding reaches."""
        (low, high), ratio = self.levels, np.asarray(x) / scale
        if self.kind == "log":
            return np.asarray(np.abs(ratio) > np.sqrt(2) * high)
        return np.asarray((ratio < low - 0.5) | (ratio > high + 0.5))

    def codes(self, x: Any, scale: Any) -> Codes:
        """Integers for x, [...] with a scale that broadcasts to it. Raises QuantiseError on what isn't finite."""
        x = _finite(x)
        if self.kind == "binary":
            return sign(x)
        ratio, (low, high) = x / scale, self.levels
        if self.kind == "log":
            size = np.clip(np.abs(ap2(ratio)), 1, high)
            return np.asarray(np.where(np.abs(ratio) < 0.5, 0, np.sign(ratio) * size), np.int64)
        return np.asarray(np.clip(np.rint(ratio), low, high), np.int64)

    def scale(self, x: Any, groups: npt.NDArray[np.integer[Any]] | None = None) -> Array:
        """The scale for x: shape (), or [largest group + 1] with the number of each element's group, shaped as x."""
        x = _finite(x).ravel()
        if groups is None:
            return np.asarray(self._scale(x))
        order = np.argsort(groups, axis=None, kind="stable")
        ends = np.cumsum(np.bincount(np.ravel(groups)))
        return np.array([self._scale(part) for part in np.split(x[order], ends[:-1])])

    def quantise(self, x: Any, scale: Any = None) -> Quantised:
        """Codes and scale of one array; per neuron: of each index of the last axis. scale: one from before."""
        x = _finite(x)
        if scale is None:
            groups = np.broadcast_to(np.arange(x.shape[-1]), x.shape) if self.per == "neuron" and x.ndim else None
            scale = self.scale(x, groups)
        return Quantised(self.codes(x, scale), np.asarray(scale, np.float64), self.bits)

    def _scale(self, x: Array) -> float:
        size = np.abs(x)
        if not size.any():
            return 1.0
        largest = float(size.max())
        match self.kind:
            case "binary":
                found = float(size.mean())
            case "ternary":
                found = _ternary_scale(size)
            case "log":
                return float(ap2(largest)) / self.levels[1]
            case _:
                found = self._linear_scale(x, largest)
        return float(ap2(found)) if self.power_of_two and self.kind != "linear" else found

    def _linear_scale(self, x: Array, largest: float) -> float:
        widest = largest / self.levels[1]
        if self.power_of_two:
            widest = _power_above(widest)
        if self.fit == "range":
            return widest
        tried = widest * (_HALVES if self.power_of_two else _PARTS)
        errors = [float(np.sum((self.codes(x, s) * s - x) ** 2)) for s in tried]
        return float(tried[int(np.argmin(errors))])  # the widest among equals


def sign(x: Any) -> Codes:
    """1 where x >= 0, otherwise -1: zero counts as positive."""
    return np.where(np.asarray(x) >= 0, 1, -1)


def ap2(x: Any) -> Array:
    """sign(x) 2^round(log2|x|), exactly; 0 stays 0. Source: Hubara et al. (2018)."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))  # |x| = mantissa 2^exponent, 1/2 <= mantissa < 1
    size = np.ldexp(1.0, exponent - (np.abs(mantissa) < np.sqrt(0.5)))
    return np.asarray(np.sign(mantissa) * size, np.float64)


def _power_above(x: float) -> float:
    """The smallest power of two that is not below x > 0."""
    mantissa, exponent = np.frexp(x)
    return float(np.ldexp(1.0, exponent - (mantissa == 0.5)))


def _ternary_scale(size: Array) -> float:
    """Scale s that minimises sum (|x| - s code)^2: with the n largest as 1 and s their mean, the gain is (sum)^2/n."""
    total = np.cumsum(np.sort(size)[::-1])
    count = np.arange(1, size.size + 1)
    best = int(np.argmax(total**2 / count))
    return float(total[best] / count[best])


def _finite(x: Any) -> Array:
    found = np.asarray(x, np.float64)
    if not np.isfinite(found).all():
        raise QuantiseError(f"{int((~np.isfinite(found)).sum())} of {found.size} numbers to quantise are not finite")
    return found
