"""Do all backends compute the same numbers? Library neurons, a mixed recurrent network, and planted defects."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import backends
from neuro import Network, Projection, Recording, UnsupportedError, library, quantity
from neuro.analysis.comparison import Comparison, compare, localise
from neuro.compiler.semantics import semantics
from tests.backends.able import REFUSED, compiled
from tests.backends.networks import DELTA, drive, networks, tie
from tests.library.networks import two_populations
from twinspike.models.drives import DRIVES
from twinspike.models.mixed_network import mixed_network
from twinspike.studies.agreement import SILENT, driven

PAIRS = tuple(itertools.combinations(backends.names(), 2))


@cache
def recorded(backend: str, name: str) -> Recording:
    network, inputs = driven(name)
    names = [f"cells.{variable}" for variable in network.populations[0].neuron.scope.states]
    return backends.get(backend).compile(network, dtype="float64").run(inputs=inputs, record=names)


@pytest.mark.parametrize(
    ("name", "pair"),
    [pytest.param(n, p, marks=pytest.mark.xdist_group(n)) for n in library.neurons() for p in PAIRS],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_library_neuron(name: str, pair: tuple[str, str]) -> None:
    try:
        a, b = (recorded(backend, name) for backend in pair)
    except UnsupportedError as error:
        assert error.backend in REFUSED, error  # the others hold the whole library
        pytest.skip(str(error))
    report = compare(a, b, names=pair, max_pairs=0)
    if name not in SILENT:
        report.require_spikes(100)
    assert report.identical_spikes and report.agrees(1e-9), localise(report)


@pytest.mark.parametrize("backend", [b for b in backends.names() if b != "reference"])
@pytest.mark.parametrize("name", library.synapses())
def test_library_synapse(name: str, backend: str) -> None:
    """One driven cell and its target: both fire alike, and what reaches the target has the same numbers."""
    network = two_populations(name)
    record = [f"{p.name}.{variable}" for p in network.populations for variable in p.neuron.scope.states]
    current = np.full((1, 1000, 1), 1.5 * quantity(DRIVES["lif"].amplitude).value)
    a, b = (compiled(of, network).run(inputs={"current": current}, record=record) for of in ("reference", backend))
    report = compare(a, b, names=("reference", backend), max_pairs=0)
    assert report.identical_spikes and report.agrees(1e-9), localise(report)
    assert a.spikes["pre"].sum() > 5 and np.ptp(a.traces["post.v"]) > 1e-5


@pytest.mark.xdist_group("mixed")
def test_mixed_network_until_divergence() -> None:
    """100 cells of four kinds, conductance synapses, heterogeneous delays, refractoriness, noise: 100 ms."""
    network = mixed_network()
    found = {
        name: backends.get(name).compile(network).run(steps=1000, record=["excitatory.v", "inhibitory.v"])
        for name in ("reference", "brian2", "torch")
    }
    for name in ("brian2", "torch"):
        report = compare(found["reference"], found[name], names=("reference", name), max_pairs=0)
        report.require_spikes(100)
        assert report.identical_spikes and report.agrees(1e-9), localise(report)


# -- defects that must be caught ---------------------------------------------------------------------------------


def _against(good: Network, bad: Network, steps: int = 300) -> Comparison:
    """The right network in the reference against a wrong one in torch."""
    inputs = drive(good, steps=steps)
    record = ["cells.v"]
    a = backends.get("reference").compile(good).run(inputs=inputs, record=record)
    b = backends.get("torch").compile(bad, dtype="float64").run(inputs=inputs, record=record)
    return compare(a, b, names=("right", "wrong"), max_pairs=0).require_spikes(100)


def _with_neuron(network: Network, **changes: object) -> Network:
    cells = network.populations[0]
    return replace(network, populations=(replace(cells, neuron=replace(cells.neuron, **changes)),))  # type: ignore[arg-type]


GOOD = networks()["feed-forward"]
LATE = replace(GOOD, projections=(replace(GOOD.projections[0], delay=quantity("1 ms")),))
DEFECTS = {
    "wrong reset": (GOOD, _with_neuron(GOOD, reset="v -= v_th - E_L"), "cells[cells]"),
    "inclusive threshold": (tie(">"), tie(">="), "cells[cells]"),
    "euler for exact": (GOOD, _with_neuron(GOOD, method="euler"), "cells[cells]"),
    "delay off by one": (GOOD, LATE, "delays[feed]"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_planted_defect_is_caught_and_localised(defect: str) -> None:
    good, bad, field = DEFECTS[defect]
    assert _against(good, good).agrees(1e-9), "the control differs too"
    report = _against(good, bad)
    assert not report.agrees(1e-9)
    assert "cells" in localise(report) and "step" in localise(report)
    assert field in semantics(good).differences(semantics(bad))


def test_first_divergence_of_a_late_spike_is_its_step() -> None:
    """A delay of one step too many shows in the first step after the first input spike."""
    inputs = drive(GOOD, steps=300)
    first = int(np.flatnonzero(inputs["x"].any(axis=(0, 2)))[0])
    report = _against(GOOD, LATE)
    steps = [v.first.step for v in report.variables if v.first is not None]
    assert steps == [first + 1]


def test_projection_of_events_into_state_and_input_differ_by_one_step() -> None:
    """A delta synapse acts in the step of arrival, a pulse in the integration of the next."""
    delta = Projection("feed", "x", "cells", DELTA, "5 mV")
    network = replace(GOOD, projections=(delta,))
    spikes = np.zeros((1, 5, 7), bool)
    spikes[0, 1, 0] = True
    v = backends.get("reference").compile(network).run(inputs={"x": spikes}, record=["cells.v"]).traces["cells.v"]
    np.testing.assert_allclose(v[0, :3, 0], [-0.07, -0.065, -0.07 + 0.005 * np.exp(-0.1)], rtol=1e-12)
