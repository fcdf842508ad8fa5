"""Poisson drives: the same counts on every backend, and what events of a spike input would have done."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Pairs, Population, Projection, RunError, Synapse, UnsupportedError, quantity
from neuro.compiler.drives import counts
from neuro.compiler.resolve import resolve
from neuro.events import Events
from tests.backends.able import able, compiled

each_backend = pytest.mark.parametrize("backend", able("state"))
HALVING = Neuron(
    "halving",
    "dv/dt = -v/tau : 1 (unless refractory)\nds/dt = -s/tau : 1",
    threshold="v > 1.5",
    reset="v = 0",
    parameters={"tau": "2 ms"},
    refractory="3 ms",
)
DECAY = Neuron("decay", "dv/dt = -v/tau : 1", parameters={"tau": "5 ms"}, method="exact")
ADDS = Synapse("adds", "w : 1", on_pre="v_post += w\ns_post += w")


def driven(neuron: Neuron = HALVING, size: int = 4, **given: Any) -> Network:
    """Two events a step and cell."""
    given = {"rate": "2 kHz", "weight": 0.75, **given}
    drives = tuple(Input(f"d_{v}", size, "drive", f"cells.{v}", **given) for v in neuron.scope.states)
    return Network((Population("cells", neuron, size),), (), drives, dt="1 ms", seed=11)


def drawn(network: Network, batch: int, steps: int, trial: int = 0) -> dict[str, np.ndarray]:
    merged = resolve(network).network
    return {i.name: counts(merged, i.name, trial, batch, steps) for i in merged.inputs}


@each_backend
def test_counts_are_repeated_events(backend: str) -> None:
    """Twelve channels of a spike input for each cell, as many of which fire as the drive counts; every sum is exact."""
    steps, batch, size, most = 40, 3, 4, 12
    network = driven()
    found = drawn(network, batch, steps)
    given = found["d_v"]
    assert most >= given.max() > 4
    channels = Pairs(np.arange(size * most), np.repeat(np.arange(size), most))
    feed = Projection("feed", "x", "cells", ADDS, 0.75, channels)
    plain = replace(network, projections=(feed,), inputs=(Input("x", size * most),))
    spikes = (np.arange(most) < given[..., None]).reshape(batch, steps, size * most)
    truth = compiled(backend, plain).run(inputs={"x": spikes}, record=["cells.v", "cells.s"])
    run = compiled(backend, network).run(inputs={"d_v": given, "d_s": given}, record=["cells.v", "cells.s"])
    assert truth.spike_count() > 40
    np.testing.assert_array_equal(run.spikes["cells"], truth.spikes["cells"])
    for name, trace in truth.traces.items():
        np.testing.assert_array_equal(run.traces[name], trace)


@each_backend
def test_given_counts_are_those_that_are_drawn(backend: str) -> None:
    program = compiled(backend, driven())
    left_out = program.run(steps=300, batch=2, trial=4, record=["cells.v"])
    given = program.run(inputs=drawn(program.network, 2, 300, 4), record=["cells.v"])
    assert left_out.spike_count() > 200
    np.testing.assert_array_equal(given.spikes["cells"], left_out.spikes["cells"])
    np.testing.assert_array_equal(given.traces["cells.v"], left_out.traces["cells.v"])


@pytest.mark.parametrize("backend", able("gradients"))
@pytest.mark.parametrize("each", [False, True])
def test_gradient_of_a_weight(backend: str, each: bool) -> None:
    """Of the last value: the counts, each with what is left of it."""
    weight = quantity([0.5, -1.0, 2.0]) if each else quantity(0.5)
    network = driven(DECAY, 3, weight=weight)
    found = drawn(network, 2, 30)["d_v"]
    kept = np.exp(-0.2 * np.arange(29, -1, -1.0))
    program: Any = compiled(backend, network)
    value, slopes = program.value_and_grad(
        lambda s: s.traces["cells.v"][:, -1].sum(), {}, {}, ["cells.weight__d_v"], ["cells.v"], steps=30, batch=2
    )
    by_cell = np.einsum("btn,t->n", found, kept)
    np.testing.assert_allclose(slopes["cells.weight__d_v"], by_cell if each else by_cell.sum(), rtol=1e-12)
    np.testing.assert_allclose(value, (by_cell * np.asarray(weight.value)).sum(), rtol=1e-12)


def test_prepared_calls_draw_as_others_do() -> None:
    program: Any = backends.get("native").compile(driven(DECAY, 3))
    wrt, record = ["cells.weight__d_v"], ["cells.v"]
    call = program.prepared(wrt, record, steps=20, batch=2)
    loss = lambda s: (s.traces["cells.v"] ** 2).sum()
    value, slopes = program.value_and_grad(loss, {}, {}, wrt, record, steps=20, batch=2)
    again = call(loss, {}, {})
    assert again[0] == value > 0 and again[1][wrt[0]] == slopes[wrt[0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_through_refractory_cells(dtype: str) -> None:
    """native against torch; a cell that has just fired takes nothing, and passes nothing back."""
    network = driven(weight=quantity([0.5, 0.7, 0.8, 0.9]))
    wrt = ["cells.weight__d_v", "cells.weight__d_s"]
    loss = lambda s: (s.traces["cells.v"] ** 2).sum() + (s.traces["cells.s"] ** 2).sum() + s.spikes["cells"].sum()
    found = [
        backends.get(n).compile(network, dtype=dtype).value_and_grad(loss, {}, {}, wrt, ["cells.v", "cells.s"], steps=300, batch=3)[1]
        for n in ("torch", "native")
    ]  # fmt: skip
    for name in wrt:
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=1e-10 if dtype == "float64" else 1e-3)


@each_backend
def test_parameter_sets_hear_the_same_events(backend: str) -> None:
    program = compiled(backend, driven(DECAY, 3))
    sets = np.array([0.5, 0.0, -2.0])
    traces = program.run({"cells.weight__d_v": sets}, steps=50, batch=2, population=3, record=["cells.v"]).traces[
        "cells.v"
    ]
    np.testing.assert_allclose(traces[2], -4 * traces[0], rtol=1e-12)
    assert (traces[1] == 0).all() and (traces[0] > 0.5).any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((1, 5, 4), 0.5), "its array holds numbers that count nothing"),
        (np.full((1, 5, 4), -1), "its array holds numbers that count nothing"),
        (np.full((1, 5, 4), np.nan), "its array holds numbers that count nothing"),
        (np.ones((1, 5, 3)), "it needs \\[batch, time, 4\\]"),
        (Events.of(np.ones((1, 5, 4), bool)), "is a drive, not a list of spikes"),
        (quantity(np.ones((1, 5, 4)), "mV"), "has no unit"),
    ],
)
@each_backend
def test_what_counts_nothing_is_refused(backend: str, given: Any, message: str) -> None:
    with pytest.raises(RunError, match=f"input 'd_v'.*{message}"):
        compiled(backend, driven()).run(inputs={"d_v": given})


def test_snntorch_refuses_it() -> None:
    with pytest.raises(UnsupportedError, match="input 'd_v', drive: it adds random counts"):
        backends.get("snntorch").compile(driven())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_native_tiles_and_threads(threads: int, dtype: str) -> None:
    """Nineteen trials in tiles of eight, and each alone."""
    program = backends.get("native").compile(driven(size=5), threads=threads, dtype=dtype)
    whole = program.run(steps=260, batch=19, trial=3, record=["cells.s"]).traces["cells.s"]
    for trial in (0, 7, 8, 18):
        alone = program.run(steps=260, trial=3 + trial, record=["cells.s"]).traces["cells.s"]
        np.testing.assert_array_equal(alone[0], whole[trial])


def test_native_holds_no_array_of_cells_and_steps() -> None:
    size, steps = 5000, 400
    program = backends.get("native").compile(driven(DECAY, size))
    program.run(steps=2)
    tracemalloc.start()
    program.run(steps=steps, record={"cells.v": [0]})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size * steps  # a byte each would be more


def test_sessions_draw_and_take_counts() -> None:
    program = backends.get("native").compile(driven())
    every = drawn(program.network, 2, 20)
    given = {n: np.random.default_rng(0).integers(0, 4, (2, 1, 4)) for n in every}
    with program.session(2, record=["cells.v"]) as session:
        parts = [session.step({"d_v": given["d_v"]} if k % 3 == 0 else None) for k in range(20)]
    every["d_v"][:, ::3] = given["d_v"]
    whole = program.run(inputs=every, record=["cells.v"]).traces["cells.v"]
    np.testing.assert_array_equal(np.concatenate([p.traces["cells.v"] for p in parts], 1), whole)
