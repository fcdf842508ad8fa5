"""Brian2's code generation targets: one build serves any parameters and inputs, and all give the same numbers."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

import backends
from backends.brian import devices
from backends.brian.program import TARGETS
from neuro import (
    Input,
    Network,
    Neuron,
    Normal,
    Population,
    Projection,
    RunError,
    Synapse,
    UnsupportedError,
    library,
    quantity,
)
from neuro.analysis.comparison import compare
from neuro.compiler.parameters import parameters
from neuro.protocols import Recording
from twinspike.fuzzing import corpus

pytest.importorskip("brian2")

STEPS = 300


def network() -> Network:
    """Poisson spikes -> 20 LIF cells -> 5 AdEx cells, with noise, a current, a drive, a delay and a draw of weights."""
    noisy = Neuron(
        "noisy", "dv/dt = (-v + R*I)/tau + 2*mV*sqrt(2/tau)*xi : volt\nI : amp", "v > 10*mV", "v = 0*mV",
        parameters={"tau": "10 ms", "R": "100 Mohm"}, method="euler",
    )  # fmt: skip
    return Network(
        (Population("a", noisy, 20), Population("b", library.get("adex"), 5)),
        (
            Projection("p", "x", "a", library.get("pulse"), Normal("2 nA", "1 nA")),
            Projection("q", "a", "b", library.get("exponential_current"), "0.5 nA", delay="2 ms"),
        ),
        (
            Input("x", 10, "poisson", rate="800 Hz"), Input("i", 1, "current", target="a.I"),
            Input("d", 20, "drive", "a.v", rate="20 kHz", weight="0.05 mV"),
        ),
    )  # fmt: skip


def inputs(batch: int, steps: int = STEPS) -> dict[str, np.ndarray]:
    return {"i": np.linspace(0, 1e-10, batch * steps).reshape(batch, steps, 1)}


def check(found: Recording, model: Network, weights: np.ndarray, batch: int, steps: int = STEPS) -> None:
    program = backends.get("reference").compile(model)
    wanted = program.run({"p.w": weights}, inputs(batch, steps), ["a.v", "b.v"])
    report = compare(wanted, found)
    report.require_spikes(100)
    assert report.identical_spikes and report.agrees(1e-9)


@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=[pytest.mark.slow] if t == "cython" else []) for t in TARGETS]
)  # cython builds for a minute; it does in the next test too
def test_one_build_serves_other_parameters_and_inputs(target: str) -> None:
    model = network()
    weights = parameters(model)["p.w"].value
    program = backends.get("brian2").compile(model, target=target)
    for w, shift in ((weights, 0.0), (1.5 * weights, 2e-11), (weights, 0.0)):
        given = {name: array + shift for name, array in inputs(3).items()}
        found = program.run({"p.w": w}, given, ["a.v", "b.v"])
        if not shift:
            check(found, model, w, 3)
    assert program.builds == 1
    if target != "cpp_standalone":
        check(program.run({"p.w": weights}, inputs(3, 150), ["a.v", "b.v"]), model, weights, 3, 150)
        assert program.builds == 1


@pytest.mark.parametrize("target", ["cython", pytest.param("cpp_standalone", marks=pytest.mark.slow)])
def test_one_build_serves_all_populations_of_a_size(target: str) -> None:
    """Cells, synapses, inputs and noise in code that holds their numbers; Brian2's numpy is in the conformance tests."""
    model = network()
    weights = parameters(model)["p.w"].value
    program = backends.get("brian2").compile(model, target=target)
    for factors in ((1.0, 1.5, 0.7), (1.2, 0.9, 1.0)):
        sets = np.stack([f * weights for f in factors])
        found = program.run({"p.w": sets}, inputs(2), ["a.v", "b.v"], population=3)
        for p in range(3):
            check(found.of_set(p), model, sets[p], 2)
    assert program.builds == 1


@pytest.mark.parametrize("target", ["numpy", "cython"])
def test_the_first_state_that_leaves_the_finite_numbers_is_named(target: str) -> None:
    neuron = Neuron(
        "runaway", "dv/dt = v**3/tau : 1\nI : 1", parameters={"tau": "1 ms"}, method="euler", initial={"v": 2.0}
    )
    program = backends.get("brian2").compile(Network((Population("cells", neuron, 2),), dt="0.5 ms"), target=target)
    with pytest.raises(RunError, match=r"'cells.v' is not finite at step \d+ \(trial 0, cell 0\)"):
        program.run(steps=60)


def test_unknown_targets_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="use numpy, cython or cpp_standalone"):
        backends.get("brian2").compile(network(), target="cuda")


