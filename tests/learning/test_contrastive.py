"""Rule 'contrastive': settled phases, the gradient of the settled error, what it refuses. Fixed points against scipy's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import root
from scipy.special import expit

import backends
from neuro import (
    AllToAll,
    Network,
    Neuron,
    Normal,
    Pairs,
    Population,
    Projection,
    Synapse,
    UnsupportedError,
    learning,
    quantity,
)
from neuro.compiler.parameters import values
from neuro.learning.phases.energy import read, symmetric_part
from neuro.learning.phases.settling import Settling, SettlingError
from neuro.options import OptionError
from neuro.protocols import Batch
from tasks.relaxing_networks import activity, held, relaxing_network, settled_error, source, symmetric_stds
from tests.backends.able import able
from twinspike.models.relaxation import true_gradient

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
D = np.array([[0.1], [0.9], [0.9], [0.1]])
ALL = ("*.w", "*.b")
PRECISE: dict[str, Any] = {"trainable": ALL, "tolerance": 1e-8, "longest": 20_000}


class Small:
    """Two inputs, four hidden units, one output, all joined."""

    output = "output"

    def network(self, seed: int = 0, scale: float = 1.5) -> Network:
        return symmetric_part(self.drawn(seed, scale))

    def drawn(self, seed: int = 0, scale: float = 1.5) -> Network:
        return relaxing_network("small", 2, 4, 1, seed=seed, stds=symmetric_stds(7, scale))

    def batch(self, steps: int = 1) -> Batch:
        return held(X, D, steps)

    def record(self) -> tuple[str, ...]:
        return ("output.V",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        return settled_error(traces, batch.targets if batch.targets.ndim == 2 else batch.targets[:, -1])


TASK = Small()


def compiled(network: Network | None = None, backend: str = "native") -> Any:
    return backends.get(backend).compile(TASK.network() if network is None else network)


def slopes(program: Any, batch: Batch | None = None, **options: Any) -> dict[str, Any]:
    rule = learning.get("contrastive", **{**PRECISE, **options})
    found: dict[str, Any] = rule.gradient(program, values(program.network), batch or TASK.batch(), TASK)
    return found


def fixed_point(network: Network, pattern: Any, target: Any = None, beta: float = 0.0) -> Any:
    """Activities of hidden units and output by scipy; a target with beta = inf is clamped."""
    p = values(network)
    n = len(p["hidden.b"])
    w = np.zeros((n + 1, n + 1))
    w[:n, :n], w[:n, n:], w[n:, :n] = p["loop.w"], p["up.w"], p["down.w"]
    drive = np.concatenate([pattern @ p["feed.w"] + p["hidden.b"], pattern @ p["skip.w"] + p["output.b"]])

    def activity(u: Any) -> Any:
        v = expit(u)
        return np.concatenate([v[:n], target]) if np.isinf(beta) else v

    def rate(u: Any) -> Any:
        v = activity(u)
        pull = 0.0 if target is None or np.isinf(beta) else beta * (target - v[n:])
        return -u + drive + v @ w + np.concatenate([np.zeros(n), np.ones(1) * pull])

    return activity(root(rate, np.zeros(n + 1), tol=1e-13).x)


# -- settling -----------------------------------------------------------------------------------------------------


def test_a_settled_network_is_at_the_fixed_point_of_its_equations() -> None:
    network = TASK.network()
    program, energy = compiled(network), read(network)
    holding = {n: v[:, 0] for n, v in TASK.batch().inputs.items()}
    found = Settling(1e-9, 20_000, 50).relax(
        program, values(network), holding, energy.states, "free", energy.activities
    )
    assert found.residual <= 1e-9 and found.steps % 50 == 0
    for k, pattern in enumerate(X):
        v = np.concatenate([found.recording.traces[f"{p}.V"][k, -1] for p in ("hidden", "output")])
        np.testing.assert_allclose(v, fixed_point(network, pattern), rtol=1e-9)


def test_a_phase_that_has_not_settled_is_an_error_that_says_how_far_it_is() -> None:
    rule = learning.get("contrastive", longest=20, chunk=7, tolerance=1e-6)
    program = compiled()
    start = values(program.network)
    with pytest.raises(
        SettlingError, match=r"free phase has not settled after 20 steps: \|d/dt\| of '\w+.u' is .*the tolerance 1e-06"
    ) as error:
        rule.gradient(program, start, TASK.batch(), TASK)
    trace = program.run(start, TASK.batch(20).inputs, ("hidden.u", "output.u")).traces
    rates = {n: np.abs(u[:, -1] - u[:, -2]).max() / 2e-3 for n, u in trace.items()}
    worst = max(rates, key=rates.__getitem__)
    assert f"of '{worst}' is {rates[worst]:.3g} in SI" in str(error.value)


def test_an_unsettled_phase_may_be_reported_instead() -> None:
    program = compiled()
    start = dict(values(program.network))
    rule = learning.get("contrastive", longest=20, unsettled="report", beta=0.01)
    _, _, metrics = rule.step(program, start, rule.init(program), TASK.batch(), TASK)
    assert metrics["residual"] > 1e-2 and metrics["settling_steps"] == 40


class Watched:
    """A program that keeps the parameters and states its runs begin with."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self.calls: list[tuple[float, Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.program, name)

    def run(self, parameters: Any, inputs: Any, record: Any = (), **options: Any) -> Any:
        found = self.program.run(parameters, inputs, record, **options)
        self.calls.append((float(parameters["output.beta"]), options.get("state"), found.state))
        return found


