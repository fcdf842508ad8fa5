"""Sums at the end of a step: what they are on every backend, their gradients, and who may not read them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, ModelError, Network, Neuron, Population, Projection, Synapse, UnsupportedError, learning, lower
from neuro.compiler.parameters import values
from neuro.compiler.semantics import Semantics, semantics
from neuro.io.serialisation import from_json, to_json
from neuro.state import State
from twinspike.fuzzing.networks import generate

Array = np.ndarray
SIZE, STEPS, BATCH = 5, 10, 2
UNIT = Neuron("unit", "z : 1\nm : 1\nx : 1\nlast : 1", every_step="last = x\nx = tanh(z)")
MODULATOR = Neuron("modulator", "z : 1\ny = tanh(z + b) : 1", parameters={"b": "0.2"})
GIVEN = Neuron("given", "I : 1\ny = I : 1")
LINEAR = Neuron("linear", "z : 1\ny = z : 1")
ENTER = Synapse("enter", "w : 1", transmits="w*y_pre", target="z")
HEARS = Synapse("hears", "w : 1", transmits="w*x_pre", target="z")
SENDS = Synapse("sends", "w : 1", transmits="w*y_pre", target="m")
PLASTIC = Synapse(
    "plastic", "w : 1\nalpha : 1\nhebb : 1", transmits="(w + alpha*hebb)*x_pre", target="z",
    every_step="hebb = clip(hebb + m_post*last_pre*x_post, -2, 2)", parameters={"alpha": "0"},
)  # fmt: skip
RECORD = ["cells.x", "cells.m", "modulator.y", "readout.y", "loop.hebb"]


def draw(*shape: int) -> Array:
    return np.random.default_rng([7, *shape]).normal(0, 0.7, shape)


def plastic(readout: str = "end", **loop: Any) -> Network:
    """A recurrent layer whose synapses change by what a modulator makes of the layer's new state, and a readout of it."""
    return Network(
        (Population("outside", GIVEN, 3), Population("cells", UNIT, SIZE), Population("modulator", MODULATOR, 1), Population("readout", LINEAR, 2)),
        (
            Projection("enter", "outside", "cells", ENTER, draw(3, SIZE)),
            Projection("loop", "cells", "cells", PLASTIC, draw(SIZE, SIZE), parameters={"alpha": draw(SIZE, SIZE) + 1}, **loop),
            Projection("hear", "cells", "modulator", HEARS, draw(SIZE, 1), summed="end"),
            Projection("fan", "modulator", "cells", SENDS, draw(1, SIZE), summed="end"),
            Projection("read", "cells", "readout", HEARS, draw(SIZE, 2), summed=readout),  # type: ignore[arg-type]
        ),
        (Input("drive", 3, "current", "outside.I"),), dt="1 ms",
    )  # fmt: skip


def by_hand(network: Network, drive: Array) -> dict[str, Array]:
    """The published order: the layer by the old synapses, the modulator from the new layer, then the synapses."""
    v = values(network)
    found: dict[str, list[Array]] = {name: [] for name in RECORD}
    x, hebb = np.zeros((len(drive), SIZE)), np.zeros((len(drive), SIZE, SIZE))
    for k in range(drive.shape[1]):
        new = np.tanh(drive[:, k] @ v["enter.w"] + np.einsum("bi,bij->bj", x, v["loop.w"] + v["loop.alpha"] * hebb))
        y = np.tanh(new @ v["hear.w"] + v["modulator.b"])
        m = y @ v["fan.w"]
        hebb = np.clip(hebb + m[:, None, :] * x[:, :, None] * new[:, None, :], -2, 2)
        x = new
        for name, value in zip(RECORD, (x, m, y, x @ v["read.w"], hebb), strict=True):
            found[name].append(value)
    return {name: np.stack(steps, 1) for name, steps in found.items()}


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_a_modulator_acts_in_the_step_in_which_it_hears(backend: str) -> None:
    network, drive = plastic(), draw(BATCH, STEPS, 3)
    found, wanted = (
        backends.get(backend).compile(network).run(inputs={"drive": drive}, record=RECORD),
        by_hand(network, drive),
    )
    assert np.unique(wanted["loop.hebb"]).size > 300 and np.abs(wanted["loop.hebb"]).max() == 2
    for name in RECORD:
        assert found.traces[name].reshape(wanted[name].shape) == pytest.approx(wanted[name], abs=1e-13)


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_a_sum_at_the_end_is_the_next_start_s(backend: str) -> None:
    drive, program = {"drive": draw(BATCH, STEPS, 3)}, backends.get(backend)
    late, early = (program.compile(plastic(p)).run(inputs=drive, record=RECORD).traces for p in ("end", "start"))
    assert late["readout.y"][:, :-1] == pytest.approx(early["readout.y"][:, 1:], abs=1e-14)
    assert not early["readout.y"][:, 0].any() and np.array_equal(late["cells.x"], early["cells.x"])


