"""A recording's times, units and columns, against the raster and trace themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Population, Projection, Recording, RunError, Synapse, library
from neuro.events import Events, Rasters
from neuro.io.results import open_run, write_recording
from neuro.io.serialisation import to_json
from neuro.language.units import UnitError

DT, STEPS = 5e-4, 80
RNG = np.random.default_rng(1)
RASTER = RNG.random((3, STEPS, 7)) < 0.15


def network() -> Network:
    pulse = Synapse("pulse", "w : amp", on_pre="I_post += w")
    cells = Population("E", library.get("lif"), 20)
    return Network([cells], [Projection("feed", "x", "E", pulse, weights="2 nA")], [Input("x", 9)], dt="0.5 ms")


def run(name: str = "reference", **options: Any) -> Recording:
    spikes = np.random.default_rng(2).random((2, STEPS, 9)) < 0.2
    return backends.get(name).compile(network()).run(inputs={"x": spikes}, **{"record": ["E.v"], **options})


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("chosen", [None, [11, 2, 5, 3, 40, 0, 6]])
def test_times_are_those_of_the_raster(lists: bool, chosen: list[int] | None) -> None:
    spikes: Any = Rasters({"E": Events.of(RASTER)}, (3,)) if lists else {"E": RASTER}
    found = Recording(DT, spikes, chosen={} if chosen is None else {"E": np.array(chosen)}).times("E")
    cells = list(range(7)) if chosen is None else chosen
    wanted = [(int(b), int(k), cells[int(n)]) for b, k, n in np.argwhere(RASTER)]
    assert len(wanted) > 150 and len(found) == len(wanted)
    assert list(zip(found.trial.tolist(), found.step.tolist(), found.cell.tolist(), strict=True)) == wanted
    np.testing.assert_allclose(found.to("ms"), [k * DT * 1e3 for _, k, _ in wanted])
    assert str(found.time.dimension) == "second"
    for trial in range(3):
        trains = found.trains(trial)
        assert list(trains) == cells
        for column, cell in enumerate(cells):
            right = np.flatnonzero(RASTER[trial, :, column]) * DT
            np.testing.assert_allclose(trains[cell].to("second"), right)
            np.testing.assert_allclose(found.of(trial, cell).to("second"), right)
    np.testing.assert_allclose(found.rates().to("Hz"), RASTER.sum(axis=(0, 1)) / (3 * STEPS * DT))
    gaps = [np.diff(np.flatnonzero(RASTER[b, :, n])) * DT for b in range(3) for n in range(7)]
    np.testing.assert_allclose(np.sort(found.intervals().to("second")), np.sort(np.concatenate(gaps)))
    assert not lists or spikes._made == {}  # no raster was made of them


def test_what_is_silent_has_no_times() -> None:
    found = Recording(DT, {"E": np.zeros((2, 5, 3), bool)}).times("E")
    assert len(found) == 0 and [len(t) for t in found.trains(1).values()] == [0, 0, 0]
    assert found.rates().to("Hz").tolist() == [0.0, 0.0, 0.0] and len(found.intervals()) == 0
    nothing = Recording(DT, {"E": np.zeros((1, 0, 2), bool)}).times("E")
    assert np.isnan(nothing.rates().to("Hz")).all()


@pytest.mark.parametrize("name", ["reference", "torch", "native", "brian2", "snntorch"])
def test_every_backend_says_units_and_times(name: str) -> None:
    found = run(name)
    assert found.units == {"E.v": "volt"}
    np.testing.assert_array_equal(found.trace("E.v", "mV"), np.asarray(found.traces["E.v"]) / 1e-3)
    assert str(found.trace("E.v").dimension) == "volt"
    assert found.spike_count() == len(found.times("E")) > 30
    assert (found.trials, found.steps) == (2, STEPS)


@pytest.mark.parametrize("name", ["reference", "torch", "native"])
def test_parts_of_a_run_say_units_too(name: str) -> None:
    program, spikes = backends.get(name).compile(network()), {"x": np.ones((1, 8, 9), bool)}
    with program.session(record=["E.v"]) as session:  # type: ignore[attr-defined]
        assert session.step({"x": spikes["x"][:, :1]}).units == {"E.v": "volt"}
    parts = list(program.stream(inputs=spikes, record=["E.v"], steps=8, chunk=4))
    assert [part.units for part in parts] == [{"E.v": "volt"}] * 2


def test_times_are_those_that_brian2_has() -> None:
    """Its monitors' own times of the same run."""
    import brian2

    cells = brian2.SpikeGeneratorGroup(3, [0, 2, 1], [0.5, 1.0, 3.0] * brian2.ms, dt=0.5 * brian2.ms)
    monitor = brian2.SpikeMonitor(cells)
    brian2.Network(cells, monitor).run(5 * brian2.ms)
    raster = np.zeros((1, 10, 3), bool)
    raster[0, [1, 2, 6], [0, 2, 1]] = True
    np.testing.assert_allclose(Recording(DT, {"E": raster}).times("E").to("second"), np.asarray(monitor.t))


