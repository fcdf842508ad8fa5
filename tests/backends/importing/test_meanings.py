"""Names that mean several things in one script, and values that somebody changes: as in Brian2, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import backends
from backends.brian.devices import brian2 as b
from backends.brian.devices import settings
from backends.brian.importing.importer import NotImportedError, from_brian2

STEPS = 200


@pytest.fixture(autouse=True)
def numpy_target() -> Iterator[None]:
    b.start_scope()
    with settings("numpy"):
        yield


def cells(equations: str = "dv/dt = (1.2 - v)/(3*ms) : 1\nu : 1", **options: Any) -> Any:
    known = {"threshold": "v > 1", "reset": "v = 0", "name": "cells", "namespace": {}, "method": "euler"}
    group = b.NeuronGroup(3, equations, **{**known, **options})
    group.v = [0, 0.3, 0.6]
    return group


def local_exponent() -> Any:
    return cells(reset="power = 1.5 + 0.1*i\nv = 0\nu += 2.0**power", namespace={"power": 7})


def local_bound() -> Any:
    return cells(reset="top = 0.5*u + 0.1\nv = clip(v, 0, top)\nu += v", namespace={"top": np.inf})


def local_with_a_place() -> Any:
    return cells(
        "dv/dt = (a - v)/(3*ms) : 1\nu : 1", reset="a = v\nv = 0\nb = a + u\nu += a\nu += 0.1*b", namespace={"a": 1.3}
    )


def noise_by_its_name_alone() -> Any:
    return cells(threshold="v > xi_top", reset="v = 0; u += xi", namespace={"xi_top": 0.9, "xi": 2})


def j_of_ones_own() -> Any:
    return cells("dv/dt = (1 + j - v)/(3*ms) : 1\nu : 1", reset="v = 0; u += j", namespace={"j": 0.3})


def last_spike() -> Any:
    return cells(
        "dv/dt = (1.6 - v)/(3*ms) : 1 (unless refractory)\nu : 1",
        threshold="v > 1 + 0.2*exp(-(t - lastspike)/(5*ms)) and not_refractory", reset="v = 0; u += (t - lastspike)/ms + 1",
        refractory=1 * b.ms,
    )  # fmt: skip


def true_by_its_name() -> Any:
    return cells(threshold="v > 0.9 and (on and not off)", reset="v = 0; u += on", namespace={"on": True, "off": False})


def heun_without_noise() -> Any:
    return cells("dv/dt = (1.2 - v**3)/(3*ms) : 1\nu : 1", reset="v = 0; u += 1", method="heun")


def kept_now_and_then() -> Any:
    group = cells("dv/dt = (1.2 - v)/(3*ms) : 1 (unless refractory)\nu : 1", reset="v = 0; u += 1", refractory=1 * b.ms)
    group.run_regularly("v += 0.1*(i + 1)", dt=0.4 * b.ms)
    return group


def never_refractory_in_one_cell() -> Any:
    group = cells("dv/dt = (1.2 - v)/(3*ms) : 1 (unless refractory)\nu : second", reset="v = 0", refractory="u")
    group.u = [0, 1, 2] * b.ms
    return group


MEANT = (
    local_exponent, local_bound, local_with_a_place, noise_by_its_name_alone, j_of_ones_own, last_spike, true_by_its_name, heun_without_noise,
    kept_now_and_then, never_refractory_in_one_cell,
)  # fmt: skip


@pytest.mark.parametrize("make", MEANT, ids=lambda make: make.__name__)
def test_a_name_means_what_brian2_takes_it_for(make: Callable[[], Any]) -> None:
    group = make()
    imported = from_brian2(group)
    monitor, states = b.SpikeMonitor(group), b.StateMonitor(group, ["v", "u"], record=True, when="end")
    b.Network(group, monitor, states).run(STEPS * 0.1 * b.ms)
    assert set(imported.variables) <= {f"cells.{n}" for n in group.variables}
    found = backends.get("native").compile(imported.network).run(steps=STEPS, record=["cells.v", "cells.u"])
    theirs = set(zip(np.rint(monitor.t / (0.1 * b.ms)).astype(int), monitor.i))
    assert len(theirs) > 5
    assert set(zip(*np.nonzero(np.asarray(found.spikes["cells"][0])))) == theirs
    for name in ("v", "u"):
        right = np.asarray(getattr(states, f"{name}_")).T
        np.testing.assert_allclose(np.asarray(found.traces[f"cells.{name}"][0]), right, rtol=1e-9, atol=1e-12)


def test_synapses_read_tables_that_their_targets_may_read_too() -> None:
    """In statements of both sides, in equations and subexpressions; one table by two names, in each of its places."""
    table, other = b.TimedArray([1.0, -2, 3, 0.5], dt=1 * b.ms), b.TimedArray([0.1, 0.2, 0.3], dt=2 * b.ms)
    group = cells(
        "dv/dt = (1.2 + other(t) + u + 0.1*i - v)/(3*ms) : 1\ndu/dt = -u/(5*ms) : 1", namespace={"other": other}
    )
    model = "w : 1\ndx/dt = (table(t)*v_pre - x)/(4*ms) : 1 (clock-driven)\ng = 1 + table(t)*x : 1"
    synapses = b.Synapses(
        group, group, model, on_pre="u_post += w*table(t) + 0.01*g; x += table(t)", on_post="w += 0.01*late(t)",
        namespace={"table": table, "late": other}, method="euler", name="synapses",
    )  # fmt: skip
    synapses.connect()
    synapses.w, synapses.delay = np.linspace(-0.1, 0.1, 9), np.arange(9) * 0.1 * b.ms
    watches = {
        name: b.StateMonitor(o, name, record=True, when="end")
        for o, name in ((group, "v"), (group, "u"), (synapses, "x"), (synapses, "w"))
    }
    net = b.Network(group, synapses, *watches.values())
    imported = from_brian2(net)
    assert {i.name for i in imported.network.inputs} == {"cells_other", "cells_table"}
    assert set(imported.record) == {"cells.v", "cells.u", "synapses.x", "synapses.w"}
    program = backends.get("native").compile(imported.network)
    found = program.run(inputs=imported.inputs(STEPS), record=imported.record, steps=STEPS)
    net.run(STEPS * 0.1 * b.ms)
    assert found.spikes["cells"].sum() > 10
    for name, trace in found.traces.items():
        right = np.asarray(getattr(watches[name.partition(".")[2]], name.partition(".")[2])).T
        np.testing.assert_allclose(np.asarray(trace[0]), right, rtol=1e-9, atol=1e-12)


def test_what_monitors_watch_is_what_a_run_records() -> None:
    """Cells of a part by their places in the whole, of several monitors all; what no run records is said."""
    group = b.NeuronGroup(
        10, "dv/dt = (1.5 + k - v)/(3*ms) : 1\nk : 1\nd = 2*v : 1", threshold="v > 1", reset="v = 0", method="euler", namespace={},
        name="cells",
    )  # fmt: skip
    other, sent = b.PoissonGroup(4, 100 * b.Hz, name="noise"), b.SpikeGeneratorGroup(2, [0], [1] * b.ms, name="sent")
    part = group[4:]
    synapses = b.Synapses(part, group, "w : 1\nx : 1", on_pre="v_post += w; x += 1", namespace={}, name="synapses")
    synapses.connect(i=[0, 1, 2, 3], j=[1, 1, 2, 2])
    watches = [
        b.StateMonitor(group, ["v", "k"], record=[5, 1], name="values"), b.StateMonitor(part, ["v", "d"], record=True), b.SpikeMonitor(sent),
        b.StateMonitor(synapses, ["x", "w"], record=[0, 3], name="weights"), b.SpikeMonitor(part, variables="v", name="spikes"),
        b.SpikeMonitor(other), b.PopulationRateMonitor(group[:2]), b.StateMonitor(group, "v", record=False),
    ]  # fmt: skip
    imported = from_brian2(b.Network(group, other, sent, synapses, *watches))
    assert imported.record == {
        "cells": [0, 1, 4, 5, 6, 7, 8, 9], "cells.v": [1, 4, 5, 6, 7, 8, 9], "cells.d": [4, 5, 6, 7, 8, 9], "noise": None,
        "synapses.x": [0, 3],
    }  # fmt: skip
    assert [text.partition(":")[0] for text in imported.unrecorded] == ["'spikes'", "'values'", "'weights'"]
    program = backends.get("native").compile(imported.network)
    found = program.run(inputs=imported.inputs(50), record=imported.record, steps=50)
    assert found.spikes["cells"].shape == (1, 50, 8) and found.traces["synapses.x"].shape == (1, 50, 2)
    assert from_brian2(b.Network(group, b.StateMonitor(group, "v", record=True))).record == {"cells.v": None}


def read_at(reset: str = "v = 0") -> Any:
    """A table that is read at a variable which the rest of a network may change."""
    table = b.TimedArray(np.arange(20.0), dt=0.1 * b.ms)
    return cells("dv/dt = table(t - late)/ms : 1\nlate : second", reset=reset, namespace={"table": table})


def changed_by_a_reset() -> tuple[Any, ...]:
    return (read_at("v = 0; late += 1*ms"),)


def changed_now_and_then() -> tuple[Any, ...]:
    group = read_at()
    group[1:].run_regularly("late = 2*late", dt=1 * b.ms)
    return (group,)


def changed_by_synapses() -> tuple[Any, ...]:
    group = read_at()
    synapses = b.Synapses(group, group, on_pre="late_post += 1*ms", namespace={}, name="synapses")
    synapses.connect()
    return group, synapses


def summed() -> tuple[Any, ...]:
    group = read_at()
    synapses = b.Synapses(group, group, "late_post = 1*ms : second (summed)", namespace={}, name="a_synapses")
    synapses.connect()
    return group, synapses


def read_at_a_local() -> tuple[Any, ...]:
    return (read_at("late_by = 1*ms; v = table(t - late_by)"),)


def spiked_before() -> tuple[Any, ...]:
    group = cells(refractory=2 * b.ms)
    group.lastspike = -1 * b.ms
    return (group,)


def happened_before() -> tuple[Any, ...]:
    group = cells()
    text = "da/dt = -a/(5*ms) : 1 (event-driven)"
    synapses = b.Synapses(group, group, text, on_pre="a += 1; u_post += a", namespace={}, name="synapses")
    synapses.connect()
    synapses.lastupdate = -1 * b.ms
    return group, synapses


def cells_after_synapses() -> tuple[Any, ...]:
    group = cells(name="z_cells")
    synapses = b.Synapses(group, group, "x : 1", on_pre="u_post += x", namespace={}, name="synapses")
    synapses.connect()
    synapses.run_regularly("x = 0.1*v_post", dt=1 * b.ms)
    group[1:].run_regularly("v = 0.5*v", dt=1 * b.ms)
    return group, synapses


def summed_for_some() -> tuple[Any, ...]:
    group = cells("dv/dt = (1 + u - v)/(3*ms) : 1\nu : 1", name="z_cells")
    group.u = 0.3
    synapses = b.Synapses(group, group[1:], "u_post = 0.1*v_pre : 1 (summed)", namespace={}, name="synapses")
    synapses.connect()
    return group, synapses


def summed_and_reset() -> tuple[Any, ...]:
    group = cells("dv/dt = (1 + u - v)/(3*ms) : 1\nu : 1", reset="v = 0; u = 1", name="z_cells")
    synapses = b.Synapses(group, group, "u_post = 0.1*v_pre : 1 (summed)", namespace={}, name="synapses")
    synapses.connect()
    return group, synapses


def summed_and_added() -> tuple[Any, ...]:
    group = cells("dv/dt = (1 + u - v)/(3*ms) : 1\nu : 1", name="z_cells")
    synapses = b.Synapses(
        group, group, "u_post = 0.1*v_pre : 1 (summed)", on_pre="u_post += 1", namespace={}, name="synapses"
    )
    synapses.connect()
    return group, synapses


def linked_and_added() -> tuple[Any, ...]:
    group, other = cells("dv/dt = (1 + u - v)/(3*ms) : 1\nu : 1 (linked)", name="z_cells"), cells(name="other")
    group.u = b.linked_var(other, "u")
    synapses = b.Synapses(group, group, on_pre="u_post += 1", namespace={}, name="synapses")
    synapses.connect()
    return group, other, synapses


REFUSED: dict[Callable[[], tuple[Any, ...]], tuple[str, str]] = {
    changed_by_a_reset: ("cells", "reads 'late', which changes"),
    changed_now_and_then: ("cells", "reads 'late', which changes"),
    changed_by_synapses: ("cells", "reads 'late', which changes"),
    summed: ("cells", "reads 'late', which changes"),
    read_at_a_local: ("cells", "reads 'late_by', which"),
    spiked_before: ("cells", "'lastspike' holds times"),
    happened_before: ("synapses", "'lastupdate' holds times"),
    summed_for_some: ("synapses", "for some cells of 'z_cells'"),
    summed_and_reset: ("z_cells", "'u' is summed or linked"),
    summed_and_added: ("z_cells", "'u' is summed or linked"),
    linked_and_added: ("z_cells", "'u' is summed or linked"),
    cells_after_synapses: ("synapses", "reads v_post before"),
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_would_be_read_at_another_time_or_value_is_refused(make: Callable[[], tuple[Any, ...]]) -> None:
    owner, reason = REFUSED[make]
    with pytest.raises(NotImportedError) as error:
        from_brian2(*make())
    assert error.value.owner == owner
    assert reason in error.value.reason
