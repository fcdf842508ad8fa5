"""Users' Brian2 scripts: what is executed, what comes in, and that the comparison sees what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import brian2_examples
import numpy as np
import pytest

from backends.brian.devices import fresh_clock
from backends.brian.importing.importer import Imported
from neuro.io.results import open_run
from neuro.io.serialisation import read_network
from twinspike import cli
from twinspike import import_brian2 as script
from twinspike.brian2_runs import examined, numbers, ours, watched
from twinspike.brian2_runs.examined import Settings, examine
from twinspike.brian2_runs.first_run import NoRun, first_run

NOISY = """
from multiprocessing import Pool
import matplotlib.pyplot as plt
from brian2 import *
set_device("cpp_standalone")
DRIVE = 1.2

def simulate(number):
    tau = 10*ms
    cells = NeuronGroup(
        20, "dv/dt = (DRIVE + u - v)/tau + 0.3*xi/tau**0.5 : 1 (unless refractory)\\ndu/dt = -u/tau : 1",
        threshold="v > 0.9 + 0.2*rand()", reset="v = 0.1*randn()", refractory=2*ms, method="euler", name="cells",
    )
    cells.v = "rand()"
    part = cells[5:]
    part.run_regularly("u += 0.05*randn() + 0.01*poisson(3)", dt=2*ms)
    sources = PoissonGroup(10, 200*Hz, name="sources")
    loud = PoissonInput(part, "v", 50, 20*Hz, weight=0.02)
    forth = Synapses(sources, cells, "w : 1", on_pre="v_post += w", delay=1*ms, name="forth")
    forth.connect(p=0.3)
    forth.w = "0.1*rand()"
    watch = StateMonitor(cells, "v", record=[0])
    run(0*ms)
    run(200*ms)
    plt.plot(watch.t, watch.v[0])
    raise SystemExit("the script goes on behind its first run")

if __name__ == "__main__":
    with Pool() as pool:
        pool.map(simulate, [1, 2])
"""
RELEASING = """
from brian2 import *
cells = NeuronGroup(
    20, "dv/dt = (1.2 - v)/(10*ms) + 0.3*xi/sqrt(10*ms) : 1\\ndg/dt = -g/(5*ms) : 1\\nc : integer", threshold="v > 1", reset="v = 0",
    method="euler", refractory=3*ms, events={"kick": "g > 0.5 or v > 0.9", "rest": "g < 0.1 and v < 0.3 + 0.1*rand()"}, name="cells",
)
cells.run_on_event("kick", "g *= 0.5; c += 1")
cells.run_on_event("rest", "g += 0.2*rand()")
heard = NeuronGroup(7, "dx/dt = -x/(10*ms) : 1\\ndy/dt = -y/(10*ms) : 1", threshold="x + y > 1", reset="x = 0", method="exact", name="heard")
sends = Synapses(cells, heard, "w : 1", on_pre={"pre": "x += w*int(rand() < 0.6)", "told": "y += 0.1*w*poisson(0.8)"}, on_event={"told": "kick"}, name="sends")
sends.connect(p=0.4)
sends.w = "0.3*rand()"
sends.told.delay = 1*ms
learns = Synapses(
    cells, heard, "u : 1\\ndm/dt = -m/(20*ms) : 1 (event-driven)",
    on_pre={"pre": "x_post += u*(1 + 0.2*randn()); m += 0.1*randn()", "up": "r = rand(); x_post += 0.01*r; m += 0.01*r"},
    on_post="u = clip(u + 0.01*(rand() - 0.5)*m, 0, 1)", name="learns",
)
learns.connect(p=0.3)
learns.u = 0.05
learns.pre.delay = "1*ms*rand()"
learns.run_regularly("u = clip(u + 0.002*randn(), 0, 1)", dt=5*ms)
run(200*ms)
"""
SPATIAL = """
from brian2 import *
cell = SpatialNeuron(Cylinder(length=100*um, diameter=1*um, n=3), "Im = (-70*mV - v)*(1*siemens/meter**2) : amp/meter**2")
run(1*ms)
"""
SHARED = """
from brian2 import *
cells = NeuronGroup(3, "dv/dt = (heading - v)/(10*ms) : 1\\nheading : 1 (shared)", method="euler", name="cells")
cells.run_regularly("heading = rand()", dt=5*ms)
run(10*ms)
"""
CHAOTIC = """
from brian2 import *
cells = NeuronGroup(
    1, "dx/dt = (10*(y - x))/second : 1\\ndy/dt = (x*(28 - z) - y)/second : 1\\ndz/dt = (x*y - 8/3*z)/second : 1",
    threshold="x > 3", reset="z += 0.01", method="euler", dt=5*ms, name="cells",
)
cells.x = 1.1; cells.y = 1
run(100*second)
"""


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    """A script's clock is kept for its network's run."""
    with fresh_clock():
        yield


def written(folder: Path, text: str, name: str = "user.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def both(path: Path, steps: int, change: Any = None) -> ours.Comparison:
    found, made = examined.imported(path, 1)
    chosen = watched.variables(found, made)
    theirs = watched.run(found, made, chosen, steps * float(made.network.dt.value))
    changed: Imported = made if change is None else replace(made, network=change(made.network))
    return ours.compare(theirs, ours.run(changed, chosen, steps))


def test_a_script_is_executed_up_to_its_first_run(tmp_path: Path) -> None:
    found = first_run(written(tmp_path, NOISY))
    assert found.duration == pytest.approx(0.2)
    assert {"cells", "sources", "forth", "poissoninput"} <= {o.name for o in found.objects}
    assert found.namespace["DRIVE"] == 1.2 and float(found.namespace["tau"]) == 0.01  # globals, and the caller's own
    assert found.namespace["number"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("print('nothing')", "runs no network"),
        ("raise SystemExit(3)", "exits with 3 before"),
        ("import no_such_package_of_anybody", "ModuleNotFoundError"),
    ],
)
def test_scripts_that_run_nothing(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(NoRun, match=said):
        first_run(written(tmp_path, text))


@pytest.mark.parametrize(
    ("call", "tau"), [("run(1*ms)", 3), ("run(1*ms, level=1)", 10), ("Network(cells).run(1*ms, level=1)", 10)]
)
def test_names_are_looked_up_where_the_run_says(tmp_path: Path, call: str, tau: int) -> None:
    text = f"""
