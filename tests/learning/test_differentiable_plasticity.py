"""Differentiable plasticity: the rule acts on rho as it does on a weight, everywhere alike, and gradients pass through what it learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, quantity
from neuro.compiler.parameters import values
from neuro.learning.local.bcm import bcm
from neuro.learning.local.differentiable import differentiable
from neuro.learning.local.oja import oja
from neuro.learning.local.plasticity import Plasticity, PlasticityError
from neuro.learning.local.stdp import stdp
from tasks.rate_networks import linear
from tests.backends.able import able

PLASTIC = able("plasticity")
Array = np.ndarray
MODULATED = replace(linear, name="modulated", equations=f"{linear.equations}\nm : 1")


def network(synapse: Synapse, start: Array, cells: Neuron = linear, **parameters: Any) -> Network:
    """Linear inputs -> linear cells through that synapse. start: rho [pre, post] before the first step. What modulates them is given."""
    pre, post = start.shape
    given = [Input("x", pre, "current", "inputs.z")]
    given += [Input("m", post, "current", "cells.m")] if cells is MODULATED else []
    feed = Projection(
        "feed", "inputs", "cells", synapse, quantity(np.zeros(start.shape), ""),
        parameters={n: quantity(v, "") for n, v in parameters.items()}, initial={"rho": quantity(start, "")},
    )  # fmt: skip
    return Network((Population("inputs", linear, pre), Population("cells", cells, post)), (feed,), given, dt="1 ms")


def learned(rule: Plasticity, x: Array, start: Array, alpha: float, rate: float, **constants: Any) -> Array:
    """rho [trial, time, pre] of one linear unit, the same on every backend that compiles plasticity. x: in that shape."""
    made = network(differentiable(rule, "x", "z", **constants), start[:, None], alpha=alpha, rate=rate)
    runs = [backends.get(b).compile(made).run(inputs={"x": x}, record=["feed.rho"]) for b in PLASTIC]
    found = [r.traces["feed.rho"].reshape(x.shape) for r in runs]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-9)
    return found[0]


def test_oja_turns_rho_to_the_first_principal_component_at_length_1() -> None:
    """Stationary Gaussians in two dimensions, standard deviations 1 and 0.4, turned by 0.5 rad."""
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    x = np.random.default_rng(0).normal(size=(3, 3000, 2)) * [1.0, 0.4] @ turn.T
    for given, rho in zip(x, learned(oja, x, np.array([-0.1, 0.5]), alpha=1.0, rate=0.01), strict=True):
        first, end = np.linalg.eigh(np.cov(given.T))[1][:, -1], rho[-1000:].mean(axis=0)
        assert abs(rho[0] @ first) / np.linalg.norm(rho[0]) < 0.5  # it begins elsewhere
        assert abs(end @ first) / np.linalg.norm(end) > 0.99
        assert np.linalg.norm(end) == pytest.approx(1, abs=0.02)


def test_bcm_makes_a_cell_answer_one_of_two_orthogonal_patterns() -> None:
    """It answers with 2/(1 + share), where the threshold is on average in the steps of its pattern."""
    x = np.eye(2)[np.random.default_rng(0).integers(0, 2, (3, 3000))]
    for rho in learned(bcm, x, np.array([0.25, 0.2]), alpha=3.0, rate=0.003, share="0.05"):
        first, last = 3.0 * rho[0], np.sort(3.0 * rho[-1000:].mean(axis=0))
        assert first.max() < 1.5 * first.min()
        assert last[1] > 5 * abs(last[0])
        assert last[1] == pytest.approx(2 / 1.05, abs=0.2)


def by_hand(rule: str, x: Array, modulation: Array, start: Array, w: Array, alpha: Array) -> Array:
    """rho [time, pre, post] by the published formulas; theta is updated before rho; linear units."""
    rho, theta, found = start, np.zeros(start.shape[1]), []
    for k in range(len(x)):
        y = x[k] @ (w + alpha * rho)
        if rule == "oja":
            change = y * (x[k][:, None] - y * rho)
        else:
            theta = theta + 0.02 * (y**2 - theta)
            change = x[k][:, None] * y * (y - theta)
        rho = np.clip(rho + modulation[k] * change, -1, 1)
        found.append(rho)
    return np.array(found)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("name", ["oja", "bcm"])
def test_it_follows_the_formulas_between_its_bounds(name: str, modulated: bool) -> None:
    random, constants = np.random.default_rng(5), {"share": "0.02"} if name == "bcm" else {}
    x, m = random.normal(size=(80, 4)), random.normal(size=(80, 3)) * 0.3
    start, w, alpha = random.normal(size=(3, 4, 3)) * [[[0.3]], [[0.4]], [[0.8]]]
    rule = oja if name == "oja" else bcm
    synapse = differentiable(rule, "x", "z", modulator="m" if modulated else "", gain=4.0, **constants)
    inputs = {"x": x[None], "m": m[None]} if modulated else {"x": x[None]}
    if modulated:
        made = network(synapse, start, MODULATED, alpha=alpha)
    else:
        made = network(synapse, start, alpha=alpha, rate=0.05)
    wanted = by_hand(name, x, 4 * m if modulated else np.full((80, 1), 0.2), start, w, alpha)
    assert np.abs(wanted).max() == 1 and 0.02 < np.mean(np.abs(wanted) == 1) < 0.5
    for backend in PLASTIC:
        run = backends.get(backend).compile(made).run({"feed.w": w}, inputs, ["feed.rho"])
        np.testing.assert_allclose(run.traces["feed.rho"].reshape(wanted.shape), wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rule", [oja, bcm], ids=["oja", "bcm"])
def test_gradients_pass_through_what_it_learns(rule: Plasticity) -> None:
    """By w, alpha and the rate: native and torch alike, and as differences of losses say."""
    random = np.random.default_rng(1)
    x, start = random.normal(size=(2, 12, 4)), random.normal(size=(4, 3)) * 0.2
    made = network(differentiable(rule, "x", "z", gain=4.0), start, alpha=random.normal(size=(4, 3)), rate=0.02)
    now = {**values(made), "feed.w": random.normal(size=(4, 3)) * 0.5}
    names, record = ["feed.w", "feed.alpha", "feed.rate"], ["cells.x"]

    def loss(found: Any) -> Any:
        return (found.traces["cells.x"] ** 2).mean()

    slopes = [
        backends.get(b).compile(made).value_and_grad(loss, now, {"x": x}, names, record)[1] for b in ("native", "torch")
    ]
    program = backends.get("reference").compile(made)
    for name in names:
        np.testing.assert_allclose(slopes[0][name], slopes[1][name], rtol=1e-10, atol=1e-12)
        along = random.normal(size=np.shape(now[name]))
        ends = [float(loss(program.run({**now, name: now[name] + h * along}, {"x": x}, record))) for h in (1e-6, -1e-6)]
        slope = (ends[0] - ends[1]) / 2e-6
        assert abs(slope) > 1e-3
        assert float(np.sum(slopes[0][name] * along)) == pytest.approx(slope, rel=1e-6)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(PlasticityError, match=r"rule 'stdp' doesn't change weights in every step.*oja or bcm"):
        differentiable(stdp, "x", "z")
    with pytest.raises(PlasticityError, match="rule 'bcm' has no constant 'shares'; it has share"):
        differentiable(bcm, "x", "z", shares="0.02")
    with pytest.raises(PlasticityError, match="rule 'oja' has no constant 'eta'; it has none"):
        differentiable(oja, "x", "z", eta="0.02")
