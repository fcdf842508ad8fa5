"""Comparisons as numbers, `int(a > b)`, in statements: of the run's type, whatever they multiply."""

from __future__ import annotations

import numpy as np
import pytest

import backends
from neuro import Network, Neuron, Population

counter = Neuron(
    "counter",
    "x : 1\ny : 1\nz : 1",
    every_step="""
    x = x + 1
    y = y + 16777216*int(x > 3) + 100*int(x >= 2) + 100*int(x >= 3)
    z = y*int(x > 4 or x < 2)
    """,
)


@pytest.mark.parametrize("backend", ["reference", "torch", "brian2"])
def test_comparisons_count_in_full_precision(backend: str) -> None:
    network = Network((Population("cells", counter, 2),), dt="1 ms")
    found = backends.get(backend).compile(network).run(record=["cells.y", "cells.z"], steps=5).traces
    y = np.array([0, 100, 300, 500 + 2**24, 700 + 2**25])
    np.testing.assert_array_equal(found["cells.y"][0, :, 0], y)
    np.testing.assert_array_equal(found["cells.z"][0, :, 0], y * [1, 0, 0, 0, 1])


@pytest.mark.parametrize("backend", ["reference", "native", "torch"])
@pytest.mark.parametrize(("method", "last"), [("rk2", 2.0), ("rk4", 11 / 6)])
def test_a_stage_within_a_step_meets_a_time(backend: str, method: str, last: float) -> None:
    """(1 ms + dt/2)/(5 ms) is 0.3, and every backend forms it alike: the sum first."""
    cell = Neuron("timer", "dv/dt = int(t/(5*ms) <= 0.3)/ms : 1", method=method)
    network = Network([Population("c", cell, 1)], dt="1 ms")
    found = backends.get(backend).compile(network).run(record=["c.v"], steps=4, batch=1).traces["c.v"]
    assert np.allclose(found[0, :, 0], [1, last, last, last], rtol=1e-12)
