"""Brian2 goes on from a state: its queues, refractory cells, clocks and targets; what every backend does is in test_state."""

from __future__ import annotations

import pickle
import shutil
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
    Pairs,
    Population,
    Probability,
    Projection,
    RunError,
    Synapse,
    UnsupportedError,
    quantity,
)
from neuro.protocols import Program
from tests.backends.networks import DELTA, LIF, REFRACTORY_LIF, STDP, networks
from tests.backends.test_state import STEPS, part, same, whole

pytest.importorskip("brian2")

NETWORKS = networks()


def lasting(steps: int = 3) -> Network:
    """Refractory cells that excite each other after delays of 0 to 4 steps, through synapses that learn."""
    index = np.arange(6)
    pairs = Pairs(np.repeat(index, 3), np.concatenate([(index + k) % 6 for k in (1, 2, 4)]))
    neuron = replace(REFRACTORY_LIF, refractory=quantity(f"{steps} ms"))
    loop = Projection("loop", "cells", "cells", STDP, "2 mV", pairs, delay=quantity(np.arange(18.0) % 5, "ms"))
    feed = Projection("feed", "x", "cells", DELTA, "7 mV", delay=quantity(np.arange(42.0).reshape(7, 6) % 4, "ms"))
    return Network((Population("cells", neuron, 6),), (feed, loop), (Input("x", 7),), dt="1 ms", seed=3, name="lasting")


def compiled(network: Network, backend: str = "brian2", **options: Any) -> Program:
    return backends.get(backend).compile(network, **options)


@pytest.mark.parametrize("feature", ["pairs", "refractory delta", "plastic loop", "graded"])
def test_target_cython(feature: str) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no compiler")
    made = compiled(NETWORKS[feature], target="cython")
    full = whole(made)
    for cut in (1, 50):
        first = part(made, 0, cut)
        second = part(made, cut, STEPS, state=first.state)
        same(full, first, second, 0)
        assert second.state.differences(full.state) == {}
    plain = part(compiled(NETWORKS[feature]), 0, 50).state
    assert all(d < 1e-9 for d in plain.differences(part(made, 0, 50).state).values())


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("feature", ["pairs", "plastic loop", "one-to-one", "lasting"])
def test_many_cuts(feature: str, length: int) -> None:
    """Runs that are shorter than the delays: what is on its way comes from the state that was given."""
    made = compiled(lasting() if feature == "lasting" else NETWORKS[feature])
    full, state, end = whole(made), None, 42
    found = []
    for first in range(0, end, length):
        found.append(part(made, first, first + length, state=state))
        state = found[-1].state
    assert sum(raster[:, :end].sum() for raster in full.spikes.values()) > 10
    for name, raster in full.spikes.items():
        np.testing.assert_array_equal(np.concatenate([f.spikes[name] for f in found], -2), raster[:, :end])
    for name, trace in full.traces.items():
        np.testing.assert_array_equal(np.concatenate([f.traces[name] for f in found], -2), trace[:, :end])
    assert state is not None
    assert state.differences(part(made, 0, end).state) == {}


@pytest.mark.parametrize("period", [1, 2, 7])
def test_cells_that_are_cut_within_their_refractory_period(period: int) -> None:
    made, reference = compiled(lasting(period)), compiled(lasting(period), "reference")
    full = whole(made)
    left = set()
    for cut in range(10, 30):
        first = part(made, 0, cut)
        assert first.state.differences(part(reference, 0, cut).state).keys() <= {"variables/cells.v", "variables/loop.x",
                                                                                 "variables/loop.y", "variables/loop.w"}  # fmt: skip
        same(full, first, part(made, cut, STEPS, state=first.state), 0)
        left |= set(first.state.refractory["cells"].ravel().tolist())
    assert left == set(range(period + 1))


def test_plastic_synapses_that_are_cut() -> None:
    made = compiled(lasting())
    first = part(made, 0, 50)
    weights = first.final["loop.w"]
    np.testing.assert_array_equal(first.state.variables["loop.w"], weights)
    assert np.ptp(weights) > 1e-4
    with pytest.raises(RunError, match=r"parameters give 'loop\.w', which is part of the state"):
        part(made, 50, STEPS, state=first.state, parameters={"loop.w": weights[0]})
    edited = part(made, 50, STEPS, state=first.state.with_variables({"loop.w": 0 * weights}))
    assert (edited.final["loop.w"] != part(made, 50, STEPS, state=first.state).final["loop.w"]).any()


@pytest.mark.parametrize(
    ("feature", "target"),
    [("lasting", "numpy"), ("plastic loop", "numpy"), ("poisson", "numpy"), ("lasting", "cython")],
)
def test_nothing_of_a_state_stays_behind(feature: str, target: str) -> None:
    if target == "cython" and shutil.which("g++") is None:
        pytest.skip("no compiler")
    made = compiled(lasting() if feature == "lasting" else NETWORKS[feature], target=target)
    full, first = whole(made), part(made, 0, 50)
    part(made, 50, STEPS, state=first.state)
    again = part(made, 0, 50)
    same(full, again, part(made, 50, STEPS, state=again.state), 0)
    assert again.state.differences(first.state) == {}


