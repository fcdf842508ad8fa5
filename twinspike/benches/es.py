"""Losses of 64 candidates for a recurrent network of 100 Morris-Lecar cells, 2,000 steps: what one update of ES costs.

Euler at 0.1 ms asks for one evaluation of the cells' functions a step, as the published network's integrator does; rk4, four of
them, is timed beside it, without Brian2. All in float32, except our Brian2 backend, which knows float64 only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from twinspike.benches.peers import es as peers
from twinspike.benchmark import Bench
from twinspike.timing import CONTROL, interleaved

CANDIDATES, STEPS, REBUILT = 64, 2000, 1  # rebuilding Brian2 gets so many candidates a round, and counts for all
JAX, BY_HAND, CYTHON, NUMPY = "JAX, vmap of scan", "torch by hand", "Brian2 rebuilt, cython", "Brian2 rebuilt, numpy"
TARGETS = {
    "euler": {JAX: 0.6, BY_HAND: 0.07, CYTHON: 0.02, NUMPY: 0.02},
    "rk4": {},
}  # by method; of our first backend
OTHERS = {
    "torch": {BY_HAND: 1.0},
    "brian2": {CYTHON: 0.2, NUMPY: 0.2},
}  # what our other backends must reach


def network(method: str) -> Any:
    """The network as a twinspike definition: graded coupling, a constant current of its own for each cell."""
    from neuro import AllToAll, Input, Network, Population, Projection, library, quantity

    synapse = replace(library.get("graded_sigmoid"), name="density", equations="w : amp/meter**2")
    return Network(
        (Population("cells", replace(library.get("morris_lecar"), method=method), peers.CELLS),),
        (Projection("loop", "cells", "cells", synapse, quantity(0.0, "amp/meter**2"), AllToAll()),),
        (Input("drive", peers.CELLS, "current", "cells.I"),),
        dt=quantity(peers.DT, "second"),
        name="es bench",
    )


def ours(backend: str, method: str, candidates: Any, steps: int, **options: Any) -> Callable[[], Any]:
    """One run of all candidates; gives their spike counts [candidate, cell]."""
    import backends

    program = backends.get(backend).compile(network(method), **options)
    drive = {"drive": np.tile(peers.CURRENT, (1, steps, 1))}

    def run() -> Any:
        found = program.run({"loop.w": candidates}, drive, population=len(candidates))
        return found.spikes["cells"].sum(axis=(1, 2))

    return run


def programs(bench: Bench, method: str, candidates: Any, steps: int) -> dict[str, Callable[[], Any]]:
    """What is timed."""
    found = {
        name + end: ours(name, method, candidates, steps, dtype="float32")
        for name in bench.backends
        for end in ("", CONTROL)
    }
    found[BY_HAND] = peers.torch_loop(method, candidates, steps)
    if find_spec("jax") is None:
        print(f"left out: {JAX} (the package jax is not installed)")
    else:
        found[JAX] = peers.jax_scan(method, candidates, steps)
    if method != "euler":
        return found
    some = candidates[:REBUILT]
    found |= {
        name: ours("brian2", method, candidates, steps, target="cython") for name in ("brian2", "brian2" + CONTROL)
    }
    found[CYTHON] = lambda: peers.brian2_rebuilt(method, some, steps, "cython")
    found[NUMPY] = lambda: peers.brian2_rebuilt(method, some, steps, "numpy")
    return found


def same_work(
    bench: Bench, method: str, functions: Mapping[str, Callable[[], Any]], candidates: Any, steps: int
) -> dict[str, str]:
    """Spike counts against the interpreter's in float64, to one spike a cell: what differs, by name."""
    expected = ours("reference", method, candidates, steps, dtype="float64")()
    differs = {}
    for name, function in functions.items():
        found = np.asarray(function())
        apart = np.abs(found - expected[: len(found)])
        worst = int(apart.max())
        same = worst <= 1 and found.sum() >= found.size
        bench.criterion(
            f"{method}, {name}: spike counts as the interpreter's",
            worst,
            "<= 1 a cell; a spike a cell on average",
            same,
        )
        differs[name] = (
            f"{int(found.sum())} spikes; {int((apart > 0).sum())} of {found.size} cells differ from float64, by at most {worst}"
        )
    return differs


def run(bench: Bench) -> None:
    count, steps = (4, 500) if bench.quick else (CANDIDATES, STEPS)
    candidates = np.random.default_rng(bench.seed).normal(0.0, 0.02, (count, peers.CELLS, peers.CELLS))
    for method, targets in TARGETS.items():
        functions = programs(bench, method, candidates, steps)
        differs = same_work(bench, method, functions, candidates, steps)
        title = f"ES, {method}"
        with bench.progress(title) as update:
            times = interleaved(functions, bench.rounds, update)
        shares = dict.fromkeys((CYTHON, NUMPY), REBUILT / count)
        bench.ratios(title, times, bench.ours, targets=targets, differs=differs, shares=shares)
        for name, wanted in OTHERS.items():
            if name in times and name != bench.ours:
                some = {n: t for n, t in times.items() if n in (name, name + CONTROL, *wanted)}
                bench.ratios(title, some, name, targets=wanted, shares=shares)
