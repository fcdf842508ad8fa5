"""What is particular to compiled kernels: their text, cache, errors, and event lists."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from backends.native import build
from backends.native.recording import Recorded
from neuro import Input, Network, Neuron, Population, Projection, RunError, Synapse, UnsupportedError, quantity
from neuro.events import Events, EventsError
from tests.backends.networks import LIF, STDP, drive, networks

NETWORKS = networks()
GOLDEN = Path(__file__).parents[2] / "golden" / "native"
SHOWN = ("recurrent", "conductance", "heterogeneous delays", "plastic", "graded")


def _text(feature: str) -> str:
    source: str = backends.get("native").compile(NETWORKS[feature]).source  # type: ignore[attr-defined]
    return source[source.index("beginning of") :]


@pytest.mark.parametrize("feature", SHOWN)
def test_text_is_as_recorded(feature: str) -> None:
    """After an intended change: UPDATE_GOLDEN=1, and read the difference."""
    path = GOLDEN / f"{feature.replace(' ', '_')}.c"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(_text(feature))
    assert _text(feature) == path.read_text()


def test_the_adjoints_text_is_as_recorded() -> None:
    program: Any = backends.get("native").compile(NETWORKS["recurrent"])
    training = program.compiled.training(frozenset({"feed.w", "loop.w", "cells.tau_m"}), frozenset())
    record = (Recorded("cells", "v", synaptic=False, chosen=False),)
    source = program.compiled.executable(record, 8, training).source
    path = GOLDEN / "recurrent_backward.c"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(source[source.index("void backward") :])
    assert source[source.index("void backward") :] == path.read_text()


def test_two_builders_at_once(tmp_path: Path) -> None:
    code = (
        "import backends; from tests.backends.networks import networks\n"
        "print(backends.get('native').compile(networks()['poisson']).run(steps=200).spike_count())"
    )
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.getcwd()}
    running = [subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) for _ in "ab"]
    counts = [p.communicate(timeout=200)[0].strip() for p in running]
    assert counts[0] == counts[1] and int(counts[0]) > 20
    kept = [p.name for p in (tmp_path / "twinspike" / "native").iterdir()]
    assert len(kept) == 1 and kept[0].endswith(".so")


@pytest.mark.parametrize("place", ["file", os.devnull, "no home"])
def test_libraries_that_can_not_be_kept_still_run(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", "" if place == "no home" else str(tmp_path / place))
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)
    source = f"int f(void) {{ return {len(place)}; }}\n"
    first, second = (build.load(source, "x", "float64") for _ in "ab")
    assert first.f() == second.f() == len(place)
    monkeypatch.setattr(build.tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(UnsupportedError, match="set XDG_CACHE_HOME to a folder"):
        build.load(source, "x", "float64")


def test_a_folder_of_libraries_that_one_may_not_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, say."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stat = Path.stat

    def forbidden(self: Path, **options: bool) -> os.stat_result:
        if self.suffix == ".so" and tmp_path in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", forbidden)
    assert build.load("int f(void) { return 11; }\n", "x", "float64").f() == 11


def test_a_damaged_library_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = "int f(void) { return 7; }\n"
    assert build.load(source, "x", "float64").f() == 7
    (library,) = (tmp_path / "twinspike" / "native").iterdir()
    library.unlink()
    library.write_bytes(b"\x7fELF half of it")
    assert build.load(source, "x", "float64").f() == 7


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(UnsupportedError, match="no C compiler 'no-such-compiler'") as caught:
        backends.get("native").compile(NETWORKS["poisson"])
    assert "torch" in caught.value.backends
    with pytest.warns(UserWarning, match="'native' can't be used here: .*; using 'torch'"):
        assert backends.resolved("auto") == "torch"


def test_auto_is_native_where_there_is_a_compiler() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backends.resolved("auto") == "native" and backends.get("auto").name == "native"


def test_a_refused_text_names_the_place_in_the_model() -> None:
    source = "void forward(void) {\n    /* inputs of cells */\n    int x;\n    /* integrate of cells */\n    x = nonsense;\n}\n"
    with pytest.raises(
        UnsupportedError, match=r"network 'mine', 'integrate of cells': the C compiler refused it: .*nonsense"
    ):
        build.load(source, "mine", "float64")


def test_the_first_state_that_is_not_finite_is_named() -> None:
    wild = replace(LIF, equations="dv/dt = (E_L - v + R*I)/tau_m + v**3/(tau_m*volt**2) : volt\nI : amp", method="euler", threshold="", reset="")  # fmt: skip
    network = Network((Population("wild", wild, 3, initial={"v": quantity([0.1, 3.0, 0.1], "volt")}),), dt="1 ms")
    messages = []
    for name in ("reference", "native"):
        with pytest.raises(RunError) as caught:
            backends.get(name).compile(network).run(steps=200, batch=2)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "'wild.v' is not finite at step" in messages[0] and "cell [1]" in messages[0]


def test_what_overflows_and_is_reset_in_the_same_step_goes_on() -> None:
    """Numbers are looked at when the step is over, as the interpreter does."""
    cells = Neuron("n", "dv/dt = exp(v)/ms : 1", threshold="v > 30", reset="v = -5", initial={"v": -5}, method="euler")
    pulse = Synapse("s", "w : 1", on_pre="v_post += w")
    network = Network(
        (Population("P", cells, 1),), (Projection("p", "x", "P", pulse, 800.0),), (Input("x", 1),), dt="1 ms"
    )
    spikes = np.zeros((1, 6, 1), bool)
    spikes[0, 2] = True
    a, b = (backends.get(n).compile(network).run(inputs={"x": spikes}, record=["P.v"]) for n in ("reference", "native"))
    assert a.spike_count() == b.spike_count() == 1
    np.testing.assert_allclose(b.traces["P.v"], a.traces["P.v"], rtol=1e-12)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("where", ["integrated", "pulse", "every_step", "reset"])
def test_every_way_out_of_the_finite_numbers_is_found_in_its_step(where: str, last: bool) -> None:
    """Also in the last step, after which no other one reads the states."""
    texts = {
        "integrated": ("dv/dt = exp(300*t/ms)/ms : 1", {}),
        "pulse": ("dv/dt = -v/ms : 1", {}),
        "every_step": ("v : 1", {"every_step": "v = exp(300*t/ms)"}),
        "reset": ("dv/dt = 1/ms : 1", {"threshold": "v > 2.5", "reset": "v = exp(1000*v)"}),
    }
    equations, more = texts[where]
    cells = Neuron("n", equations, method="euler", **more)  # type: ignore[arg-type]
    feed = Projection("p", "x", "P", Synapse("s", "w : 1", on_pre="v_post += w; v_post += w"), 1e308)
    network = Network(
        (Population("P", cells, 3),),
        (feed,) if where == "pulse" else (),
        (Input("x", 1),) if where == "pulse" else (),
        dt="1 ms",
    )
    inputs, size = (
        ({"x": np.arange(3 if last else 8)[None, :, None] == 2}, {})
        if where == "pulse"
        else ({}, {"steps": 4 if last else 8, "batch": 1})
    )
    messages = []
    for name in ("reference", "native"):
        with pytest.raises(RunError) as caught:
            backends.get(name).compile(network).run(inputs=inputs, **size)  # type: ignore[arg-type]
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "is not finite at step" in messages[0]


def _ring(populations: int) -> Network:
    cells = Neuron("n", "dv/dt = -v/ms : 1", threshold="v > 1", reset="v = 0")
    pulse, numbers = Synapse("s", "w : 1", on_pre="v_post += w"), range(populations)
    return Network(
        tuple(Population(f"p{i}", cells, 10) for i in numbers),
        tuple(Projection(f"j{i}", f"p{i}", f"p{(i + 1) % populations}", pulse, 0.1) for i in numbers), dt="0.1 ms",
    )  # fmt: skip


def test_equal_operations_share_one_function() -> None:
    """What the compiler reads doesn't grow with the number of equal populations, but for tables."""
    few, many = (backends.get("native").compile(_ring(n)).source for n in (2, 40))  # type: ignore[attr-defined]
    assert many.count("static int forward_") == few.count("static int forward_") < 10


