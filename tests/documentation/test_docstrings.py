"""Every public name has a docstring, and every name that `neuro` gives is explained on a page of the reference."""

from __future__ import annotations

from importlib import import_module

import neuro
from tests.documentation.public import everything, modules, named, text


def test_every_public_name_has_a_docstring() -> None:
    names = everything()
    assert len({id(thing) for thing in names.values()}) > 10 * len(modules()) > 300
    assert [name for name, thing in names.items() if not text(name, thing).strip()] == []


def test_a_name_without_one_is_found() -> None:
    def bare() -> None: ...

    class Bare:
        pass

    assert text("bare", bare) == text("Bare", Bare) == ""
    assert "One epoch" in text("Anything.train_batches", bare)


def test_the_reference_has_every_name_of_neuro() -> None:
    explained = {name for module in modules() if module != "neuro" for name in named(import_module(module))}
    assert [name for name in neuro.__all__ if name not in explained] == []
