"""What every rule must do, over the registry: learn a tiny task, give the same numbers again, resume, refuse by name."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import backends
import tasks
from neuro import (
    Input,
    Network,
    Normal,
    Population,
    Projection,
    Recording,
    UnsupportedError,
    learning,
    library,
    quantity,
)
from neuro.compiler.parameters import values
from neuro.learning.common.summed_inputs import silent
from neuro.learning.gradient.bptt import BPTT
from neuro.learning.gradient.gradient_rule import GradientRule, RuleError
from neuro.learning.phases.energy import symmetric_part
from neuro.protocols import Batch, Capabilities, Settings
from tasks.quantised_networks import perceptron
from tasks.relaxing_networks import held, relaxing_network, settled_error
from tests.backends.able import able


class Tiny:
    """Six spike inputs drive three leaky integrators to given mean potentials."""

    name, version, output, settings = "tiny", 1, "cells", Settings()

    def network(self, seed: int) -> Network:
        weights = Normal(quantity("0 nA"), quantity("0.5 nA"))
        cells = Population("cells", library.get("leaky_integrator"), 3)
        feed = Projection("feed", "x", "cells", library.get("pulse"), weights)
        return Network((cells,), (feed,), (Input("x", 6),), dt="1 ms", seed=seed)

    def batch(self) -> Batch:
        spikes = np.random.default_rng(3).random((2, 12, 6)) < 0.3
        return Batch({"x": spikes}, np.array([[0.01, -0.02, 0.03]]))

    def train_batches(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        return [self.batch()]

    def test_batch(self) -> Batch:
        return self.batch()

    def record(self) -> Sequence[str]:
        return ("cells.v",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        v = traces["cells.v"]
        return ((v.mean(dim=1) - torch.as_tensor(batch.targets, dtype=v.dtype)) ** 2).mean() * 1e4

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float(-((recording.traces["cells.v"].mean(axis=1) - batch.targets) ** 2).mean())


class TinyRecurrent(Tiny):
    """The same targets, through eight recurrent LIF cells."""

    def network(self, seed: int) -> Network:
        lif, pulse = library.get("lif"), library.get("pulse")

        def weights(std: float) -> Normal:
            return Normal(quantity("0.5 nA"), quantity(std, "nA"))

        return Network(
            (Population("hidden", lif, 8), Population("cells", library.get("leaky_integrator"), 3)),
            (
                Projection("feed", "x", "hidden", pulse, weights(3.0)),
                Projection("loop", "hidden", "hidden", pulse, weights(1.0)),
                Projection("out", "hidden", "cells", pulse, weights(0.5)),
            ),
            (Input("x", 6),),
            dt="1 ms",
            seed=seed,
        )


class TinyRelaxing(Tiny):
    """Three held inputs, four hidden units and two outputs that relax; the targets are activities."""

    def network(self, seed: int) -> Network:
        stds = {"feed": 1.0, "loop": 0.5, "up": 1.0, "down": 1.0}
        return symmetric_part(relaxing_network("tiny", 3, 4, 2, seed=seed, stds=stds))

    output = "output"

    def batch(self) -> Batch:
        return held(np.eye(3)[:2], np.array([[0.2, 0.7], [0.8, 0.4]]), 60)

    def record(self) -> Sequence[str]:
        return ("output.V",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        return settled_error(traces, batch.targets)


class TinyStructure(Tiny):
    """Three held inputs; eight tanh units, two of them without weights; the targets are two outputs."""

    def network(self, seed: int) -> Network:
        return tasks.get("grouped-letters", hidden=8, start=6).network(seed)

    def batch(self) -> Batch:
        return Batch({"letters_in": np.eye(4)[np.arange(12) % 4][None]}, np.array([[0.2, 0.7, -0.3, 0.1]]))

    output = "output"

    def record(self) -> Sequence[str]:
        return ("output.y",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        y = traces["output.y"]
        return ((y.mean(dim=1) - torch.as_tensor(batch.targets, dtype=y.dtype)) ** 2).mean()


class TinyPerceptron(Tiny):
    """Six numbers, eight units that send their sign, three sums, all normalised over a batch of four; the targets are the sums' values."""

    def network(self, seed: int) -> Network:
        return perceptron("tiny", (6, 8, 3), 1, 1.0, seed)

    def batch(self) -> Batch:
        random = np.random.default_rng(3)
        return Batch({"pixels": random.normal(size=(4, 1, 6))}, random.normal(size=(4, 3)))

    output = "output"

    def record(self) -> Sequence[str]:
        return ("output.u",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        u = traces["output.u"]
        return ((u[:, 0] - torch.as_tensor(batch.targets, dtype=u.dtype)) ** 2).mean()


# How each rule is asked to learn the tiny task; a rule that isn't here is a failure. updates: how many it gets.
OPTIONS: dict[str, dict[str, Any]] = {
    "bptt": {"options": {"learning_rate": 0.05}},
    "eprop": {"options": {"learning_rate": 0.05}, "task": TinyRecurrent},
    "rflo": {"options": {"learning_rate": 5e-3}, "task": TinyRecurrent},
    "snap1": {"options": {"learning_rate": 0.05}, "task": TinyRecurrent},
    "rtrl": {"options": {"learning_rate": 0.05}, "task": TinyRecurrent},
    "uoro": {"options": {"learning_rate": 0.02}, "task": TinyRecurrent},
    "es": {"options": {"learning_rate": 0.05}},
    "pgpe": {"options": {"learning_rate": 0.05}},
    "snes": {"options": {}},
    "sep-cma": {"options": {}},
    "cma": {"options": {"sigma": 0.2}},
    "spsa": {"options": {"learning_rate": 0.3, "samples": 4, "sigma": 0.01}},
    "wp": {"options": {"learning_rate": 0.05, "sigma": 1e-3}},
    "np": {"options": {"learning_rate": 0.05, "sigma": 1e-3}},
    "wp0": {"options": {"learning_rate": 0.05, "sigma": 1e-3}},
    "hybrid": {"options": {"learning_rate": 0.01, "sigma": 1e-3}},
    "finite-differences": {"options": {"learning_rate": 0.05, "sigma": 1e-3}},
    "contrastive": {"options": {"learning_rate": 0.05, "persistent": True}, "task": TinyRelaxing},
    "differentiable-structure": {
        "options": {"learning_rate": 0.05, "clip": 0.05, "trainable": ("*.w", "*.b")},
        "task": TinyStructure,
    },
    "layerwise": {
        "options": {"learning_rate": 0.05, "trainable": ("*.w", "*.gamma", "*.beta"), "stochastic": "noise"},
        "task": TinyPerceptron,
    },
}
ELIGIBILITY = tuple(n for n in OPTIONS if "task" in OPTIONS[n])  # need no capability but state: they read recordings
ELSEWHERE = {
    "actor-critic",
    "flossing",
    "reward-eprop",
    "stdp",
    "stdp-nearest",
    "triplet-stdp",
    "inhibitory-stdp",
    "reward-stdp",
    "scaling",
    "oja",
    "bcm",
}  # tests of their own
each_rule = pytest.mark.parametrize("name", OPTIONS)


def rule_of(name: str) -> Any:
    if name == "cma":
        pytest.importorskip("cma")
    return learning.get(name, **OPTIONS[name]["options"])


def trained(name: str, updates: int, backend: str = "torch", stop: int | None = None) -> tuple[list[float], Any, Any]:
    """Losses, parameters and saved state after some updates; through a file and a fresh rule at `stop`."""
    task = OPTIONS[name].get("task", Tiny)()
    rule = rule_of(name)
    network = rule.attach(task.network(0)) if hasattr(rule, "attach") else task.network(0)
    options = {"surrogate": "triangle"} if backend in able("gradients") else {}  # what eligibility rules take elsewhere
    program = backends.get(backend).compile(network, **options)
    state, parameters = rule.init(program), dict(values(program.network))
    found = []
    for i in range(updates):
        if i == stop:
            file = io.BytesIO()
            np.savez(file, **rule.save(state))
            file.seek(0)
            rule = rule_of(name)
            state = rule.load(program, dict(np.load(file, allow_pickle=False)))
        parameters, state, metrics = rule.step(program, parameters, state, task.batch(), task)
        found.append(float(metrics["loss"]))
    return found, parameters, rule.save(state)


def test_every_rule_is_tested() -> None:
    assert set(OPTIONS) | ELSEWHERE == set(learning.names())


@each_rule
def test_the_loss_falls(name: str) -> None:
    found, _, _ = trained(name, 40)
    assert np.mean(found[-5:]) < 0.5 * np.mean(found[:3])


@each_rule
def test_same_seed_same_numbers_and_resumable_to_the_same_numbers(name: str) -> None:
    first, parameters, state = trained(name, 7)
    again, _, _ = trained(name, 7)
    resumed, other, other_state = trained(name, 7, stop=4)
    assert first == again == resumed
    assert set(state) == set(other_state)
    for key, value in parameters.items():
        np.testing.assert_array_equal(value, other[key])
    for key, value in state.items():
        np.testing.assert_array_equal(value, other_state[key])


@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in ELIGIBILITY])
def test_programs_that_lack_what_a_rule_needs_are_refused(name: str) -> None:
    program = backends.get("torch").compile(Tiny().network(0))
    program.capabilities = Capabilities()  # type: ignore[misc]
    with pytest.raises(UnsupportedError, match=f"rule '{name}'"):
        rule_of(name).init(program)


