"""Numbers of any library as plain numpy arrays: lists, tensors (under autograd, sparse, bfloat16), sparse matrices."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_UNIT_PLACES = ("units", "unit", "dimensionality")  # where libraries that nobody here knows keep a unit
_PLAIN = (bool, int, float, np.number, np.bool_, np.ndarray)


class NumbersError(ValueError):
    """A value that holds no plain numbers; the message says what it holds."""


def leaves(items: Any) -> Iterator[Any]:
    """What nested lists and tuples hold."""
    for item in items:
        if isinstance(item, list | tuple):
            yield from leaves(item)
        else:
            yield item


def shown(value: Any) -> str:
    """A value in an error text, in few words."""
    if isinstance(value, str | int | float | None):
        return reprlib.repr(value)
    try:
        shape = getattr(value, "shape", None)
    except Exception:  # whatever a foreign object raises
        shape = None
    return (
        f"{type(value).__name__}{list(shape)}"
        if isinstance(shape, tuple) and shape
        else f"a '{type(value).__name__}' object"
    )


def is_plain(value: Any) -> bool:
    """True for a numpy array that needs no conversion: truth values, integers or floats of at most eight bytes."""
    return type(value) is np.ndarray and value.dtype.char in "?bBhHiIlLqQefd" and value.dtype.isnative


def numbers(value: Any) -> npt.NDArray[Any]:
    """An array of truth values, integers or floats, its own dtype kept where numpy has it. Raises NumbersError."""
    if is_plain(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, list | tuple):
        return _of_list(value)
    if hasattr(value, "detach"):
        value = _of_tensor(value)
    elif hasattr(value, "toarray"):
        value = value.toarray()
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise NumbersError("some entries of a masked array have no value; fill them: .filled(0.0)")
    if not isinstance(value, _PLAIN) and any(hasattr(value, place) for place in _UNIT_PLACES):
        raise NumbersError(f"{shown(value)} keeps a unit in a way that is not known here")
    array = np.asarray(value)
    if array.dtype == object and None not in array.ravel().tolist():
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise NumbersError(f"{shown(value)} holds no real numbers (its type is {array.dtype.name})")
    if array.dtype.itemsize > 8 or not array.dtype.isnative:
        array = array.astype(np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("="))
    return array


def _of_list(items: Any) -> npt.NDArray[Any]:
    if all(isinstance(item, _PLAIN) and not isinstance(item, np.ma.MaskedArray) for item in leaves(items)):
        parts = items
    else:
        parts = [numbers(item) for item in items]
    shapes = {np.shape(part) for part in parts}
    if len(shapes) > 1:
        raise NumbersError(f"the entries of a list have different shapes: {', '.join(map(str, sorted(shapes)[:3]))}")
    return numbers(np.asarray(parts))


def _of_tensor(tensor: Any) -> Any:
    """A torch tensor's values; numpy has no sparse layout and no bfloat16."""
    tensor = tensor.detach()
    if getattr(tensor, "is_quantized", False):
        tensor = tensor.dequantize()
    if "strided" not in str(tensor.layout):
        tensor = tensor.to_dense()
    tensor = tensor.cpu()
    return (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
