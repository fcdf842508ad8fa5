"""Gradient flossing: its gradients against finite differences, what it leaves out in local form, and what it does to exponents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import (
    Input,
    Network,
    Normal,
    Population,
    Projection,
    RunError,
    UnsupportedError,
    learning,
    library,
    quantity,
)
from neuro.analysis import lyapunov
from neuro.compiler.parameters import values
from neuro.protocols import Batch

TASK = tasks.get("match-to-sample", hidden=8, gain=0.5)
NETWORK = TASK.network(0)
BATCH = TASK.sample(np.random.default_rng(0), 3)


def program(name: str = "torch", network: Network = NETWORK, **options: Any) -> Any:
    return backends.get(name).compile(network, dtype="float64", **options)


def rule(**options: Any) -> Any:
    return learning.get("flossing", **{"exponents": 3, "trials": 3, **options})


def slope(function: Any, parameters: Any, name: str, place: tuple[int, int], size: float = 1e-6) -> float:
    """By finite differences."""
    moved = []
    for sign in (1, -1):
        array = parameters[name].copy()
        array[place] += sign * size
        moved.append(float(function({**parameters, name: array})))
    return (moved[0] - moved[1]) / (2 * size)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_full_form_is_the_derivative_of_the_exponents(backend: str) -> None:
    start, made, floss = values(NETWORK), program(backend), rule(target=-0.05)
    found = floss.gradient(made, start, BATCH, TASK)

    def loss(parameters: Any) -> Any:
        return ((floss.leading(made, parameters, BATCH) + 0.05) ** 2).mean()

    for name, place in (("loop.w", (1, 2)), ("loop.w", (3, 3)), ("feed.w", (0, 5))):
        assert found[name][place] == pytest.approx(slope(loss, start, name, place), rel=1e-5)
    assert not found["readout.w"].any()


def test_exponents_are_those_of_the_spectrum() -> None:
    made, start = program(), values(NETWORK)
    inputs, each = lyapunov.in_sequence(BATCH.inputs, 3)
    recording = made.run(inputs=inputs, record=lyapunov.needed(NETWORK))
    wanted = lyapunov.spectrum(NETWORK, recording, 3, transient=each, seed=0).per_step
    assert np.sort(rule().leading(made, start, BATCH).numpy())[::-1] == pytest.approx(wanted, abs=1e-9)


def test_local_form_is_an_outer_product_of_tangents() -> None:
    """al <D Q R^-1 e_i, q'_i>: with trajectory and Q frozen, worked out in numpy alone."""
    start, made, leak, number = values(NETWORK), program("reference"), 0.2, 3
    inputs, each = lyapunov.in_sequence(BATCH.inputs, 3)
    x = made.run(inputs=inputs, record=["hidden.x"]).traces["hidden.x"][0]
    weights = start["loop.w"]
    size = next(
        iter(lyapunov.spectrum(NETWORK, made.run(inputs=inputs, record=lyapunov.needed(NETWORK)), 1).growth)
    ).shape[0]
    assert size
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((1, 8, number)))[0][0]
    total, growth, counted = np.zeros((number, 8, 8)), np.zeros(number), 0
    for k in range(1, len(x)):
        gated = (1 - np.tanh(x[k - 1]) ** 2)[:, None] * q
        new, r = np.linalg.qr((1 - leak) * q + leak * weights.T @ gated)
        if k >= each:
            lifted = gated @ np.linalg.inv(r)
            total += leak * np.einsum("ji,ki->ijk", lifted, new)  # [exponent, pre, post]
            growth, counted = growth + np.log(np.abs(np.diag(r))), counted + 1
        q = new
    exponents = growth / counted
    wanted = np.einsum("i,ijk->jk", 2 * exponents / number, total / counted)
    found = rule(form="local", trainable=("loop.w",)).gradient(made, start, BATCH, TASK)["loop.w"]
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    full = rule(trainable=("loop.w",)).gradient(program(), start, BATCH, TASK)["loop.w"]
    assert np.abs(full - found).max() > 0.1 * np.abs(found).max()


@pytest.mark.parametrize("form", ["full", "local"])
def test_updates_bring_the_exponents_to_the_target(form: str) -> None:
    made, floss = program("native"), rule(form=form, exponents=1, trainable=("loop.w",), learning_rate=0.01)
    parameters: Any = values(NETWORK)
    state, before = floss.init(made), float(floss.leading(made, parameters, BATCH)[0])
    for _ in range(25):
        parameters, state, metrics = floss.step(made, parameters, state, BATCH, TASK)
    assert metrics["loss"] < before**2 / {"full": 10, "local": 2}[form]  # local steps are not the steepest
    assert np.array_equal(parameters["readout.w"], values(NETWORK)["readout.w"])


def spiking() -> tuple[Network, Batch]:
    cells = Population("cells", library.get("cuba_lif"), 6)
    loop = Projection(
        "loop", "cells", "cells", library.get("current_jump"), Normal(quantity("0 nA"), quantity("0.3 nA"))
    )
    network = Network((cells,), (loop,), (Input("x", 6, "current", "cells.I"),), dt="1 ms", seed=2)
    drive = np.random.default_rng(1).normal(0.5e-9, 0.3e-9, (2, 40, 6))
    return network, Batch({"x": drive}, np.zeros(2))


def test_spiking_networks_have_surrogate_exponents() -> None:
    network, batch = spiking()
    floss, start = rule(exponents=2, trials=2, resets="ignored"), values(network)
    torched, native = (program(b, network, surrogate="atan") for b in ("torch", "native"))
    inputs, _ = lyapunov.in_sequence(batch.inputs, 2)
    assert torched.run(inputs=inputs).spike_count() > 5
    found = floss.gradient(torched, start, batch, None)["loop.w"]
    assert found.any()
    assert floss.gradient(native, start, batch, None)["loop.w"] == pytest.approx(
        found, rel=1e-8, abs=1e-8 * np.abs(found).max()
    )
    local = rule(exponents=2, trials=2, resets="ignored", form="local", surrogate="atan")
    frozen = local.gradient(program("reference", network), start, batch, None)["loop.w"]
    assert frozen == pytest.approx(local.gradient(native, start, batch, None)["loop.w"], rel=1e-8)
    with pytest.raises(UnsupportedError, match="name the surrogate"):
        rule(form="local").init(program("reference", network))


def test_what_it_refuses() -> None:
    with pytest.raises(UnsupportedError, match="form='local'"):
        rule().init(program("reference"))
    with pytest.raises(learning.UnknownRuleError, match="exponents=0; use a whole number from 1 on"):
        rule(exponents=0)
    with pytest.raises(learning.UnknownRuleError, match="form"):
        rule(form="half")
    network, batch = spiking()
    floss = rule(exponents=9, trials=2, form="local", surrogate="none")
    with pytest.raises(RunError, match=r"use exponents=\d at most"):
        floss.leading(program("reference", network), values(network), batch)
