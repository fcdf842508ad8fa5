"""The implicit integrator on stiff equations, and Heun's on noise that depends on states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import backends
from neuro import ModelError, Network, Neuron, Population, RunError, UnsupportedError
from neuro.compiler import streams

Array = np.ndarray
OURS = ("reference", "native", "torch")
ROBERTSON = Neuron(
    "robertson",
    """
    dx/dt = (-k1*x + k3*y*z)/second : 1
    dy/dt = (k1*x - k3*y*z - k2*y**2)/second : 1
    dz/dt = k2*y**2/second : 1
    """,
    parameters={"k1": 0.04, "k2": 3e7, "k3": 1e4}, initial={"x": 1.0}, method="rosenbrock",
    source="Robertson (1966), in Walsh (ed.), Numerical Analysis: An Introduction, 178-182",
)  # fmt: skip


def run(neuron: Neuron, dt: float, steps: int, backend: str, size: int = 1, **options: Any) -> Array:
    """The last values of all states, [state, cell]."""
    network = Network((Population("c", neuron, size),), dt=f"{dt} s", **options)
    names = [f"c.{n}" for n in neuron.scope.states]
    found = backends.get(backend).compile(network).run(record=names, every=steps, steps=steps)
    return np.array([found.traces[n][0, -1] for n in names])


def robertson(t: float, u: Array) -> list[float]:
    x, y, z = u
    return [-0.04 * x + 1e4 * y * z, 0.04 * x - 1e4 * y * z - 3e7 * y**2, 3e7 * y**2]


@pytest.mark.parametrize("backend", OURS)
def test_robertson_at_steps_where_explicit_methods_explode(backend: str) -> None:
    true = solve_ivp(robertson, (0, 40), [1.0, 0.0, 0.0], method="Radau", rtol=1e-10, atol=1e-14).y[:, -1]
    assert true == pytest.approx([0.7158271, 9.18554e-6, 0.2841637], rel=1e-5)  # as published
    errors = [np.abs(run(ROBERTSON, 40 / n, n, backend)[:, 0] / true - 1).max() for n in (4000, 16000)]
    assert errors[0] < 1e-3 and errors[1] < errors[0] / 20
    with pytest.raises(RunError, match="not finite"):
        run(replace(ROBERTSON, method="rk4"), 0.01, 4000, backend)


def test_what_dies_out_within_a_step_is_gone_after_it() -> None:
    """L-stability: the amplification factor vanishes as dt times the rate grows, where rk4's and the trapezoid's don't."""
    for rate in (1e3, 1e6, 1e9):
        neuron = Neuron(
            "decay", "dx/dt = -k*(x - 0.5)/second : 1", parameters={"k": rate}, initial={"x": 1.5}, method="rosenbrock"
        )
        assert abs(run(neuron, 1.0, 1, "reference")[0, 0] - 0.5) < 10 / rate


def test_gradients_through_implicit_steps() -> None:
    stiff = Neuron(
        "stiff", "dx/dt = (y - x**3)/ms : 1\ndy/dt = (-k*(y - x) + sin(300*t/second))/ms : 1",
        parameters={"k": 40.0}, initial={"x": 1.2}, method="rosenbrock",
    )  # fmt: skip
    network = Network((Population("c", stiff, 2),), dt="0.5 ms")

    def loss(signals: Any) -> Any:
        return (signals.traces["c.x"] ** 2).sum()

    found = {}
    for backend in ("native", "torch"):
        program = backends.get(backend).compile(network)
        found[backend] = float(np.sum(program.value_and_grad(loss, None, {}, ["c.k"], ["c.x"], steps=20)[1]["c.k"]))
    program = backends.get("reference").compile(network)
    ends = [float(loss(program.run({"c.k": 40.0 + s * 1e-3}, record=["c.x"], steps=20))) for s in (1, -1)]
    assert found["native"] == pytest.approx(found["torch"], rel=1e-10)
    assert found["torch"] == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=1e-6)


def test_brian2_has_no_implicit_integrator() -> None:
    with pytest.raises(
        UnsupportedError, match="population 'c', method 'rosenbrock': Brian2 has no implicit integrator"
    ):
        backends.get("brian2").compile(Network((Population("c", ROBERTSON, 1),)))


# -- noise that depends on states --------------------------------------------------------------------------------

GROWTH = Neuron("growth", "dx/dt = 0.1*x/second + 0.7*x*xi/sqrt(second) : 1", initial={"x": 1.0}, method="heun")


