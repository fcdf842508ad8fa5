"""What is public: the modules that pages of the reference name, their names without an underscore, and the members of their classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from neuro.protocols import Backend, Program, Rule, Session, Task

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PROTOCOLS = (Task, Rule, Backend, Program, Session)
REGISTRIES = (
    "backends.REGISTRY",
    "tasks.REGISTRY",
    "neuro.learning.REGISTRY",
    "neuro.export.targets.REGISTRY",
    "neuro.export.quantisation.quantisers._CODEBOOKS",
)


def modules() -> list[str]:
    """Modules that the reference explains."""
    texts = (page.read_text("utf-8") for page in sorted(REFERENCE.glob("*.md")))
    return [name for text in texts for name in re.findall(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE)]


def named(module: Any) -> dict[str, Any]:
    """Public classes and functions of a module: those of its __all__, or those that are made in it."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {
        name: thing
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(thing) or inspect.isfunction(thing))
        and thing.__module__ == module.__name__
    }


def members(kind: type) -> dict[str, Any]:
    """Public methods and properties that a class has of its own. A field isn't one of them: its class explains it."""
    own = {f.name for f in fields(kind)} if is_dataclass(kind) else set()
    return {
        name: getattr(kind, name)
        for name, thing in vars(kind).items()
        if not name.startswith("_")
        and name not in own
        and (
            inspect.isfunction(thing)
            or isinstance(thing, property | classmethod | staticmethod)
            or hasattr(thing, "func")
        )
    }


def registered() -> Iterator[tuple[str, Any]]:
    """What names of the registries make."""
    for place in REGISTRIES:
        module, _, attribute = place.rpartition(".")
        registry = getattr(import_module(module), attribute)
        for name in registry.ours:
            maker = registry.maker(name)
            yield f"{registry.kind} '{name}'", maker
            if inspect.isclass(maker):
                yield from ((f"{maker.__name__}.{member}", value) for member, value in members(maker).items())


def everything() -> dict[str, Any]:
    """Every public name, with its module, and what it stands for."""
    found: dict[str, Any] = {}
    for name in modules():
        module = import_module(name)
        found[name] = module
        for word, thing in named(module).items():
            found[f"{name}.{word}"] = thing
            if inspect.isclass(thing):
                found |= {f"{name}.{word}.{member}": value for member, value in members(thing).items()}
    return found | dict(registered())


def explained(name: str) -> Iterator[str]:
    """What protocols say of a member of this name, in its docstring or in their own."""
    for protocol in PROTOCOLS:
        whole = inspect.getdoc(protocol) or ""
        if hasattr(protocol, name) and inspect.getdoc(getattr(protocol, name)):
            yield str(inspect.getdoc(getattr(protocol, name)))
        elif re.search(rf"`{name}\(|^{name}: ", whole, re.MULTILINE):
            yield whole


def text(name: str, thing: Any) -> str:
    """The docstring of a public thing; of a method that a protocol declares, the protocol's, since there is nothing to add to it."""
    if isinstance(thing, partial):
        return (
            inspect.getdoc(
                inspect.getmodule(thing.args[0] if thing.args and not isinstance(thing.args[0], str) else thing.func)
            )
            or ""
        )
    if not (
        inspect.isclass(thing) or callable(thing) or isinstance(thing, property | ModuleType) or hasattr(thing, "func")
    ):
        thing = type(thing)
    found = inspect.getdoc(thing) or ""
    if inspect.isclass(thing) and found.startswith(
        f"{thing.__name__}("
    ):  # what a dataclass gives where nobody wrote one
        return ""
    if not found and not inspect.isclass(thing):
        return next(explained(name.rpartition(".")[2]), "")
    return found
