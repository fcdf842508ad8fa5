"""Truncated backpropagation through time: the graph is cut where a part begins, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import backends
import tasks
from backends.common.autograd import Signals
from neuro import (
    Input,
    Network,
    Neuron,
    Population,
    Projection,
    RunError,
    Synapse,
    UnsupportedError,
    learning,
    quantity,
)
from neuro.compiler.parameters import parameters, values
from neuro.io.results import Run, open_run
from neuro.learning import UnknownRuleError, loop
from tests.backends.networks import drive, networks
from tests.learning.test_resumption import same, stopped, trained

NETWORKS = networks()
STEPS = 40
each_backend = pytest.mark.parametrize("backend", ["torch", "native"])


def loss(found: Signals) -> torch.Tensor:
    """A sum of squares with other factors in each step and cell, which isn't one of sums over parts."""
    total = torch.zeros((), dtype=torch.float64)
    for name, value in {**found.spikes, **found.traces}.items():
        factors = np.random.default_rng(sum(map(ord, name))).normal(size=value.shape[-2:])
        total = total + (value * torch.tensor(factors)).sum() ** 2
    return total


def gradients(backend: str, network: Network, truncate: int | None, **options: Any) -> tuple[float, dict[str, Any]]:
    program: Any = backends.get(backend).compile(network, **options)
    given = {} if truncate is None else {"truncate": truncate}
    record = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    wrt = [n for n, p in parameters(network).items() if np.asarray(p.value).dtype.kind == "f"]
    found: tuple[float, dict[str, Any]] = program.value_and_grad(
        loss, {}, drive(network, steps=STEPS), wrt, record, steps=STEPS, batch=2, **given
    )
    return found


def close(found: dict[str, Any], wanted: dict[str, Any], tolerance: float) -> None:
    assert any(np.abs(g).max() > 0 for g in wanted.values())
    for name, gradient in wanted.items():
        scale = np.abs(gradient).max() + 1e-300
        np.testing.assert_allclose(found[name] / scale, gradient / scale, rtol=0, atol=tolerance, err_msg=name)


