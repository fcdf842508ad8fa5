"""The CUBA network, 4,000 cells, 1 s at 0.1 ms in float64: running it, and getting from the definition to something that runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from twinspike.benches.peers import balanced
from twinspike.benchmark import Bench
from twinspike.timing import CONTROL, interleaved

STEPS, COMPARED = 10_000, 1_000  # compared: steps in which rasters must be the same spike for spike
PEER = "Brian2 cpp_standalone"


def network(pairs: Any, start: Mapping[str, Any]) -> Any:
    """The network as a twinspike definition. pairs, start: see peers."""
    from neuro import Neuron

    cell = Neuron(
        "cuba",
        """
        dv/dt = (g_e + g_i - (v - E_L))/tau_m : volt (unless refractory)
        dg_e/dt = -g_e/tau_e : volt
        dg_i/dt = -g_i/tau_i : volt
        """,
        threshold="v > v_th",
        reset="v = v_reset",
        parameters={
            "tau_m": "20 ms", "tau_e": "5 ms", "tau_i": "10 ms", "v_th": "-50 mV", "v_reset": "-60 mV", "E_L": "-49 mV",
        },
        refractory="5 ms",
        method="exact",
        source="Brette et al. (2007), J Comput Neurosci 23:349, benchmark 2",
    )  # fmt: skip
    return balanced_network(cell, pairs, {"v": start["v"]}, ("1.62 mV", "-9 mV"), "volt")


def balanced_network(cell: Any, pairs: Any, initial: Mapping[str, Any], weights: tuple[str, str], unit: str) -> Any:
    """One population, whose first cells excite and the others inhibit. initial: state -> SI values; `unit` of all but v."""
    from neuro import Network, Pairs, Population, Projection, Synapse, quantity

    units = {"v": "volt"}
    cells = Population(
        "cells", cell, balanced.CELLS, initial={n: quantity(a, units.get(n, unit)) for n, a in initial.items()}
    )
    projections = tuple(
        Projection(name, "cells", "cells", Synapse(name, f"w : {unit}", on_pre=f"{target}_post += w"), w, Pairs(*ends))
        for name, target, w, ends in zip(("excite", "inhibit"), ("g_e", "g_i"), weights, pairs, strict=True)
    )
    return Network((cells,), projections, dt=quantity(balanced.DT, "second"), name=cell.name)


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder that goes away."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def compiled(backend: str, define: Callable[[], Any], steps: int) -> Callable[[], Any]:
    """Ours, from the definition on; the result runs it and gives a raster [step, cell]."""
    import backends

    program = backends.get(backend).compile(define(), dtype="float64")
    return lambda: program.run(steps=steps).spikes["cells"][0]


def raster(spikes: tuple[Any, Any], steps: int) -> Any:
    """A raster [step, cell] of the peer's cells and steps."""
    found = np.zeros((steps, balanced.CELLS), bool)
    found[spikes[1], spikes[0]] = True
    return found


def same_work(bench: Bench, title: str, ours: Any, theirs: Any, strict: Any, steps: int) -> str:
    """Rasters against Brian2's without -ffast-math, counts against it as it is timed. Gives what differs, in words."""
    differing = np.nonzero((ours != raster(strict, steps)).any(axis=1))[0]
    first = int(differing[0]) if len(differing) else steps
    wanted = min(COMPARED, steps)
    bench.criterion(
        f"{title}: rasters are the same, spike for spike, until step", first, f">= {wanted}", first >= wanted
    )
    counts = int(ours.sum()), len(theirs[0])
    apart = abs(counts[0] / max(counts[1], 1) - 1)
    bench.criterion(f"{title}: spikes, share of difference", apart, "<= 0.05", apart <= 0.05 and min(counts) > 0)
    until = "to the end" if first == steps else f"until step {first}"
    return f"spikes {counts[0]} against {counts[1]}; rasters of both under IEEE arithmetic are the same {until}"


def compare(
    bench: Bench, title: str, define: Callable[[], Any], model: Callable[..., Any], pairs: Any, start: Mapping[str, Any],
    targets: Mapping[str, float],
) -> None:  # fmt: skip
    """Times of running and of building; targets: "run" and "build"."""
    steps = STEPS // 10 if bench.quick else STEPS
    with folder() as fast, folder() as ieee, folder() as empty:
        theirs = balanced.built(model, fast, steps, pairs, start)
        nothing = balanced.built(model, empty, 1, pairs, start)
        with balanced.ieee():
            strict = balanced.built(model, ieee, steps, pairs, start)
        runs = {bench.ours: compiled(bench.ours, define, steps)}
        runs |= {bench.ours + CONTROL: compiled(bench.ours, define, steps), PEER: theirs, "its start": nothing}
        with bench.progress(f"{title}, run") as update:
            times = interleaved(runs, bench.rounds, update)
        differs = same_work(bench, title, runs[bench.ours](), theirs(), strict(), steps)
    start_up = median(times.pop("its start"))
    loop = f"{PEER}, without its start and connecting"
    times[loop] = [t - start_up for t in times[PEER]]
    wanted = dict.fromkeys((PEER, loop), targets["run"])
    bench.ratios(f"{title}, run", times, bench.ours, targets=wanted, differs=dict.fromkeys(wanted, differs))
    if "build" in targets:
        build(
            bench,
            f"{title}, build",
            define,
            lambda path: balanced.built(model, path, steps, pairs, start),
            targets["build"],
        )


def build(bench: Bench, title: str, define: Callable[[], Any], peer: Callable[[Path], Any], target: float) -> None:
    """Each round builds anew, in an empty folder."""
    from unittest.mock import patch

    def ours() -> None:
        with folder() as cache, patch.dict(os.environ, XDG_CACHE_HOME=str(cache)):
            compiled(bench.ours, define, 1)()  # its C is compiled when it first runs

    def theirs() -> None:
        with folder() as project:
            peer(project)

    with bench.progress(title) as update:
        times = interleaved({bench.ours: ours, bench.ours + CONTROL: ours, PEER: theirs}, bench.rounds, update)
    bench.ratios(title, times, bench.ours, targets={PEER: target})


def run(bench: Bench) -> None:
    rng = np.random.default_rng(bench.seed)
    pairs = balanced.connections(rng)
    start = {"v": -60e-3 + 10e-3 * rng.random(balanced.CELLS)}
    compare(bench, "CUBA", lambda: network(pairs, start), balanced.cuba, pairs, start, {"run": 0.4, "build": 0.1})
