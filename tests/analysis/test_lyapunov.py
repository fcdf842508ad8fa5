"""Lyapunov exponents against systems whose exponents are known, against a second run, and at a network's limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    AllToAll,
    Input,
    Network,
    Neuron,
    Normal,
    Population,
    Projection,
    Recording,
    Synapse,
    library,
    quantity,
)
from neuro.analysis import lyapunov
from neuro.analysis.lyapunov import LyapunovError
from neuro.compiler import surrogates
from neuro.compiler.parameters import values

pytestmark = pytest.mark.filterwarnings("ignore:.*is coarse for tau")  # some of these are meant as maps

LORENZ = Neuron(
    "lorenz",
    "dx/dt = sigma*(y - x)/second : 1\ndy/dt = (x*(rho - z) - y)/second : 1\ndz/dt = (x*y - beta*z)/second : 1",
    parameters={"sigma": "10", "rho": "28", "beta": str(8 / 3)},
    initial={"x": "1", "y": "1", "z": "20"},
    method="rk4",
)
RATE = Neuron("rate", "dx/dt = (-x + z)/tau : 1\nz : 1\nr = tanh(x) : 1", parameters={"tau": "10 ms"}, method="euler")
SENT = Synapse("sent", "w : 1", transmits="w*r_pre", target="z")


def alone(neuron: Neuron, dt: str, size: int = 1) -> Network:
    return Network((Population("c", neuron, size),), (), (), dt=dt)


def rates(gain: float, size: int, *, leak: float = 1.0, seed: int = 0, couplings: Any = "step") -> Network:
    """x <- (1 - leak) x + leak W tanh(x), W ~ N(0, gain^2/size)."""
    cells = Population(
        "c",
        replace(RATE, method="rk4" if couplings == "stages" else "euler"),
        size,
        initial={"x": Normal(quantity(0, ""), quantity(0.5, ""))},
    )
    loop = Projection("loop", "c", "c", SENT, Normal(quantity(0.0, ""), quantity(gain / np.sqrt(size), "")), AllToAll())
    return Network((cells,), (loop,), (), dt=quantity(10 * leak, "ms"), seed=seed, couplings=couplings)


def recorded(network: Network, steps: int, backend: str = "native", **options: Any) -> Recording:
    return (
        backends.get(backend)
        .compile(network, dtype="float64")
        .run(record=lyapunov.needed(network), steps=steps, **options)
    )


def test_lorenz() -> None:
    """0.9056, 0, -14.5721 in 1/s. Source: Sprott (2003), Chaos and time-series analysis, Oxford University Press."""
    network = alone(LORENZ, "20 ms")
    found = lyapunov.spectrum(network, recorded(network, 5_000), 3)
    assert found.per_second == pytest.approx([0.9056, 0.0, -14.5721], abs=0.05)
    assert found.per_second.sum() == pytest.approx(
        -(10 + 1 + 8 / 3), abs=5e-3
    )  # the flow's divergence, whatever the run
    assert abs(found.per_step - np.array([0.9056, 0, -14.5721]) * 0.02)[0] < 3 * found.error[0] < 0.3 * 0.02
    assert found.dimension == pytest.approx(2.062, abs=0.005)
    assert found.running[-1] == pytest.approx(found.per_step)


def test_linear_system_has_the_logs_of_its_eigenvalues() -> None:
    network = rates(0.8, 12, leak=0.3)
    matrix = values(network)["loop.w"].T  # at x = 0, where the run begins and stays
    still = replace(network, populations=(replace(network.populations[0], initial={"x": "0"}),))
    found = lyapunov.spectrum(still, recorded(still, 3000), 12, transient=1000)
    wanted = np.sort(np.log(np.abs(np.linalg.eigvals(0.7 * np.eye(12) + 0.3 * matrix))))[::-1]
    assert found.per_step == pytest.approx(wanted, abs=2e-3)


def test_couplings_at_every_stage_give_the_exponents_of_the_equations() -> None:
    """At x = 0, W - 1 per time constant; what is held for a step would be off by the order of dt."""
    network = rates(0.8, 6, leak=0.2, couplings="stages")
    still = replace(network, populations=(replace(network.populations[0], initial={"x": "0"}),))
    found = lyapunov.spectrum(still, recorded(still, 3000), 1, transient=1000)
    wanted = np.linalg.eigvals(values(network)["loop.w"].T).real.max() - 1
    assert found.per_second[0] * 0.01 == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("gain", [0.8, 2.0])
def test_two_runs_give_the_same_exponent(gain: float) -> None:
    network = rates(gain, 60)
    program = backends.get("native").compile(network, dtype="float64")
    found = lyapunov.spectrum(network, recorded(network, 3000), 2, transient=300).per_step[0]
    twice = lyapunov.benettin(program, 3000, transient=300).per_step[0]
    assert twice == pytest.approx(found, abs=2e-3)


def test_driven_by_a_current() -> None:
    base = rates(1.5, 40)
    network = replace(base, inputs=(Input("drive", 40, "current", "c.z"),))
    given = {"drive": np.random.default_rng(0).normal(size=(1, 2000, 40))}
    program = backends.get("native").compile(network, dtype="float64")
    recording = program.run(inputs=given, record=lyapunov.needed(network))
    found = lyapunov.spectrum(network, recording, 1).per_step[0]
    assert found < lyapunov.spectrum(base, recorded(base, 2000), 1).per_step[0]  # noise on the input damps
    assert lyapunov.benettin(program, 2000, inputs=given).per_step[0] == pytest.approx(found, abs=2e-3)


def test_floor() -> None:
    network = rates(0.01, 30, leak=0.2)
    found = lyapunov.spectrum(network, recorded(network, 500), 1)
    assert found.per_step[0] == pytest.approx(np.log(0.8), abs=0.01)


def test_orthonormalising_less_often_changes_nothing() -> None:
    network = rates(1.5, 20)
    recording = recorded(network, 500)
    often, rarely = (lyapunov.spectrum(network, recording, 3, every=n) for n in (1, 7))
    assert rarely.per_step == pytest.approx(often.per_step, abs=1e-9)
    assert rarely.growth.shape == often.growth.shape


def test_every_backend_gives_the_same_spectrum() -> None:
    network = rates(0.9, 10)
    found = [
        lyapunov.spectrum(network, recorded(network, 300, b), 4).per_step
        for b in ("reference", "native", "torch", "brian2")
    ]
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=1e-9)


def test_spikes() -> None:
    """Cells that nothing joins: with spikes that pass nothing on, the membrane's decay; a surrogate pulls on it only where resets count."""
    network = Network((Population("c", library.get("lif"), 3),), (), (Input("x", 3, "current", "c.I"),), dt="1 ms")
    given = {"x": np.full((1, 400, 3), 0.6e-9)}
    recording = (
        backends.get("native").compile(network, dtype="float64").run(inputs=given, record=lyapunov.needed(network))
    )
    assert recording.spike_count() > 10
    decay = -0.001 / float(values(network)["c.tau_m"])
    ignored = lyapunov.spectrum(network, recording, 3, surrogate="none", resets="ignored")
    assert ignored.per_step == pytest.approx([decay] * 3)
    detached = lyapunov.spectrum(network, recording, 1, surrogate="fast_sigmoid")
    assert detached.per_step[0] == -np.inf  # a reset to a fixed value forgets
    assert np.isfinite(
        lyapunov.spectrum(network, recording, 1, surrogate="fast_sigmoid", resets="attached").per_step[0]
    )
    with pytest.raises(LyapunovError, match="surrogate='fast_sigmoid'"):
        lyapunov.spectrum(network, recording, 1)


