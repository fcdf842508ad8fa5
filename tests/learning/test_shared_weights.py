"""Projections that share weights learn as one, the derivatives by both added up; what is frozen stays as it is to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import ModelError, Network, RunError, learning, quantity
from neuro.compiler.parameters import parameters, values
from neuro.export import ExportError
from neuro.export.chain import complete
from neuro.export.quantisation.calibration import NetworkQuantiser, Scheme
from neuro.export.quantisation.quantisers import QuantiseError
from neuro.learning.common.parametrisation import ParameterError, Parametrisation
from neuro.learning.common.summed_inputs import silent
from neuro.learning.local.plasticity import Plasticity, PlasticityError
from neuro.surgery import removed
from tests.backends.able import able
from tests.backends.networks import networks
from tests.learning.test_rules import OPTIONS, TinyRecurrent, rule_of

LINEAR = {"weights": {"*": {"kind": "linear", "bits": 4}}}
SEARCHES = ("es", "pgpe", "snes", "sep-cma", "cma", "spsa", "wp", "np", "wp0", "hybrid", "finite-differences")
TRACES = ("eprop", "rflo", "snap1", "rtrl", "uoro")


class Window(TinyRecurrent):
    """Channels reach the cells at once and two steps later, by one set of weights; the readout is frozen. tied: whether they share them."""

    def __init__(self, tied: bool = True, frozen: bool = True) -> None:
        self.tied, self.frozen = tied, frozen

    def network(self, seed: int) -> Network:
        network = super().network(seed)
        feed, loop, out = network.projections
        late = replace(feed, name="late", delay=quantity("2 ms"), weights=None, shares="feed")
        if not self.tied:
            late = replace(late, weights=quantity(parameters(network)["feed.w"].value, "amp"), shares="")
        return replace(network, projections=(feed, late, loop, replace(out, frozen=self.frozen)))


@pytest.mark.parametrize("name", ["bptt", *TRACES, *SEARCHES])
def test_every_rule_keeps_them_the_same_and_the_frozen_still(name: str) -> None:
    rule, task = rule_of(name), Window()
    network = rule.attach(task.network(0)) if hasattr(rule, "attach") else task.network(0)
    program = backends.get("native").compile(network, dtype="float64")
    batch = replace(task.batch(), inputs=silent(network, task.batch().inputs))
    first = values(network)
    state, now = rule.init(program, first), dict(first)
    for _ in range(3):
        now, state, _ = rule.step(program, now, state, batch, task)
    np.testing.assert_array_equal(now["late.w"], now["feed.w"])
    np.testing.assert_array_equal(now["out.w"], first["out.w"])
    assert not np.array_equal(now["feed.w"], first["feed.w"])
    again = rule.load(program, rule.save(state))
    one, two = (rule.step(program, now, s, batch, task)[0] for s in (state, again))
    np.testing.assert_array_equal(one["late.w"], two["late.w"])


@pytest.mark.parametrize("name", ["bptt", "eprop", "rflo", "snap1", "rtrl"])
def test_the_gradient_is_the_sum_of_both(name: str) -> None:
    found = {}
    for tied in (True, False):
        task = Window(tied)
        program = backends.get("torch").compile(task.network(0), dtype="float64")
        found[tied] = rule_of(name).gradient(program, values(program.network), task.batch(), task)
    assert set(found[True]) == {"feed.w", "loop.w"}
    assert min(np.abs(found[False][n]).max() for n in ("feed.w", "late.w")) > 0
    both = found[False]["feed.w"] + found[False]["late.w"]
    np.testing.assert_allclose(found[True]["feed.w"], both, rtol=1e-12, atol=0)
    np.testing.assert_allclose(found[True]["loop.w"], found[False]["loop.w"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("backend", able("gradients"))
def test_one_name_has_the_whole_derivative(backend: str) -> None:
    task = Window()
    program = backends.get(backend).compile(task.network(0), dtype="float64")

    def loss(signals: Any) -> Any:
        return task.loss(signals.spikes, signals.traces, task.batch())

    def slopes(given: Any, *names: str) -> dict[str, np.ndarray]:
        return dict(program.value_and_grad(loss, given, task.batch().inputs, names, task.record())[1])

    parts = slopes({}, "feed.w", "late.w")
    assert min(np.abs(p).max() for p in parts.values()) > 0
    for name in ("feed.w", "late.w"):
        for given in ({}, values(program.network)):
            np.testing.assert_allclose(slopes(given, name)[name], parts["feed.w"] + parts["late.w"], rtol=1e-12)
    module = program.module()
    assert [*module.values()] == ["feed.w", "late.w", "loop.w"] and len([*module.parameters()]) == 2
    loss(module(task.batch().inputs, task.record())).backward()
    free = module.free["feed__w"].grad.numpy()
    np.testing.assert_allclose(free, 1e-9 * (parts["feed.w"] + parts["late.w"]), rtol=1e-9)


@pytest.mark.parametrize("names", [("loop.w",), ("loop.w", "again.w")], ids=len)
def test_prepared_gradients_are_those_of_a_call(names: tuple[str, ...]) -> None:
    network = networks()["graded"]
    loop = network.projection("loop")
    again = replace(loop, name="again", weights=None, shares="loop")
    program = backends.get("native").compile(replace(network, projections=(loop, again)), dtype="float64")
    inputs, given = {"x": np.random.default_rng(0).normal(size=(1, 20, 4))}, values(program.network)

    def loss(signals: Any) -> Any:
        return (signals.traces["rate.x"] ** 2).sum()

    prepared = program.prepared(names, ["rate.x"], steps=20)
    slopes = prepared(loss, given, inputs)[1]
    expected = program.value_and_grad(loss, {}, inputs, names, ["rate.x"])[1]
    for name in names:
        np.testing.assert_allclose(slopes[name], expected[name], rtol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "torch", "native", "brian2"])
def test_a_run_gets_them_by_one_name(backend: str) -> None:
    tied, apart = (backends.get(backend).compile(Window(tied).network(0), dtype="float64") for tied in (True, False))
    spikes = np.random.default_rng(1).random((1, 60, 6)) < 0.4
    other = 1.2 * values(tied.network)["feed.w"]
    for given in ({"feed.w": other}, {"late.w": other}, {"feed.w": other, "late.w": other}):
        found = tied.run(given, {"x": spikes}, ["cells.v"])
        expected = apart.run({"feed.w": other, "late.w": other}, {"x": spikes}, ["cells.v"])
        assert found.spikes["hidden"].sum() > 20
        np.testing.assert_array_equal(found.spikes["hidden"], expected.spikes["hidden"])
        np.testing.assert_array_equal(found.traces["cells.v"], expected.traces["cells.v"])
    with pytest.raises(RunError, match=r"'late.w' and 'feed.w' are the same weights, and got different ones"):
        tied.run({"feed.w": other, "late.w": 2 * other}, {"x": spikes})


def test_names_and_patterns() -> None:
    declared = parameters(Window().network(0))
    assert Parametrisation.of(declared, ["*.w"]).names == ("feed.w", "late.w", "loop.w")
    assert Parametrisation.of(declared, ["late.w"]).names == ("feed.w", "late.w")
    with pytest.raises(ParameterError, match=r"parameter 'out.w' is frozen; leave it out of trainable"):
        Parametrisation.of(declared, ["*.w", "out.w"])
    every = {n: replace(p, frozen=True) for n, p in declared.items()}
    with pytest.raises(ParameterError, match=r"all parameters that fit '\*.w', 'cells.\*' are frozen"):
        Parametrisation.of(every, ["*.w", "cells.*"])
    some = {n: replace(p, frozen=n.startswith("cells.")) for n, p in declared.items()}
    assert Parametrisation.of(some, ["loop.w", "cells.*"]).names == ("loop.w",)
    with pytest.raises(ParameterError, match="the same weights, and got different ones"):
        Parametrisation.of(declared, ["*.w"]).free({"feed.w": np.ones((6, 8)), "late.w": np.zeros((6, 8))})


def test_another_learning_rate_by_either_name() -> None:
    task = Window()
    program = backends.get("torch").compile(task.network(0), dtype="float64")
    moved = []
    for name in ("feed.w", "late.w"):
        rule = learning.get("bptt", optimiser="sgd", learning_rate=1e-3, learning_rates={name: 0.0})
        moved.append(rule.step(program, {}, rule.init(program), task.batch(), task)[0])
    np.testing.assert_allclose(moved[0]["feed.w"], values(program.network)["feed.w"], rtol=1e-12)
    assert all(np.array_equal(moved[0][n], moved[1][n]) for n in moved[0])
    assert not np.array_equal(moved[0]["loop.w"], values(program.network)["loop.w"])


def test_quantised_with_one_scale() -> None:
    task = Window()
    rule = learning.get("bptt", learning_rate=0.05, quantise=LINEAR)
    program = backends.get("torch").compile(task.network(0), dtype="float64")
    state, now = rule.init(program), dict(values(program.network))
    for _ in range(3):
        now, state, _ = rule.step(program, now, state, task.batch(), task)
    np.testing.assert_array_equal(now["late.w"], now["feed.w"])
    assert len(np.unique(np.abs(now["feed.w"]))) <= 8
    real = rule.results(state, now)["quantisation"]["shadow"]
    assert not np.array_equal(real["feed.w"], now["feed.w"])
    apart = Scheme.of({"weights": {**LINEAR["weights"], "late": {"kind": "linear", "bits": 8}}})
    with pytest.raises(QuantiseError, match=r"'feed', 'late' have the weights 'feed.w' in common"):
        NetworkQuantiser(task.network(0), apart)


def test_one_scale_wherever_they_lead() -> None:
    """Where the scheme has one scale for all weights into a cell, too: the loop's is that of the large first weights, and so its other use's."""
    network = Window().network(0)
    more = replace(network.population("hidden"), name="more")
    apart = replace(network.projection("loop"), name="apart", pre="more", post="more", weights=None, shares="loop")
    wider = replace(network, populations=(*network.populations, more), projections=(*network.projections, apart))
    scales = NetworkQuantiser(wider, Scheme.of({**LINEAR, "shared": True})).scales(values(wider))
    assert scales["apart.w"] == scales["loop.w"] == scales["feed.w"] != scales["out.w"]


def test_cells_that_go_from_both() -> None:
    network = Window().network(0)
    cut = removed(network, "hidden", [1, 4])
    after = values(cut.after)
    np.testing.assert_array_equal(after["feed.w"], np.delete(values(network)["feed.w"], [1, 4], axis=1))
    np.testing.assert_array_equal(after["late.w"], after["feed.w"])
    assert cut.after.projection("late").shares == "feed" and cut.after.projection("out").frozen
    loop = network.projection("loop")
    cells = (*network.populations, replace(network.population("hidden"), name="more"))
    apart = replace(loop, name="apart", pre="more", post="more", weights=None, shares="loop")
    with pytest.raises(
        ModelError, match=r"projection 'apart', shares: 'more' has 8 cells, and 'hidden', the pre of 'loop', 6"
    ):
        removed(replace(network, populations=cells, projections=(*network.projections, apart)), "hidden", [1, 4])


def test_a_rule_that_moves_cells_refuses_them() -> None:
    rule = learning.get("differentiable-structure", **OPTIONS["differentiable-structure"]["options"])
    network = OPTIONS["differentiable-structure"]["task"]().network(0)
    loop = next(p for p in network.projections if p.pre == p.post)
    shared = replace(
        network, projections=(*network.projections, replace(loop, name="again", weights=None, shares=loop.name))
    )
    program = backends.get("native").compile(shared, dtype="float64")
    with pytest.raises(ParameterError, match="the weights of 2 projections"):
        rule.init(program)


def test_exporters_and_audits_get_them_by_one_name() -> None:
    network = Window().network(0)
    other = 2 * values(network)["feed.w"]
    for given in ({"feed.w": other}, {"late.w": other}):
        for found in (values(network, given), complete(network, given)):
            np.testing.assert_array_equal(found["feed.w"], other)
            np.testing.assert_array_equal(found["late.w"], other)
    with pytest.raises(ExportError, match=r"feed.w, late.w are the same weights, and differ"):
        complete(network, {"feed.w": other, "late.w": 2 * other})


def test_a_local_rule_refuses_what_is_frozen_and_what_is_shared() -> None:
    network = Window().network(0)
    rule = Plasticity("grows", "", {"eta": "1 pA"}, "test", on_pre="w += eta")
    with pytest.raises(PlasticityError, match="projection 'out' is frozen"):
        rule.attach(network, "out")
    with pytest.raises(ModelError, match="change their weights during a run"):
        rule.attach(network, "feed")
