"""Results that live as long as the object they were made from."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def per_object(function: Callable[[Item], Result]) -> Callable[[Item], Result]:
    """A function of one frozen object, computed once for each. Objects are told apart by identity, and are not kept alive."""
    known: dict[int, tuple[weakref.ref[Any], Result]] = {}

    @wraps(function)
    def find(item: Item) -> Result:
        key = id(item)
        if key not in known or known[key][0]() is not item:
            result = function(item)
            known[key] = weakref.ref(item, lambda gone: known.pop(key, None) if known[key][0] is gone else None), result
        return known[key][1]

    return find
