"""Packages that only some need: imported when somebody asks, or refused with the command that installs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from neuro.registry import MissingPackageError, missing


def needed(what: str, package: str) -> Any:
    """A package as a module. what: needs it. Raises MissingPackageError."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingPackageError(missing(what, package)) from None
