"""Graded values summed at the target's turn to be integrated: by hand, on every backend, as Brian2's own linked variables, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backends
from neuro import ModelError, Network, Neuron, OneToOne, Pairs, Population, Projection, Synapse, lower
from neuro.compiler.semantics import semantics

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
LINK = Synapse("link", transmits="v_pre", target="x")
CELL = Neuron("cell", "dv/dt = (0.6*x + 0.8 + 0.1*i - v)/(4*ms) : 1\nx : 1", threshold="v > 1", reset="v = -0.5")
INDEX = np.array([2, 2, 0, 1])


def network(cell: Neuron = CELL, link: Synapse = LINK, **options: Any) -> Network:
    """a hears c, which is behind it; b hears a; c hears a by an index."""
    populations = (Population("a", cell, 3), Population("b", cell, 3), Population("c", cell, 4))
    ways: list[tuple[str, str, str, Any]] = [
        ("p", "a", "b", OneToOne()),
        ("q", "c", "a", Pairs([3, 1, 0], [0, 1, 2])),
        ("r", "a", "c", Pairs(INDEX, range(4))),
    ]
    projections = tuple(Projection(n, pre, post, link, connectivity=c, summed="turn") for n, pre, post, c in ways)
    return Network(populations, projections, dt="0.5 ms", **options)


def by_hand(steps: int) -> dict[str, Any]:
    v = {"a": np.zeros(3), "b": np.zeros(3), "c": np.zeros(4)}
    rows: dict[str, list[Any]] = {n: [] for n in v}
    for _ in range(steps):
        for name, heard in (("a", lambda: v["c"][[3, 1, 0]]), ("b", lambda: v["a"]), ("c", lambda: v["a"][INDEX])):
            x = heard()
            v[name] = v[name] + 0.5 / 4 * (0.6 * x + 0.8 + 0.1 * np.arange(len(x)) - v[name])
        for name in v:
            v[name] = np.where(v[name] > 1, -0.5, v[name])
            rows[name].append(v[name])
    return {n: np.array(r) for n, r in rows.items()}


@every_backend
def test_who_stands_before_is_heard_as_new_and_who_stands_behind_as_old(backend: str) -> None:
    right = by_hand(150)
    found = backends.get(backend).compile(network()).run(steps=150, record=[f"{n}.v" for n in right])
    for name, trace in right.items():
        np.testing.assert_allclose(found.traces[f"{name}.v"][0], trace, atol=1e-12)
        assert (trace == -0.5).sum() > 5


def test_brian2s_own_linked_variables_are_the_same() -> None:
    """A script of its own, in which nothing of ours stands."""
    brian2 = pytest.importorskip("brian2")
    steps, ms = 150, brian2.ms
    clock = brian2.Clock(0.5 * ms)
    text = "dv/dt = (0.6*x + 0.8 + 0.1*i - v)/(4*ms) : 1\nx : 1 (linked)"
    sizes = {"a": 3, "b": 3, "c": 4}
    groups = {
        n: brian2.NeuronGroup(
            size, text, threshold="v > 1", reset="v = -0.5", method="euler", clock=clock, name=f"group_{n}"
        )
        for n, size in sizes.items()
    }
    groups["a"].x = brian2.linked_var(groups["c"], "v", index=np.array([3, 1, 0]))
    groups["b"].x = brian2.linked_var(groups["a"], "v")
    groups["c"].x = brian2.linked_var(groups["a"], "v", index=INDEX)
    monitors = {n: brian2.StateMonitor(g, "v", record=True, when="end", clock=clock) for n, g in groups.items()}
    net = brian2.Network(*groups.values(), *monitors.values())
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        net.run(steps * 0.5 * ms)
    finally:
        brian2.prefs.codegen.target = before
    right = by_hand(steps)
    for name, monitor in monitors.items():
        np.testing.assert_allclose(np.asarray(monitor.v).T, right[name], atol=1e-12)


def test_slopes_go_from_turn_to_turn() -> None:
    """Torch and native against differences, through a population that is heard as new and one that is heard as old."""
    pytest.importorskip("torch")
    link = Synapse("link", "w : 1", transmits="w*tanh(v_pre)", target="x")
    cell = Neuron("cell", "dv/dt = (x + b - v)/(4*ms) : 1\nx : 1", parameters={"b": "0.4"})
    cells = (Population("a", cell, 2), Population("b", cell, 2))
    net = Network(
        cells,
        (Projection("p", "a", "b", link, "0.7", summed="turn"), Projection("q", "b", "a", link, "-0.4", summed="turn")),
        dt="0.5 ms",
    )
    weights = {"p.w": np.array([[0.7, -0.2], [0.1, 0.4]]), "q.w": np.array([[-0.4, 0.3], [0.5, 0.2]])}

    def loss(**moved: Any) -> float:
        run = (
            backends.get("reference").compile(net).run(steps=20, record=["a.v", "b.v"], parameters={**weights, **moved})
        )
        return float((run.traces["a.v"] ** 2).sum() + run.traces["b.v"].sum())

    for backend in ("torch", "native"):
        program = backends.get(backend).compile(net)
        slopes = program.value_and_grad(
            lambda r: (r.traces["a.v"] ** 2).sum() + r.traces["b.v"].sum(),
            weights,
            {},
            tuple(weights),
            ["a.v", "b.v"],
            steps=20,
        )[1]
        for name, value in weights.items():
            for place in np.ndindex(2, 2):
                step = np.zeros((2, 2))
                step[place] = 1e-6
                expected = (loss(**{name: value + step}) - loss(**{name: value - step})) / 2e-6
                assert float(slopes[name][place]) == pytest.approx(expected, rel=1e-6)


def test_the_record_and_the_printed_step_say_so() -> None:
    assert semantics(network()).summed_at_turn == ("p", "q", "r")
    lines = [line for line in str(lower(network())).splitlines() if line.startswith(("gather", "integrate"))]
    assert lines == [line for name in "abc" for line in (f"gather {name}: x", f"integrate {name}")]


def with_another(synapse: Synapse, pre: str = "a", post: str = "b", summed: Any = "start") -> Network:
    cell = Neuron("cell", f"{CELL.equations}\nI : 1", threshold="v > 1", reset="v = 0", every_step="v += I")
    net = network(cell)
    weights = "1" if synapse.scope.has_weight else None
    return Network(
        net.populations, (*net.projections, Projection("other", pre, post, synapse, weights, summed=summed)), dt=net.dt
    )


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "two places": (lambda: with_another(LINK), "input 'x' of 'b' is summed at the start of a step by projection 'other'"),
    "sent before": (lambda: with_another(Synapse("s", transmits="x_pre", target="I")), "'x' is read before it is summed: its projection has summed='turn'"),
    "an equation": (lambda: with_another(Synapse("s", "dy/dt = (x_post - y)/ms : 1", on_pre="I_post += y")), "'x' is read before it is summed"),
    "a turn before": (lambda: with_another(Synapse("s", transmits="x_pre", target="I"), "c", "a", "turn"), "'x' is read before it is summed"),
    "stages": (lambda: network(Neuron("cell", CELL.equations, method="rk4"), couplings="stages"), "couplings='stages', where all that cells send"),
    "events": (lambda: Projection("p", "a", "b", Synapse("s", on_pre="x_post += 1"), summed="turn"), "sends no graded value to sum"),
    "another word": (lambda: Projection("p", "a", "b", LINK, summed="soon"), "use 'start', 'turn' or 'end'"),  # type: ignore[arg-type]
    "Brian2's flag": (lambda: Neuron("n", "dv/dt = (x - v)/ms : 1\nx : 1 (linked)"), "transmits='y_pre', target='x' and summed='turn'"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_says_why(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        make()
    assert said in str(caught.value)


def test_who_stands_behind_may_pass_on_what_came_at_a_turn_before() -> None:
    net = with_another(Synapse("s", transmits="x_pre", target="I"), "a", "c", "turn")
    found = backends.get("native").compile(net).run(steps=5, record=["a.x", "c.I"])
    np.testing.assert_allclose(
        found.traces["c.I"], found.traces["a.x"].sum(-1, keepdims=True).repeat(4, -1), atol=1e-12
    )
