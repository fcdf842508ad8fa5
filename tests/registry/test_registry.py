"""What every registry does alike: suggestions, options by name, missing packages, other packages' mistakes and clashes."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest

import backends
import tasks
from neuro import learning, library
from neuro.compiler import surrogates
from neuro.export import targets
from neuro.export.quantisation import quantisers
from neuro.options import OptionError, checked, one_of
from neuro.registry import EXTRAS, MissingPackageError, Registry
from tests.registry.packages import install

ROOT = Path(__file__).parents[2]
GETTERS: dict[str, tuple[Callable[..., Any], type[Exception], str, str]] = {
    "backend": (backends.get, backends.UnknownBackendError, "tor", "torch"),
    "task": (tasks.get, tasks.UnknownTaskError, "digit", "digits"),
    "rule": (learning.get, learning.UnknownRuleError, "bppt", "bptt"),
    "target": (targets.get, targets.UnknownTargetError, "loihi", "loihi2"),
    "quantiser": (quantisers.get, quantisers.QuantiseError, "liner", "linear"),
    "surrogate": (surrogates.derivative, surrogates.UnknownSurrogateError, "attan", "atan"),
    "library": (library.get, library.UnknownModelError, "liff", "lif"),
}
MAKERS = {"task": "digits", "rule": "bptt", "surrogate": "atan"}
each = pytest.mark.parametrize("kind", GETTERS)


@each
def test_a_wrong_name_gets_a_suggestion_or_all_names(kind: str) -> None:
    get, error, wrong, right = GETTERS[kind]
    with pytest.raises(error, match=f"{wrong}'; did you mean '{right}'"):
        get(wrong)
    with pytest.raises(error, match=rf"'zzzzzz'; known: .*\b{right}\b"):
        get("zzzzzz")


@each
@pytest.mark.parametrize(
    "name", [None, 3, 2.5, b"x", ["lif"], {}, object(), np.ones(2), len], ids=lambda v: type(v).__name__
)
def test_what_is_no_name_is_refused_by_name(kind: str, name: Any) -> None:
    get, error, _, right = GETTERS[kind]
    with pytest.raises(error, match=rf"names no .*; known: .*\b{right}\b"):
        get(name)


@pytest.mark.parametrize("kind", MAKERS)
def test_options_that_are_not_there(kind: str) -> None:
    get, error, _, _ = GETTERS[kind]
    with pytest.raises(error, match=f"{kind} '{MAKERS[kind]}': there is no option 'nope'; known: "):
        get(MAKERS[kind], nope=1)


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        ("task", "digits", {"hidden": "many"}, "hidden='many'; it takes a whole number"),
        ("task", "digits", {"hiden": 3}, "no option 'hiden'; did you mean 'hidden'"),
        ("task", "digits", {"recurrent": "no"}, "recurrent='no'; it takes True or False"),
        ("task", "digits", {"encoder": "morse"}, "encoder 'morse'; use one of latency, rate, poisson"),
        ("task", "pattern", {"steps": [3]}, r"steps=\[3\]; it takes a whole number"),
        ("task", "pattern", {"name": "x"}, "no option 'name'"),
        ("task", "add", {"t1": 9}, "t1=9, t2=6, steps=100: they must rise"),
        ("rule", "bptt", {"trainable": "*.w"}, r"trainable='\*.w'; it takes a list of texts; write trainable=\['\*.w'\]"),
        ("rule", "bptt", {"learning_rate": True}, "learning_rate=True; it takes a number"),
        ("rule", "bptt", {"quantise": [4]}, r"quantise=\[4\]; it takes a table"),
        ("rule", "eprop", {"feedback": "both"}, "feedback 'both'; use one of"),
        ("rule", "es", {"sigma": None}, "sigma=None; it takes a number or a table of numbers"),
        ("rule", "es", {"samples": 2.5}, r"samples=2.5; it takes a whole number"),
        ("rule", "es", {"candidates": 3}, "no option 'candidates'; known: .*samples.*sigma"),
        ("rule", "np", {"kind": "wp0"}, "no option 'kind'"),
        ("rule", "stdp", {}, "projection"),
        ("surrogate", "atan", {"alpha": "wide"}, "alpha='wide'; it takes a number"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(kind: str, name: str, options: dict[str, Any], message: str) -> None:
    get, error, _, _ = GETTERS[kind]
    with pytest.raises(error, match=f"{kind} '{name}': .*{message}"):
        get(name, **options)


def test_lists_become_tuples_where_they_are_declared() -> None:
    for rule in ("bptt", "es", "np"):
        assert learning.get(rule, trainable=["a.w"]).trainable == ("a.w",)


# -- options --------------------------------------------------------------------------------------------------------


def takes(
    count: int = 1, rate: float = 1.0, flag: bool = False, names: Sequence[str] = (), pairs: tuple[int, float] = (1, 2.0),
    table: Mapping[str, float] | None = None, way: Literal["up", "down"] = "up", call: Callable[..., Any] = len, other: Any = 1,
) -> dict[str, Any]:  # fmt: skip
    return dict(locals())


@pytest.mark.parametrize(
    "options",
    [
        {"count": np.int64(3)}, {"rate": 3}, {"rate": np.float32(0.5)}, {"rate": np.array(0.5)}, {"flag": np.True_},
        {"names": ["a"]}, {"names": ("a",)}, {"table": None}, {"table": {"a": 1}}, {"way": "down"}, {"call": max},
        {"other": object()}, {"pairs": (1, 2.0)},
    ],
)  # fmt: skip
def test_what_fits_is_taken(options: dict[str, Any]) -> None:
    assert checked(takes, options) == options


@pytest.mark.parametrize(
    "options",
    [
        {"count": 1.0}, {"count": True}, {"count": None}, {"rate": "1"}, {"rate": np.ones(2)}, {"flag": 1}, {"names": "a"},
        {"names": [1]}, {"table": {"a": "b"}}, {"table": [1]}, {"way": "left"}, {"call": 3}, {"nope": 1},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(OptionError, match=name):
        checked(takes, options)


def test_missing_options_and_makers_without_a_signature() -> None:
    def one(first: int, *, second: str) -> None: ...

    with pytest.raises(OptionError, match="option 'second' is missing; it takes text"):
        checked(partial(one, 3), {})
    assert checked(dict, {"anything": 1}) == {"anything": 1}


def test_a_choice_is_of_the_choices_kind() -> None:
    one_of("pixels", np.int64(16), (16, 64))
    for wrong in (True, "16", 16.0, [16]):
        with pytest.raises(OptionError, match=r"pixels .*; use one of 1, 16"):
            one_of("pixels", wrong, (1, 16))


# -- defects --------------------------------------------------------------------------------------------------------


class Unknown(Exception):
    pass


class Thing:
    ready = True

    def __init__(self, size: int = 1, way: Any = "up") -> None:
        if size > 5:
            len(size)  # type: ignore[arg-type]  # a defect
        one_of("way", way, ("up", "down"))


ONE = SimpleNamespace(name="one")
OURS = {
    "thing": f"{__name__}:Thing",
    "gone": "neuro.gone:Thing",
    "lacks": "lacking_module:Thing",
    "typo": f"{__name__}:Thin",
}


def registry(**options: Any) -> Registry:
    return Registry("thing", OURS, Unknown, "neuro.things", **options)


def test_a_defect_inside_is_no_mistake_of_the_user() -> None:
    with pytest.raises(TypeError, match="has no len") as caught:
        registry().make("thing", {"size": 9})
    assert any("thing 'thing', made with {'size': 9}" in note for note in caught.value.__notes__)
    with pytest.raises(Unknown, match="thing 'thing': way 'left'; use one of up, down"):
        registry().make("thing", {"way": "left"})
    with pytest.raises(
        Unknown, match=rf"thing 'typo' \({__name__}:Thin\): '{__name__}' has no 'Thin'; did you mean 'Thing'"
    ):
        registry().get("typo")


def test_a_thing_is_called_what_it_is_registered_as() -> None:
    named = Registry("thing", {"one": f"{__name__}:ONE", "two": f"{__name__}:ONE"}, Unknown, needs=("name",))
    assert named.get("one") is ONE
    with pytest.raises(Unknown, match="thing 'two' is registered under this name, but calls itself 'one'"):
        named.get("two")


def test_missing_packages_say_how_to_get_them() -> None:
    with pytest.raises(
        Unknown, match="thing 'lacks' needs the package 'lacking_module'; install it: pip install lacking_module"
    ):
        registry().get("lacks")
    with pytest.raises(
        Unknown, match=r"thing 'gone' \(neuro.gone:Thing\): there is no module 'neuro.gone' in this inst"
    ):
        registry().get("gone")


@pytest.mark.parametrize(
    ("call", "error", "extra"),
    [
        ("learning.get('bptt')", "learning.UnknownRuleError", "torch"),
        ("backends.get('torch')", "backends.UnknownBackendError", "torch"),
        ("backends.get('brian2')", "backends.UnknownBackendError", "brian2"),
    ],
)
def test_our_own_without_an_extra(call: str, error: str, extra: str) -> None:
    code = f"""
