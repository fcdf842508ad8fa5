"""Networks of Brian2's objects, imported, run as Brian2 runs them: spikes exactly, states to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import backends
from backends.brian.devices import brian2 as b
from backends.brian.devices import settings
from backends.brian.importing.importer import Imported, from_brian2


@pytest.fixture(autouse=True)
def numpy_target() -> Iterator[None]:
    b.start_scope()
    with settings("numpy"):
        yield


Objects = tuple[Any, ...]
STEPS = 300
DRAWN = np.random.default_rng(18)


def excitable() -> Objects:
    """Conductances of two groups onto their common one, with subgroups, delays, a refractory period and weights as drawn."""
    equations = """
    dv/dt = (g_l*(E_l - v) + ge*(E_e - v) + gi*(E_i - v) + I)/C_m : volt (unless refractory)
    dge/dt = -ge/(5*ms) : siemens
    dgi/dt = -gi/tau_i : siemens
    I : amp (constant)
    tau_i : second (constant, shared)
    """
    names = {"g_l": 10 * b.nS, "E_l": -70 * b.mV, "E_e": 0 * b.mV, "E_i": -80 * b.mV, "C_m": 200 * b.pF}
    cells = b.NeuronGroup(
        40, equations, threshold="v > -50*mV", reset="v = -60*mV", refractory=2 * b.ms, method="exponential_euler",
        namespace=names, name="cells",
    )  # fmt: skip
    cells.v, cells.I, cells.tau_i = (-70 + 15 * DRAWN.random(40)) * b.mV, (350 * DRAWN.random(40)) * b.pA, 8 * b.ms
    excites = b.Synapses(cells[:30], cells, "w : siemens", on_pre="ge += w", name="excites", namespace={})
    inhibits = b.Synapses(
        cells[30:],
        cells[5:],
        on_pre="gi += strength",
        delay=1.5 * b.ms,
        name="inhibits",
        namespace={"strength": 3 * b.nS},
    )
    excites.connect(i=DRAWN.integers(0, 30, 200), j=DRAWN.integers(0, 40, 200))
    excites.w, excites.delay = DRAWN.random(200) * 2 * b.nS, DRAWN.integers(0, 30, 200) * 0.1 * b.ms
    inhibits.connect(i=DRAWN.integers(0, 10, 60), j=DRAWN.integers(0, 35, 60))
    return cells, excites, inhibits


def driven() -> Objects:
    """Tables of time by cell, spikes that repeat, statements now and then, a subgroup's too, and a variable that events alone change."""
    table = b.TimedArray(DRAWN.random((20, 3)) * 2, dt=0.5 * b.ms, name="table")
    cells = b.NeuronGroup(
        6, "dx/dt = (lift + table(t, i % 3) - x)/(3*ms) : 1\ncount : integer\nlift : 1\nevents : 1",
        threshold="x > 1 and count < 40", reset="x -= 0.9; count += 1; passed = 0.1*x; x -= passed", method="euler",
        namespace={"table": table}, name="cells",
    )  # fmt: skip
    cells.lift = np.linspace(0, 0.5, 6)
    cells.run_regularly("lift = 0.9*lift + 0.1", dt=2 * b.ms)
    cells[2:5].run_regularly("count = 0", dt=5 * b.ms)
    spikes = b.SpikeGeneratorGroup(2, [0, 1, 1], [0.3, 0.1, 2.0] * b.ms, period=3 * b.ms, name="spikes")
    synapses = b.Synapses(spikes, cells, on_pre="x += 0.2; events += 1", name="synapses")
    synapses.connect()
    return cells, spikes, synapses


def plastic() -> Objects:
    """Pathways with delays, traces from event to event, a condition as refractory period, and a sum that a variable of the synapses is in."""
    senders = b.NeuronGroup(
        5, "dv/dt = (rate*second - v)/(4*ms) : 1\nrate : Hz (constant)", threshold="v > 1", reset="v = 0", method="exact",
        namespace={}, name="senders",
    )  # fmt: skip
    senders.rate = np.linspace(1.1, 3, 5) * b.Hz
    cells = b.NeuronGroup(
        3, "dv/dt = (1.2 + drive - v)/(6*ms) : 1\ndrive : 1", threshold="v > 1", refractory="v > 0.4", reset="v -= 0.7",
        method="rk2", namespace={}, name="cells",
    )  # fmt: skip
    synapses = b.Synapses(
        senders, cells,
        """w : 1
        dseen/dt = -seen/(10*ms) : 1 (event-driven)
        dgate/dt = -gate/(3*ms) : 1 (clock-driven)
        drive_post = gate*w : 1 (summed)""",
        on_pre={"pre": "gate += 0.1*w; seen += 1", "late": "v += 0.05"},
        on_post="w = clip(w + 0.02*seen, 0, top)", method="exact", namespace={"top": 1.5}, name="synapses",
    )  # fmt: skip
    synapses.connect()
    synapses.w, synapses.late.delay = DRAWN.random(15), 1 * b.ms
    return senders, cells, synapses