@pytest.mark.parametrize("text", ["w += 0.4*A", "w -= 0.4*A", "w += 0.9; v_post += w; w -= 0.7*A"])
@pytest.mark.parametrize("low", ["0", "each"])
def test_plastic_weights_keep_bounds_and_sign_after_each_statement(text: str, low: str) -> None:
    cell = Neuron("q", "dv/dt = -v/(10*ms) : 1", "v > 0.5", "v = 0", method="exact")
    synapse = Synapse(
        "s", "w : 1\ndA/dt = -A/(20*ms) : 1\nu : 1", on_pre="A += 1; v_post += u", on_post=text.replace("v_post += w", "A += 5*w - 2"),
        parameters={"u": 1.0}, method="exact",
    )  # fmt: skip
    bounds = (0.2, 1.0) if low == "0" else (quantity([[0.1], [0.5]], "1"), quantity([[0.9], [0.7]], "1"))
    network = Network(
        (Population("c", cell, 1),), (Projection("j", "x", "c", synapse, weights=[[0.6], [0.6]], bounds=bounds, sign="+"),),
        (Input("x", 2),), dt="1 ms",
    )  # fmt: skip
    spikes = np.zeros((2, 60, 2), bool)
    spikes[:, ::5, 0] = spikes[1, ::3, 1] = True
    found = backends.get("brian2").compile(network).run(inputs={"x": spikes})
    assert found.spike_count() > 20
    lowest, highest = (0.2, 1.0) if low == "0" else (np.array([[0.1], [0.5]]), np.array([[0.9], [0.7]]))
    assert (found.final["j.w"] >= lowest).all() and (found.final["j.w"] <= highest).all()
    assert np.isin(found.final["j.w"], [lowest, highest]).any(), "no bound was met"


def test_a_program_survives_pickle() -> None:
    program = backends.get("brian2").compile(network())
    wanted = program.run(inputs=inputs(1, 60))
    other = pickle.loads(pickle.dumps(program)).run(inputs=inputs(1, 60))
    assert wanted.spike_count() > 5 and all(np.array_equal(wanted.spikes[n], other.spikes[n]) for n in wanted.spikes)


def test_a_program_is_built_once_for_what_is_recorded_and_how_long() -> None:
    program = backends.get("brian2").compile(network())
    first = program.run(inputs=inputs(1, 60), record=["a.v"])
    second = program.run(inputs=inputs(1, 60), record=["b.v", "a.I", "a.v"])
    third = program.run(inputs={name: array[:, :40] for name, array in inputs(1, 60).items()})
    assert program.builds == 0, "the network that was built when compiled serves one trial"
    assert set(first.traces) == {"a.v"} and set(second.traces) == {"b.v", "a.I", "a.v"} and not third.traces
    assert np.array_equal(first.traces["a.v"], second.traces["a.v"]) and np.array_equal(
        first.spikes["a"][:, :40], third.spikes["a"]
    )


def test_mistakes_of_ours_are_no_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.brian.text.unit_text", lambda dimension: "second")
    with pytest.raises(Exception, match="cells0") as caught:
        backends.get("brian2").compile(network())
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize("read", ["p_pre", "e_pre", "k"])
def test_what_cells_add_to_themselves_is_read_before(read: str) -> None:
    """Brian2's numpy target does so; the loops of the others read what the synapse before has added, without a word."""
    cells = Neuron("n", "dp/dt = 1/(9*ms) : 1\ne = p**2 : 1", threshold="p > 1", reset="p = 0")
    synapse = Synapse("s", "w : 1\nk = e_pre : 1", on_pre=f"p_post += w*{read}")
    population = Population("c", cells, 4, initial={"p": [0.9, 0.9, 0.3, 0.5]})
    network = Network((population,), (Projection("j", "c", "c", synapse, weights=0.03),), dt="1 ms")
    runs = {
        b: backends.get(b).compile(network).run(steps=40, record=["c.p"])
        for b in ("reference", "native", "torch", "brian2")
    }
    assert runs["reference"].spike_count() > 10
    assert all(compare(runs["reference"], run).agrees(1e-12) for run in runs.values())
    for target in ("cython", "cpp_standalone"):
        with pytest.raises(UnsupportedError, match=rf"projection 'j', on_pre, with target='{target}': it reads p_pre"):
            backends.get("brian2").compile(network, target=target)


@pytest.mark.parametrize("text", ["", "k = 1 + y_pre : 1", "k = 1 + m : 1\nm = y_pre : 1"])
def test_what_a_unit_without_state_sends_is_of_this_step(text: str) -> None:
    """Its target is defined before it, and the synapse reads it through subexpressions of its own."""
    unit = Neuron("unit", "y = tanh(z) : 1\nz : 1")
    rate = Neuron("rate", "dx/dt = (-x + z)/(5*ms) : 1\nz : 1")
    synapse = Synapse("g", f"w : 1\n{text}", transmits="w*k" if text else "w*y_pre", target="z")
    network = Network(
        (Population("b", rate, 2), Population("a", unit, 2)), (Projection("p", "a", "b", synapse, weights=0.5),),
        (Input("i", 1, "current", "a.z"),), dt="1 ms",
    )  # fmt: skip
    given = {"i": np.random.default_rng(0).normal(0, 1, (1, 30, 1))}
    wanted, found = (
        backends.get(b).compile(network).run(inputs=given, record=["b.x"]) for b in ("reference", "brian2")
    )
    assert np.ptp(wanted.traces["b.x"]) > 0.3 and compare(wanted, found).agrees(1e-12)


