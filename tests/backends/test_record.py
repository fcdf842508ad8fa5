"""What a run records: variables of synapses, chosen cells and synapses, spikes of chosen cells; the same on every backend."""

from __future__ import annotations

import pickle
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import backends
from backends.parallel import ParallelProgram
from neuro import AllToAll, Input, Network, OneToOne, Pairs, Population, Probability, Projection, Recording, RunError
from neuro.compiler.parameters import values
from neuro.events import Events
from tests.backends.able import able, compiled
from tests.backends.networks import LIF, PULSE, STDP, drive, networks

STEPS = 60
each_backend = pytest.mark.parametrize("backend", able("plasticity", "state"))

_RANDOM = np.random.default_rng(8)
WIRES: dict[str, Any] = {
    "all": AllToAll(),
    "all others": AllToAll(False),
    "one to one": OneToOne(),
    "pairs": Pairs(_RANDOM.integers(0, 5, 12), _RANDOM.integers(0, 5, 12)),
    "probability": Probability(0.5),
    "none": Probability(0.0),
}
CHOICES: dict[str, Any] = {
    "all": [(4, 0), (0, 1), (3, 3)],
    "all others": [(4, 0), (0, 1), (3, 2)],
    "one to one": [4, 0, 1],
    "pairs": [11, 0, 5],
    "probability": [3, 0],
}
STATES = ("w", "x", "y")


def plastic(wires: str) -> Network:
    """Cells that spikes from outside and their own plastic synapses drive."""
    feed = Projection("feed", "x", "cells", PULSE, "2 nA")
    loop = Projection("loop", "cells", "cells", STDP, "6 mV", WIRES[wires], delay="2 ms")
    return Network((Population("cells", LIF, 5),), (feed, loop), (Input("x", 7),), dt="1 ms", seed=3, name=wires)


def run(backend: str, network: Network, record: Any, **options: Any) -> Recording:
    inputs = {**drive(network, batch=2, steps=STEPS), **options.pop("inputs", {})}
    found: Recording = compiled(backend, network).run(inputs=inputs, record=record, **options)
    return found


def everything(network: Network) -> list[str]:
    cells = [f"{p.name}.{v}" for p in network.populations for v in (*p.neuron.scope.states, *p.neuron.scope.inputs)]
    return cells + [f"{p.name}.{v}" for p in network.projections for v in p.synapse.scope.states]


