"""Integrators: measured order of convergence, exactness, Jacobians, and the equations they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import scipy.special
import sympy as sp
from scipy.integrate import solve_ivp

import backends
from neuro import Input, ModelError, Network, Neuron, Population, Projection, library, lower, quantity
from neuro.compiler.evaluation import evaluate
from neuro.compiler.parameters import initial_state, values
from neuro.language.elementary import exprel
from neuro.language.symbolic import symbol
from tests.library.networks import one_population
from twinspike.models.drives import DRIVES

Array = np.ndarray
Slope = Callable[[float, Array, float], list[float]]


def silent(name: str, **changes: object) -> Neuron:
    """A library neuron that doesn't fire."""
    return replace(library.get(name), threshold="", reset="", refractory=quantity("0 ms"), **changes)  # type: ignore[arg-type]


def final(neuron: Neuron, dt: float, steps: int, current: float) -> Array:
    """All states after so many steps under a constant input."""
    cells = Population("cells", neuron, 1)
    variable = neuron.scope.inputs[0]
    inputs = (Input("current", 1, "current", f"cells.{variable}"),)
    network = Network((cells,), (), inputs, dt=quantity(dt, "second"))
    names = [f"cells.{n}" for n in neuron.scope.states]
    program = backends.get("reference").compile(network)
    traces = program.run(inputs={"current": np.full((1, steps, 1), current)}, record=names, every=steps).traces
    return np.array([traces[n][0, -1, 0] for n in names])


# -- order of convergence, against right-hand sides written out by hand ------------------------------------------


def fitzhugh_nagumo(t: float, y: Array, current: float) -> list[float]:
    v, w = y
    return [(v - v**3 / 3 - w + current) / 1e-3, (v + 0.7 - 0.8 * w) / 12.5e-3]


def morris_lecar(t: float, y: Array, current: float) -> list[float]:
    v, n = y
    calcium = 44 * 0.5 * (1 + np.tanh((v + 1.2e-3) / 18e-3))
    total = 20 * (-60e-3 - v) + calcium * (120e-3 - v) + 80 * n * (-84e-3 - v) + current
    n_inf = 0.5 * (1 + np.tanh((v - 2e-3) / 30e-3))
    return [total / 0.2, 40 * (n_inf - n) * np.cosh((v - 2e-3) / 60e-3)]


def hodgkin_huxley(t: float, y: Array, current: float) -> list[float]:
    v, m, h, n = y
    u = v * 1e3
    total = 1200 * m**3 * h * (50e-3 - v) + 360 * n**4 * (-77e-3 - v) + 3 * (-54.387e-3 - v) + current
    alpha_m, beta_m = 1e3 / scipy.special.exprel(-(u + 40) / 10), 4e3 * np.exp(-(u + 65) / 18)
    alpha_h, beta_h = 70 * np.exp(-(u + 65) / 20), 1e3 / (1 + np.exp(-(u + 35) / 10))
    alpha_n, beta_n = 100 / scipy.special.exprel(-(u + 55) / 10), 125 * np.exp(-(u + 65) / 80)
    gates = [alpha_m * (1 - m) - beta_m * m, alpha_h * (1 - h) - beta_h * h, alpha_n * (1 - n) - beta_n * n]
    return [total / 0.01, *gates]


FORCED = Neuron(
    "forced",
    """
    dx/dt = (-k*x - y*x + I)/tau + wave/tau : 1
    dy/dt = (x - y)/tau : 1
    k = 1 + y**2 : 1
    wave = sin(2*pi*t/(7*ms)) : 1
    I : 1
    """,
    parameters={"tau": "5 ms"},
    initial={"x": "0.3", "y": "-0.2"},
)


def forced(t: float, y: Array, current: float) -> list[float]:
    a, b = y
    wave = np.sin(2 * np.pi * t / 7e-3)
    return [(-(1 + b**2) * a - b * a + current + wave) / 5e-3, (a - b) / 5e-3]


