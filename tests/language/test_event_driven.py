"""Equations of synapses that are solved from event to event: closed forms, the same equations at each step, every backend, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, ModelError, Network, Neuron, OneToOne, Population, Projection, Synapse, quantity
from neuro.compiler.semantics import semantics
from neuro.protocols import RunError, UnsupportedError

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
TRACES = """w : 1
    da/dt = -a/tau_a : 1 (event-driven)
    db/dt = (rest - b)/tau_b_post : 1 (event-driven)
    y = 2*a : 1"""
PRE, POST = "I_post += w*y; a += 1; w = clip(w + 0.1*b, 0, 2)", "b += 0.5; w = clip(w - 0.1*a, 0, 2)"
NUMBERS = {"tau_a": "20 ms", "rest": "0.3"}
RULE = Synapse("rule", TRACES, on_pre=PRE, on_post=POST, parameters=NUMBERS, initial={"a": 0.2, "b": 0.3})
CELL = Neuron(
    "cell", "dv/dt = (1.3 + 0.3*i - v)/(10*ms) : 1\nI : 1\ntau_b : second", threshold="v > 1", reset="v = 0", every_step="v += I",
    parameters={"tau_b": "12 ms"},
)  # fmt: skip
SLOW = Population("b", CELL, 2, parameters={"tau_b": quantity([5.0, 7.0], "ms")})


def network(synapse: Synapse = RULE) -> Network:
    """Both ways, one with a delay."""
    strong, weak = ("0.3", "0.1") if synapse.scope.has_weight else (None, None)
    ways = (Projection("p", "a", "b", synapse, strong, delay="2 ms"), Projection("q", "b", "a", synapse, weak))
    return Network((Population("a", CELL, 3), SLOW), ways, dt="0.5 ms")


@every_backend
def test_traces_are_what_their_equations_say_at_the_last_event(backend: str) -> None:
    """One synapse, spikes at known steps, by hand."""
    times, dt, tau = [3, 4, 11, 30], 1e-3, 20e-3
    synapse = Synapse(
        "s",
        "da/dt = (0.5 - a)/tau : 1 (event-driven)",
        on_pre="x_post += a; a += 1",
        parameters={"tau": "20 ms"},
        initial={"a": "2"},
    )
    cell = Neuron("c", "x : 1", every_step="x = x")
    net = Network(
        (Population("c", cell, 1),),
        (Projection("p", "s", "c", synapse, connectivity=OneToOne()),),
        (Input("s", 1),),
        "1 ms",
    )
    given = np.zeros((1, 40, 1), bool)
    given[0, times] = True
    found = backends.get(backend).compile(net).run(inputs={"s": given}, record=["c.x", "p.a", "p.last__event"])
    a, x, last, rows = 2.0, 0.0, 0.0, []
    for k in range(40):
        if k in times:
            a = 0.5 + (a - 0.5) * np.exp(-(k * dt - last) / tau)
            x, a, last = x + a, a + 1, k * dt
        rows.append((x, a, last))
    traces = [found.traces[n].ravel() for n in ("c.x", "p.a", "p.last__event")]
    np.testing.assert_allclose(traces, np.transpose(rows), rtol=1e-12)


@every_backend
def test_events_see_what_equations_solved_at_each_step_have_then(backend: str) -> None:
    """Exponential Euler takes the same exact steps, the first one before the events of step 0; between events a trace shows other values."""
    clocked = Synapse(
        "rule", TRACES.replace("event", "clock"), on_pre=PRE, on_post=POST, parameters=NUMBERS, method="exponential_euler",
        initial={"a": 0.2 * np.exp(0.5 / 20), "b": 0.3},
    )  # fmt: skip
    record = ["a.v", "b.v", "p.w", "q.w"]
    found = backends.get(backend).compile(network()).run(steps=300, record=record)
    right = backends.get("reference").compile(network(clocked)).run(steps=300, record=record)
    for name in ("a", "b"):
        np.testing.assert_array_equal(found.spikes[name], right.spikes[name])
        assert right.spikes[name].sum() > 25
    for name in record:
        np.testing.assert_allclose(found.traces[name], right.traces[name], atol=1e-12)
    assert np.ptp(right.traces["p.w"]) > 0.3


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_a_run_goes_on_where_it_was_cut(backend: str) -> None:
    program = backends.get(backend).compile(network())
    whole = program.run(steps=120, record=["p.w", "q.a"])
    first = program.run(steps=50, record=["p.w", "q.a"])
    rest = program.run(steps=70, record=["p.w", "q.a"], state=first.state)
    for name in whole.traces:
        np.testing.assert_array_equal(np.concatenate([first.traces[name], rest.traces[name]], 1), whole.traces[name])


def test_a_slope_goes_through_the_time_between_events() -> None:
    """Torch and native against differences, by the trace's time constant and the size of its jumps."""
    torch = pytest.importorskip("torch")
    synapse = Synapse(
        "s",
        "da/dt = -a/tau : 1 (event-driven)",
        on_pre="x_post += a; a += jump",
        parameters={"tau": "20 ms", "jump": "0.7"},
        initial={"a": "1"},
    )
    cell = Neuron("c", "dx/dt = -x/(10*ms) : 1")
    net = Network(
        (Population("c", cell, 2),),
        (Projection("p", "s", "c", synapse, connectivity=OneToOne()),),
        (Input("s", 2),),
        "1 ms",
    )
    given = np.random.default_rng(0).random((1, 60, 2)) < 0.15
    names = ("p.tau", "p.jump")

    def loss(**changed: float) -> float:
        run = (
            backends.get("reference")
            .compile(net)
            .run(
                inputs={"s": given},
                record=["c.x"],
                parameters={n.replace("_", "."): np.float64(v) for n, v in changed.items()},
            )
        )
        return float((run.traces["c.x"] ** 2).sum())

    for backend in ("torch", "native"):
        program = backends.get(backend).compile(net)
        value, slopes = program.value_and_grad(
            lambda r: (r.traces["c.x"] ** 2).sum(), {}, {"s": given}, names, ["c.x"]
        )[:2]
        assert float(value) == pytest.approx(loss(), rel=1e-12)
        for name, base in zip(names, (20e-3, 0.7), strict=True):
            h = 1e-6 * base
            expected = (loss(**{name.replace(".", "_"): base + h}) - loss(**{name.replace(".", "_"): base - h})) / (
                2 * h
            )
            assert float(torch.as_tensor(slopes[name])) == pytest.approx(expected, rel=1e-6)


