"""Kernels that go on from a state: tiles, threads, parameter sets, precisions, many cuts, and gradients after a cut."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import (
    Input,
    Network,
    Neuron,
    Normal,
    OneToOne,
    Pairs,
    Population,
    Probability,
    Projection,
    Recording,
    RunError,
    Synapse,
    UnsupportedError,
    quantity,
)
from neuro.compiler.parameters import parameters
from neuro.events import Events
from neuro.state import State, joined
from tests.backends.networks import DELTA, LEAKY, PULSE, drive, networks

NETWORKS = networks()
DELAYED = (
    "delay",
    "heterogeneous delays",
    "pairs",
    "one-to-one",
    "plastic loop",
    "refractory delta",
    "subtracting reset",
)


@cache
def program(feature: str, **options: Any) -> Any:
    return backends.get("native").compile(NETWORKS[feature], **options)


def record(network: Network) -> list[str]:
    return [f"{p.name}.{v}" for p in network.populations for v in (*p.neuron.scope.states, *p.neuron.scope.inputs)]


def cut(made: Any, inputs: dict[str, Any], cuts: list[int], **options: Any) -> list[Recording]:
    """The parts of a run between cuts, the first and last step among them."""
    found, state, names = list[Recording](), None, record(made.network)
    for first, last in pairwise(cuts):
        part = {n: a[:, first:last] for n, a in inputs.items()}
        found.append(made.run(inputs=part, record=names, steps=last - first, state=state, **options))
        state = found[-1].state
    return found


def same(parts: list[Recording], whole: Recording) -> None:
    """Bit for bit, the state as well."""
    for name in whole.spikes:
        np.testing.assert_array_equal(np.concatenate([p.spikes[name] for p in parts], -2), whole.spikes[name])
    for name in whole.traces:
        np.testing.assert_array_equal(np.concatenate([p.traces[name] for p in parts], -2), whole.traces[name])
    assert parts[-1].state.differences(whole.state) == {}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 11])
@pytest.mark.parametrize("feature", NETWORKS)
def test_one_step_at_a_time(feature: str, batch: int, dtype: str) -> None:
    """Through delays that are longer than a step, in one tile, and in two of which one isn't full."""
    made = program(feature, dtype=dtype)
    inputs = drive(made.network, steps=40, batch=batch)
    size = {} if inputs else {"batch": batch}
    same(cut(made, inputs, [0, 3, *range(4, 30), 40], **size), cut(made, inputs, [0, 40], **size)[0])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("feature", DELAYED)
def test_parameter_sets(feature: str, threads: int) -> None:
    network = NETWORKS[feature]
    made = program(feature, threads=threads)
    random = np.random.default_rng(2)
    name = "cells.tau_m"
    sets = {name: parameters(network)[name].value * random.uniform(0.8, 1.2, (5, *parameters(network)[name].shape))}
    inputs = drive(network, steps=40, batch=11)
    options = {"parameters": sets, "population": 5}
    parts, whole = cut(made, inputs, [0, 1, 2, 17, 40], **options), cut(made, inputs, [0, 40], **options)[0]
    same(parts, whole)
    single = [made.run({name: sets[name][3]}, {n: a[:, :17] for n, a in inputs.items()})]
    single.append(made.run({name: sets[name][3]}, {n: a[:, 17:] for n, a in inputs.items()}, state=single[0].state))
    assert whole.state.of_set(3).differences(single[1].state) == {}
    assert len({a.tobytes() for a in next(iter(whole.state.variables.values()))}) == 5


