"""Losses of 64 candidates for a recurrent network of 100 Morris-Lecar cells, 2,000 steps: what one update of ES costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from study import Study
from timing import CONTROL, interleaved, ratio_rows

from benches import es_peers as peers

CANDIDATES, REBUILT = 64, 2  # so many candidates a round; rebuilding Brian2 gets fewer, and counts for as many


def network() -> Any:
    """The network as a twinspike definition: graded coupling, a constant current of its own for each cell."""
    from neuro import AllToAll, Input, Network, Population, Projection, library, quantity

    synapse = replace(library.get("graded_sigmoid"), name="density", equations="w : amp/meter**2")
    return Network(
        (Population("cells", library.get("morris_lecar"), peers.CELLS),),
        (Projection("loop", "cells", "cells", synapse, quantity(0.0, "amp/meter**2"), AllToAll()),),
        (Input("drive", peers.CELLS, "current", "cells.I"),),
        dt=quantity(peers.DT, "second"),
        name="es bench",
    )


def ours(backend: str, candidates: Any, **options: Any) -> Callable[[], Any]:
    """One run of all candidates; gives their spike counts [P, cell]."""
    import backends

    program = backends.get(backend).compile(network(), **options)
    drive = {"drive": np.tile(peers.CURRENT, (1, peers.STEPS, 1))}

    def run() -> Any:
        found = program.run({"loop.w": candidates}, drive, population=len(candidates))
        return found.spikes["cells"].sum(axis=(1, 2))

    return run


def run(study: Study, rounds: int) -> None:
    import torch

    random = np.random.default_rng(study.seed)
    candidates = random.normal(0.0, 0.02, (CANDIDATES, peers.CELLS, peers.CELLS))
    some = candidates[:REBUILT]
    functions: dict[str, Callable[[], Any]] = {
        "twinspike brian2": ours("brian2", candidates, target="cython"),
        "Brian2 rebuilt, cython": lambda: peers.brian2_rebuilt(some, "cython"),
        "Brian2 rebuilt, numpy": lambda: peers.brian2_rebuilt(some, "numpy"),
        "twinspike torch": ours("torch", candidates, dtype="float32"),
        "twinspike torch" + CONTROL: ours("torch", candidates, dtype="float32"),
        "torch loop by hand": lambda: peers.torch_loop(candidates, torch.float32),
    }
    expected = ours("torch", candidates, dtype="float64")()
    rows = []
    for name, function in functions.items():
        found = np.asarray(function())
        worst = int(np.abs(found - expected[: len(found)]).max())
        rows.append((name, len(found), int(found.sum()), worst))
        study.criterion(f"{name}: spike counts as ours in float64", worst, "<= 1 a cell", worst <= 1)
    study.table("the same work", ("program", "candidates", "spikes", "largest difference of a cell's count"), rows)
    with study.progress("rounds") as update:
        times = interleaved(functions, rounds, update)
    sizes = {name: REBUILT if "rebuilt" in name else CANDIDATES for name in functions}
    each = {name: [t / sizes[name] for t in found] for name, found in times.items()}
    for name, found in each.items():
        study.array(name, found)
    brian = {n: t for n, t in each.items() if "rian2" in n}
    torches = {n: t for n, t in each.items() if "torch" in n}
    header = ("program", "CPU s a candidate", "ours/theirs", "range", "note")
    rows_brian = ratio_rows(brian, "twinspike brian2", {})
    study.table("Brian2: one network for all candidates against one a candidate", header, rows_brian)
    rows_torch = ratio_rows(torches, "twinspike torch", {})
    study.table(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), float32", header, rows_torch)
    best = max(row[2] for row in rows_brian if "rebuilt" in row[0])
    study.criterion("our Brian2 backend: rate over the faster rebuilding", 1 / best, ">= 5", 1 / best >= 5)
    by_hand = next(row[2] for row in rows_torch if row[0] == "torch loop by hand")
    study.criterion("our torch backend: time over the loop by hand", by_hand, "<= 1", by_hand <= 1)
