"""Arrays as JSON: short ones as lists that a person can read, long ones as base64 of their bytes."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

READABLE = 32
_KINDS = {"float64": "<f8", "int64": "<i8", "bool": "|b1"}


class ArrayError(ValueError):
    """JSON that doesn't hold an array."""


def encode(array: np.ndarray[Any, Any]) -> Any:
    """A list for at most READABLE numbers, else {"dtype", "shape", "base64"}; bits are kept."""
    name = array.dtype.name
    if name not in _KINDS:
        raise ArrayError(f"can't store arrays of {name}; use one of {sorted(_KINDS)}")
    if array.ndim and 0 < array.size <= READABLE and name != "bool" and np.isfinite(array).all():
        return array.tolist()
    data = np.ascontiguousarray(array, dtype=_KINDS[name]).tobytes()
    return {"dtype": name, "shape": list(array.shape), "base64": base64.b64encode(data).decode("ascii")}


def decode(data: Any, dtype: str = "float64") -> np.ndarray[Any, Any]:
    """Inverse of encode, of this dtype. Raises ArrayError when shape, type and bytes don't fit together."""
    if isinstance(data, list):
        return _from_list(data, dtype)
    if not isinstance(data, dict) or set(data) != {"dtype", "shape", "base64"}:
        raise ArrayError("an array is a list, or an object with the keys 'dtype', 'shape' and 'base64'")
    if data["dtype"] != dtype:
        raise ArrayError(f"an array of {dtype} was expected, not of {data['dtype']!r}")
    shape = data["shape"]
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ArrayError(f"{shape!r} is not a shape; it is a list of whole numbers")
    try:
        raw = base64.b64decode(str(data["base64"]), validate=True)
        return np.frombuffer(raw, dtype=_KINDS[dtype]).reshape(shape).astype(dtype)
    except (binascii.Error, ValueError, OverflowError):
        raise ArrayError(f"the bytes of an array don't fit its shape {shape}") from None


def _from_list(data: list[Any], dtype: str) -> np.ndarray[Any, Any]:
    wanted = "whole numbers" if dtype == "int64" else "numbers"
    try:
        array = np.array(data)
    except (TypeError, ValueError, OverflowError):
        raise ArrayError(f"a list of {wanted} was expected, rows of equal length") from None
    if array.size and (array.dtype.kind not in ("i" if dtype == "int64" else "iuf")):
        raise ArrayError(f"a list of {wanted} was expected, rows of equal length")
    return array.astype(dtype)
