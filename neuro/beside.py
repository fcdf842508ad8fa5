"""Backends and tasks, which lie beside this package and stand on it; found also where a folder of somebody's own has one of their names."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuro.model import Network
    from neuro.protocols import Program


class ClashError(ImportError):
    """Another package of the same name is imported already."""


def compile(network: Network, backend: str = "auto", **options: Any) -> Program:
    """A network's program. backend: as `backends.names()` lists them, or the fastest that works here. options: of the backend, such as dtype="float32".

    Raises ClashError, backends.UnknownBackendError, ModelError, UnsupportedError.
    """
    program: Program = package("backends").get(backend).compile(network, **options)
    return program


def task(name: str, /, **options: Any) -> Any:
    """A task: what a network is to learn, with its data and its network. name: as `tasks.names()` lists them.

    Raises ClashError, tasks.UnknownTaskError, OptionError.
    """
    return package("tasks").get(name, **options)


def package(name: str) -> ModuleType:
    """Ours of that name, whatever the working folder holds. Raises ClashError where another one is imported already."""
    place = Path(__file__).parents[1] / name / "__init__.py"
    found = sys.modules.get(name)
    if found is None:
        spec = spec_from_file_location(name, place, submodule_search_locations=[str(place.parent)])
        assert spec is not None and spec.loader is not None
        found = sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(found)
        except BaseException:
            del sys.modules[name]
            raise
    if Path(found.__file__ or "").resolve() != place.resolve():
        theirs = found.__file__ or ", ".join(found.__path__)
        raise ClashError(
            f"'{name}' is {theirs} in this process, not twinspike's {place}; rename one's own package, or use neuro.compile and neuro.task before it is imported"
        )
    return found
