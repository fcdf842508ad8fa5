"""Fields of a definition: given as text, numbers or objects, kept as quantities and tables; compared and hashed by value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from neuro import checks
from neuro.language.units import Quantity, is_quantity

Kept = TypeVar("Kept", covariant=True)

if TYPE_CHECKING:

    class Converted(Generic[Kept]):
        """A field that is given as text, number or object, and read as `Kept`: __post_init__ converts it."""

        def __get__(self, item: object, owner: type | None = None) -> Kept: ...
        def __set__(self, item: object, value: Any) -> None: ...


def default(value: Any) -> Any:
    return field(default_factory=lambda: value)


def later(value: Any) -> Any:
    """A field that came after files had been written: it is written only where it differs from its default."""
    if isinstance(value, Mapping):
        return field(default_factory=lambda: value, metadata={"later": value})
    return field(default=value, metadata={"later": value})


def hash_of_fields(self: Any) -> int:
    """Of all fields; tables of names count in any order."""
    values = (getattr(self, f.name) for f in fields(self))
    return hash(tuple(frozenset(v.items()) if isinstance(v, Mapping) else v for v in values))


class Distribution:
    """Numbers drawn from the network's seed, one per element."""


def as_tuple(items: Any) -> tuple[Any, ...]:
    if not isinstance(items, Iterable) or isinstance(items, str | Mapping):
        return (items,)
    try:
        return tuple(items)
    except Exception:  # whatever a foreign object raises when it is asked for its entries
        return (items,)


def put(item: Any, name: str, value: Any) -> None:
    object.__setattr__(item, name, value)


def convert_size(item: Any, *names: str) -> None:
    for name in names:
        value = getattr(item, name)
        if isinstance(value, np.integer):
            put(item, name, int(value))


def convert(item: Any, *names: str) -> None:
    for name in names:
        where = f"{type(item).__name__.lower()} '{getattr(item, 'name', '')}', {name}"
        put(item, name, checks.read_quantity(getattr(item, name), where))


def convert_unless_text(item: Any, name: str) -> None:
    """A quantity; an expression stays text."""
    value = getattr(item, name)
    if not isinstance(value, str) or is_quantity(value):
        convert(item, name)


def convert_given(item: Any, *names: str) -> None:
    """Those that are not None."""
    convert(item, *(name for name in names if getattr(item, name) is not None))


def converted(value: Any, where: str) -> Quantity | Distribution:
    return value if isinstance(value, Distribution) else checks.read_quantity(value, where)


def convert_table(item: Any, name: str, quantities_only: bool = False) -> None:
    kind = type(item).__name__.lower()
    table: dict[str, Quantity | Distribution] = {}
    for key, value in dict(getattr(item, name)).items():
        where = f"{kind} '{item.name}', {name} '{key}'"
        table[str(key)] = checks.read_quantity(value, where) if quantities_only else converted(value, where)
    put(item, name, table)


def converted_bounds(pair: Any) -> tuple[Quantity | None, Quantity | None]:
    checks.enforce(checks.pair(pair))
    return tuple(None if b is None else checks.read_quantity(b, "bounds") for b in pair)  # type: ignore[return-value]
