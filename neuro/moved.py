"""Modules that scripts outside know by an older name: the name goes on working, and says where the module is."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "neuro.parameters": "neuro.compiler.parameters",
    "neuro.lowering": "neuro.compiler.lowering",
    "neuro.semantics": "neuro.compiler.semantics",
    "neuro.streams": "neuro.compiler.streams",
    "neuro.units": "neuro.language.units",
    "neuro.results": "neuro.io.results",
    "neuro.serialisation": "neuro.io.serialisation",
    "neuro.export.nir_import": "neuro.export.nir.importer",
    "neuro.export.quantise": "neuro.export.quantisation.quantisers",
}


class Finder:
    """Finds and loads a module by its older name: the very module that has the newer one."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, Finder) if name in MOVED else None  # type: ignore[arg-type]  # what importlib calls of it is there

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Python's own."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        new = MOVED[module.__name__]
        warnings.warn(f"the module '{module.__name__}' is '{new}' now", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(new)


def install() -> None:
    """Once in a process, behind Python's own finders."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
