"""Ready neurons and synapses: one module each, holding one object of its name. A new file is found by itself."""

from __future__ import annotations

import pkgutil
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

from neuro.model import Neuron, Synapse


class UnknownModelError(Exception):
    """The library has no neuron or synapse of that name."""


@cache
def names() -> tuple[str, ...]:
    """Names of all neurons and synapses."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def neurons() -> tuple[str, ...]:
    """Names of the neurons."""
    return tuple(n for n in names() if isinstance(get(n), Neuron))


def synapses() -> tuple[str, ...]:
    """Names of the synapses."""
    return tuple(n for n in names() if isinstance(get(n), Synapse))


def get(name: str) -> Any:
    """The neuron or synapse of that name. Raises UnknownModelError with a suggestion."""
    if not isinstance(name, str) or name not in names():
        close = get_close_matches(name, names(), 1) if isinstance(name, str) else ()
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names())}"
        raise UnknownModelError(f"the library has no {name!r}; {hint}")
    found = getattr(import_module(f"{__name__}.{name}"), name)
    globals()[name] = found  # importing puts the module there
    return found


def __getattr__(name: str) -> Any:
    """`from neuro.library import lif` gives the neuron."""
    if name.startswith("_") or name not in names():
        raise AttributeError(f"the library has no '{name}'; known: {', '.join(names())}")
    return get(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *names()})
