"""A batch whose trials begin elsewhere than the network: who honours it, who refuses it; and what ES takes from other rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import UnsupportedError, learning
from neuro.compiler.parameters import values
from neuro.learning.common.summed_inputs import silent
from neuro.learning.search.search_space import losses
from neuro.state import State

TASK = tasks.get("rflo", hidden=4)
NETWORK = TASK.network(0)


def given(program: Any) -> Any:
    """The task's batch, from a state of its own."""
    batch = TASK.batch()
    first = program.run(inputs=batch.inputs).state
    start = {n: np.random.default_rng(0).normal(0, 0.5, v.shape) for n, v in first.variables.items()}
    return replace(batch, state=State(first.dt, 0, first.lead, variables=start))


def loss(program: Any, parameters: Any, batch: Any) -> float:
    """By a run that is told the state by hand."""
    found = program.run(parameters, batch.inputs, TASK.record(), state=batch.state)
    return -TASK.metric(found, batch)


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_all_candidates_begin_with_the_state(backend: str) -> None:
    program: Any = backends.get(backend).compile(NETWORK)
    batch, weights = given(program), values(NETWORK)["loop.w"]
    both = {"loop.w": np.stack([weights, 1.5 * weights])}
    found = losses(program, both, batch, TASK, trial=3, fitness="metric")
    expected = [loss(program, {"loop.w": w}, batch) for w in both["loop.w"]]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert abs(found[0] - loss(program, {}, replace(batch, state=None))) > 1e-3 * found[0]


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("truncate", [0, 1000])
def test_the_gradient_is_that_of_trials_that_begin_there(backend: str, truncate: int) -> None:
    program: Any = backends.get(backend).compile(NETWORK)
    batch, now = given(program), dict(values(NETWORK))
    slope = learning.get("bptt", truncate=truncate).gradient(program, now, batch, TASK)["loop.w"]
    other = learning.get("bptt").gradient(program, now, replace(batch, state=None), TASK)["loop.w"]
    truth = learning.get("finite-differences", sigma=1e-6, trainable=("loop.w",)).gradient(program, now, batch, TASK)[
        "loop.w"
    ]
    np.testing.assert_allclose(slope, truth, rtol=0, atol=1e-4 * np.abs(truth).max())
    assert np.abs(slope - other).max() > 0.05 * np.abs(other).max()


@pytest.mark.parametrize("name", ["eprop", "rflo", "rtrl", "np", "wp0", "flossing"])
def test_rules_that_read_the_initial_state_of_the_network_refuse_it(name: str) -> None:
    rule = learning.get(name, **({"form": "local"} if name == "flossing" else {}))
    network = rule.attach(NETWORK) if name == "np" else NETWORK
    program: Any = backends.get("reference").compile(network)
    batch = given(backends.get("reference").compile(NETWORK))
    state, now = rule.init(program), dict(values(network))
    with pytest.raises(UnsupportedError, match=r"a batch with a state .*use rule 'bptt' or 'es'"):
        rule.step(program, now, state, batch, TASK)


@pytest.mark.parametrize("name", ["np", "wp0", "hybrid"])
def test_perturbations_see_what_another_rule_has_learned(name: str) -> None:
    rule: Any = learning.get(name, trainable=("loop.w",))
    network = rule.attach(NETWORK)
    program: Any = backends.get("native").compile(network)
    now = {**values(NETWORK), "readout.w": 2 * values(NETWORK)["readout.w"]}
    batch = replace(TASK.batch(), inputs=silent(network, TASK.batch().inputs))
    after, _, metrics = rule.step(program, now, rule.init(program, now), batch, TASK)
    bptt = learning.get("bptt", trainable=("loop.w",))
    wanted = bptt.step(program, now, bptt.init(program, now), batch, TASK)[2]["loss"]
    assert metrics["loss"] == pytest.approx(wanted, rel=1e-6)
    np.testing.assert_array_equal(after["readout.w"], now["readout.w"])


@pytest.mark.parametrize("confirmed", [False, True])
def test_es_sees_what_another_rule_has_learned(confirmed: bool) -> None:
    """The loss at the mean is that of all parameters as they are, not of the network's own readout."""
    program: Any = backends.get("native").compile(NETWORK)
    options = {"confirm": program, "elite": 1} if confirmed else {}
    rule = learning.get("es", sampling="plain", samples=1, sigma=1e-12, trainable=("loop.w",), **options)
    now = {**values(NETWORK), "readout.w": 2 * values(NETWORK)["readout.w"]}
    batch = TASK.batch()
    after, _, metrics = rule.step(program, now, rule.init(program, now), batch, TASK)
    wanted = learning.get("bptt").step(program, now, learning.get("bptt").init(program, now), batch, TASK)[2]["loss"]
    assert metrics["loss"] == pytest.approx(wanted, rel=1e-6)
    np.testing.assert_array_equal(after["readout.w"], now["readout.w"])


def test_contrastive_learning_refuses_it() -> None:
    task = tasks.get("xor")
    rule = learning.get("contrastive")
    network = rule.attach(task.network(0))
    program: Any = backends.get("reference").compile(network)
    batch = next(iter(task.train_batches(np.random.default_rng(0), 4)))
    begun = program.run(inputs=batch.inputs).state
    with pytest.raises(UnsupportedError, match="a batch with a state for rule 'contrastive'"):
        rule.step(program, values(network), rule.init(program), replace(batch, state=begun), task)
