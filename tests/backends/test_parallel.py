"""Worker processes: the numbers don't depend on how many there are."""

from __future__ import annotations

import numpy as np

import backends
from backends.parallel import ParallelProgram
from neuro.parameters import values
from tests.backends.networks import drive, networks


def test_any_number_of_workers_gives_the_same_numbers() -> None:
    network = networks()["noise"]
    weights = np.stack([f * values(network)["feed.w"] for f in np.linspace(0.8, 1.2, 7)])
    inputs = drive(network, steps=100)
    found = [
        ParallelProgram("reference", network, workers=w, chunk=3).run(
            {"feed.w": weights}, inputs, ["cells.v"], population=7
        )
        for w in (1, 2)
    ]
    whole = backends.get("reference").compile(network)
    expected = whole.run({"feed.w": weights}, inputs, ["cells.v"], population=7)
    assert expected.spike_count() > 100
    for other in found:
        np.testing.assert_array_equal(found[0].traces["cells.v"], other.traces["cells.v"])
        np.testing.assert_array_equal(expected.spikes["cells"], other.spikes["cells"])
        np.testing.assert_allclose(expected.traces["cells.v"], other.traces["cells.v"], rtol=1e-12)
    alone = ParallelProgram("reference", network, workers=2).run({"feed.w": weights[3]}, inputs, ["cells.v"])
    np.testing.assert_array_equal(alone.spikes["cells"], expected.spikes["cells"][3])