def different(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return any(np.abs(a[n] - b[n]).max() > 1e-3 * np.abs(a[n]).max() for n in a)


@each_backend
@pytest.mark.parametrize("feature", NETWORKS)
def test_parts_as_long_as_the_trial_change_nothing(backend: str, feature: str) -> None:
    plain, slopes = gradients(backend, NETWORKS[feature], None)
    for truncate in (STEPS, STEPS + 1, 10**6):
        value, found = gradients(backend, NETWORKS[feature], truncate)
        assert value == plain
        for name, gradient in slopes.items():
            np.testing.assert_array_equal(found[name], gradient)


@pytest.mark.parametrize("truncate", [1, 7, 20, 39])
@pytest.mark.parametrize("feature", NETWORKS)
def test_native_and_torch_cut_alike(feature: str, truncate: int) -> None:
    """The loss is that of the whole trial, however it is cut."""
    torch_value, torch_slopes = gradients("torch", NETWORKS[feature], truncate)
    native_value, native_slopes = gradients("native", NETWORKS[feature], truncate)
    plain, _ = gradients("torch", NETWORKS[feature], None)
    assert torch_value == pytest.approx(plain, rel=1e-12)
    assert native_value == pytest.approx(plain, rel=1e-9)
    close(native_slopes, torch_slopes, 1e-9)


@each_backend
def test_a_cut_takes_something_away(backend: str) -> None:
    found = {t: gradients(backend, NETWORKS["recurrent"], t)[1] for t in (None, 20, 5, 1)}
    assert different(found[None], found[20]) and different(found[20], found[5]) and different(found[5], found[1])


TAU, DELAY = 10, 2  # steps
DECAY = float(np.exp(-1 / TAU))


def spiking() -> Network:
    """Four cells with a loop of two steps' delay: v = 0 after a spike, what arrives in a step acts in the next."""
    random = np.random.default_rng(7)
    cells = Neuron("s", "dv/dt = (I - v)/tau : 1\nI : 1", "v > 1", "v = 0", parameters={"tau": "10 ms"}, method="exact")
    pulse = Synapse("p", "w : 1", on_pre="I_post += w")
    return Network(
        [Population("c", cells, 4)],
        [
            Projection("feed", "x", "c", pulse, quantity(random.normal(4, 3, size=(6, 4)))),
            Projection("loop", "c", "c", pulse, quantity(random.normal(2, 4, size=(4, 4))), delay=f"{DELAY} ms"),
        ],
        [Input("x", 6)],
        dt="1 ms",
    )


def by_hand(spike: Any, scale: float, spikes: np.ndarray[Any, Any], truncate: int) -> tuple[float, dict[str, Any]]:
    """The same network as a few lines of torch. spikes: [batch, time, 6]."""
    given = values(spiking())
    feed, loop_ = (torch.tensor(given[n], requires_grad=True) for n in ("feed.w", "loop.w"))
    x = torch.tensor(spikes, dtype=torch.float64)
    v = current = torch.zeros(len(x), 4, dtype=torch.float64)
    fired, shown, past = [], [], [torch.zeros_like(v)] * DELAY
    for k in range(x.shape[1]):
        if k and k % truncate == 0:
            v, current, past = v.detach(), current.detach(), [z.detach() for z in past]
        v = DECAY * v + (1 - DECAY) * current
        z = spike((v - 1) / scale)
        v = v * (1 - z.detach())
        current = x[:, k] @ feed + past[0] @ loop_
        past = [*past[1:], z]
        fired.append(z)
        shown.append(v)
    total = loss(Signals({"c": torch.stack(fired, 1)}, {"c.v": torch.stack(shown, 1)}))
    found = torch.autograd.grad(total, [feed, loop_])
    return float(total.detach()), {"feed.w": found[0].numpy(), "loop.w": found[1].numpy()}


@each_backend
@pytest.mark.parametrize("truncate", [2, 3, 13, 39, 40])
def test_it_is_what_one_writes_by_hand(backend: str, truncate: int) -> None:
    program: Any = backends.get(backend).compile(spiking())
    spikes = np.random.default_rng(1).random((3, STEPS, 6)) < 0.3
    scale = program.semantics.surrogate_scale["c"]
    reference: Any = backends.get("torch").compile(spiking())
    value, wanted = by_hand(reference._spike, scale, spikes, truncate)
    found_value, found = program.value_and_grad(
        loss, {}, {"x": spikes}, ["feed.w", "loop.w"], ["c.v"], truncate=truncate
    )
    assert program.run(inputs={"x": spikes}).spike_count() > 50
    assert found_value == pytest.approx(value, rel=1e-12)
    close(found, wanted, 1e-11)


@each_backend
def test_what_makes_no_sense_is_refused(backend: str) -> None:
    program: Any = backends.get(backend).compile(NETWORKS["recurrent"])
    inputs = drive(NETWORKS["recurrent"], steps=STEPS)
    for truncate, message in (
        (0, "truncate=0 is no count"),
        (2.5, r"truncate=2.5 is no count"),
        (-3, "truncate=-3 is no"),
    ):
        with pytest.raises(RunError, match=message):
            program.value_and_grad(loss, {}, inputs, ["feed.w"], truncate=truncate)
    with pytest.raises(RunError, match="truncate=10 is no multiple of every=4; give truncate=8"):
        program.value_and_grad(loss, {}, inputs, ["feed.w"], ["cells.v"], truncate=10, every=4)
    with pytest.raises(RunError, match="the number of steps is unknown"):
        backends.get(backend).compile(NETWORKS["poisson"]).value_and_grad(loss, {}, {}, ["feed.w"], truncate=10)


@pytest.mark.parametrize("wrong", [-1, 2.5, True, "100", None])
def test_the_rule_refuses_what_is_no_number_of_steps(wrong: Any) -> None:
    with pytest.raises(
        UnknownRuleError,
        match=r"rule 'bptt': truncate=.*; (give the steps of a part, such as truncate=100|it takes a whole number)",
    ):
        learning.get("bptt", truncate=wrong)
    with pytest.raises(UnknownRuleError, match="truncate"):
        learning.get("eprop", truncate=10)


def test_a_program_that_goes_on_from_no_state_is_refused_by_name() -> None:
    program: Any = backends.get("torch").compile(NETWORKS["feed-forward"])
    rule = learning.get("bptt", truncate=5)

    class Stateless:
        backend = "torch"
        network = program.network
        capabilities = type(program.capabilities)(gradients=True, state=False)

    with pytest.raises(UnsupportedError, match=r"truncate=5: it goes on from no state; leave truncate out"):
        rule.init(Stateless())


@each_backend
@pytest.mark.parametrize("truncate", [0, 3, 4, 10])
def test_the_rule_takes_the_gradient_of_its_parts(backend: str, truncate: int) -> None:
    """On a task; with a penalty on rates, which sees the whole trial too."""
    task = tasks.get("digits", hidden=8, steps=10)
    program: Any = backends.get(backend).compile(task.network(0))
    batch = next(iter(task.train_batches(np.random.default_rng(0), 4)))
    rule = learning.get("bptt", truncate=truncate, target_rate=20.0, rate_strength=1e-3)

    def whole(found: Signals) -> torch.Tensor:
        plain: torch.Tensor = task.loss(found.spikes, found.traces, batch)
        return plain + rule.penalty(program, found)

    options = {"truncate": truncate} if truncate else {}
    names = rule.names(program)
    start = values(program.network)
    _, wanted = program.value_and_grad(whole, start, batch.inputs, names, tuple(task.record()), **options)
    found = rule.gradient(program, start, batch, task)
    for name, gradient in wanted.items():
        np.testing.assert_array_equal(found[name], gradient)
    plain = learning.get("bptt", target_rate=20.0, rate_strength=1e-3).gradient(program, start, batch, task)
    assert different(plain, found) == (truncate in (3, 4))


@each_backend
def test_the_loss_of_a_task_falls(backend: str) -> None:
    task = tasks.get("digits", hidden=16, steps=10)
    program: Any = backends.get(backend).compile(task.network(0), **task.settings.for_backend("native"))
    options = {**task.settings.rules["bptt"], "truncate": 4}
    options = {n: v for n, v in options.items() if not n.startswith("schedul")}
    rule = learning.get("bptt", **options)
    state, given, losses = rule.init(program), values(program.network), []
    for batch in list(task.train_batches(np.random.default_rng(0), 64))[:20]:
        given, state, metrics = rule.step(program, given, state, batch, task)
        losses.append(metrics["loss"])
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_stopped_it_continues_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    rule = learning.get("bptt", learning_rate=0.05, truncate=5)
    trained(tmp_path / "whole.h5", rule)
    trained(tmp_path / "plain.h5", learning.get("bptt", learning_rate=0.05))
    stopped(tmp_path / "stopped.h5", rule, 4, monkeypatch)
    trained(tmp_path / "stopped.h5", rule, Run.resume(tmp_path / "stopped.h5"))
    whole, plain = open_run(tmp_path / "whole.h5"), open_run(tmp_path / "plain.h5")
    same(whole, open_run(tmp_path / "stopped.h5"))
    assert not np.array_equal(whole.parameters()["feed.w"], plain.parameters()["feed.w"])
