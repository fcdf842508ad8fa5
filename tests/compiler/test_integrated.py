"""Synapses that are integrated after the cells that they read: by hand, on every backend, as Brian2 does it by names alone, slopes, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

import backends
from neuro import ModelError, Network, Neuron, Population, Projection, Synapse, lower
from neuro.compiler.semantics import semantics
from neuro.io.serialisation import from_data, to_data

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
places = pytest.mark.parametrize("place", ["start", "end"])
Place = Literal["start", "end"]
CELL = Neuron(
    "cell", "dv/dt = (I + 1.2 + 0.1*i - v)/(4*ms) : 1\nI : 1", threshold="v > 1", reset="v = -0.5", method="euler"
)
FOLLOWS = Synapse(
    "follows", "w : 1\ndy/dt = (tanh(v_pre - 0.5*v_post) - y)/(3*ms) : 1", transmits="w*y", target="I", method="euler"
)
WEIGHTS = np.array([[0.3, -0.2], [0.4, 0.1], [-0.5, 0.2]])


def network(place: Place = "end", synapse: Synapse = FOLLOWS, **options: Any) -> Network:
    populations = (Population("a", CELL, 3), Population("b", CELL, 2))
    projection = Projection("p", "a", "b", synapse, WEIGHTS, integrated=place)
    return Network(populations, (projection,), dt="0.5 ms", **options)


def by_hand(steps: int, place: Place) -> dict[str, Any]:
    v, y = {"a": np.zeros(3), "b": np.zeros(2)}, np.zeros((3, 2))
    rows: dict[str, list[Any]] = {"a.v": [], "b.v": [], "p.y": []}
    for _ in range(steps):
        heard = {"a": 0.0, "b": (WEIGHTS * y).sum(0)}
        new = {n: v[n] + 0.5 / 4 * (heard[n] + 1.2 + 0.1 * np.arange(len(v[n])) - v[n]) for n in v}
        read = new if place == "end" else v
        y = y + 0.5 / 3 * (np.tanh(read["a"][:, None] - 0.5 * read["b"]) - y)
        v = {n: np.where(x > 1, -0.5, x) for n, x in new.items()}
        for name, value in (("a.v", v["a"]), ("b.v", v["b"]), ("p.y", y)):
            rows[name].append(value)
    return {n: np.array(r) for n, r in rows.items()}


@places
@every_backend
def test_equations_of_synapses_read_what_cells_are_there(backend: str, place: Place) -> None:
    right = by_hand(150, place)
    found = backends.get(backend).compile(network(place)).run(steps=150, record=list(right))
    for name, trace in right.items():
        np.testing.assert_allclose(found.traces[name][0], trace, atol=1e-12)
    assert (right["b.v"] == -0.5).sum() > 5
    other = by_hand(150, "start" if place == "end" else "end")
    assert np.abs(other["p.y"] - right["p.y"]).max() > 0.01


@pytest.mark.parametrize(("name", "place"), [("a_synapses", "start"), ("synapses", "end")])
def test_brian2_takes_groups_by_their_names_and_the_importer_sees_it(name: str, place: Place) -> None:
    """A script of its own, in which nothing of ours stands."""
    brian2 = pytest.importorskip("brian2")
    from backends.brian.importing.importer import from_brian2

    clock = brian2.Clock(0.5 * brian2.ms)
    text = "dv/dt = (I + 1.2 + 0.1*i - v)/(4*ms) : 1\nI : 1"
    a, b = (
        brian2.NeuronGroup(
            n, text, threshold="v > 1", reset="v = -0.5", method="euler", clock=clock, name=f"group_{called}"
        )
        for called, n in (("a", 3), ("b", 2))
    )
    model = "w : 1\ndy/dt = (tanh(v_pre - 0.5*v_post) - y)/(3*ms) : 1 (clock-driven)\nI_post = w*y : 1 (summed)"
    synapses = brian2.Synapses(a, b, model, method="euler", clock=clock, name=name)
    synapses.connect()
    synapses.w = WEIGHTS.ravel()
    watch = brian2.StateMonitor(synapses, "y", record=True, when="end", clock=clock)
    net = brian2.Network(a, b, synapses, watch)
    imported = from_brian2(net)
    assert imported.network.projection(name).integrated == place
    found = backends.get("native").compile(imported.network).run(steps=150, record=[f"{name}.y"])
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        net.run(150 * 0.5 * brian2.ms)
    finally:
        brian2.prefs.codegen.target = before
    np.testing.assert_allclose(np.asarray(watch.y).T, by_hand(150, place)["p.y"].reshape(150, 6), atol=1e-12)
    np.testing.assert_allclose(found.traces[f"{name}.y"][0], np.asarray(watch.y).T, atol=1e-12)


@places
@pytest.mark.parametrize("method", ["euler", "exponential_euler", "rk4", "exact"])
def test_slopes_go_through_cells_into_their_synapses(place: Place, method: str) -> None:
    """Torch and native against differences: weights, and a number of the synapses' equations; of a bounded weight too."""
    pytest.importorskip("torch")
    text = "dw/dt = -w/(30*ms) : 1\ndy/dt = (c*tanh(v_pre) - y)/(3*ms) : 1"
    synapse = Synapse("s", text, transmits="w*y", target="I", parameters={"c": "0.8"}, method=method)
    smooth = Neuron("cell", "dv/dt = (I + b - v)/(4*ms) : 1\nI : 1", parameters={"b": "0.4"}, method="euler")
    cells = (Population("a", smooth, 3), Population("b", smooth, 2))
    projections = (
        Projection("p", "a", "b", synapse, WEIGHTS, bounds=("-2", "2"), integrated=place),
        Projection("q", "b", "a", synapse, WEIGHTS.T, integrated=place),
    )
    net = Network(cells, projections, dt="0.5 ms")
    begin: dict[str, Any] = {"p.w": WEIGHTS, "p.c": np.array(0.8), "q.w": WEIGHTS.T}
    record, native = ["a.v", "b.v", "p.y"], backends.get("native").compile(net)

    def loss(found: Any) -> Any:
        return (found.traces["a.v"] ** 2).sum() + found.traces["b.v"].sum() + found.traces["p.y"].sum()

    def moved(name: str, at: tuple[int, ...], step: float) -> float:
        value = begin[name].copy()
        value[at] += step
        return float(loss(native.run(steps=20, record=record, parameters={**begin, name: value})))

    places = [(name, at) for name, value in begin.items() for at in np.ndindex(value.shape)]
    expected = [(moved(name, at, 1e-6) - moved(name, at, -1e-6)) / 2e-6 for name, at in places]
    for backend in ("torch", "native"):
        program = backends.get(backend).compile(net)
        slopes = program.value_and_grad(loss, begin, {}, tuple(begin), record, steps=20)[1]
        found = [float(slopes[name][at]) for name, at in places]
        assert found == pytest.approx(expected, rel=1e-6)


