"""Subexpressions that are constant over dt: formed at the start of a step, kept for it, drawn once for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.io.serialisation import from_json, to_json
from neuro.language.equations import ModelError

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
CELL = Neuron(
    "holding",
    "b = 0.2*s : 1 (constant over dt)\ns = 2*a : 1\na = k*randn() + 0.1*v : 1 (constant over dt)\ndv/dt = (1.2 + x + b*v - v)/tau : 1\nx : 1",
    threshold="v > 1", reset="v = 0", parameters={"tau": "10 ms", "k": 1.0}, method="rk2", regularly={"2 ms": "v += 0.1*a"},
)  # fmt: skip
SYNAPSE = Synapse("held", "w : 1\nq = 0.3*v_post : 1 (constant over dt)", on_pre="x_post += w*q")


def network() -> Network:
    loop = Projection("loop", "p", "p", SYNAPSE, "0.5", delay="1 ms")
    return Network((Population("p", CELL, 4),), (loop,), (), "1 ms", 4)


@every_backend
def test_by_hand(backend: str) -> None:
    """Each after those that it is made of, before everything else of the step; an integrator's stages see one value."""
    found = backends.get(backend).compile(network()).run(steps=140, batch=1, record=["p.v", "p.a", "p.b", "loop.q"])
    drawn = streams.normal(4, "noise/p/randn__held_2_1", 0, 1, 140, 4)[0]
    v, arrived, before = np.zeros(4), np.zeros(4), np.zeros(4, bool)
    for k in range(140):
        a = drawn[k] + 0.1 * v
        b, q = 0.4 * a, 0.3 * v
        v = v + 0.1 * a if k % 2 == 0 else v
        x, half = arrived, v + (1.2 + arrived + b * v - v) / 20
        v = v + (1.2 + x + b * half - half) / 10
        fired = v > 1
        arrived, before = before.sum() * 0.5 * q, fired
        v = np.where(fired, 0, v)
        shown = {"p.v": v, "p.a": a, "p.b": b, "loop.q": np.broadcast_to(q, (4, 4))}
        for name, value in shown.items():
            np.testing.assert_allclose(found.traces[name][0, k], value, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(found.spikes["p"][0, k], fired)
    assert found.spikes["p"].sum() > 20


def test_brian2_means_the_same() -> None:
    import brian2

    text = "dv/dt = (h - v)/(5*ms) : 1\nh = 2*v*(1 - v) + t/(50*ms) : 1 (constant over dt)"
    group = brian2.NeuronGroup(2, text, method="rk4", dt=1 * brian2.ms)
    group.v = [0.1, 0.6]
    group.run_regularly("v = 0.9*v", dt=3 * brian2.ms)
    monitor = brian2.StateMonitor(group, ["v"], record=True, when="end", dt=1 * brian2.ms)
    brian2.Network(group, monitor).run(40 * brian2.ms, namespace={"ms": brian2.ms})
    cell = Neuron("cell", text, method="rk4", regularly={"3 ms": "v = 0.9*v"})
    net = Network((Population("p", cell, 2, initial={"v": [0.1, 0.6]}),), dt="1 ms")
    found = backends.get("reference").compile(net).run(steps=40, batch=1, record=["p.v"]).traces["p.v"]
    np.testing.assert_allclose(found[0], np.asarray(monitor.v).T, rtol=1e-12)


def test_gradients_of_native_and_torch_and_by_differences() -> None:
    text = "dv/dt = (h + x - v)/tau : 1\nh = k*tanh(v) : 1 (constant over dt)\nx : 1"
    cell = Neuron("smooth", text, parameters={"tau": "10 ms", "k": 0.7}, method="rk4")
    net = Network((Population("p", cell, 3),), (), (Input("i", 3, "current", "p.x"),), "1 ms")
    given, start = {"i": np.random.default_rng(1).normal(1, 1, (2, 30, 3))}, values(net)
    loss = lambda r: r.traces["p.v"].square().sum()
    reference, slopes = backends.get("reference").compile(net), {}
    for name in ("p.k", "p.tau"):
        step = 1e-6 * float(start[name])
        ends = [reference.run(start | {name: start[name] + s}, given, record=["p.v"]) for s in (step, -step)]
        slopes[name] = np.subtract(*(float(np.square(r.traces["p.v"]).sum()) for r in ends)) / (2 * step)
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(net, dtype="float64")
        found = program.value_and_grad(loss, start, given, list(slopes), ["p.v"])[1]
        for name, slope in slopes.items():
            assert float(found[name]) == pytest.approx(slope, rel=1e-5)


def test_a_file_and_receptors_beside_it_keep_its_numbers() -> None:
    assert from_json(to_json(network())) == network()
    decay = Synapse("decay", "w : 1", on_pre="g_post += w", receptor="dg/dt = -g/(5*ms) : 1\nx = g : 1")
    first = network()
    second = Network(first.populations, (*first.projections, Projection("more", "p", "p", decay, 0.0)), (), "1 ms", 4)
    found = [backends.get("reference").compile(n).run(steps=40, batch=1, record=["p.a"]) for n in (first, second)]
    np.testing.assert_array_equal(found[0].traces["p.a"], found[1].traces["p.a"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"equations": "dv/dt = -v/ms : 1 (constant over dt)"}, "'v' is no subexpression, and only such can be constant over dt"),
        ({"equations": "x : 1\nh = x : 1 (constant over dt)\ndv/dt = (x - v)/ms : 1"}, "'x' is read at the start of a step"),
        ({"equations": "h = h + 1 : 1 (constant over dt)"}, "'h' depends on itself"),
        ({"equations": "h = 1 : 1 (constant over dt)", "every_step": "h = 2"}, "'h' is a subexpression and can't be assigned"),
        ({"equations": "h = 1 : 1 (constant over dt)", "initial": {"h": 1.0}}, "'h' is not a state variable"),
        ({"equations": "h = xi*ms**0.5 : 1 (constant over dt)"}, "noise 'xi' stands outside a differential equation"),
        ({"equations": "h = 1 : 1 (constant over dt, unless refractory)"}, "'h' is a subexpression, so there is nothing"),
        ({"equations": "h = rand() : 1"}, r"rand\(\) stands in"),
    ],
)  # fmt: skip
def test_what_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Neuron("cell", **changed)


def test_what_synapses_may_not() -> None:
    with pytest.raises(ModelError, match=r"part of a receptor, in which nothing is held"):
        Synapse("s", "w : 1", on_pre="g_post += w", receptor="g : 1\nh = 2*g : 1 (constant over dt)")
    adds = Synapse("s", "w : 1", on_pre="a_post += w")
    with pytest.raises(ModelError, match="has no variable 'a' to write to"):
        Network(network().populations, (Projection("loop", "p", "p", adds, 1.0),), (), "1 ms")
    with pytest.raises(ModelError, match="no state 'a'"):
        drive = Input("d", 4, "drive", "p.a", rate="1 kHz", weight=1.0)
        Network(network().populations, (), (drive,), "1 ms")
