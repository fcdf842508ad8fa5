"""One Morris-Lecar neuron: the landscape of its loss, and a loss of whole numbers that ES follows and backpropagation can't."""

from __future__ import annotations

import numpy as np
import pytest

import backends
import tasks
from neuro import learning
from neuro.compiler.parameters import values
from neuro.learning.search.search_space import losses

# Losses of the prototype (rk4, leak at -55 mV) by current in 100 uA/cm**2: rest, spikes, depolarisation block.
LANDSCAPE = {0.2: 0.0, 0.3: 0.102, 0.4: 0.190, 0.5: 0.216, 0.7: 0.264, 1.0: 0.287, 1.3: 0.0}


def test_landscape_of_the_output_has_two_regions_of_zero() -> None:
    task = tasks.get("turn-off", horizon=1000)
    program = backends.get("auto").compile(task.network(0))
    currents = np.array(list(LANDSCAPE))[:, None, None]
    leak = np.full((len(currents), 1), -55e-3)
    found = losses(program, {"drive.w": currents, "cells.E_L": leak}, task.test_batch(), task)
    np.testing.assert_allclose(found, list(LANDSCAPE.values()), atol=0.02)


@pytest.mark.parametrize("name", ["native", "torch"])
def test_backpropagation_sees_nothing_of_a_spike_count(name: str) -> None:
    task = tasks.get("spike-count", seconds=0.2)
    program = backends.get(name).compile(task.network(0))
    slope = learning.get("bptt").gradient(program, dict(values(program.network)), task.test_batch(), task)
    assert not slope["drive.w"].any()


def test_es_follows_a_spike_count() -> None:
    """From 13 to 9 spikes a second."""
    task = tasks.get("spike-count", target=9, current=50.0)
    program = backends.get("auto").compile(task.network(0))
    rule = learning.get("es", **task.settings.rules["es"])
    state, parameters, batch = rule.init(program), dict(values(program.network)), task.test_batch()
    met = []
    for _ in range(8):
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
        given = {"drive.w": parameters["drive.w"]}
        met.append(task.metric(program.run(given, batch.inputs, task.record()), batch))
    assert met[0] <= -3 and max(met) == 0


@pytest.mark.parametrize("options", [{"target": -1}, {"seconds": 0.0}])
def test_counts_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=next(iter(options))):
        tasks.get("spike-count", **options)
