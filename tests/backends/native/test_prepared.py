"""A prepared value_and_grad gives what value_and_grad gives, bit for bit, call after call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from backends.native.prepared import Prepared
from neuro import Input, Network, Neuron, Population, Projection, RunError, Synapse
from neuro.compiler.parameters import values
from neuro.protocols import Batch

QUICK = {  # tasks whose networks hold and send numbers alone
    "grouped-letters": {"hidden": 9, "start": 9, "updates": 4},
    "rflo": {"hidden": 6, "updates": 4},
    "multipliers": {"hidden": 5, "start": 5, "updates": 4, "multipliers": True},
}
USUAL = {
    "digits": {"hidden": 4, "steps": 6},
    "xor": {"hidden": 4, "updates": 4},
}  # spikes; constants that are no parameters
NAMES = {"rflo": ("*.w",), "digits": ("*.w",)}


def batches(task: Any, size: int) -> list[Batch]:
    return list(task.train_batches(np.random.default_rng(0), size))[:4]


def compared(name: str, options: dict[str, Any], backend: str, size: int, dtype: str = "float64") -> Any:
    """Four calls with other numbers each time, going on from each other's state; what was prepared."""
    from neuro.learning.common.parametrisation import Parametrisation

    task = tasks.get("grouped-letters" if name == "multipliers" else name, **options)
    program: Any = backends.get(backend).compile(task.network(1), dtype=dtype)
    wrt = Parametrisation.of(program.declared, NAMES.get(name, ("*.w", "*.b"))).names
    random, now, state = np.random.default_rng(1), dict(values(program.network)), None
    found = None
    for batch in batches(task, size):
        shape = next(iter(batch.inputs.values())).shape
        found = found or program.prepared(wrt, tuple(task.record()), steps=shape[1], batch=shape[0])
        ends: list[Any] = []

        def loss(signals: Any, batch: Batch = batch, ends: list[Any] = ends) -> Any:
            ends.append(signals.state)
            return task.loss(signals.spikes, signals.traces, batch)

        begins = {} if state is None else {"state": state.detach()}
        value, slopes = found(loss, now, batch.inputs, state)
        usual, expected = program.value_and_grad(loss, now, batch.inputs, wrt, tuple(task.record()), **begins)
        assert value == usual and set(slopes) == set(expected)
        for n, slope in expected.items():
            np.testing.assert_array_equal(slopes[n], slope)
            assert slopes[n].dtype == slope.dtype
        assert any(slope.any() for slope in slopes.values())
        assert ends[0].detach().differences(ends[1].detach()) == {}
        state = ends[0]
        now = {
            n: a + (0.05 * np.abs(a).max() * random.standard_normal(a.shape) if n in slopes else 0)
            for n, a in now.items()
        }
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("name", QUICK)
def test_the_numbers_are_those_of_value_and_grad(name: str, size: int, dtype: str) -> None:
    assert isinstance(compared(name, QUICK[name], "native", size, dtype), Prepared)


@pytest.mark.parametrize(("name", "backend"), [("digits", "native"), ("xor", "native"), ("grouped-letters", "torch")])
def test_other_networks_and_backends_take_the_usual_way(name: str, backend: str) -> None:
    assert not isinstance(compared(name, {**QUICK, **USUAL}[name], backend, 2), Prepared)


def test_time_goes_on_in_the_way_back_too() -> None:
    """A network in which the gradient of a step depends on when it is."""
    cell = Neuron("cell", "x : 1", every_step="x = 0.5*x + g*sin(t/(3*ms))", parameters={"g": "0.7"})
    network = Network((Population("a", cell, 2, {"g": np.array([0.5, 0.9])}),), dt="1 ms")
    program: Any = backends.get("native").compile(network)
    prepared, state = program.prepared(("a.g",), ("a.x",), steps=7), None
    seen = []
    for _ in range(3):
        ends: list[Any] = []

        def loss(found: Any, ends: list[Any] = ends) -> Any:
            ends.append(found.state)
            return (found.traces["a.x"] ** 2).sum()

        begins = {} if state is None else {"state": state.detach()}
        _, slopes = prepared(loss, {}, {}, state)
        _, usual = program.value_and_grad(loss, {}, {}, ("a.g",), ("a.x",), steps=7, **begins)
        np.testing.assert_array_equal(slopes["a.g"], usual["a.g"])
        seen.append(slopes["a.g"])
        state = ends[0]
    assert isinstance(prepared, Prepared) and not np.array_equal(seen[1], seen[2])


