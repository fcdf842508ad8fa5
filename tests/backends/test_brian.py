"""Brian2's code generation targets: one build serves any parameters and inputs, and all give the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

import backends
from backends.brian import TARGETS
from neuro import Input, Network, Neuron, Normal, Population, Projection, RunError, UnsupportedError, library
from neuro.analysis.comparison import compare
from neuro.parameters import parameters
from neuro.protocols import Recording

pytest.importorskip("brian2")

STEPS = 300


def network() -> Network:
    """Poisson spikes -> 20 LIF cells -> 5 AdEx cells, with noise, a current, a delay and a draw of weights."""
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
        (Input("x", 10, "poisson", rate="800 Hz"), Input("i", 1, "current", target="a.I")),
    )


def inputs(batch: int, steps: int = STEPS) -> dict[str, np.ndarray]:
    return {"i": np.linspace(0, 1e-10, batch * steps).reshape(batch, steps, 1)}


def check(found: Recording, model: Network, weights: np.ndarray, batch: int, steps: int = STEPS) -> None:
    program = backends.get("reference").compile(model)
    wanted = program.run({"p.w": weights}, inputs(batch, steps), ["a.v", "b.v"])
    report = compare(wanted, found)
    report.require_spikes(100)
    assert report.identical_spikes and report.agrees(1e-9)


@pytest.mark.parametrize("target", TARGETS)
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
    with pytest.raises(UnsupportedError, match="use one of numpy, cython, cpp_standalone"):
        backends.get("brian2").compile(network(), target="cuda")
