"""The ready codebooks: binary, ternary, linear and log. See neuro.export.quantisation.quantisers for what they do and their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export.quantisation.quantisers import Array, Codebook, Codes, Quantiser, ap2, sign

_PARTS, _HALVES = (
    np.linspace(1.0, 0.3, 71),
    0.5 ** np.arange(4),
)  # of the scale that saturates nothing, tried by fit="error"
_DIGITS = 12  # to which weights are multiples of the scale that they were made with
_MOST = 2**12  # largest code for which such a scale is looked for: rounding to more loses next to nothing


@dataclass(frozen=True)
class Signs(Codebook):
    """Codes -1 and 1."""

    bits: tuple[int, int] = (1, 1)
    usual: int = 1

    def levels(self, q: Quantiser) -> tuple[int, int]:
        return -1, 1

    def clips(self, q: Quantiser) -> bool:
        return True

    def codes(self, q: Quantiser, x: Array, scale: Any) -> Codes:
        return sign(x)

    def scale(self, q: Quantiser, x: Array) -> float:
        return _power(q, float(np.abs(x).mean()))


@dataclass(frozen=True)
class Ternary(Codebook):
    """Codes -1, 0 and 1."""

    bits: tuple[int, int] = (2, 2)
    usual: int = 2

    def levels(self, q: Quantiser) -> tuple[int, int]:
        return -1, 1

    def clips(self, q: Quantiser) -> bool:
        return True

    def scale(self, q: Quantiser, x: Array) -> float:
        return _power(q, _ternary_scale(np.abs(x)))


@dataclass(frozen=True)
class Linear(Codebook):
    """Codes of two's complement."""

    bits: tuple[int, int] = (2, 32)
    usual: int = 8

    def levels(self, q: Quantiser) -> tuple[int, int]:
        high = int(2 ** (q.bits - 1) - 1)
        return (-high if q.symmetric else -high - 1), high

    def unit(self, q: Quantiser) -> float:
        return float(2.0 ** (1 - q.bits))

    def clips(self, q: Quantiser) -> bool:
        return q.fit == "error"

    def scale(self, q: Quantiser, x: Array) -> float:
        widest = float(np.abs(x).max()) / self.levels(q)[1]
        if q.power_of_two:
            widest = _power_above(widest)
        if q.fit == "range":
            return widest
        lossless = None if q.power_of_two else _lossless(np.abs(x), self.levels(q)[1])
        if lossless is not None:
            return lossless
        tried = widest * (_HALVES if q.power_of_two else _PARTS)
        errors = [float(np.sum((self.codes(q, x, s) * s - x) ** 2)) for s in tried]
        return float(tried[int(np.argmin(errors))])  # the widest among equals


@dataclass(frozen=True)
class Log(Codebook):
    """Codes 0 and powers of two with a sign."""

    bits: tuple[int, int] = (2, 6)
    usual: int = 4

    def levels(self, q: Quantiser) -> tuple[int, int]:
        high = int(2 ** (2 ** (q.bits - 1) - 2))
        return -high, high

    def codes(self, q: Quantiser, x: Array, scale: Any) -> Codes:
        ratio = x / scale
        size = np.clip(np.abs(ap2(ratio)), 1, self.levels(q)[1])
        return np.asarray(np.where(np.abs(ratio) < 0.5, 0, np.sign(ratio) * size), np.int64)

    def beyond(self, q: Quantiser, ratio: Array) -> npt.NDArray[np.bool_]:
        return np.asarray(np.abs(ratio) > np.sqrt(2) * self.levels(q)[1])

    def scale(self, q: Quantiser, x: Array) -> float:
        return _power(q, float(ap2(np.abs(x).max())) / self.levels(q)[1])


BINARY, TERNARY, LINEAR, LOG = Signs(), Ternary(), Linear(), Log()


def _power(q: Quantiser, scale: float) -> float:
    return float(ap2(scale)) if q.power_of_two else scale


def _power_above(x: float) -> float:
    """The smallest power of two that is not below x > 0."""
    mantissa, exponent = np.frexp(x)
    return float(np.ldexp(1.0, exponent - (mantissa == 0.5)))


def _lossless(size: Array, high: int) -> float | None:
    """The narrowest scale of which all sizes are whole multiples, `high` at most: there is one where another quantiser made them. None where there isn't."""
    most = float(size.max())
    ratios = np.unique(np.round(size / most, _DIGITS))
    if high > _MOST or len(ratios) > high + 1:
        return None
    for largest in range(1, high + 1):
        codes = ratios * largest
        if (np.abs(np.rint(codes) - codes) < largest * 10.0**-_DIGITS).all():
            return most / (largest * (high // largest))
    return None


def _ternary_scale(size: Array) -> float:
    """Scale s that minimises sum (|x| - s code)^2: with the n largest as 1 and s their mean, the gain is (sum)^2/n."""
    total = np.cumsum(np.sort(size)[::-1])
    count = np.arange(1, size.size + 1)
    best = int(np.argmax(total**2 / count))
    return float(total[best] / count[best])
