"""Threads of a block in CUDA's dialect: where they meet, and that a text in which they don't is found."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from backends.native import build, launch
from backends.native.cuda import Cuda
from neuro import (
    RunError,
)
from neuro.events import EventsError
from tests.backends.native.emulation import Planted, compiled, gradients, record, run, same
from tests.backends.networks import drive, networks

NETWORKS = networks()


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


FAULTS = {
    "before spikes are read": ("recurrent", "AGREED(k)\n", "\n"),
    "before a product": ("graded reversal", "AGREED(k)\n", "\n"),
    "before the place of a product is used again": ("graded reversal", "(k & 1)*", "0*"),
    "two owners": ("sparse", "#define MINE(i) ((i) % THREADS == threadIdx.x)", "#define MINE(i) (threadIdx.x < 2)"),
}  # fmt: skip


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