def test_a_rule_is_refused_under_its_own_name() -> None:
    """Not under that of the rule that it derives from; the backend is called what the registry calls it."""

    class Descent(BPTT):
        pass

    for rule, called in ((Descent(), "Descent"), (BPTT(), "bptt")):
        with pytest.raises(UnsupportedError, match=f"backend 'reference' .* rule '{called}': it gives no gradients"):
            rule.init(backends.get("reference").compile(Tiny().network(0)))


@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        (lambda w: 1.0, r"it gives 1.0; return loss, \{name: gradient\}"),
        (lambda w: {"feed.w": w}, "return loss"),
        (lambda w: (None, {"feed.w": w}), "its loss is None; return a number"),
        (
            lambda w: (1.0, {"feed.w": w, "feed.v": w}),
            "a gradient for 'feed.v', which isn't trained; did you mean 'feed.w'",
        ),
        (lambda w: (1.0, {}), "no gradient for parameter 'feed.w'"),
        (lambda w: (1.0, {"feed.w": w[0]}), r"parameter 'feed.w' has the shape \(3,\); give \(6, 3\)"),
        (None, "has no `estimate` of its own"),
    ],
)
def test_what_is_no_estimate_is_named(estimate: Any, message: str) -> None:
    own = {} if estimate is None else {"estimate": lambda self, program, now, *rest: estimate(now["feed.w"])}
    rule, program = type("Wrong", (GradientRule,), own)(), backends.get("reference").compile(Tiny().network(0))
    start = dict(values(program.network))
    for call in (rule.gradient, lambda p, w, *rest: rule.step(p, w, rule.init(p), *rest)):
        with pytest.raises(RuleError, match=f"rule 'Wrong'.*{message}"):
            call(program, start, Tiny().batch(), Tiny())


