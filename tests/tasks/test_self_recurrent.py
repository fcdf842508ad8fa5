"""Self-recurrent cells with skip connections: the published equations by hand on every backend, when a spike arrives, membranes that tune themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro.compiler.parameters import values
from neuro.language.units import quantity
from tasks.self_recurrent import lag, network, tunes

HIDDEN, STEPS, BATCH, INPUTS, OUTPUTS = (9, 7), 40, 3, 5, 4
every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])


def spikes() -> np.ndarray:
    return np.random.default_rng(0).random((BATCH, STEPS, INPUTS)) < 0.3


def drawn(backward: str = "surrogate") -> tuple[Any, dict[str, Any]]:
    """A network, and weights and membranes that differ from cell to cell."""
    net = network("scsr", INPUTS, HIDDEN, OUTPUTS, dt=2.0, backward=backward)
    random = np.random.default_rng(1)
    p = values(net)
    for name, v in p.items():
        if name.startswith("self") and name.endswith(".w"):
            p[name] = random.normal(0, 1, np.shape(v))
        elif name.endswith(".tau_m"):
            p[name] = v * random.uniform(0.6, 1.5, np.shape(v))
        elif name.endswith(".R"):
            p[name] = v * random.uniform(1.5, 3, np.shape(v))
    return net, p


def by_hand(p: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Spikes of every layer and the output's u, each layer within the step, as published: a trace of every sender, 1 - 1/tau_m, R a step."""
    dt, kept = 2e-3, 0.7
    layers = dict(zip(("layer0", "layer1", "output"), (*HIDDEN, OUTPUTS), strict=True))
    a = {"x": np.zeros((BATCH, INPUTS)), **{n: np.zeros((BATCH, size)) for n, size in layers.items()}}
    u = {n: np.zeros((BATCH, size)) for n, size in layers.items()}
    found: dict[str, list[np.ndarray]] = {n: [] for n in (*layers, "u")}
    for t in range(STEPS):
        last = {n: v.copy() for n, v in a.items()}
        a["x"] = kept * a["x"] + (1 - kept) * spikes()[:, t]
        names = ["x", *layers]
        for k, n in enumerate(layers):
            heard = a[names[k]] @ p[f"feed{k}.w"]
            heard = heard + (a[names[k - 1]] @ p[f"skip{k}.w"] if k else 0.0)
            heard = heard + (last[n] * p[f"self{k}.w"] if n != "output" else 0.0)
            u[n] = (1 - dt / p[f"{n}.tau_m"]) * u[n] + dt * p[f"{n}.R"] * heard
            fired = u[n] > 1
            found[n].append(fired)
            u[n] = np.where(fired, 0.0, u[n])
            a[n] = kept * a[n] + (1 - kept) * fired
        found["u"].append(u["output"].copy())
    return {n: np.stack(found[n], 1) for n in layers}, np.stack(found["u"], 1)


@every_backend
def test_the_equations_step_by_step(backend: str) -> None:
    """Layers of ours answer one step after the other, so each is by hand as many steps before."""
    net, p = drawn()
    found = backends.get(backend).compile(net).run(p, {"x": spikes()}, ["output.u"])
    wanted, u = by_hand(p)
    for late, (name, raster) in enumerate(wanted.items(), start=1):
        assert 0.02 < raster.mean() < 0.6
        np.testing.assert_array_equal(found.spikes[name][:, late:], raster[:, : STEPS - late], name)
    np.testing.assert_allclose(found.traces["output.u"][:, 3:], u[:, :-3], atol=1e-12)
    assert lag(HIDDEN) == 3


def test_a_spike_that_skips_a_layer_arrives_with_those_that_do_not() -> None:
    net, p = drawn()
    shown = np.zeros((1, 12, INPUTS), bool)
    shown[0, 4] = True
    for kept in ("feed", "skip"):
        weights = {n: np.abs(v) * (n.startswith(("feed0", "feed2", kept))) for n, v in p.items() if n.endswith(".w")}
        weights |= {f"layer{k}.R": 50 * p[f"layer{k}.R"] for k in range(2)}
        found = backends.get("native").compile(net).run({**p, **weights}, {"x": shown}, ["output.u"])
        answer = np.flatnonzero(found.traces["output.u"][0].any(axis=1) | found.spikes["output"][0].any(axis=1))
        assert answer[0] == 4 + lag(HIDDEN), kept


@every_backend
def test_cells_that_tune_themselves(backend: str) -> None:
    """On every backend to the same R and tau; where nothing is heard R grows, and tau falls, to the bound."""
    net = network("tuning", INPUTS, (6,), 2)
    hidden = replace(
        net.population("layer0"), neuron=tunes, parameters={"tau_least": quantity(8, ""), "tau_most": quantity(40, "")},
        initial={"tau": quantity(12, ""), "R": quantity(64, "")},
    )  # fmt: skip
    net = replace(net, populations=(hidden, net.population("output")))
    shown = np.tile(spikes(), (1, 6, 1))
    shown[1] = False
    record = ["layer0.R", "layer0.tau"]
    found = backends.get(backend).compile(net).run(inputs={"x": shown}, record=record)
    reference = backends.get("reference").compile(net).run(inputs={"x": shown}, record=record)
    np.testing.assert_array_equal(found.spikes["layer0"], reference.spikes["layer0"])
    for name in record:
        np.testing.assert_allclose(found.traces[name], reference.traces[name], rtol=1e-9)
    assert found.spikes["layer0"][0].any() and not found.spikes["layer0"][1].any()
    np.testing.assert_allclose(found.traces["layer0.R"][1, -1], 64 + 0.5 * found.traces["layer0.R"].shape[1])
    np.testing.assert_array_equal(found.traces["layer0.tau"][1, -1], 8)