ORDERS = {"euler": 1, "exponential_euler": 1, "rk2": 2, "rk4": 4, "rosenbrock": 3}
FHN, ML, HH = silent("fitzhugh_nagumo"), silent("morris_lecar"), silent("hodgkin_huxley")
# neuron, right-hand side, current, coarsest dt (s); each dt is half of the one before
CASES = [
    ("euler", FHN, fitzhugh_nagumo, 0.5, 0.1e-3),
    ("euler", FORCED, forced, 0.4, 0.1e-3),
    ("exponential_euler", FORCED, forced, 0.4, 0.1e-3),
    ("exponential_euler", HH, hodgkin_huxley, 0.15, 0.02e-3),
    ("rk2", FHN, fitzhugh_nagumo, 0.5, 0.1e-3),
    ("rk2", FORCED, forced, 0.4, 0.2e-3),
    ("rk2", HH, hodgkin_huxley, 0.15, 0.01e-3),
    ("rk4", FHN, fitzhugh_nagumo, 0.5, 0.1e-3),
    ("rk4", FORCED, forced, 0.4, 0.5e-3),
    ("rk4", ML, morris_lecar, 0.95, 0.5e-3),
    ("rk4", HH, hodgkin_huxley, 0.15, 0.04e-3),
    ("rosenbrock", FHN, fitzhugh_nagumo, 0.5, 0.05e-3),
    ("rosenbrock", FORCED, forced, 0.4, 0.2e-3),
    ("rosenbrock", ML, morris_lecar, 0.95, 0.2e-3),
    ("rosenbrock", HH, hodgkin_huxley, 0.15, 0.01e-3),
]


@pytest.mark.parametrize(
    ("method", "neuron", "slope", "current", "coarse"), CASES, ids=[f"{c[0]}-{c[1].name}" for c in CASES]
)
def test_order_of_convergence(method: str, neuron: Neuron, slope: Slope, current: float, coarse: float) -> None:
    neuron = replace(neuron, method=method)
    start = np.array([neuron.initial[n].value for n in neuron.scope.states])  # type: ignore[union-attr]
    time = 20 * coarse
    found = solve_ivp(slope, (0, time), start, args=(current,), method="DOP853", rtol=1e-13, atol=1e-16)
    true, errors, dts = found.y[:, -1], [], []
    scale = np.ptp(found.y, axis=1)
    for halvings in range(4):
        dts.append(coarse / 2**halvings)
        errors.append(np.abs((final(neuron, dts[-1], 20 * 2**halvings, current) - true) / scale).max())
    order = np.polyfit(np.log(dts), np.log(errors), 1)[0]
    assert order == pytest.approx(ORDERS[method], abs=0.15), errors


def test_noise_grows_with_the_square_root_of_time() -> None:
    """Euler-Maruyama: the variance of integrated white noise is the time, whatever dt is."""
    neuron = Neuron("walk", "dx/dt = sqrt(2*k)*xi : 1", parameters={"k": "3 Hz"})
    for dt in ("1 ms", "0.25 ms"):
        network = Network((Population("cells", neuron, 4000),), dt=dt)
        steps = round(0.1 / network.dt.value)
        recording = backends.get("reference").compile(network).run(steps=steps, record=["cells.x"], every=steps)
        assert recording.traces["cells.x"].var() == pytest.approx(2 * 3 * 0.1, rel=0.1)  # 4.5 standard errors


# -- exactness ---------------------------------------------------------------------------------------------------

DTS = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2]


def linear(matrix: Array, constant: Array, start: Array, time: float) -> Array:
    """Solution of dx/dt = A x + b by the exponential of the augmented matrix, in 40 digits."""
    size = len(start)
    augmented = np.zeros((size + 1, size + 1))
    augmented[:size, :size], augmented[:size, size] = matrix, constant
    with mpmath.workdps(40):
        flow = mpmath.expm(mpmath.matrix(augmented) * mpmath.mpf(time))
        found = flow * mpmath.matrix([*start, 1.0])
    return np.array([float(x) for x in found])[:size]