def test_the_state_outlives_later_runs_and_changes_of_what_was_recorded() -> None:
    made = compiled(lasting())
    first = part(made, 0, 50)
    wanted = part(made, 0, 50).state
    for raster in first.spikes.values():
        raster[:] = True
    whole(made)
    assert first.state.differences(wanted) == {}
    assert pickle.loads(pickle.dumps(part(made, 0, 50))).state.differences(wanted) == {}


def test_sets_of_parameters_go_on_each_from_its_own_state() -> None:
    made = compiled(lasting())
    weights = np.asarray([7e-3, 9e-3])[:, None, None] * np.ones((7, 6))
    given = {"parameters": {"feed.w": weights}, "population": 2}
    full, first = whole(made, **given), part(made, 0, 23, **given)
    second = part(made, 23, STEPS, state=first.state, **given)
    same(full, first, second, 0)
    assert second.state.differences(full.state) == {}
    for p in range(2):
        alone = part(made, 23, STEPS, state=first.state.of_set(p), parameters={"feed.w": weights[p]})
        same(full.of_set(p), first.of_set(p), alone, 0)


def test_pairs_of_cells_without_a_synapse() -> None:
    """They keep what the run began with, and a projection without synapses has no object in Brian2."""
    synapse = Synapse(
        "driven", "dw/dt = (w0 - w)/tau : volt\ndx/dt = -x/tau : 1", on_pre="v_post += w\nx += 1",
        parameters={"tau": "20 ms", "w0": "3 mV"}, initial={"x": 0.7},
    )  # fmt: skip
    loop = Projection("loop", "cells", "cells", synapse, "6 mV", AllToAll(False), delay="2 ms")
    none = [
        Projection("none", "cells", "cells", synapse, "6 mV", Probability(0.0), delay="3 ms"),
        Projection("self", "one", "one", synapse, "6 mV", AllToAll(False), delay="3 ms"),
    ]
    cells = (Population("cells", LIF, 3, {"R": "0.3 ohm"}), Population("one", LIF, 1))
    network = Network(cells, (loop, *none), (Input("x", 1, "current", "cells.I"),), dt="1 ms", seed=3)
    made, reference = compiled(network), compiled(network, "reference")
    state = part(made, 0, 50).state
    assert state.variables["none.x"].shape == (2, 0)
    assert (state.variables["loop.x"][:, np.eye(3, dtype=bool)] == 0.7).all()
    assert (state.variables["self.x"] == 0.7).all()
    assert all(d < 1e-9 for d in state.differences(part(reference, 0, 50).state).values())
    second = part(made, 50, STEPS, state=state)
    same(whole(made), part(made, 0, 50), second, 0)
    assert second.state.differences(whole(made).state) == {}


def test_time_and_the_step_of_an_error_count_from_the_beginning() -> None:
    """A clock that every equation may read; the number of the step in a message is that of the whole."""
    neuron = Neuron("late", "v = exp(t/ms) : 1\ndq/dt = (v - q)/(1*ms) : 1", method="euler")
    network = Network((Population("cells", neuron, 2),), dt="1 ms")
    made = compiled(network)
    first = made.run(steps=100, record=["cells.q"])
    second = made.run(steps=100, record=["cells.q"], state=first.state, every=7)
    full = made.run(steps=200, record=["cells.q"])
    np.testing.assert_array_equal(second.traces["cells.q"], full.traces["cells.q"][:, 106::7])
    with pytest.raises(RunError, match=r"'cells.q' is not finite at step 710 "):
        made.run(steps=700, state=first.state)
    late = replace(first.state, step=10**9 + 7)
    assert made.run(steps=1, state=replace(late, step=70)).state.step == 71
    with pytest.raises(RunError, match=r"at step 1000000007 "):
        made.run(steps=2, state=late)


@pytest.mark.slow
@pytest.mark.parametrize("feature", ["lasting", "plastic loop", "noise"])
def test_cpp_standalone_gives_its_state_and_begins_anew(feature: str) -> None:
    network = lasting() if feature == "lasting" else NETWORKS[feature]
    made, plain = compiled(network, target="cpp_standalone"), compiled(network)
    first = part(made, 0, 50)
    assert all(d < 1e-9 for d in first.state.differences(part(plain, 0, 50).state).values())
    same(whole(plain), first, part(plain, 50, STEPS, state=first.state), 1e-9)


def test_cpp_standalone_refuses_a_given_state() -> None:
    state = part(compiled(lasting()), 0, 5).state
    made = compiled(lasting(), target="cpp_standalone")
    with pytest.raises(UnsupportedError, match=r"state.*cpp_standalone.*use target='numpy'.*reference, torch, native"):
        part(made, 5, STEPS, state=state)