def test_what_is_summed_at_the_end_or_at_a_turn_sees_them_as_the_record_says() -> None:
    """At the end after them; at a turn before them, where they follow what arrived at that turn."""
    relay = Neuron("relay", "I : 1\nv = I : 1")
    cells = (Population("a", CELL, 3), Population("b", CELL, 2), Population("r", relay, 2))
    send = Synapse("send", "dy/dt = (v_pre - y)/(3*ms) : 1", transmits="y", target="I", method="euler")
    late = Network(cells, (Projection("p", "a", "r", send, integrated="end", summed="end"),), dt="0.5 ms")
    run = backends.get("native").compile(late).run(steps=20, record=["p.y", "r.v"])
    np.testing.assert_allclose(run.traces["r.v"][0], run.traces["p.y"][0].reshape(20, 3, 2).sum(1), atol=1e-12)
    link = Synapse("link", transmits="v_pre", target="I")
    hear = Synapse("hear", "dy/dt = (I_post - y)/(3*ms) : 1", on_pre="v_post += 0*y", method="euler")
    turned = (Projection("l", "a", "b", link, summed="turn"), Projection("h", "a", "b", hear, integrated="end"))
    run = backends.get("native").compile(Network(cells[:2], turned, dt="0.5 ms")).run(steps=9, record=["b.I", "h.y"])
    y = np.zeros(2)
    for k in range(9):
        y = y + 0.5 / 3 * (run.traces["b.I"][0, k] - y)
        np.testing.assert_allclose(run.traces["h.y"][0, k].reshape(3, 2), np.tile(y, (3, 1)), atol=1e-12)


def test_the_record_files_and_the_printed_step_say_so() -> None:
    assert semantics(network()).integrated_at_end == ("p",)
    assert semantics(network()).differences(semantics(network("start"))) == ("integrated_at_end",)
    assert "integrated" in to_data(network())["projections"][0]
    assert from_data(to_data(network())) == network()
    lines = [line for line in str(lower(network())).splitlines() if line.startswith("integrate")]
    assert lines == ["integrate a", "integrate b", "integrate p"]
    assert "follows, AllToAll, integrated after cells" in str(network())


EVENTS = Synapse("s", "dy/dt = -y/ms : 1 (event-driven)", on_pre="y += 1\nI_post += y")
LATE = Synapse("s", "dy/dt = (M_post - y)/ms : 1", on_pre="v_post += y")


def with_late_sum() -> Network:
    send = Synapse("send", transmits="v_pre", target="M")
    cells = (Population("a", CELL, 3), Population("b", Neuron("heard", "dv/dt = -v/ms : 1\nM : 1"), 2))
    projections = (Projection("q", "a", "b", send, summed="end"), Projection("p", "a", "b", LATE, integrated="end"))
    return Network(cells, projections)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "another word": (lambda: Projection("p", "a", "b", LATE, integrated="soon"), "use 'start' or 'end'"),  # type: ignore[arg-type]
    "no equations": (lambda: Projection("p", "a", "b", Synapse("s", on_pre="v_post += 1"), integrated="end"), "no equations to integrate in each step"),
    "event-driven": (lambda: Projection("p", "a", "b", EVENTS, integrated="end"), "no equations to integrate in each step"),
    "what is summed later": (with_late_sum, "'M' is read before it is summed: its projection has summed='end'"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_says_why(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        make()
    assert said in str(caught.value)
