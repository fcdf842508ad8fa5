"""CUDA's dialect, run on the CPU: the same numbers as C's, whatever the order of threads and the size of a block."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing.networks import generate

import backends
from backends.common.structure import Backward
from backends.native import build, cuda, executable, launch
from backends.native.cuda import Cuda
from backends.native.dialect import Written
from backends.native.program import NativeProgram
from neuro import (
    FixedInDegree,
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
from neuro.events import EventsError
from tests.backends.networks import LIF, PULSE, drive, networks

NETWORKS = networks()
STEPS, BATCH = 120, 2
EMULATED = "cuda-emulated"


def compiled(network: Network, dialect: Cuda, dtype: str = "float64") -> NativeProgram:
    return NativeProgram(network, dtype, 1, "fast_sigmoid", Backward(), dialect)


def record(network: Network) -> list[str]:
    cells = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    return cells + [f"{p.name}.{v}" for p in network.projections for v in p.synapse.scope.states]


def run(program: Any, network: Network, **options: Any) -> Recording:
    given = {
        "inputs": drive(network, batch=BATCH, steps=STEPS),
        "record": record(network),
        "steps": STEPS,
        "batch": BATCH,
    }
    found: Recording = program.run(**(given | options))
    return found


def same(a: Recording, b: Recording) -> bool:
    """Whether all bits are equal, those of the states that they leave among them."""
    pairs = [
        (a.spikes, b.spikes),
        (a.traces, b.traces),
        (a.state.variables, b.state.variables),
        (a.state.sums, b.state.sums),
    ]
    return all(np.array_equal(x[n], y[n], equal_nan=x[n].dtype.kind == "f") for x, y in pairs for n in x)


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


def gradients(program: Any, network: Network, batch: int = BATCH) -> dict[str, Any]:
    """Of a random linear function of everything, for every parameter."""
    random = np.random.default_rng(5)

    def loss(signals: Any) -> Any:
        parts = {**signals.spikes, **signals.traces}
        weights = {
            n: torch.as_tensor(random.normal(size=parts[n].shape), device=parts[n].device) for n in sorted(parts)
        }
        sizes = {n: float(parts[n].detach().abs().max()) or 1.0 for n in parts}
        return sum((parts[n] * w / sizes[n]).sum() for n, w in weights.items())

    found: dict[str, Any] = program.value_and_grad(
        loss, {}, drive(network, batch=batch, steps=40), list(program.declared), record(network), steps=40, batch=batch
    )[1]
    return found


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


def test_what_two_threads_add_to_is_found() -> None:
    """On a GPU one of the two sums may be lost."""
    network = NETWORKS["recurrent"]
    whole = "OWN(j, post) {\n        real sum = y[j];\n        for (long i = 0; i < pre; i++)"
    shared = Planted(
        emulated=True,
        checked=True,
        what=whole,
        instead=whole.replace("OWN(j, post)", "for (long j = 0; j < post; j++)"),
    )
    with pytest.raises(RunError, match="threads 31 and 30 of a block write the same number between two barriers"):
        gradients(compiled(network, shared), network)


# -- planted faults --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted(Cuda):
    """Leaves something out. what: of the text; in its place comes another."""

    what: str = ""
    instead: str = ""

    def prelude(self, *args: Any) -> str:
        return self._spoilt(super().prelude(*args))

    def function(self, *args: Any, **options: Any) -> Written:
        whole = super().function(*args, **options)
        return replace(whole, text=self._spoilt(whole.text))

    def _spoilt(self, text: str) -> str:
        return text.replace(self.what, self.instead)


FAULTS = {
    "before spikes are read": ("recurrent", "AGREED(k)\n", "\n"),
    "before a product": ("graded reversal", "AGREED(k)\n", "\n"),
    "before the place of a product is used again": ("graded reversal", "(k & 1)*", "0*"),
    "two owners": ("sparse", "#define MINE(i) ((i) % THREADS == threadIdx.x)", "#define MINE(i) (threadIdx.x < 2)"),
}  # fmt: skip


def wide(cells: int = 150) -> Network:
    """More cells than threads of a block of 64, all of which fire now and then."""
    population = Population("cells", LIF, cells)
    loop = Projection("loop", "cells", "cells", PULSE, "40 pA", FixedInDegree(5))
    return Network(
        (population,), (loop,), (Input("current", cells, "current", target="cells.I"),), dt="1 ms", name="wide"
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    """The one order gives other bits than the other, or the check of what threads write finds it at once."""
    feature, what, instead = FAULTS[fault]
    network = NETWORKS[feature]

    def found(dialect: Cuda) -> bool:
        try:
            return not same(*(run(compiled(network, replace(dialect, checked=c)), network) for c in (False, True)))
        except (EventsError, RunError) as error:
            assert isinstance(error, EventsError) or "the kernel's text is wrong" in str(error)
            return True

    spoilt, whole = (make(emulated=True, threads=64) for make in (partial(Planted, what=what, instead=instead), Cuda))
    assert compiled(network, spoilt).source != compiled(network, whole).source
    assert found(spoilt) and not found(whole)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("failing |= bad && k > 0;", "if (threadIdx.x == 3) return 0;"),
        ("failing |= bad && k > 0;", "FIRST __syncthreads();"),
        ("const unsigned fired = __ballot_sync(~0u, i < n && z[i]);", "const unsigned fired = i < n && z[i] ? __ballot_sync(~0u, 1) : 0;"),
    ],
    ids=["one is ahead", "one waits", "a ballot of some"],
)  # fmt: skip
def test_threads_that_part_are_found(text: str, instead: str) -> None:
    """On a GPU the rest of the block would wait for ever, or for whatever comes."""
    network = NETWORKS["recurrent"]
    spoilt = compiled(network, Planted(emulated=True, what=text, instead=instead))
    with pytest.raises(RunError, match=r"threads \d+ and \d+ of a block are at different barriers"):
        run(spoilt, network)


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


@pytest.mark.parametrize(
    "feature", ["recurrent", "readout", "heterogeneous delays", "refractory delta", "graded", "graded reversal"]
)
def test_a_step_has_one_barrier(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a block meet where numbers are handed over, forwards and backwards, and nowhere else."""
    network, counters = NETWORKS[feature], list[ctypes.c_long]()

    def load(*text: str) -> ctypes.CDLL:
        library = build.load(*text)
        counters.append(ctypes.c_long.in_dll(library, "emulated_barriers"))
        counters[-1].value = 0  # another program may hold this library open
        return library

    def barriers(steps: int, *, back: bool) -> int:
        program = compiled(network, Cuda(emulated=True))
        options: dict[str, Any] = {"record": record(network), "steps": steps, "batch": 1}
        if back:
            names, inputs = list(program.declared), drive(network, batch=1, steps=steps)
            program.value_and_grad(lambda s: sum(x.sum() for x in s.traces.values()), {}, inputs, names, **options)
        else:
            program.run(inputs=drive(network, batch=1, steps=steps), **options)
        return counters[-1].value

    monkeypatch.setattr(launch, "load", load)
    for back in (False, True):
        once, twice = barriers(20, back=back), barriers(21, back=back)
        assert twice - once == 1 + back


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
