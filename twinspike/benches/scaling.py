"""How the time of a run grows with cells (at a fixed fan-in), steps, trials, and shrinks with a second thread.

A random network of CUBA cells that fire by themselves, each with 100 synapses; the work is counted in deliveries, spikes times fan-out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from twinspike.benchmark import Bench, Figure
from twinspike.timing import CONTROL, interleaved

FAN_IN, RATE = 100, 0.01  # synapses a cell; spikes a step that come from outside to each cell
SIZES = {
    "cells": [(cells, 1000, 1) for cells in (100, 1000, 10_000, 100_000)],
    "steps": [(1000, steps, 1) for steps in (100, 1000, 10_000)],
    "trials": [(1000, 100, trials) for trials in (1, 8, 64, 512)],
}  # by axis: cells, steps, trials
THREADED = (1000, 500, 128)


@dataclass(frozen=True)
class Case:
    """A run, and its deliveries."""

    run: Callable[[], Any]
    deliveries: int


def network(cells: int) -> Any:
    """The network as a twinspike definition."""
    import numpy as np

    from neuro import Input, Network, Normal, OneToOne, Pairs, Population, Projection, Uniform, library, quantity

    rng = np.random.default_rng(0)
    pairs = Pairs(rng.integers(0, cells, cells * FAN_IN), np.repeat(np.arange(cells), FAN_IN))
    jump = library.get("current_jump")
    rest = Uniform(quantity("-49 mV"), quantity("-47 mV"))
    start = Uniform(quantity("-70 mV"), quantity("-50 mV"))
    return Network(
        (Population("cells", library.get("cuba_lif"), cells, {"E_L": rest}, {"v": start}),),
        (
            Projection("feed", "x", "cells", jump, quantity("50 pA"), OneToOne()),
            Projection("loop", "cells", "cells", jump, Normal(quantity("0 pA"), quantity("2 pA")), pairs),
        ),
        (Input("x", cells),),
        dt=quantity("1 ms"),
        name="scaling",
    )


def case(backend: str, cells: int, steps: int, trials: int, **options: Any) -> Case:
    """The run of one size in float32, with other spikes from outside in every trial."""
    import numpy as np

    import backends
    from twinspike.models.spikes import random_events

    program = backends.get(backend).compile(network(cells), dtype="float32", **options)
    spikes = random_events(np.random.default_rng(1), (trials, steps, cells), RATE)
    inputs: dict[str, Any] = {"x": spikes if backend == "native" else np.asarray(spikes)}

    def run() -> Any:
        return program.run(inputs=inputs)

    return Case(run, run().spike_count() * FAN_IN)


def axis(bench: Bench, name: str, sizes: Sequence[tuple[int, int, int]]) -> tuple[list[int], list[float]]:
    """Deliveries and median CPU seconds along one axis; adds a figure, the exponent of time over deliveries."""
    import numpy as np

    cases = {str(size): case(bench.ours, *size) for size in sizes}
    last = str(sizes[-1])
    with bench.progress(f"scaling, {name}") as update:
        runs = {size: found.run for size, found in cases.items()} | {last + CONTROL: cases[last].run}
        times = interleaved(runs, bench.rounds, update)
    work, seconds = [cases[str(s)].deliveries for s in sizes], [median(times[str(s)]) for s in sizes]
    slopes = [
        float(np.log(b / a) / np.log(w / v)) for (a, b), (v, w) in zip(pairwise(seconds), pairwise(work), strict=True)
    ]
    whole = float(np.polyfit(np.log(work), np.log(seconds), 1)[0])
    control = median(a / b for a, b in zip(times[last], times[last + CONTROL], strict=True))
    column = ("cells", "steps", "trials").index(name)
    each = ", ".join(f"{s[column]}: {1e9 * t / w:.3g}" for s, t, w in zip(sizes, seconds, work, strict=True))
    bench.figures.append(
        Figure(
            f"scaling, {name} {sizes[0][column]} -> {sizes[-1][column]}", bench.ours, "itself", f"{seconds[-1]:.3g} CPU s", "",
            whole, min(slopes), max(slopes), control,
            differs=f"exponent of time over spikes x fan-out (1 is linear); ns a delivery by {name}: {each}",
        )
    )  # fmt: skip
    bench.array(f"scaling/{name}", np.array([*zip(work, seconds, strict=True)]))
    return work, seconds


def threads(bench: Bench, size: tuple[int, int, int]) -> None:
    """Elapsed time with one and with two threads, where the backend has the option; the results must be the same."""
    import numpy as np

    from neuro.protocols import UnsupportedError

    try:
        one, two = (case(bench.ours, *size, threads=n) for n in (1, 2))
    except UnsupportedError as error:
        print(f"left out: two threads ({error})")
        return
    same = np.array_equal(one.run().spikes["cells"], two.run().spikes["cells"])
    bench.criterion("scaling: two threads give the same spikes as one", same, "True", same)
    runs = {"one": one.run, "one" + CONTROL: one.run, "two": two.run}
    with bench.progress("scaling, threads") as update:
        times = interleaved(runs, bench.rounds, update, clock=time.perf_counter)
    gains = sorted(a / b for a, b in zip(times["one"], times["two"], strict=True))
    control = median(a / b for a, b in zip(times["one"], times["one" + CONTROL], strict=True))
    bench.figures.append(
        Figure(
            "scaling, threads 1 -> 2", bench.ours, "itself", f"{median(times['two']):.3g} s", f"{median(times['one']):.3g} s",
            median(gains), gains[0], gains[-1], control, at_least=True, differs="speed-up in elapsed time, not CPU time",
        )
    )  # fmt: skip


def run(bench: Bench) -> None:
    from matplotlib.figure import Figure as Plot

    plot = Plot(figsize=(6, 4))
    axes = plot.subplots()
    for name, sizes in SIZES.items():
        work, seconds = axis(bench, name, sizes[:2] if bench.quick else sizes)
        axes.loglog(work, seconds, "o-", label=name)
    edge = axes.get_xlim()
    axes.plot(edge, [seconds[-1] * x / work[-1] for x in edge], color="0.7", zorder=0, label="linear")
    axes.set_xlim(edge)
    axes.set_xlabel("spikes x fan-out")
    axes.set_ylabel("CPU seconds")
    axes.legend()
    bench.figure("scaling", plot)
    threads(bench, (100, 50, 16) if bench.quick else THREADED)