def test_the_record_says_so() -> None:
    assert semantics(network()).event_driven == ("p", "q")


@pytest.mark.parametrize("tau", [1e9, np.inf])
def test_brian2_refuses_rates_that_its_formula_can_not_divide_by(tau: float) -> None:
    slow = Synapse(
        "s",
        "da/dt = (0.5 - a)*rate : 1 (event-driven)",
        on_pre="I_post += a; a += 1",
        parameters={"rate": quantity(1 / tau, "Hz")},
    )
    with pytest.raises(UnsupportedError, match="divides by the rate"):
        backends.get("brian2").compile(network(slow))
    fine = Synapse(
        "s",
        "da/dt = -a*rate : 1 (event-driven)",
        on_pre="I_post += a; a += 1",
        parameters={"rate": quantity(1 / tau, "Hz")},
    )
    backends.get("brian2").compile(network(fine))
    program = backends.get("brian2").compile(
        network(Synapse("s", slow.equations, on_pre=slow.on_pre, parameters={"rate": "50 Hz"}))
    )
    with pytest.raises(RunError, match="divides by the rate"):
        program.run(steps=2, parameters={"p.rate": np.float64(1 / tau)})


def rule(equation: str = "da/dt = -a/tau : 1 (event-driven)", **options: Any) -> Synapse:
    given = {"on_pre": "I_post += a", "parameters": {"tau": "20 ms"}, **options}
    return Synapse("s", f"{equation}\nb : 1" if "b" in str(given) else equation, **given)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "time": (lambda: rule("da/dt = (sin(t/tau) - a)/tau : 1 (event-driven)"), "'t' changes in between"),
    "step": (lambda: rule("da/dt = -a/(20*dt) : 1 (event-driven)"), "'dt' changes in between"),
    "square": (lambda: rule("da/dt = -a*a/tau : 1 (event-driven)"), "needs a linear equation: it has the nonlinear term"),
    "another": (lambda: rule("da/dt = (c - a)/tau : 1 (event-driven)\ndc/dt = -c/tau : 1 (event-driven)"), "'c' changes in between"),
    "through a name": (lambda: rule("da/dt = (d - a)/tau : 1 (event-driven)\nd = 2*c : 1\ndc/dt = -c/tau : 1"), "'c' (through 'd') changes in between"),
    "a cell's state": (lambda: network(rule("da/dt = (v_post - a)/tau : 1 (event-driven)")), "'v_post' changes in between"),
    "read at each step": (lambda: rule("da/dt = -a/tau : 1 (event-driven)\ndc/dt = (a - c)/tau : 1"), "this is read at every step"),
    "sent": (lambda: rule(transmits="a", target="I"), "this is read at every step"),
    "set at each step": (lambda: rule(every_step="a = 0"), "this sets it at every step"),
    "no event": (lambda: rule(on_pre="", transmits="1", target="I"), "no event ever solves it"),
    "a subexpression": (lambda: rule("a = 1 : 1 (event-driven)"), "'a' is no differential equation"),
    "both": (lambda: rule("da/dt = -a/tau : 1 (event-driven, clock-driven)"), "choose one of the two"),
    "a cell": (lambda: Neuron("n", "dv/dt = -v/ms : 1 (event-driven)"), "'(event-driven)' is for equations of synapses"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_says_why(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        make()
    assert said in str(caught.value)
