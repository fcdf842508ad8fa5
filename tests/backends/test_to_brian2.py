"""Numbers back into the Brian2 objects that a network was imported from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from backends.brian import from_brian2, to_brian2
from backends.brian.devices import settings
from neuro import RunError

brian2 = pytest.importorskip("brian2")

STEPS = 1000


@pytest.fixture(autouse=True)
def _numpy() -> Iterator[None]:
    with settings("numpy"):
        yield


def objects() -> dict[str, Any]:
    """Cells of a parameter and a constant each, driven, and plastic synapses among them."""
    ms, mV = brian2.ms, brian2.mV
    clock = brian2.Clock(dt=0.5 * ms, name="clock*")
    cells = brian2.NeuronGroup(
        6, "dv/dt = (drive - v)/tau + kick*20*Hz : volt\ndrive : volt (constant)\nkick : volt", method="euler", clock=clock,
        threshold="v > v_th", reset="v = 0*mV", name="cells", namespace={"tau": 10 * ms, "v_th": 12 * mV},
    )  # fmt: skip
    cells.drive, cells.v = np.linspace(11, 18, 6) * mV, np.linspace(0, 5, 6) * mV
    synapses = brian2.Synapses(
        cells, cells[1:5], "w : volt\ndx/dt = -x/tau_x : 1 (clock-driven)", on_pre="x += 1\nv_post += w*x\nw += up",
        on_post="w = clip(w - up, -2*mV, 2*mV)", namespace={"tau_x": 20 * ms, "up": 0.1 * mV}, clock=clock, name="synapses", method="exact",
    )  # fmt: skip
    synapses.connect(condition="i != j + 1")
    synapses.w = "0.1*mV*(i - j)"
    monitor = brian2.SpikeMonitor(cells, name="spikes")
    return {"cells": cells, "synapses": synapses, "monitor": monitor, "clock": clock}


def raster(found: dict[str, Any]) -> np.ndarray:
    """Brian2's own."""
    brian2.Network(found["cells"], found["synapses"], found["monitor"]).run(STEPS * 0.5 * brian2.ms, namespace={})
    fired = np.zeros((STEPS, 6), bool)
    fired[np.round(found["monitor"].t / found["clock"].dt).astype(int), np.asarray(found["monitor"].i)] = True
    return fired


def test_brian2_then_computes_what_a_run_does_with_these_numbers() -> None:
    found = objects()
    imported = from_brian2(found["cells"], found["synapses"])
    random = np.random.default_rng(3)
    given = {
        "cells.drive": random.uniform(0.014, 0.03, 6),
        "cells.tau": 0.013,
        "synapses.w": random.normal(0, 1e-3, len(found["synapses"])),
        "synapses.up": 2e-4,
    }
    done = to_brian2(imported, given)
    assert {"cells.drive", "cells.v", "cells.tau", "synapses.w", "synapses.up", "synapses.x"} <= {*done}
    assert "cells.v_th" not in done  # a constant that is what it was
    wanted = backends.get("reference").compile(imported.network).run(given, imported.inputs(STEPS), steps=STEPS)
    fired = raster(found)
    assert fired.sum() > 100
    np.testing.assert_array_equal(wanted.spikes["cells"][0], fired)


def test_left_out_numbers_are_the_networks_own() -> None:
    found = objects()
    imported = from_brian2(found["cells"], found["synapses"])
    wanted = raster(objects())
    found["cells"].v = 3 * brian2.mV
    found["synapses"].w = 1 * brian2.mV
    to_brian2(imported)
    np.testing.assert_array_equal(raster(found), wanted)


def test_two_of_ours_that_are_one_of_brian2s() -> None:
    """Synapses that sum into two variables are two projections here, and have their weights once there."""
    cells = brian2.NeuronGroup(3, "dx/dt = (a + b - x)/(10*ms) : 1\na : 1\nb : 1", method="euler", name="cells")
    text = "w : 1\na_post = w*x_pre : 1 (summed)\nb_post = w : 1 (summed)"
    synapses = brian2.Synapses(cells, cells, text, name="synapses")
    synapses.connect()
    imported = from_brian2(cells, synapses)
    second = imported.synapses["synapses"].projections[1]
    with pytest.raises(RunError, match=rf"'synapses\.w' and '{second}\.w' are one in Brian2"):
        to_brian2(imported, {"synapses.w": np.ones(9)})
    assert not np.any(synapses.w)
    to_brian2(imported, {"synapses.w": np.ones(9), f"{second}.w": np.ones(9)})
    assert np.all(np.asarray(synapses.w) == 1)


def test_numbers_without_a_place_are_refused_before_anything_is_set() -> None:
    found = objects()
    imported = from_brian2(found["cells"], found["synapses"])
    before = np.array(found["cells"].drive_)
    lost = replace(imported, constants={})
    with pytest.raises(RunError, match=r"'cells\.tau' has changed, and Brian2's objects hold no number"):
        to_brian2(lost, {"cells.drive": np.full(6, 0.02), "cells.tau": 0.02})
    np.testing.assert_array_equal(found["cells"].drive_, before)


def test_one_number_that_all_share() -> None:
    """A (shared) variable takes one number."""
    cells = brian2.NeuronGroup(
        3, "dv/dt = (rest - v)/(10*ms) : 1\nrest : 1 (shared, constant)", method="euler", name="cells"
    )
    imported = from_brian2(cells)
    to_brian2(imported, {"cells.rest": 0.5})
    assert float(cells.rest[:]) == 0.5


def test_a_shared_variable_that_is_each_cells_own_here() -> None:
    """What statements change, and a weight, are numbers of each cell and synapse here; Brian2 takes one."""
    cells = brian2.NeuronGroup(
        3, "dv/dt = (rest - v)/(10*ms) : 1\nrest : 1 (shared)", threshold="v > 1", method="euler", name="cells"
    )
    cells.run_regularly("rest = 0.9*rest", dt=1 * brian2.ms)
    cells.rest = 0.7
    synapses = brian2.Synapses(cells, cells, "w : 1 (shared)", on_pre="v_post += w", name="synapses")
    synapses.connect()
    synapses.w = 0.1
    imported = from_brian2(cells, synapses)
    to_brian2(imported, {"synapses.w": np.full(9, 0.2)})
    assert (float(cells.rest[:]), float(synapses.w[:])) == (0.7, 0.2)
    cells.v = 0.5
    with pytest.raises(RunError, match=r"'synapses\.w' is shared in Brian2"):
        to_brian2(imported, {"synapses.w": np.arange(9.0)})
    np.testing.assert_array_equal(cells.v[:], 0.5)