def test_delays_are_data() -> None:
    """Fifty different delays of a plastic projection take the text of three."""

    def text(delays: int) -> str:
        feed = Projection(
            "feed", "x", "cells", STDP, "8 mV", delay=quantity(np.arange(1000.0).reshape(25, 40) % delays, "ms")
        )
        network = Network((Population("cells", LIF, 40),), (feed,), (Input("x", 25),), dt="1 ms")
        source: str = backends.get("native").compile(network).source  # type: ignore[attr-defined]
        return source[source.index("beginning of") :]

    assert len(text(50)) < len(text(3)) + 200


def test_memory_is_estimated_before_the_run() -> None:
    network = Network((Population("cells", LIF, 1000),), dt="1 ms")
    with pytest.raises(
        RunError, match=r"needs \d+\.\d GiB, .* free; most of it is the events of 'cells'.*smaller batch"
    ):
        backends.get("native").compile(network).run(steps=10**7, batch=1000)


def test_options_are_checked() -> None:
    with pytest.raises(UnsupportedError, match="threads"):
        backends.get("native").compile(NETWORKS["poisson"], threads=0)


# -- events ------------------------------------------------------------------------------------------------------


def test_events_are_the_array() -> None:
    array = np.random.default_rng(0).random((4, 30, 9)) < 0.2
    events = Events.of(array)
    np.testing.assert_array_equal(np.asarray(events), array)
    assert events.sum() == array.sum() > 100 and len(events) == 4
    for trials in (slice(1, 3), slice(None), [3, 0], np.array([2])):
        np.testing.assert_array_equal(np.asarray(events[trials]), array[trials])
    joined = Events.joined([events[:1], events[1:2], events[2:]])
    np.testing.assert_array_equal(np.asarray(joined), array)
    assert np.asarray(Events.of(np.zeros((2, 3, 4), bool))).sum() == 0


