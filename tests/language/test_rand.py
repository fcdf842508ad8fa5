"""rand() in thresholds, resets and every_step: the same numbers on every backend, however a run is cut; uniform, and escape noise's rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Population
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.language.equations import ModelError
from neuro.language.units import quantity

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
CELL = Neuron(
    "escaping",
    "du/dt = (x - u)/tau : 1\nx : 1\nr = r0*exp(u) : Hz\nwait : 1",
    threshold="rand() < 1 - exp(-r*dt) and wait <= 0",
    reset="u = 0; wait = 1 - 3*log(1 - rand()) - 3*log(1 - rand())",
    every_step="wait = clip(wait - 1, 0, 1e9); u += 0.01*(rand() - 0.5)",
    parameters={"tau": quantity("16 ms"), "r0": quantity("60 Hz")},
)


def network(cell: Neuron = CELL, size: int = 30, **options: Any) -> Network:
    return Network(
        (Population("p", cell, size),), (), (Input("i", size, "current", "p.x"),), quantity("1 ms"), 4, **options
    )


def drive(size: int = 30, steps: int = 120) -> dict[str, np.ndarray]:
    return {"i": np.random.default_rng(0).normal(0.7, 1, (2, steps, size))}


@every_backend
def test_the_same_numbers_as_by_hand(backend: str) -> None:
    """Three streams in the text's order of a step: every_step, threshold, two of the reset."""
    x = drive()["i"]
    found = backends.get(backend).compile(network()).run(inputs={"i": x}, record=["p.u", "p.wait"])
    kick, escape, first, second = (
        streams.uniform(4, f"noise/p/rand__{place}", 0, 2, 120, 30)
        for place in ("every_step_2_1", "threshold_1", "reset_2_1", "reset_2_2")
    )
    u, wait = np.zeros((2, 30)), np.zeros((2, 30))
    for k in range(120):
        u = u + (x[:, k] - u) / 16
        wait = np.clip(wait - 1, 0, None)
        u = u + 0.01 * (kick[:, k] - 0.5)
        fired = (escape[:, k] < 1 - np.exp(-60 * np.exp(u) * 1e-3)) & (wait <= 0)
        np.testing.assert_array_equal(found.spikes["p"][:, k], fired)
        u = np.where(fired, 0.0, u)
        wait = np.where(fired, 1 - 3 * np.log(1 - first[:, k]) - 3 * np.log(1 - second[:, k]), wait)
        np.testing.assert_allclose(found.traces["p.u"][:, k], u, atol=1e-12)
        np.testing.assert_allclose(found.traces["p.wait"][:, k], wait, atol=1e-11)
    assert found.spikes["p"].sum() > 300


@every_backend
def test_a_run_in_parts_trials_and_sessions(backend: str) -> None:
    program: Any = backends.get(backend).compile(network())
    x = drive()["i"]
    whole = program.run(inputs={"i": x}).spikes["p"]
    half = program.run(inputs={"i": x[:, :50]})
    rest = program.run(inputs={"i": x[:, 50:]}, state=half.state)
    np.testing.assert_array_equal(np.concatenate([half.spikes["p"], rest.spikes["p"]], axis=1), whole)
    np.testing.assert_array_equal(program.run(inputs={"i": x[1:]}, trial=1).spikes["p"][0], whole[1])
    with program.session(2) as session:
        steps = [session.step({"i": x[:, k : k + 1]}).spikes["p"] for k in range(20)]
    np.testing.assert_array_equal(np.concatenate(steps, axis=1), whole[:, :20])


