"""Compilers from Network to Program. A backend costs nothing until it is asked for."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from neuro.registry import Registry

if TYPE_CHECKING:
    from neuro.protocols import Backend


class UnknownBackendError(Exception):
    """No backend of that name, or its package isn't installed."""


REGISTRY = Registry(
    "backend",
    {
        "reference": "backends.reference:ReferenceBackend",
        "brian2": "backends.brian.program:BrianBackend",
        "torch": "backends.pytorch.program:TorchBackend",
        "snntorch": "backends.snn_torch:SnnTorchBackend",
        "native": "backends.native.program:NativeBackend",
    },
    UnknownBackendError,
    group="neuro.backends",
    needs=("name", "compile"),
    words=("auto",),
)


def names() -> tuple[str, ...]:
    """Names of all backends, third parties' included (entry point group `neuro.backends`)."""
    return REGISTRY.names()


def resolved(name: str) -> str:
    """The name of a backend; of the fastest that works here, where it is "auto". Says once which one isn't used, and why."""
    if not isinstance(name, str) or name != "auto":
        return name
    from backends.native.build import missing

    if missing() is None:
        return "native"
    warnings.warn(f"backend 'native' can't be used here: {missing()}; using 'torch'", stacklevel=2)
    return "torch"


def get(name: str) -> Backend:
    """The backend of that name, or of the fastest that works here ("auto"). Raises UnknownBackendError."""
    REGISTRY.check(name)
    found: Backend = REGISTRY.make(resolved(name), {})
    return found
