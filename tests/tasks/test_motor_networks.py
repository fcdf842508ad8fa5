"""Policies with plastic motors against their equations, written down here step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
from neuro import Network
from neuro.compiler.parameters import values
from neuro.learning.search.search_space import SearchSpace
from neuro.options import OptionError
from tasks.motor_networks import motor_network

Array = np.ndarray
SENSES, SIZE, MOTORS = 5, 4, 3
KINDS: list[tuple[str, str, dict[str, bool]]] = [
    ("static", "pooled", {}),
    ("modulated", "pooled", {}),
    ("eligibility", "pooled", {}),
    ("modulated", "own", {}),
    ("es-single", "pooled", {}),
    ("es-single", "own", {}),
    ("static", "pooled", {"structural": True}),
    ("modulated", "pooled", {"structural": True}),
    ("static", "pooled", {"oracle": True}),
    ("modulated", "pooled", {"oracle": True, "gate": True, "structural": True}),
]
each_kind = pytest.mark.parametrize(("form", "by", "options"), KINDS)


def small(form: str, by: str = "pooled", **options: Any) -> Network:
    return motor_network("small", SENSES, SIZE, MOTORS, form, by, **options, seed=0)


def drawn(network: Network, seed: int = 1) -> dict[str, Array]:
    """Parameters that are all different from 0, large enough for hebb to reach its bounds."""
    random = np.random.default_rng(seed)
    return {n: np.asarray(random.normal(0, 0.9, np.shape(v))) for n, v in values(network).items()}


def inputs(network: Network, trials: int = 2, steps: int = 15) -> dict[str, Array]:
    """Of each of the network's inputs [trial, step, channel]: senses, and a mask that changes in every step."""
    random = np.random.default_rng(2)
    found = {"senses": random.normal(0, 1, (trials, steps, SENSES))}
    if len(network.inputs) > 1:
        found["mask"] = (random.random((trials, steps, SIZE)) < 0.5).astype(float)
    return found


def weights(p: dict[str, Array], name: str) -> Array:
    """Of a projection, without those that are pruned."""
    w = p[f"{name}.w"]
    return np.where(np.abs(w) < np.abs(np.tanh(p[f"{name}.prune"])), 0, w) if f"{name}.prune" in p else w


def by_hand(p: dict[str, Array], form: str, by: str, shown: dict[str, Array], trial: int) -> tuple[Array, Array]:
    """y [step, motor] of one episode, and hebb at its end: the equations of the policy, y to itself and its modulator as tanh(y)."""
    hebb = trace = np.zeros((SIZE, MOTORS))
    back, found = np.zeros(MOTORS), []
    for k, o in enumerate(shown["senses"][trial]):
        x = np.tanh(o @ weights(p, "enter") + p["hidden.b"])
        if "gate.w" in p:
            x = x * (o @ weights(p, "gate") + p["hidden.b_g"] >= 0)
        if "mask" in shown:
            x = x * shown["mask"][trial, k]
        plastic = 0 if form == "static" else p["plastic.alpha"] * hebb
        y = x @ (weights(p, "plastic") + plastic) + p["motors.b"] + back @ weights(p, "back") + p["motors.b_r"]
        back = np.tanh(y)
        found.append(back if form == "es-single" else y)
        if form == "static":
            continue
        if by == "pooled":
            m = p["motors.b_m"] + np.tanh(back @ p["hear.w"] + p["modulator.b"]) @ p["reach.w"]
        else:
            units = [
                p[f"motors.own_out{i}"] * np.tanh(p[f"motors.own_in{i}"] * back + p["motors.own_b"])
                for i in range(MOTORS)
            ]
            m = p["motors.b_m"] + np.sum(units, axis=0)
        if form == "es-single":
            m = np.tanh(m)
        coincidence = np.outer(x, back)
        hebb = np.clip(hebb + m * (trace if form == "eligibility" else coincidence), -1, 1)
        if form == "eligibility":
            trace = (1 - p["plastic.eta"]) * trace + p["plastic.eta"] * coincidence
    return np.array(found), hebb


@each_kind
@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_a_policy_is_its_equations(backend: str, form: str, by: str, options: dict[str, bool]) -> None:
    network = small(form, by, **options)
    p, shown = drawn(network), inputs(network)
    record = ["motors.y", *(["plastic.hebb"] if form != "static" else [])]
    found = backends.get(backend).compile(network).run(p, shown, record)
    bounded = 0
    for trial in range(2):
        y, hebb = by_hand(p, form, by, shown, trial)
        np.testing.assert_allclose(found.traces["motors.y"][trial], y, rtol=1e-10, atol=1e-12)
        if form != "static":
            np.testing.assert_allclose(
                found.traces["plastic.hebb"][trial, -1].reshape(hebb.shape), hebb, rtol=1e-10, atol=1e-12
            )
            bounded += np.count_nonzero(np.abs(hebb) == 1)
    assert (bounded > 0) == (form != "static")


