"""Associations by STDP: closed forms of the rule, short-term plasticity, potentials and silent times by hand; one circuit on every backend; courses and measurements."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import backends
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.language.units import quantity
from neuro.model import Network, Population
from tasks.assemblies import (
    LAG,
    LASTS,
    PAUSE,
    Course,
    added,
    answers,
    gaps,
    kept,
    pair_coding,
    probe,
    sequence,
    significant,
)
from tasks.associations import (
    BOTH,
    COMBINED,
    FROZEN,
    KINDS,
    PATTERNS,
    SHORT_TERM,
    TRIPLETS,
    Circuit,
    cell,
    nearby,
    steady,
)  # fmt: skip
from twinspike.studies.associations import EXACT, forced, isolated

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])


def small(seed: int = 0, excitability: float = 1.9) -> Circuit:
    """29 and 7 cells, excitable enough for 60 channels."""
    return Circuit(excitability, 1.5, seed, (3, 3, 4), 7, 60)


@every_backend
@pytest.mark.parametrize("delay", [0, 5])
def test_isolated_pairs_and_triplets_equal_the_closed_forms(backend: str, delay: int) -> None:
    assert isolated(backend, delay) <= EXACT


def one_synapse(kind: Any, backend: str, pre: list[int], post: list[int], steps: int, **options: Any) -> Any:
    """Of 20 onto a cell: steps in which its source fires, and its target."""
    plastic = kind is not SHORT_TERM
    net = forced((kind,), 1, **{"parameters": {"w_max": quantity(30, "")} if plastic else {}, **options})
    x, force = np.zeros((1, steps, 1), bool), np.zeros((1, steps, 1))
    x[0, pre], force[0, post] = True, 1
    record = ["E.a", "E.p", *([f"{kind.name}.w"] if plastic else [])]
    return backends.get(backend).compile(net).run(inputs={"x": x, "force": force}, record=record).traces


@every_backend
def test_the_order_within_a_step_and_the_caps(backend: str) -> None:
    """An arrival depresses by the traces before this step's spike, and is in the trace that this spike reads; a weight stays between 0 and its own cap."""
    w = one_synapse(TRIPLETS, backend, [5], [2, 5], 8, parameters={"w_max": "100"})[f"{TRIPLETS.name}.w"].ravel()
    assert w[4] == 20
    assert w[5] == pytest.approx(20 - 0.5 * np.exp(-3e-3) + 10 + 10 * np.exp(-3 / 25), abs=1e-12)
    full = one_synapse(TRIPLETS, backend, [1], [2, 3, 4], 8)[f"{TRIPLETS.name}.w"].ravel()
    assert full[2] == pytest.approx(20 + 10 * np.exp(-1 / 25), abs=1e-12) and full[4] == 30
    low = one_synapse(TRIPLETS, backend, list(range(10, 60)), list(range(1, 9)), 60)[f"{TRIPLETS.name}.w"].ravel()
    assert low[8] == 20 and low[-1] == 0 and low.min() == 0


@every_backend
def test_short_term_plasticity_is_the_recursion(backend: str) -> None:
    U, D, F, at = 0.2, 0.14, 0.6, [3, 11, 40, 41, 200, 380]
    numbers = {"U": quantity(U, ""), "D": quantity(D, "s"), "F": quantity(F, "s"), "norm": quantity(3, "")}
    found = one_synapse(SHORT_TERM, backend, at, [], 400, parameters=numbers, initial={"u": quantity(U, "")})
    a, before, u, left = found["E.a"].ravel(), -1e12, U, 1.0
    for k in at:
        left = 1 + (left - u * left - 1) * np.exp(-(k - before) * 1e-3 / D)
        u = U + u * (1 - U) * np.exp(-(k - before) * 1e-3 / F)
        assert a[k] - a[k - 1] * np.exp(-0.5) == pytest.approx(20 * u * left * 3, rel=1e-12)
        before = k
    assert left != 1 and u > U