def test_what_is_missing_is_named() -> None:
    network = rates(1.0, 5)
    recording = recorded(network, 50)
    program = backends.get("native").compile(network, dtype="float64")
    with pytest.raises(LyapunovError, match=r"lacks 'c.z' of all cells.*record=lyapunov.needed"):
        lyapunov.spectrum(network, program.run(record=["c.x"], steps=50), 1)
    with pytest.raises(LyapunovError, match=r"lacks 'c.x' of all cells"):
        lyapunov.spectrum(network, program.run(record={"c.x": [0, 1], "c.z": None}, steps=50), 1)
    with pytest.raises(LyapunovError, match="lacks every step"):
        lyapunov.spectrum(network, program.run(record=lyapunov.needed(network), steps=50, every=2), 1)
    with pytest.raises(LyapunovError, match=r"k=6: the network has 5 directions; use a k from 1 to 5"):
        lyapunov.spectrum(network, recording, 6)
    with pytest.raises(LyapunovError, match="shorter transient"):
        lyapunov.spectrum(network, recording, 1, transient=50)
    with pytest.raises(LyapunovError, match="every=0"):
        lyapunov.spectrum(network, recording, 1, every=0)
    sets = program.run({"loop.w": np.zeros((2, 5, 5))}, record=lyapunov.needed(network), steps=50, population=2)
    with pytest.raises(LyapunovError, match=r"recording.of_set\(0\)"):
        lyapunov.spectrum(network, sets, 1)
    with pytest.raises(LyapunovError, match="two runs of a network that fires"):
        lyapunov.benettin(backends.get("native").compile(alone(library.get("lif"), "1 ms")), 10)