def test_sets_that_had_other_inputs() -> None:
    """States of runs with different inputs as those of two parameter sets: each goes on with its own spikes on their way."""
    made = program("heterogeneous delays", threads=2)
    before = [made.run(inputs=drive(made.network, steps=20, batch=9, seed=s)).state for s in (1, 2)]
    inputs = drive(made.network, steps=20, batch=9, seed=3)
    wide = [replace(s.each(lambda a: np.asarray(a)[None]), lead=(1, *s.lead)) for s in before]
    name = "feed.w"
    sets = np.stack([parameters(made.network)[name].value] * 2)
    both = made.run({name: sets}, inputs, ["cells.v"], population=2, state=joined(wide))
    assert (before[0].spikes["x"] != before[1].spikes["x"]).any()
    for i, state in enumerate(before):
        alone = made.run({}, inputs, ["cells.v"], state=state)
        np.testing.assert_array_equal(both.traces["cells.v"][i], alone.traces["cells.v"])
        assert both.of_set(i).state.differences(alone.state) == {}


def test_spikes_on_their_way_bring_the_present_weights() -> None:
    """As in the reference: what a spike brings is what the weight is in the run in which it arrives."""
    network, found = NETWORKS["pairs"], []
    weights = {"feed.w": 2 * parameters(network)["feed.w"].value}
    inputs = drive(network, steps=60)
    for name in ("native", "reference"):
        made: Any = backends.get(name).compile(network)
        first = made.run(inputs={"x": inputs["x"][:, :30]})
        found.append(made.run(weights, {"x": inputs["x"][:, 30:]}, ["cells.I"], state=first.state, every=3))
    assert found[0].traces["cells.I"].shape[1] == 10
    np.testing.assert_allclose(found[0].traces["cells.I"], found[1].traces["cells.I"], rtol=1e-12, atol=1e-22)
    assert found[0].state.differences(found[1].state).keys() <= {"variables/cells.v", "sums/cells.I"}


def test_time_goes_on() -> None:
    neuron = replace(LEAKY, equations="dv/dt = (-v + R*I + sin(t/tau_m)*volt)/tau_m : volt\nI : amp", method="euler")
    network = Network((Population("cells", neuron, 3),), dt="1 ms", name="clock")
    for dtype in ("float32", "float64"):
        made: Any = backends.get("native").compile(network, dtype=dtype)
        whole = made.run(steps=300, record=["cells.v"])
        first = made.run(steps=123, record=["cells.v"])
        same([first, made.run(steps=177, record=["cells.v"], state=first.state)], whole)


def test_the_step_that_left_the_finite_numbers_is_counted_from_the_beginning() -> None:
    wild = Neuron("wild", "dx/dt = x**2/tau : 1", parameters={"tau": "10 ms"}, initial={"x": 0.5})
    network = Network((Population("cells", wild, 2),), dt="1 ms", name="wild")
    messages = []
    for name in ("native", "reference"):
        made: Any = backends.get(name).compile(network)
        with pytest.raises(RunError, match="is not finite at step") as caught:
            made.run(steps=100, state=made.run(steps=10).state)
        messages.append(str(caught.value))
    assert messages[0].split(" (")[0] == messages[1].split(" (")[0]


def test_weights_beside_a_state_are_refused() -> None:
    made = program("plastic")
    state = made.run(inputs=drive(made.network, steps=10)).state
    weights = {"feed.w": parameters(made.network)["feed.w"].value}
    for run in (made.run, made.forward):
        with pytest.raises(RunError, match=r"parameters give 'feed.w', which is part of the state"):
            run(weights, drive(made.network, steps=10), state=state)


def test_events_along_time() -> None:
    random = np.random.default_rng(0)
    a, b = (random.random((3, steps, 5)) < 0.3 for steps in (4, 6))
    both = Events.following(Events.of(a), Events.of(b))
    np.testing.assert_array_equal(both, np.concatenate([a, b], axis=1))
    np.testing.assert_array_equal(both.last(6), b)
    np.testing.assert_array_equal(both.last(10), both)


# -- gradients ---------------------------------------------------------------------------------------------

