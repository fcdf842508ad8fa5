"""Wrong kinds of things in a definition are named, with a call that works; nothing but the project's own errors comes out."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro import (
    AllToAll,
    Distance,
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    Gamma,
    Input,
    LogNormal,
    ModelError,
    Network,
    Neuron,
    Normal,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
    Uniform,
    library,
    quantity,
)
from neuro.checks.common import other_name, reserved_problem
from neuro.language.units import UnitError
from neuro.library import lif, pulse

LIF_MODULE = importlib.import_module("neuro.library.lif")


def joined(**given: Any) -> Projection:
    return Projection("p", **{"pre": "a", "post": "b", "synapse": pulse, "weights": "1 nA", **given})


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "Brian2's condition": (lambda: joined(connectivity="i != j"), "write connectivity=AllToAll(self_connections=False)"),
    "a matrix": (lambda: joined(connectivity=np.eye(3)), "write connectivity=Pairs(*np.nonzero(matrix))"),
    "no connectivity": (lambda: joined(connectivity=None), "None is not a connectivity"),
    "the class": (lambda: joined(connectivity=AllToAll), "the class AllToAll is not a connectivity\n  fix: write connectivity=AllToAll()"),
    "a number": (lambda: joined(connectivity=0.1), "write connectivity=Probability(0.1)"),
    "a quantity": (lambda: joined(connectivity=quantity("1 mV")), "not a connectivity"),
    "plain weights": (lambda: joined(weights=np.ones((3, 4))), "fix: write weights=quantity(array, 'nA')"),
    "one plain weight": (lambda: joined(weights=3), "fix: write weights=quantity(3, 'nA')"),
    "a text for a neuron": (lambda: Population("c", "lif", 3), "'lif' is not a neuron\n  fix: write neuron=library.get('lif')"),  # type: ignore[arg-type]
    "a module": (lambda: Population("c", LIF_MODULE, 3), "the module neuro.library.lif is not a neuron\n  fix: write neuron=library.get('lif')"),  # type: ignore[arg-type]
    "a synapse for a neuron": (lambda: Population("c", pulse, 3), "Synapse 'pulse' is not a neuron"),
    "a neuron for a synapse": (lambda: joined(synapse=lif), "Neuron 'lif' is not a synapse"),
    "network of a text": (lambda: Network("cells"), "'cells' is not a population"),  # type: ignore[arg-type]
    "network of a table": (lambda: Network({"cells": lif}), "'dict' object is not a population"),  # type: ignore[arg-type]
    "network of neurons": (lambda: Network((lif,)), "Neuron 'lif' is not a population"),  # type: ignore[arg-type]
    "projections for inputs": (lambda: Network((Population("c", lif, 1),), (), (joined(),)), "Projection 'p' is not an input"),
    "seed": (lambda: Network((Population("c", lif, 1),), seed="1"), "'1' is no whole number"),  # type: ignore[arg-type]
    "probability": (lambda: Probability("0.1"), "probability, p: '0.1' is no number"),  # type: ignore[arg-type]
    "broken index": (lambda: Pairs([0.5], [1]), "Pairs, pre: a 'list' object holds other numbers than indices"),  # type: ignore[arg-type]
    "list of parameters": (lambda: Neuron("n", parameters=["tau"]), "write parameters={'name': '1 mV'}"),
    "number for text": (lambda: Neuron("n", 5), "neuron 'n', equations: 5 is no text"),  # type: ignore[arg-type]
    "keyword": (lambda: Population("lambda", lif, 3), "'lambda' can't be a name: it is a word of Python"),
    "underscore": (lambda: Population("_a", lif, 3), "'_a' can't be a name: it begins with an underscore"),
    "two underscores": (lambda: Population("a__b", lif, 3), "'a__b' can't be a name: two underscores in a row are kept"),
    "foreign letter": (lambda: Population("\u03c4", lif, 3), "which is not an ASCII letter"),
    "digit": (lambda: Population("9a", lif, 3), "'9a' can't be a name: it begins with a digit"),
    "reserved word": (lambda: Neuron("n", "dxi/dt = 1/ms : 1"), "'xi' is reserved: it is noise"),
    "receptor's array": (
        lambda: Projection("p", "a", "b", library.get("exponential_current"), weights="1 nA", parameters={"tau_syn": quantity([5, 6], "ms")}),
        "'tau_syn' belongs to the receptor, which a cell has once",
    ),
    "endless delay": (lambda: Network((Population("b", lif, 1),), (joined(pre="b", delay="inf ms"),)), "is more than 1000000000 steps"),
    "endless refractory period": (lambda: Network((Population("b", Neuron("n", "v : 1", refractory="inf ms"), 1),)), "more than"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), CASES.values(), ids=CASES)
def test_the_error_names_what_was_given_and_the_call_that_works(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        make()
    assert said in str(caught.value)


def test_the_library_gives_neurons_and_synapses_by_name() -> None:
    from neuro.library import exponential_current  # the modules have the same names

    assert isinstance(lif, Neuron) and library.get("lif") is library.lif and isinstance(exponential_current, Synapse)
    with pytest.raises(ImportError):
        from neuro.library import no_such_cell  # type: ignore[attr-defined]  # noqa: F401
    assert {"lif", "pulse", "get"} <= set(dir(library))


@given(
    st.text(st.characters(codec="ascii"), min_size=1, max_size=8)
    | st.sampled_from(["xi_1", "t", "mV", "v_pre", "if", "_", "a__b"])
)
def test_a_name_that_is_proposed_can_be_had(name: str) -> None:
    assert reserved_problem(other_name(name)) is None


class _Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


HOSTILE: list[Any] = [
    *(
        None,
        "",
        "x",
        "1 mV",
        b"x",
        0,
        -1,
        1.5,
        10**400,
        float("nan"),
        1j,
        True,
        [],
        [1],
        ["x"],
        {},
        {"x": 1},
        {1: 2},
        {"x": None},
    ),
    *(
        (1, 2),
        ("1 mV", "2 mV"),
        {1},
        object(),
        int,
        print,
        ...,
        _Hostile(),
        np.ones(3),
        np.zeros((0,)),
        np.array(["x"]),
    ),
    *(
        np.array([None]),
        np.array([1, 2]),
        quantity("1 mV"),
        quantity([1, 2], "ms"),
        lif,
        pulse,
        AllToAll(),
        AllToAll,
        LIF_MODULE,
    ),
    *(Population("c", lif, 2), Input("x", 1), Normal("1 mV", "1 mV"), Normal, (x for x in "ab"), range(2)),
]
GOOD: dict[type, dict[str, Any]] = {
    Neuron: {"name": "n", "equations": "dv/dt = -v/tau : 1", "threshold": "v > 1", "parameters": {"tau": "1 ms"}},
    Synapse: {"name": "s", "equations": "w : 1", "on_pre": "v_post += w"},
    Population: {"name": "c", "neuron": lif, "size": 2},
    Projection: {"name": "p", "pre": "c", "post": "c", "synapse": pulse, "weights": "1 nA"},
    Input: {"name": "x", "size": 2, "kind": "poisson", "rate": "1 Hz"},
    Network: {
        "populations": [Population("c", lif, 2)],
        "projections": [joined(pre="c", post="c")],
        "inputs": [Input("x", 2)],
    },
    Probability: {"p": 0.5},
    AllToAll: {},
    FixedTotal: {"n": 3},
    FixedInDegree: {"k": 3},
    FixedOutDegree: {"k": 3},
    Distance: {"profile": "exp(-d)"},
    Pairs: {"pre": [0], "post": [1]},
    Normal: {"mean": "1 mV", "std": "1 mV"},
    Uniform: {"low": "1 mV", "high": "2 mV"},
    LogNormal: {"mean": "1 mV", "std": "1 mV"},
    Gamma: {"mean": "1 mV", "std": "1 mV"},
}
PLACES = [(kind, f.name) for kind in GOOD for f in fields(kind)]


@pytest.mark.filterwarnings("ignore::neuro.checks.ModelWarning")
@pytest.mark.parametrize(("kind", "name"), PLACES, ids=[f"{k.__name__}.{n}" for k, n in PLACES])
def test_hostile_values_give_model_errors_only(kind: type, name: str) -> None:
    made = kind(**GOOD[kind])
    for value in HOSTILE:
        try:
            made = kind(**{**GOOD[kind], name: value})
        except ModelError as error:
            assert all(problem.where and problem.fix for problem in error.problems)
            continue
        assert hash(made) == hash(made) and made == made


def network(**given: Any) -> Network:
    cells = Population("c", lif, 3, {"R": quantity([1, 2, 3], "Mohm")}, {"v": Uniform("-70 mV", "-60 mV")})
    feed = Projection(
        "p", "x", "c", pulse, Normal("1 nA", "0.1 nA"), Pairs([0, 1], [1, 2]), sign="+", bounds=("0 nA", None)
    )
    return Network((cells,), (feed,), (Input("x", 2),), **given)


def test_networks_pickle_and_are_keys() -> None:
    again = pickle.loads(pickle.dumps(network()))
    assert again == network() and hash(again) == hash(network()) and {network(): 1}[again] == 1
    assert network(seed=1) != network() and network(seed=1) not in {network(): 1}


def test_conversions_raise_unit_errors_only() -> None:
    for value in HOSTILE:
        try:
            quantity(value)
        except UnitError as error:
            assert str(error)