@pytest.mark.parametrize(("U", "D", "F"), [(0.45, 0.144, 1e-4), (0.09, 0.138, 0.67), (0.25, 0.706, 0.021)])
def test_regular_spikes_at_5_hz_send_a_weight_as_it_is(U: float, D: float, F: float) -> None:
    """u* and R* are the recursion's fixed point, and where it goes."""
    u, left = steady(np.array(U), np.array(D), np.array(F))
    numbers = {
        n: quantity(v, unit)
        for n, v, unit in (("U", U, ""), ("D", D, "s"), ("F", F, "s"), ("norm", 1 / (u * left), ""))
    }
    at = list(range(1, 8000, 200))
    there = {"u": quantity(u, ""), "R": quantity(left, ""), "last": "-199 ms"}
    for first, tolerance in ((there, 1e-12), ({"u": quantity(U, "")}, 1e-6)):
        a = one_synapse(SHORT_TERM, "native", at, [], 8000, parameters=numbers, initial=first)["E.a"].ravel()
        assert a[at[-1]] == pytest.approx(20, rel=tolerance)


def test_the_postsynaptic_potential() -> None:
    p = one_synapse(TRIPLETS, "native", [0], [], 400)["E.p"].ravel() / 20
    assert p.max() == pytest.approx(1, abs=1e-3) and p.argmax() == 5
    assert p.sum() == pytest.approx(25.8, abs=0.05)
    t = np.arange(400)
    shape = np.exp(-t / 20) - np.exp(-t / 2)
    np.testing.assert_allclose(p, shape / (np.exp(-np.log(10) / 9) - np.exp(-np.log(10) * 10 / 9)), atol=1e-12)


def test_silent_times_are_gamma_distributed() -> None:
    """Of a cell that fires whenever it may: the mean and variance of two exponentials' sum, rounded to steps, at least 1; then the step of the next spike."""
    net = Network((Population("p", cell("eager", 10), 200, {"E_exc": quantity(100, "")}),), dt="1 ms", seed=3)
    raster = backends.get("native").compile(net).run(steps=3000, batch=1).spikes["p"][0]
    gaps_ = np.concatenate([np.diff(np.flatnonzero(raster[:, i])) for i in range(200)])
    drawn = np.maximum(np.round(np.random.default_rng(0).gamma(2, 5, 400_000)), 1)
    assert gaps_.min() == 2 and len(gaps_) > 40_000
    assert abs(gaps_.mean() - 1 - drawn.mean()) < 5 * drawn.std() / np.sqrt(len(gaps_))
    assert abs(gaps_.std() / drawn.std() - 1) < 0.03


def test_who_is_connected_and_how() -> None:
    circuit = Circuit(0.9, 0.8, 2)
    net = circuit.network
    known, drawn = parameters(net), resolve(net)
    assert [p.size for p in net.populations] == [432, 108]
    own = np.log(known["E.own"].value)
    assert abs(own.mean() - 2.64) < 4 * 0.23 / np.sqrt(432) and abs(own.std() / 0.23 - 1) < 0.15
    assert (known["E.E_exc"].value == -600 + 270).all()
    for kind in KINDS:
        p, wires, delay = net.projection(kind.name), drawn.wires[kind.name], np.asarray(drawn.delays[kind.name])
        w = known[f"{kind.name}.w"].value
        rows = circuit.channels if kind.pre == "x" else net.population(kind.pre).size
        pairs = rows * (net.population(kind.post).size - (kind.pre == kind.post))
        mean, error = kind.weight * (0.8 if kind.cap else 1), np.sqrt(len(w))
        assert abs(len(w) - kind.chance * pairs) < 4 * np.sqrt(kind.chance * pairs)
        assert w.min() > 0 and abs(w.mean() / mean - 1) < 4 * 0.7 / error and abs(w.std() / mean - 0.7) < 5 / error
        assert ("a_post -= w" in p.synapse.on_pre) == (kind.pre == "I")
        assert delay.min() == 1 and abs(delay.mean() - kind.delay) < 0.1 + 2 * kind.delay / error
        if kind.pre == kind.post:
            assert (wires.pre_index != wires.post_index).all()
        if kind.cap:
            np.testing.assert_allclose(known[f"{kind.name}.w_max"].value, kind.cap * w)
    u, left = steady(*(known[f"EI.{n}"].value for n in ("U", "D", "F")))
    np.testing.assert_allclose(known["EI.norm"].value * u * left, 1)
    assert len(np.unique(known["EI.norm"].value)) > 1000 and known["EE.F"].value == 1e-4


