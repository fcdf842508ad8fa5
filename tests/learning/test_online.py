"""e-prop and RFLO as synapse text: the same weights on every backend, and the gradient of the offline rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, UnsupportedError, quantity
from neuro.compiler.parameters import values
from neuro.learning.traces.eligibility import by_traces
from neuro.learning.traces.online import attach
from neuro.learning.traces.trial import run_trial
from neuro.protocols import Batch
from tasks.adaptive_cells import cell, network
from tasks.rate_networks import rate_network
from tests.backends.able import able
from tests.learning.test_eligibility import spiking

STEPS = 150
LEARN = ("feed", "loop", "readout")


def adaptive(**options: Any) -> Network:
    cells = cell(dt=1e-3, tau_m=0.02, v_th=0.6, normalised=False, **options)
    return network("adaptive", 8, cells, np.full(12, 0.07), 3, 0.02, dt=1e-3, seed=0)


def rates() -> Network:
    return rate_network("rates", 2, 12, 2, seed=0, tau=quantity("10 ms"), dt=quantity("1 ms"), start=0.1)


CASES = {"e-prop, adaptive threshold": (adaptive, "output.y", 3), "RFLO, rate units": (rates, "output.x", 2)}


def inputs(name: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    if "RFLO" in name:
        return {"x": random.normal(size=(2, STEPS, 2))}
    return {"x": random.random((2, STEPS, 8)) < 0.3}


def start(model: Network) -> dict[str, np.ndarray]:
    return {n: v * (3 if n == "feed.w" else 1) for n, v in values(model).items() if n.removesuffix(".w") in LEARN}


@pytest.mark.parametrize("name", CASES)
def test_weights_agree_on_every_backend_along_a_trial(name: str) -> None:
    model, shown, outputs = CASES[name][0](), CASES[name][1], CASES[name][2]
    feedback = np.random.default_rng(3).normal(size=(12, outputs))
    online = attach(model, LEARN, "output", eta=1e-2, feedback=feedback)
    given = {**inputs(name), "target": np.random.default_rng(1).normal(size=(2, STEPS, outputs))}
    programs = [backends.get(b).compile(online) for b in able("plasticity")]
    for steps in (30, 75, STEPS):
        part = {n: v[:, :steps] for n, v in given.items()}
        found = [p.run(start(model), part, [shown]) for p in programs]
        if found[0].spikes:
            assert found[0].spike_count() > (100 if steps == STEPS else 20)
        for weights, before in start(model).items():
            expected = found[0].final[weights]
            assert np.abs(expected - before).max() > 1e-3 * np.abs(before).max()
            for other in found[1:]:
                assert np.abs(other.final[weights] - expected).max() < 1e-6 * np.abs(expected).max()


class Squared:
    """Half the squared error of all steps but the last, whose error no step sees."""

    output = "output"

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def record(self) -> tuple[str, ...]:
        return (self.variable,)

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        error = traces[self.variable] - torch.as_tensor(batch.targets)
        return 0.5 * (error[:, : None if self.variable.endswith("x") else -1] ** 2).sum()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("symmetric", [True, False])
def test_small_steps_add_up_to_the_offline_gradient(name: str, symmetric: bool) -> None:
    make, shown, outputs = CASES[name]
    model, eta = make(), 1e-9
    feedback = None if symmetric else np.random.default_rng(3).normal(size=(12, outputs))
    target = np.random.default_rng(1).normal(size=(2, STEPS, outputs))
    online = backends.get("reference").compile(attach(model, LEARN, "output", eta=eta, feedback=feedback))
    found = online.run(start(model), {**inputs(name), "target": target})
    program = backends.get("torch").compile(model, surrogate="triangle")
    now = {**values(model), **start(model)}
    trial = run_trial(
        program, now, Batch(inputs(name), target), Squared(shown), {} if symmetric else {"readout": feedback}
    )
    expected = by_traces(trial, LEARN)
    for weights, before in start(model).items():
        change = (found.final[weights] - before).sum(axis=0) / -eta  # two trials
        assert np.abs(change - expected[weights]).max() < 1e-5 * np.abs(expected[weights]).max()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: adaptive(refractory=3), "a refractory period"),
        (lambda: spiking("lif"), "'v' has a dimension"),
    ],
)
def test_what_does_not_fit_is_named(model: Any, message: str) -> None:
    found = model()
    with pytest.raises(UnsupportedError, match=message):
        attach(found, ["feed", "loop"], "output" if found.name == "adaptive" else "out", eta=1.0)


@pytest.mark.parametrize("reset", ["v = 0.3*v", "v = 0.1", "v -= 0.4\na = 0.5*a + 0.1"])
def test_resets_of_every_kind_take_the_traces_along(reset: str) -> None:
    cells = Neuron(
        "cells", "dv/dt = (I - v)/(10*ms) : 1\nda/dt = -a/(40*ms) : 1\nI : 1", "v > 0.4 + a", reset, method="exact"
    )
    out = Neuron("out", "dy/dt = (I - y)/(20*ms) : 1\nI : 1", method="exact")
    pulse, random = Synapse("pulse", "w : 1", "I_post += w"), np.random.default_rng(0)
    model = Network(
        (Population("hidden", cells, 5), Population("out", out, 2)),
        (
            Projection("feed", "x", "hidden", pulse, quantity(random.uniform(0.5, 2.5, (6, 5)), "")),
            Projection("readout", "hidden", "out", pulse, quantity(random.normal(size=(5, 2)), "")),
        ),
        (Input("x", 6),), dt="1 ms",
    )  # fmt: skip
    x, target, eta = random.random((1, STEPS, 6)) < 0.2, random.normal(size=(1, STEPS, 2)), 1e-9
    found = (
        backends.get("reference")
        .compile(attach(model, ["feed"], "out", eta=eta))
        .run(inputs={"x": x, "target": target})
    )
    assert found.spike_count() > 100
    program, task = backends.get("torch").compile(model, surrogate="triangle"), Squared("out.y")
    task.output = "out"
    expected = by_traces(run_trial(program, values(model), Batch({"x": x}, target), task, {}), ["feed"])["feed.w"]
    change = (found.final["feed.w"][0] - values(model)["feed.w"]) / -eta
    assert np.abs(change - expected).max() < 1e-5 * np.abs(expected).max()
