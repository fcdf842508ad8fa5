"""Long runs in parts of bounded memory, and sessions that are stepped from outside."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import backends
from backends.common import simulator
from neuro import Network, Recording, RunError
from neuro.compiler import streams
from neuro.events import Events
from tests.backends.able import NETWORKS, able, compiled
from tests.backends.networks import drive

STEPS = 100
each_backend = pytest.mark.parametrize("backend", able("state"))


def record(network: Network) -> list[str]:
    return [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]


def glued(parts: list[Recording], kind: str, name: str) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(getattr(p, kind)[name]) for p in parts], -2)


def same(whole: Recording, parts: list[Recording]) -> None:
    for kind in ("spikes", "traces"):
        for name, values in getattr(whole, kind).items():
            np.testing.assert_array_equal(glued(parts, kind, name), np.asarray(values))
    for name, values in whole.final.items():
        np.testing.assert_array_equal(parts[-1].final[name], values)


@each_backend
@pytest.mark.parametrize("feature", ["plastic", "heterogeneous delays", "noise", "poisson"])
def test_a_stream_is_the_run(backend: str, feature: str) -> None:
    program, network = compiled(backend, feature), NETWORKS[feature]
    inputs = drive(network, steps=STEPS)
    options: dict[str, Any] = {"record": record(network), "batch": 2, "every": 2, "trial": 3}
    whole = program.run(inputs=inputs, steps=STEPS, **options)
    parts = list(program.stream(inputs=inputs, steps=STEPS, chunk=32, **options))
    assert [next(iter(p.traces.values())).shape[1] for p in parts] == [16, 16, 16, 2]
    same(whole, parts)
    made = list(
        program.stream(
            inputs=lambda first, last: {n: a[:, first:last] for n, a in inputs.items()},
            steps=STEPS,
            chunk=64,
            **options,
        )
    )
    same(whole, made)


@each_backend
def test_given_plastic_weights_begin_a_stream(backend: str) -> None:
    program, network = compiled(backend, "plastic"), NETWORKS["plastic"]
    name = f"{network.projections[0].name}.w"
    inputs, given = drive(network, steps=STEPS), {name: np.full((7, 5), 7.5e-3)}
    same(program.run(given, inputs), list(program.stream(given, inputs, steps=STEPS, chunk=30)))


def test_what_a_stream_refuses() -> None:
    program = backends.get("reference").compile(NETWORKS["plastic"])
    inputs = drive(NETWORKS["plastic"], steps=STEPS)
    for options, message in (
        ({"chunk": 0}, "chunk=0"),
        ({"chunk": 7, "every": 2}, "chunk=7 is no multiple of every=2"),
        ({"chunk": 10, "steps": 99}, "100 entries along time; the run has 99"),
    ):
        with pytest.raises(RunError, match=message):
            list(program.stream(inputs=inputs, **{"steps": STEPS, **options}))
    with pytest.raises(RunError, match=r"give an array \[batch, time, channel\]"):
        list(program.stream(inputs={"x": [1, 2]}, steps=STEPS, chunk=10))


def test_memory_follows_the_chunk() -> None:
    """Peak of Python's allocations; noise, Poisson spikes and recordings are made part by part."""
    program = backends.get("native").compile(NETWORKS["noise"])

    def spikes(first: int, last: int) -> dict[str, np.ndarray[Any, Any]]:
        return {"x": np.random.default_rng(first).random((1, last - first, 7)) < 0.1}

    def peak(steps: int) -> int:
        tracemalloc.start()
        for part in program.stream(inputs=spikes, steps=steps, chunk=1000, record=["cells.v"]):
            del part
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2000)
    assert peak(20_000) < 1.3 * peak(2000)


@each_backend
def test_a_session_is_the_run(backend: str) -> None:
    network = NETWORKS["delay"]
    program, inputs = compiled(backend, network), drive(network, steps=30)
    whole = program.run(inputs=inputs, record=record(network))
    with program.session(batch=2, record=record(network)) as session:
        with pytest.raises(RunError, match="has not begun"):
            _ = session.state
        parts = [session.step({"x": inputs["x"][:, k : k + 1]}) for k in range(20)]
        kept = session.state
        parts.append(session.step({"x": inputs["x"][:, 20:]}))
        same(whole, parts)
        session.state = kept  # back to step 20
        again = session.step({"x": inputs["x"][:, 20:]})
        same(parts[-1], [again])
        assert session.state.step == 30


@each_backend
@pytest.mark.parametrize("feature", ["noise", "poisson", "plastic"])
def test_random_numbers_are_drawn_part_by_part(backend: str, feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is the same whether its noise and Poisson spikes are there at once or not."""
    network = NETWORKS[feature]
    program, inputs = compiled(backend, network), drive(network, steps=700)
    options: dict[str, Any] = {
        "inputs": inputs,
        "record": record(network),
        "every": 3,
        "batch": 2,
        "trial": 2,
        "steps": 700,
    }
    whole = program.run(**options)
    drawn: list[int] = []
    ask = streams.generator
    monkeypatch.setattr(streams, "generator", lambda *key: drawn.append(key[3] if len(key) > 3 else 0) or ask(*key))
    monkeypatch.setattr(simulator, "AT_ONCE", 1)
    found = program.run(**options)
    same(whole, [found])
    assert found.state.differences(whole.state) == {}
    assert bool(drawn) == (feature != "plastic")


def test_events_are_drawn_part_by_part_too(monkeypatch: pytest.MonkeyPatch) -> None:
    program, inputs = backends.get("native").compile(NETWORKS["noise"]), drive(NETWORKS["noise"], steps=700)
    whole = program.run(inputs=inputs)
    monkeypatch.setattr(simulator, "AT_ONCE", 1)
    same(whole, [program.run(inputs={n: Events.of(a) for n, a in inputs.items()})])