@pytest.mark.parametrize("dt", DTS)
@pytest.mark.parametrize("tau_syn", ["5 ms", "9.999 ms", "9.99999999 ms", "10 ms", "100 ms"])
def test_exact_current_based_neuron_also_with_equal_time_constants(dt: float, tau_syn: str) -> None:
    start, tau = np.array([-65e-3, 0.4e-9]), quantity(tau_syn).value
    neuron = silent("cuba_lif", initial={"v": quantity(start[0], "volt"), "I_syn": quantity(start[1], "amp")})
    neuron = neuron.with_parameters(tau_syn=tau_syn)
    matrix, constant = np.array([[-100.0, 1e8 / 10e-3], [0, -1 / tau]]), np.array([(-70e-3 + 1e8 * 0.2e-9) / 10e-3, 0])
    np.testing.assert_allclose(final(neuron, dt, 3, 0.2e-9), linear(matrix, constant, start, 3 * dt), rtol=1e-12)


CHAIN = """
dv/dt = (E - v + a + b)/tau_m : volt
da/dt = (x - a)/tau_1 : volt
dx/dt = (offset - x)/tau_1 : volt
db/dt = -b/tau_2 + k*a : volt
dy/dt = k*v : volt
I : volt
"""


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 1e-2, 5e-2])
def test_exact_chain_of_five_variables(dt: float) -> None:
    """Equal, different and vanishing rates, constants at several places, paths that meet."""
    given = {"E": "-70 mV", "tau_m": "20 ms", "tau_1": "5 ms", "tau_2": "3 ms", "offset": "2 mV", "k": "30 Hz"}
    initial = {"v": "-60 mV", "a": "1 mV", "x": "-3 mV", "b": "4 mV", "y": "1 mV"}
    neuron = Neuron("chain", CHAIN, parameters=given, initial=initial, method="exact")
    matrix = np.array(
        [[-50, 50, 0, 50, 0], [0, -200, 200, 0, 0], [0, 0, -200, 0, 0], [0, 30, 0, -1 / 3e-3, 0], [30, 0, 0, 0, 0.0]]
    )
    constant, start = np.array([-3.5, 0, 0.4, 0, 0]), np.array([-60, 1, -3, 4, 1]) * 1e-3
    np.testing.assert_allclose(final(neuron, dt, 2, 0.0), linear(matrix, constant, start, 2 * dt), rtol=1e-12)


def test_exact_takes_a_rate_of_zero_and_numbers_for_rates() -> None:
    neuron = Neuron(
        "plain",
        "dx/dt = c - k*x : 1\ndy/dt = (1 - y)/(4*ms) : 1\nI : 1",
        parameters={"c": "10 Hz", "k": "0 Hz"},
        method="exact",
    )
    np.testing.assert_allclose(final(neuron, 1e-3, 5, 0.0), [0.05, -np.expm1(-1.25)], rtol=1e-14)


@pytest.mark.parametrize("dt", DTS)
def test_exponential_euler_is_exact_where_variables_are_linear_and_alone(dt: float) -> None:
    """The variable's own part may hide in a subexpression; a rate of zero is a plain integral."""
    neuron = Neuron(
        "alone",
        """
        dv/dt = drift + leak + c : 1
        dz/dt = -k*z + c : 1
        leak = -2*inner : hertz
        inner = v/tau : hertz
        drift = 3*hertz + I/tau : hertz
        I : 1
        """,
        parameters={"tau": "10 ms", "k": "0 Hz", "c": "5 Hz"},
        initial={"v": "0.2"},
        method="exponential_euler",
    )
    fall, steady = np.exp(-200 * 3 * dt), (3 + 0.7 / 10e-3 + 5) / 200
    np.testing.assert_allclose(final(neuron, dt, 3, 0.7), [steady + (0.2 - steady) * fall, 15 * dt], rtol=1e-13)


def test_temporaries_hide_no_name_of_the_model() -> None:
    """Parameters may be called almost like the second stage of a subexpression, a slope and a new value."""
    text = "dx/dt = (stage2_a + slope1_x + new_x - a)/tau : 1\na = x*1 : 1\nI : 1"
    given = {"tau": "10 ms", "stage2_a": "2", "slope1_x": "3", "new_x": "4"}
    for method in ("euler", "exponential_euler", "exact", "rk2", "rk4"):
        neuron = Neuron("names", text, parameters=given, initial={"x": "1"}, method=method)
        assert final(neuron, 1e-7, 100, 0.0)[0] == pytest.approx(9 - 8 * np.exp(-1e-3), rel=1e-7)


