"""Eligibility rules against autograd, in float64, by relative error: never by cosine."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import AllToAll, Input, Network, Normal, Population, Projection, learning, library, quantity
from neuro.compiler.parameters import values
from neuro.learning.traces.eligibility import by_adjoint, by_traces, eligibility
from neuro.learning.traces.influence import by_influence, by_uoro
from neuro.learning.traces.trial import run_trial
from neuro.protocols import Batch
from tasks.rate_networks import rate_network
from tests.backends.able import able

EXACT = 1e-10
SPIKES = np.random.default_rng(0).random((2, 100, 8)) < 0.15
HIDDEN = ("feed", "loop")


class Target:
    """Squared error of the readout from random targets, in the steps of `window`."""

    output = "out"

    def __init__(self, variable: str = "v", scale: float = 100.0, window: slice = slice(None)) -> None:
        self.variable, self.scale, self.window = f"out.{variable}", scale, window

    def record(self) -> tuple[str, ...]:
        return (self.variable,)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        error = traces[self.variable] * self.scale - torch.as_tensor(batch.targets)
        return (error[:, self.window] ** 2).sum()


def spiking(name: str, delay: str = "0 ms", **changes: Any) -> Network:
    """8 inputs -> 12 recurrent cells -> 3 leaky readouts."""
    cell, pulse = replace(library.get(name), **changes), library.get("pulse")

    def weights(mean: float, std: float) -> Normal:
        return Normal(quantity(mean, "nA"), quantity(std, "nA"))

    return Network(
        (Population("hidden", cell, 12), Population("out", library.get("leaky_integrator"), 3)),
        (
            Projection("feed", "x", "hidden", pulse, weights(1, 3)),
            Projection("loop", "hidden", "hidden", pulse, weights(0, 2), AllToAll(False), delay=delay),
            Projection("read", "hidden", "out", pulse, weights(0, 1)),
        ),
        (Input("x", 8),),
        dt="1 ms",
        name=name,
    )


def rates() -> Network:
    tau, dt = quantity("10 ms"), quantity("1 ms")
    found = rate_network("rates", 2, 12, 1, seed=0, tau=tau, dt=dt)
    cells = tuple(replace(p, name="out") if p.name == "output" else p for p in found.populations)
    read = tuple(replace(p, post="out", name="read") if p.post == "output" else p for p in found.projections)
    return replace(found, populations=cells, projections=read)


SUBTRACT = "v -= v_th - E_L"
NETWORKS = {
    "lif": lambda: spiking("lif"),
    "lif, subtractive reset": lambda: spiking("lif", reset=SUBTRACT),
    "lif, frozen refractory": lambda: spiking("lif", refractory=quantity("3 ms")),
    "lif, subtractive reset, frozen refractory": lambda: spiking("lif", reset=SUBTRACT, refractory=quantity("3 ms")),
    "lif, delayed": lambda: spiking("lif", delay="3 ms"),
    "alif": lambda: spiking("alif"),
    "alif, subtractive reset, refractory": lambda: spiking(
        "alif", refractory=quantity("4 ms"), reset=f"{SUBTRACT}\na += beta"
    ),
    "adex": lambda: spiking("adex"),
    "coba_lif": lambda: spiking("coba_lif"),
    "cuba_lif": lambda: spiking("cuba_lif"),
    "rates": rates,
}
each_network = pytest.mark.parametrize("name", NETWORKS)


@cache
def setting(name: str, start: int = 0) -> tuple[Network, Any, Any, Batch]:
    """Network, program, task, batch."""
    network, random = NETWORKS[name](), np.random.default_rng(1)
    program = backends.get("torch").compile(network, surrogate="triangle")
    chosen = slice(start, None)
    if name == "rates":
        return network, program, Target("x", 1.0, chosen), Batch(
            {"x": random.normal(size=(2, 60, 2))}, random.normal(size=(2, 60, 1))
        )  # fmt: skip
    return network, program, Target(window=chosen), Batch({"x": SPIKES}, random.normal(size=(2, 100, 3)))


def autograd(program: Any, task: Any, batch: Batch, extra: Mapping[str, Any] | None = None, **rule: Any) -> Any:
    """Gradients by torch of whatever graph the program has."""
    given = {**values(program.network), **(extra or {})}
    return learning.get("bptt", **rule).gradient(program, given, batch, task)


def error(found: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """Largest difference of any parameter, relative to its largest entry."""
    assert set(found) <= set(expected)
    return max(float(np.abs(found[n] - expected[n]).max() / np.abs(expected[n]).max()) for n in found)


@each_network
def test_adjoint_and_traces_are_autograd_on_the_detached_graph(name: str) -> None:
    network, program, task, batch = setting(name)
    trial = run_trial(program, values(network), batch, task, {})
    expected = autograd(program.variant(detached=("loop",)), task, batch)
    if trial.recording.spikes:
        assert trial.recording.spike_count() > 100
    trained = (*HIDDEN, "read")
    assert error(by_adjoint(trial, trained), expected) < EXACT
    assert error(by_traces(trial, trained), expected) < EXACT
    assert error(autograd(program, task, batch), expected) > 1e-2  # BPTT is something else


@each_network
def test_rtrl_is_bptt_and_hops_approach_it(name: str) -> None:
    network, program, task, batch = setting(name)
    trial = run_trial(program, values(network), batch, task, {})
    truth = autograd(program, task, batch)
    assert error(by_influence(trial, HIDDEN), truth) < EXACT
    assert error(by_influence(trial, HIDDEN, hops=0), by_traces(trial, HIDDEN)) < EXACT
    none, some, many = (error(by_influence(trial, ("loop",), hops=h), truth) for h in (0, 2, 8))
    assert many < some < none and many > 1e-15
    assert error(by_influence(trial, HIDDEN, snap=2), truth) < EXACT  # dense weights: everything within two steps


@pytest.mark.parametrize("name", ["lif", "alif", "rates"])
def test_random_feedback(name: str) -> None:
    network, program, task, batch = setting(name)
    weights = values(network)["read.w"]
    feedback = np.random.default_rng(5).normal(size=weights.shape) * weights.std()
    trial = run_trial(program, values(network), batch, task, {"read": feedback})
    variant = program.variant(detached=("loop",), feedback=("read",))
    expected = autograd(variant, task, batch, {"read.feedback": feedback})
    assert error(by_adjoint(trial, (*HIDDEN, "read")), expected) < EXACT
    assert error(by_traces(trial, (*HIDDEN, "read")), expected) < EXACT
    assert error(autograd(program.variant(detached=("loop",)), task, batch), expected) > 1e-2


@pytest.mark.parametrize("name", ["lif", "alif"])
def test_windowed_loss_and_rate_regularisation(name: str) -> None:
    network, program, task, batch = setting(name, 75)
    trial = run_trial(program, values(network), batch, task, {}, target_rate=10.0, rate_strength=0.01)
    detached = program.variant(detached=("loop",))
    expected = autograd(detached, task, batch, target_rate=10.0, rate_strength=0.01)
    assert error(by_traces(trial, HIDDEN), expected) < EXACT
    assert error(by_adjoint(trial, HIDDEN), expected) < EXACT
    assert error(autograd(detached, task, batch), {n: expected[n] for n in expected}) > 1e-3  # the penalty counts


@pytest.mark.parametrize(("detach", "close"), [(True, True), (False, False)])
def test_a_reset_that_is_not_detached_is_another_gradient(detach: bool, close: bool) -> None:
    """Traces of the detached reset against autograd of both: right for one, wrong for the other."""
    network, program, task, batch = setting("lif, subtractive reset")
    other = backends.get("torch").compile(network, surrogate="triangle", detach_reset=detach, detached=["loop"])
    trial = run_trial(program, values(network), batch, task, {})
    found = error(by_traces(trial, HIDDEN), autograd(other, task, batch))
    assert found < EXACT if close else found > 1e-2


def test_traces_follow_a_reset_that_is_not_detached() -> None:
    network, _, task, batch = setting("lif, subtractive reset")
    program = backends.get("torch").compile(network, surrogate="triangle", detach_reset=False)
    trial = run_trial(program, values(network), batch, task, {})
    assert error(by_traces(trial, HIDDEN), autograd(program.variant(detached=("loop",)), task, batch)) < EXACT


def test_adaptation_keeps_its_gradient() -> None:
    """With what a spike adds to the adaptation taken for detached, the gradient is another one."""
    network, program, task, batch = setting("alif")
    trial = run_trial(program, values(network), batch, task, {})
    expected = autograd(program.variant(detached=("loop",)), task, batch)
    cells = trial.cells["hidden"]
    trial.cells["hidden"].cells = replace(cells.cells, membranes=("v", "a"))
    assert error(by_traces(trial, HIDDEN), expected) > 1e-2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lif, subtractive reset", True),
        ("lif, subtractive reset, frozen refractory", False),
        ("lif", False),
        ("alif", False),
        ("coba_lif", False),
    ],
)
def test_traces_collapse_where_they_do_not_depend_on_the_target_cell(name: str, expected: bool) -> None:
    network, program, task, batch = setting(name)
    trial = run_trial(program, values(network), batch, task, {})
    _, _, traces = next(eligibility(trial.cells["hidden"], trial.summed_inputs["feed"], trial.activity["feed"]))
    assert traces["v"].shape == (2, 8, 1 if expected else 12)


def test_uoro_is_unbiased() -> None:
    network, program, task, batch = setting("rates")
    trial = run_trial(program, values(network), batch, task, {})
    truth = autograd(program, task, batch)["loop.w"]
    draws = [by_uoro(trial, HIDDEN, np.random.default_rng(i))["loop.w"] for i in range(300)]
    projection = np.sum(np.mean(draws, axis=0) * truth) / np.sum(truth**2)
    one = [float(np.sum(d * truth) / np.linalg.norm(d) / np.linalg.norm(truth)) for d in draws]
    mean = np.mean(draws, axis=0)
    assert projection == pytest.approx(1, abs=0.15)
    assert np.sum(mean * truth) / np.linalg.norm(mean) / np.linalg.norm(truth) > 3 * np.mean(one)


@pytest.mark.parametrize("backend", [b for b in able("state") if b != "torch"])
def test_the_rule_gives_the_same_gradient_from_any_backend(backend: str) -> None:
    network, program, task, batch = setting("alif")
    rule = learning.get("eprop", feedback="random")
    expected = rule.gradient(program, values(network), batch, task)
    options = {"surrogate": "triangle"} if backend in able("gradients") else {}
    found = rule.gradient(backends.get(backend).compile(network, **options), values(network), batch, task)
    assert error(found, expected) < EXACT
    forms = learning.get("eprop", feedback="random", form="traces").gradient(program, values(network), batch, task)
    assert error(forms, expected) < EXACT


def _peak(call: Callable[[], object]) -> int:
    """Bytes at most while it runs, without a collection: one empties Python's free lists, and what fills them again would count."""
    gc.disable()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


def test_traces_need_no_memory_for_more_steps() -> None:
    """Peak memory of the recursion itself, 400 and 1,600 steps."""
    network, program, task, _ = setting("alif")
    peaks = []
    for steps in (400, 1600):
        spikes = np.random.default_rng(0).random((2, steps, 8)) < 0.15
        batch = Batch({"x": spikes}, np.zeros((2, steps, 3)))
        trial = run_trial(program, values(network), batch, task, {})
        peaks.append(min(_peak(lambda t=trial: by_traces(t, ["feed"])) for _ in range(3)))
    assert peaks[1] < 1.2 * peaks[0]


def test_adaptive_feedback_aligns_with_the_readout() -> None:
    network, program, task, batch = setting("lif")
    rule = learning.get("eprop", feedback="adaptive", feedback_decay=0.05, learning_rate=0.02)
    state, parameters = rule.init(program), dict(values(network))

    def cosine() -> float:
        a, b = state.memory["read"], parameters["read.w"]
        return float(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))

    before = cosine()
    for _ in range(150):
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
    assert abs(before) < 0.5 and cosine() > 0.9
