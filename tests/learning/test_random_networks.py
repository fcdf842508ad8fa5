"""RTRL is BPTT, and e-prop is the detached graph, on random networks; what has no traces is refused by name, before the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Pairs, Population, Projection, Synapse, UnsupportedError, learning, quantity
from neuro.compiler.parameters import values
from neuro.learning.traces.eligibility import by_adjoint, by_traces
from neuro.learning.traces.influence import by_influence
from neuro.learning.traces.trial import run_trial
from neuro.protocols import Batch
from tests.learning.random_networks import Loss, Sample, sample

EXACT = 1e-8
QUICK, MANY, CHUNK = 24, 144, 12


def program_of(found: Sample, seed: int) -> Any:
    surrogate = ("fast_sigmoid", "triangle")[seed // 2 % 2]
    return backends.get("torch").compile(found.network, detach_reset=bool(seed % 2), surrogate=surrogate)


def differences(found: Mapping[str, Any], truth: Mapping[str, Any], bound: float = EXACT) -> dict[str, float]:
    """Parameters whose gradients differ by more than `bound` of the largest entry."""
    assert set(found) == set(truth)
    floor = 1e-9 * max(np.abs(t).max() for t in truth.values())
    worst = {n: float(np.abs(found[n] - t).max() / max(np.abs(t).max(), floor, 1e-300)) for n, t in truth.items()}
    return {n: e for n, e in worst.items() if not e <= bound}


@pytest.mark.parametrize(
    "first", [f if f < QUICK else pytest.param(f, marks=pytest.mark.slow) for f in range(0, MANY, CHUNK)]
)
def test_rules_are_exact_wherever_they_accept_a_network(first: int) -> None:
    accepted, alive, spikes = 0, 0, 0
    for seed in range(first, first + CHUNK):
        found = sample(seed)
        program, start, rule = program_of(found, seed), values(found.network), learning.get("rtrl")
        if found.spoiled:
            with pytest.raises(UnsupportedError, match=rf"projection '({'|'.join(found.spoiled)})'"):
                rule.check_network(found.network, found.task.output)
            continue
        rule.check_network(found.network, found.task.output)
        truth = learning.get("bptt").gradient(program, start, found.batch, found.task)
        assert not differences(rule.gradient(program, start, found.batch, found.task), truth), seed
        detach = learning.get("eprop", detach_reset=None)
        detached = detach.gradient(program, start, found.batch, found.task)
        trial = run_trial(program, start, found.batch, found.task, {})
        trained = [n.removesuffix(".w") for n in detached]
        assert not differences(by_adjoint(trial, trained), detached), seed
        assert not differences(by_traces(trial, trained), detached), seed
        accepted, spikes = accepted + 1, spikes + trial.recording.spike_count()
        alive += any(np.abs(g).max() > 0 for g in truth.values())
    assert accepted >= 0.75 * CHUNK
    assert alive >= 0.9 * accepted and spikes > 100


def test_the_networks_hold_every_kind_of_thing() -> None:
    kinds: Counter[str] = sum((sample(seed).kinds for seed in range(QUICK)), Counter[str]())
    rare = {n: c for n, c in kinds.items() if c < 2}
    assert not rare and len(kinds) > 40


def graded_loop() -> Network:
    """Spikes drive graded spiking cells that drive each other, as Morris-Lecar cells do."""
    random = np.random.default_rng(0)
    cells = Neuron("cell", "dv/dt = (I - v)/(10*ms) : 1\nI : 1", threshold="v > 0.5", reset="v = 0")
    out = Neuron("out", "dy/dt = (I - y)/(20*ms) : 1\nI : 1", method="exact")
    feed = Synapse("feed", "w : 1", on_pre="I_post += w")
    graded = Synapse("graded", "w : 1", transmits="w*tanh(v_pre)", target="I")
    return Network(
        (Population("h", cells, 4), Population("out", out, 2)),
        (
            Projection("feed", "x", "h", feed, quantity(random.normal(1.5, 1.5, (5, 4)), "")),
            Projection("loop", "h", "h", graded, quantity(random.normal(0, 0.5, (4, 4)), "")),
            Projection("read", "h", "out", graded, quantity(random.normal(0, 0.5, (4, 2)), "")),
        ),
        (Input("x", 5),), dt="0.5 ms",
    )  # fmt: skip


def test_spiking_cells_with_graded_synapses() -> None:
    network, task = graded_loop(), Loss("out", ("out.y",), 0)
    batch = Batch({"x": np.random.default_rng(1).random((2, 30, 5)) < 0.2}, np.zeros(2))
    program = backends.get("torch").compile(network)
    assert program.run(inputs=batch.inputs).spike_count() > 10
    truth = learning.get("bptt").gradient(program, values(network), batch, task)
    assert not differences(learning.get("rtrl").gradient(program, values(network), batch, task), truth)
    draws = [learning.get("uoro").gradient(program, values(network), batch, task, d)["loop.w"] for d in range(200)]
    mean, true = np.mean(draws, axis=0), truth["loop.w"]
    assert np.sum(mean * true) / np.sum(true**2) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("options", "output", "culprit"),
    [
        ({"trainable": ("*.w", "h.tau")}, "out", "'h.tau'"),
        ({}, "nobody", "output 'nobody'"),
    ],
)
def test_refusals_name_parameters_and_outputs(options: dict[str, Any], output: str, culprit: str) -> None:
    network = graded_loop()
    cells = network.population("h")
    neuron = replace(cells.neuron, equations="dv/dt = (I - v)/tau : 1\nI : 1", parameters={"tau": quantity("10 ms")})
    network = replace(network, populations=(replace(cells, neuron=neuron), network.population("out")))
    with pytest.raises(UnsupportedError, match=f"{culprit} for rule 'rtrl'"):
        learning.get("rtrl", **options).check_network(network, output)


def test_uoro_refuses_what_is_felt_within_the_step() -> None:
    network = graded_loop()
    algebraic = Population("h", Neuron("cell", "v = tanh(I) : 1\nI : 1"), 4)
    chain = Population("h2", algebraic.neuron, 4)
    feed, _, read = network.projections
    link = replace(read, name="link", post="h2", weights=quantity(np.ones((4, 4)), ""))
    found = replace(
        network,
        populations=(algebraic, chain, network.population("out")),
        projections=(feed, link, replace(read, pre="h2")),
    )
    learning.get("rtrl").check_network(found, "out")
    with pytest.raises(UnsupportedError, match="projection 'link' for rule 'uoro'"):
        learning.get("uoro").check_network(found, "out")


def test_poisson_inputs_must_come_with_the_batch() -> None:
    network = replace(graded_loop(), inputs=(Input("x", 5, "poisson", rate=quantity("100 Hz")),))
    program = backends.get("torch").compile(network)
    with pytest.raises(UnsupportedError, match=r"input 'x' for rule 'rtrl'.*Batch\(\{'x'"):
        learning.get("rtrl").gradient(program, values(network), Batch({}, np.zeros(2)), Loss("out", ("out.y",), 0))


class Reading(Loss):
    """The readout alone, none of the spikes."""

    def __init__(self) -> None:
        super().__init__("out", ("out.y",), 0)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        return super().loss({}, traces, batch)


@pytest.mark.parametrize("far", range(4))
def test_truncated_influence_reaches_as_many_cells_as_it_says(far: int) -> None:
    """Along a chain of cells, SnAp-n and n - 1 hops give the true gradient up to n - 1 cells away, and nothing beyond."""
    cells = Neuron("cell", "dv/dt = (I - v)/(10*ms) : 1\nI : 1", threshold="v > 0.5", reset="v = 0")
    feed, pulse = (Synapse(n, "w : 1", on_pre="I_post += w") for n in ("feed", "pulse"))
    one, chain = quantity(np.array([9.0]), ""), Pairs([0, 1, 2], [1, 2, 3])
    network = Network(
        (Population("h", cells, 4), Population("out", Neuron("out", "dy/dt = (I - y)/(20*ms) : 1\nI : 1"), 1)),
        (
            Projection("feed", "x", "h", feed, one, Pairs([0], [0])),
            Projection("chain", "h", "h", pulse, quantity(np.full(3, 9.0), ""), chain),
            Projection("read", "h", "out", pulse, one, Pairs([far], [0])),
        ),
        (Input("x", 1),), dt="1 ms",
    )  # fmt: skip
    batch, task = Batch({"x": np.random.default_rng(0).random((1, 60, 1)) < 0.5}, np.zeros(1)), Reading()
    program = backends.get("torch").compile(network)
    rule = learning.get("bptt", trainable=("feed.w",))
    truth = rule.gradient(program, values(network), batch, task)["feed.w"][0]
    trial = run_trial(program, values(network), batch, task, {})
    assert trial.recording.spike_count() > 20 and abs(truth) > 0
    for n in range(1, 5):
        for found in (by_influence(trial, ["feed"], snap=n), by_influence(trial, ["feed"], hops=n - 1)):
            assert found["feed.w"][0] == pytest.approx(truth if far < n else 0.0, rel=EXACT)
    stronger = by_influence(trial, ["feed"], hops=3, hop_weights={"chain": 2 * values(network)["chain.w"]})
    assert stronger["feed.w"][0] == pytest.approx(2**far * truth, rel=EXACT)


def test_modprop_takes_the_mean_slope_on_the_way_from_cell_to_cell() -> None:
    """Two cells in a row, by hand: M1' = a M1 + mean(dv'/dI) w M0, whose own cell M0' = a M0 + (dv'/dI) x is exact."""
    cells = Neuron("cell", "dv/dt = (tanh(I) - v)/(10*ms) : 1\nI : 1")
    feed, graded = Synapse("feed", "w : 1", "I_post += w"), Synapse("graded", "w : 1", transmits="w*v_pre", target="I")
    network = Network(
        (Population("h", cells, 2), Population("out", cells, 1)),
        (
            Projection("feed", "x", "h", feed, quantity(np.array([1.5]), ""), Pairs([0], [0])),
            Projection("chain", "h", "h", graded, quantity(np.array([4.0]), ""), Pairs([0], [1])),
            Projection("read", "h", "out", graded, "1"),
        ),
        (Input("x", 1),), dt="1 ms",
    )  # fmt: skip
    x = np.random.default_rng(0).random((1, 40, 1)) < 0.5

    class Last:
        output = "out"

        def record(self) -> tuple[str, ...]:
            return ("h.v", "h.I")

        def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
            return traces["h.v"][..., 1].sum()

    program = backends.get("reference").compile(network)
    currents = program.run(inputs={"x": x}, record=["h.I"]).traces["h.I"][0]
    by_current = 0.1 * (1 - np.tanh(currents) ** 2)
    own = other = total = 0.0
    for k in range(40):
        arrived = float(x[0, k - 1, 0]) if k else 0.0
        own, other = 0.9 * own + by_current[k, 0] * arrived, 0.9 * other + by_current.mean() * 4.0 * own
        total += other
    trial = run_trial(program, values(network), Batch({"x": x}, np.zeros(1)), Last(), {})
    assert by_influence(trial, ["feed"], smooth=True)["feed.w"][0] == pytest.approx(total, rel=EXACT)
    assert by_influence(trial, ["feed"])["feed.w"][0] != pytest.approx(total, rel=0.1)
