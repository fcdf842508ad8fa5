"""The cortical microcircuit: how long it takes to build, bytes of a synapse, how long a second of its time takes, and what it does.

What is loaded once, and a small network's build, are done before memory is looked at. `--scale 1` is the whole of it, 77,169 cells and 299 million synapses, which needs 8 GiB. Each run is a process of its own. The wall clock counts: threads are what is asked for.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any, cast

from benchmark import Bench
from timing import forget_peak, in_fresh_process, peak_memory

SETTLING, SECONDS, CHUNK = 0.5, 1.0, 1000  # model time that isn't judged, and is; steps that are recorded at once
BIN, SAMPLE = 3e-3, 1000  # of the histogram whose variance over its mean is the synchrony: seconds, cells
SMALLEST = 0.01
MOST = 1.5  # peak of building over what is held
LIMITS = {"build": 180.0, "run": 5.0, "memory": 8.0}  # at full scale: s, s of the wall clock for a second, GiB
REPEATS = 3
LARGEST, COMPARED = 0.1, 2000  # scale up to which Brian2 runs beside, and for how many steps


def measured(scale: float, threads: int, settling: float, seconds: float, seed: int) -> dict[str, Any]:
    """One build and run in float32. Per population: rate, CV of the intervals, synchrony."""
    import numpy as np

    import backends
    from neuro import FixedTotal
    from neuro.analysis.spike_trains import interval_cv, synchrony
    from tasks import microcircuit

    native: Any = backends.get("native")
    native.compile(microcircuit.network(SMALLEST, seed=seed), dtype="float32", threads=threads).run(steps=1, batch=1)
    forget_peak()
    before, clock = peak_memory(), time.perf_counter()
    network = microcircuit.network(scale, seed=seed)
    dt = float(network.dt.value)
    program = native.compile(network, dtype="float32", threads=threads)
    first = program.run(steps=1, batch=1)
    build = time.perf_counter() - clock
    built = peak_memory() - before
    state, parts, spent = first.state, [], 0.0
    for steps, kept in ((round(settling / dt), False), (round(seconds / dt), True)):
        clock = time.perf_counter()
        for part in program.stream(steps=steps, chunk=min(CHUNK, steps), state=state, batch=1):
            state = part.state
            parts += [part.spikes] if kept else []
        spent = time.perf_counter() - clock
    found: dict[str, Any] = {
        "build": build,
        "run": spent / seconds,
        "built": built,
        "peak": peak_memory() - before,
        "activity": {},
    }
    found["held"] = program.compiled.nbytes
    found["cells"] = sum(p.size for p in network.populations)
    found["synapses"] = sum(cast(FixedTotal, p.connectivity).n for p in network.projections)
    for name in microcircuit.POPULATIONS:
        raster = np.concatenate([np.asarray(p[name]) for p in parts], axis=1)
        some = raster[:, :, np.random.default_rng(seed).permutation(raster.shape[2])[:SAMPLE]]
        found["activity"][name] = (
            float(raster.mean()) / dt,
            interval_cv(raster),
            synchrony(some, max(1, round(BIN / dt))),
        )
    return found


def run(bench: Bench) -> None:
    scale = SMALLEST if bench.quick else bench.scale
    settling, seconds = (0.05, 0.1) if bench.quick else (SETTLING, SECONDS)
    repeats = 1 if bench.quick or scale > 0.3 else REPEATS
    with bench.progress(f"microcircuit at {scale:g}") as update:
        runs = []
        for k in range(repeats):
            runs.append(in_fresh_process(measured, scale, bench.threads, settling, seconds, bench.seed))
            update(k + 1, repeats, f"{runs[-1]['run']:.3g} s a second")
    last = runs[-1]
    middle = {n: median(r[n] for r in runs) for n in ("build", "run", "built", "held", "peak")}
    each, kept = middle["built"] / last["synapses"], middle["held"] / last["synapses"]
    rows = [
        ("cells", last["cells"]), ("synapses", last["synapses"]), ("threads", bench.threads), ("build, s", middle["build"]),
        ("a second of model time, s", middle["run"]), ("peak of building, bytes a synapse", each), ("held, bytes a synapse", kept), ("peak, GiB", middle["peak"] / 2**30),
    ]  # fmt: skip
    bench.table(f"microcircuit at {scale:g}, native, float32", ("what", "measured"), rows)
    ratio = each / kept
    bench.criterion(
        f"microcircuit at {scale:g}: peak of building over what is held",
        ratio,
        f"<= {MOST:g}",
        ratio <= MOST,
        full=True,
    )
    activity(bench, last, scale)
    if scale <= LARGEST:
        steps = 100 if bench.quick else COMPARED
        first, spikes = in_fresh_process(beside_brian2, scale, steps, bench.seed)
        bench.criterion(
            f"microcircuit at {scale:g}: rasters are Brian2's, spike for spike, until step ({spikes} spikes)",
            first,
            f">= {steps}",
            first >= steps,
        )
    if scale == 1:
        for name, value, unit in (
            ("build", middle["build"], "s"),
            ("run", middle["run"], "s a second"),
            ("memory", middle["peak"] / 2**30, "GiB"),
        ):
            bench.criterion(
                f"microcircuit at full scale, {name}",
                f"{value:.3g} {unit}",
                f"<= {LIMITS[name]:g}",
                value <= LIMITS[name],
            )


def activity(bench: Bench, last: dict[str, Any], scale: float) -> None:
    """Rates beside the full model's, irregularity and synchrony."""
    from tasks import microcircuit

    wanted = dict(zip(microcircuit.POPULATIONS, microcircuit.RATES, strict=True))
    rows = [(name, rate, wanted[name], cv, sync) for name, (rate, cv, sync) in last["activity"].items()]
    bench.table("activity", ("population", "rate, Hz", "full model, Hz", "CV of intervals", "synchrony"), rows)
    off, margin = max(abs(r / w - 1) for _, r, w, _, _ in rows), 0.1 if scale == 1 else 0.2
    name = f"microcircuit at {scale:g}: rates over the full model's, largest relative difference"
    bench.criterion(name, off, f"<= {margin:g}", off <= margin, full=True)


def beside_brian2(scale: float, steps: int, seed: int) -> tuple[int, int]:
    """The first step in which rasters of native and Brian2 differ, both in float64 (the number of steps where none does), and spikes up to there."""
    import numpy as np

    import backends
    from tasks import microcircuit

    network = microcircuit.network(scale, seed=seed)
    ours, theirs = (
        backends.get(name).compile(network).run(steps=steps, batch=1).spikes for name in ("native", "brian2")
    )
    differing = [
        np.nonzero((np.asarray(ours[n]) != np.asarray(theirs[n])).any(axis=(0, 2)))[0] for n in microcircuit.POPULATIONS
    ]
    first = min((int(d[0]) for d in differing if len(d)), default=steps)
    return first, sum(int(np.asarray(ours[n])[:, :first].sum()) for n in microcircuit.POPULATIONS)
