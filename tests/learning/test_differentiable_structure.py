"""Differentiable structure: by closed forms what a cell is needed for, what comes and goes, and that cells without weights aren't there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import Population, learning, surgery
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.learning.common.cell_parameters import CellParameters
from neuro.learning.common.parametrisation import ParameterError
from neuro.protocols import Batch, RunError

TRAINED = ("*.w", "*.b")


def task_of(**options: Any) -> Any:
    return tasks.get("grouped-letters", **{"updates": 60, "hidden": 16, "start": 8, **options})


def program_of(task: Any, backend: str = "native") -> Any:
    return backends.get(backend).compile(task.network(3))


def rule_of(**options: Any) -> Any:
    return learning.get("differentiable-structure", **{"trainable": TRAINED, "seed": 5, **options})


def batches(task: Any, number: int) -> list[Batch]:
    return list(islice(task.train_batches(streams.generator(7, "data"), 1), number))


def trained(
    rule: Any, program: Any, given: Sequence[Batch], task: Any, parameters: Any = None, state: Any = None
) -> Any:
    """Parameters, state, losses and numbers of cells after these batches."""
    parameters = dict(values(program.network)) if parameters is None else parameters
    state = rule.init(program, parameters) if state is None else state
    losses, cells = [], []
    for batch in given:
        parameters, state, found = rule.step(program, parameters, state, batch, task)
        losses.append(found["loss"])
        cells.append(found["cells"])
    return parameters, state, losses, cells


def unchanging() -> dict[str, Any]:
    return {"p_add": 0.0, "p_delete": 0.0, "p_anyway": 0.0}


# -- the update --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_the_gradient_of_a_window_is_that_of_finite_differences(backend: str) -> None:
    """Of forty characters that go on from a state, by every kind of parameter."""
    task = task_of(hidden=8)
    program, random = program_of(task, backend), np.random.default_rng(0)
    now = {n: v + 0.3 * random.standard_normal(v.shape) for n, v in values(program.network).items()}
    first, batch = batches(task, 2)
    judge: Any = backends.get("reference").compile(task.network(3))
    begin = judge.run(now, first.inputs).state
    batch = replace(batch, state=begin, follows=None)
    slopes = rule_of().gradient(program, now, batch, task)

    def loss(parameters: Any) -> float:
        y = judge.run(parameters, batch.inputs, ["output.y"], state=begin).traces["output.y"]
        logs = y - np.log(np.exp(y).sum(axis=-1, keepdims=True))
        return -float(np.take_along_axis(logs, batch.targets[..., None], axis=-1).sum())

    for name, slope in slopes.items():
        direction = random.standard_normal(slope.shape)
        ends = [loss({**now, name: now[name] + s * 1e-5 * direction}) for s in (1, -1)]
        assert (slope * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-8)


def test_an_update_is_rmsprop_with_its_step_clipped_and_then_the_penalty() -> None:
    """By hand; the memory of weights into cells and of their biases begins at 0.01, that of all others at 0, so that the clip acts there."""
    task = task_of()
    program, rule = program_of(task), rule_of(**unchanging())
    before, batch = dict(values(program.network)), batches(task, 1)[0]
    g = rule.gradient(program, before, replace(batch, follows=None), task)
    after, state, _, _ = trained(rule, program, [batch], task)
    clipped = 0
    for name, slope in g.items():
        memory = 0.99 * (0.01 if name in ("enter.w", "hidden.b") else 0.0) + 0.01 * slope**2
        np.testing.assert_allclose(state.memory[name], np.where(np.arange(16) < 8, 1, 1) * memory if name == "hidden.b" else memory, rtol=1e-12, atol=0.0 if name not in ("enter.w", "hidden.b") else 2e-4)  # fmt: skip
        step = np.clip(0.01 * slope / np.sqrt(memory + 1e-8), -0.01, 0.01)
        value = before[name] - np.where(slope == 0, 0, step)
        value -= 1e-4 * np.sign(value) if name in ("loop.w", "readout.w") else 0
        np.testing.assert_allclose(after[name], value, rtol=0, atol=1e-15)
        clipped += int((np.abs(step) == 0.01).sum())
    assert clipped > 20


def test_a_fixed_size_has_the_same_penalty() -> None:
    task = task_of(hidden=8)
    program = program_of(task)
    fixed, _, _, cells = trained(rule_of(grows=False), program, batches(task, 3), task)
    open_, _, _, _ = trained(rule_of(**unchanging()), program, batches(task, 3), task)
    free, _, _, _ = trained(rule_of(grows=False, l1=0.0), program, batches(task, 3), task)
    for name in fixed:
        np.testing.assert_array_equal(fixed[name], open_[name])
    assert not np.array_equal(fixed["loop.w"], free["loop.w"]) and set(cells) == {8}


# -- what a cell is needed for -----------------------------------------------------------------------------------


def weights(size: int, post: int = 4) -> dict[str, Any]:
    random = np.random.default_rng(2)
    return {"loop.w": random.standard_normal((size, size)), "readout.w": random.standard_normal((size, post))}


def test_what_counts_are_the_weights_that_leave_a_cell() -> None:
    """norm_i = 1/2 (sum over outputs + 4/N sum over cells) of |weights from i|; weights into i change nothing."""
    program, rule = program_of(task_of(hidden=5, start=5)), rule_of()
    state, w = rule.init(program), weights(5)
    found = rule.needed(w, state.cells, state.alive)
    for i in range(5):
        by_hand = 0.5 * (sum(abs(x) for x in w["readout.w"][i]) + 4 * sum(abs(x) for x in w["loop.w"][i]) / 5)
        assert found[i] == pytest.approx(by_hand, rel=1e-14)
    more = {**w, "loop.w": w["loop.w"].copy()}
    more["loop.w"][[0, 1, 3, 4], 2] *= 7
    changed = rule.needed(more, state.cells, state.alive)
    assert changed[2] == found[2] and (changed[[0, 1, 3, 4]] > found[[0, 1, 3, 4]]).all()


def test_without_the_size_in_it_the_size_would_move_the_threshold() -> None:
    """Twice as many cells with the same weights have the same norms."""
    rule, w = rule_of(), weights(6)
    twice = {"loop.w": np.tile(w["loop.w"], (2, 2)), "readout.w": np.tile(w["readout.w"], (2, 1))}
    norms = [
        rule.needed(x, rule.init(program_of(task_of(hidden=n, start=n))).cells, np.ones(n, bool)) for n, x in ((6, w), (12, twice))
    ]  # fmt: skip
    np.testing.assert_allclose(norms[1], np.tile(norms[0], 2), rtol=1e-14)


# -- coming and going --------------------------------------------------------------------------------------------


def test_a_new_cell_has_half_of_the_threshold() -> None:
    """sum |weights out| = T/2 and sum |weights within| = T N/8 with N before; so, with that N, the norm is T/2, and it counts as spare at once."""
    task = task_of()
    program, rule = program_of(task), rule_of()
    parameters, state, _, _ = trained(rule, program, batches(task, 2), task, state=None)
    n, theta = state.number, {name: v.copy() for name, v in parameters.items()}
    i = rule.add(program.network, theta, state)
    within, out = np.abs(theta["loop.w"][i]).sum(), np.abs(theta["readout.w"][i]).sum()
    assert out == pytest.approx(0.05 / 2, rel=1e-12) and within == pytest.approx(0.05 * n / 8, rel=1e-12)
    assert 0.5 * (out + 4 * within / n) == pytest.approx(0.05 / 2, rel=1e-12)
    assert np.count_nonzero(theta["loop.w"][i]) == n + 1 == state.number
    assert rule.needed(theta, state.cells, state.alive)[i] < 0.05
    assert theta["hidden.b"][i] == 0 and (np.asarray(state.carried.variables["hidden.x"])[..., i] == 0).all()
    into = np.concatenate([theta["enter.w"][:, i], theta["loop.w"][:i, i]])
    assert 0 < np.abs(into).max() < 0.05 and np.count_nonzero(into) == 4 + n
    for name, memory in state.memory.items():
        for index in state.cells.of_cell(name, i) if name in state.cells.of_cells else ():
            assert (memory[index] == 0.01).all()


@pytest.mark.parametrize("version", ["august", "july"])
def test_everything_fits_together_whatever_comes_and_goes(version: str) -> None:
    """Arrays keep their shapes; a cell is there exactly where it has weights, and only there is there anything else."""
    task = task_of(multipliers=version == "july")
    program = program_of(task)
    rule = rule_of(
        version=version,
        trainable=(*TRAINED, "hidden.m") if version == "july" else TRAINED,
        p_add=0.5,
        p_delete=0.3,
        p_anyway=0.4,
        threshold=0.1,
    )
    parameters, state = dict(values(program.network)), None
    seen = set()
    for batch in batches(task, 60):
        parameters, state, _, cells = trained(rule, program, [batch], task, parameters, state)
        seen.update(cells)
        gone = ~state.alive
        np.testing.assert_array_equal(state.cells.alive(parameters), state.alive)
        for name in state.cells.of_cells:
            assert parameters[name].shape == state.memory[name].shape == values(program.network)[name].shape
            for i in np.flatnonzero(gone):
                for index in state.cells.of_cell(name, i):
                    assert not parameters[name][index].any() or name == "hidden.m"
        assert not np.asarray(state.carried.variables["hidden.x"])[..., gone].any()
        cut = rule.cut(program.network, state)
        for name, memory in cut.arrays(state.memory).items():
            assert memory.shape == cut.parameters(parameters)[name].shape
        assert cut.state(state.carried).variables["hidden.x"].shape == (1, state.number)
    assert len(seen) > 4 and max(seen) <= 15


def test_the_number_of_cells_stays_below_the_room_for_them() -> None:
    task = task_of(hidden=6, start=3)
    _, _, _, cells = trained(rule_of(p_anyway=1.0, p_delete=0.0), program_of(task), batches(task, 6), task)
    assert cells == [4, 5, 5, 5, 5, 5]


def test_spare_cells_are_deleted_with_that_probability_but_for_one() -> None:
    task = task_of(hidden=40, start=31)
    program = program_of(task)
    small = {n: np.where(np.abs(v) > 0, 1e-6, 0) for n, v in values(program.network).items()}
    rule = rule_of(p_add=0.0, p_anyway=0.0, p_delete=0.1, threshold=10.0)
    _, _, _, cells = trained(rule, program, batches(task, 60), task, small)
    gone = 30 - np.array(cells) + 1
    assert cells[-1] == 1 and (np.diff(cells) <= 0).all()
    assert abs(gone[6] - 30 * (1 - 0.9**7)) < 3 * np.sqrt(30 * 0.9**7 * (1 - 0.9**7))


# -- cells that aren't there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", "native", "torch"])
def test_a_network_with_room_is_the_network_without(backend: str) -> None:
    """Run, loss and gradient of 16 cells, of which 8 have weights, are those of the network of these 8: native's run bit for bit, all else but for rounding."""
    task, random = task_of(), np.random.default_rng(0)
    network = task.network(3)
    there = np.sort(random.permutation(16)[:8])
    mixed = surgery.rearranged(
        network, "hidden", np.argsort(np.concatenate([there, np.setdiff1d(np.arange(16), there)]))
    )
    wide, now = mixed.after, mixed.parameters(values(network))
    now = {n: v * (50 if n in ("loop.w", "readout.w") else 1) for n, v in now.items()}
    cut = surgery.removed(
        wide, "hidden", np.flatnonzero(~rule_of().init(backends.get("native").compile(wide), now).alive)
    )
    assert cut.after.population("hidden").size == 8
    programs = [backends.get(backend).compile(n) for n in (wide, cut.after)]
    first, batch = batches(task, 2)
    states = [p.run(w, first.inputs).state for p, w in zip(programs, (now, cut.parameters(now)), strict=True)]
    assert cut.state(states[0]).differences(states[1]) == {} or backend != "native"
    runs = [
        p.run(w, batch.inputs, ["hidden.x", "output.y"], state=s)
        for p, w, s in zip(programs, (now, cut.parameters(now)), states, strict=True)
    ]
    exact = 0.0 if backend == "native" else 1e-13
    np.testing.assert_allclose(
        runs[0].traces["hidden.x"][..., cut.cells], runs[1].traces["hidden.x"], rtol=0, atol=exact
    )
    np.testing.assert_allclose(runs[0].traces["output.y"], runs[1].traces["output.y"], rtol=0, atol=exact)
    assert np.abs(runs[0].traces["hidden.x"]).max() > 0.01
    if backend == "reference":
        return
    slopes = [
        rule_of().gradient(p, w, replace(batch, state=s, follows=None), task)
        for p, w, s in zip(programs, (now, cut.parameters(now)), states, strict=True)
    ]
    for name, slope in cut.arrays(slopes[0]).items():
        np.testing.assert_allclose(slope, slopes[1][name], rtol=0, atol=1e-13 * np.abs(slope).max())
        inside = np.zeros_like(slopes[0][name])
        cells = CellParameters.of(wide, "hidden", programs[0].declared, tuple(slopes[0]))
        if name in cells.of_cells:
            gone = np.setdiff1d(np.arange(16), cut.cells)
            for i in gone:
                for index in cells.of_cell(name, i):
                    inside[index] = 1
        assert not slopes[0][name][inside > 0].any()