from brian2 import *
tau = 10*ms
def simulate():
    tau = 3*ms
    {call}
cells = NeuronGroup(1, "dv/dt = -v/tau : 1", method="euler", name="cells")
simulate()
"""
    made = examined.imported(written(tmp_path, text), 1)[1]
    assert made.network.population("cells").neuron.parameters["tau"].to("ms") == pytest.approx(tau)


@pytest.mark.parametrize("end", ["print(1)", "raise SystemExit(0)", "run(1*ms)", "1/0"])
def test_a_script_that_catches_its_end_is_told_so(tmp_path: Path, end: str) -> None:
    text = f"from brian2 import *\ncells = NeuronGroup(1, 'x : 1')\ntry:\n    run(1*ms)\nexcept:\n    pass\n{end}\n"
    with pytest.raises(NoRun, match="goes on behind its first run"):
        first_run(written(tmp_path, text))


def test_a_script_finds_the_clock_of_a_new_process(tmp_path: Path) -> None:
    text = "from brian2 import *\n{clock}\ncells = NeuronGroup(1, 'x : 1', name='cells')\nrun(1*ms)\n"
    coarse, plain = (
        written(tmp_path, text.format(clock=c), f"{n}.py") for n, c in enumerate(("defaultclock.dt = 2*ms", ""))
    )
    assert float(examined.imported(coarse, 1)[1].network.dt.to("ms")) == pytest.approx(2)
    assert float(examined.imported(plain, 1)[1].network.dt.to("ms")) == pytest.approx(0.1)


def test_everything_that_is_drawn_is_the_same_on_both_sides(tmp_path: Path) -> None:
    found = both(written(tmp_path, NOISY), 2000)
    assert found.spikes > 300 and found.differing == 0
    assert found.states == ("cells.u", "cells.v") and max(found.trace, found.end) < 1e-12


def test_synapses_draw_and_follow_events_as_brian2s_do(tmp_path: Path) -> None:
    """Numbers of every pathway, spikes and events, statements of events: all of it Brian2's own code, but for where its numbers come from."""
    found = both(written(tmp_path, RELEASING), 2000)
    assert found.differing == 0 and found.spikes > 2000 and max(found.trace, found.end) < 1e-12


def test_numbers_of_its_own_give_another_raster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers.OurNumbers, "before_run", lambda self, namespace: None)
    assert both(written(tmp_path, NOISY), 2000).differing > 100


def test_a_weight_that_is_a_little_off_is_seen(tmp_path: Path) -> None:
    def off(network: Any) -> Any:
        forth = network.projection("forth")
        weights = replace(forth.weights, value=np.asarray(forth.weights.value) * (1 + 1e-7))
        return replace(network, projections=(replace(forth, weights=weights),))

    assert both(written(tmp_path, NOISY), 500, off).trace > 1e-9


def test_cells_that_fall_silent_are_seen(tmp_path: Path) -> None:
    def silent(network: Any) -> Any:
        changed = [
            replace(p, neuron=replace(p.neuron, threshold="rates > 1e9*hertz")) if p.name == "sources" else p
            for p in network.populations
        ]
        return replace(network, populations=tuple(changed))

    found = both(written(tmp_path, NOISY), 100, silent)
    assert found.first is not None and found.differing > 10


def test_numbers_without_a_place_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "_expressions", lambda scope, phase: iter(()))
    found = examine(written(tmp_path, NOISY), Settings(0.001))
    assert found.outcome == "fails" and "run_regularly' calls poisson() 1 times, and our text draws 0" in found.reason


