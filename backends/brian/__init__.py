"""Brian2 gets the continuous equations and the name of the method, and integrates them with its own code. Its own objects come in, and go out again.

Names load their modules when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backends.brian.export.objects import to_brian2 as to_brian2
    from backends.brian.export.script import to_brian2_script as to_brian2_script
    from backends.brian.importing.importer import NotImportedError as NotImportedError
    from backends.brian.importing.importer import from_brian2 as from_brian2

_HOME_OF = {
    "from_brian2": "backends.brian.importing.importer",
    "NotImportedError": "backends.brian.importing.importer",
    "to_brian2": "backends.brian.export.objects",
    "to_brian2_script": "backends.brian.export.script",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'backends.brian' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
