"""Training goes on where cells that nothing reads are taken away, or silent ones added: parameters, optimiser and state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import Network, Pairs, learning
from neuro.compiler.parameters import values
from neuro.learning.gradient.gradient_rule import RuleError
from neuro.surgery import Surgery, added, removed

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
