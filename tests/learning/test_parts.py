"""Batches that are parts of longer trials: the state is carried, the gradient isn't; a stopped run goes on with it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import Input, Network, Population, Projection, RunError, Synapse, UnsupportedError, learning, library
from neuro.compiler.parameters import values
from neuro.protocols import Batch
from neuro.state import State

Array = np.ndarray
STEPS, PART = 24, 8


class Stream:
    """Two recurrent leaky cells that see a long input in parts; the loss is a square of what they are."""

    name, version, output = "stream", 1, "cells"

    def network(self, seed: int) -> Network:
        unit = library.get("leaky_tanh")
        cells = Population("cells", unit, 2)
        link = Synapse("link", "w : 1", transmits="w*r_pre", target="z")
        loop = Projection("loop", "cells", "cells", link, np.array([[0.5, -1.0], [0.8, 0.3]]))
        return Network((cells,), (loop,), (Input("x", 2, "current", "cells.z"),), dt="5 ms", seed=seed)

    def whole(self) -> Array:
        return np.random.default_rng(0).normal(0, 1, (3, STEPS, 2))

    def batches(self) -> list[Batch]:
        parts = np.split(self.whole(), STEPS // PART, axis=1)
        return [Batch({"x": p}, np.zeros(3), follows=k > 0) for k, p in enumerate(parts)]

    def record(self) -> tuple[str, ...]:
        return ("cells.x",)

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        x = traces["cells.x"]
        return (x**2).sum() if isinstance(x, torch.Tensor) else None


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_parts_of_a_trial_are_the_trial(backend: str) -> None:
    """Without updates in between, losses and gradients of the parts sum to those of truncated BPTT of the whole."""
    task = Stream()
    program: Any = backends.get(backend).compile(task.network(0))
    rule = learning.get("bptt", learning_rate=0.0)
    parameters, state, total, slope = values(program.network), rule.init(program), 0.0, 0.0
    for batch in task.batches():
        loss, slopes = rule.estimate(program, parameters, batch, task, state.memory, 0)
        total, slope = total + loss, slope + slopes["loop.w"]
    whole = Batch({"x": task.whole()}, np.zeros(3))
    wanted, slopes = learning.get("bptt", truncate=PART).estimate(program, parameters, whole, task, {}, 0)
    assert total == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(slope, slopes["loop.w"], rtol=1e-11)
    full = learning.get("bptt").estimate(program, parameters, whole, task, {}, 0)[1]["loop.w"]
    assert np.abs(full - slope).max() > 1e-3 * np.abs(full).max()


def test_a_stopped_run_goes_on_with_the_carried_state() -> None:
    task = Stream()
    program: Any = backends.get("native").compile(task.network(0))

    def trained(stop: int | None) -> tuple[Any, list[float]]:
        rule = learning.get("bptt", learning_rate=0.05)
        parameters, state, losses = dict(values(program.network)), rule.init(program), []
        for k, batch in enumerate(task.batches() * 2):
            if k == stop:
                file = io.BytesIO()
                np.savez(file, **rule.save(state))
                file.seek(0)
                state = learning.get("bptt", learning_rate=0.05).load(program, dict(np.load(file, allow_pickle=False)))
            parameters, state, metrics = rule.step(program, parameters, state, batch, task)
            losses.append(metrics["loss"])
        return parameters["loop.w"], losses

    whole, again = trained(None), trained(4)
    np.testing.assert_array_equal(whole[0], again[0])
    assert whole[1] == again[1] and len(set(whole[1])) == 6


def test_state_survives_as_arrays() -> None:
    program = backends.get("native").compile(Stream().network(0))
    state = program.run(inputs={"x": Stream().whole()}).state
    again = State.from_arrays(state.arrays())
    assert not state.differences(again) and again.lead == (3,) and again.step == STEPS


def test_rules_that_carry_nothing_refuse_parts_by_name() -> None:
    task = Stream()
    program: Any = backends.get("native").compile(task.network(0))
    first, second = task.batches()[:2]
    with pytest.raises(RunError, match="follows=False"):
        learning.get("bptt").estimate(program, values(program.network), second, task, {}, 0)
    for name in ("es", "np", "eprop", "flossing", "actor-critic"):
        rule = learning.get(name)
        with pytest.raises(UnsupportedError, match=f"'{name}'"):
            rule.step(program, values(program.network), rule.init(program), first, task)