@pytest.mark.parametrize("dt", DTS)
@pytest.mark.parametrize("tau", ["3 ms", "3.00000000001 ms", "2.9999 ms", "10 ms", "300 us"])
def test_exact_cascade_of_four_rates_however_near_they_are(dt: float, tau: str) -> None:
    """Three and more rates on one path, equal, nearly equal and different; the constant adds a rate of 0."""
    text = "dv/dt = (E - v + a)/tau_m : 1\nda/dt = (b - a)/tau_a : 1\ndb/dt = (c - b)/tau_b : 1\ndc/dt = (2 - c)/tau_a : 1\nI : 1"
    given = {"E": 0.5, "tau_m": tau, "tau_a": "3 ms", "tau_b": "3 ms"}
    start, rates = np.array([1.0, -0.5, 0.25, 4.0]), -1 / np.array([quantity(tau).value, 3e-3, 3e-3, 3e-3])
    neuron = Neuron("cascade", text, parameters=given, initial=dict(zip("vabc", start, strict=True)), method="exact")
    matrix = np.diag(rates) + np.diag(-rates[:3], 1)
    expected = linear(matrix, np.array([-0.5 * rates[0], 0, 0, -2 * rates[3]]), start, 3 * dt)
    np.testing.assert_allclose(final(neuron, dt, 3, 0.0), expected, rtol=1e-11)


