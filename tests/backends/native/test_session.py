"""Sessions of the native backend: bit for bit one run, whatever the steps a call, the windows, the tiles and the threads."""

from __future__ import annotations

import pickle
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import backends
from backends.common.arrays import draw_poisson
from backends.native import session as sessions
from neuro import Input, Network, Neuron, Population, Recording, RunError, UnsupportedError, quantity
from neuro.compiler.parameters import parameters
from neuro.events import Events, Rasters
from tests.backends.networks import LEAKY, drive, networks
from twinspike.fuzzing.networks import generate

NETWORKS = networks()
ROOMS = (2**26, 1, 2000)  # windows of 256 steps, of one, and of a few
CUTS = [*range(8), 11, 12, 30, 31, 40]


@cache
def program(feature: str, **options: Any) -> Any:
    return backends.get("native").compile(NETWORKS[feature], **options)


def record(network: Network) -> list[str]:
    return [f"{p.name}.{v}" for p in network.populations for v in (*p.neuron.scope.states, *p.neuron.scope.inputs)]


def stepped(session: Any, inputs: dict[str, Any], cuts: list[int]) -> list[Recording]:
    return [
        session.step({n: a[:, first:last] for n, a in inputs.items()}, None if last == first + 1 else last - first)
        for first, last in pairwise(cuts)
    ]


def same(parts: list[Recording], whole: Recording) -> None:
    """Bit for bit, the state as well; events where there are some."""
    for name in whole.spikes:
        found = np.concatenate([p.spikes[name] for p in parts], -2)
        np.testing.assert_array_equal(found, whole.spikes[name])
        events = Events.following(*(p.spikes.events[name] for p in parts))  # type: ignore[attr-defined]
        np.testing.assert_array_equal(np.asarray(events).reshape(found.shape), found)
    for name in whole.traces:
        np.testing.assert_array_equal(
            np.concatenate([p.traces[name] for p in parts], len(whole.state.lead)), whole.traces[name]
        )
    for name, values in whole.final.items():
        np.testing.assert_array_equal(parts[-1].final[name], values)
    assert parts[-1].state.differences(whole.state) == {}


