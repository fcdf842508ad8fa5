"""The benchmark of the cortical microcircuit: peers have our network, activity is what it says, a peer that isn't installed is left out by name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from tasks import microcircuit
from twinspike.benches import microcircuit as bench
from twinspike.benches.peers import microcircuit as peers
from twinspike.benchmark import Bench
from twinspike.timing import CONTROL, in_fresh_process

SCALE, STEPS = 0.01, 400


def by_hand() -> peers.Spikes:
    import brian2

    brian2.prefs.codegen.target = "numpy"  # of a process of its own; nothing to compile
    given = peers.drawn(SCALE, 0, constant=True)
    objects = peers.brian2_objects(given)
    for thing in objects:
        thing.clock.dt = microcircuit.DT * brian2.ms
    brian2.Network(objects).run(STEPS * microcircuit.DT * brian2.ms)
    monitor = objects[-1]
    return peers.by_population(np.rint(np.array(monitor.t_) * 1e4).astype(int), np.array(monitor.i), given["sizes"], 0)


def test_brian2_by_hand_fires_as_we_do() -> None:
    """Given our synapses and constant currents: cells, delays and weights mean what our definition means, down to the step."""
    network = microcircuit.network(SCALE, constant=True)
    ours = backends.get("native").compile(network).run(peers.pushed(network), steps=STEPS, batch=1)
    assert ours.spike_count() > 300
    for name, (when, who) in in_fresh_process(by_hand).items():
        raster = np.zeros_like(ours.spikes[name][0])
        raster[when, who] = True
        np.testing.assert_array_equal(raster, ours.spikes[name][0], err_msg=name)


@pytest.mark.skipif(find_spec("nest") is None, reason="NEST isn't installed: pip install --no-deps nest-simulator")
def test_nest_fires_as_we_do() -> None:
    first, spikes = in_fresh_process(bench.compared, bench.NEST, SCALE, STEPS, 0)
    assert first == STEPS and spikes > 300


def test_activity_of_clocks_and_of_chance() -> None:
    """Clocks have no irregularity; the same spikes at random times have a Poisson process's, which few spikes make smaller than 1."""
    random, found = np.random.default_rng(0), {}
    for name, size in zip(microcircuit.POPULATIONS, microcircuit.SIZES, strict=True):
        cells = round(0.01 * size)
        when = np.arange(0, 10_000, 50)
        found[name] = np.repeat(when, cells), np.tile(np.arange(cells), len(when))
    few = random.integers(0, 10_000, 4 * 207)
    found["L23E"] = few, np.repeat(np.arange(207), 4)
    for name, (rate, cv, chance, _) in bench.activity(found, 0.01, 1.0, 0).items():
        if name == "L23E":
            assert abs(rate - 4) < 1e-9 and 0.5 < cv < 0.8 and abs(cv - chance) < 0.1
        else:
            assert abs(rate - 200) < 1e-9 and cv == 0 and abs(chance - 1) < 0.1


def test_ours_gives_every_measure_and_spikes() -> None:
    found = bench.ours(SCALE, 1, 0.01, 0.03, 0)
    assert found["synapses"] == 29885 and found["cells"] == 771
    assert all(found[measure] > 0 for measure, _, _ in bench.MEASURES)
    network = microcircuit.network(SCALE)
    wanted = backends.get("native").compile(network, dtype="float32").run(steps=401, batch=1)
    for name, (when, who) in found["spikes"].items():
        expected = np.nonzero(np.asarray(wanted.spikes[name])[0, 101:])
        np.testing.assert_array_equal((when, who), expected)
    assert wanted.spike_count() > 5


def test_what_is_not_installed_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda module: None if module == "nest" else module)
    assert set(bench.available()) == {bench.BRIAN2}
    assert "left out: NEST, which isn't installed (pip install nest-simulator" in capsys.readouterr().out


def test_side_by_side_compares_each_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(factor: float) -> Any:
        measures = {measure: factor for measure, _, _ in bench.MEASURES}
        return lambda *given: measures | {"spikes": {"L4E": ([1, 2], [0, 0])}}

    monkeypatch.setattr(bench, "ours", of(2.0))
    monkeypatch.setattr(bench, "in_fresh_process", lambda function, *given: function(*given))
    found = Bench("microcircuit", tmp_path, quick=True)
    bench.side_by_side(found, "some", (0.01, 1, 0.1), {bench.NEST: of(8.0)})
    assert [f.value for f in found.figures] == [0.25] * len(bench.MEASURES)
    assert {f.against for f in found.figures} == {bench.NEST} and all(f.control == 1 for f in found.figures)
    assert found.arrays[f"{found.figures[0].benchmark}/{bench.OURS}{CONTROL}"] == [2.0]