GATED = Synapse("gated", "w : volt\nu : 1", on_pre="u = 0.5*u + 0.3\nv_post += w*u", initial={"u": 0.2})
TWO_DELAYS = quantity(np.tile([0.0, 4.0, 2.0], (5, 1)), "ms")
WIRES = {
    "dense": {"delay": "3 ms"},
    "delay of a synapse": {"delay": TWO_DELAYS},
    "sparse": {"connectivity": Probability(0.6), "delay": "3 ms"},
    "pairs": {
        "connectivity": Pairs([0, 1, 4, 4, 2], [0, 1, 2, 0, 1]),
        "delay": quantity([0.0, 1.0, 2.0, 3.0, 4.0], "ms"),
    },
    "one-to-one": {"connectivity": OneToOne(), "delay": "2 ms"},
}


def passive(synapse: Synapse, wires: str) -> Network:
    """Input spikes with delays into cells that don't fire: traces are smooth in the weights."""
    post, unit = 5 if wires == "one-to-one" else 3, "amp" if synapse is PULSE else "volt"
    weights = Normal(quantity(f"1 n{unit}"), quantity(f"0.5 n{unit}"))
    feed = Projection("feed", "x", "leaky", synapse, weights, **WIRES[wires])  # type: ignore[arg-type]
    return Network((Population("leaky", LEAKY, post),), (feed,), (Input("x", 5),), dt="1 ms", seed=4, name=f"passive {wires}")  # fmt: skip


def squares(found: Any) -> torch.Tensor:
    return sum(((t / t.detach().abs().max()) ** 2).sum() for t in found.traces.values())


