"""Batch normalisation folded into integer thresholds: layers of signs, whose first takes 8-bit pixels, as integers only.

A layer of the trained network computes, with x its inputs and integer codes c of one scale,

    a = weight_scale (x.c),  u = gamma ((a - mean) scale) + beta,  x' = 1 if u >= 0 else -1

where x is 1 or -1, in the first layer (2p - 255)/255 of pixels p from 0 to 255, so that a = weight_scale (2 p.c - 255 sum(c))/255; in
the last layer u decides. As integers: x' = 1 where the sum is at least a threshold. Source: Hubara et al. (2018), JMLR 18(187).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export.quantisation.quantisers import Array, Codes, QuantiseError, sign
from neuro.language.foreign import NumbersError, numbers, shown

BRIGHTEST = 255
LARGEST = 2**40  # sum of sizes of codes: float64 holds three times as many pixels' sums exactly


@dataclass(frozen=True)
class NormalisedLayer:
    """A trained layer. codes: integers [pre, post]. weight_scale: of the code 1. gamma, mean, beta: [post]. scale: 1/deviation [post].

    Raises QuantiseError on shapes that don't fit, codes that aren't whole or too large, numbers that aren't finite, scales that aren't positive.
    """

    codes: Codes
    weight_scale: float
    gamma: Array
    mean: Array
    scale: Array
    beta: Array

    def __post_init__(self) -> None:
        codes = _real("codes", self.codes)
        if codes.ndim != 2 or 0 in codes.shape or not np.array_equal(codes, np.rint(codes)) or np.isinf(codes).any():
            raise QuantiseError("codes: they must be whole numbers [pre, post]; give what a quantiser gave")
        if (worst := np.abs(codes.astype(np.float64)).sum(axis=0).max()) > LARGEST:
            raise QuantiseError(f"codes: those of a cell sum up to {worst:g}, beyond 2^40; give what a quantiser gave")
        object.__setattr__(self, "codes", codes.astype(np.int64))
        for name in (f.name for f in fields(self) if f.name != "codes"):
            shape = () if name == "weight_scale" else codes.shape[1:]
            found = _real(name, getattr(self, name)).astype(np.float64)
            if found.shape != shape:
                raise QuantiseError(f"{name}: its shape is {found.shape}; {shape} is needed")
            if not np.isfinite(found).all():
                raise QuantiseError(f"{name}: not finite everywhere")
            if name.endswith("scale") and not (found > 0).all():
                raise QuantiseError(f"{name}: {found.min():g}; it must be positive")
            object.__setattr__(self, name, found if shape else float(found))

    def outputs(self, sums: Any, *, pixels: bool = False) -> Array:
        """u [..., post] for integer sums of codes, in the order of operations above. pixels: the inputs are 8-bit pixels."""
        if pixels:
            sums = (2 * np.asarray(sums) - BRIGHTEST * self.codes.sum(axis=0)) / BRIGHTEST
        a = self.weight_scale * np.asarray(sums)
        return np.asarray(self.gamma * ((a - self.mean) * self.scale) + self.beta)


@dataclass(frozen=True)
class ThresholdLayer:
    """Cells that are 1 where sum >= threshold [post], otherwise -1. codes: [pre, post]. pixels: inputs are 0 to 255, else 1 or -1."""

    codes: Codes
    threshold: Codes
    pixels: bool = False

    @property
    def bounds(self) -> tuple[Codes, Codes]:
        """Smallest and largest sum of each cell [post]."""
        return sums_within(self.codes, self.pixels)

    @property
    def largest(self) -> int:
        """No sum of so many inputs can be larger, whatever the signs of the codes."""
        return largest_sum(self.codes, self.pixels)

    def signs(self, inputs: Any) -> Codes:
        """1 or -1 [..., post] for inputs [..., pre]."""
        return sign(product(inputs, self.codes) - self.threshold)


@dataclass(frozen=True)
class Folded:
    """layers: all but the last. last: its sums of signs go through `outputs`, an affine map, and argmax."""

    layers: tuple[ThresholdLayer, ...]
    last: NormalisedLayer

    def signs(self, pixels: Any) -> tuple[Codes, ...]:
        """1 and -1 of every layer but the last [..., cells], for pixels [..., pre]. Raises QuantiseError."""
        found, inputs = list[Codes](), eight_bit(pixels, len(self.layers[0].codes))
        for layer in self.layers:
            inputs = layer.signs(inputs)
            found.append(inputs)
        return tuple(found)

    def sums(self, pixels: Any) -> Codes:
        """Integer sums of the last layer [..., classes]. Raises QuantiseError."""
        return product(self.signs(pixels)[-1], self.last.codes)

    def outputs(self, pixels: Any) -> Array:
        """What the network puts out [..., classes]; the largest decides. Raises QuantiseError."""
        return self.last.outputs(self.sums(pixels))

    @property
    def largest(self) -> tuple[int, ...]:
        """Bound of |sum| in each layer, the last one too: 199,920 for 784 pixels."""
        return (*(x.largest for x in self.layers), largest_sum(self.last.codes))

    @property
    def bits(self) -> tuple[int, ...]:
        """Of a signed accumulator of each layer: 19 for 784 pixels."""
        return tuple(n.bit_length() + 1 for n in self.largest)


def fold(layers: Sequence[NormalisedLayer]) -> Folded:
    """Integer thresholds that decide exactly as the floating-point layers do, for every sum. The first layer takes pixels.

    Raises QuantiseError where there are fewer than two layers, or one doesn't fit the next.
    """
    layers = tuple(layers)
    for k, layer in enumerate(layers):
        if not isinstance(layer, NormalisedLayer):
            raise QuantiseError(f"layer {k}: {shown(layer)}; it is a NormalisedLayer")
    if len(layers) < 2:
        raise QuantiseError(f"layers: {len(layers)} of them; there must be a layer of signs before the last")
    for k, (layer, after) in enumerate(pairwise(layers)):
        if layer.codes.shape[1] != after.codes.shape[0]:
            raise QuantiseError(f"layer {k} has {layer.codes.shape[1]} cells, the next takes {after.codes.shape[0]}")
    return Folded(tuple(folded(x, pixels=k == 0) for k, x in enumerate(layers[:-1])), layers[-1])


def folded(layer: NormalisedLayer, *, pixels: bool = False) -> ThresholdLayer:
    """One layer of signs. Where gamma < 0 the codes change their signs, so that all cells compare with >=; where gamma = 0
    the threshold lies at the smallest sum or above the largest.

    Multiplication and addition round monotonically, so u never falls where the sum rises: bisection over all whole sums
    finds the threshold of the very numbers that are computed. Raises QuantiseError where they aren't finite.
    """
    turned = np.where(layer.gamma < 0, -1, 1)
    codes = layer.codes * turned
    low, high = sums_within(codes, pixels)
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.isfinite([layer.outputs(turned * sums, pixels=pixels) for sums in (low - 1, high + 1)]).all(axis=0)
    if not ends.all():
        cell, fix = int(np.argmin(ends)), "give smaller gamma, scale or weight_scale"
        raise QuantiseError(f"cell {cell}: u isn't finite for its largest sums; {fix}")
    below, found = low - 1, high + 1
    while (open_ := found - below > 1).any():
        middle = (below + found) // 2
        fires = layer.outputs(turned * middle, pixels=pixels) >= 0
        below, found = np.where(open_ & ~fires, middle, below), np.where(open_ & fires, middle, found)
    return ThresholdLayer(codes, found, pixels)


def sums_within(codes: Codes, pixels: bool = False) -> tuple[Codes, Codes]:
    """Smallest and largest sum of each cell [post]."""
    if not pixels:
        most = np.abs(codes).sum(axis=0)
        return -most, most
    return BRIGHTEST * np.minimum(codes, 0).sum(axis=0), BRIGHTEST * np.maximum(codes, 0).sum(axis=0)


def largest_sum(codes: Codes, pixels: bool = False) -> int:
    """Bound of |sum| for codes of these sizes and any signs."""
    return int(np.abs(codes).sum(axis=0).max(initial=0)) * (BRIGHTEST if pixels else 1)


def product(inputs: Any, codes: Codes) -> Codes:
    """Integer sums [..., post] of inputs [..., pre]; in float64, which holds them exactly and is faster."""
    return np.asarray(np.asarray(inputs, np.float64) @ codes.astype(np.float64), np.int64)


def eight_bit(pixels: Any, count: int) -> Codes:
    """Pixels as integers [..., count]. Raises QuantiseError on another shape, and on others than whole numbers from 0 to 255."""
    found = _real("pixels", pixels)
    if found.shape[-1:] != (count,):
        raise QuantiseError(f"pixels: their shape is {found.shape}; [..., {count}] is needed")
    if not (np.array_equal(found, np.rint(found)) and ((found >= 0) & (found <= BRIGHTEST)).all()):
        raise QuantiseError(f"pixels: they must be whole numbers from 0 to {BRIGHTEST}, not yet scaled")
    return found.astype(np.int64)


def _real(name: str, value: Any) -> npt.NDArray[Any]:
    """Raises QuantiseError where they are no real numbers."""
    try:
        return numbers(value)
    except NumbersError as error:
        raise QuantiseError(f"{name}: {error}") from None
