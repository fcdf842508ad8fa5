"""What is given where a neuron, a name or a connectivity belongs: named, with the call that works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np

from neuro.checks.common import check_name, enforce, plain
from neuro.language.equations import ModelError, Problem
from neuro.language.foreign import NumbersError, numbers, shown

_CONNECTIVITY = (
    "AllToAll",
    "OneToOne",
    "Probability",
    "FixedTotal",
    "FixedInDegree",
    "FixedOutDegree",
    "Distance",
    "Pairs",
)
_MODULES = ("neuro.model", "neuro.connectivity")
_PARTS = {
    "Neuron": ("a neuron", "Neuron('name', 'dv/dt = ...'), or library.get('lif')"),
    "Synapse": ("a synapse", "Synapse('name', 'w : amp', on_pre='I_post += w'), or library.get('pulse')"),
    "Population": ("a population", "Population('cells', neuron, 100)"),
    "Projection": ("a projection", "Projection('name', 'pre', 'post', synapse, weights='1 nA')"),
    "Input": ("an input", "Input('x', 10)"),
    "Network": ("a network", "network = Network([Population('cells', neuron, 100)], dt='0.1 ms')"),
    "Connectivity": (
        "a connectivity",
        "AllToAll(), OneToOne(), Probability(0.1), FixedInDegree(10) or Pairs(pre, post)",
    ),
}
_OWN = (*_PARTS, *_CONNECTIVITY)
_LISTS = {"populations": "Population", "projections": "Projection", "inputs": "Input"}


def types(item: Any) -> None:
    """Raise ModelError where a field of a definition holds another kind of thing than it takes."""
    enforce(problem for f in fields(item) for problem in _of_field(item, f.name, str(f.type)))


def _of_field(item: Any, name: str, declared: str) -> Iterator[Problem]:
    value, own = getattr(item, name), getattr(item, "name", None)
    where = f"{type(item).__name__.lower()}{f' {own!r}' if isinstance(own, str) and name != 'name' else ''}, {name}"
    if (name in _LISTS and declared.endswith(", ...]]")) or declared.startswith("tuple["):
        for part in value:
            yield from _part(part, _LISTS[name], where, f"{name}=[...] of ")
    elif declared in _PARTS:
        yield from _part(value, declared, where, f"{name}=")
    elif name == "name" and not isinstance(value, str):
        yield from check_name(value, where)
    elif declared in ("str", "Converted[str]") and not isinstance(value, str):
        yield plain(where, f"{_named(value)} is no text", f"write {name}='...'")
    elif declared.startswith("Literal[") and not isinstance(value, str | None):
        yield plain(
            where, f"{_named(value)} is no text", f"use one of {declared.removeprefix('Literal[').partition(']')[0]}"
        )
    elif declared == "int" and name != "size" and not _is_number(value, int, np.integer):
        yield plain(where, f"{_named(value)} is no whole number", f"write {name}=0")
    elif declared == "float" and not _is_number(value, int, float, np.integer, np.floating):
        yield plain(where, f"{_named(value)} is no number", f"write {name}=0.1")
    elif declared == "bool" and not isinstance(value, bool | np.bool_):
        yield plain(where, f"{_named(value)} is neither True nor False", f"write {name}=True")
    elif "Mapping[" in declared and not isinstance(value, Mapping):
        yield plain(where, f"{_named(value)} is no table of names", f"write {name}={{'name': '1 mV'}}")
    elif "Mapping[" in declared and isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                yield plain(where, f"the key {_named(key)} is no text", f"write {name}={{'name': '1 mV'}}")
            elif declared == "Mapping[str, str]" and not isinstance(value[key], str):
                yield plain(where, f"{_named(value[key])} is no text", f"write {name}={{'{key}': '...'}}")


def part(value: Any, kind: str, where: str) -> None:
    """Raises ModelError where a function is given something else than the part of a model that it takes."""
    enforce(_part(value, kind, where, ""))


def indices(value: Any, where: str) -> Any:
    """A list of whole numbers as int64. Raises ModelError."""
    try:
        array = numbers(value)
        if array.ndim != 1:
            raise NumbersError(f"{shown(value)} is no list of indices")
        if array.dtype == np.bool_ or not np.array_equal(array, array.astype(np.int64)):
            raise NumbersError(f"{shown(value)} holds other numbers than indices")
    except (MemoryError, ModelError):
        raise
    except Exception as error:  # whatever a foreign object raises when it is asked for its numbers
        said = str(error) if isinstance(error, NumbersError) else f"{_named(value)} holds no indices"
        raise ModelError([plain(where, said, "write Pairs(np.array([0, 1]), np.array([2, 0]))")]) from None
    return array.astype(np.int64)


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _part(value: Any, kind: str, where: str, call: str) -> Iterator[Problem]:
    """A neuron, a population, a connectivity: by the names of its classes, since models are made above the checks."""
    kinds = {c.__name__ for c in type(value).__mro__ if c.__module__ in _MODULES}
    wanted = set(_CONNECTIVITY) if kind == "Connectivity" else {kind}
    if kinds & wanted:
        return
    what, example = _PARTS[kind]
    yield plain(where, f"{_named(value)} is not {what}", f"write {call}{_instead(value, kind) or example}")


def _instead(value: Any, kind: str) -> str | None:
    """What was meant, where that can be seen."""
    if isinstance(value, type) and value.__name__ in ("AllToAll", "OneToOne") and kind == "Connectivity":
        return f"{value.__name__}()"
    if isinstance(value, ModuleType) and value.__name__.startswith("neuro.library."):
        return f"library.get('{value.__name__.rpartition('.')[2]}')"
    if kind in ("Neuron", "Synapse") and isinstance(value, str) and value.isidentifier():
        return f"library.get('{value}')"
    if kind == "Connectivity":
        if isinstance(value, str):
            text = value.replace(" ", "")
            return {
                "i!=j": "AllToAll(self_connections=False)",
                "j!=i": "AllToAll(self_connections=False)",
                "i==j": "OneToOne()",
                "j==i": "OneToOne()",
            }.get(text)
        if isinstance(value, np.ndarray) and value.ndim == 2:
            return "Pairs(*np.nonzero(matrix)), with one weight per pair: weights=matrix[matrix != 0]"
        if _is_number(value, int, float):
            return f"Probability({value})"
    return None


def _named(value: Any) -> str:
    """A value as the user knows it: a module, a class, an object of ours by its name."""
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if type(value).__name__ in _OWN and type(value).__module__ in _MODULES:
        return f"{type(value).__name__} {value.name!r}" if hasattr(value, "name") else f"{type(value).__name__}()"
    return shown(value)
