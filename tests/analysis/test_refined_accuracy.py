"""A metric on a finer clock, whatever it compares: labels, values, one for each step, some steps only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro.analysis.refinement import finer
from neuro.analysis.replay import refined_accuracy
from neuro.compiler.parameters import values
from tests.tasks.own_data import CHANNELS, STEPS, examples, graded, spiking

RANDOM = np.random.default_rng(0)
CURRENTS = RANDOM.normal(0, 1, (8, STEPS, CHANNELS))
FORMS: dict[str, Any] = {
    "labels": (*examples(8), spiking(), ""),
    "values": (CURRENTS, RANDOM.normal(0, 1, (8, 2)), graded(), "out.y"),
    "step labels": (CURRENTS, RANDOM.integers(0, 2, (8, STEPS)), graded(), "out.y"),
    "step values": (CURRENTS, RANDOM.normal(0, 1, (8, STEPS, 2)), graded(), "out.y"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_read_on_the_networks_own_clock(form: str, masked: bool) -> None:
    x, y, network, output = FORMS[form]
    mask = np.tri(8, STEPS, dtype=bool) if masked else None
    task = tasks.from_arrays(x, y, network, mask=mask, output=output, test=0.5)
    batch, torch = task.test_batch(), backends.get("torch")
    own = task.metric(torch.compile(network).run(inputs=batch.inputs, record=task.record()), batch)
    for factor in (1, 4):
        program = torch.compile(finer(network, factor))
        found = refined_accuracy(task, program, network, values(network), batch, factor)
        assert found == pytest.approx(own, rel=0.02, abs=0.26 if "labels" in form else 0)
