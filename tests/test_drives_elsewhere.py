"""Poisson drives in files, joined and rearranged networks, analyses, exports and rules: taken, or refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    Input,
    ModelError,
    Network,
    Neuron,
    Normal,
    Population,
    Projection,
    Synapse,
    learning,
    library,
    quantity,
)
from neuro.analysis import lyapunov
from neuro.analysis.energy import measure
from neuro.analysis.refinement import finer, finer_inputs
from neuro.compiler.drives import counts
from neuro.compiler.parameters import values
from neuro.compiler.resolve import resolve
from neuro.compiler.semantics import Semantics, semantics
from neuro.composition import compose
from neuro.export import ExportError, targets
from neuro.io.serialisation import content_hash, from_data, from_json, read_network, to_data, to_json
from neuro.protocols import Batch
from neuro.surgery import added, rearranged, removed
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles.gradients import Loss, Task

LIF = library.get("lif")
# dx/dt = x - x^3, pushed to and fro, and read by its own reset
PUSHED = Neuron("pushed", "dx/dt = (x - x*x*x)/tau : 1", "x > 1.1", "x -= 0.5*x*x", parameters={"tau": "10 ms"})


def driven(neuron: Neuron = PUSHED, size: int = 3, **given: Any) -> Network:
    given = {"rate": quantity(np.linspace(100, 900, size), "Hz"), "weight": 0.3, "sources": 2, **given}
    drive = Input("d", size, "drive", f"cells.{neuron.scope.states[0]}", **given)
    return Network((Population("cells", neuron, size),), (), (drive,), dt="1 ms", seed=4)


# -- files -------------------------------------------------------------------------------------------------------------


def test_json_and_toml(tmp_path: Path) -> None:
    network = driven(weight=quantity([0.1, -0.2, 0.3]))
    assert from_json(to_json(network)) == network
    text = """
