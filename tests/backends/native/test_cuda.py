"""CUDA's dialect, run on the CPU: the same numbers as C's, whatever the order of threads and the size of a block."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from backends.common.structure import Backward
from backends.native import cuda, executable
from backends.native.cuda import Cuda
from backends.native.program import NativeProgram
from neuro import (
    Input,
    Network,
    Neuron,
    Population,
    Projection,
    Recording,
    RunError,
    Synapse,
    UnsupportedError,
)
from tests.backends.native.emulation import BATCH, STEPS, Planted, compiled, gradients, run, same, wide
from tests.backends.networks import drive, networks
from twinspike.fuzzing.networks import generate

NETWORKS = networks()
EMULATED = "cuda-emulated"


@cache
def emulated(feature: str) -> Recording:
    network = NETWORKS[feature]
    return run(compiled(network, Cuda(emulated=True)), network)


@pytest.mark.parametrize("feature", NETWORKS)
def test_it_gives_what_c_gives(feature: str) -> None:
    """A cell's sums are formed in C's order, so nothing but libm's own functions may differ."""
    network = NETWORKS[feature]
    program = backends.get("native").compile(network)
    found, c = emulated(feature), run(program, network)
    assert all(np.array_equal(found.spikes[n], c.spikes[n]) for n in c.spikes)
    for name, trace in c.traces.items():
        np.testing.assert_allclose(found.traces[name], trace, rtol=1e-12, atol=1e-14 * np.abs(trace).max(initial=0))


@pytest.mark.parametrize("feature", NETWORKS)
def test_neither_the_order_of_threads_nor_their_number_matters(feature: str) -> None:
    """A missing barrier would show in the one, a cell of two owners or a sum in another order in the other."""
    network = NETWORKS[feature]
    other = compiled(network, Cuda(emulated=True, checked=True, threads=64))
    assert same(run(other, network), emulated(feature))


@pytest.mark.parametrize("seed", [2041, 16, 25])
def test_random_networks_in_two_orders(seed: int) -> None:
    """2041 sends events whose amount is read off the state that they change: all must read before one writes."""
    case = generate(seed)
    a, b = (case.run(compiled(case.network, Cuda(emulated=True, checked=c))) for c in (False, True))
    c = case.run(backends.get("native").compile(case.network))
    assert same(a, b) and a.spike_count() > 10
    assert all(np.array_equal(a.spikes[n], c.spikes[n]) for n in c.spikes)


# -- gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", [n for n in NETWORKS if n != "poisson"])
def test_gradients(feature: str) -> None:
    """C's, up to the order in which trials are added; and the same bits in any order of threads."""
    network = NETWORKS[feature]
    c = gradients(backends.get("native").compile(network), network)
    a, b = (
        gradients(compiled(network, d), network)
        for d in (Cuda(emulated=True), Cuda(emulated=True, checked=True, threads=64))
    )
    assert sum(np.any(g) for g in c.values()) >= 2
    for name, g in c.items():
        assert np.array_equal(a[name], b[name])
        np.testing.assert_allclose(a[name], g, rtol=1e-11, atol=1e-13 * np.abs(g).max(initial=0))


def test_gradients_of_a_run_of_several_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch goes back to its block where a span begins, forth and back."""
    network = NETWORKS["heterogeneous delays"]
    whole = gradients(compiled(network, Cuda(emulated=True)), network)
    monkeypatch.setattr(executable, "TAPE", 13)
    parts = gradients(compiled(network, Cuda(emulated=True)), network)
    assert all(np.array_equal(whole[n], parts[n]) for n in whole) and np.any(whole["feed.w"])


@pytest.mark.parametrize("feature", ["heterogeneous delays", "plastic", "graded reversal"])
def test_gradients_of_blocks_that_do_several_trials(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks for five trials, each of which begins with clean scratch or, in a later span, with its own."""
    network = NETWORKS[feature]
    c = gradients(backends.get("native").compile(network), network, 5)
    monkeypatch.setattr(cuda, "LANES", 2)
    monkeypatch.setattr(executable, "TAPE", 13)
    a, b = (gradients(compiled(network, Cuda(emulated=True, checked=x)), network, 5) for x in (False, True))
    for name, g in c.items():
        assert np.array_equal(a[name], b[name])
        np.testing.assert_allclose(a[name], g, rtol=1e-11, atol=1e-13 * np.abs(g).max(initial=0))


# -- what else a kernel does -----------------------------------------------------------------------------------