def test_rates_of_escape_noise() -> None:
    """r dt spikes a step; intervals are exponential: 1/r, and its variance."""
    cell = Neuron("poisson", "r : Hz", threshold="rand() < 1 - exp(-r*dt)", parameters={"r": quantity("50 Hz")})
    net = Network((Population("p", cell, 400),), dt=quantity("0.5 ms"), seed=1)
    raster = backends.get("native").compile(net).run(steps=4000, batch=1).spikes["p"][0]
    p, n = 1 - np.exp(-50 * 0.5e-3), raster.size
    assert abs(raster.mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
    gaps = np.concatenate([np.diff(np.flatnonzero(raster[:, i])) for i in range(400)])
    assert abs(gaps.var() / gaps.mean() ** 2 - (1 - p)) < 0.05
    counts = raster.sum(axis=0)
    assert abs(counts.var() / counts.mean() - (1 - p)) < 0.3  # cells are independent


def test_gradients_through_a_random_threshold() -> None:
    """Native and torch agree; a rate's slope is the surrogate's, for its margin is p - rand()."""
    found = []
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(network(), surrogate="sigmoid", detach_reset=False)
        loss = lambda r: r.traces["p.u"].square().sum() + r.spikes["p"].sum()
        found.append(program.value_and_grad(loss, values(network()), drive(), ["p.r0", "p.tau"], ["p.u"]))
    for name in ("p.r0", "p.tau"):
        assert found[0][1][name] != 0
        np.testing.assert_allclose(found[0][1][name], found[1][1][name], rtol=1e-9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"equations": "du/dt = rand()*Hz : 1"}, r"rand\(\) stands in a neuron's threshold, refractory, statements and what is constant over dt alone"),
        ({"equations": "u : 1\nx = rand() : 1"}, r"rand\(\) stands in"),
        ({"threshold": "rand(3) > 0.5"}, r"rand\(\) takes no argument"),
        ({"threshold": "randn(2) > 0.5"}, r"randn\(\) takes no argument"),
        ({"equations": "du/dt = randn()*Hz : 1"}, r"randn\(\) stands in a neuron's threshold, refractory, statements and what is constant over dt alone"),
        ({"threshold": "rand() > u*mV"}, "units|volt|dimension"),
        ({"threshold": "rand()"}, "a threshold must be a condition"),
        ({"reset": "u = rand()*mV"}, "volt|unit"),
        ({"equations": "du/dt = -u/ms : 1", "method": "heun"}, "'heun' is for noise"),
    ],
)  # fmt: skip
def test_where_it_does_not_stand(changed: dict[str, Any], message: str) -> None:
    given = {"equations": "u : 1", "threshold": "rand() > u", "reset": "u = 0", **changed}
    with pytest.raises(ModelError, match=message):
        Neuron("cell", **given)


def test_a_variable_may_be_called_rand() -> None:
    cell = Neuron("cell", "rand : 1", threshold="rand() < rand", parameters={"rand": quantity("0.25")})
    net = Network((Population("p", cell, 50),), dt=quantity("1 ms"))
    rasters = [
        backends.get(b).compile(net).run(steps=80, batch=1).spikes["p"]
        for b in ("reference", "brian2", "native", "torch")
    ]
    assert all((r == rasters[0]).all() for r in rasters) and abs(rasters[0].mean() - 0.25) < 0.03


@every_backend
def test_normal_numbers(backend: str) -> None:
    """randn() has streams of its own, beside those of rand(): adding the one changes none of the other's numbers."""
    cell = Neuron(
        "wandering", "u : 1\nn : 1", threshold="u + 0.5*randn() > 1", reset="u = 0.1*randn()",
        every_step="u += 0.2*randn() + 0.1*rand() + 0.05*randn()", regularly={"3 ms": "n = randn()"},
    )  # fmt: skip
    net = Network((Population("p", cell, 20),), dt=quantity("1 ms"), seed=4)
    found = backends.get(backend).compile(net).run(steps=60, batch=2, record=["p.u", "p.n"])
    step, after, level, back, regular = (
        streams.normal(4, f"noise/p/randn__{place}", 0, 2, 60, 20)
        for place in ("every_step_1_1", "every_step_1_2", "threshold_1", "reset_1_1", "regularly_1_1_1")
    )
    kick, u = streams.uniform(4, "noise/p/rand__every_step_1_1", 0, 2, 60, 20), np.zeros((2, 20))
    for k in range(60):
        u = u + 0.2 * step[:, k] + 0.1 * kick[:, k] + 0.05 * after[:, k]
        fired = u + 0.5 * level[:, k] > 1
        np.testing.assert_array_equal(found.spikes["p"][:, k], fired)
        u = np.where(fired, 0.1 * back[:, k], u)
        np.testing.assert_allclose(found.traces["p.u"][:, k], u, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.traces["p.n"][:, k], regular[:, k - k % 3], rtol=1e-12)
    assert found.spikes["p"].sum() > 50


def test_the_surrogate_takes_a_normal_number_at_its_mean() -> None:
    cell = Neuron("cell", "u : 1", threshold="u + randn() > 2", reset="u = 0", every_step="u += 0.1")
    program: Any = backends.get("torch").compile(Network((Population("p", cell, 3),)))
    assert program.semantics.surrogate_scale == {"p": 2.0}
