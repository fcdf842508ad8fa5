"""Older names of modules."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from neuro.moved import MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_the_older_name_is_the_same_module_and_says_where_it_is(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module(new)
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"'{old}' is '{new}' now"):
        assert import_module(old) is module
    spec = module.__spec__
    assert spec is not None and spec.name == new


def test_a_script_outside_goes_on_working() -> None:
    code = "from neuro.parameters import values; from neuro.serialisation import to_json; print(values.__module__)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["neuro.compiler.parameters"]


def test_other_names_stay_unknown() -> None:
    assert find_spec("neuro.nowhere") is None
