"""Events of a cell's own: when they are asked, what they do and when, on every backend; gradients through what they do; who refuses them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, ModelError, Network, Neuron, Population, Projection, Synapse, lower, quantity
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.export import ExportError, targets
from neuro.io.serialisation import from_json, to_json
from neuro.learning.traces.trial import check_trial
from neuro.protocols import UnsupportedError
from tests.backends.networks import LIF

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
CELL = Neuron(
    "cell",
    "dv/dt = (x - v)/(10*ms) : 1 (unless refractory)\nx : 1\ndg/dt = -g/(5*ms) : 1\nc : 1\nfree : boolean\nq = 2*g : 1",
    threshold="v > 0.6", reset="v = 0; free = not free", refractory="3 ms", every_step="c += 0.01*kick",
    events={"low": "g < 0.2 and v > 0.1", "kick": "q > 0.7 + 0.1*rand()", "again": "free and c > 1"},
    on_event={"kick": "g = 0; c += 1; v *= 0.5", "low": "g += 0.3*rand() + 0.05*low", "again": "c = 0.5; free = not free"},
)  # fmt: skip


def network(cell: Neuron = CELL, size: int = 12) -> Network:
    loop = Projection("p", "a", "a", Synapse("s", "w : 1", on_pre="g_post += w*(1 + 0.5*kick_pre)"), 0.1, delay="2 ms")
    return Network((Population("a", cell, size),), (loop,), (Input("i", size, "current", "a.x"),), "1 ms", 4)


def alone(cell: Neuron, size: int = 5) -> Network:
    inputs = (Input("i", size, "current", "a.x"),) if "x" in cell.scope.inputs else ()
    return Network((Population("a", cell, size),), (), inputs, "1 ms", 4)


def drive(size: int = 12, steps: int = 120) -> dict[str, np.ndarray]:
    return {"i": np.random.default_rng(0).normal(0.8, 0.7, (2, steps, size))}


@every_backend
def test_when_and_what_by_hand(backend: str) -> None:
    """After the thresholds, refractory or not, all at once; statements after the resets, by name, which refractory cells take."""
    cell = Neuron(
        "cell", "dv/dt = 0/second : 1 (unless refractory)\nx : 1\nn : 1\nb : 1", threshold="v > 1", reset="v = 0; n = 10",
        refractory="4 ms", every_step="n += x",
        events={"two": "n > 3 or b > 0", "one": "n > 2 and not_refractory"},
        on_event={"two": "v += 5; b += n", "one": "n = 1; v += 0.7"},
    )  # fmt: skip
    net = alone(cell)
    x = np.abs(drive(5)["i"])
    found = backends.get(backend).compile(net).run(inputs={"i": x}, record=["a.v", "a.n", "a.b", "a.one", "a.two"])
    v, n, b, left = (np.zeros((2, 5)) for _ in range(4))
    for k in range(120):
        refractory = left > 0
        left = np.maximum(left - 1, 0)
        n = n + x[:, k]
        fired = (v > 1) & ~(left > 0)
        left = np.where(fired, 4, left)
        one, two = (n > 2) & ~(left > 0), (n > 3) | (b > 0)
        v, n = np.where(fired, 0.0, v), np.where(fired, 10.0, n)
        n, v = np.where(one, 1.0, n), np.where(one, v + 0.7, v)
        v, b = np.where(two, v + 5, v), np.where(two, b + n, b)
        np.testing.assert_array_equal(found.spikes["a"][:, k], fired, err_msg=f"{k} {refractory}")
        for name, expected in {"v": v, "n": n, "b": b, "one": one, "two": two}.items():
            np.testing.assert_allclose(found.traces[f"a.{name}"][:, k], expected, atol=1e-12, err_msg=f"{name} {k}")
    assert found.spikes["a"].sum() > 50 and found.traces["a.one"].sum() > 5


@pytest.mark.parametrize("backend", ["native", "torch", "brian2"])
def test_backends_agree(backend: str) -> None:
    asked = {"inputs": drive(), "record": ["a.v", "a.g", "a.c", "a.free", "a.kick", "a.low", "a.again"]}
    truth, found = (backends.get(b).compile(network()).run(**asked) for b in ("reference", backend))
    np.testing.assert_array_equal(found.spikes["a"], truth.spikes["a"])
    for name in asked["record"]:
        np.testing.assert_allclose(found.traces[name], truth.traces[name], rtol=1e-12, atol=1e-12, err_msg=name)
        assert 10 < np.count_nonzero(truth.traces[name]) < truth.traces[name].size, name


@pytest.mark.parametrize("options", [{"device": "cuda-emulated"}, {"device": "cuda-checked"}, {"dtype": "float32"}])
def test_other_kernels(options: dict[str, Any]) -> None:
    rtol = 1e-4 if "dtype" in options else 1e-12
    truth, found = (
        backends.get(b).compile(network(), **given).run(inputs=drive(), record=["a.c", "a.kick"])
        for b, given in (("reference", {n: v for n, v in options.items() if n == "dtype"}), ("native", options))
    )
    np.testing.assert_array_equal(found.traces["a.kick"], truth.traces["a.kick"])
    np.testing.assert_allclose(found.traces["a.c"], truth.traces["a.c"], rtol=rtol)


@every_backend
def test_a_run_in_parts(backend: str) -> None:
    """What happened in the last step is part of the state: `every_step` reads it in the next one."""
    program: Any = backends.get(backend).compile(network())
    x = drive()["i"]
    whole = program.run(inputs={"i": x}, record=["a.c"]).traces["a.c"]
    half = program.run(inputs={"i": x[:, :50]})
    rest = program.run(inputs={"i": x[:, 50:]}, state=half.state, record=["a.c"]).traces["a.c"]
    np.testing.assert_array_equal(rest, whole[:, 50:])


def test_its_numbers_are_streams_of_their_own() -> None:
    """Numbered by the order of the events' names."""
    events = {"z": "rand() < 0.3", "b": "rand() < 0.6"}
    cell = Neuron("cell", "u : 1", every_step="u = u", events=events, on_event={"z": "u += rand()"})
    found = backends.get("native").compile(alone(cell, 7)).run(steps=40, record=["a.z", "a.b", "a.u"])
    for name, number, share in (("b", 1, 0.6), ("z", 2, 0.3)):
        drawn = streams.uniform(4, f"noise/a/rand__event_{number}_1", 0, 1, 40, 7)
        np.testing.assert_array_equal(found.traces[f"a.{name}"], drawn < share)
    steps = streams.uniform(4, "noise/a/rand__on_event_2_1_1", 0, 1, 40, 7) * found.traces["a.z"]
    np.testing.assert_allclose(found.traces["a.u"], np.cumsum(steps, axis=1))