def test_a_gate_silences_units_whose_sum_is_negative() -> None:
    network = small("static", gate=True)
    p, shown = drawn(network), inputs(network)
    found = backends.get("native").compile(network).run(p, shown, ["hidden.x"]).traces["hidden.x"]
    opened = shown["senses"] @ p["gate.w"] + p["hidden.b_g"] >= 0
    np.testing.assert_allclose(found, np.tanh(shown["senses"] @ p["enter.w"] + p["hidden.b"]) * opened, rtol=1e-12)
    assert 0.2 < opened.mean() < 0.8


@pytest.mark.parametrize("form", ["static", "modulated"])
def test_weights_below_their_threshold_are_none_and_what_is_learned_beside_them_stays(form: str) -> None:
    network, plain = small(form, structural=True), small(form)
    p, shown = drawn(network), inputs(network)
    p["plastic.prune"] = np.array(0.4)
    programs = [backends.get("native").compile(n) for n in (network, plain)]
    found = programs[0].run(p, shown, ["motors.y"]).traces["motors.y"]
    kept = {n: weights(p, n[:-2]) if f"{n[:-2]}.prune" in p else v for n, v in p.items() if not n.endswith(".prune")}
    assert 0 < np.count_nonzero(kept["plastic.w"]) < SIZE * MOTORS
    np.testing.assert_allclose(found, programs[1].run(kept, shown, ["motors.y"]).traces["motors.y"], rtol=1e-12)
    assert not np.allclose(found, programs[1].run({n: p[n] for n in kept}, shown, ["motors.y"]).traces["motors.y"])


@pytest.mark.parametrize(
    ("form", "by", "options", "numbers"),
    [
        ("static", "pooled", {}, 1232),
        ("modulated", "pooled", {}, 1513),
        ("eligibility", "pooled", {}, 1514),
        ("modulated", "own", {}, 1520),
        ("es-single", "pooled", {}, 1513),
        ("static", "pooled", {"gate": True}, 1232 + 27 * 32 + 32),
        ("static", "pooled", {"oracle": True}, 1232),
        ("static", "pooled", {"structural": True}, 1232 + 3),
        ("modulated", "pooled", {"structural": True, "gate": True}, 1513 + 27 * 32 + 32 + 4),
    ],
)
def test_all_there_is_can_be_searched_and_begins_at_zero(
    form: str, by: str, options: dict[str, bool], numbers: int
) -> None:
    """27 numbers seen, 32 units, 8 motors. Own modulators: 8 weights in, 8 out, and two biases a motor. Pruned: one threshold a projection."""
    network = motor_network("ant", 27, 32, 8, form, by, **options, seed=0)
    begins = SearchSpace.of(backends.get("native").compile(network), ("*",)).vector()
    assert begins.shape == (numbers,) and not begins.any()


@pytest.mark.parametrize("form", ["modulated", "eligibility", "es-single"])
def test_what_an_episode_left_behind_is_gone_in_the_next_one(form: str) -> None:
    """hebb, its trace and what the motors were begin each run and each session at 0."""
    network = small(form)
    observed = inputs(network, 1)["senses"]
    program, p = backends.get("native").compile(network), drawn(network)
    kept = ["plastic.hebb", "motors.x", *(["plastic.trace"] if form == "eligibility" else [])]
    first = program.run(p, {"senses": observed}, ["motors.y", *kept])
    assert all(np.abs(first.state.variables[n]).max() > 0.1 for n in kept)
    for _ in range(2):
        with program.session(1, p, ["motors.y"]) as session:
            y = [session.step({"senses": observed[:, k : k + 1]}).traces["motors.y"] for k in range(observed.shape[1])]
            assert all(np.abs(session.state.variables[n]).max() > 0.1 for n in kept)
        np.testing.assert_array_equal(np.concatenate(y, axis=1), first.traces["motors.y"])
    goes_on = program.run(p, {"senses": observed}, ["motors.y"], state=first.state)
    assert not np.allclose(goes_on.traces["motors.y"], first.traces["motors.y"])


def test_forms_that_do_not_exist_are_refused() -> None:
    for wrong, said in (
        ({"form": "linear"}, "form 'linear'; use one of static"),
        ({"form": "modulated", "by": "shared"}, "modulator 'shared'; use one of pooled, own"),
        ({"form": "static", "by": "own"}, "modulator='own': form 'static' has none"),
    ):
        with pytest.raises(OptionError, match=said):
            small(**wrong)  # type: ignore[arg-type]
