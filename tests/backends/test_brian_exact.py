"""Brian2's closed form of exact steps: right, mended or refused by name, whatever the rates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

import backends
from neuro import Input, Network, Neuron, Population, Projection, RunError, Synapse, UnsupportedError, quantity

pytest.importorskip("brian2")

DT, STEPS = 1e-4, 200


def two_rates(tau_m: str, tau_s: str, size: int = 1, **options: object) -> Network:
    neuron = Neuron(
        "psc", "dv/dt = (-v + R*Is)/tau_m : volt\ndIs/dt = -Is/tau_s : amp",
        parameters={"tau_m": tau_m, "tau_s": tau_s, "R": "100 Mohm"}, initial={"Is": "1 nA"}, method="exact",
    )  # fmt: skip
    return Network((Population("c", neuron, size, **options),), dt="0.1 ms")


@pytest.mark.parametrize(("tau_m", "tau_s"), [("10 ms", "10 ms"), ("7 ms", "7000 us"), ("10 ms", "10.000000001 ms")])
def test_equal_rates(tau_m: str, tau_s: str) -> None:
    """v = R w t/tau exp(-t/tau), given in the definition or to the run."""
    tau, t = float(quantity(tau_m).value), (1 + np.arange(STEPS)) * DT
    right = 0.1 * t / tau * np.exp(-t / tau)
    program = backends.get("brian2").compile(two_rates(tau_m, tau_s))
    np.testing.assert_allclose(program.run(record=["c.v"], steps=STEPS).traces["c.v"][0, :, 0], right, rtol=1e-9)
    apart = backends.get("brian2").compile(two_rates("20 ms", "5 ms"))
    before = apart.run(record=["c.v"], steps=STEPS).traces["c.v"]
    same = {"c.tau_m": np.array(tau), "c.tau_s": np.array(quantity(tau_s).value)}
    np.testing.assert_allclose(apart.run(same, record=["c.v"], steps=STEPS).traces["c.v"][0, :, 0], right, rtol=1e-9)
    assert np.array_equal(apart.run(record=["c.v"], steps=STEPS).traces["c.v"], before)


def test_rates_of_which_the_formula_loses_digits_are_refused() -> None:
    with pytest.raises(
        UnsupportedError, match=r"population 'c', method 'exact'.*v \(10 ms\) and Is \(10.0000005 ms\) are too"
    ):
        backends.get("brian2").compile(two_rates("10 ms", "10.0000005 ms"))
    program = backends.get("brian2").compile(two_rates("20 ms", "5 ms"))
    with pytest.raises(RunError, match=r"population 'c'.*the time constants of v \(5.00000005 ms\) and Is \(5 ms\)"):
        program.run({"c.tau_m": np.array(5.00000005e-3)}, steps=3)
    some = {"parameters": {"tau_m": quantity([5.0, 20.0, 10.0], "ms")}}
    with pytest.raises(UnsupportedError, match="make them equal in all cells"):
        backends.get("brian2").compile(two_rates("20 ms", "5 ms", 3, **some))


def test_equal_rates_within_synapses() -> None:
    synapse = Synapse(
        "s", "w : 1\nda/dt = (b - a)/tau_a : 1\ndb/dt = -b/(5*ms) : 1", on_pre="b += 1\nv_post += w*a",
        parameters={"tau_a": "5000 us"}, method="exact",
    )  # fmt: skip
    cells = Neuron("n", "dv/dt = -v/(10*ms) : 1", method="exact")
    network = Network(
        (Population("p", cells, 2),), (Projection("j", "x", "p", synapse, 0.5),), (Input("x", 3),), dt="0.5 ms"
    )
    spikes = {"x": np.random.default_rng(0).random((1, 80, 3)) < 0.2}
    found, wanted = (
        backends.get(b).compile(network).run(inputs=spikes, record=["p.v"]).traces["p.v"]
        for b in ("brian2", "reference")
    )
    assert wanted.max() > 1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


def test_a_refractory_cell_of_equal_rates_is_refused() -> None:
    """Its rates are one in some steps and differ in others: no formula of Brian2 serves both."""
    neuron = Neuron(
        "n", "dv/dt = (-v + u)/tau : 1 (unless refractory)\ndu/dt = -u/tau : 1", "v > 1", "v = 0", parameters={"tau": "5 ms"},
        refractory="2 ms", method="exact",
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match="population 'p', method 'exact'"):
        backends.get("brian2").compile(Network((Population("p", neuron, 2),), dt="0.5 ms"))


@pytest.mark.parametrize(
    ("equations", "reason"),
    [
        ("dv/dt = I/ms : 1\nI : 1", "Brian2 says"),
        ("dv/dt = (g - k*v)/ms : 1\ng : 1", "divides by the rate of v, which is -?0"),
        ("dv/dt = (1 - g*v)/ms : 1\ng : 1", "the rates depend on g"),
        ("dv/dt = (-v - u)/ms : 1\ndu/dt = (v - u)/ms : 1", "solution of complex numbers"),
        (
            "dv/dt = (u - 2*v)/ms : 1\ndu/dt = (x - 3*u)/ms : 1\ndx/dt = (v - x)/ms : 1",
            "roots of a polynomial of degree 3",
        ),
        (
            "\n".join(
                [
                    "da/dt = -a/ms : 1",
                    *(f"d{y}/dt = ({x} - {n + 2}*{y})/ms : 1" for n, (x, y) in enumerate(zip("abcd", "bcde"))),
                ]
            ),
            "more than 4 variables",
        ),
    ],
)
def test_rates_that_vanish_or_change(equations: str, reason: str) -> None:
    neuron = Neuron("n", equations, parameters={"k": 0.0}, method="exact")
    with pytest.raises(UnsupportedError, match=f"population 'p', method 'exact'.*{reason}"):
        backends.get("brian2").compile(Network((Population("p", neuron, 2),), dt="0.5 ms"))


def random_system(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (1/ms) of some structure and degeneracy, and constants."""
    size = int(rng.integers(1, 4))
    matrix = np.where(rng.random((size, size)) < 0.5, rng.normal(0, 0.3, (size, size)), 0.0)
    if size == 3 or rng.random() < 0.6:
        matrix = np.triu(matrix, 1)
    rates = -rng.choice([0.1, 0.1, 0.2, 0.5, 1.0, float(rng.uniform(0.05, 2))], size)
    near = rng.choice([0.0, 1e-14, 1e-11, 1e-8, 1e-5, 1e-2])
    np.fill_diagonal(matrix, rates * (1 + near * np.arange(size)))
    if rng.random() < 0.1:
        matrix[0, 0] = 0.0
    return matrix, rng.normal(0, 0.1, size) * (rng.random(size) < 0.5)


