"""Directives that list: `registered` tasks, rules, backends, targets, quantisers; `names` what a module names; `models` the library; `studies` the studies."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from docstrings import converted, escaped, names_of
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

GALLERY = Path(__file__).resolve().parents[1] / "gallery"


def first_sentence(thing: Any) -> str:
    """Of a docstring: its first paragraph, in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def described(registry: Any, name: str) -> list[str]:
    """What a registered thing is, as lines of reStructuredText: the first sentence of its module, then its own docstring; of a target its title."""
    maker = registry.maker(name)
    place = registry.ours.get(name, "").partition(":")[0]
    first = [escaped(first_sentence(import_module(place))), ""] if place else []
    if hasattr(maker, "profile"):
        return [escaped(maker.profile.title)]
    if isinstance(maker, partial):
        return first
    own = converted((inspect.getdoc(maker) or "").splitlines(), names_of(maker))
    return [*first, *own] if inspect.isclass(maker) else own


class Listed(Directive):
    """A directive whose lines of reStructuredText are computed."""

    def lines(self) -> Iterable[str]:
        raise NotImplementedError

    def run(self) -> Sequence[nodes.Node]:
        node = nodes.container()
        self.state.nested_parse(StringList(list(self.lines()), "computed"), self.content_offset, node)
        return node.children


class Registered(Listed):
    """Names of a registry, each with the first sentence of what it makes."""

    required_arguments = 1  # the registry, as module.ATTRIBUTE

    def lines(self) -> Iterable[str]:
        module, _, attribute = self.arguments[0].rpartition(".")
        registry = getattr(import_module(module), attribute)
        for name in registry.names():
            yield from (f"``{name}``", *(f"    {line}" for line in described(registry, name)), "")


class Names(Listed):
    """What a module's __all__ names, each with the first sentence of its docstring and a link to where it is explained."""

    required_arguments = 1

    def lines(self) -> Iterable[str]:
        module = import_module(self.arguments[0])
        for name in module.__all__:
            thing = getattr(module, name)
            yield from (
                f":py:obj:`{name} <{thing.__module__}.{thing.__name__}>`",
                f"    {escaped(first_sentence(thing))}",
                "",
            )


class Models(Listed):
    """The library's neurons and synapses as they are written."""

    def lines(self) -> Iterable[str]:
        from neuro import library

        for name in library.names():
            model = library.get(name)
            given = ", ".join(f"{parameter} = {value}" for parameter, value in model.parameters.items())
            yield from (f"``{name}``", f"    {escaped(model.source)}", "", "    ::", "")
            for field in (f for f in FIELDS if getattr(model, f, "")):
                text = inspect.cleandoc(str(getattr(model, field))).splitlines()
                yield from (f"        {field}", *(f"            {line}" for line in text))
            yield from ("", f"    {escaped(given)}" if given else "", "")


class Studies(Listed):
    """Every study: what it shows, its command, its pictures with the command that drew them."""

    def lines(self) -> Iterable[str]:
        from twinspike import studies

        for name in studies.names():
            yield from (f".. rubric:: {name}", "", escaped(studies.summary(name)), "")
            yield from (f"``twinspike reproduce {name}``, about {studies.minutes(name):g} min on two cores", "")
            for picture in sorted(GALLERY.glob(f"{name}-*.svg")):
                command = re.search("<dc:description>(.*?)</dc:description>", picture.read_text("utf-8"))
                yield from (f".. figure:: /gallery/{picture.name}", f"   :alt: {picture.stem}", "")
                yield from (f"   ``{command[1] if command else ''}``", "")


FIELDS = (
    "equations", "threshold", "refractory", "reset", "every_step", "on_pre", "on_post", "transmits", "target", "receptor", "method"
)  # fmt: skip


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("registered", Registered)
    app.add_directive("names", Names)
    app.add_directive("models", Models)
    app.add_directive("studies", Studies)
    return {"parallel_read_safe": True}
