"""Operation counts of small networks, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import backends
from neuro import (
    AllToAll,
    Input,
    Network,
    Neuron,
    OneToOne,
    Pairs,
    Population,
    Projection,
    Recording,
    Synapse,
    library,
    quantity,
)  # fmt: skip
from neuro.analysis.energy import Costs, EnergyError, Operations, Widths, measure, needed, operations_an_update
from neuro.compiler.lowering import lower

LIF, PULSE = library.get("lif"), library.get("pulse")
GRADED = Synapse("graded", "w : 1", transmits="w*x_pre", target="z")
RATE = Neuron("rate", "dx/dt = (-x + z)/tau : 1\nz : 1", parameters={"tau": "10 ms"}, initial={"x": 0.5})


def amps(rows: object) -> object:
    return quantity(np.array(rows, float), "nA")


def network(*projections: Projection, size: int = 3, channels: int = 3) -> Network:
    return Network((Population("cells", LIF, size),), projections, (Input("x", channels),), dt="1 ms")


def silent(samples: int, steps: int, size: int = 3) -> Recording:
    return Recording(1e-3, {"cells": np.zeros((samples, steps, size), bool)})


def test_four_of_nine() -> None:
    """NeuroBench's example: two of three activations, two of three weights each."""
    feed = Projection("feed", "x", "cells", PULSE, amps([[1, 0, 2], [0, -1, 1], [1, 1, 1]]))
    found = measure(network(feed), silent(1, 1), {"x": np.array([[[1, 1, 0]]], bool)})
    assert found.projections["feed"] == Operations(dense=9, macs=0, acs=4, pairs=9, synapses=7)
    assert found.joules == 4 * 0.9e-12
    assert found.dense_joules == 9 * 4.6e-12
    assert found.summary()["connection sparsity"] == pytest.approx(2 / 9)


def test_a_spike_that_arrives_after_the_end_costs_nothing() -> None:
    """Spikes in steps 0, 1, 3 of 4; delays of 0, 1 and 2 steps, one per synapse."""
    delays = quantity(np.array([[0, 1, 2]]), "ms")
    feed = Projection("feed", "x", "cells", PULSE, amps([[1, 1, 1]]), delay=delays)
    spikes = np.array([[[1], [1], [0], [1]]], bool)
    found = measure(network(feed, channels=1), silent(1, 4), {"x": spikes})
    assert found.projections["feed"].acs == 3 + 2 + 2
    late = measure(network(replace(feed, delay=quantity("9 ms")), channels=1), silent(1, 4), {"x": spikes})
    assert late.projections["feed"].acs == 0


def test_sparse_and_recurrent_connections() -> None:
    """Two input synapses of cell pairs; a recurrent matrix without self-connections, of which one weight is 0."""
    sparse = Projection("feed", "x", "cells", PULSE, amps([1, 2, 0]), Pairs(np.array([0, 0, 2]), np.array([1, 2, 0])))
    loop = Projection("loop", "cells", "cells", PULSE, amps([[5, 1, 1], [1, 5, 0], [1, 1, 5]]), AllToAll(False))
    inputs = {"x": np.array([[[1, 0, 1], [1, 1, 1]], [[0, 0, 0], [0, 0, 1]]], bool)}
    raster = np.array([[[0, 1, 1], [0, 0, 0]], [[1, 1, 1], [0, 1, 0]]], bool)
    found = measure(network(sparse, loop), Recording(1e-3, {"cells": raster}), inputs)
    assert found.projections["feed"] == Operations(dense=4 * 9, macs=0, acs=4, pairs=9, synapses=2)
    assert found.projections["loop"] == Operations(
        dense=4 * 9, macs=0, acs=(1 + 2) + (2 + 1 + 2) + 1, pairs=9, synapses=5
    )
    assert (found.max_active, found.mean_active) == (3, 6 / 4)
    summary = found.summary()
    assert summary["spikes a sample"] == 3
    assert summary["spikes a second"] == pytest.approx(6 / 4e-3)
    assert summary["mean rate (Hz)"] == pytest.approx(6 / 3 / 4e-3)
    assert summary["activation sparsity"] == pytest.approx(6 / 12)
    assert summary["connection sparsity"] == pytest.approx(11 / 18)


