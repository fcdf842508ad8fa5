"""Arrays whose axes are cells or synapses: what becomes of them, and what is no index of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.checks.common import plain
from neuro.language.equations import ModelError
from neuro.model import Input, IntArray, Population

Array = npt.NDArray[Any]
# of an array's last axes: where each entry comes from, -1 for a new one; None: an axis that stays as it is
Axes = tuple[IntArray | None, ...]


def moved(array: Array, axes: Axes, fill: Any = 0) -> Array:
    """An array whose last axes go where these say. fill: of what is new, in the shape of those axes after, or one number."""
    found, lead = array, array.ndim - len(axes)
    own = tuple(array.shape[lead + k] if index is None else len(index) for k, index in enumerate(axes))
    new = np.zeros(own, np.bool_)
    for k, index in enumerate(axes):
        if index is None:
            continue
        if not found.shape[lead + k]:  # nothing to take from
            found = np.zeros((*found.shape[: lead + k], len(index), *found.shape[lead + k + 1 :]), found.dtype)
        else:
            found = np.take(found, np.maximum(index, 0), axis=lead + k)
        new |= (index < 0).reshape([-1 if k == j else 1 for j in range(len(axes))])
    if new.any():
        found[..., new] = np.broadcast_to(fill, own)[new]
    return found


def indices(given: Any, size: int, where: str, least: int = 0) -> IntArray:
    """Whole numbers from `least` to size - 1. Raises ModelError."""
    found = np.asarray(given)
    if not found.size:
        return np.zeros(0, np.int64)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise problem(where, f"{given!r} are no indices", "give a list of whole numbers")
    outside = found[(found < least) | (found >= size)]
    if outside.size:
        raise problem(where, f"there is no {int(outside[0])} among {size}", f"give indices from 0 to {size - 1}")
    return found.astype(np.int64)


def problem(where: str, message: str, fix: str) -> ModelError:
    return ModelError([plain(where, message, fix)])


def wired(item: Input, population: Population) -> bool:
    """Whether an input has a channel for each cell of a population; one channel of a current alone drives all of them."""
    each = item.kind == "drive" or (item.kind == "current" and item.size == population.size > 1)
    return each and item.target.partition(".")[0] == population.name
