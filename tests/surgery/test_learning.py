"""Training goes on where cells that nothing reads are taken away, or silent ones added: parameters, optimiser and state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import ModelError, Network, Pairs, learning
from neuro.compiler.parameters import values
from neuro.learning.gradient.gradient_rule import RuleError
from neuro.surgery import Surgery, added, removed
from tests.tasks.own_data import examples, spiking

TASK = tasks.get("grouped-letters", hidden=7, start=7, updates=8)
UNHEARD = (2, 5)


def lists() -> Network:
    """The task's network with its synapses in lists, without those from two cells."""
    network, random = TASK.network(0), np.random.default_rng(1)

    def listed(p: Any) -> Any:
        pre, post = (a.ravel() for a in np.indices(p.weights.shape))
        kept = ~np.isin(pre, UNHEARD) if p.pre == "hidden" else np.ones(len(pre), bool)
        weights = random.normal(0, 0.4, int(kept.sum()))
        return replace(p, connectivity=Pairs(pre[kept], post[kept]), weights=weights)

    return replace(network, projections=tuple(listed(p) for p in network.projections))


def learn(rule: Any, program: Any, batches: Any, parameters: Any, state: Any) -> tuple[Any, Any, list[float]]:
    losses = []
    for batch in batches:
        parameters, state, found = rule.step(program, parameters, state, batch, TASK)
        losses.append(found["loss"])
    return parameters, state, losses


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("what", ["removed", "added"])
def test_training_goes_on_as_if_nothing_had_happened(what: str, optimiser: str) -> None:
    """Of what is left, or was there before: the same losses and parameters to rounding, batches that follow each other included."""
    options = {"optimiser_options": {"momentum": 0.9}} if optimiser == "sgd" else {}
    rule = learning.get("bptt", optimiser=optimiser, learning_rate=5e-3, trainable=("*.w", "*.b"), **options)
    network, batches = lists(), list(TASK.train_batches(np.random.default_rng(0), 1))
    program = backends.get("native").compile(network)
    before, state, _ = learn(rule, program, batches[:4], dict(values(network)), rule.init(program))
    cut: Surgery = removed(network, "hidden", UNHEARD) if what == "removed" else added(network, "hidden", 3)
    other = backends.get("native").compile(cut.after)
    saved = rule.operated(other, rule.save(state), cut)
    after, _, losses = learn(rule, program, batches[4:], before, state)
    found, _, again = learn(rule, other, batches[4:], cut.parameters(before), rule.load(other, saved))
    np.testing.assert_allclose(again, losses, rtol=1e-12)
    for name, value in cut.parameters(after).items():
        there = (..., slice(7)) if what == "added" and name == "hidden.b" else (...,)
        np.testing.assert_allclose(found[name][there], value[there], rtol=0, atol=1e-12)
    assert max(np.abs(after[n] - before[n]).max() for n in after) > 1e-3


def test_memory_of_which_nobody_knows_the_cells_is_refused() -> None:
    task = tasks.get("rflo", hidden=4, updates=2)
    network = task.network(0)
    program, rule = backends.get("reference").compile(network), learning.get("rflo")
    saved = rule.save(rule.init(program))
    assert any(name.startswith("memory/") for name in saved)
    cut = removed(network, "hidden", [1])
    with pytest.raises(RuleError, match=r"rule 'rflo', 'memory/.*: nothing says what becomes of it"):
        rule.operated(backends.get("reference").compile(cut.after), saved, cut)


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop", "sgd"])
def test_a_number_for_all_cells_that_becomes_one_for_each(optimiser: str) -> None:
    """Each goes on with the memory of the one; the count of steps stays one number."""
    network = spiking(4)
    task = tasks.from_arrays(*examples(10), network)
    options = {"optimiser_options": {"momentum": 0.9}} if optimiser == "sgd" else {}
    rule = learning.get("bptt", optimiser=optimiser, learning_rate=1e-3, trainable=("link.w", "out.tau_m"), **options)
    program, batch = backends.get("torch").compile(network), task.test_batch()
    parameters, state, _ = rule.step(program, values(network), rule.init(program), batch, task)
    before = rule.save(state)
    cut = added(network, "out", 1, values={"out.tau_m": 0.02})
    other = backends.get("torch").compile(cut.after)
    after = rule.operated(other, before, cut)
    for name, value in before.items():
        if name.startswith("optimiser/1/") and not name.endswith("step"):
            np.testing.assert_array_equal(after[name], [value] * 4 + [0.0])
        elif name.endswith("step"):
            np.testing.assert_array_equal(after[name], value)
    own = tasks.from_arrays(*examples(10), cut.after)
    found, _, _ = rule.step(other, cut.parameters(parameters), rule.load(other, after), batch, own)
    assert found["out.tau_m"].shape == (5,)


def test_what_belongs_to_another_network_is_refused() -> None:
    cut = removed(spiking(4), "out", [1])
    for shape in ((4, 9), (2, 2), (4,), ()):
        with pytest.raises(ModelError, match=r"array 'link\.w': the shape is .* the network before has \(4, 4\)"):
            cut.arrays({"link.w": np.ones(shape)})
    for size in (3, 9):
        run = backends.get("reference").compile(spiking(size)).run(inputs={"x": np.zeros((1, 3, 4))})
        with pytest.raises(ModelError, match=r"the network before has \(4,\) there"):
            cut.state(run.state)
    assert cut.arrays({"link.w": np.ones((7, 4, 4))})["link.w"].shape == (7, 4, 3)


@pytest.mark.parametrize("number", [-1, 1.5, True, "1"])
def test_a_number_of_cells_that_is_none(number: Any) -> None:
    with pytest.raises(ModelError, match="cells can't be added"):
        added(spiking(4), "out", number)
