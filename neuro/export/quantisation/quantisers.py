"""Quantisers: real arrays as small integers times a scale. Integers and scale are the result; nothing quantises again later.

    binary   x >= 0 ? 1 : -1                                  scale: mean |x|
    ternary  -1, 0 or 1, whichever is nearest                 scale: that of least squared error
    linear   round(x/scale) within -2^(k-1) .. 2^(k-1) - 1    scale: nothing saturates, or least squared error
    log      0 or sign(x) 2^shift, shift < 2^(k-1) - 1        scale: nothing saturates
    any      as above                                         scale: that of codes from -1 to 1, whatever the numbers are (fit "unit")

Quantising what a quantiser gave gives the same integers, and the same scale up to rounding. Sources: Hubara et al. (2018), JMLR 18(187); the scales of
least squared error: Rastegari et al. (2016), ECCV (binary); Li & Liu (2016), arXiv 1605.04711 (ternary, here without their
approximation).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.options import OptionError, checked, one_of
from neuro.registry import Registry

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

PER = ("tensor", "neuron")
FITS = ("range", "error", "unit")


class QuantiseError(Exception):
    """A quantiser that isn't there, or numbers that can't be quantised; the message names them and the fix."""


_CODEBOOKS = Registry(
    "quantiser",
    {
        "binary": "neuro.export.quantisation.codebooks:BINARY",
        "ternary": "neuro.export.quantisation.codebooks:TERNARY",
        "linear": "neuro.export.quantisation.codebooks:LINEAR",
        "log": "neuro.export.quantisation.codebooks:LOG",
    },
    QuantiseError,
    group="neuro.quantisers",
    needs=("bits", "usual", "levels", "clips", "codes", "beyond", "scale"),
)


def names() -> tuple[str, ...]:
    """Names of all quantisers, third parties' included (entry point group `neuro.quantisers`)."""
    return _CODEBOOKS.names()


def get(name: str) -> Codebook:
    """The codebook of that name. Raises QuantiseError."""
    found: Codebook = _CODEBOOKS.get(name)
    return found


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
class Codebook(ABC):
    """The integers of one kind of quantiser, and the scale that suits given numbers; `q` holds the user's options.

    bits: fewest and most of one code. usual: where nobody says. Quantising what was quantised gives the same codes.
    """

    bits: tuple[int, int]
    usual: int

    @abstractmethod
    def levels(self, q: Quantiser) -> tuple[int, int]:
        """Smallest and largest code."""

    @abstractmethod
    def scale(self, q: Quantiser, x: Array) -> float:
        """Value of the code 1 for these numbers [n], not all of them 0."""

    def unit(self, q: Quantiser) -> float:
        """The scale whose codes stand for numbers from -1 to 1: here the largest for 1."""
        return 1.0 / self.levels(q)[1]

    def clips(self, q: Quantiser) -> bool:
        """Whether its own scale leaves numbers beyond the range of its codes."""
        return False

    def codes(self, q: Quantiser, x: Array, scale: Any) -> Codes:
        """Integers for finite x: here the nearest level."""
        return np.asarray(np.clip(np.rint(x / scale), *self.levels(q)), np.int64)

    def beyond(self, q: Quantiser, ratio: Array) -> npt.NDArray[np.bool_]:
        """Where x / scale is farther from the range of the codes than rounding reaches."""
        low, high = self.levels(q)
        return np.asarray((ratio < low - 0.5) | (ratio > high + 0.5))


@dataclass(frozen=True)
class Quantiser:
    """kind: see above, or another package's. bits: of one code, 0 for the usual number. per: one scale a "tensor" or a
    postsynaptic "neuron".

    power_of_two: scales are powers of two, so that weight, threshold and leak share shifts. symmetric: without the code
    -2^(k-1) (linear). fit: "range" saturates nothing; "error" has the least squared error (linear), none at all for weights that a quantiser
    of fewer bits gave, which become whole multiples of its codes; "unit" takes 2^(k-1) codes for 1 SI unit, and one code where a weight has one
    size: binarised and k-bit networks, whose numbers are clipped to -1 .. 1.
    """

    kind: str = "linear"
    bits: int = 0
    per: str = "tensor"
    power_of_two: bool = False
    symmetric: bool = True
    fit: str = "range"

    def __post_init__(self) -> None:
        try:
            checked(Quantiser, vars(self))
            one_of("per", self.per, PER)
            one_of("fit", self.fit, FITS)
        except OptionError as error:
            raise QuantiseError(f"quantiser: {error}") from None
        low, high = self.codebook.bits
        if self.bits == 0:
            object.__setattr__(self, "bits", self.codebook.usual)
        if not low <= self.bits <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            raise QuantiseError(f"quantiser '{self.kind}': {self.bits} bits; it takes {wanted}")

    @staticmethod
    def of(options: Mapping[str, Any]) -> Quantiser:
        """From plain data, such as a run's configuration. Raises QuantiseError on a name that isn't there."""
        try:
            return Quantiser(**checked(Quantiser, options))
        except OptionError as error:
            raise QuantiseError(f"quantiser: {error}") from None

    @cached_property
    def codebook(self) -> Codebook:
        """The codebook of its kind. Raises QuantiseError."""
        return get(self.kind)

    @property
    def levels(self) -> tuple[int, int]:
        """Smallest and largest code."""
        return self.codebook.levels(self)

    @property
    def clips(self) -> bool:
        """Its own scale leaves weights beyond the range of its codes."""
        return self.fit == "unit" or self.codebook.clips(self)

    def window(self, scale: Any) -> tuple[Array, Array]:
        """Smallest and largest value that the codes can stand for."""
        low, high = self.levels
        return low * np.asarray(scale), high * np.asarray(scale)

    def beyond(self, x: Any, scale: Any) -> npt.NDArray[np.bool_]:
        """Where x is farther from the range of the codes than rounding reaches."""
        return self.codebook.beyond(self, np.asarray(x) / scale)

    def codes(self, x: Any, scale: Any) -> Codes:
        """Integers for x, [...] with a scale that broadcasts to it. Raises QuantiseError on what isn't finite."""
        return self.codebook.codes(self, _finite(x), scale)

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
        if self.fit == "unit":
            return self.codebook.unit(self)
        return self.codebook.scale(self, x) if x.any() else 1.0


def sign(x: Any) -> Codes:
    """1 where x >= 0, otherwise -1: zero counts as positive."""
    return np.where(np.asarray(x) >= 0, 1, -1)


def ap2(x: Any) -> Array:
    """sign(x) 2^round(log2|x|), exactly; 0 stays 0. Source: Hubara et al. (2018)."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))  # |x| = mantissa 2^exponent, 1/2 <= mantissa < 1
    size = np.ldexp(1.0, exponent - (np.abs(mantissa) < np.sqrt(0.5)))
    return np.asarray(np.sign(mantissa) * size, np.float64)


def _finite(x: Any) -> Array:
    found = np.asarray(x, np.float64)
    if not np.isfinite(found).all():
        raise QuantiseError(f"{int((~np.isfinite(found)).sum())} of {found.size} numbers to quantise are not finite")
    return found
