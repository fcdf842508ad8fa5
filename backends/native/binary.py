"""Networks whose weights and hidden values are bits: products by XOR and popcount, thresholds, and no number but the last layer's sums.

A product of K codes is K - 2 popcount(a xor w); of 8-bit inputs x with binary weights, s = sum_n 2^(n-1) (x^n . w) over their bit planes
x^n. The C text lies beside this module (binary.c); neuro.export.quantisation.packing is the same in numpy, to read. One thread.
Source: Hubara et al. (2018), JMLR 18(187).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.native.build import load
from neuro.export.quantisation.folding import Folded
from neuro.export.quantisation.packing import pack, unpack
from neuro.export.quantisation.quantisers import QuantiseError
from neuro.language.foreign import shown
from neuro.protocols import RunError, UnsupportedError

Words = npt.NDArray[np.uint64]
Sums = npt.NDArray[np.int32]
LONGEST = (2**31 - 1) // 255  # inputs of a layer, so that its sums fit into 32 bits
_PANEL, _PLANES = 8, 8  # binary.c has the same numbers
_ROWS = 256  # that go through a network at a time: what lies between its layers stays in the caches, and Ctrl-C gets through
_LONG, _POINTER = ctypes.c_long, ctypes.c_void_p


def pack_words(codes: Any) -> Words:
    """Codes -1 and 1 [..., K] as words [..., ceil(K/64)]: the bytes of `pack`, padded with zeros. Raises QuantiseError."""
    return words_of(pack(codes))


def unpack_words(words: Words, length: int) -> npt.NDArray[np.int64]:
    """Inverse of pack_words: codes [..., length]. Raises QuantiseError."""
    if getattr(words, "dtype", None) != np.uint64 or words.ndim < 1 or not 0 <= words.shape[-1] * 64 - length < 64:
        raise QuantiseError(
            f"{shown(words)} holds no words of {length} codes; give what pack_words gave, and as many codes"
        )
    return unpack(np.ascontiguousarray(words).view(np.uint8), length)


def words_of(packed: npt.NDArray[np.uint8]) -> Words:
    """Words [..., ceil(bytes/8)] of what `pack` gave."""
    found = np.zeros((*packed.shape[:-1], 8 * -(-packed.shape[-1] // 8)), np.uint8)
    found[..., : packed.shape[-1]] = packed
    return found.view(np.uint64)


def product(a: Words, w: Words, length: int) -> Sums:
    """Products [m, n] of packed rows a [m, words] and w [n, words] of `length` codes, both from pack_words. Raises RunError, QuantiseError."""
    layer = PackedLayer(w, length)
    _check_rows(a, "the rows a", np.uint64, layer.words.shape[1], f"words of {length} codes (pack_words)")
    if _beyond(a, length):
        raise RunError(f"the rows a: bits beyond the {length} codes are set; pad with zeros, as pack_words does")
    return _sums(layer, a)


def byte_product(x: npt.NDArray[np.uint8], w: Words) -> Sums:
    """Products [m, n] of bytes x [m, K] and packed rows w [n, words] of K codes, at most 255 K in size. Raises RunError, QuantiseError."""
    _check_rows(x, "the inputs x", np.uint8, None, "inputs")
    return _sums(PackedLayer(w, x.shape[1]), x)


@dataclass(frozen=True, eq=False)
class PackedLayer:
    """Binary weights and what becomes of their sums. words [outputs, ceil(length/64)]: rows of pack_words. length: inputs.

    thresholds [outputs]: whole numbers, a neuron's bit is 1 where its sum >= its threshold; None for a last layer, whose
    sums are the result. Where a neuron fires at sums <= t instead, as one behind a batch normalisation with gamma < 0 does, give -w
    and -t. Raises QuantiseError.
    """

    words: Words
    length: int
    thresholds: Sums | None = None

    @staticmethod
    def of(codes: Any, thresholds: Any = None) -> PackedLayer:
        """From codes -1 and 1 [outputs, inputs]. Raises QuantiseError."""
        codes = np.asarray(codes)
        if codes.ndim != 2 or 0 in codes.shape:
            raise QuantiseError(f"weights: the shape {codes.shape}; it is [outputs, inputs], one of each at least")
        return PackedLayer(pack_words(codes), codes.shape[1], thresholds)

    def __post_init__(self) -> None:
        words, length = np.asarray(self.words), self.length
        if isinstance(length, bool) or not isinstance(length, int | np.integer) or not 0 < length <= LONGEST:
            raise QuantiseError(f"length: {shown(length)}; it is a whole number of inputs from 1 to {LONGEST}")
        if words.dtype != np.uint64 or words.ndim != 2 or not len(words):
            raise QuantiseError(
                f"words: {words.dtype} {words.shape}; they are uint64 [outputs, words], from pack_words"
            )
        if words.shape[1] != -(-length // 64):
            raise QuantiseError(f"words: {words.shape[1]} a row; {length} inputs take {-(-length // 64)}")
        if _beyond(words, length):
            raise QuantiseError(f"words: bits beyond the {length} inputs are set; pad with zeros, as pack_words does")
        object.__setattr__(self, "length", int(length))
        if self.thresholds is None:
            return
        thresholds = np.asarray(self.thresholds)
        if thresholds.dtype.kind not in "iu" or thresholds.shape != (len(words),):
            raise QuantiseError(
                f"thresholds: {thresholds.dtype} {thresholds.shape}; they are whole numbers, one for each of {len(words)} outputs"
            )
        limits = np.iinfo(np.int32)  # no sum reaches either, so that nothing changes there
        object.__setattr__(self, "thresholds", np.clip(thresholds, limits.min, limits.max).astype(np.int32))

    @property
    def outputs(self) -> int:
        return len(self.words)

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        """Weights -1 and 1 [outputs, inputs]."""
        return unpack_words(self.words, self.length)

    @cached_property
    def panels(self) -> tuple[Words, Sums | None]:
        """Words [panels, words, rows of a panel] and thresholds, as the kernel reads them; rows that fill up the last panel give 0."""
        count = -(-self.outputs // _PANEL)
        words = np.zeros((count * _PANEL, self.words.shape[1]), np.uint64)
        words[: self.outputs] = self.words
        panels = np.ascontiguousarray(words.reshape(count, _PANEL, -1).transpose(0, 2, 1))
        if self.thresholds is None:
            return panels, None
        thresholds = np.full(count * _PANEL, np.iinfo(np.int32).max, np.int32)
        thresholds[: self.outputs] = self.thresholds
        return panels, thresholds


@dataclass(frozen=True, eq=False)
class PackedNetwork:
    """Layers one after the other: bytes go in, bits go on, the last layer's sums come out. Raises QuantiseError where they don't fit."""

    layers: Sequence[PackedLayer]

    @staticmethod
    def of(folded: Folded) -> PackedNetwork:
        """A folded network, whose answer `folded.last.outputs` makes of the sums. Raises QuantiseError where a code is neither 1 nor -1."""
        if not isinstance(folded, Folded):
            raise QuantiseError(
                f"{shown(folded)} is no folded network; give what neuro.export.quantisation.folding.fold gave"
            )
        layers = [PackedLayer.of(layer.codes.T, layer.threshold) for layer in folded.layers]
        return PackedNetwork((*layers, PackedLayer.of(folded.last.codes.T)))

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers:
            raise QuantiseError("layers: there are none; give one PackedLayer at least")
        for i, layer in enumerate(layers):
            if not isinstance(layer, PackedLayer):
                raise QuantiseError(f"layer {i}: {shown(layer)}; it is a PackedLayer, such as PackedLayer.of(codes)")
            if i and layer.length != layers[i - 1].outputs:
                raise QuantiseError(
                    f"layer {i}: {layer.length} inputs; layer {i - 1} has {layers[i - 1].outputs} outputs"
                )
            if (layer.thresholds is None) != (i == len(layers) - 1):
                why = (
                    "no thresholds; all but the last need them"
                    if layer.thresholds is None
                    else "thresholds; the last has none"
                )
                raise QuantiseError(f"layer {i}: it has {why}")
        object.__setattr__(self, "layers", layers)

    def run(self, images: npt.NDArray[np.uint8]) -> Sums:
        """Sums [batch, outputs] of the last layer. images [batch, inputs]: bytes. Raises RunError."""
        length = self.layers[0].length
        _check_rows(images, "the images", np.uint8, length, "inputs of layer 0")
        found = np.empty((len(images), self.layers[-1].outputs), np.int32)
        for first in range(0, len(images), _ROWS):
            rows: npt.NDArray[Any] = images[first : first + _ROWS]
            for layer in self.layers[:-1]:
                rows = _bits(layer, rows)
            found[first : first + _ROWS] = _sums(self.layers[-1], rows)
        return found


def _beyond(words: Words, length: int) -> bool:
    """Whether bits are set that are no codes: they would count."""
    beyond = words_of(np.packbits(np.arange(64) > (length - 1) % 64))
    return bool((words[:, -1] & beyond).any())


def _check_rows(rows: Any, what: str, dtype: Any, width: int | None, of_what: str) -> None:
    """Raises RunError, which names them."""
    if not isinstance(rows, np.ndarray) or rows.dtype != dtype:
        kind = rows.dtype if isinstance(rows, np.ndarray) else shown(rows)
        raise RunError(f"{what} are {kind}; they are an array of {np.dtype(dtype)}")
    if rows.ndim != 2 or (width is not None and rows.shape[1] != width):
        wanted = "n" if width is None else width
        raise RunError(f"{what} have the shape {rows.shape}; it is [rows, {wanted}], the {of_what}")


# -- kernel -------------------------------------------------------------------------------------------------------


def _bits(layer: PackedLayer, rows: npt.NDArray[Any]) -> Words:
    """Words [m, words] of a layer's bits."""
    found = np.zeros((len(rows), -(-layer.outputs // 64)), np.uint64)
    _call(layer, rows, None, found)
    return found


def _sums(layer: PackedLayer, rows: npt.NDArray[Any]) -> Sums:
    """Sums [m, outputs], whatever the layer's thresholds."""
    found = np.empty((len(rows), layer.outputs), np.int32)
    _call(layer, rows, found, None)
    return found


def _call(layer: PackedLayer, rows: npt.NDArray[Any], sums: Sums | None, bits: Words | None) -> None:
    """rows: words [m, words] of bits, or bytes [m, inputs], by their type. Fills one of sums and bits."""
    library, rows, (panels, thresholds) = _library(), np.require(rows, requirements=("C", "ALIGNED")), layer.panels
    m, words = len(rows), panels.shape[1]
    given = _at(panels), layer.outputs, words
    asked = _at(thresholds if sums is None else None), _at(sums), _at(bits), 0 if bits is None else bits.strides[0]
    if rows.dtype == np.uint64:
        library.of_bits(_at(rows), m, *given, layer.length, *asked)
        return
    planes, totals = np.zeros((m, _PLANES, words), np.uint64), np.empty(m, np.int64)
    library.split(_at(rows), m, layer.length, _at(planes), 8 * words, _at(totals))
    library.of_planes(_at(planes), _at(totals), m, *given, *asked)


def _at(array: npt.NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


@cache
def _library() -> ctypes.CDLL:
    """Built when it is first called. Raises UnsupportedError."""
    text = files("backends.native").joinpath("binary.c").read_text(encoding="utf-8")
    try:
        found = load(text, "", "float32")
    except UnsupportedError as error:
        instead = "neuro.export.quantisation.packing.binary_product needs no compiler"
        raise UnsupportedError("native", "products of bits", f"{error.why}; {instead}") from None
    given = _POINTER, _LONG, _LONG
    asked = (_POINTER, _POINTER, _POINTER, _LONG)
    found.of_bits.argtypes = (_POINTER, _LONG, *given, _LONG, *asked)
    found.of_planes.argtypes = (_POINTER, _POINTER, _LONG, *given, *asked)
    found.split.argtypes = (_POINTER, _LONG, _LONG, _POINTER, _LONG, _POINTER)
    for function in (found.of_bits, found.of_planes, found.split):
        function.restype = None
    return found
