"""A recording comes back whole, other programs read it as what it is, and a failed write leaves the old one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import backends
from neuro import AllToAll, Network, Neuron, OneToOne, Population, Projection, Recording, Synapse, quantity
from neuro.compiler.parameters import parameters, values
from neuro.io.results import ResultsError, Run, open_run, write_group, write_recording
from neuro.io.serialisation import to_json
from tests.io.test_results import begin, complete

libsonata = pytest.importorskip("libsonata")
RNG = np.random.default_rng(0)


def network(connectivity: Any = None) -> Network:
    """Three cells that fire at rates of their own, and plastic synapses among them."""
    cells = Neuron("q", "dv/dt = (1.2*b - v)/(10*ms) : 1", "v > 1", "v = 0", parameters={"b": 1.0}, method="exact")
    plastic = Synapse("s", "w : 1\ndA/dt = -A/(20*ms) : 1", on_pre="A += 1", on_post="w += 0.1*A", method="exact")
    return Network(
        [Population("c", cells, 3, parameters={"b": quantity([1.0, 1.5, 2.0])})],
        [Projection("j", "c", "c", plastic, weights=0.5, connectivity=connectivity or AllToAll())],
        dt="0.1 ms",
    )


def recorded(
    batch: int = 1, steps: int = 1000, record: Any = ("c.v",), connectivity: Any = None, **options: Any
) -> Recording:
    program = backends.get("reference").compile(network(connectivity))
    found: Recording = program.run(steps=steps, batch=batch, record=record, **options)
    return found


def of_network(path: Path, net: Network) -> Path:
    """A complete run of it."""
    run = Run.create(path, model=to_json(net), semantics={}, config={}, seed=0, metrics=())
    run.finish(values(net), parameters(net), 0)
    return path


def same(a: Recording, b: Recording) -> None:
    """Every field, with every type and shape."""
    assert (a.dt, a.every) == (b.dt, b.every)
    for x, y in ((a.spikes, b.spikes), (a.traces, b.traces), (a.final, b.final), (a.chosen, b.chosen)):
        assert set(x) == set(y)
        for name in x:
            assert np.asarray(x[name]).dtype == y[name].dtype
            np.testing.assert_array_equal(x[name], y[name])
    assert (a.end is None) == (b.end is None)
    assert a.end is None or a.state.differences(b.state) == {}


def test_the_file_gives_back_every_field() -> None:
    assert {f.name for f in fields(Recording)} == {
        "dt",
        "spikes",
        "traces",
        "every",
        "final",
        "end",
        "chosen",
        "units",
    }, "extend neuro/io/sonata.py"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lead", [(1,), (3,), (2, 3)])
@pytest.mark.parametrize(("steps", "every"), [(60, 1), (60, 7), (5, 10), (0, 1)])
def test_round_trip(lead: tuple[int, ...], steps: int, every: int, dtype: str, tmp_path: Path) -> None:
    rasters = {name: RNG.random((*lead, steps, size)) < 0.2 for name, size in (("a", 4), ("b", 1))}
    traces = {n: RNG.normal(size=(*lead, steps // every, 4)).astype(dtype) for n in ("a.v", "a.u", "b.v")}
    final = {"j.w": RNG.normal(size=(*lead, 4, 1)).astype(dtype)}
    recording = Recording(1e-4, rasters, traces, every, final)
    path = complete(tmp_path / "run.h5")
    write_recording(path, recording, {"a.v": "volt"})
    same(recording, open_run(path).recording())
    assert open_run(path).recording().units == {"a.v": "volt", "a.u": "1", "b.v": "1"}
    write_recording(path, Recording(1e-3, {"c": rasters["a"]}), {})  # nothing of the one before stays
    same(Recording(1e-3, {"c": rasters["a"]}), open_run(path).recording())


def test_of_one_trial_a_reader_gets_cells_and_milliseconds(tmp_path: Path) -> None:
    found, path = recorded(), complete(tmp_path / "run.h5")
    write_recording(path, found, {"c.v": "1"})
    spikes = libsonata.SpikeReader(str(path))["c"]
    right = [(int(cell), round(step * 0.1, 6)) for _, step, cell in np.argwhere(found.spikes["c"])]
    assert len(right) > 20
    assert sorted((int(n), round(float(t), 6)) for n, t in spikes.get()) == sorted(right)
    assert (spikes.time_units, spikes.sorting) == ("ms", "by_time")
    with h5py.File(path) as file:
        assert (np.diff(file["spikes/c/timestamps"]) >= 0).all()


def test_trials_are_nodes_of_their_own(tmp_path: Path) -> None:
    found, path = recorded(batch=3), complete(tmp_path / "run.h5")
    write_recording(path, found, {"c.v": "1"})
    read = [(int(n), round(float(t), 6)) for n, t in libsonata.SpikeReader(str(path))["c"].get()]
    wanted = [(b * 3 + cell, round(step * 0.1, 6)) for b, step, cell in np.argwhere(found.spikes["c"])]
    assert len(set(read)) == len(read) == found.spike_count() > 60
    assert sorted(read) == sorted(wanted)


@pytest.mark.parametrize(("batch", "every"), [(1, 1), (2, 1), (2, 10)])
def test_reports_are_read_with_their_times(batch: int, every: int, tmp_path: Path) -> None:
    found, path = recorded(batch, 200, every=every), complete(tmp_path / "run.h5")
    write_recording(path, found, {"c.v": "volt"})
    report = libsonata.SomaReportReader(str(path))["c"]
    frames = report.get()
    assert (report.data_units, report.time_units, report.sorted) == ("volt", "ms", True)
    assert list(frames.ids) == list(range(3 * batch))
    np.testing.assert_allclose(frames.times, 0.1 * (np.arange(every - 1, 200, every)), atol=1e-9)
    np.testing.assert_array_equal(frames.data, np.hstack(found.traces["c.v"]).astype(np.float32))
    assert np.ptp(frames.data) > 0.5


def test_a_report_holds_one_variable(tmp_path: Path) -> None:
    traces = {n: RNG.normal(size=(1, 5, 2)) for n in ("a.v", "a.u", "b.v")}
    path = complete(tmp_path / "run.h5")
    write_recording(path, Recording(1e-3, {}, traces), {"a.v": "volt", "a.u": "amp"})
    reader = libsonata.SomaReportReader(str(path))
    assert set(reader.get_population_names()) == {"a.v", "a.u", "b"}
    assert [reader[n].data_units for n in ("a.v", "a.u", "b")] == ["volt", "amp", "1"]


CHOICES: dict[str, Any] = {
    "all synapses": (["c.v", "j.w", "j.A"], None),
    "pairs": ({"c.v": [2, 0], "j.w": [(2, 0), (0, 1)], "j.A": None, "c": [2, 0]}, None),
    "synapses": ({"c.v": [1], "j.w": [2, 0], "c": [1]}, OneToOne()),
    "all one to one": (["j.w"], OneToOne()),
    "no spikes": ({"c": [], "j.w": None}, None),
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 3}, {"batch": 2, "population": 2}])
@pytest.mark.parametrize("own", [True, False])
def test_synapses_and_chosen_cells_come_back(name: str, options: dict[str, Any], own: bool, tmp_path: Path) -> None:
    """own: whether the file knows the network."""
    record, connectivity = CHOICES[name]
    if "population" in options:
        options = {**options, "parameters": {"c.b": np.array([[1.0, 1.5, 2.0], [2.0, 2.5, 3.0]])}}
    found = recorded(steps=200, record=record, connectivity=connectivity, every=10, **options)
    path = tmp_path / "run.h5"
    write_recording(of_network(path, network(connectivity)) if own else complete(path), found, {"j.w": "1"})
    same(found, open_run(path).recording())


def test_readers_get_the_nodes_that_were_chosen(tmp_path: Path) -> None:
    record = {"c.v": [2, 0], "c": [2, 0], "j.w": [(2, 0), (0, 1)], "j.A": None}
    found, path = recorded(3, 1000, record, every=10), of_network(tmp_path / "run.h5", network())
    write_recording(path, found, {"c.v": "1"})
    read = sorted((int(n), round(float(t), 6)) for n, t in libsonata.SpikeReader(str(path))["c"].get())
    whole = np.argwhere(recorded(3).spikes["c"])
    assert (
        read == sorted((b * 3 + cell, round(step * 0.1, 6)) for b, step, cell in whole if cell != 1) and len(read) > 40
    )
    reports = libsonata.SomaReportReader(str(path))
    assert reports.get_population_names() == ["c"], "variables of synapses are no soma's"
    frames = reports["c"].get()
    table = dict(zip(frames.ids, np.transpose(frames.data), strict=True))
    assert sorted(table) == [0, 2, 3, 5, 6, 8]
    for b in range(3):
        for i, cell in enumerate((2, 0)):
            np.testing.assert_array_equal(table[b * 3 + cell], found.traces["c.v"][b, :, i].astype(np.float32))
    with h5py.File(path) as file:
        assert file["traces/j/A"].attrs["axes"] == "trial, time, synapse" and list(
            file["traces/j/A"].attrs["layout"]
        ) == [3, 3]
        assert file["traces/j/w"].attrs["axes"] == "trial, time, synapse"
        assert file["traces/c/v"].attrs["axes"] == "trial, time, neuron"
        np.testing.assert_array_equal(file["chosen/j.w"], [(2, 0), (0, 1)])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("chosen/c", [0], "1 of 'c' don't fit|don't fit those that were chosen"),
        ("chosen/c", [0, 9], "don't fit those that were chosen"),
        ("chosen/c", [[[0]]], "are no indices of cells or synapses"),
        ("chosen/c", [0, -2], "are no indices of cells or synapses"),
        ("chosen/c", [1, 0], "spikes of cells that were not chosen"),
        ("traces/j/A", np.zeros((1, 10, 8)), "8 synapses where the layout has"),
        ("chosen/j.w", [(0, 1)], "1 of 'j.w' don't fit what was recorded of it"),
        ("chosen/u", [0], "1 of 'u' don't fit what was recorded of it"),
    ],
)
def test_choices_that_contradict_the_rest_are_refused(path: str, value: Any, message: str, tmp_path: Path) -> None:
    record = {"c": [2, 0], "j.w": [(2, 0), (0, 1)], "j.A": None}
    target = of_network(tmp_path / "run.h5", network())
    write_recording(target, recorded(1, 1000, record, every=100), {})
    with h5py.File(target, "r+") as file:
        attrs = dict(file[path].attrs) if path in file else {}
        file.pop(path, None)
        file[path] = value
        file[path].attrs.update(attrs)
    with pytest.raises(ResultsError, match=message):
        open_run(target).recording()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Recording(1e-3, {"c": np.zeros((5, 3), bool)}), r"spikes of 'c' has the shape \(5, 3\); it is \[trial"),
        (Recording(1e-3, {"c": np.zeros((1, 5, 3))}), "spikes of 'c' are float64; a raster is of booleans"),
        (Recording(1e-3, {}, {"c.v": np.zeros(5)}), r"trace 'c.v' has the shape \(5,\)"),
        (Recording(1e-3, {"c": np.zeros((1, 5, 2), bool)}, chosen={"c": np.array([1])}), "and 1 were chosen"),
        (Recording(1e-3, {}, {"c.v": np.zeros((1, 5, 3))}, 1, {"j.w": np.array([object()])}), "can't write"),
    ],
)
def test_a_failed_write_leaves_what_was_there(bad: Recording, message: str, tmp_path: Path) -> None:
    found, path = recorded(batch=2, every=10), complete(tmp_path / "run.h5")
    write_recording(path, found, {"c.v": "1"})
    write_group(path, "export/nir", {"files": "a"})
    with pytest.raises(ResultsError, match=message):
        write_recording(path, bad, {})
    with pytest.raises(ResultsError, match="can't write"):
        write_group(path, "export/nir", {"files": object()})
    same(found, open_run(path).recording())
    assert open_run(path).group("export/nir") == {"files": "a"}
    with h5py.File(path) as file:
        assert "unfinished" not in file


def test_where_nothing_can_be_added_the_error_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResultsError, match=r"create one first: run = neuro.io.results.Run.create\("):
        write_recording(tmp_path / "none.h5", Recording(1e-3), {})
    run = begin(tmp_path / "begun.h5")
    monkeypatch.setattr("neuro.io.hdf5.WAIT", 0.1)
    with pytest.raises(ResultsError, match=r"is being written by another run; wait until it ends"):
        write_group(tmp_path / "begun.h5", "x", {"a": 1})
    run.close()
    with pytest.raises(ResultsError, match=r"is not complete; finish it with train.py --resume"):
        write_group(tmp_path / "begun.h5", "x", {"a": 1})
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ResultsError, match="not a run file of this version"):
        write_recording(tmp_path / "foreign.h5", Recording(1e-3), {})


def test_the_call_that_the_error_prints_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import neuro
    import neuro.compiler.parameters
    import neuro.io.results
    import neuro.io.serialisation

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResultsError) as caught:
        write_recording("new.h5", Recording(1e-3), {})
    network = Network([Population("c", Neuron("n", "dv/dt = -v/(10*ms) : 1"), 2)], dt="1 ms")
    program = backends.get("reference").compile(network)
    exec(str(caught.value).partition("first: ")[2], {"neuro": neuro, "network": network, "program": program})
    run = program.run(steps=3, batch=1, record=["c.v"])
    write_recording("new.h5", run, {"c.v": "1"})
    same(run, open_run("new.h5").recording())


def test_files_of_another_schema_are_refused_by_its_name(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = "twinspike-run-1"
    with pytest.raises(ResultsError, match=r"schema 'twinspike-run-1', expected 'twinspike-run-2'.*or train again"):
        open_run(path)
    run = begin(tmp_path / "other.h5")
    run.header["schema"] = "twinspike-run-1"
    run.checkpoint({})
    run.close()
    with pytest.raises(ResultsError, match="schema 'twinspike-run-1'"):
        Run.resume(tmp_path / "other.h5")
