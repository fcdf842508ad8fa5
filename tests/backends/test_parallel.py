"""Worker processes: the numbers don't depend on how many there are."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import backends
from backends.parallel import ParallelProgram
from neuro import Input, Network, Population, Projection, RunError, library, quantity
from neuro.compiler.parameters import values
from tests.backends.networks import drive, networks


def test_any_number_of_workers_gives_the_same_numbers() -> None:
    network = networks()["noise"]
    weights = np.stack([f * values(network)["feed.w"] for f in np.linspace(0.8, 1.2, 7)])
    inputs = drive(network, steps=100)
    found = [
        ParallelProgram("reference", network, workers=w, chunk=3).run(
            {"feed.w": weights}, inputs, ["cells.v"], population=7
        )
        for w in (1, 2)
    ]
    whole = backends.get("reference").compile(network)
    expected = whole.run({"feed.w": weights}, inputs, ["cells.v"], population=7)
    assert expected.spike_count() > 100
    for other in found:
        np.testing.assert_array_equal(found[0].traces["cells.v"], other.traces["cells.v"])
        np.testing.assert_array_equal(expected.spikes["cells"], other.spikes["cells"])
        np.testing.assert_allclose(expected.traces["cells.v"], other.traces["cells.v"], rtol=1e-12)
    alone = ParallelProgram("reference", network, workers=2).run({"feed.w": weights[3]}, inputs, ["cells.v"])
    np.testing.assert_array_equal(alone.spikes["cells"], expected.spikes["cells"][3])


def test_workers_draw_what_nobody_gives() -> None:
    """Poisson inputs that are drawn from the network's seed: the run is given no arrays."""
    feed = Projection("feed", "x", "cells", library.get("pulse"), quantity("2 nA"))
    inputs = (Input("x", 5, "poisson", rate="80 Hz"),)
    network = Network((Population("cells", library.get("lif"), 3),), (feed,), inputs, dt="1 ms")
    sets = {"feed.w": np.linspace(0.5, 1.5, 4)[:, None, None] * values(network)["feed.w"]}
    program = ParallelProgram("reference", network, workers=2, chunk=2)
    found = program.run(sets, steps=300, population=4).spikes["cells"]
    expected = backends.get("reference").compile(network).run(sets, steps=300, population=4).spikes["cells"]
    np.testing.assert_array_equal(found, expected)
    assert found.sum() > 10


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
@pytest.mark.parametrize("name", ["recurrent", "plastic", "noise", "sparse", "heterogeneous delays"])
def test_a_set_s_numbers_do_not_depend_on_its_chunk(backend: str, name: str) -> None:
    network = networks()[name]
    program, inputs = backends.get(backend).compile(network), drive(network, steps=60)
    weights = {
        n: np.stack([f * v for f in np.linspace(0.8, 1.2, 5)]) for n, v in values(network).items() if n.endswith(".w")
    }
    whole, traces = None, [f"{p.name}.v" for p in network.populations]
    for chunk in (5, 1, 2):
        runs = [{n: v[k : k + chunk] for n, v in weights.items()} for k in range(0, 5, chunk)]
        parts = [program.run(r, inputs, traces, population=len(next(iter(r.values())))) for r in runs]
        found = {t: np.concatenate([p.traces[t] for p in parts]) for t in traces}
        whole = found if whole is None else whole
        for t in traces:
            np.testing.assert_array_equal(found[t], whole[t])
            assert np.ptp(found[t], axis=0).max() > 0


@pytest.mark.parametrize(("backend", "workers"), [("reference", 2), ("torch", 1)])
def test_parameter_sets_go_on_from_their_states(backend: str, workers: int) -> None:
    network = networks()["plastic"]
    rates = np.linspace(0.8, 1.2, 5) * values(network)["cells.R"]
    first, second = (drive(network, steps=60, seed=s) for s in (1, 2))
    program = ParallelProgram(backend, network, workers=workers, chunk=2)
    alone = backends.get(backend).compile(network)
    before, other = (p.run({"cells.R": rates}, first, population=5) for p in (program, alone))
    assert before.state.lead == (5, 2)
    assert all(d < 1e-9 for d in before.state.differences(other.state).values())
    after, expected = (
        p.run({"cells.R": rates}, second, population=5, state=b.state) for p, b in ((program, before), (alone, other))
    )
    assert expected.spike_count() > 100
    np.testing.assert_array_equal(after.spikes["cells"], expected.spikes["cells"])
    shared = program.run({"cells.R": rates}, second, population=5, state=other.state.of_set(1))
    np.testing.assert_array_equal(shared.spikes["cells"][1], expected.spikes["cells"][1])
    for recording in (before, other):
        assert pickle.loads(pickle.dumps(recording)).state.differences(recording.state) == {}
    with pytest.raises(RunError, match="5 parameter sets; the run has 4"):
        program.run({"cells.R": rates[:4]}, second, population=4, state=before.state)
    with pytest.raises(RunError, match="give the state of a recording"):
        program.run({"cells.R": rates}, second, population=5, state={"v": 1})  # type: ignore[arg-type]
