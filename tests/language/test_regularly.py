"""Statements at the start of every n-th step: by hand, by Brian2's own run_regularly, in parts, and back through gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, lower
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.io.serialisation import from_json, to_json
from neuro.language.equations import ModelError

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
CELL = Neuron(
    "jolted",
    "dv/dt = (1.4 + x + u - v)/tau : 1\nu : 1\nx : 1\nc : 1",
    threshold="v > 1",
    reset="v = 0; c += 1",
    parameters={"tau": "10 ms", "k": 0.1},
    regularly={"5 ms": "u = 0.5*rand() - k*c; c = 0", "2 ms": "v += 0.05*c", "1 ms": "c *= 0.9"},
)
SYNAPSE = Synapse(
    "waning", "w : 1\na : 1", on_pre="x_post += w*a; a += 0.3", parameters={"b": 0.05},
    regularly={"3 ms": "a = 0.5*a + b*v_post; w += 0.001"},
)  # fmt: skip


def network(cell: Neuron = CELL, synapse: Synapse = SYNAPSE) -> Network:
    loop = Projection("loop", "p", "p", synapse, "0.1", delay="2 ms", bounds=(0, 0.105))
    return Network((Population("p", cell, 4, initial={"v": [0.1, 0.3, 0.5, 0.7]}),), (loop,), (), "1 ms", 4)


@every_backend
def test_by_hand(backend: str) -> None:
    """The shortest period first, in steps 0, n, 2n, ...; synapses after cells; all before what arrives is gathered."""
    found = backends.get(backend).compile(network()).run(steps=120, batch=1, record=["p.v", "p.u", "loop.a", "loop.w"])
    kicks = streams.uniform(4, "noise/p/rand__regularly_3_1_1", 0, 1, 120, 4)[0]
    v, u, c = np.array([0.1, 0.3, 0.5, 0.7]), np.zeros(4), np.zeros(4)
    a, w, arrived, past = np.zeros((4, 4)), np.full((4, 4), 0.1), np.zeros(4), [np.zeros(4, bool)] * 2
    for k in range(120):
        c = 0.9 * c
        v = v + 0.05 * c if k % 2 == 0 else v
        u, c = (0.5 * kicks[k] - 0.1 * c, 0 * c) if k % 5 == 0 else (u, c)
        if k % 3 == 0:
            a, w = 0.5 * a + 0.05 * v, np.minimum(w + 0.001, 0.105)
        x, arrived = arrived, np.zeros(4)
        v = v + (1.4 + x + u - v) / 10
        fired = v > 1
        came = past.pop(0)[:, None]
        arrived += (came * w * a).sum(0)
        a = np.where(came, a + 0.3, a)
        past.append(fired)
        v, c = np.where(fired, 0, v), np.where(fired, c + 1, c)
        for name, value in {"p.v": v, "p.u": u, "loop.a": a, "loop.w": w}.items():
            np.testing.assert_allclose(found.traces[name][0, k], value, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(found.spikes["p"][0, k], fired)
    assert 30 < found.spikes["p"].sum() < 200


@every_backend
def test_a_run_in_parts(backend: str) -> None:
    """Cut between two multiples of each period."""
    program: Any = backends.get(backend).compile(network())
    whole = program.run(steps=60, batch=2, record=["p.v", "loop.a"])
    parts = [program.run(steps=17, batch=2, record=["p.v", "loop.a"])]
    parts.append(program.run(steps=43, batch=2, record=["p.v", "loop.a"], state=parts[0].state))
    for name in ("p.v", "loop.a"):
        np.testing.assert_array_equal(np.concatenate([r.traces[name] for r in parts], axis=1), whole.traces[name])
    assert whole.spikes["p"].sum() > 20


def test_a_session_counts_the_steps_before() -> None:
    program: Any = backends.get("native").compile(network())
    whole = program.run(steps=30, batch=1, record=["p.u"]).traces["p.u"]
    with program.session(1, record=["p.u"]) as session:
        steps = [session.step({}).traces["p.u"] for _ in range(30)]
    np.testing.assert_array_equal(np.concatenate(steps, axis=1), whole)


def test_brian2_means_the_same_by_run_regularly() -> None:
    import brian2

    group = brian2.NeuronGroup(3, "dv/dt = (u - v)/(10*ms) : 1\nu : 1", method="exact", dt=1 * brian2.ms, name="cells")
    group.v = [0.0, 1.0, 2.0]
    group.run_regularly("u = v + t/(20*ms)", dt=7 * brian2.ms)
    monitor = brian2.StateMonitor(group, ["v", "u"], record=True, when="end", dt=1 * brian2.ms)
    brian2.Network(group, monitor).run(50 * brian2.ms, namespace={"ms": brian2.ms})
    cell = Neuron("cell", "dv/dt = (u - v)/(10*ms) : 1\nu : 1", method="exact", regularly={"7 ms": "u = v + t/(20*ms)"})
    net = Network((Population("p", cell, 3, initial={"v": [0.0, 1.0, 2.0]}),), dt="1 ms")
    found = backends.get("reference").compile(net).run(steps=50, batch=1, record=["p.v", "p.u"])
    for name in ("v", "u"):
        np.testing.assert_allclose(found.traces[f"p.{name}"][0], np.asarray(getattr(monitor, name)).T, rtol=1e-12)


def test_gradients_of_native_and_torch_and_by_differences() -> None:
    cell = Neuron(
        "smooth", "dv/dt = (x + u - v)/tau : 1\nu : 1\nx : 1", parameters={"tau": "10 ms", "k": 0.7},
        regularly={"4 ms": "u = k*tanh(v) + 0.3*u", "1 ms": "u *= 0.95"},
    )  # fmt: skip
    synapse = Synapse(
        "graded", "w : 1\na : 1", transmits="w*a*v_pre", target="x", parameters={"b": 0.4}, on_pre="",
        regularly={"3 ms": "a = 0.5*a + b*v_post"},
    )  # fmt: skip
    loop = Projection("loop", "p", "p", synapse, "0.3")
    kick = Input("kick", 3, "current", "p.x")
    net = Network((Population("p", cell, 3, initial={"v": [0.2, 0.5, 0.9]}),), (loop,), (kick,), "1 ms")
    given = {"kick": np.random.default_rng(1).normal(1, 1, (2, 40, 3))}
    names, start, grads = ["p.k", "p.tau", "loop.w", "loop.b"], values(net), {}
    loss = lambda r: r.traces["p.v"].square().sum()
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(net, dtype="float64")
        grads[backend] = program.value_and_grad(loss, start, given, names, ["p.v"])[1]
    reference = backends.get("reference").compile(net)

    def at(name: str, change: float) -> float:
        moved = start | {name: start[name] + change}
        return float(np.square(reference.run(moved, given, record=["p.v"]).traces["p.v"]).sum())

    for name in names:
        step = 1e-6 * float(np.max(np.abs(start[name])))
        slope = (at(name, step) - at(name, -step)) / (2 * step)
        assert abs(slope) > 1e-3
        for found in grads.values():
            assert np.sum(np.asarray(found[name])) == pytest.approx(slope, rel=1e-5)


@every_backend
@pytest.mark.parametrize("period", ["3*dt", "v < 0.1", "rest"])
def test_refractory_cells_keep_what_they_keep_at_the_start_of_a_step_too(backend: str, period: str) -> None:
    """Who is refractory there is who was in the step before, or has fired in it."""
    cell = Neuron(
        "cell", "dv/dt = (1.3 + 0.2*i - v)/(6*ms) : 1 (unless refractory)\nu : 1\nrest : second", threshold="v > 1", reset="v = 0",
        refractory=period, parameters={"rest": "2.7 ms"}, regularly={"2 ms": "v += 0.15; u += v"}, method="euler",
    )  # fmt: skip
    net = Network((Population("p", cell, 3),), dt="1 ms")
    found = backends.get(backend).compile(net).run(steps=60, batch=1, record=["p.v", "p.u"])
    v, u, free, last = np.zeros(3), np.zeros(3), np.ones(3, bool), np.full(3, -1e4)
    moved = np.zeros(3, int)
    for k in range(60):
        if k % 2 == 0:
            v = np.where(free, v + 0.15, v)
            u = u + v
            moved += ~free
        free = free | ~(v < 0.1) if period == "v < 0.1" else k - last >= (3 if period == "3*dt" else 2)
        v = np.where(free, v + (1.3 + 0.2 * np.arange(3) - v) / 6, v)
        fired = free & (v > 1)
        last, free, v = np.where(fired, k, last), free & ~fired, np.where(fired, 0, v)
        np.testing.assert_allclose(found.traces["p.v"][0, k], v, atol=1e-12)
        np.testing.assert_allclose(found.traces["p.u"][0, k], u, atol=1e-12)
        np.testing.assert_array_equal(found.spikes["p"][0, k], fired)
    assert (moved > 3).all()


def test_a_file_keeps_it_and_its_order_is_by_period() -> None:
    made = network()
    assert from_json(to_json(made)) == made
    first = [u.every for u in lower(made).operations if getattr(u, "phase", "") == "start"]
    assert first == [1, 2, 5, 3]
    plain = Network((Population("p", Neuron("n", "v : 1", parameters={"v": 1.0}), 1),))
    assert "regularly" not in to_json(plain)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"regularly": {"5 mV": "u = 1"}}, r"'5 mV' is not a positive time"),
        ({"regularly": {"0 ms": "u = 1"}}, r"'0 ms' is not a positive time"),
        ({"regularly": {"often": "u = 1"}}, r"often"),
        ({"regularly": {"2 ms": "u = 1", "0.002 s": "u = 2"}}, r"are the same period"),
        ({"regularly": {"2 ms": "u = x"}}, r"'x' is read at the start of a step, before its value of this step is formed"),
        ({"regularly": {"2 ms": "u = y"}, "equations": "u : 1\nx : 1\ny = 2*x : 1\ndv/dt = (x - v)/ms : 1"}, r"'x' is read \(through 'y'\)"),
        ({"regularly": {"2 ms": "v = 1"}, "refractory": "3 ms", "equations": "u : 1\nx : 1\ndv/dt = (x - v)/ms : 1 (unless refractory)"}, r"a refractory cell keeps 'v'"),
        ({"regularly": {"2 ms": "q = 1"}}, r"'q' is not a variable of this neuron"),
        ({"regularly": {"2 ms": "u = 1*mV"}}, r"volt|unit"),
    ],
)  # fmt: skip
def test_what_is_refused(changed: dict[str, Any], message: str) -> None:
    given = {"equations": "u : 1\nx : 1\ndv/dt = (x - v)/ms : 1", "threshold": "v > 1", "reset": "v = 0", **changed}
    with pytest.raises(ModelError, match=message):
        Neuron("cell", **given)


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("v_post += 1", r"'v_post' belongs to the cells"),
        ("a = x_post", r"'x_post'|'x' is read"),
        ("v_pre = 1", r"'v_pre' belongs to the presynaptic cell"),
    ],
)
def test_what_synapses_may_not(statements: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        network(synapse=Synapse("s", "w : 1\na : 1", on_pre="x_post += w*a", regularly={"3 ms": statements}))


@pytest.mark.parametrize("period", ["2.5 ms", "0.4 ms"])
def test_periods_are_whole_steps(period: str) -> None:
    cell = Neuron("cell", "v : 1", regularly={period: "v = 1"})
    with pytest.raises(ModelError, match=r"not a multiple of dt|shorter than dt"):
        Network((Population("p", cell, 1),), dt="1 ms")