@each_backend
@pytest.mark.parametrize("wires", WIRES)
def test_variables_of_all_synapses(backend: str, wires: str) -> None:
    network = plastic(wires)
    record = everything(network)
    truth, found = (run(b, network, record, every=4) for b in ("reference", backend))
    assert found.spike_count() > 50 and not found.chosen
    for name in record:
        assert found.traces[name].shape == truth.traces[name].shape
        np.testing.assert_allclose(found.traces[name], truth.traces[name], rtol=1e-9, atol=1e-14)
    loop = found.traces["loop.w"]
    assert loop.shape[:2] == (2, STEPS // 4)
    np.testing.assert_array_equal(loop[:, -1], found.final["loop.w"])
    np.testing.assert_array_equal(found.traces["loop.x"][:, -1], found.state.variables["loop.x"])
    assert wires == "none" or np.ptp(loop[:, :, ...], axis=1).max() > 1e-4, "weights change"


@each_backend
@pytest.mark.parametrize("wires", CHOICES)
@pytest.mark.parametrize("every", [1, 7])
def test_chosen_ones_are_those_of_the_whole(backend: str, wires: str, every: int) -> None:
    network, places = plastic(wires), CHOICES[wires]
    names = {"cells.v": [4, 1], "cells.I": [2], **{f"loop.{v}": places for v in STATES}, "cells": [3, 0]}
    whole = run(backend, network, [n for n in names if "." in n], every=every)
    found = run(backend, network, names, every=every)
    assert set(found.chosen) == set(names)
    for name, chosen in names.items():
        np.testing.assert_array_equal(found.chosen[name], chosen)
    for name in ("cells.v", "cells.I"):
        np.testing.assert_array_equal(found.traces[name], whole.traces[name][..., names[name]])
    at: Any = tuple(np.transpose(places)) if np.ndim(places) == 2 else np.asarray(places)
    for v in STATES:
        right = whole.traces[f"loop.{v}"]
        right = right[..., at[0], at[1]] if np.ndim(places) == 2 else right[..., at]
        np.testing.assert_array_equal(found.traces[f"loop.{v}"], right)
    np.testing.assert_array_equal(found.spikes["cells"], np.asarray(whole.spikes["cells"])[..., [3, 0]])
    np.testing.assert_array_equal(found.final["loop.w"], whole.final["loop.w"])
    assert found.state.differences(whole.state) == {}


@each_backend
def test_a_subexpression_has_the_same_bits_whoever_else_is_recorded(backend: str) -> None:
    cells = replace(LIF, equations=LIF.equations + "\ns = sin(v/mV - clip(sin(0.5), -1, 1.1))**2 : 1")
    network = Network((Population("cells", cells, 7, initial={"v": "-51 mV"}),), dt="1 ms")
    program = compiled(backend, network)
    whole = program.run(steps=20, record=["cells.s"]).traces["cells.s"]
    for chosen in ([3], [0, 2, 1], [6, 5, 4, 3, 2]):
        found = program.run(steps=20, record={"cells.s": chosen}).traces["cells.s"]
        np.testing.assert_array_equal(found, whole[..., chosen])


@each_backend
def test_one_program_records_now_this_now_that(backend: str) -> None:
    network = plastic("pairs")
    program, inputs = compiled(backend, network), drive(network, batch=2, steps=STEPS)
    whole = program.run(inputs=inputs, record=["loop.w", "cells.v"])
    for places in ([1], [2, 7], [1], [5, 4, 3]):
        found = program.run(inputs=inputs, record={"loop.w": places, "cells.v": None})
        np.testing.assert_array_equal(found.traces["loop.w"], whole.traces["loop.w"][..., places])
        np.testing.assert_array_equal(found.traces["cells.v"], whole.traces["cells.v"])
    assert not program.run(inputs=inputs).traces


@each_backend
def test_parameter_sets(backend: str) -> None:
    network = plastic("all others")
    record = {"loop.w": None, "loop.x": [(1, 0), (0, 4)], "cells.v": [3], "cells": [1]}
    sets = {"loop.tau": np.array([0.01, 0.02, 0.04])}
    found = run(backend, network, record, parameters=sets, population=3, every=5)
    assert found.traces["loop.w"].shape == (3, 2, 12, 5, 5)
    for p in range(3):
        alone = run(backend, network, record, parameters={"loop.tau": sets["loop.tau"][p]}, every=5)
        for name, trace in alone.traces.items():
            np.testing.assert_allclose(found.of_set(p).traces[name], trace, rtol=1e-9, atol=1e-14)
        np.testing.assert_array_equal(found.of_set(p).spikes["cells"], alone.spikes["cells"])
    assert found.of_set(1).chosen is found.chosen


@each_backend
def test_weights_given_where_there_is_no_synapse_stay(backend: str) -> None:
    found = run(backend, plastic("all others"), ["loop.w"], parameters={"loop.w": np.full((5, 5), 6e-3)})
    for values_ in (found.traces["loop.w"], found.final["loop.w"], found.state.variables["loop.w"]):
        np.testing.assert_array_equal(np.diagonal(values_, axis1=-2, axis2=-1), 6e-3)


@each_backend
def test_spikes_of_no_cells_and_of_all(backend: str) -> None:
    network = plastic("all")
    whole, none, all_ = (run(backend, network, record) for record in ((), {"cells": []}, {"cells": None}))
    assert none.spikes["cells"].shape == (2, STEPS, 0) and none.spike_count() == 0
    np.testing.assert_array_equal(all_.spikes["cells"], whole.spikes["cells"])
    assert whole.spike_count() > 50 and not all_.chosen and none.state.differences(whole.state) == {}


@each_backend
def test_too_few_steps_for_a_reading(backend: str) -> None:
    found = run(backend, plastic("all others"), {"loop.w": None, "loop.x": [(0, 1)], "cells.v": [1]}, every=100)
    shapes = {n: t.shape for n, t in found.traces.items()}
    assert shapes == {"loop.w": (2, 0, 5, 5), "loop.x": (2, 0, 1), "cells.v": (2, 0, 1)}


# -- in parts ------------------------------------------------------------------------------------------------------------

PARTS: dict[str, Any] = {"loop.w": None, "loop.y": [(0, 1), (3, 2)], "cells.v": [4], "cells": [2]}


@each_backend
def test_streams_and_continued_runs(backend: str) -> None:
    network = plastic("all others")
    program, inputs = compiled(backend, network), drive(network, batch=2, steps=STEPS)
    whole = program.run(inputs=inputs, record=PARTS, every=2)
    parts = list(program.stream(inputs=inputs, record=PARTS, steps=STEPS, chunk=16, every=2))
    for kind in ("traces", "spikes"):
        for name, right in getattr(whole, kind).items():
            glued = np.concatenate([np.asarray(getattr(p, kind)[name]) for p in parts], axis=1)
            np.testing.assert_array_equal(glued, right)
    assert all(set(p.chosen) == set(whole.chosen) for p in parts)


@each_backend
def test_noise_drawn_in_parts(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.common.simulator.AT_ONCE", 4000)
    base = networks()["noise"]
    network = replace(base, projections=(replace(base.projections[0], synapse=STDP, weights="6 mV"),))
    record = {"feed.w": None, "feed.x": [(6, 0)], "cells.v": [4], "cells": [0, 2]}
    inputs = {"x": np.random.default_rng(1).random((2, 600, 7)) < 0.05}
    found = compiled(backend, network).run(inputs=inputs, record=record, every=100)
    right = backends.get("reference").compile(network).run(inputs=inputs, record=record, every=100)
    assert found.traces["feed.w"].shape == (2, 6, 7, 5)
    for name, trace in right.traces.items():
        np.testing.assert_allclose(found.traces[name], trace, rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(found.spikes["cells"], right.spikes["cells"])


@each_backend
def test_a_session_records(backend: str) -> None:
    network = plastic("all others")
    program, inputs = compiled(backend, network), drive(network, batch=2, steps=STEPS)
    whole = program.run(inputs=inputs, record=PARTS)
    with program.session(2, record=PARTS) as session:
        found = [session.step({n: a[:, k : k + 1] for n, a in inputs.items()}) for k in range(5)]
    np.testing.assert_array_equal(np.concatenate([f.traces["loop.w"] for f in found], 1), whole.traces["loop.w"][:, :5])
    assert found[0].traces["loop.y"].shape == (2, 1, 2) and found[0].spikes["cells"].shape == (2, 1, 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_processes(workers: int) -> None:
    network = plastic("all others")
    sets, inputs = {"loop.tau": np.array([0.01, 0.02, 0.04])}, drive(network, batch=2, steps=STEPS)
    program = ParallelProgram("reference", network, workers=workers, chunk=2)
    found = program.run(sets, inputs, PARTS, population=3)
    right = backends.get("reference").compile(network).run(sets, inputs, PARTS, population=3)
    for name, trace in right.traces.items():
        np.testing.assert_array_equal(found.traces[name], trace)
    np.testing.assert_array_equal(found.spikes["cells"], right.spikes["cells"])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).chosen["loop.y"], PARTS["loop.y"])


# -- gradients -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wires", WIRES)
def test_gradients_of_what_is_recorded(wires: str) -> None:
    """Native's adjoint against torch's graph; what is chosen has the gradient of that part of the whole."""
    network = plastic(wires)
    inputs, wrt = drive(network, batch=2, steps=STEPS), ["loop.w", "loop.tau", "feed.w"]
    chosen: dict[str, Any] = {"cells.v": [4, 1], "cells": [3, 0]}
    if wires in CHOICES:
        chosen |= {"loop.w": CHOICES[wires], "loop.x": None}
    found = []
    for record in (chosen, everything(network)):

        def loss(signals: Any, r: Any = record) -> Any:
            parts = [*signals.traces.values(), *signals.spikes.values()]
            return sum((x * torch.linspace(1, 2, x.numel(), dtype=x.dtype).reshape(x.shape)).sum() for x in parts)

        both = [
            backends.get(b).compile(network).value_and_grad(loss, values(network), inputs, wrt, record, every=3)
            for b in ("torch", "native")
        ]
        assert both[0][0] == pytest.approx(both[1][0], rel=1e-9)
        for name in wrt:
            scale = np.abs(both[0][1][name]).max(initial=1e-300)
            np.testing.assert_allclose(both[1][1][name] / scale, both[0][1][name] / scale, atol=1e-8)
        found.append(both[0][1])
    assert wires == "none" or np.abs(found[0]["loop.tau"]).max() > 0


@pytest.mark.parametrize("backend", able("gradients"))
def test_signals_say_what_was_chosen(backend: str) -> None:
    network = plastic("pairs")
    program, inputs = compiled(backend, network), drive(network, batch=2, steps=STEPS)
    record = {"loop.w": [3, 1], "cells": [2]}
    signals, right = program.forward(None, inputs, record), program.run(None, inputs, record)
    np.testing.assert_array_equal(signals.chosen["loop.w"], [3, 1])
    np.testing.assert_array_equal(signals.traces["loop.w"].detach(), right.traces["loop.w"])
    np.testing.assert_array_equal(signals.spikes["cells"].detach() > 0, right.spikes["cells"])


# -- memory --------------------------------------------------------------------------------------------------------------


def test_memory_follows_what_is_chosen() -> None:
    """Peak of Python's allocations of a native run: three of 100,000 synapses cost what they hold themselves."""
    pairs = np.arange(100_000)
    wires = Pairs(pairs % 1000, pairs // 1000)
    loop = Projection("loop", "x", "cells", STDP, "1 uV", wires)
    network = Network((Population("cells", LIF, 100),), (loop,), (Input("x", 1000),), dt="1 ms", seed=3)
    program = backends.get("native").compile(network)
    inputs = {"x": Events.of(np.random.default_rng(3).random((1, 400, 1000)) < 0.01)}

    def peak(record: Any) -> int:
        program.run(inputs=inputs, record=record)
        tracemalloc.start()
        found = program.run(inputs=inputs, record=record)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.spike_count() >= 0
        return size

    assert peak({"loop.x": [7, 99_999, 0]}) - peak(()) < 2**17, "all synapses are 320 MB"


# -- what is refused -----------------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[str, Any, str]] = {
    "population": ("all", ["cell.v"], "no population or projection 'cell'; did you mean 'cells'"),
    "projection": ("all", ["lop.w"], "did you mean 'loop'"),
    "variable": ("all", ["loop.xx"], "no variable of projection 'loop' 'xx'; did you mean 'x'"),
    "name alone": ("all", ["cells"], "no variable of population 'cells' ''"),
    "weight": ("all", ["feed.w"], r"'feed.w' can't be recorded: it doesn't change .*values\(network\)\['feed.w'\]"),
    "parameter": ("all", {"loop.tau": None}, "'loop.tau' can't be recorded: it doesn't change"),
    "cell": ("all", {"cells.v": [0, 5]}, r"record\['cells.v'\] asks for 5; .*whole numbers from 0 to 4"),
    "negative": ("all", {"cells": [-1]}, r"record\['cells'\] asks for -1; there is no such cell of population 'cells'"),
    "twice": ("all", {"cells.v": [1, 3, 1]}, r"record\['cells.v'\] asks for 1 twice; give it once"),
    "pair twice": ("all", {"loop.w": [(0, 1), (0, 1)]}, r"asks for \(0, 1\) twice"),
    "no synapse": ("all others", {"loop.w": [(0, 1), (2, 2)]}, r"asks for \(2, 2\); there is no such synapse"),
    "pair outside": ("all others", {"loop.w": [(0, 5)]}, r"asks for \(0, 5\); .*from \(0, 0\) to \(4, 4\)"),
    "numbers for pairs": ("all", {"loop.w": [0, 1]}, r"give a list of pairs \(pre, post\)"),
    "pairs for numbers": ("pairs", {"loop.w": [(0, 1)]}, "give a list of whole numbers from 0 to 11"),
    "synapse": ("pairs", {"loop.w": [12]}, "asks for 12; there is no such synapse of projection 'loop'"),
    "one number": ("all", {"cells.v": 3}, r"record\['cells.v'\] is 3; give a list"),
    "text": ("all", {"cells.v": "all"}, r"record\['cells.v'\] is 'all'; give a list"),
    "fractions": ("all", {"cells.v": [0.5]}, "give a list of whole numbers"),
    "truth values": ("all", {"cells.v": np.ones(5, bool)}, r"truth values; give numpy.flatnonzero\(mask\)"),
    "nothing": ("all", {"cells.v": []}, "chooses nothing; leave the name out"),
    "spikes of synapses": ("all", {"loop": [0]}, "asks for a projection's spikes"),
    "no names": ("all", {3: None}, "record holds 3; it is a list of names"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused(name: str) -> None:
    wires, record, message = REFUSALS[name]
    for backend in ("reference", "native"):
        with pytest.raises(RunError, match=message):
            run(backend, plastic(wires), record)


def test_spikes_of_cells_without_a_threshold_are_refused() -> None:
    network = networks()["readout"]
    with pytest.raises(RunError, match="population 'leaky' has none of: it has no threshold"):
        run("reference", network, {"leaky": [0]})


def test_subexpressions_of_synapses_are_refused_by_name() -> None:
    synapse = replace(STDP, equations=STDP.equations + "\nsum = x + y : 1")
    loop = Projection("loop", "cells", "cells", synapse, "6 mV")
    network = Network((Population("cells", LIF, 5),), (loop,), (), dt="1 ms")
    with pytest.raises(RunError, match=r"'loop.sum' can't be recorded: .*'loop' has w, x, y"):
        backends.get("reference").compile(network).run(record=["loop.sum"], steps=3)


def test_snntorch_records_chosen_cells() -> None:
    network = networks()["readout"]
    try:
        program = backends.get("snntorch").compile(network)
    except Exception as error:
        pytest.skip(str(error))
    inputs = drive(network, batch=2, steps=STEPS)
    whole = program.run(inputs=inputs, record=["cells.v", "leaky.v"])
    found = program.run(inputs=inputs, record={"cells.v": [3, 1], "leaky.v": None, "cells": [2]})
    np.testing.assert_array_equal(found.traces["cells.v"], whole.traces["cells.v"][..., [3, 1]])
    np.testing.assert_array_equal(found.spikes["cells"], whole.spikes["cells"][..., [2]])
    with pytest.raises(RunError, match=r"'feed\.w' can't be recorded: it doesn't change"):
        program.run(inputs=inputs, record=["feed.w"])
