"""Brian2's text as ours: names, constants, units, tables, statements; and what is refused, with object and fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backends.brian.devices import brian2 as b
from backends.brian.devices import settings
from backends.brian.importing.importer import NotImportedError, from_brian2
from neuro import Network
from neuro.io.serialisation import from_json, to_json
from neuro.language.units import quantity


@pytest.fixture(autouse=True)
def numpy_target() -> Iterator[None]:
    b.start_scope()
    with settings("numpy"):
        yield


def imported(*objects: Any, **options: Any) -> Network:
    return from_brian2(*objects, level=1, **options).network


def test_constants_are_those_of_the_caller_the_run_or_the_group() -> None:
    tau, a = 10 * b.ms, 3
    group = b.NeuronGroup(1, "dv/dt = (a*mV - v)/tau : volt", method="euler", name="cells")
    assert imported(group).population("cells").neuron.parameters == {"tau": quantity("0.01 s"), "a": quantity(3.0)}
    given = {"tau": 2 * tau, "a": a + 1}
    assert imported(group, namespace=given).population("cells").neuron.parameters["a"] == quantity(4.0)
    own = b.NeuronGroup(1, "dv/dt = (a*mV - v)/tau : volt", method="euler", namespace={"a": 5, "tau": tau}, name="own")
    assert imported(own, namespace=given).population("own").neuron.parameters["a"] == quantity(5.0)


def test_a_magic_network_is_what_run_would_take() -> None:
    group = b.NeuronGroup(2, "dv/dt = -v/(5*ms) : 1", method="exact", name="cells")
    kept = from_brian2()
    assert [p.name for p in kept.network.populations] == [group.name]


def test_names_that_are_taken_here_get_others_and_are_found_again() -> None:
    group = b.NeuronGroup(
        2, "dinput_/dt = (kS*relu**power*spikes - input_)/(5*ms) : 1\nspikes : 1\nrelu : 1", method="euler",
        namespace={"kS": 2.0, "power": 2}, name="cells",
    )  # fmt: skip
    found = from_brian2(group)
    neuron = found.network.population("cells").neuron
    assert "**2" in neuron.equations.replace(" ", "") and "power" not in neuron.parameters
    assert found.variables["cells.spikes"] == "cells.spikes_"
    assert set(neuron.scope.states) == {"input_"}


def test_numbers_that_no_parameter_may_have_are_written_out() -> None:
    group = b.NeuronGroup(
        1, "dv/dt = -v/tau : volt", threshold="v > 1*mV and t > delay", reset="v = clip(v, 0*mV, top)", method="euler",
        namespace={"tau": 5 * b.ms, "delay": -3 * b.ms, "top": np.inf * b.mV}, name="cells",
    )  # fmt: skip
    neuron = imported(group).population("cells").neuron
    assert set(neuron.parameters) == {"tau"}
    assert "inf)" in neuron.reset and "-0.003" in neuron.threshold


def test_variables_of_statements_are_put_in_or_get_a_place() -> None:
    group = b.NeuronGroup(
        1, "dv/dt = -v/(5*ms) : volt", threshold="v > 1*mV", method="euler", namespace={}, name="cells",
        reset="half = v/2  # of the old one\nv -= half; again = 3*half\nv += 0.1*again; v **= 1",
    )  # fmt: skip
    neuron = imported(group).population("cells").neuron
    assert neuron.reset.splitlines()[:3] == ["half = v / 2", "v -= half", "v += 0.1 * (3 * half)"]
    assert str(neuron.scope.dimensions["half"]) == "volt"
    assert set(neuron.scope.states) == {"v", "half"}


def test_noise_in_a_subexpression_stands_in_the_equations_that_read_it() -> None:
    group = b.NeuronGroup(
        1,
        "dv/dt = (I - v)/(5*ms) : 1\nI = m + sqrt(second)*xi_1 : 1\nm = 2 : 1",
        method="euler",
        namespace={},
        name="cells",
    )
    neuron = imported(group).population("cells").neuron
    assert neuron.scope.white_noise == ("xi_1",) and neuron.scope.subexpressions == ("m",)


@pytest.mark.parametrize("dt", [0.1, 0.25, 1.0])
def test_tables_bring_what_brian2_reads(dt: float) -> None:
    table = b.TimedArray(np.arange(12.0).reshape(6, 2) * b.nA, dt=dt * b.ms)
    line = b.TimedArray(np.arange(5.0), dt=dt * b.ms)
    group = b.NeuronGroup(
        3,
        "dx/dt = (table(t, i % 2)/nA + line(t - late) - x)/ms : 1\nlate : second (constant)",
        method="euler",
        name="cells",
    )
    group.late = [0.1, 0.2, 0.5] * b.ms
    found = from_brian2(group)
    brought = found.inputs(20)
    t = np.arange(20) * 0.1 * b.ms
    np.testing.assert_array_equal(brought["cells_table"][0], np.stack([table(t, n % 2) for n in range(3)], 1))
    np.testing.assert_array_equal(brought["cells_line"][0], np.stack([line(t - late) for late in group.late[:]], 1))


def test_spikes_come_in_the_steps_in_which_brian2_sends_them() -> None:
    source = b.SpikeGeneratorGroup(3, [0, 2, 1], [0.1, 0.25, 0.3] * b.ms, period=1 * b.ms, name="source")
    found = from_brian2(source, b.NeuronGroup(1, "v : 1", namespace={}))
    steps, cells = np.nonzero(found.inputs(14)["source"][0])
    assert sorted(zip(steps.tolist(), cells.tolist(), strict=True)) == [
        (1, 0),
        (2, 2),
        (3, 1),
        (11, 0),
        (12, 2),
        (13, 1),
    ]


def test_an_import_is_data() -> None:
    group = b.NeuronGroup(
        3, "dv/dt = -v/(5*ms) : 1\nw : 1", threshold="v > w", reset="v = 0", method="exact", name="cells"
    )
    group.v, group.w = [0.1, 0.2, 0.3], [1, 2, 3]
    synapses = b.Synapses(group, group, "k : 1", on_pre="w += k", name="synapses")
    synapses.connect(i=[2, 0], j=[1, 1])
    synapses.k, synapses.delay = [0.5, 0.7], [0.1, 0.4] * b.ms
    network = imported(group, synapses)
    assert from_json(to_json(network)) == network
    assert network.population("cells").neuron.every_step == "w = w"  # events alone change it, and it stays


def test_what_brian2_computes_otherwise_is_said() -> None:
    group = cells(dtype=np.float32)
    found = from_brian2(group, b.PoissonInput(group, "v", 1000, 100 * b.Hz, 0.1), namespace={})
    assert [w.partition(":")[0] for w in found.warnings] == ["'poissoninput'", "'cells'"]
    assert "normal distribution" in found.warnings[0] and "v in single precision" in found.warnings[1]
    drive = found.network.input("poissoninput")
    assert (drive.law, drive.sources, drive.target) == ("binomial", 1000, "cells.v")


def cells(equations: str = "dv/dt = -v/(5*ms) : 1", **options: Any) -> Any:
    return b.NeuronGroup(2, equations, **{"name": "cells", "namespace": {}, "method": "euler", **options})


def several_clocks() -> tuple[Any, ...]:
    return cells(), cells(name="slow", dt=1 * b.ms)


def python_code() -> tuple[Any, ...]:
    return cells(), b.NetworkOperation(lambda: None, name="operation")


def function() -> tuple[Any, ...]:
    @b.check_units(x=1, result=1)
    def own(x: float) -> float:
        return x

    return (cells("dv/dt = own(v)/ms : 1", namespace={"own": own}),)


def moved_slot() -> tuple[Any, ...]:
    group = cells(threshold="v > 1", reset="v = 0")
    group.resetter["spike"].when = "end"
    return (group,)


def read_old_and_new() -> tuple[Any, ...]:
    group, text = cells(), "dg/dt = (v_pre - v_post - g)/ms : 1 (clock-driven)\nu_post = g : 1 (summed)"
    behind = cells("dv/dt = (u - v)/(5*ms) : 1\nu : 1", name="z_cells")
    return group, behind, connected(group, behind, text, method="euler")


def connected(pre: Any, post: Any, model: str = "", **options: Any) -> Any:
    synapses = b.Synapses(pre, post, model, namespace=options.pop("namespace", {}), name="synapses", **options)
    synapses.connect()
    return synapses


def spiking(**options: Any) -> Any:
    return cells("dv/dt = (1.2 + u - v)/(5*ms) : 1\nu : 1", threshold="v > 1", reset="v = 0", **options)


def noise_in_synapses() -> tuple[Any, ...]:
    group = spiking()
    text = "dg/dt = -g/ms + xi*ms**-0.5 : 1 (clock-driven)"
    return group, connected(group, group, text, method="heun", on_pre="u_post += g")


def sets_a_target() -> tuple[Any, ...]:
    group = spiking()
    return group, connected(group, group, "k : 1", on_pre="u_post = k")


def multiplies_a_target() -> tuple[Any, ...]:
    group = spiking()
    return group, connected(group, group, "k : 1", on_pre="u *= k")


def changes_a_source() -> tuple[Any, ...]:
    group = spiking()
    return group, connected(group, group, "k : 1", on_post="u_pre += k")


def late_on_post() -> tuple[Any, ...]:
    group = spiking()
    synapses = connected(group, group, "k : 1", on_post="k += 1", on_pre="u += k")
    synapses.post.delay = np.arange(4) * 0.1 * b.ms
    return group, synapses


def several_late_on_post() -> tuple[Any, ...]:
    group = spiking()
    synapses = connected(group, group, "k : 1", on_post={"post": "k += 1", "later": "k *= 0.5"}, on_pre="u += k")
    synapses.later.delay = 1 * b.ms
    return group, synapses


def sums_that_read_sums() -> tuple[Any, ...]:
    group = cells("dv/dt = (x + y - v)/(5*ms) : 1\nx : 1\ny : 1", name="z_cells")
    return group, connected(group, group, "x_post = v_pre : 1 (summed)\ny_post = 0.1*x_pre : 1 (summed)")


TABLE = {"table": b.TimedArray(np.arange(20.0), dt=0.1 * b.ms)}


def table_in_a_sum() -> tuple[Any, ...]:
    group = cells("dv/dt = (u - v)/(5*ms) : 1\nu : 1", name="z_cells")
    return group, connected(group, group, "u_post = table(t)*v_pre : 1 (summed)", namespace=TABLE)


def table_within_a_step() -> tuple[Any, ...]:
    group = spiking()
    text = "dg/dt = table(t)/ms : 1 (clock-driven)"
    return group, connected(group, group, text, method="rk4", on_pre="u += g", namespace=TABLE)


def table_at_another_time() -> tuple[Any, ...]:
    group = spiking()
    return group, connected(group, group, "late : second", on_pre="u += table(t - late)", namespace=TABLE)


def within_a_step() -> tuple[Any, ...]:
    table = b.TimedArray(np.arange(20.0), dt=0.1 * b.ms)
    return (cells("dv/dt = table(t)/ms : 1", namespace={"table": table}, method="rk4"),)


def changing_time() -> tuple[Any, ...]:
    table = b.TimedArray(np.arange(20.0), dt=0.1 * b.ms)
    return (cells("dv/dt = table(t - v*ms)/ms : 1", namespace={"table": table}),)


def onto_synapses() -> tuple[Any, ...]:
    group = cells(threshold="v > 1", reset="v = 0")
    first = b.Synapses(group, group, "x : 1", on_pre="x += 1", name="first", namespace={})
    first.connect()
    second = b.Synapses(group, first, on_pre="x_post += 1", name="second", namespace={})
    second.connect(j="i")
    return group, first, second


def events_in_another_slot() -> tuple[Any, ...]:
    group = cells(events={"high": "v > 2"})
    group.run_on_event("high", "v = 0", when="resets")
    return (group,)


def events_in_another_order() -> tuple[Any, ...]:
    group = cells(events={"high": "v > 2", "low": "v < 1"})
    group.run_on_event("high", "v = 0", order=1)
    group.run_on_event("low", "v = 3")
    return (group,)


def following(condition: str, on_pre: Any, on_event: Any, model: str = "", **options: Any) -> tuple[Any, ...]:
    group = cells(threshold="v > 1", reset="v = 0", events={"high": condition}, refractory=2 * b.ms)
    synapses = b.Synapses(
        group, group, model, on_pre=on_pre, on_event=on_event, name="synapses", namespace={}, **options
    )
    synapses.connect()
    return group, synapses


def event_of_what_thresholds_change() -> tuple[Any, ...]:
    return following("v > 2 and not_refractory", "v += 1", "high")


def event_whose_cells_are_read() -> tuple[Any, ...]:
    return following("v > 2", "v_post += v_pre", "high")


def event_of_the_target() -> tuple[Any, ...]:
    return following("v > 2", "v += x", {"post": "high"}, "x : 1", on_post="x += 1")


def events_that_share_states() -> tuple[Any, ...]:
    return following("v > 2", {"pre": "x += 1", "other": "v += x"}, {"other": "high"}, "x : 1")


def linked_in_a_threshold() -> tuple[Any, ...]:
    group = cells("dv/dt = -v/ms : 1\nu : 1 (linked)", threshold="v > u", reset="v = 0")
    other = cells(name="other")
    group.u = b.linked_var(other, "v")
    return group, other


def one_number_for_all() -> tuple[Any, ...]:
    group = cells("dv/dt = (m - v)/ms : 1\nm : 1 (shared)")
    group.run_regularly("m = rand()", dt=1 * b.ms)
    return (group,)


def unknown() -> tuple[Any, ...]:
    return (cells("dv/dt = -v/nowhere : 1"),)


def absent() -> tuple[Any, ...]:
    group = cells(threshold="v > 1", reset="v = 0")
    synapses = b.Synapses(group, group, on_pre="v += 1", name="synapses", namespace={})
    synapses.connect()
    return (synapses,)


def not_finite() -> tuple[Any, ...]:
    group = cells()
    group.v = np.nan
    return (group,)


REFUSED: dict[Callable[[], tuple[Any, ...]], tuple[str, str]] = {
    several_clocks: ("slow", "its clock has dt = 1. ms"),
    python_code: ("operation", "Python code that runs in each step"),
    function: ("cells", "'own' is a function of its own code"),
    moved_slot: ("cells_spike_resetter", "it runs in the slot 'end'"),
    read_old_and_new: (
        "synapses",
        "read v_pre, which Brian2 integrates before them, and v_post, which it integrates after",
    ),
    noise_in_synapses: ("synapses", "its equations have noise"),
    sets_a_target: ("synapses", "its 'pre' says 'u_post = k'"),
    multiplies_a_target: ("synapses", "its 'pre' says 'u *= k'"),
    changes_a_source: ("synapses", "its 'post' says 'u_pre += k', and synapses change their targets alone"),
    late_on_post: ("synapses", "each of its synapses has a delay of its own in 'post'"),
    several_late_on_post: ("synapses", "have several delays: later, post"),
    sums_that_read_sums: ("synapses", "its sum 'y_post' reads 'x_pre', which 'synapses_summed_variable_x_post' sums"),
    table_in_a_sum: ("synapses", "what it sums reads the TimedArray 'table'"),
    table_within_a_step: ("synapses", "'rk4', within a step, reads the TimedArray 'table'"),
    table_at_another_time: ("synapses", "reads the TimedArray 'table' at 't - late'"),
    within_a_step: ("cells", "'rk4' reads the TimedArray 'table' within a step"),
    changing_time: ("cells", "reads 'v', which changes"),
    onto_synapses: ("first", "synapses onto synapses"),
    events_in_another_slot: ("cells_high_resetter", "it runs in the slot 'resets'"),
    events_in_another_order: ("cells", "statements of its events run in the order low, high"),
    event_of_what_thresholds_change: (
        "cells",
        "synapses follow its event 'high', whose condition reads not_refractory",
    ),
    event_whose_cells_are_read: ("synapses", "it follows the event 'high', and reads 'v_pre'"),
    event_of_the_target: ("synapses", "on_post waits for 'high' events"),
    events_that_share_states: ("synapses", "its pathways follow several events, and share states: x"),
    linked_in_a_threshold: ("cells", "its threshold reads 'u', which is linked to 'other'"),
    one_number_for_all: ("cells", "'m' is shared and gets a random number"),
    unknown: ("cells", "nothing is known of 'nowhere'"),
    absent: ("cells", "no part of it"),
    not_finite: ("cells", "'v' holds values that are not finite"),
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_cannot_come_in_is_refused_by_name(make: Callable[[], tuple[Any, ...]]) -> None:
    owner, reason = REFUSED[make]
    with pytest.raises(NotImportedError) as error:
        from_brian2(*make(), namespace={})
    assert error.value.owner == owner
    assert reason in error.value.reason
    assert error.value.fix and str(error.value).endswith(f"fix: {error.value.fix}")


def test_a_network_that_has_been_run_is_refused() -> None:
    network = b.Network(cells())
    network.run(1 * b.ms)
    with pytest.raises(NotImportedError, match=r"it has been run to t = 0\.001 s"):
        from_brian2(network, namespace={})