@pytest.mark.parametrize(("method", "order"), [("heun", 1.0), ("milstein", 0.75)])
def test_it_converges_to_stratonovich_and_not_to_ito(method: str, order: float) -> None:
    """dx = 0.1 x dt + 0.7 x o dW is exp(0.1 t + 0.7 W); Ito's reading would grow by exp(-0.7**2/2) less.

    Brian2's milstein, which ours is, looks for the factor's slope where the drift leads too: 0.035 x dt**1.5 a step, of order 1/2 in the end.
    """
    errors, ito = [], []
    for steps in (20, 80, 320):
        found = run(replace(GROWTH, method=method), 1 / steps, steps, "reference", size=400, seed=3)[0]
        wiener = streams.normal(3, "noise/c/xi", 0, 1, steps, 400)[0].sum(0) / np.sqrt(steps)
        true = np.exp(0.1 + 0.7 * wiener)
        errors.append(np.sqrt(np.mean((found - true) ** 2)))
        ito.append(np.sqrt(np.mean((found - true * np.exp(-(0.7**2) / 2)) ** 2)))
    assert np.polyfit(np.log([20, 80, 320]), np.log(errors), 1)[0] == pytest.approx(-order, abs=0.2), errors
    assert ito[-1] > 50 * errors[-1]


SHARED = "dx/dt = (1 - x + s)/(9*ms) + 0.3*(1 + x**2)*xi_a/sqrt(9*ms) + 0.1*xi/sqrt(ms) : 1"
DIAGONAL = "dx/dt = (1 - x + s)/(9*ms) + 0.3*(1 + tanh(x + v/mV) + 0.1*t/ms)*xi/sqrt(9*ms) : 1\ndh/dt = (x - h)/ms : 1"


@pytest.mark.parametrize(
    ("target", "method", "first"),
    [
        ("numpy", "heun", SHARED),
        ("cython", "heun", SHARED),
        ("numpy", "milstein", DIAGONAL),
        ("cython", "milstein", DIAGONAL),
    ],
)
def test_brian2_by_its_own_method_agrees(target: str, method: str, first: str) -> None:
    """Two noises in two variables, for heun one of them in both; Brian2 gets the same numbers."""
    xi = "xi_a" if method == "heun" else "xi_c*(1 + h)"
    neuron = Neuron(
        "pair",
        f"""
        {first}
        dv/dt = (10*mV - v)/(5*ms) + 0.2*v*x*{xi}/sqrt(5*ms){" + mV*sin(t/ms)*xi_b/sqrt(ms)" * (method == "heun")} : volt
        s = 0.2*tanh(v/(10*mV)) : 1
        """,
        method=method,
    )  # fmt: skip
    network = Network((Population("c", neuron, 4),), dt="0.1 ms", seed=9)
    found = {}
    for name, options in (*((n, {}) for n in OURS), ("brian2", {"target": target})):
        found[name] = backends.get(name).compile(network, **options).run(record=["c.x", "c.v"], steps=200)
    for name in ("native", "torch", "brian2"):
        for trace in ("c.x", "c.v"):
            scale = np.abs(found["reference"].traces[trace]).max()
            assert np.abs(found[name].traces[trace] - found["reference"].traces[trace]).max() < 1e-11 * scale


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dx/dt = xi_a*ms**-0.5 + x*xi_b*ms**-0.5 : 1", "dx/dt has 2 noises"),
        ("dx/dt = x*xi*ms**-0.5 : 1\ndy/dt = y*xi*ms**-0.5 : 1", "dy/dt has the noise of dx/dt"),
    ],
)
def test_milstein_takes_one_noise_for_each_equation(text: str, why: str) -> None:
    """As Brian2's does; heun takes both."""
    with pytest.raises(ModelError, match=f"{why}, and 'milstein' takes one noise for each equation"):
        Neuron("pair", text, method="milstein")
    assert Neuron("pair", text, method="heun").method == "heun"


def test_heun_needs_noise_and_euler_a_reading() -> None:
    for method in ("heun", "milstein"):
        with pytest.raises(ModelError, match=f"'{method}' is for noise, and there is none"):
            Neuron("still", "dx/dt = -x/ms : 1", method=method)
    with pytest.raises(ModelError, match="use method='heun' for Stratonovich's"):
        replace(GROWTH, method="euler")