import sys
sys.modules["{extra}"] = None
import backends
from neuro import learning
try:
    {call}
except {error} as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"needs the package '{extra}'; install it: pip install 'twinspike[{extra}]'" in found.stdout


def test_the_extras_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(re.match(rf"{package}\b", wanted) for wanted in extras[extra])


def test_importing_neuro_stays_cheap() -> None:
    heavy = {"sympy", "torch", "h5py", "pint", "numpy", "importlib.metadata", "neuro.registry"}
    code = f"import sys; before = set(sys.modules); import neuro; sys.exit(str(({heavy!r} & set(sys.modules)) - before or ''))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stderr.strip() == ""


# -- other packages -------------------------------------------------------------------------------------------------

GROUP = "neuro.things"


def test_their_names_are_found_and_a_new_one_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert registry().names() == tuple(OURS)
    install(tmp_path, "acme_found", {GROUP: {"theirs": "acme_found.it:Maker"}}, it="class Maker:\n    ready = 1\n")
    assert registry().names() == (*OURS, "theirs")
    assert registry(needs=("ready",)).make("theirs", {}).ready == 1
    with pytest.raises(Unknown, match="did you mean 'theirs'"):
        registry().get("their")


@pytest.mark.parametrize(
    ("value", "text", "message"),
    [
        ("acme_bad.it:Maker", "import lacking_module\n", "needs the package 'lacking_module'; install it: pip install lacking_module"),
        ("acme_bad.it:Maker", "1/0\n", "can't be imported: ZeroDivisionError: division by zero; ask its authors"),
        ("acme_bad.it:Maker", "def\n", "can't be imported: SyntaxError"),
        ("acme_bad.it:Maker", "Other = 1\n", "can't be imported: AttributeError: .*'Maker'"),
        ("acme_bad.none:Maker", "", "can't be imported: ModuleNotFoundError: No module named 'acme_bad.none'"),
        ("acme_bad.it:Maker", "Maker = 3\n", "is 3, no class or function"),
        ("acme_bad.it:Maker", "Maker = dict\n", "gives a 'dict' object, which has no ready"),
        ("acme_bad.it:Maker", "def Maker(): import lacking_module\n", "needs the package 'lacking_module'"),
    ],
)  # fmt: skip
def test_their_mistakes_name_the_package(
    value: str, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "acme_bad", {GROUP: {"theirs": value}}, it=text)
    whole = rf"thing 'theirs' of the package 'acme_bad' \({value}\) {message}"
    for _ in range(2):  # a second call is no other
        with pytest.raises(Unknown, match=whole):
            registry(needs=("ready",)).make("theirs", {})
        assert isinstance(registry().make("thing", {}), Thing)
    for module in [m for m in sys.modules if m.startswith("acme_bad")]:
        del sys.modules[module]


