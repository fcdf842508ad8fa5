"""Options of the wrong kind: a refusal by name or the right result, from every backend and entry; nothing is dropped in silence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    Input,
    ModelError,
    Network,
    Pairs,
    Population,
    Projection,
    RunError,
    UnsupportedError,
    library,
    lower,
    quantity,
)
from neuro.language.units import UnitError
from tests.backends.able import able

NETWORK = Network(
    [Population("c", library.get("lif"), 3)],
    [Projection("j", "x", "c", library.get("pulse"), weights="1 nA")],
    [Input("x", 4)],
    dt="1 ms",
)
SPIKES = np.random.default_rng(0).random((2, 40, 4)) < 0.3
BACKENDS = backends.names()
DIFFERENTIABLE = able("gradients")
WRONG: list[Any] = [
    None,
    3,
    2.5,
    b"x",
    [3],
    [None],
    object(),
    np.ones((2, 2)),
    np.nan,
    memoryview(np.ones((2, 2))),
    {1: 2},
    len,
]
CLEAR = (ModelError, RunError, UnsupportedError, UnitError, backends.UnknownBackendError, library.UnknownModelError)


def text_of(call: Callable[[], Any]) -> str:
    """What the error says; any other error fails the test."""
    with pytest.raises(Exception) as caught:
        call()
    assert isinstance(caught.value, CLEAR) or type(caught.value).__name__ == "UnknownSurrogateError", repr(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("make", [iter, set, tuple, np.array, dict.fromkeys, lambda n: (x for x in [*n, *n])])
def test_names_come_in_any_collection(name: str, make: Callable[[Any], Any]) -> None:
    program = backends.get(name).compile(NETWORK)
    wanted = program.run(inputs={"x": SPIKES}, record=["c.v"])
    found = program.run(inputs={"x": SPIKES}, record=make(["c.v"]))
    assert list(found.traces) == ["c.v"] and found.spike_count() > 10
    np.testing.assert_array_equal(found.traces["c.v"], wanted.traces["c.v"])


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("make", [iter, set, lambda n: (x for x in [*n, *n])])
def test_gradients_for_names_in_any_collection(name: str, make: Callable[[Any], Any]) -> None:
    program = backends.get(name).compile(NETWORK)

    def loss(signals: Any) -> Any:
        return signals.traces["c.v"].sum()

    _, wanted = program.value_and_grad(loss, {}, {"x": SPIKES}, ["j.w"], ["c.v"])
    _, found = program.value_and_grad(loss, {}, {"x": SPIKES}, make(["j.w"]), make(["c.v"]))
    np.testing.assert_array_equal(found["j.w"], wanted["j.w"])
    assert np.abs(wanted["j.w"]).sum() > 0
    assert len(list(program.module(make(["j.w"])).parameters())) == 1


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: type(w).__name__)
def test_wrong_lists_of_names_are_refused(name: str, wrong: Any) -> None:
    program = backends.get(name).compile(NETWORK)
    assert "record=['" in text_of(lambda: program.run(inputs={"x": SPIKES}, record=wrong))
    if name in DIFFERENTIABLE:
        assert "wrt=['" in text_of(
            lambda: program.value_and_grad(lambda s: s.spikes["c"].sum(), {}, {"x": SPIKES}, wrong)
        )
        assert "detached=['" in text_of(lambda: program.variant(detached=wrong))
        assert "feedback=['" in text_of(lambda: backends.get(name).compile(NETWORK, feedback=wrong))
        if wrong is not None:  # all weights
            assert "trainable=['" in text_of(lambda: program.module(wrong))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_one_text_is_no_list(name: str) -> None:
    program = backends.get(name).compile(NETWORK)
    assert "trainable=['j.w']" in text_of(lambda: program.module("j.w"))
    assert "wrt=['j.w']" in text_of(
        lambda: program.value_and_grad(lambda s: s.spikes["c"].sum(), {}, {"x": SPIKES}, "j.w")
    )
    assert "detached=['j']" in text_of(lambda: backends.get(name).compile(NETWORK, detached="j"))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize(
    "loss", [None, 3, "sum", lambda s: 1.0, lambda s: None, lambda s: s.spikes["c"], lambda s: s.spikes["c"].sum() > 0]
)
def test_losses_that_are_none(name: str, loss: Any) -> None:
    program = backends.get(name).compile(NETWORK)
    assert "signals" in text_of(lambda: program.value_and_grad(loss, {}, {"x": SPIKES}, ["j.w"]))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("wrong", [*WRONG, "no", "1 nA", {}, []], ids=lambda value: type(value).__name__)
def test_compile_refuses_wrong_kinds(name: str, wrong: Any) -> None:
    backend = backends.get(name)
    assert "Network([" in text_of(lambda: backend.compile(wrong))
    assert "float64" in text_of(lambda: backend.compile(NETWORK, dtype=wrong))
    for option in ("target", "surrogate", "threads", "trials", "detach_reset", "compile"):
        if option in ("threads", "trials") and wrong is WRONG[1]:
            continue
        assert option in text_of(lambda option=option: backend.compile(NETWORK, **{option: wrong}))
    if name in DIFFERENTIABLE:
        program = backend.compile(NETWORK)
        assert "float64" in text_of(lambda: program.in_dtype(wrong))
        if wrong is not None:
            assert "detach_reset=True" in text_of(lambda: program.variant(detach_reset=wrong))


@pytest.mark.parametrize("wrong", [*WRONG, {}, []], ids=lambda value: type(value).__name__)
def test_names_and_units_of_wrong_kinds(wrong: Any) -> None:
    assert "Network([" in text_of(lambda: lower(wrong))
    for get in (backends.get, library.get):
        assert "known" in text_of(lambda get=get: get(wrong))
    if wrong is not None:  # no unit
        assert "is not a unit" in text_of(lambda: quantity(1.0, wrong))
    assert "is not a unit" in text_of(lambda: quantity("1 nA").to(wrong))


def test_line_ends_around_a_unit_are_no_part_of_it() -> None:
    assert str(quantity(2.0, " nA\n")) == "2 nA" and quantity(2.0, "nA\n") == quantity("2 nA")
    assert quantity(2.0, "") == quantity(2.0, "1") == quantity(2.0)


@pytest.mark.parametrize("name", BACKENDS)
def test_more_parameter_sets_than_fit_are_refused_before_anything_is_made(name: str) -> None:
    text = text_of(lambda: backends.get(name).compile(NETWORK).run(inputs={"x": SPIKES}, population=10**12))
    assert "population" in text and ("fewer" in text or "one parameter set" in text)


def test_lists_of_parts_that_are_none() -> None:
    import torch

    for name in ("populations", "projections", "inputs"):
        parts: dict[str, Any] = {"populations": NETWORK.populations, name: torch.tensor(1.0)}
        assert f"{name}=[" in text_of(lambda parts=parts: Network(**parts))


@pytest.mark.parametrize("wrong", [0, -1, np.int64(3), np.zeros((2, 2)), [[0, 1]]], ids=repr)
def test_pairs_are_lists_of_indices(wrong: Any) -> None:
    assert "is no list of indices" in text_of(lambda: Pairs(wrong, wrong))