def test_a_network_larger_than_a_block_and_its_shared_memory() -> None:
    network = wide(2500)
    c, emulation = backends.get("native").compile(network), compiled(network, Cuda(emulated=True, shared=48 * 2**10))
    assert (
        emulation.compiled.executable((), 1).rooms["forward"] > 48 * 2**10
        and "char *const room = own_room;" in emulation.source
    )
    inputs = {"current": 4e-10 * np.random.default_rng(0).random((BATCH, 30, 2500))}
    a, b = (run(p, network, inputs=inputs, steps=30) for p in (c, emulation))
    assert same(a, b) and a.spike_count() > 100


@pytest.mark.parametrize("feature", ["delay", "heterogeneous delays", "plastic", "refractory delta", "noise", "driven"])
def test_a_run_that_is_cut_equals_the_whole(feature: str) -> None:
    network = NETWORKS[feature]
    program, whole, state = compiled(network, Cuda(emulated=True)), emulated(feature), None
    inputs, parts = drive(network, batch=BATCH, steps=STEPS), []
    for first, last in pairwise((0, 1, 50, STEPS)):
        given = {n: x[:, first:last] for n, x in inputs.items()}
        parts.append(run(program, network, inputs=given, steps=last - first, state=state))
        state = parts[-1].state
    for name, spikes in whole.spikes.items():
        assert np.array_equal(np.concatenate([p.spikes[name] for p in parts], axis=1), spikes)
    for name, trace in whole.traces.items():
        assert np.array_equal(np.concatenate([p.traces[name] for p in parts], axis=1), trace)


@pytest.mark.parametrize("feature", ["delay", "plastic"])
def test_a_session_keeps_the_scratch_of_its_blocks(feature: str) -> None:
    network, whole = NETWORKS[feature], emulated(feature)
    inputs = drive(network, batch=BATCH, steps=STEPS)
    with compiled(network, Cuda(emulated=True)).session(batch=BATCH) as session:
        for k in range(STEPS):
            found = session.step({n: x[:, k : k + 1] for n, x in inputs.items()})
            assert all(np.array_equal(found.spikes[n][:, 0], whole.spikes[n][:, k]) for n in whole.spikes)


def test_parameter_sets_are_blocks_and_processors_share_them() -> None:
    network = NETWORKS["recurrent"]
    weights = {n: p.value for n, p in compiled(network, Cuda(emulated=True)).declared.items() if n == "loop.w"}
    sets = {n: np.stack([w, 2 * w, 0 * w]) for n, w in weights.items()}
    found = []
    for threads in (1, 2):
        program = NativeProgram(network, "float64", threads, "fast_sigmoid", Backward(), Cuda(emulated=True))
        found.append(run(program, network, parameters=sets, population=3))
    c = run(backends.get("native").compile(network), network, parameters=sets, population=3)
    assert same(found[0], found[1]) and same(found[0], c)
    assert len({found[0].spikes["cells"][p].sum() for p in range(3)}) == 3
    stale = Planted(
        emulated=True, what="if (set != held)", instead="if (held < 0)"
    )  # of the set that the block did before
    assert not same(run(compiled(network, stale), network, parameters=sets, population=3), c)


def test_single_precision() -> None:
    network = NETWORKS["conductance"]
    a = run(compiled(network, Cuda(emulated=True), "float32"), network)
    b = run(compiled(network, Cuda(emulated=True, checked=True, threads=96), "float32"), network)
    assert same(a, b) and a.traces["cells.v"].dtype == np.float32 and a.spike_count() > 10


@pytest.mark.parametrize("coupled", [False, True])
def test_what_is_not_finite_is_named_as_in_c(coupled: bool) -> None:
    """Where cells are coupled, threads meet before they integrate, and agree one step later on whether to go on."""
    runaway = Neuron("runaway", "dv/dt = v**2/second + I/second : 1\nI : 1", method="euler")
    tied = Projection("loop", "cells", "cells", Synapse("tied", "w : 1", transmits="w*v_pre", target="I"), "0")
    network = Network(
        (Population("cells", runaway, 40),),
        (tied,) if coupled else (),
        (Input("x", 40, "current", target="cells.I"),),
        name="runaway",
    )
    inputs = np.zeros((3, 400, 40))
    inputs[1, 5, 33] = 1e200
    errors = []
    for device in ("cpu", EMULATED):
        with pytest.raises(RunError) as error:
            backends.get("native").compile(network, device=device).run(inputs={"x": inputs})  # type: ignore[call-arg]
        errors.append(str(error.value))
    assert errors[0] == errors[1] and ("trial 1" if coupled else "trial 1, cell [33]") in errors[0]


