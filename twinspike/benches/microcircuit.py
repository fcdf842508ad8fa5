"""The cortical microcircuit: how long it takes to build, bytes of a synapse, how long a second of its time takes, and what it does.

`--scale 1` is the whole of it, 77,169 cells and 299 million synapses, which needs 8 GiB. Up to a tenth of that, Brian2 and NEST, where they are installed, do the same beside it.
Each run is a process of its own; what is loaded once, and a small network's build, are done before memory is looked at. The wall clock counts: threads are what is asked for.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import patch

from twinspike.benches.peers import microcircuit as peers
from twinspike.benchmark import Bench
from twinspike.timing import CONTROL, cpu_seconds, forget_peak, in_fresh_process, peak_memory

SETTLING, TIMED, CHUNK = (
    0.5,
    1.0,
    1000,
)  # s of model time that isn't judged, and of a round; steps that are recorded at once
LENGTH = 10.0  # s of model time over which activity is judged
BIN, SAMPLE = (
    3e-3,
    1000,
)  # s of the histogram whose variance over its mean is the synchrony; cells of which it and irregularity are
SMALLEST = 0.01
MOST = 1.5  # peak of building over what is held
LIMITS = {"build": 180.0, "run": 5.0, "memory": 8.0}  # at full scale: s, s of the wall clock for a second, GiB
IRREGULAR = 0.7, 1.1  # CV of intervals
ALIKE = 0.1  # of NEST's rates, which are of other pairs, weights, delays and trains of the same laws
LARGEST, COMPARED = 0.1, 2000  # scale up to which peers run beside, and for how many steps rasters are compared
OURS, BRIAN2, NEST = "native", "Brian2 cpp_standalone", "NEST"
PEERS: Mapping[str, tuple[str, Callable[..., Any], str]] = {
    BRIAN2: ("brian2", peers.brian2, "pip install brian2"),
    NEST: ("nest", peers.nest, "pip install nest-simulator, which is GPL"),
}
DIFFERS = {
    BRIAN2: "float32, -O3 -ffast-math -march=native, OpenMP; given our pairs, weights and delays, whose drawing isn't counted; "
    "binomial counts of Poisson events; its build includes the C++ compiler, its memory is that of the compiled program",
    NEST: "float64 (it has no other); fixed_total_number, iaf_psc_exp, poisson_generator; draws its own pairs, weights and delays",
}
MEASURES = (("build", "build", "s"), ("run", "a second, wall clock", "s"), ("processor", "a second, all threads", "CPU s"),
            ("peak", "peak memory", "MiB"))  # fmt: skip


def ours(scale: float, threads: int, settling: float, seconds: float, seed: int) -> dict[str, Any]:
    """One build and run in float32, its C compiled anew.

    build: s. run, processor: s of the wall clock and of all threads for a second of model time. built, peak: bytes that this process grew by until it was built, and at most. held: by the program.
    spikes: of the second part of the run, by population: steps, cells.
    """
    import backends
    from neuro import FixedTotal
    from neuro.events import Events
    from tasks import microcircuit

    native: Any = backends.get(OURS)
    native.compile(microcircuit.network(SMALLEST, seed=seed), dtype="float32", threads=threads).run(steps=1, batch=1)
    forget_peak()
    before, clock = peak_memory(), time.perf_counter()
    network = microcircuit.network(scale, seed=seed)
    dt = float(network.dt.value)
    with TemporaryDirectory() as cache, patch.dict(os.environ, XDG_CACHE_HOME=cache):
        program = native.compile(network, dtype="float32", threads=threads)
        state = program.run(steps=1, batch=1).state
    build = time.perf_counter() - clock
    built = peak_memory() - before
    parts: list[Any] = []  # recordings hold lists of spikes, which are put together after the clock has stopped
    wall = spent = 0.0
    for steps, kept in ((round(settling / dt), False), (round(seconds / dt), True)):
        wall, spent = time.perf_counter(), cpu_seconds()
        for recording in program.stream(steps=steps, chunk=min(CHUNK, steps), state=state, batch=1):
            state = recording.state
            parts += [recording.spikes.events] if kept else []
        wall, spent = time.perf_counter() - wall, cpu_seconds() - spent
    return {
        "build": build, "run": wall / seconds, "processor": spent / seconds, "built": built, "held": program.compiled.nbytes, "peak": peak_memory() - before,
        "cells": sum(p.size for p in network.populations), "synapses": sum(cast(FixedTotal, p.connectivity).n for p in network.projections),
        "spikes": {name: when_and_who(Events.following(*(p[name] for p in parts))) for name in microcircuit.POPULATIONS},
    }  # fmt: skip


def when_and_who(events: Any) -> tuple[Any, Any]:
    """Steps and cells of one trial's spikes."""
    import numpy as np

    return np.repeat(np.arange(events.shape[1]), np.diff(events.offsets)), events.channels