def test_training_is_the_same_with_more_room_and_moved_into_it() -> None:
    """Which numbers are drawn depends on the cells that live: in 24 and 40 places, and in 24, moved to 40 in the middle."""
    tasks_ = {n: task_of(hidden=n, start=4) for n in (24, 40)}
    options = {"p_add": 0.3, "p_delete": 0.1, "p_anyway": 0.1, "threshold": 0.2}
    given, found = batches(tasks_[24], 40), {}
    for n, task in tasks_.items():
        parameters, state, losses, cells = trained(rule_of(**options), program_of(task), given, task)
        found[n] = losses, cells, rule_of().cut(task.network(3), state).parameters(parameters)
    small, rule = tasks_[24], rule_of(**options)
    parameters, state, losses, cells = trained(rule, program_of(small), given[:20], small)
    wider = surgery.added(small.network(3), "hidden", 16)
    program = backends.get("native").compile(wider.after)
    state = rule.load(program, rule.operated(program, rule.save(state), wider))
    parameters, state, late, more = trained(rule, program, given[20:], small, wider.parameters(parameters), state)
    found["moved"] = losses + late, cells + more, rule.cut(wider.after, state).parameters(parameters)
    assert max(found[24][1]) > 8 and len(set(found[24][1])) > 4
    for other in (40, "moved"):
        assert found[other][1] == found[24][1]
        np.testing.assert_allclose(found[other][0], found[24][0], rtol=1e-9)
        for name, value in found[24][2].items():
            np.testing.assert_allclose(found[other][2][name], value, rtol=0, atol=1e-9 * max(np.abs(value).max(), 1e-3))


