"""Gradients of the torch backend against finite differences and a plain torch loop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import backends
from backends.pytorch.spikes import spike
from neuro import Input, Network, Normal, Population, Projection, library, quantity
from neuro.compiler import surrogates
from neuro.compiler.parameters import parameters, values
from neuro.learning.common.parametrisation import ParameterError, Parametrisation
from neuro.learning.common.regularisation import rate_penalty
from neuro.learning.gradient.bptt import BPTT
from neuro.protocols import Batch
from tests.backends.networks import networks

SPIKES = np.random.default_rng(0).random((3, 40, 6)) < 0.3


def readout() -> Network:
    weights = Normal(quantity("0 nA"), quantity("1 nA"))
    cells = Population("cells", library.get("leaky_integrator"), 4)
    return Network(
        (cells,), (Projection("feed", "x", "cells", library.get("pulse"), weights),), (Input("x", 6),), dt="1 ms"
    )


@pytest.mark.parametrize("name", ["readout", "graded"])
def test_thresholdless_gradients_are_finite_differences(name: str) -> None:
    network = readout() if name == "readout" else networks()["graded"]
    source = network.inputs[0].name
    inputs = {source: SPIKES if name == "readout" else np.random.default_rng(1).normal(size=(2, 30, 4))}
    trace = "cells.v" if name == "readout" else "rate.x"
    program = backends.get("torch").compile(network)
    start = values(network)

    def loss(found: Any) -> torch.Tensor:
        return (found.traces[trace] ** 2).sum()

    names = [n for n, p in parameters(network).items()]
    _, grads = program.value_and_grad(loss, start, inputs, names, [trace])
    for name_ in names:
        index = (0,) * start[name_].ndim if not name_.endswith(".w") else (0, 1)
        size = max(abs(float(start[name_][index])), 1e-10) * 1e-5
        ends = []
        for sign in (1, -1):
            moved = {**start, name_: start[name_].copy()}
            moved[name_][index] += sign * size
            found = program.run(moved, inputs, [trace])
            ends.append(float((found.traces[trace] ** 2).sum()))
        slope = (ends[0] - ends[1]) / (2 * size)
        assert slope != 0
        assert float(grads[name_][index]) == pytest.approx(slope, rel=1e-6), name_


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("surrogate", ["fast_sigmoid", "triangle"])
def test_lif_gradients_are_those_of_a_plain_loop(detach: bool, surrogate: str) -> None:
    network = networks()["recurrent"]
    program = backends.get("torch").compile(network, surrogate=surrogate, detach_reset=detach)
    spikes = np.random.default_rng(2).random((2, 60, 7)) < 0.2
    start = values(network)
    _, grads = program.value_and_grad(
        lambda s: (s.spikes["cells"] * _ramp()).sum(), start, {"x": spikes}, ["feed.w", "loop.w"]
    )
    w, loop = (torch.tensor(start[n], requires_grad=True) for n in ("feed.w", "loop.w"))
    spike_of, x = spike(surrogate), torch.tensor(spikes, dtype=torch.float64)
    v, z, beta = torch.full((2, 5), -0.07, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.float64), np.exp(-0.1)
    total: Any = 0.0
    for k in range(60):
        current = (x[:, k - 1] @ w if k else 0.0) + z @ loop
        v = -0.07 + beta * (v + 0.07) + 1e8 * (1 - beta) * current
        z = spike_of((v + 0.05) / 0.02)
        gate = z.detach() if detach else z
        v = gate * -0.07 + (1 - gate) * v
        total = total + (z * _ramp()[k]).sum()
    total.backward()
    assert w.grad is not None and loop.grad is not None and w.grad.abs().max() > 0
    for name, expected in (("feed.w", w.grad), ("loop.w", loop.grad)):
        np.testing.assert_allclose(grads[name], expected.numpy(), rtol=1e-8, atol=1e-12 * float(expected.abs().max()))


def _ramp() -> torch.Tensor:
    return torch.linspace(0.0, 1.0, 60, dtype=torch.float64)[:, None]


def test_module_fits_a_users_own_loop() -> None:
    module = backends.get("torch").compile(readout()).module()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        optimiser.zero_grad()
        loss = ((module({"x": SPIKES}, ["cells.v"]).traces["cells.v"] - 0.05) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_bounds_signs_and_round_trip() -> None:
    network = readout()
    declared = parameters(network)
    maps = Parametrisation.of(declared, ["feed.w", "cells.tau_m"])
    theta = maps.free(dtype=torch.float64)
    for name, value in maps.arrays(theta).items():
        np.testing.assert_allclose(value, declared[name].value, rtol=1e-9)
    far = {n: t - 1e3 for n, t in theta.items()}
    assert float(maps.values(far)["cells.tau_m"].detach()) >= 0.0
    with pytest.raises(ParameterError, match="did you mean"):
        Parametrisation.of(declared, ["cells.tau"])


def test_signs_and_bounds_hold_while_time_constants_and_thresholds_learn() -> None:
    """Steps that would carry weights across 0 and the time constant out of its range."""
    cell = replace(
        library.get("lif"), bounds={"tau_m": (quantity("8 ms"), quantity("12 ms")), "v_th": (quantity("-55 mV"), None)}
    )
    excite, inhibit = (
        Projection(n, "x", "cells", library.get("pulse"), quantity(np.full((6, 4), w), "nA"), sign=sign)
        for n, w, sign in (("excite", 1.5, "+"), ("inhibit", -0.2, "-"))
    )
    network = Network((Population("cells", cell, 4),), (excite, inhibit), (Input("x", 6),), dt="1 ms")
    program = backends.get("torch").compile(network)
    names = ("*.w", "cells.tau_m", "cells.v_th")
    rule = BPTT(learning_rate=1.0, trainable=names)
    state, now = rule.init(program), dict(values(network))
    before = program.run(now, {"x": SPIKES}).spike_count()
    for _ in range(10):
        now, state, _ = rule.step(program, now, state, Batch({"x": SPIKES}, np.zeros(3)), _Silence())
        assert (now["excite.w"] >= 0).all() and (now["inhibit.w"] <= 0).all()
        assert 8e-3 <= now["cells.tau_m"] <= 12e-3 and now["cells.v_th"] >= -55e-3
    for name, start in values(network).items():
        if name in ("excite.w", "inhibit.w", "cells.tau_m", "cells.v_th"):
            assert np.abs(now[name] - start).max() > 1e-3 * np.abs(start).max(), name
    assert program.run(now, {"x": SPIKES}).spike_count() < before / 2


class _Silence:
    def record(self) -> tuple[str, ...]:
        return ()

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        return spikes["cells"].mean()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo reads it of the tensors that it traces
def test_a_compiled_step_is_the_same_step() -> None:
    network = networks()["recurrent"]
    spikes = np.random.default_rng(2).random((2, 60, 7)) < 0.2
    found = []
    for compiled in (False, True):
        program = backends.get("torch").compile(network, compile=compiled)
        _, grads = program.value_and_grad(
            lambda s: (s.spikes["cells"] * _ramp()).sum(), values(network), {"x": spikes}, ["feed.w"]
        )
        found.append((program.run(inputs={"x": spikes}).spikes["cells"], grads["feed.w"]))
    assert found[0][0].sum() > 20
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-9, atol=1e-12 * np.abs(found[0][1]).max())


def test_saved_state_continues_to_the_same_numbers() -> None:
    import tasks

    task = tasks.get("digits", hidden=8, steps=8)
    program = backends.get("torch").compile(task.network(0), dtype="float32", surrogate="atan")
    rule = BPTT(scheduler="cosine", schedule_options={"T_max": 10})
    batches = list(task.train_batches(np.random.default_rng(0), 256))
    state, current = rule.init(program), dict(values(program.network))
    for batch in batches[:3]:
        current, state, _ = rule.step(program, current, state, batch, task)
    again = rule.load(program, rule.save(state))
    other = dict(current)
    for batch in batches[3:]:
        current, state, _ = rule.step(program, current, state, batch, task)
        other, again, _ = rule.step(program, other, again, batch, task)
    for name, value in current.items():
        np.testing.assert_array_equal(value, other[name])


def test_rate_penalty_points_to_the_target() -> None:
    spikes = torch.ones(1, 10, 2, requires_grad=True)
    rate_penalty({"cells": spikes}, 1e-3, 100.0).backward()
    assert spikes.grad is not None and bool((spikes.grad > 0).all())


def _slope(name: str, x: torch.Tensor, **options: float) -> torch.Tensor:
    at = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(spike(name, **options)(at).sum(), at)
    return found


def test_surrogates() -> None:
    """Closed form: value of the multi-Gaussian at 0, sign change, integral; e-prop's triangle."""
    x = torch.linspace(-40, 40, 800001, dtype=torch.float64)
    y = _slope("multi_gaussian", x)
    assert float(y[400000]) == pytest.approx(0.439112, abs=1e-6)
    assert float(torch.trapezoid(y, x)) == pytest.approx(0.425, abs=1e-6)
    edge = float(x[(y > 0) & (x > 0)].max())
    assert edge == pytest.approx(1.27, abs=0.005)
    for name in surrogates.names():
        u = torch.tensor([-0.5, 0.25], requires_grad=True)
        z = spike(name)(u)
        z.sum().backward()
        assert z.tolist() == [0.0, 1.0] and u.grad is not None and bool(torch.isfinite(u.grad).all())
    at = torch.tensor([-0.5, 0.25])
    assert _slope("gaussian", at, sigma=0.5).tolist() == pytest.approx(
        [math.exp(-(x**2) / 0.5) / (0.5 * math.sqrt(2 * math.pi)) for x in (0.5, 0.25)]
    )
    assert _slope("linear", at).tolist() == pytest.approx([0.5, 0.75])
    assert _slope("exponential", at).tolist() == pytest.approx([math.exp(-2.5), math.exp(-1.25)])
    assert _slope("triangle", torch.tensor([-0.5, 0.25]), gamma=0.3).tolist() == pytest.approx([0.15, 0.225])
    with pytest.raises(surrogates.UnknownSurrogateError, match="did you mean 'atan'"):
        spike("attan")
    with pytest.raises(surrogates.UnknownSurrogateError, match=r"surrogate .atan.: .*slope"):
        spike("atan", slope=3.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", surrogates.names()[:6])
def test_surrogates_that_snntorch_has_are_snntorchs(name: str, dtype: torch.dtype) -> None:
    theirs = getattr(pytest.importorskip("snntorch.surrogate"), name)()
    x = torch.cat([torch.linspace(-3, 3, 601, dtype=dtype), torch.tensor([0.0, 1.0, 1e-6, -1e-6], dtype=dtype)])
    at = x.clone().requires_grad_()
    z = theirs(at)
    (wanted,) = torch.autograd.grad(z.sum(), at)
    assert torch.equal(z > 0, spike(name)(x) > 0)
    torch.testing.assert_close(_slope(name, x), wanted, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-12)