def test_graded_values_are_multiplied_and_zeros_are_skipped() -> None:
    """What is sent in a step is the state before it: 0.5 at the start."""
    pair = Projection("pair", "a", "b", GRADED, quantity(np.array([[1.0, 2.0], [0.0, 3.0]]), "1"))
    wires = Projection("wires", "b", "b", GRADED, 1.0, OneToOne())
    net = Network((Population("a", RATE, 2), Population("b", RATE, 2)), (pair, wires), dt="1 ms")
    assert needed(net) == ("a.x", "b.x")
    traces = {"a.x": np.array([[[0.0, 1.5], [2.0, 0.0], [9.0, 9.0]]]), "b.x": np.array([[[1.0, 0.0]] * 3])}
    found = measure(net, Recording(1e-3, {}, traces), {})
    assert found.projections["pair"] == Operations(dense=12, macs=(2 + 1) + 1 + 2, acs=0, pairs=4, synapses=3)
    assert found.projections["wires"].macs == 2 + 1 + 1
    assert found.populations["a"].zeros == 2
    assert found.joules == pytest.approx(10 * 4.6e-12)
    binary = {"a.x": np.ones((1, 3, 2)), "b.x": traces["b.x"]}
    ones = measure(replace(net, populations=tuple(replace(p, initial={"x": 1}) for p in net.populations)),
                   Recording(1e-3, {}, binary), {})  # fmt: skip
    assert (ones.projections["pair"].acs, ones.projections["pair"].macs) == (9, 0)


def test_a_gap_junction_is_an_operation_in_every_step() -> None:
    gap = Synapse("gap", "w : 1", transmits="w*(x_pre - x_post)", target="z")
    weights = quantity(np.array([[0.0, 2.0], [2.0, 0.0]]), "1")
    net = Network((Population("a", RATE, 2),), (Projection("gap", "a", "a", gap, weights),), dt="1 ms")
    found = measure(net, Recording(1e-3, {}, {"a.x": np.zeros((1, 5, 2))}), {})
    assert (found.projections["gap"].macs, found.projections["gap"].acs) == (10, 0)
    assert "spikes" not in found.to_data()["populations"]["a"]


def test_operations_of_an_update() -> None:
    """A leaky integrator: two products, two sums. A synaptic current: its product, sum and decay more."""
    lif, cuba = (lower(Network((Population("p", library.get(n), 1),))) for n in ("lif", "cuba_lif"))
    assert operations_an_update(lif, lif.population("p")) == 4
    assert operations_an_update(cuba, cuba.population("p")) == 4 + 2 + 1


def test_updates_parameters_and_bytes() -> None:
    feed = Projection("feed", "x", "cells", PULSE, amps(np.ones((3, 3))))
    found = measure(network(feed), silent(2, 5), {"x": np.zeros((2, 5, 3), bool)}, widths=Widths(4, 16, 8))
    assert (found.updates, found.neuron_operations) == (30, 120)
    cell = len(LIF.parameters)
    assert found.parameters == 9 + cell
    assert found.footprint == {"weights": 9 * 4 / 8, "parameters": cell, "states": 3 * 16 / 8}


def test_energy_is_linear_in_the_spikes_and_in_the_costs() -> None:
    """The rate is in the counts; nothing multiplies by it a second time."""
    feed = Projection("feed", "x", "cells", PULSE, amps(np.ones((3, 3))))
    once, twice = np.zeros((1, 8, 3), bool), np.zeros((1, 8, 3), bool)
    once[0, :2], twice[0, :4] = True, True
    a, b = (measure(network(feed), silent(1, 8), {"x": x}, costs=Costs(mac=5.0, ac=2.0)) for x in (once, twice))
    assert (a.joules, b.joules) == (2.0 * 18, 2.0 * 36)


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_counts_of_a_run_agree_with_a_loop(backend: str) -> None:
    rng = np.random.default_rng(0)
    feed = Projection("feed", "x", "cells", PULSE, amps(np.round(rng.normal(2, 3, (4, 5)))), delay="1 ms")
    loop = Projection("loop", "cells", "cells", PULSE, amps(np.round(rng.normal(0, 3, (5, 5)))), delay="2 ms")
    net, inputs = network(feed, loop, size=5, channels=4), {"x": rng.random((3, 40, 4)) < 0.5}
    recording = backends.get(backend).compile(net).run(inputs=inputs)
    found = measure(net, recording, inputs)
    assert recording.spike_count() > 50
    for projection, spikes, delay in ((feed, inputs["x"], 1), (loop, recording.spikes["cells"], 2)):
        weights = np.asarray(projection.weights.value)
        count = sum(
            weights[i, j] != 0
            for trial in spikes
            for step in trial[: 40 - delay]
            for i in np.flatnonzero(step)
            for j in range(5)
        )
        assert found.projections[projection.name].acs == count > 100


def test_what_is_missing_is_named() -> None:
    feed = Projection("feed", "x", "cells", PULSE, amps(np.ones((3, 3))))
    with pytest.raises(EnergyError, match="input 'x'"):
        measure(network(feed), silent(1, 4), {})
    pair = Projection("pair", "a", "a", GRADED, quantity(np.ones((2, 2)), "1"))
    net = Network((Population("a", RATE, 2),), (pair,), dt="1 ms")
    with pytest.raises(EnergyError, match=r"trace 'a\.x' is missing"):
        measure(net, Recording(1e-3, {"a": np.zeros((1, 2, 2), bool)}), {})
    with pytest.raises(EnergyError, match="every=1"):
        measure(net, Recording(1e-3, {}, {"a.x": np.zeros((1, 2, 2))}, every=2), {})
