"""Options of what is made by name, such as a rule or a task: looked at before they are used, refused by name."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Callable as Function
from difflib import get_close_matches
from functools import partial
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from neuro.language.foreign import shown

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", NoneType: "None"}


class OptionError(Exception):
    """An option that isn't there, that is missing, or whose value doesn't fit; the message names it and the fix."""


def hint(name: Any, known: Iterable[str]) -> str:
    """What to write instead of a name that isn't there."""
    names = list(known)
    close = get_close_matches(name, names, 1) if isinstance(name, str) else ()
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names) or 'none'}"


def one_of(option: str, value: Any, known: Iterable[Any]) -> None:
    """Raises OptionError unless the value is one of these."""
    choices = list(known)
    if not any(_fits(value, type(choice)) and value == choice for choice in choices):
        raise OptionError(f"{option} {_shown(value)}; use one of {', '.join(map(str, choices))}")


def checked(make: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as `make` takes them: a list becomes a tuple where it is declared as one.

    Names are compared with the signature, values with the annotations, as far as these are numbers, text, flags, lists, tables,
    functions and choices among them. Raises OptionError.
    """
    signature = signature_of(make)
    known = {n: p for n, p in signature.parameters.items() if p.kind in _NAMED}
    more = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    for name in options:
        if name not in known and not more:
            raise OptionError(f"there is no option '{name}'; {hint(name, known)}")
    for name, parameter in known.items():
        if name not in options and parameter.default is inspect.Parameter.empty:
            raise OptionError(f"option '{name}' is missing; it takes {_described(parameter.annotation)}")
    return {n: _fitted(n, v, known[n].annotation) if n in known else v for n, v in options.items()}


def signature_of(make: Callable[..., Any]) -> inspect.Signature:
    """The signature with annotations as types, Any where they say nothing."""
    try:
        signature = inspect.signature(make)
    except ValueError:  # written in C, and silent about it
        return inspect.Signature([inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)])
    hints = _hints(make)
    parameters = [p.replace(annotation=hints.get(n, _plain(p.annotation))) for n, p in signature.parameters.items()]
    return inspect.Signature(parameters)


def joined(*makes: Callable[..., Any], without: Sequence[str] = ()) -> inspect.Signature:
    """One signature of keywords for a function that deals its options out to several."""
    found = {
        n: p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for make in makes
        for n, p in signature_of(make).parameters.items()
        if n not in without
    }
    return inspect.Signature(list(found.values()))


def _plain(annotation: Any) -> Any:
    return Any if isinstance(annotation, str) or annotation is inspect.Parameter.empty else annotation


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    """Types by parameter; none where a text can't be read, such as a name that only type checkers import."""
    while isinstance(make, partial):
        make = make.func
    declared = make
    if inspect.isclass(make) and not hasattr(make, "__dataclass_fields__"):
        declared = make.__init__
    try:
        return get_type_hints(declared)
    except (NameError, TypeError, AttributeError):
        return {}


# -- values -------------------------------------------------------------------------------------------------------


def _fitted(name: str, value: Any, kind: Any) -> Any:
    if not _fits(value, kind):
        fix = f"; write {name}=[{value!r}]" if isinstance(value, str) and _fits([value], kind) else ""
        raise OptionError(f"{name}={_shown(value)}; it takes {_described(kind)}{fix}")
    return tuple(value) if get_origin(kind) is tuple and isinstance(value, list) else value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of this kind; of a kind that nothing is known about, every one."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, k) for k in inner)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if kind in (bool, int, float, str, NoneType):
        return _is_plain(value, kind)
    listed = _listed(kind)
    if listed is not None:
        return isinstance(value, list | tuple) and all(_fits(item, listed) for item in value)
    if origin in (dict, Mapping) or kind in (dict, Mapping):
        of_keys, of_values = inner or (Any, Any)
        return isinstance(value, Mapping) and all(_fits(k, of_keys) and _fits(v, of_values) for k, v in value.items())
    return callable(value) if Function in (origin, kind) else True


def _is_plain(value: Any, kind: Any) -> bool:
    flag = isinstance(value, bool | np.bool_)
    if kind is bool:
        return flag
    if kind is int:
        return isinstance(value, Integral) and not flag
    if kind is float:  # also an array or tensor of one number
        one = isinstance(value, Real) or (hasattr(value, "__float__") and getattr(value, "shape", None) == ())
        return one and not flag
    return isinstance(value, kind)


def _listed(kind: Any) -> Any:
    """What a list or tuple of any length holds; None for all other kinds."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (list, tuple, Sequence):
        return Any
    if origin is tuple:
        return inner[0] if len(inner) == 2 and inner[1] is Ellipsis else None
    return inner[0] if origin in (list, Sequence) else None


def _described(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_described(k) for k in inner)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if kind in _KINDS:
        return _KINDS[kind]
    listed = _listed(kind)
    if get_origin(listed) is Literal:
        return f"a list of {', '.join(map(str, get_args(listed)))}"
    if listed is not None:
        return {str: "a list of texts", int: "a list of whole numbers", float: "a list of numbers"}.get(
            listed, "a list"
        )
    if origin in (dict, Mapping) or kind in (dict, Mapping):
        return "a table of numbers" if inner and inner[1] is float else "a table"
    return "a function" if Function in (origin, kind) else "a value"


def _shown(value: Any) -> str:
    plain = isinstance(value, str | int | float | list | tuple | dict | None)
    return reprlib.repr(value) if plain else shown(value)


def counts(**options: Any) -> None:
    """Raises OptionError on an option that is no whole number of at least 1."""
    for name, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise OptionError(f"{name}={value!r}; give a whole number of at least 1")