# -- refusals ----------------------------------------------------------------------------------------------------


def refused(message: str, network: Any = None, **options: Any) -> None:
    program: Any = backends.get("native").compile(task_of().network(0) if network is None else network)
    with pytest.raises(ParameterError, match=message):
        rule_of(**options).init(program)


def test_what_does_not_fit_is_refused_by_name() -> None:
    network = task_of().network(0)
    refused(r"'readout.w' isn't trained", trainable=("enter.w", "loop.w"))
    refused("'hidden.m', the factor", version="july")
    one = replace(
        network, populations=tuple(replace(p, parameters={}) if p.name == "hidden" else p for p in network.populations)
    )
    refused("'hidden.b' is one number for all cells", one)
    signed = replace(
        network,
        projections=tuple(replace(p, bounds=("-1", "1")) if p.name == "loop" else p for p in network.projections),
    )
    refused(r"'loop.w' has bounds", signed)
    refused("nothing reads population 'output'", population="output")
    with pytest.raises(learning.UnknownRuleError, match="p_add=2"):
        rule_of(p_add=2.0)
    with pytest.raises(learning.UnknownRuleError, match="version"):
        rule_of(version="june")
    task = task_of()
    with pytest.raises(RunError, match="follows another one"):
        trained(rule_of(), program_of(task), batches(task, 2)[1:], task)
    assert isinstance(network.population("hidden"), Population)
