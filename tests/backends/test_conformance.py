"""What every backend must do, over all of them. A network that a backend refuses is a skip that a test counts."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import backends
from neuro import (
    AllToAll,
    Network,
    Normal,
    Population,
    Probability,
    Projection,
    Recording,
    RunError,
    Synapse,
    UnsupportedError,
    quantity,
)
from neuro.analysis.comparison import compare, localise
from neuro.compiler.parameters import parameters
from neuro.protocols import Program
from tests.backends.able import LACKING, NETWORKS, REFUSED
from tests.backends.networks import LIF, RATE, drive

STEPS = 300


def _program(backend: str, feature: str) -> Program:
    try:
        return compiled(backend, feature)
    except UnsupportedError as error:
        pytest.skip(str(error))


@cache
def compiled(backend: str, feature: str) -> Program:
    return backends.get(backend).compile(NETWORKS[feature], dtype="float64")


@cache
def recorded(backend: str, feature: str) -> Recording:
    network = NETWORKS[feature]
    names = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    program = compiled(backend, feature)
    inputs = drive(network, steps=STEPS)
    return program.run(inputs=inputs, record=names, steps=STEPS, batch=2)


each_backend = pytest.mark.parametrize("backend", backends.names())
each_network = pytest.mark.parametrize("feature", NETWORKS)


@each_backend
def test_refusals_are_the_documented_ones(backend: str) -> None:
    refused = set()
    for feature in NETWORKS:
        try:
            compiled(backend, feature)
        except UnsupportedError as error:
            assert error.backends, f"{feature}: the refusal names no backend that can"
            refused.add(feature)
    assert refused == REFUSED.get(backend, set())


@each_backend
def test_capabilities_are_the_documented_ones(backend: str) -> None:
    has = vars(_program(backend, "feed-forward").capabilities)
    assert {name for name, able in has.items() if not able} == LACKING.get(backend, set())


@each_network
@each_backend
def test_agrees_with_the_reference(backend: str, feature: str) -> None:
    _program(backend, feature)
    a, b = recorded("reference", feature), recorded(backend, feature)
    report = compare(a, b, names=("reference", backend), max_pairs=10)
    if a.spikes:
        report.require_spikes(20)
    assert report.identical_spikes and report.agrees(1e-9), localise(report)


@each_network
@each_backend
def test_weights_that_the_run_changed_agree(backend: str, feature: str) -> None:
    _program(backend, feature)
    a, b = recorded("reference", feature), recorded(backend, feature)
    assert set(a.final) == set(b.final)
    for name, value in a.final.items():
        assert np.ptp(value) > 0
        np.testing.assert_allclose(b.final[name], value, rtol=1e-9)


def _sets(network: Network, population: int) -> dict[str, np.ndarray]:
    """All parameters, each a few per cent off, differently in each set."""
    random = np.random.default_rng(0)
    given = {}
    for name, parameter in parameters(network).items():
        if parameter.shares:
            continue
        factors = 1 + 0.04 * random.random((population, *parameter.shape))
        given[name] = np.minimum(parameter.value * factors, parameter.high)
    return given


@each_network
@each_backend
def test_a_population_of_parameter_sets_is_as_many_runs(backend: str, feature: str) -> None:
    program, network = _program(backend, feature), NETWORKS[feature]
    if not program.capabilities.populations:
        with pytest.raises(UnsupportedError, match="population"):
            program.run(population=3, steps=9)
        return
    names = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    given, inputs = _sets(network, 3), drive(network, steps=100)
    whole = program.run(given, inputs, names, steps=100, batch=2, population=3)
    for i in range(3):
        alone = program.run({n: v[i] for n, v in given.items()}, inputs, names, steps=100, batch=2)
        report = compare(alone, whole.of_set(i), names=("alone", "in the population"), max_pairs=10)
        assert report.identical_spikes and report.agrees(1e-9), localise(report)
    some = next(iter(whole.traces.values()))
    assert not np.array_equal(some[0], some[1])


@each_backend
def test_same_call_same_numbers(backend: str) -> None:
    program = _program(backend, "poisson")
    a, b = (program.run(steps=200, batch=3, record=["cells.v"]) for _ in range(2))
    assert a.spike_count() > 20
    np.testing.assert_array_equal(a.spikes["cells"], b.spikes["cells"])
    np.testing.assert_array_equal(a.traces["cells.v"], b.traces["cells.v"])


@each_backend
def test_a_recording_outlives_the_next_run(backend: str) -> None:
    program = _program(backend, "poisson")
    first = program.run(steps=50, record=["cells.v"])
    kept = first.traces["cells.v"].copy()
    second = program.run(steps=50, record=["cells.v"], trial=1)
    assert (second.traces["cells.v"] != kept).any()
    np.testing.assert_array_equal(first.traces["cells.v"], kept)


@pytest.mark.parametrize("feature", ["poisson", "noise"])
@each_backend
def test_splitting_a_batch_changes_nothing(backend: str, feature: str) -> None:
    program = _program(backend, feature)
    inputs = drive(NETWORKS[feature], batch=3, steps=200)
    whole = program.run(inputs=inputs, steps=200, batch=3)
    assert whole.spike_count() > 20
    for trial in range(3):
        part = program.run(inputs={n: v[trial : trial + 1] for n, v in inputs.items()}, steps=200, batch=1, trial=trial)
        np.testing.assert_array_equal(part.spikes["cells"][0], whole.spikes["cells"][trial])


@each_backend
def test_every_nth_step_is_the_end_of_that_step(backend: str) -> None:
    program = _program(backend, "feed-forward")
    inputs = drive(NETWORKS["feed-forward"], steps=50)
    full = program.run(inputs=inputs, record=["cells.v", "cells.I"])
    thin = program.run(inputs=inputs, record=["cells.v", "cells.I"], every=7)
    for name, trace in full.traces.items():
        assert trace.shape == (2, 50, 5)
        np.testing.assert_array_equal(thin.traces[name], trace[:, 6::7])


@each_backend
def test_other_parameters_without_compiling_again(backend: str) -> None:
    program = _program(backend, "feed-forward")
    network = NETWORKS["feed-forward"]
    inputs = drive(network, steps=100)
    before = program.run(inputs=inputs)
    weights = parameters(network)["feed.w"].value
    silent = program.run({"feed.w": 0 * weights}, inputs)
    higher = program.run({"cells.v_th": np.array(-0.06)}, inputs)
    after = program.run(inputs=inputs)
    assert silent.spike_count() == 0 < before.spike_count() < higher.spike_count()
    np.testing.assert_array_equal(before.spikes["cells"], after.spikes["cells"])


@each_backend
def test_a_spike_of_step_k_drives_the_integration_of_the_next(backend: str) -> None:
    """Closed form: one pulse of 3 nA moves a 100 Mohm, 10 ms membrane by 0.3 V (1 - exp(-0.1)) = 28.5 mV."""
    program = _program(backend, "feed-forward")
    spikes = np.zeros((1, 6, 7), bool)
    spikes[0, 2, 0] = True
    weights = np.zeros((7, 5))
    weights[0, 1] = 3e-9
    found = program.run({"feed.w": weights}, {"x": spikes}, record=["cells.v"])
    jump = 0.3 * (1 - np.exp(-0.1))
    assert found.spikes["cells"][0, :, 1].tolist() == [False, False, False, True, False, False]
    assert jump > 0.02
    np.testing.assert_allclose(found.traces["cells.v"][0, :, 1], -0.07, rtol=1e-12)
    weights[0, 1] = 1e-9
    found = program.run({"feed.w": weights}, {"x": spikes}, record=["cells.v"])
    decay = np.exp(-0.1 * np.arange(3))
    np.testing.assert_allclose(found.traces["cells.v"][0, 3:, 1], -0.07 + jump / 3 * decay, rtol=1e-12)


@each_backend
def test_delay_d_arrives_d_steps_later(backend: str) -> None:
    program = _program(backend, "delay")
    spikes = np.zeros((1, 10, 7), bool)
    spikes[0, 2, 0] = True
    found = program.run({"feed.w": np.full((7, 5), 5e-9)}, {"x": spikes})
    assert np.flatnonzero(found.spikes["cells"][0, :, 0]).tolist() == [6]


@each_backend
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_run_may_be_shorter_than_the_delay(backend: str, steps: int) -> None:
    found = _program(backend, "delay").run(inputs={"x": np.ones((2, steps, 7), bool)}, record=["cells.v"])
    assert found.traces["cells.v"].shape == (2, steps, 5)
    np.testing.assert_allclose(found.traces["cells.v"][:, :4], -0.07, rtol=1e-12)


@each_backend
def test_refractory_for_r_steps(backend: str) -> None:
    """3 ms at 1 ms: after a spike at k the cell is frozen in k+1 and k+2, and a strong drive fires it at k+3."""
    program = _program(backend, "refractory")
    found = program.run({"feed.w": np.full((7, 5), 5e-9)}, {"x": np.ones((1, 14, 7), bool)}, record=["cells.v"])
    assert np.flatnonzero(found.spikes["cells"][0, :, 0]).tolist() == [1, 4, 7, 10, 13]
    np.testing.assert_allclose(found.traces["cells.v"][0, 1:4, 0], -0.07, rtol=1e-12)


@each_backend
def test_wrong_arrays_are_named(backend: str) -> None:
    program = _program(backend, "feed-forward")
    x = np.zeros((1, 5, 7), bool)
    cases: list[tuple[dict[str, object], str]] = [
        ({"inputs": {"y": x}}, "there is no input 'y'"),
        ({"inputs": {"x": x[:, :, :3]}}, r"input 'x' has shape \(1, 5, 3\); it needs \[batch, time, 7\]"),
        ({"inputs": {"x": x}, "steps": 9}, "has 5 entries along time; the run has 9"),
        ({"inputs": {"x": x + 0.5}}, "holds numbers other than 0 and 1"),
        ({"steps": 5}, "input 'x' is missing"),
        ({"inputs": {"x": x}, "parameters": {"feed.ww": 1}}, "did you mean 'feed.w'"),
        ({"inputs": {"x": x}, "parameters": {"feed.w": np.zeros(3)}}, r"has shape \(3,\); this run needs \(7, 5\)"),
        (
            {"inputs": {"x": x}, "parameters": {"cells.tau_m": np.array(np.nan)}},
            "'cells.tau_m': the value nan is not finite",
        ),
        ({"inputs": {"x": x}, "record": ["cells.u"]}, "there is no variable of population 'cells' 'u'"),
        ({"inputs": {"x": x}, "every": 0}, "every=0"),
    ]
    for options, message in cases:
        with pytest.raises(RunError, match=message):
            program.run(**options)  # type: ignore[arg-type]


@each_backend
def test_unknown_options_are_refused(backend: str) -> None:
    with pytest.raises(UnsupportedError, match="speed"):
        backends.get(backend).compile(NETWORKS["feed-forward"], speed="fast")
    with pytest.raises(UnsupportedError, match="float8"):
        backends.get(backend).compile(NETWORKS["feed-forward"], dtype="float8")


@each_backend
def test_program_says_what_it_is(backend: str) -> None:
    program = _program(backend, "feed-forward")
    reference = compiled("reference", "feed-forward")
    assert program.network == NETWORKS["feed-forward"] and program.backend == backend
    assert program.semantics.differences(reference.semantics) == ()


@each_backend
def test_a_cell_without_input_stays_at_rest(backend: str) -> None:
    network = Network((Population("cells", LIF, 2),), dt="1 ms")
    try:
        program = backends.get(backend).compile(network)
    except UnsupportedError as error:
        pytest.skip(str(error))
    found = program.run(steps=20, record=["cells.v"])
    assert found.spike_count() == 0
    np.testing.assert_allclose(found.traces["cells.v"], -0.07, rtol=1e-12)


def test_unknown_backend_gets_a_suggestion() -> None:
    with pytest.raises(backends.UnknownBackendError, match="did you mean 'torch'"):
        backends.get("troch")


@each_backend
def test_a_population_of_one_number_parameters_read_by_synapses(backend: str) -> None:
    """A cell's and a synapse's number, one a set, in a graded coupling that doesn't split into a product."""
    synapse = Synapse(
        "gap",
        "w : 1",
        transmits="w*tanh(gain*(x_pre - x_post)/tau_post*second)",
        target="z",
        parameters={"gain": "0.01"},
    )
    cells = Population("rate", RATE, 4, initial={"x": Normal(quantity("0"), quantity("0.5"))})
    for connectivity in (AllToAll(), Probability(0.7)):
        loop = Projection("loop", "rate", "rate", synapse, Normal(quantity("0"), quantity("1.5")), connectivity)
        try:
            program = backends.get(backend).compile(Network((cells,), (loop,), (), dt="1 ms", seed=3))
        except UnsupportedError as error:
            pytest.skip(str(error))
        sets = {"rate.tau": np.array([5e-3, 10e-3, 20e-3]), "loop.gain": np.array([0.01, 0.02, 0.005])}
        found = program.run(sets, record=["rate.x"], steps=50, population=3)
        for p in range(3):
            alone = program.run({n: v[p] for n, v in sets.items()}, record=["rate.x"], steps=50)
            np.testing.assert_allclose(found.traces["rate.x"][p], alone.traces["rate.x"], rtol=1e-9)
        assert not np.allclose(found.traces["rate.x"][0], found.traces["rate.x"][1])


@each_backend
def test_wrong_populations_are_named(backend: str) -> None:
    program = _program(backend, "feed-forward")
    if not program.capabilities.populations:
        pytest.skip("runs one parameter set at a time")
    x = {"x": np.zeros((1, 5, 7), bool)}
    for options, message in (
        ({"parameters": {"feed.w": np.zeros((2, 7, 5))}, "population": 3}, r"this run needs \(3, 7, 5\)"),
        ({"parameters": {"feed.w": np.zeros((2, 7, 5))}}, r"this run needs \(7, 5\)"),
        ({"population": 0}, "population=0 is no count"),
    ):
        with pytest.raises(RunError, match=message):
            program.run(inputs=x, **options)  # type: ignore[arg-type]
