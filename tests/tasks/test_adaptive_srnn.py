"""Adaptive spiking recurrent networks: the published equations by hand on every backend, gradients of time constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
from neuro.compiler.parameters import initial_state, values
from tasks.adaptive_srnn import Layer, lag, network

LAYERS = [
    Layer(9, tau_m=(6.0, 2.0), tau_adp=(20.0, 5.0)),
    Layer(7, recurrent=False, beta=0.5, b0=0.02, tau_m=(6.0, 2.0)),
]
STEPS, BATCH, INPUTS, OUTPUTS = 40, 3, 5, 4


def spikes() -> np.ndarray:
    return np.random.default_rng(0).random((BATCH, STEPS, INPUTS)) < 0.3


def by_hand(readout: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Spikes of every layer, and the readout's variable, by the equations as they are published, step by step."""
    net = network("srnn", INPUTS, LAYERS, OUTPUTS, readout=readout)
    v, first = values(net), initial_state(net)
    names = ["layer0", "layer1"] + (["output"] if readout == "adaptive" else [])
    feeds = {"layer0": "feed0", "layer1": "feed1", "output": "readout"}
    u = {n: np.broadcast_to(first[f"{n}.u"], (BATCH, len(np.atleast_1d(v[f"{n}.bias"])))) for n in names}
    b = {n: np.broadcast_to(first[f"{n}.b"], u[n].shape) for n in names}
    s = {n: np.zeros(u[n].shape) for n in names}
    m, given = np.zeros((BATCH, OUTPUTS)), np.concatenate([np.zeros((BATCH, 1, INPUTS)), spikes()[:, :-1]], axis=1)
    found: dict[str, list[np.ndarray]] = {n: [] for n in (*names, "m")}
    for t in range(STEPS):
        last = {"layer0": given[:, t], "layer1": s["layer0"], "output": s["layer1"]}
        fired = {}
        for n in names:
            a, r = np.exp(-1 / v[f"{n}.tau_m"]), np.exp(-1 / v[f"{n}.tau_adp"])
            b[n] = r * b[n] + (1 - r) * s[n]
            theta = v[f"{n}.b0"] + v[f"{n}.beta"] * b[n]
            current = last[n] @ v[f"{feeds[n]}.w"] + v[f"{n}.bias"] + (s[n] @ v["loop0.w"] if n == "layer0" else 0.0)
            u[n] = a * u[n] + (1 - a) * current - theta * s[n]
            fired[n] = (u[n] >= theta).astype(float)
            found[n].append(fired[n])
        if readout == "leaky":
            a = np.exp(-1 / v["output.tau_m"])
            m = a * m + (1 - a) * (last["output"] @ v["readout.w"] + v["output.bias"])
        found["m"].append(m if readout == "leaky" else u["output"])
        s = fired
    return [np.stack(found[n], 1) for n in names], np.stack(found["m"], 1)


@pytest.mark.parametrize("readout", ["leaky", "adaptive"])
@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_the_equations_step_by_step(backend: str, readout: str) -> None:
    net = network("srnn", INPUTS, LAYERS, OUTPUTS, readout=readout)
    variable = "output.m" if readout == "leaky" else "output.u"
    found = backends.get(backend).compile(net).run(inputs={"x": spikes()}, record=[variable])
    layers, wanted = by_hand(readout)
    assert all(0.02 < layer.mean() < 0.6 for layer in layers)
    for name, layer in zip(("layer0", "layer1", "output"), layers, strict=False):
        np.testing.assert_array_equal(found.spikes[name], layer > 0)
    np.testing.assert_allclose(found.traces[variable], wanted, atol=1e-12)


def test_a_spike_reaches_the_readout_after_the_lag() -> None:
    net = network("srnn", INPUTS, LAYERS, OUTPUTS)
    program = backends.get("native").compile(net)
    many = np.zeros((1, 20, INPUTS), bool)
    strong = {n: np.abs(a) * 100 for n, a in values(net).items() if n in ("feed0.w", "feed1.w", "readout.w")}
    quiet = strong | {f"layer{k}.bias": np.full(layer.size, -1.0) for k, layer in enumerate(LAYERS)}
    many[0, 5] = True
    a, b = (program.run(quiet, {"x": x}, ["output.m"]).traces["output.m"][0] for x in (many, np.zeros_like(many)))
    assert np.flatnonzero((a != b).any(axis=1))[0] == 5 + lag(LAYERS)


@pytest.mark.parametrize("readout", ["leaky", "adaptive"])
def test_gradients_reach_every_time_constant(readout: str) -> None:
    """Native's are torch's. A spike is remembered by a state of its own, so that no option detaches what the reset and the threshold take from it."""
    net = network("srnn", INPUTS, LAYERS, OUTPUTS, readout=readout)
    variable = "output.m" if readout == "leaky" else "output.u"
    wrt = [n for n in values(net) if n.partition(".")[2] in ("w", "tau_m", "tau_adp", "bias")]
    found = []
    for backend, detach in (("native", False), ("torch", False), ("native", True)):
        program: Any = backends.get(backend).compile(
            net, surrogate="multi_gaussian", surrogate_scale=1.0, detach_reset=detach
        )
        found.append(
            program.value_and_grad(lambda s: s.traces[variable].square().sum(), None, {"x": spikes()}, wrt, [variable])[
                1
            ]
        )
    ours, theirs, detached = found
    silent = {"output.tau_adp"}  # of an output whose own spikes come too late to matter, it may be 0
    for name in wrt:
        assert np.isfinite(ours[name]).all() and (np.abs(ours[name]).max() > 0 or name in silent), name
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-12 * np.abs(theirs[name]).max())
        np.testing.assert_array_equal(ours[name], detached[name])