def test_chaos_is_shown_by_brian2_against_itself(tmp_path: Path) -> None:
    found = examine(written(tmp_path, CHAOTIC), Settings())
    assert found.compared is not None and found.compared.first is not None and found.compared.spikes > 1000
    assert found.outcome == "diverges" and found.itself[found.reason].first is not None


def test_what_brian2_does_not_share_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same drift, with a run of Brian2's own beside it that stays where it was."""
    monkeypatch.setattr(watched, "OTHERWISE", {})
    assert examine(written(tmp_path, CHAOTIC), Settings()).outcome == "differs"


def test_the_command_writes_a_network_and_says_what_it_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.json"
    script.main(written(tmp_path, NOISY), run=True, duration="20 ms", out=out)
    said = capsys.readouterr().out
    assert "equal" in said and "states compared: cells.u, cells.v" in said and f"written: {out}" in said
    wrote, again = read_network(out), examined.imported(tmp_path / "user.py", 1)[1].network
    assert (wrote.populations, wrote.projections, wrote.dt) == (again.populations, again.projections, again.dt)


WATCHED = """
from brian2 import *
drive = TimedArray([1, 0.5, 2], dt=2*ms)
cells = NeuronGroup(3, "dv/dt = (drive(t) - v)/(5*ms) : 1", threshold="v > 0.3", reset="v = 0", method="euler", name="cells")
sent = SpikeGeneratorGroup(2, [0, 1], [1, 2]*ms, name="sent")
synapses = Synapses(sent, cells, on_pre="v += 0.1", name="synapses")
synapses.connect()
values, spikes = StateMonitor(cells, "v", record=[0, 2]), SpikeMonitor(cells)
run(10*ms)
"""


def test_what_is_written_runs_with_what_is_written_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from twinspike import simulate

    out = tmp_path / "net.json"
    script.main(written(tmp_path, WATCHED), out=out)
    said = capsys.readouterr().out
    assert "the script's monitors watch: cells of all, cells.v of 2" in said
    assert f"written: {out} and {tmp_path / 'net.npz'}" in said
    found, made = examined.imported(tmp_path / "user.py", 1)
    right = ours.run(made, watched.variables(found, made), 100)
    simulate.main(out, "10 ms", tmp_path / "run.h5", ["cells.v"], inputs=tmp_path / "net.npz", backend="native")
    run = open_run(tmp_path / "run.h5").recording()
    np.testing.assert_array_equal(run.traces["cells.v"][0], right.traces["cells.v"])
    assert len(right.spikes["cells"][0]) > 5


def test_inputs_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    text = WATCHED.replace("run(10*ms)", "run(1e6*second)")
    with pytest.raises(cli.UserError, match=r"the inputs of 10000000000 steps take .* give a shorter time"):
        script.main(written(tmp_path, text), out=tmp_path / "net.json")
    assert not (tmp_path / "net.json").exists()


@pytest.mark.parametrize(("theirs", "outcome"), [(30, True), (200, True), (201, False), (None, False)])
def test_brian2_has_to_leave_its_raster_about_as_early_as_we_do(theirs: int | None, outcome: bool) -> None:
    mine = ours.Comparison(1000, ("v",), 50, 3, 100, 1e-9, "v", 0.0, "", 1.0, 1.0)
    assert examined._explains(replace(mine, first=theirs), mine) is outcome


def test_what_cannot_come_in_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(cli.UserError, match="'spatialneuron' can't be imported: it has several compartments"):
        script.main(written(tmp_path, SPATIAL))


def test_one_number_for_all_cells_is_refused(tmp_path: Path) -> None:
    """Brian2 draws it once, and each cell would draw its own here."""
    with pytest.raises(cli.UserError, match="'cells' can't be imported: 'heading' is shared and gets a random number"):
        script.main(written(tmp_path, SHARED))


def test_the_table_of_a_folder(tmp_path: Path) -> None:
    """One row a script, from results that are kept: a second call computes nothing again."""
    scripts, results, page = tmp_path / "scripts", tmp_path / "results", tmp_path / "page.md"
    (scripts / "deep").mkdir(parents=True)
    written(scripts, NOISY.replace("200*ms", "5*ms"), "noisy.py")
    written(scripts / "deep", SPATIAL, "spatial.py")
    page.write_text(f"before\n{brian2_examples.BEGIN}\nold\n{brian2_examples.END}\nbehind\n")
    brian2_examples.main(scripts, results, out=page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nbehind\n") and "old" not in text
    assert "2 scripts: 1 equal, 1 refused." in text
    assert "| deep/spatial.py | refused |" in text and "| noisy.py | equal | 30 |" in text
    kept = results / "noisy.py.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "outcome": "kept"}))
    brian2_examples.main(scripts, results, out=page)
    assert "| noisy.py | kept |" in page.read_text()
    page.write_text(page.read_text().replace("| deep/spatial.py | refused |", "| deep/spatial.py | as it was |"))
    brian2_examples.main(
        scripts, results, budget=9.0, only="noisy", out=page
    )  # of another budget: done again; other rows stay
    assert "| noisy.py | equal |" in page.read_text() and "| deep/spatial.py | as it was |" in page.read_text()
