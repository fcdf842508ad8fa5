"""Pathways with delays of their own, and delays of on_post: by hand, on every backend, however a run is cut, in gradients; what is refused."""

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
    OneToOne,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
)
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import values
from neuro.compiler.resolve import resolve
from neuro.compiler.semantics import semantics
from neuro.compiler.step import Couple
from neuro.connectivity import Connectivity
from neuro.io.serialisation import content_hash, from_json, to_json
from neuro.language.equations import ModelError
from neuro.language.units import quantity

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
every_layout = pytest.mark.parametrize(
    "connectivity",
    [AllToAll(), OneToOne(), Probability(0.6), Pairs(np.array([0, 0, 3, 2, 2]), np.array([1, 1, 0, 2, 3]))],
)
CELL = Neuron("n", "dv/dt = (x - v)/(10*ms) : 1\nx : 1", threshold="v > 1", reset="v = 0")
SYNAPSE = Synapse(
    "s",
    "w : 1\na : 1",
    on_pre={
        "pre": "a += 0.1; v_post += 0.3*w",
        "up": "v_post += w  # at once",
        "down": "v_post -= w*(1 + a)\nw = w*0.99",
    },
    on_post="a = a*0.8; w = w + 0.01*a",
)
DELAYS = {"pre": "1 ms", "up": "0 ms", "down": "3 ms", "post": "2 ms"}


def network(connectivity: Connectivity = AllToAll(), synapse: Synapse = SYNAPSE, **options: Any) -> Network:  # noqa: B008
    projection = Projection(
        "q", "p", "p", synapse, weights=0.1, connectivity=connectivity, **{"delay": DELAYS, **options}
    )
    return Network((Population("p", CELL, 4),), (projection,), (Input("i", 4, "current", "p.x"),), quantity("1 ms"))


def drive(steps: int = 90) -> dict[str, np.ndarray]:
    return {"i": np.random.default_rng(0).normal(1.7, 0.8, (2, steps, 4))}