def test_a_name_of_two_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(
        tmp_path,
        "acme_one",
        {GROUP: {"thing": "acme_one.it:Maker", "both": "acme_one.it:Maker", "own": "acme_one:__name__"}},
    )
    install(tmp_path, "acme_two", {GROUP: {"both": "acme_two.it:Maker", "any": "acme_two.it:Maker"}})
    with pytest.raises(
        Unknown, match=r"the package 'acme_one' \(acme_one.it:Maker\) registers this name .*one of ours"
    ):
        registry().get("thing")
    with pytest.raises(
        Unknown, match=r"the packages 'acme_(one|two)' .* and 'acme_(one|two)' .* the same name .*remove one"
    ):
        registry().get("both")
    with pytest.raises(Unknown, match="one of ours"):
        registry(words=("any",)).check("any")
    assert registry().get("own") == "acme_one"
    assert sorted(registry().names()) == sorted({*OURS, "both", "own", "any"})


def test_a_clash_with_a_word_of_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "acme_auto", {"neuro.backends": {"auto": "acme_auto:Backend", "torch": "acme_auto:Backend"}})
    for name in ("auto", "torch"):
        with pytest.raises(backends.UnknownBackendError, match=f"backend '{name}': the package 'acme_auto'"):
            backends.get(name)
    assert backends.get("reference").name == "reference"


def test_a_rule_whose_package_is_missing_says_so_when_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cma", None)
    program = backends.get("torch").compile(tasks.get("rflo", hidden=3).network(0))
    message = re.escape("rule 'cma' needs the package 'cma'; install it: pip install 'twinspike[cma]'")
    with pytest.raises(MissingPackageError, match=message):
        learning.get("cma").init(program)