@pytest.mark.parametrize("device", ["cpu", EMULATED])
@pytest.mark.parametrize("first", [3, 1150])
def test_the_first_failure_is_named(device: str, first: int) -> None:
    """Not that of the unit which comes first: who fails leaves those undone that follow it."""
    runaway = Neuron("runaway", "dv/dt = v**2/second + I/second : 1\nI : 1", method="euler")
    network = Network((Population("cells", runaway, 2),), (), (Input("x", 2, "current", target="cells.I"),))
    inputs = np.zeros((20, first + 9, 2))
    inputs[0, first + 4, 1] = inputs[17, first, 0] = inputs[19, first, 0] = 1e200
    program = backends.get("native").compile(network, device=device)  # type: ignore[call-arg]
    with pytest.raises(RunError, match=rf"not finite at step {first + 1} \(trial 17, cell \[0\]\)"):
        program.run(inputs={"x": inputs})


def test_a_failure_is_that_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may run the same program meanwhile."""
    runaway = Neuron("runaway", "dv/dt = v**2/second + I/second : 1\nI : 1", method="euler")
    network = Network((Population("cells", runaway, 2),), (), (Input("x", 2, "current", target="cells.I"),))
    program, forward, good = backends.get("native").compile(network), executable.Executable.forward, np.zeros((1, 9, 2))
    bad = good.copy()
    bad[0, 3] = 1e200

    def meanwhile(self: Any, *given: Any) -> Any:
        monkeypatch.setattr(executable.Executable, "forward", forward)
        found = forward(self, *given)
        program.run(inputs={"x": good})
        return found

    monkeypatch.setattr(executable.Executable, "forward", meanwhile)
    with pytest.raises(RunError, match="not finite at step 4"):
        program.run(inputs={"x": bad})


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", 0, None])
def test_an_unknown_device_is_refused(device: Any) -> None:
    with pytest.raises(UnsupportedError, match="use auto, cpu, cuda, cuda-emulated or cuda-checked"):
        backends.get("native").compile(NETWORKS["recurrent"], device=device)  # type: ignore[call-arg]


def test_the_exponential_of_a_matrix_that_changes_is_refused() -> None:
    coupled = Neuron("coupled", "dx/dt = (y*g - x)/second : 1\ndy/dt = (x*g - y)/second : 1\ng : 1", method="exact")
    network = Network(
        (Population("cells", coupled, 3),), (), (Input("x", 3, "current", target="cells.g"),), name="coupled"
    )
    backends.get("native").compile(network)
    with pytest.raises(UnsupportedError, match=r"'integrate of cells', on CUDA.*use device='cpu'"):
        backends.get("native").compile(network, device=EMULATED)  # type: ignore[call-arg]


# -- the text --------------------------------------------------------------------------------------------------


def test_scratch_of_a_block_may_begin_beyond_4_gib() -> None:
    """blockIdx.x is unsigned, 32 bits: a product with it wraps around, and two blocks have the same scratch."""
    source = compiled(wide(), Cuda(emulated=True)).source
    factors = re.findall(r"apart \? unit\*apart : (\S+)blockIdx\.x\*\d+\);", source)
    assert factors == ["(long)"]


@pytest.mark.parametrize("feature", ["recurrent", "plastic", "graded reversal", "driven", "heterogeneous delays"])
def test_the_text_is_cpp_as_well(feature: str) -> None:
    """CUDA is C++: what C alone allows is no text of this dialect."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler 'c++'")
    source = compiled(NETWORKS[feature], Cuda(emulated=True)).source
    command = [compiler, "-fsyntax-only", "-std=c++17", "-pedantic-errors", "-Wno-vla", "-w", "-x", "c++", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]


def test_the_emulated_text_is_the_kernels_own() -> None:
    """All that the emulation adds comes before and after."""
    network = wide()
    text, other = (compiled(network, Cuda(emulated=e)).source for e in (False, True))
    assert text in other


def test_the_text_is_as_recorded() -> None:
    """After an intended change: UPDATE_GOLDEN=1, and read the difference."""
    path = Path(__file__).parents[2] / "golden" / "native" / "recurrent.cu"
    source = compiled(NETWORKS["recurrent"], Cuda()).source
    text = source[source.index("/* beginning of") :]
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
