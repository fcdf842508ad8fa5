"""Ready neurons and synapses: one module each, holding one object of its name. A new file is found by itself."""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from typing import Any

from neuro.model import Neuron, Synapse
from neuro.registry import Registry


class UnknownModelError(Exception):
    """The library has no neuron or synapse of that name."""


def names() -> tuple[str, ...]:
    """Names of all neurons and synapses."""
    return _models(tuple(__path__)).names()


@lru_cache(maxsize=1)
def _models(path: tuple[str, ...]) -> Registry:
    ours = {n: f"{__name__}.{n}:{n}" for n in sorted(m.name for m in pkgutil.iter_modules(path))}
    return Registry("neuron or synapse", ours, UnknownModelError, absent="the library has no")


def neurons() -> tuple[str, ...]:
    """Names of the neurons."""
    return tuple(n for n in names() if isinstance(get(n), Neuron))


def synapses() -> tuple[str, ...]:
    """Names of the synapses."""
    return tuple(n for n in names() if isinstance(get(n), Synapse))


def get(name: str) -> Any:
    """The neuron or synapse of that name. Raises UnknownModelError with a suggestion."""
    found = _models(tuple(__path__)).get(name)
    globals()[name] = found  # importing puts the module there
    return found


def __getattr__(name: str) -> Any:
    """`from neuro.library import lif` gives the neuron."""
    if name.startswith("_") or name not in names():
        raise AttributeError(f"the library has no '{name}'; known: {', '.join(names())}")
    return get(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *names()})