@pytest.mark.parametrize(
    ("batch", "dtype", "room"),
    [
        (1, "float64", ROOMS[0]),
        (1, "float64", ROOMS[2]),
        (11, "float64", ROOMS[2]),
        (1, "float32", ROOMS[1]),
        (11, "float32", ROOMS[0]),
    ],
)
@pytest.mark.parametrize("feature", NETWORKS)
def test_a_session_is_the_run(feature: str, batch: int, dtype: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ROOM", room)
    made = program(feature, dtype=dtype)
    inputs, names = drive(made.network, steps=40, batch=batch), record(made.network)
    whole = made.run(inputs=inputs, record=names, steps=40, batch=batch, trial=2)
    with made.session(batch, record=names, trial=2) as session:
        parts = stepped(session, inputs, CUTS)
        same(parts, whole)
        assert session.state.differences(whole.state) == {}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("feature", NETWORKS)
def test_parameter_sets(feature: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ROOM", 40_000)
    network, made = NETWORKS[feature], program(feature, threads=threads)
    random = np.random.default_rng(2)
    name = next(n for n in parameters(network) if n.endswith((".tau_m", ".tau")))
    value = parameters(network)[name].value
    options: dict[str, Any] = {
        "parameters": {name: value * random.uniform(0.8, 1.2, (3, *value.shape))},
        "population": 3,
        "batch": 11,
        "record": record(network),
    }
    inputs = drive(network, steps=40, batch=11)
    whole = made.run(inputs=inputs, steps=40, **options)
    with made.session(**options) as session:
        same(stepped(session, inputs, CUTS), whole)
    state = made.run(inputs={n: a[:, :13] for n, a in inputs.items()}, steps=13, **options).state
    with made.session(**options, state=state) as session:
        parts = stepped(session, {n: a[:, 13:] for n, a in inputs.items()}, [0, 1, 2, 20, 27])
        assert parts[-1].state.differences(whole.state) == {}


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = generate(seed)
    try:
        made: Any = backends.get("native").compile(case.network)
        whole = case.run(made)
    except (UnsupportedError, RunError) as error:
        pytest.skip(str(error))
    monkeypatch.setattr(sessions, "ROOM", ROOMS[seed % 3])
    inputs, cuts = case.inputs(), sorted({0, 1, 2, 3, 4, 9, 10, case.steps})
    with made.session(case.batch, record=case.record()) as session:
        same(stepped(session, inputs, cuts), whole)


@pytest.mark.parametrize("feature", ["noise", "poisson"])
@pytest.mark.parametrize("start", [0, 100])
def test_random_numbers_over_blocks(feature: str, start: int) -> None:
    """Calls that end within a block of numbers, at its end, beyond it, and longer than one."""
    made = program(feature)
    inputs, names = drive(made.network, steps=1500), record(made.network)
    first = made.run(inputs={n: a[:, :100] for n, a in inputs.items()}, steps=100, batch=2)
    after = {n: a[:, start:] for n, a in inputs.items()}
    options = {"batch": 2, "record": names, "state": first.state if start else None}
    whole = made.run(inputs=after, steps=1400, **options) if start else None
    whole = whole or made.run(inputs={n: a[:, :1400] for n, a in inputs.items()}, steps=1400, batch=2, record=names)
    with made.session(**options) as session:
        cuts = [0, *range(1, 150), 156, 250, 256, 300, 301, 512, 700, 900, 901, 1200, 1399, 1400]
        same(stepped(session, after, cuts), whole)


def test_poisson_spikes_given_now_and_then() -> None:
    made = program("poisson")
    given = np.random.default_rng(0).random((2, 1, 7)) < 0.5
    with made.session(2, record=["cells.v"]) as session:
        parts = [session.step({"x": given} if k % 3 == 0 else None) for k in range(20)]
    raster = draw_poisson(made.compiled.network, made.compiled.network.input("x"), 0, 2, 20)
    raster[:, ::3] = given
    same(parts, made.run(inputs={"x": raster}, record=["cells.v"]))


@pytest.mark.parametrize("form", [list, np.float32, np.int64, Events.of, np.asfortranarray])
def test_inputs_of_any_kind_are_taken(form: Any) -> None:
    made = program("delay")
    inputs = drive(made.network, steps=20)
    whole = made.run(inputs=inputs)
    with made.session(2) as session:
        parts = []
        for k in range(20):
            one = inputs["x"][:, k : k + 1]
            parts.append(
                session.step({"x": one.tolist() if form is list else one.astype(form) if isinstance(form, type) else form(one)})
            )  # fmt: skip
        same(parts, whole)


@pytest.mark.parametrize(
    ("inputs", "steps", "message"),
    [
        (None, None, "'x' is missing"),
        ({}, 1, "'x' is missing"),
        ({"y": np.zeros((2, 1, 7), bool)}, None, "no input 'y'"),
        ({"x": np.zeros((2, 1, 6), bool)}, None, r"needs \[batch, time, 7\]"),
        ({"x": np.zeros((3, 1, 7), bool)}, None, "3 entries along batch; the run has 2"),
        ({"x": np.zeros((2, 3, 7), bool)}, 2, "3 entries along time; the run has 2"),
        ({"x": np.zeros((2, 0, 7), bool)}, None, "at least one step"),
        ({"x": np.full((2, 1, 7), 0.5)}, None, "other than 0 and 1"),
        ({"x": np.zeros((2, 1, 7), bool)}, 1.5, "is no count"),
    ],
)
def test_wrong_inputs_are_named_as_by_a_run(inputs: Any, steps: Any, message: str) -> None:
    made = program("delay")
    spikes = drive(made.network, steps=3)
    with made.session(2) as session:
        before = session.step({"x": spikes["x"][:, :2]})
        with pytest.raises(RunError, match=message) as ours:
            session.step(inputs, steps)
        with pytest.raises(RunError, match=message) as theirs:
            made.run(inputs=inputs, steps=1 if not inputs and steps is None else steps, batch=2)
        assert str(ours.value) == str(theirs.value)
        assert session.state.differences(before.state) == {}
        same([before, session.step({"x": spikes["x"][:, 2:]})], made.run(inputs=spikes))


def test_wrong_currents_are_named() -> None:
    made = program("graded")
    with made.session() as session, pytest.raises(RunError, match="'x' is not finite everywhere"):
        session.step({"x": np.full((1, 1, 4), np.nan)})


def test_what_a_session_refuses_when_it_opens() -> None:
    made = program("plastic")
    for options, message in (
        ({"parameters": {"feed.q": 1}}, "no parameter 'feed.q'"),
        ({"record": ["cells.q"]}, "no variable of population 'cells' 'q'"),
        ({"batch": 0}, "batch=0"),
        ({"trial": -1}, "trial=-1"),
        ({"population": 0}, "population=0"),
    ):
        with pytest.raises(RunError, match=message):
            made.session(**options)


def test_states_that_are_given() -> None:
    made = program("plastic")
    inputs = drive(made.network, steps=30)
    weights = {"feed.w": np.full((7, 5), 7.5e-3)}
    whole = made.run(weights, inputs)
    first = made.run(weights, {"x": inputs["x"][:, :10]})
    with made.session(2, weights, state=first.state) as session, pytest.raises(RunError, match="part of the state"):
        session.step({"x": inputs["x"][:, 10:11]})
    with made.session(2, weights) as session:
        session.step({"x": inputs["x"][:, :1]})
        session.state = first.state
        parts = [session.step({"x": inputs["x"][:, k : k + 1]}) for k in range(10, 30)]
        same([first, *parts], whole)
        session.state = made.run(inputs={"x": inputs["x"][:1]}).state
        with pytest.raises(RunError, match="the state is of 1 trials; the run has 2"):
            session.step({"x": inputs["x"][:, :1]})


def test_recordings_stay_as_they_are() -> None:
    """Their arrays are nobody else's, and what is made later is made of what was."""
    made = program("plastic loop", threads=1)
    inputs = drive(made.network, steps=300, batch=1)
    names = record(made.network)
    with made.session(record=names) as session:
        parts = stepped(session, inputs, list(range(301)))
    again = made.session(record=names)
    for k, part in enumerate(parts[:20]):
        found = again.step({"x": inputs["x"][:, k : k + 1]})
        copied = pickle.loads(pickle.dumps(part))
        assert type(copied.spikes) is Rasters
        for one in (part, copied):
            np.testing.assert_array_equal(one.spikes["cells"], found.spikes["cells"])
            assert one.state.differences(found.state) == {}
        traces = {n: t.copy() for n, t in part.traces.items()}
        for values in (*found.traces.values(), *found.final.values(), found.spikes["cells"]):
            values[...] = 1
        for name, values in traces.items():
            np.testing.assert_array_equal(part.traces[name], values)
    same(parts, made.run(inputs=inputs, record=names))


def test_what_left_the_finite_numbers_is_named_and_can_be_gone_back_from() -> None:
    wild = Neuron("wild", "dx/dt = x**2/tau + z/tau : 1\nz : 1", parameters={"tau": "10 ms"}, initial={"x": 0.5})
    network = Network(
        (Population("cells", wild, 2),), inputs=(Input("x", 2, "current", "cells.z"),), dt="1 ms", name="wild"
    )
    made: Any = backends.get("native").compile(network)
    zero = {"x": np.zeros((1, 1, 2))}
    with pytest.raises(RunError, match="is not finite at step") as theirs:
        made.run(inputs={"x": np.zeros((1, 100, 2))})
    for many in (1, 25):
        session = made.session()
        with pytest.raises(RunError) as ours:
            for _ in range(100):
                before = session.step({"x": np.zeros((1, many, 2))})
        assert str(ours.value) == str(theirs.value)
        assert session.state.differences(before.state) == {}
        session.state = made.run(inputs=zero).state
        assert session.step(zero).state.step == 2


def test_a_session_without_inputs() -> None:
    network = Network((Population("cells", LEAKY, 3, initial={"v": quantity([1.0, 2.0, 3.0], "mV")}),), dt="1 ms")
    made: Any = backends.get("native").compile(network)
    with made.session(record=["cells.v"]) as session:
        parts = [session.step(), session.step(None, 4), session.step({}, 1), session.step(steps=300)]
    same(parts, made.run(steps=306, record=["cells.v"]))