def program_of(matrix: np.ndarray, constants: np.ndarray, *, named: bool) -> tuple[Network, dict[str, float]]:
    """The system with its entries as parameters, or as numbers."""
    size, parameters = len(matrix), {}
    for i in range(size):
        for j in range(size):
            if matrix[i, j]:
                parameters[f"m{i}{j}"] = float(matrix[i, j])
        if constants[i]:
            parameters[f"c{i}"] = float(constants[i])
    lines = []
    for i in range(size):
        terms = [f"m{i}{j}*x{j}" for j in range(size) if matrix[i, j]] + [f"c{i}"] * bool(constants[i])
        line = " + ".join(terms) or "0*x0"
        for name, value in parameters.items():
            line = line if named else line.replace(name, f"({value!r})")
        lines.append(f"dx{i}/dt = ({line})/ms : 1")
    initial = {f"x{i}": 1.0 + i for i in range(size)}
    neuron = Neuron("n", "\n".join(lines), parameters=parameters if named else {}, initial=initial, method="exact")
    return Network((Population("p", neuron, 1),), dt="0.5 ms"), initial


@pytest.mark.parametrize("named", [True, False])
def test_random_linear_systems(named: bool) -> None:
    """The matrix exponential's numbers, or a refusal that names the population."""
    rng = np.random.default_rng(3)
    refused, compared = 0, 0
    for _ in range(10 if named else 16):
        matrix, constants = random_system(rng)
        network, initial = program_of(matrix, constants, named=named)
        size = len(matrix)
        try:
            program = backends.get("brian2").compile(network)
        except UnsupportedError as error:
            assert "population 'p', method 'exact'" in str(error)
            refused += 1
            continue
        found = program.run(record=[f"p.x{i}" for i in range(size)], steps=40)
        whole = np.zeros((size + 1, size + 1))
        whole[:size] = np.column_stack([matrix, constants])
        right = np.array([(expm(0.5 * k * whole) @ [*initial.values(), 1.0])[:size] for k in range(1, 41)])
        traces = np.stack([found.traces[f"p.x{i}"][0, :, 0] for i in range(size)], 1)
        np.testing.assert_allclose(traces, right, rtol=1e-8, atol=1e-9 * np.abs(right).max())
        compared += 1
    assert compared > 4 and refused > 1