@each_rule
def test_same_candidates_and_losses_on_every_backend(name: str) -> None:
    if "gradients" in getattr(rule_of(name), "needs", ()):
        pytest.skip("the surrogate is the backend's own")
    expected, parameters, _ = trained(name, 3, "reference")
    for backend in (b for b in able("populations") if b != "reference"):
        found, other, _ = trained(name, 3, backend)
        assert found == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(other["feed.w"], parameters["feed.w"], rtol=1e-6, atol=1e-15)


def draws_of(name: str, draws: int, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The true gradient of the tiny task, and a rule's estimates of it."""
    task = OPTIONS[name].get("task", Tiny)()
    rule = learning.get(name, **{**OPTIONS[name]["options"], **options})
    network = rule.attach(task.network(0)) if hasattr(rule, "attach") else task.network(0)
    program = backends.get("torch").compile(network)
    start, batch = dict(values(network)), task.batch()
    batch = replace(batch, inputs=silent(network, batch.inputs))
    truth = learning.get("bptt").gradient(program, start, batch, task)
    return truth, [dict(rule.gradient(program, start, batch, task, draw)) for draw in range(draws)]


@each_rule
def test_gradient_points_downhill(name: str) -> None:
    """The mean of some draws has a positive product with the true gradient."""
    if not hasattr(rule_of(name), "gradient"):
        pytest.skip("this rule estimates no gradient")
    truth, draws = draws_of(name, 30)
    assert sum(float(np.sum(np.mean([d[n] for d in draws], axis=0) * truth[n])) for n in truth) > 0


@pytest.mark.parametrize(
    ("name", "draws", "options"),
    [
        ("wp", 1000, {}),
        ("np", 1000, {}),
        ("spsa", 300, {"sigma": 1e-3}),
        ("es", 100, {"sigma": 1e-3, "shaping": "none"}),
        ("pgpe", 100, {"sigma": 1e-3, "shaping": "none"}),
        ("finite-differences", 1, {"sigma": 1e-6}),
    ],
)
def test_estimators_are_unbiased(name: str, draws: int, options: dict[str, Any]) -> None:
    """The mean's projection on the true gradient is 1: also in size, in SI units."""
    truth, found = draws_of(name, draws, **options)
    mean = np.mean([d["feed.w"] for d in found], axis=0)
    assert np.sum(mean * truth["feed.w"]) / np.sum(truth["feed.w"] ** 2) == pytest.approx(1, abs=0.1)
