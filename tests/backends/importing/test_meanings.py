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


MEANT = (local_exponent, local_bound, local_with_a_place, noise_by_its_name_alone, j_of_ones_own, last_spike)


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
        np.testing.assert_allclose(
            np.asarray(found.traces[f"cells.{name}"][0]), np.asarray(getattr(states, name)).T, rtol=1e-9, atol=1e-12
        )


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