def test_nearby_cells() -> None:
    places = Circuit().places
    apart = np.linalg.norm(places["E"][:, None] - places["I"][None], axis=-1)
    log_c = float(re.fullmatch(r"exp\((\S+) - d/0.25\)", nearby(places["E"], places["I"], 0.04))[1])  # type: ignore[index]
    chance = np.minimum(1, np.exp(log_c - apart / 0.25))
    assert chance.mean() == pytest.approx(0.04) and (chance[apart == 1] == 1).all() and (chance[apart > 4] < 1e-3).all()
    wires = resolve(Circuit(seed=1).network).wires["EI"]
    own = Circuit(seed=1).places
    reached = np.linalg.norm(own["E"][wires.pre_index] - own["I"][wires.post_index], axis=-1)
    assert (reached == 1).sum() == (np.linalg.norm(own["E"][:, None] - own["I"][None], axis=-1) == 1).sum()


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    circuit = small()
    inputs = Course(circuit, "run", {50: "blue", 200: COMBINED}).inputs(0, 400)
    names = ("reference", "native", "torch", "brian2")
    return {b: backends.get(b).compile(circuit.network).run(inputs=inputs) for b in names}


def test_a_circuit_is_the_same_on_every_backend(runs: dict[str, Any]) -> None:
    first = runs["reference"]
    assert first.spikes["E"].sum() > 100 and first.spikes["I"].sum() > 50
    known = parameters(small().network)
    changed = {n: np.abs(first.final[f"{n}.w"] - known[f"{n}.w"].value) for n in ("feed", "EE")}
    assert all((c > 1e-3).mean() > 0.3 for c in changed.values())
    for found in runs.values():
        for name, raster in first.spikes.items():
            np.testing.assert_array_equal(found.spikes[name], raster)
        for name, w in first.final.items():
            np.testing.assert_allclose(found.final[name], w, atol=1e-9)


def test_parts_of_a_run_and_frozen_weights() -> None:
    circuit = small(1)
    program: Any = backends.get("native").compile(circuit.network)
    course = Course(circuit, "run", {100: "red"})
    whole = program.run(inputs=course.inputs(0, 600))
    half = program.run(inputs=course.inputs(0, 130))
    rest = program.run(inputs=course.inputs(130, 600), state=half.state)
    np.testing.assert_array_equal(rest.spikes["E"], whole.spikes["E"][:, 130:])
    frozen = program.run(FROZEN, course.inputs(130, 600), state=half.state)
    for name, w in half.final.items():
        np.testing.assert_array_equal(frozen.final[name], w)
        assert (rest.final[name] != w).any()
    assert frozen.spikes["E"].sum() > 20