@pytest.mark.parametrize("read", ["v_pre", "u_pre"])
def test_two_ends_that_refractory_cells_keep_are_refused(read: str) -> None:
    """Brian2's code asked the presynaptic cell whether the target is refractory: the target's trace was wrong without a word."""
    cells = Neuron(
        "n", "dv/dt = (1.2 - v)/(5*ms) : 1 (unless refractory)\nu = 2*v : 1", threshold="v > 1", reset="v = 0", refractory="2 ms"
    )  # fmt: skip
    synapse = Synapse("s", on_pre=f"v_post += 0.1*{read}")
    network = Network(
        (Population("p", cells, 3), Population("q", cells, 2)), (Projection("j", "p", "q", synapse),), dt="1 ms"
    )
    with pytest.raises(UnsupportedError, match=r"projection 'j', on_pre.*v_pre.*v_post.*unless refractory"):
        backends.get("brian2").compile(network)
    found = [backends.get(b).compile(network).run(steps=60, record=["q.v"]) for b in ("reference", "native", "torch")]
    assert found[0].spikes["q"].sum() > 5
    for other in found[1:]:
        np.testing.assert_array_equal(np.asarray(other.spikes["q"]), found[0].spikes["q"])
        np.testing.assert_allclose(other.traces["q.v"], found[0].traces["q.v"], rtol=1e-12)


@pytest.mark.parametrize("text", ["w*b", "w*arctan(b)", "w*b_post", "w*(b + b_post)", "w*c", "w*u_post", "w*e", "w*k"])
def test_numbers_and_times_that_a_synapse_reads_are_no_arrays(text: str) -> None:
    """A subexpression over numbers and time alone, of a cell or of the synapse, in what is added to a variable that refractory cells keep."""
    equations = "dv/dt = (1.2 - v)/(5*ms) : 1 (unless refractory)\nb = tanh(0.3) : 1\nu = sin(t/(20*ms)) : 1\ndg/dt = -g/(5*ms) : 1"
    cells = Neuron("n", equations, threshold="v > 1", reset="v = 0", refractory="2 ms")
    numbers = "a = 0.6 : 1\nb = a/2 : 1\nk = clip(straight_through(0.5, g_post), -2, 2) : 1"
    times = "c = arctan(b_post) : 1\ne = b + u_post*c : 1"
    synapse = Synapse("s", f"w : 1\n{numbers}\n{times}", on_pre=f"v_post += {text}")
    network = Network(
        (Population("p", cells, 3),), (Projection("j", "x", "p", synapse, weights=0.4),), (Input("x", 4),), dt="1 ms"
    )
    spikes = np.random.default_rng(0).random((2, 60, 4)) < 0.2
    found = [
        backends.get(b).compile(network).run(inputs={"x": spikes}, record=["p.v"]) for b in ("reference", "brian2")
    ]
    np.testing.assert_array_equal(found[1].spikes["p"], found[0].spikes["p"])
    np.testing.assert_allclose(found[1].traces["p.v"], found[0].traces["p.v"], rtol=0, atol=1e-12)
    assert found[0].spikes["p"].sum() > 20


def test_a_program_is_built_for_as_many_trials_as_it_is_told() -> None:
    plain, told = (backends.get("brian2").compile(network(), trials=n) for n in (1, 3))
    wanted, found = (program.run(inputs=inputs(3, 60), record=["a.v", "b.v"]) for program in (plain, told))
    assert (plain.builds, told.builds) == (1, 0)
    assert wanted.spike_count() > 5 and compare(wanted, found).agrees(0)
    again = pickle.loads(pickle.dumps(told))
    again.run(inputs=inputs(3, 60))
    assert again.builds == 0
    told.run(inputs=inputs(2, 60))
    assert told.builds == 1
    with pytest.raises(UnsupportedError, match="option 'trials'=0: use a whole number from 1 on"):
        backends.get("brian2").compile(network(), trials=0)


def test_an_expression_too_deep_for_brian_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its recursion gets room; without that a network of the corpus is refused by name, and Python's limit is what it was."""
    (case,) = (e.case for e in corpus.read() if "recursion over a long expression" in e.comment)
    before = sys.getrecursionlimit()
    backends.get("brian2").compile(case.network)
    assert sys.getrecursionlimit() == before
    monkeypatch.setattr(devices, "DEPTH", 0)
    with pytest.raises(UnsupportedError, match="an expression of its integrator is nested too deeply"):
        backends.get("brian2").compile(case.network)
    assert sys.getrecursionlimit() == before
