"""The random numbers that kernels draw themselves: numpy's, bit for bit."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from backends.common.arrays import Feed
from backends.native import drives, synaptic
from backends.native.build import load
from backends.native.printer import prelude
from neuro import Input, Network, Neuron, Population, quantity
from neuro.compiler.drives import counts
from neuro.compiler.resolve import resolve
from neuro.language.mangling import mangled

WORDS = """
void words(word a, word b, word c, word d, word k, word l, long number, word *out) {
    const keys_t keys = keys_of(k, l);
    words_at(a + 1, b, c, d, &keys, number, out);
}
void some(real *out, long size, long steps, const long *draws, const long *sums, const int *guide, const int *cell, const long *shift, long trial, long first) {
    for (long k = 0; k < steps; k++) for (long part = 0; part < 3; part++)  // as three threads that share the cells
        counts(out + k * size, size, size * part / 3, size * (part + 1) / 3, draws, sums, guide, cell, shift, 0, trial, first + k, 0);
}
"""
CELL = Neuron("cell", "dv/dt = -v/(5*ms) : 1")
ROLES = ("draws", "sums", "guide", "table", "shift")


FLAGS = ("", "-mno-avx512dq")  # words in vectors, where the machine has them, and one by one


@cache
def library(flags: str = "") -> ctypes.CDLL:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINSPIKE_NATIVE_FLAGS", flags)
        found = load(prelude("float64", 1, 1e-3) + synaptic.text(driven=True, drawing=False) + WORDS, "", "float64")
    found.words.argtypes = (*(ctypes.c_ulonglong,) * 6, ctypes.c_long, ctypes.c_void_p)
    found.some.argtypes = (ctypes.c_void_p, *(ctypes.c_long,) * 2, *(ctypes.c_void_p,) * 5, *(ctypes.c_long,) * 2)
    found.words.restype = found.some.restype = None
    return found


@pytest.mark.parametrize("flags", FLAGS)
def test_words_are_numpys(flags: str) -> None:
    random = np.random.default_rng(3)
    for number in range(1, 65):
        counter, key = (random.integers(0, 2**64, n, np.uint64) for n in (4, 2))
        counter[0] >>= np.uint64(1)  # without a carry into the next word
        found = np.empty(64 * 4, np.uint64)
        library(flags).words(*counter.tolist(), *key.tolist(), number, found.ctypes.data)
        wanted = np.random.Philox(key=key, counter=counter).random_raw(4 * number)
        np.testing.assert_array_equal(found[: 4 * number], wanted)


def of_kernel(network: Network, drive: str, trial: int, steps: int, first: int, flags: str) -> Any:
    """A trial's counts [time, cell] as a kernel draws them."""
    arrays = drives.fixed(network) | drives.of_run(network, Feed(steps, 1, {}, trial=trial))
    size = network.input(drive).size
    out = np.empty((steps, size))
    given = [np.ascontiguousarray(arrays[mangled(role, drive)]) for role in ROLES]
    library(flags).some(out.ctypes.data, size, steps, *(a.ctypes.data for a in given), 0, first)
    return out


RATES: dict[str, Callable[[int], Any]] = {
    "one": lambda size: 1.3e3,
    "tiny": lambda size: 1e-3,
    "large": lambda size: 2e7,
    "two": lambda size: np.arange(size) % 2 * 900.0,
    "each": lambda size: np.linspace(0, 4e4, size),
}


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 64, 129, 1001])
def test_counts_are_those_of_every_backend(size: int, rates: str) -> None:
    """Cells that don't fill the last four words, steps over the ends of blocks, trials and seeds."""
    drive = Input("d", size, "drive", "cells.v", quantity(RATES[rates](size), "Hz"), 1.0)
    for seed, trial, first, steps in (
        (0, 0, 0, 30),
        (7, 3, 250, 20),
        (123456789, 2**40, 256 * 1000 + 255, 3),
        (1, 1, 511, 258),
    ):
        network = resolve(Network((Population("cells", CELL, size),), (), (drive,), dt="1 ms", seed=seed)).network
        known = counts(network, "d", trial, 1, steps, first)[0]
        for flags in FLAGS:
            np.testing.assert_array_equal(of_kernel(network, "d", trial, steps, first, flags), known)