@pytest.mark.parametrize("every", [1, 4])
def test_samples_have_the_time_of_their_step(every: int) -> None:
    found = run(every=every)
    np.testing.assert_allclose(found.sample_times("E.v").to("second"), np.arange(every - 1, STEPS, every) * DT)
    assert found.steps == STEPS and replace(found, spikes={}).steps == STEPS


def test_units_come_back_from_the_file(tmp_path: Any) -> None:
    from neuro.compiler.parameters import parameters, values
    from neuro.io.results import Run

    path, net = tmp_path / "run.h5", network()
    Run.create(path, model=to_json(net), semantics={}, config={}, seed=0, metrics=()).finish(
        values(net), parameters(net), 0
    )
    write_recording(path, run(), {})
    assert open_run(path).recording().units == {"E.v": "volt"}


def test_a_set_of_a_population_is_chosen_first() -> None:
    program = backends.get("reference").compile(network())
    weights = np.stack([np.full((9, 20), w) for w in (0.05e-9, 3e-9)])
    both = program.run({"feed.w": weights}, {"x": np.ones((2, STEPS, 9), bool)}, ["E.v"], population=2)
    assert both.several_sets and (both.trials, both.steps) == (2, STEPS)
    for call in (lambda: both.times("E"), lambda: both.trace("E.v"), lambda: both.columns("E.v")):
        with pytest.raises(RunError, match=r"several parameter sets; choose one: recording.of_set\(0\)"):
            call()
    second = both.of_set(1)
    assert second.units == {"E.v": "volt"} and len(second.times("E")) > len(both.of_set(0).times("E"))


def test_columns_of_synapses_name_both_ends() -> None:
    values = RNG.normal(size=(2, 6, 2, 3))
    found = Recording(
        DT, {}, {"p.w": values, "q.w": values[:, :, 0]}, chosen={"q.w": np.array([[0, 1], [1, 1], [1, 2]])}
    )
    array, labels = found.columns("p.w")
    assert labels == ["0, 0", "0, 1", "0, 2", "1, 0", "1, 1", "1, 2"]
    np.testing.assert_array_equal(array[:, :, 4], values[:, :, 1, 1])
    assert found.columns("q.w")[1] == ["0, 1", "1, 1", "1, 2"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: r.times("I"), RunError, "no raster 'I' was recorded; the recording has E"),
        (lambda r: r.trace("E.u"), RunError, r"no trace 'E.u' was recorded; the recording has E.v"),
        (lambda r: replace(r, units={}).trace("E.v"), RunError, "nobody said which unit 'E.v' has"),
        (lambda r: r.trace("E.v", "ms"), UnitError, "volt"),
        (lambda r: r.times("E").of(2), IndexError, "no trial 2; the recording has the trials 0 to 1"),
        (lambda r: r.times("E").of(0, 20), IndexError, "no cell 20 was recorded; 20 were, from 0 to 19"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(run())
