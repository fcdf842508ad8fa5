"""Losses of 64 candidates for a recurrent network of 100 Morris-Lecar cells, 2,000 steps: what one update of ES costs.

Euler at 0.1 ms asks for one evaluation of the cells' functions a step, as the published network's integrator does; rk4, four of
them, is timed beside it. Objects made before are set aside (gc.freeze), or Brian2 would look through torch's in each run.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from study import Study
from timing import CONTROL, interleaved, ratio_rows

from benches import es_peers as peers

CANDIDATES, REBUILT = 64, 2  # so many candidates a round; rebuilding Brian2 gets fewer, and counts for as many


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


def ours(backend: str, method: str, candidates: Any, **options: Any) -> Callable[[], Any]:
    """One run of all candidates; gives their spike counts [P, cell]."""
    import backends

    program = backends.get(backend).compile(network(method), **options)
    drive = {"drive": np.tile(peers.CURRENT, (1, peers.STEPS, 1))}

    def run() -> Any:
        found = program.run({"loop.w": candidates}, drive, population=len(candidates))
        return found.spikes["cells"].sum(axis=(1, 2))

    return run


def programs(method: str, candidates: Any) -> dict[str, Callable[[], Any]]:
    """What is timed."""
    import torch

    some = candidates[:REBUILT]
    return {
        "twinspike brian2": ours("brian2", method, candidates, target="cython"),
        "Brian2 rebuilt, cython": lambda: peers.brian2_rebuilt(method, some, "cython"),
        "Brian2 rebuilt, numpy": lambda: peers.brian2_rebuilt(method, some, "numpy"),
        "twinspike torch": ours("torch", method, candidates, dtype="float32"),
        "twinspike torch" + CONTROL: ours("torch", method, candidates, dtype="float32"),
        "torch loop by hand": lambda: peers.torch_loop(method, candidates, torch.float32),
    }


def same_work(study: Study, method: str, functions: Mapping[str, Callable[[], Any]], candidates: Any) -> None:
    """Every program gives the spike counts of ours in float64, to one spike a cell where it computes in float32."""
    expected = ours("torch", method, candidates, dtype="float64")()
    rows = []
    for name, function in functions.items():
        found = np.asarray(function())
        worst = int(np.abs(found - expected[: len(found)]).max())
        rows.append((name, len(found), int(found.sum()), worst))
        study.criterion(f"{method}, {name}: spike counts as ours in float64", worst, "<= 1 a cell", worst <= 1)
    header = ("program", "candidates", "spikes", "largest difference of a cell's count")
    study.table(f"the same work, {method}", header, rows)


def run(study: Study, rounds: int) -> None:
    import torch

    candidates = np.random.default_rng(study.seed).normal(0.0, 0.02, (CANDIDATES, peers.CELLS, peers.CELLS))
    for method in ("euler", "rk4"):
        functions = programs(method, candidates)
        same_work(study, method, functions, candidates)
        gc.collect()
        gc.freeze()
        with study.progress(method) as update:
            times = interleaved(functions, rounds, update)
        gc.unfreeze()
        sizes = {name: REBUILT if "rebuilt" in name else CANDIDATES for name in functions}
        each = {name: [t / sizes[name] for t in found] for name, found in times.items()}
        for name, seconds in each.items():
            study.array(f"{method}/{name}", seconds)
        header = ("program", "CPU s a candidate", "ours/theirs", "range", "note")
        brian = ratio_rows({n: t for n, t in each.items() if "rian2" in n}, "twinspike brian2", {})
        study.table(f"{method}: one Brian2 network for all candidates against one each", header, brian)
        torches = ratio_rows({n: t for n, t in each.items() if "torch" in n}, "twinspike torch", {})
        title = f"{method}: torch {torch.__version__}, {torch.get_num_threads()} thread(s), float32"
        study.table(title, header, torches)
        rate = 1 / max(row[2] for row in brian if "rebuilt" in row[0])
        by_hand = next(row[2] for row in torches if row[0] == "torch loop by hand")
        study.criterion(f"{method}: our Brian2 backend's rate over the faster rebuilding", rate, ">= 5", rate >= 5)
        study.criterion(f"{method}: our torch backend's time over the loop by hand", by_hand, "<= 1", by_hand <= 1)