def test_a_cell_tunes_towards_rates_that_are_exponentially_distributed() -> None:
    """One step by hand: Zhang & Li (2019), at a rate of 0.3."""
    rate, tau, R, V, eta, mean = 0.3, 20.0, 90.0, 20.0, 5.0, 0.2
    X = V / np.expm1(1 / (rate * tau))
    dR = eta * (2 * rate * tau * V - X - V - tau * V * rate**2 / mean) / (R * X)
    dtau = eta * (-1 + rate / mean) / tau
    net = network("tuning", 1, (1,), 1)
    hidden = replace(
        net.population("layer0"), neuron=tunes, parameters={"tau_least": quantity(1, ""), "window": quantity(1e12, "")},
        initial={"tau": quantity(tau, ""), "R": quantity(R, ""), "rate": quantity(rate, "")},
    )  # fmt: skip
    net = replace(net, populations=(hidden, net.population("output")))
    found = (
        backends.get("reference")
        .compile(net)
        .run(inputs={"x": np.zeros((1, 1, 1), bool)}, record=["layer0.R", "layer0.tau"])
    )
    np.testing.assert_allclose(found.traces["layer0.R"], R + dR)
    np.testing.assert_allclose(found.traces["layer0.tau"], tau + dtau)


@every_backend
def test_slopes_by_spike_times_leave_a_run_as_it_was(backend: str) -> None:
    (plain, p), (timed, _) = drawn(), drawn("spike times")
    options = {} if backend in ("reference", "brian2") else {"surrogate": "straight_through_estimator"}
    ours = backends.get(backend).compile(timed, **options).run({**values(timed), **p}, {"x": spikes()}, ["output.u"])
    wanted = backends.get("reference").compile(plain).run(p, {"x": spikes()}, ["output.u"])
    for name, raster in wanted.spikes.items():
        assert raster.any()
        np.testing.assert_array_equal(ours.spikes[name], raster)
    np.testing.assert_allclose(ours.traces["output.u"], wanted.traces["output.u"], atol=1e-12)


class Timed(torch.autograd.Function):
    """A spike where u > 1, with the published slope (TSSL-BP) in u. grew: of u in this step. sent: what is left of what was sent before."""

    @staticmethod
    def forward(ctx: Any, u: Any, grew: Any, sent: Any) -> Any:
        fired = u > 1
        silent = torch.sigmoid((u - 1) / 0.2) * torch.sigmoid((1 - u) / 0.2) / 0.2 * (sent < 0.3 / 4)
        ctx.save_for_backward(torch.where(fired, (1 / grew).clamp(0, 8), silent))
        return fired.to(u)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        return slopes[0] * ctx.saved_tensors[0], None, None


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_slopes_by_spike_times_as_published(backend: str) -> None:
    """Of every weight and membrane of one hidden layer that hears itself, against autograd of the published slope in a loop by hand."""
    net = network("timed", INPUTS, (9,), OUTPUTS, skip=False, dt=2.0, seed=2, backward="spike times")
    random = np.random.default_rng(3)
    p = values(net)
    p |= {n: v * random.uniform(1.5, 3, np.shape(v)) for n, v in p.items() if n.endswith((".R", "feed0.w", "feed1.w"))}
    p["self0.w"] = random.normal(0, 1, 9)
    wrt = [n for n in p if n.endswith((".w", ".tau_m", ".R")) and not n.startswith("output")]
    program: Any = backends.get(backend).compile(net, surrogate="straight_through_estimator", detach_reset=True)
    loss, ours = program.value_and_grad(
        lambda f: f.traces["output.a"].square().sum(), p, {"x": spikes()}, wrt, ["output.a"]
    )
    q = {n: torch.tensor(np.asarray(v), requires_grad=n in wrt) for n, v in p.items()}
    total = published(q)
    np.testing.assert_allclose(loss, total.item(), rtol=1e-12)
    for name, slope in zip(wrt, torch.autograd.grad(total, [q[n] for n in wrt]), strict=True):
        assert (slope != 0).double().mean() > 0.8  # one cell never fires
        np.testing.assert_allclose(ours[name], slope, rtol=1e-9, atol=1e-12 * float(slope.abs().max()), err_msg=name)


def published(q: dict[str, Any]) -> Any:
    """Sum of squares of what the output hears: one hidden layer, whose spikes are heard a step later."""
    dt, kept = 2e-3, 0.7
    zero = torch.zeros(BATCH, 9, dtype=torch.float64)
    a, u, sent = zero, zero, zero
    heard, total = torch.zeros(BATCH, OUTPUTS, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    x = torch.tensor(spikes(), dtype=torch.float64)
    for t in range(STEPS):
        start, sent = u, kept * sent
        u = (1 - dt / q["layer0.tau_m"]) * u + dt * q["layer0.R"] * a
        a = kept * a
        heard = kept * heard
        new: Any = Timed.apply(u, u - start, sent)  # type: ignore[no-untyped-call]
        a = a + (1 - kept) * (x[:, t] @ q["feed0.w"] + new * q["self0.w"])
        heard = heard + (1 - kept) * (new @ q["feed1.w"])
        u, sent = u * (1 - new.detach()), sent + (1 - kept) * new.detach()
        total = total + heard.square().sum()
    return total