def by_hand(net: Network, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spikes and v [batch, step, cell], a of each synapse at the end."""
    wires = resolve(net).wires["q"]
    there = np.ones(wires.shape, bool) if wires.mask is None else wires.mask
    pre, post = (e.reshape(wires.shape)[there] for e in (wires.pre_index, wires.post_index))
    spikes, trace = np.zeros((*x.shape[:2], 4), bool), np.zeros((*x.shape[:2], 4))
    last = np.zeros((len(x), len(pre)))
    for b in range(len(x)):
        v, w, a = np.zeros(4), np.full(len(pre), 0.1), np.zeros(len(pre))
        for k in range(x.shape[1]):
            v = v + (x[b, k] - v) / 10
            spikes[b, k] = v > 1
            now, one, three, two = (spikes[b, k - d] if k >= d else np.zeros(4, bool) for d in (0, 1, 3, 2))
            a = np.where(one[pre], a + 0.1, a)
            for came, amount in ((one, 0.3 * w), (now, w), (three, -w * (1 + a))):
                v = v + np.bincount(post, np.where(came[pre], amount, 0.0), 4)
            w = np.where(three[pre], w * 0.99, w)
            a = np.where(two[post], a * 0.8, a)
            w = np.where(two[post], w + 0.01 * a, w)
            v = np.where(spikes[b, k], 0.0, v)
            trace[b, k] = v
        last[b] = a
    return spikes, trace, last


@every_backend
@every_layout
def test_each_pathway_comes_when_it_says(backend: str, connectivity: Connectivity) -> None:
    net, x = network(connectivity), drive()["i"]
    spikes, v, a = by_hand(net, x)
    found = backends.get(backend).compile(net).run(inputs={"i": x}, record=["p.v", "q.a"])
    np.testing.assert_array_equal(found.spikes["p"], spikes)
    np.testing.assert_allclose(found.traces["p.v"], v, atol=1e-12)
    mask = resolve(net).wires["q"].mask
    last = np.asarray(found.traces["q.a"])[:, -1]
    np.testing.assert_allclose(last[:, mask] if mask is not None else last.reshape(2, -1), a, atol=1e-12)
    assert spikes.sum() > 40


@every_backend
def test_a_run_cut_in_two_is_the_same_run(backend: str) -> None:
    program, given = backends.get(backend).compile(network(Probability(0.6))), drive()["i"]
    whole = program.run(inputs={"i": given}, record=["p.v", "q.w"])
    for cut in (1, 33):
        first = program.run(inputs={"i": given[:, :cut]}, record=["p.v"])
        rest = program.run(inputs={"i": given[:, cut:]}, record=["p.v", "q.w"], state=first.state)
        np.testing.assert_array_equal(whole.traces["p.v"][:, cut:], rest.traces["p.v"])
        np.testing.assert_array_equal(whole.traces["q.w"][:, cut:], rest.traces["q.w"])


@pytest.mark.parametrize("connectivity", [AllToAll(), Probability(0.6)])
def test_gradients_of_native_and_torch_are_the_same(connectivity: Connectivity) -> None:
    torch = pytest.importorskip("torch")
    net, found = network(connectivity), []
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(net, dtype="float64")
        given = {n: torch.tensor(np.asarray(v), requires_grad=True) for n, v in values(net).items()}
        signals = program.forward(given, {"i": torch.tensor(drive(40)["i"])}, ["p.v", "q.a"])
        (signals.spikes["p"].sum() + (signals.traces["p.v"] ** 2).sum() + signals.traces["q.a"].sum()).backward()
        found.append(given["q.w"].grad.numpy())
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)
    assert np.abs(found[0]).max() > 0.1


def test_a_pathway_that_is_as_late_as_the_synapses_costs_nothing_more() -> None:
    """What comes with their own delay is delivered as if it had no label."""
    synapse = Synapse("s", "w : 1", on_pre={"up": "v_post += w", "down": "v_post -= w"})
    late = {c.late for c in lower(network(synapse=synapse, delay={"down": "2 ms"})).operations if isinstance(c, Couple)}
    assert late == {None, 2}
    assert semantics(network()).delays == {"q": (1, 1), "q.up": (0, 0), "q.down": (3, 3), "q.post": (2, 2)}


def test_a_label_is_text() -> None:
    assert SYNAPSE.on_pre.splitlines()[2:] == ["up: v_post += w", "down: v_post -= w*(1 + a)", "down: w = w*0.99"]
    assert replace(SYNAPSE, on_pre=SYNAPSE.on_pre) == SYNAPSE


def test_it_is_written_and_read() -> None:
    net = network()
    again = from_json(to_json(net))
    assert again == net and content_hash(again) == content_hash(net)
    assert content_hash(network(delay={**DELAYS, "post": "1 ms"})) != content_hash(net)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: network(delay={"dwn": "1 ms"}), "synapse 's' has no pathway 'dwn'[^?]*did you mean 'down'"),
        (lambda: network(delay={"down": quantity([1.0, 2.0], "ms")}), "a pathway with a label has one delay"),
        (lambda: network(delay={"down": "-1 ms"}), "a delay is negative"),
        (lambda: network(delay={"down": "1 mV"}), "'delay' is in volt|is in"),
        (lambda: network(delay={"down": "1.3 ms"}), "delay 1.3 ms is not a multiple of dt"),
        (lambda: network(synapse=replace(SYNAPSE, on_post=""), delay=DELAYS), "synapse 's' has no pathway 'post'"),
        (lambda: replace(SYNAPSE, on_post="up: a = 0"), "the label 'up' stands outside on_pre"),
        (lambda: replace(CELL, reset="up: v = 0"), "the label 'up' stands outside on_pre"),
        (lambda: replace(SYNAPSE, on_pre="post: a = 0"), "'post' is reserved"),
    ],
)  # fmt: skip
def test_what_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        change()