@pytest.mark.parametrize(("options", "betas"), [({}, [0.0, 0.1]), ({"phases": "symmetric"}, [0.0, 0.1, -0.1])])
def test_forced_phases_begin_where_the_free_one_settled(options: dict[str, Any], betas: list[float]) -> None:
    program = Watched(compiled())
    slopes(program, beta=0.1, **options)
    runs = {b: [c for c in program.calls if c[0] == b] for b in betas}
    assert list(dict.fromkeys(c[0] for c in program.calls)) == betas
    assert runs[0.0][0][1] is None
    end = runs[0.0][-1][2]
    for beta in betas[1:]:
        assert not runs[beta][0][1].differences(end)


def test_a_persistent_free_phase_begins_where_the_last_one_ended() -> None:
    for persistent in (True, False):
        program = Watched(compiled())
        rule = learning.get("contrastive", persistent=persistent, learning_rate=1e-9)
        state, parameters = rule.init(program), dict(values(program.network))
        parameters, state, first = rule.step(program, parameters, state, TASK.batch(), TASK)
        program.calls.clear()
        _, _, second = rule.step(program, parameters, state, TASK.batch(), TASK)
        assert (program.calls[0][1] is not None) == persistent
        assert (second["settling_steps"] < first["settling_steps"]) == persistent


# -- gradient -----------------------------------------------------------------------------------------------------


def test_a_weak_teacher_gives_the_gradient_of_the_settled_error() -> None:
    """In direction and size, each weight moved together with the one in the other direction."""
    program = compiled()
    found = slopes(program, beta=1e-3)
    moves, truth = true_gradient(program, TASK.batch(), tuple(found))
    np.testing.assert_allclose(moves.vector(found), truth, rtol=0.01, atol=2e-4 * np.abs(truth).max())
    assert np.linalg.norm(moves.vector(found) - truth) < 2e-3 * np.linalg.norm(truth)


@pytest.mark.parametrize(("phases", "order", "largest"), [("one-sided", 1, 0.05), ("symmetric", 2, 0.2)])
def test_order_in_beta(phases: str, order: int, largest: float) -> None:
    program = compiled()
    off = []
    for beta in (largest, largest / 2, largest / 4):
        found = slopes(program, beta=beta, phases=phases)
        moves, truth = true_gradient(program, TASK.batch(), tuple(found))
        off.append(np.linalg.norm(moves.vector(found) - truth) / np.linalg.norm(truth))
    np.testing.assert_allclose(np.divide(off[:-1], off[1:]), 2.0**order, rtol=0.08)


