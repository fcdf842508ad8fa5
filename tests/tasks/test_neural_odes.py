"""Neural ODEs: what is to be fitted, against other integrators; the network as one system; gradients on both differentiable backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import backends
import tasks
from neuro import learning
from neuro.compiler.parameters import values
from tasks.neural_odes import RATES, robertson


def test_robertson_keeps_its_mass_and_obeys_its_own_equations() -> None:
    found = robertson(np.array([1e-3, 40.0, 1e5]))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-9)
    assert found[1] == pytest.approx([0.7158271, 9.18554e-6, 0.2841637], rel=1e-5)
    a, b, c = RATES
    y = found[2]  # the fast concentration follows the others: 0 = a y1 - c y2 y3 - b y2^2
    assert a * y[0] == pytest.approx(c * y[1] * y[2] + b * y[1] ** 2, rel=1e-3)


def test_spiral_by_another_integrator() -> None:
    task = tasks.get("spiral", hidden=3)
    times = np.linspace(0, 25, 1000)
    other = solve_ivp(lambda t, y: y**3 @ task.matrix, (0, 25), [2.0, 0.0], "LSODA", times, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(task.truth, other.y.T, atol=1e-6)


@pytest.mark.parametrize("name", ["spiral", "robertson"])
def test_the_network_is_the_equations(name: str) -> None:
    """Against scipy."""
    task = tasks.get(name)
    network = task.network(1)
    known, batch = dict(values(network)), task.test_batch()
    known["out.w"] = known["out.w"] * (1 if name == "spiral" else 200)  # as drawn, the perceptron hardly moves
    push = {"push": np.zeros((1, *next(iter(batch.inputs.values())).shape[1:]))}
    found = backends.get("native").compile(network, dtype="float64").run(known, push, ["y.y"]).traces["y.y"][0]
    times = task.dt * np.arange(1, len(found) + 1)

    def rate(s: float, y: Any) -> Any:
        if name == "spiral":
            return np.tanh(y**3 @ known["inner.w"]) @ known["out.w"]
        for w in ("inner", *(f"to_layer{i}" for i in range(2, task.layers + 1))):
            x = y @ known[f"{w}.w"]
            y = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        return np.exp(s - 10 * np.log(10)) * task.scale() * (y @ known["out.w"])

    start = [2.0, 0.0] if name == "spiral" else task.truth[0]
    solved = solve_ivp(rate, (0, times[-1]), start, "DOP853", times, rtol=1e-10, atol=1e-12).y.T
    moved = np.abs(solved - start).max()
    assert np.abs(found - solved).max() < 1e-4 * moved
    assert moved > 0.05


@pytest.mark.parametrize("name", ["spiral", "robertson"])
def test_both_backends_give_the_same_gradient(name: str) -> None:
    task = tasks.get(name, hidden=4) if name == "spiral" else tasks.get(name, width=2, layers=2)
    network = task.network(0)
    batch = next(iter(task.train_batches(np.random.default_rng(0), 3)))
    rule = learning.get("bptt", trainable=("*.w",))
    a, b = (
        rule.gradient(backends.get(n).compile(network, dtype="float64"), values(network), batch, task)
        for n in ("torch", "native")
    )
    for parameter, slopes in a.items():
        np.testing.assert_allclose(b[parameter], slopes, rtol=1e-9, atol=1e-15)
        assert slopes.any()


def test_options_are_refused_by_name() -> None:
    with pytest.raises(tasks.UnknownTaskError, match="hidden=0"):
        tasks.get("spiral", hidden=0)
    with pytest.raises(tasks.UnknownTaskError, match="width=5, layers=0"):
        tasks.get("robertson", layers=0)
    with pytest.raises(tasks.UnknownTaskError, match="gain=-1"):
        tasks.get("match-to-sample", gain=-1.0)