@pytest.mark.parametrize("backend", backends.names())
def test_every_backend_takes_events(backend: str) -> None:
    network = NETWORKS["feed-forward"]
    inputs, program = drive(network), backends.get(backend).compile(network)
    a, b = (program.run(inputs=x) for x in (inputs, {n: Events.of(v) for n, v in inputs.items()}))
    assert a.spike_count() > 20
    np.testing.assert_array_equal(a.spikes["cells"], b.spikes["cells"])


def test_events_that_do_not_fit_are_refused() -> None:
    with pytest.raises(EventsError, match=r"channels outside of 0 \.\.\. 6"):
        Events((1, 2, 7), np.array([0, 1, 1]), np.array([7], np.int32))
    with pytest.raises(EventsError, match=r"offsets \(3,\) don't divide 2 events among 1 x 2 steps"):
        Events((1, 2, 7), np.array([0, 5, 2]), np.array([1, 2], np.int32))
    with pytest.raises(EventsError, match="channels of a step must ascend"):
        Events((1, 2, 7), np.array([0, 2, 2]), np.array([3, 3], np.int32))
    with pytest.raises(RunError, match=r"input 'x' has shape \(1, 2, 6\)"):
        backends.get("native").compile(NETWORKS["feed-forward"]).run(inputs={"x": Events.of(np.ones((1, 2, 6)))})


# -- libraries ---------------------------------------------------------------------------------------------------