def test_gradients_go_through_what_events_do() -> None:
    """And not through whether they happen: as finite differences have it where none comes or goes."""
    cell = Neuron(
        "cell", "dv/dt = (x - v)/tau : 1\nx : 1\ndg/dt = -g/(5*ms) : 1\nc : 1", parameters={"tau": "10 ms"}, initial={"v": 0.5},
        every_step="g += 0.1*x", events={"kick": "g > 0.25"}, on_event={"kick": "c += g*v; g *= 0.3"},
    )  # fmt: skip
    net = alone(cell, 4)
    loss = lambda r: r.traces["a.c"][:, -1].sum()
    given, found = values(net), []
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(net)
        found.append(program.value_and_grad(loss, given, drive(4), ["a.tau"], ["a.c"])[1]["a.tau"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)
    step = 1e-6 * given["a.tau"]
    below, above = (
        backends.get("reference").compile(net).run({"a.tau": given["a.tau"] + s}, drive(4), ["a.c", "a.kick"])
        for s in (-step, step)
    )
    np.testing.assert_array_equal(below.traces["a.kick"], above.traces["a.kick"])
    assert below.traces["a.kick"].sum() > 20
    slope = (above.traces["a.c"][:, -1].sum() - below.traces["a.c"][:, -1].sum()) / (2 * step)
    np.testing.assert_allclose(np.sum(found[0]), slope, rtol=1e-5)


def test_a_file_keeps_them() -> None:
    made = network()
    assert from_json(to_json(made)) == made
    assert "events" not in to_json(replace(made, populations=(Population("a", LIF, 2),), projections=(), inputs=()))
    text = str(lower(made))
    assert (
        text.index("event a\n    again") < text.index("deliver pre") < text.index("reset a") < text.index("on_event a")
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"events": {"kick": "g + 1"}}, r"event 'kick' is a number, a condition is needed"),
        ({"events": {"kick": "g > 1*mV"}}, r"volt|unit"),
        ({"events": {"kick": "unknown > 1"}}, r"unknown"),
        ({"events": {"kick": ""}}, r"the expression is empty"),
        ({"events": {"spike": "g > 1"}}, r"an event can't be called 'spike'"),
        ({"events": {"g": "g > 1"}}, r"can't be called 'g': a variable or parameter is called so"),
        ({"events": {"exp": "g > 1"}}, r"can't be called 'exp': 'exp' is reserved"),
        (
            {"events": {"a": "g > 1", "b": "a and g < 2"}},
            r"'a' is an event, and conditions of events are asked all at once",
        ),
        ({"on_event": {"kik": "g = 0"}}, r"there is no event 'kik'[\s\S]*did you mean 'kick'"),
        ({"on_event": {"kick": "kick = 0"}}, r"'kick' is an event and can't be assigned"),
        ({"on_event": {"kick": "nothing = 0"}}, r"'nothing' is not a variable"),
        ({"on_event": {"kick": "g = 1*mV"}}, r"volt|unit"),
        ({"initial": {"kick": 1.0}}, r"'kick' is not a state variable"),
    ],
)
def test_what_is_refused(changed: dict[str, Any], message: str) -> None:
    given = {"equations": "dg/dt = -g/ms : 1", "events": {"kick": "g > 1"}, **changed}
    with pytest.raises(ModelError, match=message):
        Neuron("cell", **given)