@pytest.mark.parametrize("teacher", ["weak", "hard"])
def test_updates_are_differences_of_correlations_at_scipys_fixed_points(teacher: str) -> None:
    network, beta = TASK.network(), 2.0
    found = slopes(compiled(network), beta=beta, teacher=teacher)
    strength = np.inf if teacher == "hard" else beta
    apart = {"loop.w": 0.0, "up.w": 0.0, "feed.w": 0.0, "output.b": 0.0}
    for pattern, target in zip(X, D, strict=True):
        for sign, v in ((1, fixed_point(network, pattern, target, strength)), (-1, fixed_point(network, pattern))):
            off_diagonal = np.outer(v[:4], v[:4]) * (1 - np.eye(4))
            terms = (off_diagonal, np.outer(v[:4], v[4:]), np.outer(pattern, v[:4]), v[4:])
            apart = {n: a + sign * t / len(X) for (n, a), t in zip(apart.items(), terms, strict=True)}
    for name, value in apart.items():
        np.testing.assert_allclose(found[name], -value / (1.0 if teacher == "hard" else beta), atol=1e-8)
    np.testing.assert_array_equal(found["down.w"], found["up.w"].T)


def test_a_weight_of_a_cell_onto_itself_is_one_parameter() -> None:
    network = TASK.drawn()
    loop = replace(network.projection("loop"), connectivity=AllToAll())
    network = symmetric_part(
        replace(network, projections=(loop, *(p for p in network.projections if p.name != "loop")))
    )
    program = compiled(network)
    found = slopes(program, beta=1e-3)
    moves, truth = true_gradient(program, TASK.batch(), ("loop.w",))
    np.testing.assert_allclose(moves.vector(found), truth, atol=2e-3 * np.abs(truth).max())


@pytest.mark.parametrize("backend", able("populations"))
def test_same_update_on_every_backend(backend: str) -> None:
    expected, found = (slopes(compiled(backend=b), beta=0.1, tolerance=1e-7) for b in ("reference", backend))
    for name, slope in expected.items():
        np.testing.assert_allclose(found[name], slope, rtol=1e-6, atol=1e-12)


# -- symmetry -----------------------------------------------------------------------------------------------------


def test_attach_takes_the_symmetric_part_and_learning_keeps_it() -> None:
    drawn = TASK.drawn()
    rule = learning.get("contrastive", trainable=ALL, learning_rate=0.1, beta=1.0)
    before, start = values(drawn), values(rule.attach(drawn))
    np.testing.assert_allclose(start["loop.w"], (before["loop.w"] + before["loop.w"].T) / 2)
    np.testing.assert_allclose(start["up.w"], (before["up.w"] + before["down.w"].T) / 2)
    np.testing.assert_array_equal(start["feed.w"], before["feed.w"])
    program = compiled(rule.attach(drawn))
    state, now = rule.init(program), dict(start)
    for _ in range(5):
        now, state, metrics = rule.step(program, now, state, TASK.batch(), TASK)
        assert metrics["asymmetry"] == 0
    np.testing.assert_array_equal(now["loop.w"], now["loop.w"].T)
    np.testing.assert_array_equal(np.diag(now["loop.w"]), 0)
    np.testing.assert_array_equal(now["up.w"], now["down.w"].T)
    assert np.abs(now["loop.w"] - start["loop.w"]).max() > 0.1


def test_asymmetric_weights_are_refused_or_allowed_and_bias_the_estimate() -> None:
    drawn = TASK.drawn()
    program = compiled(drawn)
    with pytest.raises(
        UnsupportedError,
        match=r"projection '(loop|up|down)': its weights and those back .* differ by up to .*rule.attach",
    ):
        learning.get("contrastive").init(program)
    found = slopes(program, beta=1e-3, asymmetric=True)
    energy_moves, truth = true_gradient(compiled(), TASK.batch(), tuple(found), values(drawn))
    off = np.linalg.norm(energy_moves.vector(found) - truth) / np.linalg.norm(truth)
    assert off > 0.05  # 1e-3 where they are symmetric


def sparse_loop(pre: list[int], post: list[int]) -> Network:
    """The small network whose hidden units are joined by these pairs."""
    pairs = Pairs(np.array(pre), np.array(post))
    loop = Projection("loop", "hidden", "hidden", activity, Normal(quantity(0.0, ""), quantity(0.5, "")), pairs)
    network = TASK.drawn()
    return replace(network, projections=tuple(loop if p.name == "loop" else p for p in network.projections))