def _mapped() -> int:
    """Libraries of ours that this process has open."""
    return len(
        {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/twinspike/native/" in line}
    )


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are only listed by Linux")
def test_a_library_is_closed_with_its_last_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    gc.collect()
    before, kept = _mapped(), backends.get("native").compile(_ring(3))
    assert _mapped() == before  # the compiler waits for the first run
    again = backends.get("native").compile(_ring(3))
    assert [p.run(steps=2, batch=1).spike_count() for p in (kept, again)] == [0, 0]
    assert _mapped() == before + 1
    del again
    gc.collect()
    assert _mapped() == before + 1 and kept.run(steps=3, batch=1).spike_count() == 0
    del kept
    gc.collect()
    assert _mapped() == before


def test_the_folder_of_libraries_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one not used for longest goes first, but none that is open."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    held = build.load("int f(void) { return 1; }\n", "x", "float64")
    (opened,) = build.folder().iterdir()
    os.utime(opened, (1, 1))
    for age in range(4):
        (build.folder() / f"{age}.so").write_bytes(bytes(1000))
        os.utime(build.folder() / f"{age}.so", (100 - age, 100 - age))
    build.prune(build.folder(), 2500, "*.so")
    assert {p.name for p in build.folder().iterdir()} == {opened.name} and held.f() == 1
    for age in range(4):
        (build.folder() / f"{age}.so").write_bytes(bytes(1000))
        os.utime(build.folder() / f"{age}.so", (100 - age, 100 - age))
    build.prune(build.folder(), opened.stat().st_size + 2500, "*.so")
    assert {p.name for p in build.folder().iterdir()} == {opened.name, "0.so", "1.so"}


def test_more_flags_make_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = "int f(void) { return NUMBER; }\n"
    for number in (3, 4):
        monkeypatch.setenv("TWINSPIKE_NATIVE_FLAGS", f"-O1 -DNUMBER={number}")
        assert build.load(source, "x", "float64").f() == number


def test_a_program_survives_pickle_and_copy() -> None:
    network = NETWORKS["recurrent"]
    program: Any = backends.get("native").compile(
        network, dtype="float32", threads=2, surrogate="atan", detach_reset=False
    )
    inputs = drive(network)
    wanted = program.run(inputs=inputs)
    for other in (pickle.loads(pickle.dumps(program)), copy.deepcopy(program)):
        assert (other.threads, other.surrogate, other.backward, other.real) == (2, "atan", program.backward, np.float32)
        np.testing.assert_array_equal(
            np.asarray(other.run(inputs=inputs).spikes["cells"]), np.asarray(wanted.spikes["cells"])
        )
    assert wanted.spike_count() > 20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_clock_is_rounded_once(dtype: str) -> None:
    """A switch at t >= n ms comes in step n/dt for every n."""
    onsets = np.arange(1, 200)
    cells = Neuron("b", "dv/dt = int(t >= t0)/(1*ms) : 1", parameters={"t0": "1 ms"}, method="euler")
    network = Network((Population("c", cells, 199, parameters={"t0": quantity(onsets * 1.0, "ms")}),), dt="0.1 ms")
    v = backends.get("native").compile(network, dtype=dtype).run(steps=2000, batch=1, record=["c.v"]).traces["c.v"][0]
    np.testing.assert_array_equal((v > 0).argmax(axis=0), 10 * onsets)


@pytest.mark.parametrize("feature", ["noise", "poisson", "pairs", "plastic", "graded", "subtracting reset"])
def test_more_trials_than_a_tile_holds(feature: str) -> None:
    """17 trials are three tiles, the last of one trial: each has its own inputs, noise, and weights."""
    network = NETWORKS[feature]
    inputs = drive(network, batch=17)
    record = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    size = {} if inputs else {"steps": 100, "batch": 17}
    a, b = (
        backends.get(n).compile(network).run(inputs=inputs, record=record, every=3, **size)
        for n in ("reference", "native")
    )
    for name in record:
        assert np.ptp(a.traces[name], axis=0).max() > 0
        np.testing.assert_allclose(b.traces[name], a.traces[name], rtol=1e-9, atol=1e-12 * np.abs(a.traces[name]).max())
    for name, spikes in a.spikes.items():
        assert spikes.sum() > 50
        np.testing.assert_array_equal(np.asarray(b.spikes[name]), spikes)


@pytest.mark.parametrize("population", [None, 3])
def test_given_plastic_weights_count(population: int | None) -> None:
    network = NETWORKS["plastic"]
    shape = (7, 5) if population is None else (population, 7, 5)
    given = {"feed.w": np.random.default_rng(0).uniform(0.002, 0.018, shape)}
    inputs = drive(network, batch=3)
    if population is not None:
        inputs = {n: np.asarray(v) for n, v in inputs.items()}
    a, b = (
        backends.get(n).compile(network).run(given, inputs, ["cells.v"], population=population)
        for n in ("reference", "native")
    )
    assert a.spikes["cells"].sum() > 20
    np.testing.assert_array_equal(np.asarray(b.spikes["cells"]), a.spikes["cells"])
    np.testing.assert_allclose(b.final["feed.w"], a.final["feed.w"], rtol=1e-9)
    assert np.ptp(np.asarray(b.final["feed.w"]).reshape(-1, 7, 5), axis=0).max() > 1e-3
