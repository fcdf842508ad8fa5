"""A run that goes on from a stored state equals the whole, whoever stored it and where; a killed write leaves the old state."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import backends
import neuro
from neuro import Network, Neuron, Population, Recording, open_state, write_state
from neuro.checks import ModelWarning
from neuro.compiler.parameters import parameters, values
from neuro.io.results import ResultsError, Run, open_run, write_recording
from neuro.io.serialisation import to_json
from neuro.state import PARTS, State
from tests.backends.networks import drive, networks
from tests.backends.test_state import same
from tests.io.test_results import ROOT, complete

NETWORKS = networks() | {
    "no projections": Network(
        [Population("c", Neuron("q", "dv/dt = (1.2 - v)/(10*ms) : 1", "v > 1", "v = 0", refractory="3 ms", method="exact"), 3)],
        dt="1 ms",
        name="no projections",
    )
}  # fmt: skip
CUT, STEPS = 60, 120


def part(network: Network, first: int, last: int, dtype: str = "float64", **options: Any) -> Recording:
    inputs = {n: a[:, first:last] for n, a in drive(network, steps=STEPS).items()}
    record = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    program = backends.get("reference").compile(network, dtype=dtype)
    found: Recording = program.run(inputs=inputs, record=record, steps=last - first, batch=2, **options)
    return found


def equal(a: State, b: State) -> None:
    """Every array with its type, to the last bit."""
    assert (a.dt, a.step, a.lead, a.trial) == (b.dt, b.step, b.lead, b.trial)
    for name in PARTS:
        ours, theirs = getattr(a, name), getattr(b, name)
        assert set(ours) == set(theirs)
        for key in ours:
            assert ours[key].dtype == theirs[key].dtype and ours[key].shape == theirs[key].shape
            assert ours[key].tobytes() == theirs[key].tobytes()


def run_of(network: Network, path: Path) -> Path:
    run = Run.create(path, model=to_json(network), semantics={}, config={}, seed=0, metrics=())
    run.finish(values(network), parameters(network), 0)
    return path


def through_state_file(recording: Recording, network: Network, folder: Path) -> State:
    write_state(folder / "state.h5", recording.state, network)
    return open_state(folder / "state.h5", network)


def through_run_file(recording: Recording, network: Network, folder: Path) -> State:
    path = run_of(network, folder / "run.h5")
    write_recording(path, recording, {})
    return open_run(path).recording().state


def through_pickle(recording: Recording, network: Network, folder: Path) -> State:
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(recording))))
    equal(again.of_set(0).state, again.state.of_set(0))
    return again.state


STORES = [through_state_file, through_run_file, through_pickle]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("feature", NETWORKS)
def test_a_run_goes_on_from_a_file_as_the_whole(feature: str, store: Any, tmp_path: Path) -> None:
    network = NETWORKS[feature]
    full, first = part(network, 0, STEPS), part(network, 0, CUT)
    state = store(first, network, tmp_path)
    equal(state, first.state)
    second = part(network, CUT, STEPS, state=state)
    same(full, first, second, 0)
    equal(second.state, full.state)
    assert full.spike_count() > 10 or not full.spikes


@pytest.mark.parametrize("store", STORES)
def test_a_population_of_parameter_sets(store: Any, tmp_path: Path) -> None:
    network = NETWORKS["plastic loop"]
    tau = parameters(network)["cells.tau_m"].value
    sets = {"cells.tau_m": np.stack([tau, 0.5 * tau, 2 * tau])}
    full = part(network, 0, STEPS, parameters=sets, population=3, trial=5)
    first = part(network, 0, CUT, parameters=sets, population=3, trial=5)
    state = store(first, network, tmp_path)
    assert (state.lead, state.trial) == ((3, 2), 5)
    equal(state, first.state)
    second = part(network, CUT, STEPS, parameters=sets, population=3, state=state)
    same(full, first, second, 0)
    equal(second.state, full.state)
    assert len({full.of_set(p).spike_count() for p in range(3)}) == 3


@pytest.mark.parametrize("store", STORES)
def test_single_precision_stays_single(store: Any, tmp_path: Path) -> None:
    network = NETWORKS["recurrent"]
    first = part(network, 0, CUT, "float32")
    assert {a.dtype for a in first.state.variables.values()} == {np.dtype("f4")}
    equal(store(first, network, tmp_path), first.state)


UNITS = {
    "plastic loop": {
        "variables/cells.v": ("volt", "trial, neuron"),
        "variables/loop.x": ("1", "trial, pre, post"),
        "variables/loop.y": ("1", "trial, pre, post"),
        "variables/loop.w": ("volt", "trial, pre, post"),
        "spikes/cells": ("1", "trial, step, neuron"),
    },
    "sparse": {"variables/cells.v": ("volt", "trial, neuron"), "sums/cells.I": ("amp", "trial, neuron")},
}


def described(path: Path) -> dict[str, tuple[str, str]]:
    """Unit and axes of each array of a state."""
    with h5py.File(path) as file:
        assert dict(file["state"].attrs).keys() == {"dt", "step", "lead", "trial"}
        return {
            f"{p}/{n}": tuple(d.attrs[a] for a in ("unit", "axes"))
            for p in PARTS
            for n, d in file[f"state/{p}"].items()
        }


@pytest.mark.parametrize("store", [through_state_file, through_run_file])
@pytest.mark.parametrize("feature", UNITS)
def test_arrays_have_units_and_axes(feature: str, store: Any, tmp_path: Path) -> None:
    store(part(NETWORKS[feature], 0, CUT), NETWORKS[feature], tmp_path)
    (path,) = tmp_path.glob("*.h5")
    assert described(path) == UNITS[feature]


@pytest.mark.parametrize("feature", NETWORKS)
def test_every_axis_is_named(feature: str, tmp_path: Path) -> None:
    network, path = NETWORKS[feature], tmp_path / "s.h5"
    state = part(network, 0, 1, population=2).state
    write_state(path, state, network)
    shapes = {f"{p}/{n}": np.shape(a) for p in PARTS for n, a in getattr(state, p).items()}
    axes = {n: a.split(", ") for n, (_, a) in described(path).items()}
    assert {n: len(a) for n, a in axes.items()} == {n: len(s) for n, s in shapes.items()}
    assert all(a[:2] == ["set", "trial"] for a in axes.values())


def test_spikes_that_held_a_graph_come_back_as_booleans(tmp_path: Path) -> None:
    network = NETWORKS["delay"]
    state = part(network, 0, CUT).state
    smooth = replace(state, spikes={n: a.astype(float) for n, a in state.spikes.items()})
    write_state(tmp_path / "s.h5", smooth, network)
    equal(open_state(tmp_path / "s.h5", network), state)


def test_another_network_is_refused_by_name(tmp_path: Path) -> None:
    network, path = NETWORKS["recurrent"], tmp_path / "s.h5"
    state = part(network, 0, CUT).state
    write_state(path, state, network)
    equal(open_state(path, replace(network)), state)  # equal, not the same object
    other = replace(network, name="other", seed=network.seed + 1)
    with pytest.raises(ResultsError, match=rf"a state of network '{network.name}' \(.*, not of network 'other' \("):
        open_state(path, other)
    equal(open_state(path, other, any_network=True), state)
    with pytest.raises(ResultsError, match=r"variables\['cells.v'\], which network 'no projections' doesn't have"):
        write_state(path, state, NETWORKS["no projections"])


def test_a_recording_without_a_state_has_none_in_its_file(tmp_path: Path) -> None:
    network = NETWORKS["recurrent"]
    path, found = run_of(network, tmp_path / "run.h5"), part(network, 0, CUT)
    write_recording(path, found, {})
    write_recording(path, replace(found, end=None), {})  # the state of the one before goes
    assert open_run(path).recording().end is None
    with h5py.File(path) as file:
        assert "state" not in file


def test_a_run_of_another_network_gives_no_units(tmp_path: Path) -> None:
    path, found = complete(tmp_path / "run.h5"), part(NETWORKS["recurrent"], 0, CUT)
    write_recording(path, found, {})
    equal(open_run(path).recording().state, found.state)


def test_what_contradicts_the_recording_is_not_written(tmp_path: Path) -> None:
    network = NETWORKS["recurrent"]
    path, found = run_of(network, tmp_path / "run.h5"), part(network, 0, CUT)
    write_recording(path, found, {})
    for wrong, message in (
        (replace(found.state, dt=1.0), "the state has dt = 1.0 s, the recording 0.001 s"),
        (replace(found.state, lead=(3,)), r"the state has lead = \(3,\), the recording's 'cells' the shape"),
        (
            found.state.with_variables({"cells.v": np.full((2, 5), np.nan)}),
            r"state's variables\['cells.v'\]: not finite",
        ),
    ):
        with pytest.raises(ResultsError, match=message):
            write_recording(path, replace(found, end=lambda state=wrong: state), {})  # type: ignore[misc]
    equal(open_run(path).recording().state, found.state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"v": 1}, r"give write_state\(path, recording.state, network\)"),
        (lambda s: s.with_variables({"cells.v": s.variables["cells.v"][:, 0]}), r"variables\['cells.v'\]: the shape \(2,\)"),
        (lambda s: s.with_variables({"cells.v": np.ones((2, 5), object)}), "object where floating-point numbers belong"),
        (lambda s: replace(s, spikes={"cells": np.full((2, 1, 5), 0.5)}), r"spikes\['cells'\]: float64 where booleans"),
        (lambda s: replace(s, sums={"../x": np.ones((2, 5))}), r"sums\['../x'\], which network"),
        (lambda s: replace(s, lead=(7,)), "begins with lead"),
    ],
)  # fmt: skip
def test_a_failed_write_leaves_the_old_state(change: Any, message: str, tmp_path: Path) -> None:
    network, path = NETWORKS["recurrent"], tmp_path / "s.h5"
    state = part(network, 0, CUT).state
    write_state(path, state, network)
    with pytest.raises(ResultsError, match=message):
        write_state(path, change(state), network)
    equal(open_state(path, network), state)
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


KILLED = """
import os, signal, sys
from pathlib import Path
import neuro, neuro.io.state_file, neuro.io.files
from dataclasses import replace
from tests.io.test_states import NETWORKS, part
network = NETWORKS["recurrent"]
state = part(network, 0, 10).state
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
match sys.argv[2]:
    case "begun":
        neuro.io.state_file.write = die
    case "half":
        neuro.io.state_file.described = lambda network, real=neuro.io.state_file.described: die() if len(sys.argv) > 3 else (sys.argv.append(""), real(network))[1]
    case "written":
        neuro.io.files.os.fsync = die
    case "synced":
        neuro.io.files.os.replace = die
