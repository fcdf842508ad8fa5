"""Binary products by XOR and popcount against naive loops over float32, in C by the same compiler with the same flags, and against BLAS.

The target is 7 times faster than the naive loops (Hubara et al. (2018), JMLR 18(187), say so of a kernel for GPUs); the ratio to BLAS is
reported, and so is a network's to loops that the compiler made vectors of: its first layer has eight planes. A product's time is that
from packed rows to sums, arranging of weights included; a network's that from bytes to sums.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from backends.native.binary import PackedLayer, PackedNetwork, pack_words, product
from backends.native.build import CONTRACTION, FLAGS, load
from twinspike.benchmark import Bench, call
from twinspike.timing import CONTROL, interleaved

SIZES = (512, 2048)  # of square products
WIDTHS, BATCH = (784, 4096, 4096, 4096, 10), 128  # the author's network for MNIST
FASTER = 1 / 7
WORK = 2**29  # products of numbers that the naive loops are given; what is more, they do a part of
OURS, SUMS, ROWS, BLAS = "native", "C, a sum at a time", "C, a row of sums at a time", "BLAS float32 (numpy)"
NAIVE = (
    f"three loops over float32, built as ours is: {' '.join((*FLAGS, CONTRACTION['float32']))},"
    " and vectors of 512 bits where the processor has them"
)
DIFFERS = {SUMS: NAIVE, ROWS: NAIVE, BLAS: "float32"}

Array = np.ndarray[Any, Any]


@cache
def _naive() -> ctypes.CDLL:
    return load((Path(__file__).parent / "peers" / "naive.c").read_text(encoding="utf-8"), "naive loops", "float32")


def naive(name: str, a: Array, w: Array) -> Array:
    """a [m, K] times w, which is [n, K] for SUMS and its transpose [K, n] for ROWS; both float32, in C's order."""
    found = np.empty((len(a), len(w) if name == SUMS else w.shape[1]), np.float32)
    function = _naive().by_sums if name == SUMS else _naive().by_rows
    function(*(ctypes.c_void_p(x.ctypes.data) for x in (a, w, found)), *map(ctypes.c_long, (*found.shape, a.shape[1])))
    return found


def signs(rng: np.random.Generator, *shape: int) -> Array:
    return rng.choice(np.array([-1, 1], np.float32), shape)


def products(size: int, rng: np.random.Generator) -> tuple[dict[str, Callable[[], Array]], dict[str, float]]:
    """Functions that give products of the same square matrices, and what part of the rows each of them does."""
    a, w = signs(rng, size, size), signs(rng, size, size)
    packed, transpose = (pack_words(a), pack_words(w), size), np.ascontiguousarray(w.T)
    rows = min(size, max(1, WORK // size**2))
    return {
        OURS: call(product, *packed), OURS + CONTROL: call(product, *packed), SUMS: call(naive, SUMS, a[:rows], w),
        ROWS: call(naive, ROWS, a[:rows], transpose), BLAS: call(np.matmul, a, w.T),
    }, {SUMS: rows / size, ROWS: rows / size}  # fmt: skip


def networks(
    widths: tuple[int, ...], rng: np.random.Generator
) -> tuple[dict[str, Callable[[], Array]], dict[str, float]]:
    """The same of a network with thresholds at 0, from bytes to the last sums; in float32 Sign(0) = 1 too."""
    weights = [signs(rng, post, pre) for pre, post in pairwise(widths)]
    hidden = [np.zeros(len(w), np.int32) for w in weights[:-1]]
    network = PackedNetwork([PackedLayer.of(w, t) for w, t in zip(weights, [*hidden, None], strict=True)])
    images = rng.integers(0, 256, (BATCH, widths[0]), np.uint8)
    transposes = [np.ascontiguousarray(w.T) for w in weights]
    rows = min(BATCH, max(1, WORK // sum(w.size for w in weights)))
    given = images[:rows]

    def through(times: Callable[[Array, Array], Array], matrices: list[Array], x: Array) -> Array:
        values = x.astype(np.float32)
        for w in matrices[:-1]:
            values = np.where(times(values, w) >= 0, np.float32(1), np.float32(-1))
        return times(values, matrices[-1])

    return {
        OURS: call(network.run, images), OURS + CONTROL: call(network.run, images),
        SUMS: lambda: through(lambda a, w: naive(SUMS, a, w), weights, given),
        ROWS: lambda: through(lambda a, w: naive(ROWS, a, w), transposes, given),
        BLAS: lambda: through(np.matmul, transposes, images),
    }, {SUMS: rows / BATCH, ROWS: rows / BATCH}  # fmt: skip


def compare(
    bench: Bench, title: str, targets: dict[str, float], functions: dict[str, Callable[[], Array]], shares: dict[str, float]
) -> None:  # fmt: skip
    ours = functions[OURS]()
    wrong = [n for n, f in functions.items() if not np.array_equal(found := f(), ours[: len(found)])]
    bench.criterion(f"{title}: sums that are the same whole numbers", ", ".join(wrong) or "all", "all", not wrong)
    with bench.progress(title) as update:
        times = interleaved(functions, bench.rounds, update)
    bench.ratios(title, times, OURS, targets=targets, differs=DIFFERS, shares=shares)


def run(bench: Bench) -> None:
    rng = np.random.default_rng(bench.seed)
    for size in SIZES[:1] if bench.quick else SIZES:
        compare(bench, f"products, {size} x {size} x {size}", {SUMS: FASTER, ROWS: FASTER}, *products(size, rng))
    widths = (784, 512, 512, 512, 10) if bench.quick else WIDTHS
    compare(bench, f"network {'-'.join(map(str, widths))}, {BATCH} images", {SUMS: FASTER}, *networks(widths, rng))