dt = "1 ms"
[populations.cells]
neuron = "cuba_lif"
size = 3
[inputs.d]
size = 3
kind = "drive"
target = "cells.I_syn"
rate = "8 Hz"
sources = 1600
weight = {values = [80, 87.8, 90], unit = "pA"}
"""
    path = tmp_path / "net.toml"
    path.write_text(text)
    item = read_network(path).input("d")
    assert (item.sources, float(item.rate.value), item.weight.shape) == (1600, 8.0, (3,))  # type: ignore[union-attr]


def test_files_without_the_new_fields_are_read() -> None:
    network = Network((Population("cells", LIF, 2),), (), (Input("x", 2, "poisson", rate="5 Hz"),))
    data = json.loads(json.dumps(to_data(network)))
    for item in data["inputs"]:
        del item["weight"], item["sources"]
    assert from_data(data) == network and content_hash(from_data(data)) == content_hash(network)
    record = semantics(network).to_data()
    del record["drive_convention"]
    assert Semantics.from_data(record) == semantics(network)


# -- joined and rearranged networks ------------------------------------------------------------------------------------


def test_parts_bring_their_drives() -> None:
    joined = compose(
        {"one": driven(), "other": driven()}, inputs=[Input("more", 3, "drive", "one.cells.x", "1 kHz", 0.1)]
    )
    assert {i.name: i.target for i in joined.inputs} == {
        "one_d": "one_cells.x", "other_d": "other_cells.x", "more": "one_cells.x",
    }  # fmt: skip
    recording = backends.get("reference").compile(joined).run(steps=50, record=["one_cells.x", "other_cells.x"])
    assert (recording.traces["one_cells.x"] != recording.traces["other_cells.x"]).any()


@pytest.mark.parametrize(
    ("bind", "message"),
    [({"a.d": "b.cells"}, "'a.d' is a drive"), ({"b.x": "a.d"}, "'a.d' is a drive.*bind to a spiking")],
)
def test_ports_that_are_drives(bind: dict[str, str], message: str) -> None:
    other = Network(
        (Population("cells", LIF, 3),),
        (Projection("p", "x", "cells", library.get("pulse"), "1 nA"),),
        (Input("x", 3),),
        dt="1 ms",
    )
    with pytest.raises(ModelError, match=f"(?s){message}"):
        compose({"a": driven(), "b": other}, bind=bind)


def test_cells_take_their_rates_and_weights_with_them() -> None:
    network = driven(weight=quantity([0.1, 0.2, 0.3]))
    with pytest.raises(ModelError, match="its drive 'd' is drawn for all its cells at once"):
        removed(network, "cells", [1])
    item = removed(network, "cells", [1], noise="anew").after.input("d")
    assert item.size == 2 and item.weight is not None and item.rate is not None
    np.testing.assert_array_equal(item.weight.value, [0.1, 0.3])
    np.testing.assert_array_equal(item.rate.value, [100, 900])
    surgery = rearranged(network, "cells", [2, 0, 1], noise="anew")
    moved = surgery.inputs({"d": np.arange(3)[None, None]})["d"]
    np.testing.assert_array_equal(moved, [[[2, 0, 1]]])
    with pytest.raises(ModelError, match=r"'d.rate': its values are drawn or given one by one, and a new one has none"):
        added(network, "cells", 1, noise="anew")
    given = {"d.rate": "5 Hz", "cells.weight__d": 0.7}
    item = added(network, "cells", 1, noise="anew", values={n: quantity(v) for n, v in given.items()}).after.input("d")
    assert item.rate is not None and item.weight is not None
    assert item.rate.value[3] == 5 and item.weight.value[3] == 0.7
    grown = added(driven(rate="1 kHz"), "cells", 2, noise="anew").after
    assert grown.input("d").size == 5 and grown.population("cells").size == 5


# -- analyses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [False, True])
def test_exponents_along_a_driven_run(given: bool) -> None:
    """A cell of one dimension: step by step the logarithm of the slope, at the state before, and of the reset after the drive."""
    network = driven(size=1, rate="500 Hz")
    inputs = {"d": np.random.default_rng(0).integers(0, 3, (1, 500, 1))} if given else {}
    size = {} if given else {"steps": 500}
    recording = backends.get("native").compile(network).run(inputs=inputs, record=lyapunov.needed(network), **size)
    found = lyapunov.spectrum(network, recording, 1, inputs=inputs, surrogate="none", transient=0).growth
    events = inputs["d"] if given else counts(resolve(network).network, "d", 0, 1, 500)
    x, fired = recording.traces["cells.x"], recording.spikes["cells"][:, 1:]
    assert fired.sum() > 30
    before = x[:, :-1]
    landed = before + 0.1 * (before - before**3) + 0.3 * events[:, 1:]
    slopes = (1 + 0.1 * (1 - 3 * before**2)) * np.where(fired, 1 - landed, 1)
    np.testing.assert_allclose(found, np.log(np.abs(slopes)), rtol=1e-8, atol=1e-10)


def test_counts_of_another_run_are_refused() -> None:
    network = driven()
    recording = backends.get("native").compile(network).run(steps=20, record=lyapunov.needed(network))
    with pytest.raises(lyapunov.LyapunovError, match="input 'd' has the shape"):
        lyapunov.spectrum(network, recording, 1, inputs={"d": np.zeros((1, 3, 3))}, surrogate="none")


def test_energy_counts_no_drive() -> None:
    network = driven()
    recording = backends.get("reference").compile(network).run(steps=30)
    found = measure(network, recording, {})
    assert found.total("acs") == found.total("macs") == 0 and found.parameters == 2


def test_a_finer_clock_hears_as_many_events() -> None:
    network = driven(LIF, 200, rate="3 kHz", weight="0.1 mV")
    fine = finer(network, 4, "exponential_euler")
    rates = [counts(resolve(n).network, "d", 0, 1, steps).sum() for n, steps in ((network, 300), (fine, 1200))]
    assert abs(rates[0] - rates[1]) < 4 * np.sqrt(2 * rates[0])
    given = np.arange(6).reshape(1, 2, 3)
    spread = finer_inputs(driven(), {"d": given}, 4)["d"]
    np.testing.assert_array_equal(spread[:, 3::4], given)
    assert spread.sum() == given.sum()


# -- exports and rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", targets.names())
def test_targets_refuse_it(name: str, tmp_path: Path) -> None:
    feed = Projection("feed", "x", "cells", library.get("pulse"), "1 nA")
    network = driven(LIF, rate="1 kHz", weight="0.1 mV")
    network = replace(network, projections=(feed,), inputs=(Input("x", 2), *network.inputs))
    target = targets.get(name)
    with pytest.raises(
        ExportError, match=r"input 'd', drive: it adds random counts to the cells.*draw the spikes beforehand"
    ):
        target.export(network, None, tmp_path / f"net{target.profile.suffix}")


def test_eligibility_along_a_driven_run() -> None:
    """RTRL is BPTT, whose spikes the drive makes; the rule needs no counts in its batch."""
    cell = Neuron("cell", "dv/dt = -v/tau : 1", "v > 1", "v -= 1", parameters={"tau": "10 ms"})
    lands = Synapse("lands", "w : 1", on_pre="v_post += w")
    spread = Normal(quantity(0.1), quantity(0.2))
    network = Network(
        (Population("cells", cell, 4),),
        (Projection("feed", "x", "cells", lands, spread), Projection("loop", "cells", "cells", lands, spread)),
        (Input("x", 3), Input("d", 4, "drive", "cells.v", "300 Hz", 0.4)),
        dt="1 ms",
    )
    program: Any = backends.get("torch").compile(network, detach_reset=True)
    batch = Batch({"x": np.random.default_rng(1).random((2, 60, 3)) < 0.2}, np.zeros(2))
    recording = program.run(inputs=batch.inputs, record=["cells.v"])
    assert recording.spike_count() > 30
    task = Task(Loss(Case(network, 60, 2, 0), recording), "cells", ("cells.v",))
    found = [
        learning.get(name, trainable=("*.w",)).gradient(program, values(network), batch, task)
        for name in ("rtrl", "bptt")
    ]
    for name in ("feed.w", "loop.w"):
        assert np.abs(found[1][name]).max() > 0.1
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-8, atol=1e-12)