neuro.write_state(sys.argv[1], state, network)
"""


@pytest.mark.parametrize("moment", ["begun", "half", "written", "synced"])
def test_a_killed_write_leaves_the_old_state(moment: str, tmp_path: Path) -> None:
    network, path = NETWORKS["recurrent"], tmp_path / "s.h5"
    state = part(network, 0, CUT).state
    write_state(path, state, network)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), moment], cwd=ROOT, check=False)
    assert killed.returncode == -9
    equal(open_state(path, network), state)
    write_state(path, state, network)  # what the dead one left is not in the way


def test_only_a_state_is_written_over(tmp_path: Path) -> None:
    network, state = NETWORKS["recurrent"], part(NETWORKS["recurrent"], 0, CUT).state
    run, text = run_of(network, tmp_path / "run.h5"), tmp_path / "notes.txt"
    text.write_text("hello")
    for path in (run, text, tmp_path):
        with pytest.raises(ResultsError, match="is there and is no state file; delete it, or choose another name"):
            write_state(path, state, network)
    assert text.read_text() == "hello" and open_run(run).complete
    with pytest.raises(ResultsError, match=r"can't write '.*none/s.h5': No such file or directory"):
        write_state(tmp_path / "none" / "s.h5", state, network)
    with pytest.raises(
        ResultsError, match=r"is no state file .*; it is neuro.io.results.open_run\('.*'\).recording\(\).state"
    ):
        open_state(run, network)
    with pytest.raises(ResultsError, match="not a readable HDF5 file"):
        open_state(text, network)
    with pytest.raises(ResultsError, match="there is no file"):
        open_state(tmp_path / "none.h5", network)


def test_the_newest_state_is_the_one_that_is_there(tmp_path: Path) -> None:
    network, path = NETWORKS["recurrent"], tmp_path / "s.h5"
    for steps in (10, 60, 30):
        neuro.write_state(path, part(network, 0, steps).state, network)
        assert neuro.open_state(path, network).step == steps


def test_storing_a_state_repeats_no_warning_about_the_network(tmp_path: Path) -> None:
    cells = Neuron("n", "dv/dt = -v/tau : volt", parameters={"tau": "1 ms"}, method="euler")
    with pytest.warns(ModelWarning, match="is coarse"):
        network = Network([Population("a", cells, 1)], dt="0.6 ms")
    found = part(network, 0, CUT)
    equal(through_run_file(found, network, tmp_path), found.state)