def test_courses() -> None:
    circuit = Circuit(seed=5)
    masks = [circuit.patterns[p] for p in PATTERNS]
    assert [m.sum() for m in masks] == [20, 20, 20]
    assert all((masks[a] & masks[b]).sum() <= 2 for a, b in ((0, 1), (0, 2), (1, 2)))
    np.testing.assert_array_equal(circuit.patterns[COMBINED], masks[0] | masks[1])
    course = Course(circuit, "run", {1000: "green", 1500: COMBINED})
    rates = course.rates(900, 1600)
    assert (rates[:100] == 5).all() and (rates[200:600] == 5).all()
    np.testing.assert_array_equal(rates[100:200], np.tile(3 + 40 * masks[1], (100, 1)))
    np.testing.assert_array_equal(rates[650], 3 + 40 * (masks[0] | masks[1]))
    whole = course.inputs(0, 2000)["x"]
    np.testing.assert_array_equal(course.inputs(777, 1555)["x"], whole[:, 777:1555])
    assert whole[0, :1000].mean() == pytest.approx(5e-3, rel=0.15)
    onsets, shown = gaps(np.random.default_rng(0), 500, 400_500), sequence(np.random.default_rng(1), 3000)
    between = np.diff(onsets) - LASTS
    assert between.min() >= 500 and between.max() <= 3000 and abs(between.mean() - 1750) < 200
    changes = np.mean([a != b for a, b in pairwise(shown)])
    assert abs(changes - 0.75) < 0.035 and {shown.count(p) > 900 for p in PATTERNS} == {True}


def test_who_answers() -> None:
    circuit = small()
    course = probe(circuit, "probe", 20)
    assert len(course.shown) == 80 and min(course.shown) == PAUSE
    raster = np.zeros((max(course.shown) + LASTS + LAG, 4), bool)
    for k, (onset, name) in enumerate(course.shown.items()):
        raster[onset + LAG, 0] = name == "blue"  # always
        raster[onset + LAG + 5, 1] = raster[onset - 5, 1] = True  # before it as well
        raster[onset + LAG + 7, 2] = name == "blue" and k % 16 == 0  # too rarely
        raster[onset - 7, 3] = True  # less than before
    found = answers(course, raster)
    assert all(a.shape == (2, 20, 4) for a in found.values())
    np.testing.assert_array_equal(significant(found["blue"]), [True, False, False, False])
    assert not significant(found["green"]).any()


def test_who_is_new_who_is_kept_and_who_codes_for_a_pair() -> None:
    mask = lambda *cells: np.isin(np.arange(6), cells)
    before = {"blue": mask(0, 1), "green": mask(2), "red": mask(5), COMBINED: mask(0, 2)}
    after = {"blue": mask(0, 2, 3), "green": mask(0, 2), "red": mask(5), COMBINED: mask(0, 2, 3, 4)}
    new, fresh = added(before, after)
    np.testing.assert_array_equal(np.flatnonzero(new), [3, 4])
    np.testing.assert_array_equal(np.flatnonzero(fresh), [4])
    assert kept(before, after) == {"blue": 0.5, "green": 1.0, "red": 1.0}

    def answered(cells: dict[str, np.ndarray], spikes: int) -> dict[str, np.ndarray]:
        return {p: np.stack([np.zeros((20, 6), int), np.tile(spikes * m, (20, 1))]) for p, m in cells.items()}

    np.testing.assert_array_equal(np.flatnonzero(pair_coding(answered(before, 1), answered(after, 2))), [0, 2])
    stronger = answered(after, 2)
    stronger["red"][1, :, 0] = 3  # cell 0 comes to answer red by more than green
    np.testing.assert_array_equal(np.flatnonzero(pair_coding(answered(before, 1), stronger)), [2])


def test_both_kinds_of_plasticity_are_in_one_synapse() -> None:
    """What a plastic, depressing synapse sends is its weight before this arrival's change."""
    numbers = {"U": quantity(0.5, ""), "D": "100 ms", "F": "1 ms", "norm": quantity(2, ""), "w_max": "100"}
    found = one_synapse(BOTH, "native", [5, 30], [2], 40, parameters=numbers, initial={"u": quantity(0.5, "")})
    a, w = found["E.a"].ravel(), found[f"{BOTH.name}.w"].ravel()
    assert a[5] == pytest.approx(20) and w[5] == pytest.approx(20 - 0.5 * np.exp(-3e-3))
    left = 1 - 0.5 * np.exp(-0.25)
    u = 0.5 + 0.25 * np.exp(-25)
    assert a[30] - a[29] * np.exp(-0.5) == pytest.approx(w[29] * u * left * 2, rel=1e-12)
