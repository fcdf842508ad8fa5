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
    if array.size <= READABLE and array.dtype != np.bool_ and np.isfinite(array).all():
        return array.tolist()
    name = array.dtype.name
    if name not in _KINDS:
        raise ArrayError(f"can't store arrays of {name}; use one of {sorted(_KINDS)}")
    data = np.ascontiguousarray(array, dtype=_KINDS[name]).tobytes()
    return {"dtype": name, "shape": list(array.shape), "base64": base64.b64encode(data).decode("ascii")}


def decode(data: Any, dtype: str = "float64") -> Any:
    """Inverse of encode. Raises ArrayError when shape, type and bytes don't fit together."""
    if isinstance(data, list):
        try:
            return np.array(data, dtype=dtype)
        except (TypeError, ValueError):
            raise ArrayError("a list of numbers was expected, rows of equal length") from None
    if not isinstance(data, dict) or set(data) != {"dtype", "shape", "base64"} or data["dtype"] not in _KINDS:
        raise ArrayError("an array is a list, or an object with the keys 'dtype', 'shape' and 'base64'")
    try:
        raw = base64.b64decode(str(data["base64"]), validate=True)
        array = np.frombuffer(raw, dtype=_KINDS[data["dtype"]])
        return array.reshape([int(n) for n in data["shape"]]).astype(data["dtype"])
    except (binascii.Error, ValueError, TypeError):
        raise ArrayError(f"the bytes of an array don't fit its shape {data['shape']}") from None