def test_synapses_may_not_set_them() -> None:
    sets = Synapse("s", "w : 1", on_pre="kick_post += w")
    with pytest.raises(ModelError, match="has no variable 'kick' to write to"):
        replace(network(), projections=(Projection("p", "a", "a", sets, 0.1),))


@pytest.mark.parametrize("target", [*targets.names(), "snntorch"])
def test_chips_and_modules_refuse_them_by_name(target: str, tmp_path: Path) -> None:
    cell = replace(LIF, events={"near": "v > -51*mV"})
    feed = Projection(
        "p", "x", "a", Synapse("pulse", "w : amp", on_pre="I_post += w"), quantity(np.full((4, 4), 2.0), "nA")
    )
    net = Network((Population("a", cell, 4),), (feed,), (Input("x", 4),), "1 ms")
    with pytest.raises((ExportError, UnsupportedError), match=r"events of the cells' own beside their spikes"):
        if target == "snntorch":
            backends.get(target).compile(net)
        else:
            targets.get(target).export(net, values(net), tmp_path / "x")


def test_rules_of_traces_refuse_them_by_name() -> None:
    with pytest.raises(
        UnsupportedError, match=r"population 'a' for rule 'eprop': its cells have events of their own; use rule 'bptt'"
    ):
        check_trial(network(), "a", ["p.w"], "eprop")


def test_how_synapses_follow_an_event() -> None:
    """Cells that spike where it happens, told by a sum at the end of the same step: their synapses' delays count from it."""
    cell = Neuron(
        "cell",
        "dg/dt = -g/(5*ms) : 1\nx : 1",
        every_step="g += 0.2*x",
        events={"kick": "g > 1"},
        on_event={"kick": "g = 0"},
    )
    relay = Neuron("relay", "happens : 1", threshold="happens > 0.5")
    tell = Projection("tell", "a", "kicks", Synapse("tell", transmits="int(g_pre > 1)", target="happens"), summed="end")
    add = Projection("add", "kicks", "b", Synapse("add", "w : 1", on_pre="y_post += w"), 0.5, delay="3 ms")
    heard = Neuron("heard", "dy/dt = -y/(4*ms) : 1")
    cells = Population("a", cell, 1), Population("kicks", relay, 1), Population("b", heard, 1)
    net = Network(cells, (tell, add), (Input("i", 1, "current", "a.x"),), "1 ms")
    for backend in ("reference", "native", "torch", "brian2"):
        found = backends.get(backend).compile(net).run(inputs=drive(1), record=["a.kick", "b.y"])
        np.testing.assert_array_equal(found.spikes["kicks"], found.traces["a.kick"])
        jumps = np.diff(found.traces["b.y"][..., 0], axis=1) > 0
        np.testing.assert_array_equal(jumps[:, 2:], found.traces["a.kick"][:, :-3, 0] > 0)
        assert jumps.sum() > 5