def test_trials_and_a_state_that_goes_on() -> None:
    """A cell whose exponent is its noise's: trials differ, and a run that goes on from another has its clock and its noise."""
    noisy = replace(RATE, equations="dx/dt = -x/tau + 0.5*x*xi*tau**-0.5 : 1", initial={"x": "1"}, method="heun")
    network = alone(noisy, "1 ms")
    program = backends.get("reference").compile(network)
    record = lyapunov.needed(network)
    whole = program.run(record=record, steps=400, batch=2)
    found = lyapunov.spectrum(network, whole, 1, transient=10)
    x = whole.traces["c.x"][..., 0]  # linear: what moves it a little is multiplied as it is itself
    assert found.growth[..., 0] == pytest.approx(np.log(x[:, 10:] / x[:, 9:-1]), abs=1e-9)
    part = program.run(record=record, steps=200, batch=2, state=program.run(steps=200, batch=2).state)
    assert lyapunov.spectrum(network, part, 1, transient=10).growth == pytest.approx(found.growth[:, 200:])


def test_surrogate_exponents_of_current_based_cells() -> None:
    """Against the block Jacobian of (v, a) written out in numpy; resets ignored. Setting of Engelken's surrogate gradient flossing."""
    cell = Neuron(
        "cell", "dv/dt = (-v + a)/tau_m : 1\nda/dt = -a/tau_s : 1", threshold="v > 1", reset="v = 0",
        parameters={"tau_m": "10 ms", "tau_s": "5 ms"}, method="euler",
    )  # fmt: skip
    pulse = Synapse("pulse", "w : 1", on_pre="a_post += w")
    n, inputs = 24, 30
    network = Network(
        (Population("c", cell, n),),
        (
            Projection("feed", "x", "c", pulse, Normal(quantity(0.2, ""), quantity(0.4, ""))),
            Projection(
                "loop", "c", "c", pulse, Normal(quantity(0.0, ""), quantity(1 / np.sqrt(n), "")), AllToAll(True)
            ),
        ),
        (Input("x", inputs, "poisson", rate="100 Hz"),),
        dt="1 ms",
        seed=5,
    )
    recording = recorded(network, 300)
    assert recording.spike_count() > 100
    slope = surrogates.derivative("fast_sigmoid", slope=5)
    found = lyapunov.spectrum(network, recording, 6, surrogate=slope, resets="ignored", transient=50).growth[0].mean(0)
    v, a = (recording.traces[f"c.{name}"][0] for name in "va")
    weights, eye = values(network)["loop.w"].T, np.eye(n)
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((1, 2 * n, 6)))[0][0]
    growth = []
    for k in range(1, 300):
        new = v[k - 1] + 0.1 * (-v[k - 1] + a[k - 1])
        psi = np.diag(1 / (5 * np.abs(new - 1) + 1) ** 2)
        moved = np.block([0.9 * eye, 0.1 * eye])
        q, r = np.linalg.qr(np.vstack([moved, np.block([0 * eye, 0.8 * eye]) + weights @ psi @ moved]) @ q)
        growth.append(np.log(np.abs(np.diag(r))))
    assert found == pytest.approx(np.sort(np.mean(growth[49:], axis=0))[::-1], abs=1e-9)