def activity(spikes: Mapping[str, Any], scale: float, seconds: float, seed: int) -> dict[str, tuple[float, ...]]:
    """By population: rate (Hz); of up to SAMPLE cells CV of intervals, the CV that the same numbers of spikes at random times would have in this window, synchrony."""
    import numpy as np

    from neuro.analysis.spike_trains import interval_cv, synchrony
    from tasks import microcircuit

    draw, steps = np.random.default_rng(seed), round(seconds / (microcircuit.DT * 1e-3))
    found: dict[str, tuple[float, ...]] = {}
    for name, size in zip(microcircuit.POPULATIONS, microcircuit.SIZES, strict=True):
        cells, (when, who) = round(scale * size), spikes[name]
        place = np.full(cells, -1)
        place[draw.permutation(cells)[:SAMPLE]] = np.arange(min(cells, SAMPLE))
        rate, column = len(when) / (cells * seconds), place[who]
        when, column = when[column >= 0], column[column >= 0]
        raster = np.zeros((1, steps, min(cells, SAMPLE)), bool)
        raster[0, when, column] = True
        own = interval_cv(raster), synchrony(raster, max(1, round(BIN * steps / seconds)))
        raster[:] = False
        raster[0, draw.integers(0, steps, len(column)), column] = True
        found[name] = rate, own[0], interval_cv(raster), own[1]
    return found


def run(bench: Bench) -> None:
    scale = SMALLEST if bench.quick else bench.scale
    beside = scale <= LARGEST
    settling = 0.05 if bench.quick else SETTLING
    seconds = bench.seconds or (0.1 if bench.quick else LENGTH if beside else TIMED)
    title, given = f"microcircuit at {scale:g}", (scale, bench.threads, settling)
    installed = available() if beside else {}
    theirs: dict[str, tuple[float, ...]] = {}
    with bench.progress(f"{title}, {seconds:g} s") as update:
        found = in_fresh_process(ours, *given, seconds, bench.seed)
        update(1, 1 + (NEST in installed), f"{found['run']:.3g} s a second")
        if NEST in installed:
            spikes = in_fresh_process(peers.nest, *given, seconds, bench.seed)["spikes"]
            theirs = activity(spikes, scale, seconds, bench.seed)
            update(2, 2, "")
    rows = [
        ("cells", found["cells"]), ("synapses", found["synapses"]), ("threads", bench.threads), ("build, s", found["build"]),
        ("a second of model time, s", found["run"]), ("the same, CPU s", found["processor"]),
        ("peak of building, bytes a synapse", found["built"] / found["synapses"]), ("held, bytes a synapse", found["held"] / found["synapses"]),
        ("peak, GiB", found["peak"] / 2**30),
    ]  # fmt: skip
    bench.table(f"{title}, {OURS}, float32, {seconds:g} s", ("what", "measured"), rows)
    ratio = found["built"] / found["held"]
    bench.criterion(f"{title}: peak of building over what is held", ratio, f"<= {MOST:g}", ratio <= MOST, full=True)
    judged(bench, title, scale, seconds, activity(found["spikes"], scale, seconds, bench.seed), theirs)
    if beside:
        rasters(bench, title, scale, installed)
        side_by_side(bench, title, given, installed)
    if scale == 1:
        for name, value, unit in (
            ("build", found["build"], "s"),
            ("run", found["run"], "s a second"),
            ("memory", found["peak"] / 2**30, "GiB"),
        ):
            bench.criterion(
                f"{title}, {name}", f"{value:.3g} {unit}", f"<= {LIMITS[name]:g}", value <= LIMITS[name]
            )  # fmt: skip


def available() -> dict[str, Callable[..., Any]]:
    """Peers that are installed; says how to have the others."""
    found = {}
    for name, (module, function, remedy) in PEERS.items():
        if find_spec(module) is None:
            print(f"left out: {name}, which isn't installed ({remedy})")
        else:
            found[name] = function
    return found


