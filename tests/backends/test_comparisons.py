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


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
@pytest.mark.parametrize("comparison", ["c > v", "v > c", "not c >= v", "u > c + 1 and c < 9"])
@pytest.mark.parametrize("method", ["euler", "rk2", "rk4"])
def test_sides_that_are_equal_are_equal_within_stages(backend: str, comparison: str, method: str) -> None:
    """c is v, and u is v + 1: each side is formed as it stands, not the sum of all terms of their difference."""
    text = f"dx/dt = int({comparison})*v/ms : 1\ndv/dt = v/(1.7*ms) : 1\nc = v : 1\nu = c + 1 : 1"
    network = Network([Population("p", Neuron("n", text, initial={"v": -0.871}, method=method), 1)], dt="0.25 ms")
    found = backends.get(backend).compile(network).run(record=["p.x"], steps=40)
    assert not found.traces["p.x"].any()


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_infinite_sides(backend: str) -> None:
    """inf >= inf holds, though inf - inf is no number."""
    cell = Neuron("n", "x : 1\ny : 1\nv : 1", every_step="v = 1e200*(1 + v)\nx = int(v*v >= inf)\ny = int(v*v > inf)")
    found = (
        backends.get(backend)
        .compile(Network([Population("p", cell, 1)], dt="1 ms"))
        .run(record=["p.x", "p.y"], steps=1)
    )
    assert (found.traces["p.x"].item(), found.traces["p.y"].item()) == (1, 0)