def test_gradients_pass_through_sums_at_the_end() -> None:
    network, given = plastic(), {"drive": draw(BATCH, STEPS, 3)}
    wrt = ["enter.w", "loop.w", "loop.alpha", "hear.w", "fan.w", "read.w", "modulator.b"]

    def loss(signals: Any) -> Any:
        return (signals.traces["readout.y"] ** 2).sum() + 0.3 * signals.traces["modulator.y"].sum()

    record, found = ["readout.y", "modulator.y"], {}
    for backend in ("native", "torch"):
        program = backends.get(backend).compile(network)
        found[backend] = program.value_and_grad(loss, None, given, wrt, record)[1]
    program, step = backends.get("reference").compile(network), 1e-6
    for name in wrt:
        assert np.allclose(found["native"][name], found["torch"][name], rtol=1e-11, atol=1e-13)
        value = np.asarray(values(network)[name])
        direction = np.random.default_rng(1).normal(0, 1, value.shape)
        ends = [float(loss(program.run({name: value + s * step * direction}, given, record))) for s in (1, -1)]
        along = (ends[0] - ends[1]) / (2 * step)
        assert abs(along) > 1e-3
        assert float((found["torch"][name] * direction).sum()) == pytest.approx(along, rel=1e-7)


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_a_run_goes_on_anywhere(backend: str) -> None:
    program, drive = backends.get(backend).compile(plastic()), draw(BATCH, STEPS, 3)
    whole, state, parts = program.run(inputs={"drive": drive}, record=RECORD), None, []
    for part in np.split(drive, [1, 4], axis=1):
        found = program.run(inputs={"drive": part}, record=RECORD, state=state)
        state = found.state
        assert isinstance(state, State)
        parts.append(found.traces)
    for name in RECORD:
        assert np.array_equal(np.concatenate([p[name] for p in parts], 1), whole.traces[name])


def test_what_arrives_otherwise_is_added_where_the_sum_is_formed() -> None:
    """Events and currents into an input that is summed at the end; a threshold and a reset that read it."""
    cells = Neuron(
        "cells", "dv/dt = (1.5 - v)/(5*ms) : 1\nm : 1\ny = 2*m : 1", threshold="v > 0.7 and m > -0.5", reset="v = 0.1*m"
    )
    sends = Synapse("sends", "w : 1", transmits="w*v_pre", target="m")
    kicks = Synapse("kicks", "w : 1", on_pre="m_post += w")
    marks = Synapse("marks", "w : 1\nh : 1", on_pre="h = 0.5*h + m_post\nv_post += 0.01*h", every_step="h *= 0.9")
    network = Network(
        Population("c", cells, 4),
        (
            Projection("graded", "c", "c", sends, draw(4, 4), summed="end"),
            Projection("events", "c", "c", kicks, draw(4, 4) + 0.1, delay="1 ms"),
            Projection("read", "c", "c", marks, 1.0),
        ),
        (Input("current", 4, "current", "c.m"),), dt="0.5 ms",
    )  # fmt: skip
    given, record = {"current": draw(1, 60, 4)}, ["c.v", "c.m", "c.y", "read.h"]
    runs = [
        backends.get(b).compile(network).run(inputs=given, record=record)
        for b in ("reference", "native", "torch", "brian2")
    ]
    assert runs[0].spike_count() > 10
    for other in runs[1:]:
        assert np.array_equal(runs[0].spikes["c"], other.spikes["c"])
        assert all(np.allclose(runs[0].traces[n], other.traces[n], rtol=1e-11, atol=1e-12) for n in record)


