"""What a backend, a run and a gradient are told besides values: names, choices, flags. Wrong kinds are refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuro.language.foreign import shown
from neuro.protocols import RunError, UnsupportedError


def names_of(option: str, value: Any, example: str) -> tuple[str, ...]:
    """A list of names, read once, each name once. Raises RunError with the call that works."""
    if isinstance(value, str):
        raise RunError(f"{option}={value!r} is one text; it is a list of names: write {option}=[{value!r}]")
    call = f"it is a list of names, like {option}=['{example}']"
    try:
        items = list(value)
    except Exception:  # whatever a foreign object raises when it is asked for its entries
        raise RunError(f"{option} is {shown(value)}; {call}") from None
    for item in items:
        if not isinstance(item, str):
            raise RunError(f"{option} holds {shown(item)}; {call}")
    return tuple(dict.fromkeys(str(item) for item in items))


def choice(backend: str, option: str, value: Any, allowed: Sequence[str], others: Sequence[str] = ()) -> None:
    """Raises UnsupportedError unless the value is one of these texts."""
    if not isinstance(value, str) or value not in allowed:
        use = " or ".join(", ".join(part) for part in (allowed[:-1], allowed[-1:]) if part)
        raise UnsupportedError(backend, f"{option} {shown(value)}", f"use {use}", others)


def at_least_one(backend: str, option: str, value: Any, others: Sequence[str] = ()) -> int:
    """A number of things. Raises UnsupportedError."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise UnsupportedError(backend, f"option '{option}'={shown(value)}", "use a whole number from 1 on", others)
    return int(value)


def flags(backend: str, others: Sequence[str] = (), /, **given: Any) -> None:
    """Raises UnsupportedError where an option is neither True nor False: the text "no" would count as True."""
    for option, value in given.items():
        if not isinstance(value, bool | np.bool_):
            raise UnsupportedError(
                backend, f"option '{option}'={shown(value)}", f"write {option}=True or {option}=False", others
            )