def test_what_a_call_gave_stays_as_it_was() -> None:
    task = tasks.get("grouped-letters", **QUICK["grouped-letters"])
    program: Any = backends.get("native").compile(task.network(0))
    prepared = program.prepared(("loop.w",), ("output.y", "hidden.x"), steps=40)
    kept: list[Any] = []

    def loss(found: Any) -> Any:
        kept.append((found.traces["hidden.x"].detach(), found.state))
        return (found.traces["output.y"] ** 2).sum()

    given = [b.inputs for b in batches(task, 1)]
    _, slopes = prepared(loss, {}, given[0])
    (trace, state), slope = kept[0], slopes["loop.w"]
    held = trace.clone(), state.variables["hidden.x"].clone(), slope.copy()
    prepared(loss, {"loop.w": np.ones((9, 9))}, given[1], state)
    assert (trace == held[0]).all() and (state.variables["hidden.x"] == held[1]).all()
    np.testing.assert_array_equal(slope, held[2])
    _, again = prepared(loss, {}, given[0])  # and nothing of the other call is left
    np.testing.assert_array_equal(again["loop.w"], slope)


def test_what_does_not_fit_is_refused() -> None:
    task = tasks.get("grouped-letters", **QUICK["grouped-letters"])
    program: Any = backends.get("native").compile(task.network(0))
    prepared = program.prepared(("loop.w",), ("output.y",), steps=40)
    batch = batches(task, 1)[0]

    def call(given: Any = batch.inputs, **options: Any) -> Any:
        return prepared(lambda found: found.traces["output.y"].sum(), {}, given, **options)

    short = {n: a[:, :7] for n, a in batch.inputs.items()}
    state = program.run({}, batch.inputs).state
    for wrong in (short, {}, {"letters_in": np.full((1, 40, 4), np.nan)}):
        with pytest.raises(RunError, match="letters_in"):
            call(wrong)
    with pytest.raises(RunError, match=r"hidden\.x"):
        call(state=replace(state, variables={}))
    with pytest.raises(RunError, match=r"no parameter 'loop\.v'"):
        program.prepared(("loop.v",), ("output.y",), steps=40)
    with pytest.raises(RunError, match=r"loop\.w"):
        prepared(lambda found: found.traces["output.y"].sum(), {"loop.w": np.full((9, 9), np.inf)}, batch.inputs)


def rate_network(seed: int) -> Network:
    """One to three populations of units with states, or of sums, joined at random, all to all, within the step or at its end; biases for each cell, one gain for all."""
    random = np.random.default_rng(seed)
    unit = Neuron(
        "unit",
        "z : 1\nx : 1",
        every_step="x = (1 - k)*x + k*tanh(g*z + b)",
        parameters={"b": "0", "g": "1.5", "k": "0.3"},
    )
    link = Synapse("link", "w : 1", transmits="w*x_pre", target="z")
    squared = Synapse("squared", "w : 1", transmits="w*x_pre**2", target="z")
    sizes = random.integers(1, 6, random.integers(1, 4))
    names = [f"p{k}" for k in range(len(sizes))]
    populations = tuple(
        Population(n, unit, int(s), {"b": random.normal(0, 0.5, s)}) for n, s in zip(names, sizes, strict=True)
    )
    projections = []
    for pre, m in zip(names, sizes, strict=True):
        for post, n in zip(names, sizes, strict=True):
            if random.random() < 0.6 or pre == post == "p0":
                kind = link if random.random() < 0.7 else squared
                projections.append(Projection(f"{pre}_{post}", pre, post, kind, random.normal(0, 1, (m, n))))
    shown = Input("I", int(sizes[0]), "current", "p0.z")
    return Network(populations, tuple(projections), (shown,), dt="1 ms")


@pytest.mark.parametrize("seed", range(8))
def test_random_networks(seed: int) -> None:
    """Weights, biases, and numbers that all cells share; others in every call, and a call in between that fails: bit for bit what value_and_grad gives."""
    random, network = np.random.default_rng([seed, 1]), rate_network(seed)
    dtype, batch, steps = ("float64", "float32")[seed % 2], int(random.integers(1, 4)), 12
    program: Any = backends.get("native").compile(network, dtype=dtype, threads=1 + seed % 2)
    held = {n: p.value for n, p in program.declared.items()}
    wrt = tuple(
        n for n in held if not n.endswith(".k")
    )  # of 1 - k, which the kernel gets as one number, the usual way is taken
    record = tuple(f"{p.name}.x" for p in network.populations)
    prepared = program.prepared(wrt, record, steps=steps, batch=batch)
    assert isinstance(prepared, Prepared)

    def loss(found: Any) -> Any:
        return sum((trace**2).mean() for trace in found.traces.values())

    for call in range(3):
        given = {n: v * (1 + 0.1 * random.standard_normal(np.shape(v))) for n, v in held.items() if call or "b" in n}
        inputs = {"I": random.standard_normal((batch, steps, network.inputs[0].size))}
        if call == 1:
            with pytest.raises(RunError):
                prepared(loss, {"p0.g": np.array(np.nan)}, inputs)
            with pytest.raises(ZeroDivisionError):
                prepared(lambda found: 1 / 0, given, inputs)
        wanted, slopes = program.value_and_grad(loss, given, inputs, wrt, record)
        value, own = prepared(loss, given, inputs)
        assert value == wanted
        assert set(own) == set(wrt)
        for name in wrt:
            np.testing.assert_array_equal(own[name], slopes[name], err_msg=name)
        assert all(np.any(slopes[n]) for n in ("p0.b", "p0.g", "p0_p0.w"))