@pytest.mark.parametrize("dt", DTS)
@pytest.mark.parametrize("k", ["0 Hz", "50 Hz", "4 kHz", "-50 Hz"])
def test_exact_takes_loops_of_variables_and_what_hangs_on_them(dt: float, k: str) -> None:
    """A damped oscillator in volts and amperes, whose back coupling may vanish, a chain into it, one out of it."""
    text = """
    dv/dt = -v/tau + R*u*hertz + drive : volt
    du/dt = -k*v/R - u/tau_u : amp
    dx/dt = (v - x)/tau : volt
    ddrive/dt = -drive/tau_u + volt/second**2: volt/second
    I : 1
    """
    given = {"tau": "10 ms", "tau_u": "20 ms", "R": "100 Mohm", "k": k}
    start = np.array([0.02, 3e-10, -0.01, 0.4])
    units = {"v": "volt", "u": "amp", "x": "volt", "drive": "volt/second"}
    initial = {n: quantity(x, unit) for (n, unit), x in zip(units.items(), start, strict=True)}
    neuron = Neuron("loop", text, parameters=given, initial=initial, method="exact")
    back = -quantity(k).value / 1e8
    matrix = np.array([[-100, 1e8, 0, 1], [back, -50, 0, 0], [100, 0, -100, 0], [0, 0, 0, -50.0]])
    expected = linear(matrix, np.array([0, 0, 0, 1.0]), start, 3 * dt)
    found = final(neuron, dt, 3, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


# -- Jacobians ---------------------------------------------------------------------------------------------------


def value(expr: sp.Expr, table: dict[str, float]) -> float:
    return float(evaluate(expr, lambda name: np.float64(table[name])))


def visited(name: str) -> list[dict[str, float]]:
    """The initial state and five states of a driven run."""
    network, drive = one_population(name), DRIVES[name]
    current = np.full((1, 600, 1), quantity(drive.amplitude).value)
    states = library.get(name).scope.states
    names = [f"cells.{n}" for n in states]
    traces = backends.get("reference").compile(network).run(inputs={"current": current}, record=names).traces
    fixed = {n.partition(".")[2]: float(v) for n, v in values(network).items()}
    fixed |= dict.fromkeys(library.get(name).scope.inputs, 0.25)  # those that aren't driven
    fixed |= {"dt": drive.dt.value, "t": 0.0, drive.input: current[0, 0, 0]}
    start = {n: float(initial_state(network)[f"cells.{n}"][0]) for n in states}
    later = [{n: float(traces[f"cells.{n}"][0, k, 0]) for n in states} for k in (30, 150, 299, 450, 599)]
    return [fixed | found for found in (start, *later)]


@pytest.mark.parametrize("name", [n for n in library.neurons() if library.get(n).scope.of_kind("differential")])
def test_jacobian_is_the_slope_of_the_step(name: str) -> None:
    """All entries, those left out as zero too, against central differences."""
    step = lower(one_population(name))
    jacobian, new = step.jacobian("cells"), step.next_state("cells")
    points = visited(name)
    cells = step.population("cells")
    for point in points:
        for state in cells.states:
            for old in (*cells.states, *cells.inputs):
                h = 1e-5 * max(abs(p[old]) for p in points) or 1e-15
                up, down = (value(new[state], point | {old: point[old] + s * h}) for s in (1, -1))
                entry = value(jacobian.get((state, old), sp.Integer(0)), point)
                rounding = 1e-15 * max(abs(up), abs(down)) / h
                assert entry == pytest.approx((up - down) / (2 * h), rel=1e-7, abs=4 * rounding), (state, old)


@pytest.mark.parametrize("v", [-40e-3, -55e-3, -40e-3 + 1e-12, -55e-3 - 1e-9])
def test_jacobian_is_finite_where_the_rates_of_hodgkin_huxley_are_zero_over_zero(v: float) -> None:
    step = lower(one_population("hodgkin_huxley"))
    point = visited("hodgkin_huxley")[0] | {"v": v}
    jacobian, new = step.jacobian("cells"), step.next_state("cells")
    for state in "mhn":
        up, down = (value(new[state], point | {"v": v + s * 1e-6}) for s in (1, -1))
        assert value(jacobian[state, "v"], point) == pytest.approx((up - down) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("x", [0.0, 1e-12, -1e-6, 1e-3, 0.0199, -0.0201, 0.5, -8.0, 30.0])
def test_exprel_and_its_slope_near_zero(x: float) -> None:
    """exprel is the mean of exp(s x) over s in 0..1, its slope that of s exp(s x): 40-point Gauss quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    s, weights = (nodes + 1) / 2, weights / 2
    argument = symbol("x")
    expected = (weights @ np.exp(s * x), weights @ (s * np.exp(s * x)))
    found = (value(exprel(argument), {"x": x}), value(exprel(argument).diff(argument), {"x": x}))
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert float(exprel(sp.Float(x))) == pytest.approx(expected[0], rel=1e-13)


# -- what integrators refuse -------------------------------------------------------------------------------------


def refused(neuron: Neuron, match: str, synapse: str = "alpha") -> None:
    link = Projection("link", "x", "cells", library.get(synapse), "1 nA")
    with pytest.raises(ModelError, match=match):
        lower(Network((Population("cells", neuron, 2),), (link,), (Input("x", 1),)))


def test_exact_refuses_time() -> None:
    text = "dv/dt = (-v + mV*sin(t/ms) + R*I)/tau : volt\nI : amp"
    with pytest.raises(ModelError, match="sin"):
        Neuron("wave", text, parameters={"tau": "9 ms", "R": "1 Mohm"}, method="exact")


@pytest.mark.parametrize("term", ["x**3", "exp(x)*x**2", "sqrt(x)", "1/x"])
def test_exponential_euler_refuses_what_is_not_linear(term: str) -> None:
    with pytest.raises(ModelError, match="linear in x, but dx/dt has the nonlinear term"):
        Neuron(
            "bent", f"dx/dt = (-x + {term})/tau : 1\nI : amp", parameters={"tau": "9 ms"}, method="exponential_euler"
        )


def test_variables_that_follow_a_frozen_one_need_a_method_without_stages() -> None:
    neuron = replace(library.get("adex"), refractory=quantity("2 ms"))
    for method in ("rk2", "rk4", "rosenbrock"):
        with pytest.raises(ModelError, match="dw/dt follows v, which a refractory cell keeps"):
            replace(neuron, method=method)
    assert lower(Network((Population("cells", neuron, 1),)))