@pytest.mark.parametrize("tape", [256, 3])
@pytest.mark.parametrize("synapse", [PULSE, DELTA, GATED])
@pytest.mark.parametrize("wires", WIRES)
def test_weights_of_spikes_on_their_way_get_gradients(
    wires: str, synapse: Synapse, tape: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against finite differences of the part after the cut, which are exact for a square."""
    from backends.native import executable

    monkeypatch.setattr(executable, "TAPE", tape)
    network = passive(synapse, wires)
    made: Any = backends.get("native").compile(network)
    inputs = drive(network, steps=40, batch=9)
    state = made.run(inputs={"x": inputs["x"][:, :30]}).state
    after, scale = {"x": inputs["x"][:, 30:]}, []

    def loss(found: Any) -> torch.Tensor:
        scale.append(float(found.traces["leaky.v"].detach().abs().max()))
        return ((found.traces["leaky.v"] / scale[0]) ** 2).sum()

    _, slopes = made.value_and_grad(loss, {}, after, ["feed.w"], ["leaky.v"], state=state)
    weights = parameters(network)["feed.w"].value
    step, found = 1e-3 * np.abs(weights).max(), np.zeros_like(weights)
    for i in np.ndindex(weights.shape):
        change = np.zeros_like(weights)
        change[i] = step
        up, down = (
            float(loss(made.forward({"feed.w": torch.tensor(weights + c)}, after, ["leaky.v"], state=state)))
            for c in (change, -change)
        )
        found[i] = (up - down) / (2 * step)
    np.testing.assert_allclose(slopes["feed.w"], found, rtol=1e-7, atol=1e-9 * np.abs(found).max())
    silent = replace(state, spikes={n: np.zeros_like(s) for n, s in state.spikes.items()})
    _, without = made.value_and_grad(loss, {}, after, ["feed.w"], ["leaky.v"], state=silent)
    assert np.abs(without["feed.w"] - slopes["feed.w"]).max() > 1e-3 * np.abs(slopes["feed.w"]).max()


@pytest.mark.parametrize("tape", [256, 7])
@pytest.mark.parametrize("feature", NETWORKS)
def test_torchs_gradients_after_a_cut(feature: str, tape: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from backends.native import executable
    from tests.backends.native.test_gradients import loss

    monkeypatch.setattr(executable, "TAPE", tape)
    network = NETWORKS[feature]
    inputs = drive(network, steps=60, batch=9)
    size = {} if inputs else {"steps": 30, "batch": 9}
    state = program(feature).run(inputs={n: a[:, :30] for n, a in inputs.items()}, **size).state
    after = {n: a[:, 30:] for n, a in inputs.items()}
    wrt = [n for n in parameters(network) if n not in state.variables]
    (a, torchs), (b, ours) = (
        made.value_and_grad(loss, {}, after, wrt, record(network), state=state.detach(), **size)
        for made in (backends.get("torch").compile(network), backends.get("native").compile(network))
    )
    assert b == pytest.approx(a, rel=1e-12)
    for name, slope in torchs.items():
        assert np.abs(ours[name] - slope).max(initial=0) <= 1e-10 * np.abs(slope).max(initial=0), name


@pytest.mark.parametrize("feature", ["graded", "noise", "heterogeneous", "recurrent"])
def test_gradients_are_those_of_a_run_that_begins_there(feature: str) -> None:
    """Where nothing is on its way, a network whose initial values are the state has the same numbers in the same order."""
    network = NETWORKS[feature]
    made = program(feature)
    inputs = drive(network, steps=60, batch=1)
    state = made.run(inputs={n: a[:, :30] for n, a in inputs.items()}).state
    state = replace(state, step=0, sums={n: np.zeros_like(s) for n, s in state.sums.items()})
    units = {p.name: p.neuron.scope.dimensions for p in network.populations}
    populations = tuple(
        replace(
            p,
            initial={
                v: _quantity(state.variables[f"{p.name}.{v}"][0], units[p.name][v]) for v in p.neuron.scope.states
            },
        )
        for p in network.populations
    )
    begun: Any = backends.get("native").compile(replace(network, populations=populations))
    begun.compiled.scales = made.compiled.scales  # the surrogate's unit, which initial values give
    after = {n: a[:, 30:] for n, a in inputs.items()}
    names, wrt = record(network), tuple(parameters(network))
    a, ours = made.value_and_grad(squares, {}, after, wrt, names, state=state)
    b, theirs = begun.value_and_grad(squares, {}, after, wrt, names)
    assert a == b
    for name in wrt:
        np.testing.assert_array_equal(ours[name], theirs[name])


def _quantity(values: Any, dimension: Any) -> Any:
    from neuro.language.units import Quantity

    return Quantity(np.array(values), dimension)


@pytest.mark.parametrize("feature", NETWORKS)
def test_signals_give_the_state_without_a_graph(feature: str) -> None:
    made = program(feature)
    inputs = drive(made.network, steps=20)
    size = {} if inputs else {"steps": 20, "batch": 2}
    name = next(n for n in parameters(made.network) if n.endswith((".w", ".tau", ".tau_m")))
    given = {name: torch.tensor(parameters(made.network)[name].value, requires_grad=True)}
    state = made.forward(given, inputs, **size).state
    assert all(isinstance(a, torch.Tensor) and not a.requires_grad for a in state.variables.values())
    assert all(d < 1e-12 for d in state.numpy().differences(made.run(inputs=inputs, **size).state).values())
    again = made.forward(None, inputs, state=state, **size).state.numpy()
    assert again.differences(made.run(inputs=inputs, state=state, **size).state) == {}


def test_sums_with_a_graph_are_refused() -> None:
    """Variables get gradients: see test_first_states.py."""
    made = program("recurrent")
    inputs = drive(made.network, steps=10)
    state: State = made.forward(None, inputs).state
    state.sums["cells.I"].requires_grad_()
    with pytest.raises(UnsupportedError, match=r"state's sums\['cells.I'\].*give state.detach\(\).*torch"):
        made.forward(None, inputs, state=state)
    with torch.no_grad():
        free = made.forward(None, inputs, ["cells.v"], state=state)
    detached = made.forward(None, inputs, ["cells.v"], state=state.detach())
    assert torch.equal(free.traces["cells.v"], detached.traces["cells.v"])