def test_the_generator_makes_them() -> None:
    made = [generate(seed).network for seed in range(100, 140)]
    late = [n for n in made if any(p.summed == "end" for p in n.projections)]
    assert len(late) >= 5


def test_where_sums_are_formed_is_kept_recorded_and_shown() -> None:
    network = plastic()
    assert from_json(to_json(network)) == network and "summed at the end of a step" in str(network)
    record = semantics(network)
    assert record.summed_at_end == ("hear", "fan", "read") and Semantics.from_data(record.to_data()) == record
    assert record.differences(semantics(plastic("start"))) == ("summed_at_end",)


def refusal(action: Any) -> str:
    with pytest.raises((ModelError, UnsupportedError)) as error:
        action()
    return str(error.value)


def reading(text: str = "", **changes: Any) -> Network:
    """A population of one cell that hears itself at the end of a step. text: its equations besides."""
    given = {"every_step": "x = 1"} | changes
    cells = Neuron("cells", f"m : 1\nx : 1\ny = 2*m : 1\n{text}", **given)
    return Network(Population("c", cells, 2), Projection("p", "c", "c", replace(HEARS, target="m"), 1.0, summed="end"))


def test_nobody_reads_a_sum_before_it_is_formed() -> None:
    for made in (
        lambda: reading("dv/dt = (m - v)/(5*ms) : 1"),
        lambda: reading(every_step="x = m"),
        lambda: reading(threshold="x > 2", refractory="m > 0.5"),
    ):
        text = refusal(made)
        assert "'m' is read before it is summed" in text and "summed='end'" in text and "^" in text
    assert "'m' is read (through 'y') before" in refusal(lambda: reading(every_step="x = y"))
    network = reading()
    for synapse in (
        Synapse("s", "w : 1", transmits="w*y_pre", target="k"),
        Synapse("s", "w : 1\na = m_post : 1", transmits="w*a*x_pre", target="k"),
        Synapse("s", "w : 1\ndh/dt = (m_post - h)/(5*ms) : 1", transmits="w*h*x_pre", target="k"),
    ):
        cells = replace(network.populations[0].neuron, equations="m : 1\nx : 1\ny = 2*m : 1\nk : 1")
        again = Projection("q", "c", "c", synapse, 1.0)
        populations = (replace(network.populations[0], neuron=cells),)
        text = refusal(
            lambda a=again, p=populations: replace(network, populations=p, projections=(*network.projections, a))
        )
        assert "before it is summed" in text and "synapse 's'" in text


def test_what_cannot_be_summed_at_the_end_is_refused() -> None:
    network = plastic()
    first = replace(network.projections[4], name="other", summed="start")
    text = refusal(lambda: replace(network, projections=(*network.projections, first)))
    assert (
        "projection 'read'" in text
        and "input 'z' of 'readout' is summed at the start of a step by projection 'other'" in text
    )
    events = Synapse("events", "w : 1", on_pre="z_post += w")
    assert "leave it out" in refusal(lambda: Projection("p", "a", "b", events, 1.0, summed="end"))
    assert "use 'start', 'turn' or 'end'" in refusal(lambda: replace(network.projections[4], summed="middle"))  # type: ignore[arg-type]
    assert "is no text" in refusal(lambda: replace(network.projections[4], summed=1))  # type: ignore[arg-type]
    shown = Projection("shown", "readout", "readout", replace(ENTER, name="shown"), 1.0, summed="end")
    text = refusal(lambda: lower(replace(network, projections=(*network.projections, shown))))
    assert "depend on each other within one step" in text


def test_rules_that_take_sums_apart_refuse_it_by_name() -> None:
    text = refusal(lambda: learning.get("rtrl").check_network(plastic(), "readout"))
    assert "summed at the end of a step" in text or "projection 'loop'" in text
    readout = replace(plastic(), projections=(plastic().projections[0], plastic().projections[4]))
    text = refusal(lambda: learning.get("rtrl").check_network(readout, "readout"))
    assert "projection 'read'" in text and "summed='end'" in text and "bptt" in text
