"""Compilers from Network to Program. A backend costs nothing until it is asked for."""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.metadata import entry_points

from neuro.protocols import Backend

_BACKENDS = {
    "reference": "backends.reference:ReferenceBackend",
    "brian2": "backends.brian.program:BrianBackend",
    "torch": "backends.pytorch.program:TorchBackend",
    "snntorch": "backends.snn_torch:SnnTorchBackend",
    "native": "backends.native.program:NativeBackend",
}


class UnknownBackendError(Exception):
    """No backend of that name, or its package isn't installed."""


def _registered() -> dict[str, str]:
    return _BACKENDS | {e.name: e.value for e in entry_points(group="neuro.backends")}


def names() -> tuple[str, ...]:
    """Names of all backends, third parties' included (entry point group `neuro.backends`)."""
    return tuple(_registered())


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
    known, name = _registered(), resolved(name)
    if not isinstance(name, str) or name not in known:
        from difflib import get_close_matches

        close = get_close_matches(name, (*known, "auto"), 1) if isinstance(name, str) else ()
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}, auto"
        raise UnknownBackendError(f"there is no backend {name!r}; {hint}")
    module, _, attribute = known[name].partition(":")
    try:
        return getattr(import_module(module), attribute)()  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "backends":
            raise UnknownBackendError(f"backend {name!r} is not part of this installation") from error
        raise UnknownBackendError(f"backend {name!r} needs the package {error.name!r}; install it with pip") from error