def judged(
    bench: Bench, title: str, scale: float, seconds: float, found: Mapping[str, Any], theirs: Mapping[str, Any]
) -> None:
    """Rates beside the full model's and NEST's, irregularity, synchrony."""
    from tasks import microcircuit

    wanted = dict(zip(microcircuit.POPULATIONS, microcircuit.RATES, strict=True))
    header: tuple[str, ...] = (
        "population",
        "full model, Hz",
        "rate, Hz",
        "CV of intervals",
        "CV at random times",
        "synchrony",
    )
    rows: list[tuple[Any, ...]] = [(name, wanted[name], *values) for name, values in found.items()]
    if theirs:
        header = (*header[:3], "NEST's", header[3], "NEST's", *header[4:], "NEST's")
        rows = [
            (name, full, rate, theirs[name][0], cv, theirs[name][1], chance, alike, theirs[name][3])
            for name, full, rate, cv, chance, alike in rows
        ]
    bench.table(f"{title}, activity over {seconds:g} s", header, rows)
    references = [("the full model's", wanted, 0.1 if scale == 1 else 0.2)]
    if theirs:
        references.append(("NEST's", {name: values[0] for name, values in theirs.items()}, ALIKE))
    for whose, rates, most in references:
        off = {name: values[0] / rates[name] - 1 if rates[name] else float("inf") for name, values in found.items()}
        worst = max(off, key=lambda name: abs(off[name]))
        bench.criterion(
            f"{title}: rates over {whose}, largest relative difference ({worst})", off[worst], f"within {most:g}", abs(off[worst]) <= most,
            full=True,
        )  # fmt: skip
    low, high = IRREGULAR
    irregular = [values[1] for values in found.values()]
    name, text = f"{title}: CV of intervals over {seconds:g} s", f"{min(irregular):.3g}..{max(irregular):.3g}"
    if seconds >= LENGTH:
        bench.criterion(name, text, f"{low}..{high}", low <= min(irregular) and max(irregular) <= high)
    else:
        bench.unmeasured(name, f"{low}..{high}", f"needs --seconds {LENGTH:g}")


def rasters(bench: Bench, title: str, scale: float, installed: Mapping[str, Any]) -> None:
    """Spike for spike: Brian2 with drives; NEST, which draws other counts, with constant currents, and our synapses given one by one."""
    steps = 100 if bench.quick else COMPARED
    for name, constant in ((BRIAN2, False), (NEST, True)):
        if name in installed:
            first, spikes = in_fresh_process(compared, name, scale, steps, bench.seed)
            what = "without Poisson trains, rasters are NEST's" if constant else "rasters are Brian2's"
            bench.criterion(
                f"{title}: {what}, spike for spike, until step ({spikes} spikes)", first, f">= {steps}", first >= steps
            )  # fmt: skip


def compared(name: str, scale: float, steps: int, seed: int) -> tuple[int, int]:
    """The first step in which rasters of native and of a peer differ, in float64 (the number of steps where none does), and spikes up to there."""
    import numpy as np

    import backends
    from tasks import microcircuit

    network = microcircuit.network(scale, constant=name == NEST, seed=seed)
    push: Any = peers.pushed(network) if name == NEST else None
    found = backends.get(OURS).compile(network).run(push, steps=steps, batch=1).spikes
    own = {n: np.asarray(found[n])[0] for n in microcircuit.POPULATIONS}
    if name == NEST:
        theirs = {n: np.zeros_like(raster) for n, raster in own.items()}
        for n, where in peers.nest_given(peers.drawn(scale, seed, constant=True), steps).items():
            theirs[n][where] = True
    else:
        found = backends.get("brian2").compile(network).run(steps=steps, batch=1).spikes
        theirs = {n: np.asarray(found[n])[0] for n in own}
    differing = [np.nonzero((own[n] != theirs[n]).any(axis=1))[0] for n in own]
    first = min((int(d[0]) for d in differing if len(d)), default=steps)
    return first, sum(int(raster[:first].sum()) for raster in own.values())


def side_by_side(bench: Bench, title: str, given: tuple[float, int, float], installed: Mapping[str, Any]) -> None:
    """Build, time of a second and memory, ours twice and the peers' in every round, each in a process of its own."""
    functions = {OURS: ours, OURS + CONTROL: ours, **installed}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in functions}
    rounds, seconds = (1, 0.1) if bench.quick else (bench.rounds, TIMED)
    order = random.Random(0)
    with bench.progress(f"{title}, beside {' and '.join(installed) or 'itself'}") as update:
        for k in range(rounds):
            for name in order.sample(list(functions), len(functions)):
                found[name].append(in_fresh_process(functions[name], *given, seconds, bench.seed))
            update(k + 1, rounds, "")
    for measure, text, unit in MEASURES:
        share = 2**20 if unit == "MiB" else 1
        times = {name: [run[measure] / share for run in runs] for name, runs in found.items()}
        bench.ratios(f"{title}, {bench.threads} threads, {text}", times, OURS, differs=DIFFERS, unit=unit)
    counts = {
        name: median(sum(len(s[0]) for s in run["spikes"].values()) for run in runs) for name, runs in found.items()
    }
    bench.table(f"{title}, spikes in {seconds:g} s", ("library", "spikes"), [*counts.items()])