def test_sparse_pairs_in_both_directions_are_one_weight() -> None:
    """Missing pairs have weight 0 and stay out: the gradient of the others is that of the dense network with zeros there."""
    pre, post = [0, 2, 3, 1], [2, 0, 1, 3]
    sparse = symmetric_part(sparse_loop(pre, post))
    weights = values(sparse)["loop.w"]
    assert weights[0] == weights[1] != 0 and weights[2] == weights[3] != 0
    matrix = np.zeros((4, 4))
    matrix[pre, post] = weights
    dense = tuple(
        replace(TASK.network().projection("loop"), weights=quantity(matrix, "")) if p.name == "loop" else p
        for p in sparse.projections
    )
    expected, found = (slopes(compiled(n), beta=0.1) for n in (replace(sparse, projections=dense), sparse))
    np.testing.assert_allclose(found["loop.w"], expected["loop.w"][pre, post], rtol=1e-9)
    np.testing.assert_allclose(found["feed.w"], expected["feed.w"], rtol=1e-9)
    with pytest.raises(UnsupportedError, match="'loop': it has synapses without exactly one in 'loop' the other way"):
        read(sparse_loop([0, 2, 3], [2, 0, 1]))


# -- units --------------------------------------------------------------------------------------------------------


def in_millivolts(network: Network) -> Network:
    """The same network with potentials and weights in mV."""
    cell = Neuron(
        "graded",
        "du/dt = (-u + b + z + beta*(d - V))/tau : volt\nV = sigmoid(u/slope) : 1\nz : volt\nd : 1",
        parameters={"tau": "10 ms", "b": "0 mV", "beta": "0 mV", "slope": "1 mV"},
    )
    send = Synapse("send", "w : volt", transmits="w*V_pre", target="z")
    cells = tuple(
        p
        if p.neuron is source
        else Population(p.name, cell, p.size, parameters={"b": quantity(np.zeros(p.size), "mV")})
        for p in network.populations
    )
    links = tuple(
        replace(p, synapse=send, weights=quantity(values(network)[f"{p.name}.w"], "mV")) for p in network.projections
    )
    return replace(network, populations=cells, projections=links)


def test_units_change_nothing_but_the_unit_of_the_gradient() -> None:
    plain, volts = TASK.network(), in_millivolts(TASK.network())
    expected = slopes(compiled(plain), beta=0.5, tolerance=1e-6)
    found = slopes(compiled(volts), beta="0.5 mV", tolerance="1e-6 mV/second")
    for name, slope in expected.items():
        np.testing.assert_allclose(found[name], slope / 1e-3, rtol=1e-5, atol=1e-6)
    for wrong in ({"beta": "0.5 nA"}, {"tolerance": "1 mV"}):
        (option,) = wrong
        with pytest.raises(OptionError, match=f"{option}=.* has the unit of .*; give one of"):
            learning.get("contrastive", **{"beta": "0.5 mV", **wrong}).init(compiled(volts))


# -- trajectories -------------------------------------------------------------------------------------------------


def test_a_trajectory_that_stands_still_gives_the_settled_gradient() -> None:
    program = compiled()
    expected, found = (slopes(program, TASK.batch(30), beta=0.1, trajectory=t) for t in (False, True))
    for name, slope in expected.items():
        np.testing.assert_allclose(found[name], slope, rtol=1e-6, atol=1e-10)


def test_contrasts_are_averaged_over_the_steps_that_count() -> None:
    """Of a slow trajectory they are nearly the mean of those of its points; masked, the mean of those that count."""
    program = compiled()
    steps = 6000
    x = np.repeat(X[None, 1], steps, axis=0) * np.linspace(0, 1, steps)[:, None]
    inputs, targets = {"x": x[None]}, np.full((1, steps, 1), 0.9)
    chosen = np.arange(steps // 200, steps, steps // 100)
    points = held(x[chosen], targets[0, chosen], 1)
    expected = slopes(program, points, beta=0.1)
    whole = slopes(program, Batch(inputs, targets), beta=0.1, trajectory=True)
    mask = np.arange(steps)[None] < steps // 2
    half = slopes(program, Batch(inputs, targets, mask), beta=0.1, trajectory=True)
    first = slopes(program, held(x[chosen[:50]], targets[0, chosen[:50]], 1), beta=0.1)
    for slow, still in ((whole, expected), (half, first)):
        for name, slope in still.items():
            np.testing.assert_allclose(slow[name], slope, atol=5e-3 * np.abs(slope).max())
    assert np.abs(half["feed.w"] - whole["feed.w"]).max() > 0.1 * np.abs(whole["feed.w"]).max()