def in_turn() -> Objects:
    """Variables linked to a group integrated behind, and to a subexpression of one before; sums of new states, and of sums of the step before."""
    first = b.NeuronGroup(
        3, "dv/dt = (2*u + 0.1*r - v)/(3*ms) : 1\nu : 1 (linked)\nr : 1", threshold="v > 1", reset="v = 0", method="euler",
        namespace={}, name="a_first",
    )  # fmt: skip
    source = b.NeuronGroup(
        4, "dx/dt = (1 - x)/(5*ms) : 1\ny = factor*x : 1", method="exact", namespace={"factor": 3}, name="b_source"
    )
    second = b.NeuronGroup(
        4, "dv/dt = (u + k - v)/(3*ms) : 1\nu : 1 (linked)\nk : 1", threshold="v > 1.5", reset="v = 0", method="rk2", order=1,
        namespace={"factor": 3}, name="c_second",
    )  # fmt: skip
    pool = b.NeuronGroup(1, "s : 1", namespace={}, name="d_pool")
    source.x = [0.3, 0.9, 0.1, 0.5]
    first.u = b.linked_var(source, "x", index=np.array([2, 0, 1]))
    second.u = b.linked_var(source, "y")
    summed = b.Synapses(
        first, second, "dg/dt = -g/(4*ms) : 1 (clock-driven)\nk_post = g : 1 (summed)", on_pre="g += 0.3", method="exact",
        namespace={}, name="a_summed",
    )  # fmt: skip
    gather = b.Synapses(second, pool, "s_post = v_pre : 1 (summed)", namespace={}, name="z_gather")
    spread = b.Synapses(pool, first, "r_post = s_pre : 1 (summed)", namespace={}, name="b_spread")
    for synapses in (summed, gather, spread):
        synapses.connect()
    return first, source, second, pool, summed, gather, spread


Read = Mapping[str, tuple[str, ...]]  # of each object
NETWORKS: dict[Callable[[], Objects], Read] = {
    excitable: {"cells": ("v", "ge", "gi")},
    driven: {"cells": ("x", "lift", "count", "events")},
    in_turn: {"a_first": ("v",), "b_source": ("x",), "c_second": ("v",)},
    plastic: {"senders": ("v",), "cells": ("v",), "synapses": ("w", "gate", "seen")},
}


def brian_run(objects: Objects, read: Read) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Spikes (step, cell) of each group that has any, traces [time, cell] at the end of each step."""
    named = {item.name: item for item in objects}
    spikes = {n: b.SpikeMonitor(g) for n, g in named.items() if isinstance(g, b.NeuronGroup) and "spike" in g.events}
    states = {n: b.StateMonitor(named[n], variables, record=True, when="end") for n, variables in read.items()}
    b.Network(*objects, *spikes.values(), *states.values()).run(STEPS * 0.1 * b.ms)
    traces = {f"{n}.{v}": np.asarray(getattr(m, v)).T for n, m in states.items() for v in read[n]}
    return {n: set(zip(np.rint(m.t / (0.1 * b.ms)).astype(int), m.i)) for n, m in spikes.items()}, traces


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("backend", ["reference", "native"])
def test_an_imported_network_runs_as_brian2_runs_it(make: Callable[[], Objects], backend: str) -> None:
    objects, read = make(), NETWORKS[make]
    imported = from_brian2(*objects)
    spikes, traces = brian_run(objects, read)
    record = [imported.variables[name] for name in traces]
    found = (
        backends.get(backend).compile(imported.network).run(inputs=imported.inputs(STEPS), record=record, steps=STEPS)
    )
    for name, theirs in spikes.items():
        assert len(theirs) > 5
        assert set(zip(*np.nonzero(np.asarray(found.spikes[name][0])))) == theirs
    for name, theirs in traces.items():
        np.testing.assert_allclose(np.asarray(found.traces[imported.variables[name]][0]), theirs, rtol=1e-9, atol=1e-13)


def test_places_and_names_lead_back() -> None:
    cells, excites, inhibits = excitable()
    imported: Imported = from_brian2(cells, excites, inhibits)
    place = imported.groups[inhibits.target.name]
    assert (place.name, place.first, place.size) == ("cells", 5, 35)
    assert imported.variables[f"{inhibits.target.name}.v"] == "cells.v"
    assert imported.synapses["excites"].projections == ("excites",)
    kept = imported.network.projection("excites")
    np.testing.assert_array_equal(kept.weights.value, np.asarray(excites.w[:]))  # type: ignore[union-attr]
    np.testing.assert_array_equal(kept.connectivity.post, excites.j[:])  # type: ignore[union-attr]
    np.testing.assert_array_equal(imported.network.projection("inhibits").connectivity.pre, inhibits.i[:] + 30)  # type: ignore[union-attr]
