"""Morris-Lecar units: fixtures on four backends, losses that are steps, gradients by horizon, evidence by ES and by BPTT (morris-lecar-es.md 1 to 5).

Evolution strategies against backpropagation through time where the latter is said to fail. The control of the task is a readout of the
frozen network, and its ceiling a logistic fit to many phrases: chance (0.33) is no baseline. BPTT is reported as it comes out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from neuro.library.morris_lecar import PRESETS
from twinspike.models import morris_lecar as units
from twinspike.models import word_evidence as evidence
from twinspike.study import Study

MINUTES = 25
BACKENDS = ("reference", "native", "torch", "brian2")
SADDLE = (39.577 - 0.05, 39.577 + 0.05)  # uA/cm**2 around the saddle-node: silent below, spiking above


# -- the neuron --------------------------------------------------------------------------------------------------


def neuron(study: Study) -> None:
    """Criterion 1: bifurcations of the equations; rates, silence, block and traces on every backend."""
    rows = []
    for preset in PRESETS:
        flow = units.Flow(preset)
        rows.append((preset, flow.saddle_node() or "none", ", ".join(f"{i:.2f}" for i in flow.hopf()) or "none"))
    study.table("currents in uA/cm**2", ("preset", "saddle-node", "trace of the Jacobian 0"), rows)
    found = units.Flow("a2").saddle_node() or np.nan
    study.criterion("1 a2: saddle-node of the equations", found, "39.58 +- 0.05", abs(found - 39.58) <= 0.05)
    currents = (*units.CURRENTS, *SADDLE)
    seconds = units.TRANSIENT + units.WINDOW
    rates: dict[str, Any] = {}
    for backend in ("native",) if study.quick else BACKENDS:
        with study.progress(f"rates on {backend}"):
            rates[backend] = units.rates(units.run(units.stepped("a2"), currents, seconds, backend))
    table = [(f"{i:g}", *(r[k] for r in rates.values())) for k, i in enumerate(currents)]
    study.table("a2: spikes a second by current", ("uA/cm**2", *rates), table)
    wanted = np.array(units.RATES["a2"])
    worst = max(float(np.abs(r[: len(wanted)] - wanted).max()) for r in rates.values())
    study.criterion(
        f"1 a2: rates on {', '.join(rates)}, largest difference from the table, Hz", worst, "<= 1", worst <= 1
    )
    known = {i: np.array([r[currents.index(i)] for r in rates.values()]) for i in (39.0, 39.9, 120.0, *SADDLE)}
    still, fires = known[39.0], known[39.9]
    right = not still.any() and fires.all() and not known[120.0].any()
    study.criterion(
        "1 a2: silent at 39.0, spiking at 39.9, blocked at 120", "yes" if right else "no", "yes", bool(right)
    )
    between = not known[SADDLE[0]].any() and known[SADDLE[1]].all()
    study.criterion("1 a2: spiking begins within 39.58 +- 0.05", "yes" if between else "no", "yes", bool(between))
    traces(study)


def traces(study: Study) -> None:
    """The same v over 200 ms on four backends, for both forms of the unit."""
    worst = 0.0
    for name, form in {"trapezoid": units.stepped, "rk4": units.continuous}.items():
        v = {b: units.run(form("a2"), (39.0, 60.0, 100.0, 120.0), 0.2, b, dtype="float64") for b in BACKENDS}
        worst = max(worst, *(float(np.abs(a - v["reference"]).max()) for a in v.values()))
        study.array(f"neuron/{name}", v["reference"])
    study.criterion(
        "1 v over 200 ms on four backends, largest difference in mV", worst * 1e3, "<= 1e-6", worst * 1e3 <= 1e-6
    )


# -- one neuron, one current -------------------------------------------------------------------------------------


def turn_off(study: Study) -> None:
    """Criterion 2."""
    import tasks
    from neuro import learning

    seeds, updates = (1, 15) if study.quick else (10, 50)
    task = tasks.get("turn-off")
    es = {"sigma": 0.2, "shaping": "none", "optimiser": "sgd"}
    rules = {
        "ES, antithetic, rate 0.05": learning.get("es", **es, samples=50, learning_rate=0.05),
        "ES, vanilla, rate 0.01": learning.get("es", **es, samples=100, sampling="plain", learning_rate=0.01),
        "BPTT, rate 0.01": learning.get("bptt", optimiser="sgd", learning_rate=0.01),
    }
    rows: list[tuple[Any, ...]] = []
    solved: dict[str, int] = {}
    for label, rule in list(rules.items())[: 1 if study.quick else None]:
        met, currents = [], []
        with study.progress(f"turn-off, {label}") as update:
            for s in range(runs := seeds if not rows else min(seeds, 5)):
                losses, ends = units.descend(task, rule, study.seed + s, updates)
                met.append(losses)
                currents.append(ends[-1])
                update(s + 1, runs, f"loss {losses[-1]:.3f}")
        last = np.array(met)[:, -1]
        solved[label] = int((last < 0.01).sum())
        study.array(f"turn-off/{label}", met)
        rows.append((label, f"{solved[label]}/{runs}", np.median(last), min(currents), max(currents)))
    header = ("rule", "loss < 0.01", "median loss", "lowest current", "highest current")
    study.table(f"turn-off: {updates} updates from 50 uA/cm**2, 100 candidates", header, rows)
    name, count = "2 turn-off, antithetic ES: runs with a loss < 0.01 after 50 updates", solved[next(iter(rules))]
    if study.quick:
        study.unmeasured(name, ">= 9 of 10")
    else:
        study.criterion(name, count, ">= 9 of 10", count >= 9)
    roughness(study)


def roughness(study: Study) -> None:
    """The landscape from 50 to 150 uA/cm**2, and as a search with sigma 20 sees it."""
    import backends
    import tasks
    from neuro.learning.search.search_space import losses

    task, sigma = tasks.get("turn-off", horizon=1000), 0.2
    points = 250 if study.quick else 1000
    w, step = np.linspace(0.5 - 3 * sigma, 1.5 + 3 * sigma, int(2.2 * points) + 1, retstep=True)
    program = backends.get("auto").compile(task.network(study.seed))
    with study.progress(f"landscape of {len(w)} currents"):
        raw = losses(program, {"drive.w": w[:, None, None]}, task.test_batch(), task)
    kernel = np.exp(-0.5 * (np.arange(-3 * sigma, 3 * sigma + step / 2, step) / sigma) ** 2)
    smooth = np.convolve(raw, kernel / kernel.sum(), mode="same")
    inside = (w >= 0.5) & (w <= 1.5)
    slopes = {n: np.diff(x[inside]) / step for n, x in (("raw", raw), ("smoothed", smooth))}
    study.array("landscape", [w, raw, smooth])
    draw(study, "landscape", "current, uA/cm**2", "mean output", {"raw": (100 * w, raw), "smoothed": (100 * w, smooth)})
    flips = float(np.mean(np.diff(np.sign(slopes["raw"])) != 0))
    rows = [(n, float(np.sqrt(np.mean(s**2))), float(np.abs(s).max())) for n, s in slopes.items()]
    study.table(
        f"slopes of the landscape, 1 s, {points} points; {flips:.0%} sign flips", ("loss", "rms", "largest"), rows
    )
    ratio = rows[0][1] / rows[1][1]
    study.criterion(
        "2 rms slope of the landscape over that of the smoothed one", ratio, ">= 10", ratio >= 10, full=True
    )


def discrete(study: Study) -> None:
    """Criterion 5: whole numbers."""
    import backends
    import tasks
    from neuro import learning
    from neuro.compiler.parameters import values

    rows, reached = [], {}
    es = {
        "samples": 16,
        "sigma": 0.05,
        "shaping": "standardised",
        "learning_rate": 0.04,
        "learning_power": 0.5,
        "stability": 5.0,
    }
    goals = ((20, 45.0), (0, 80.0), (12, 90.0))
    for target, current in goals[: 1 if study.quick else None]:
        task = tasks.get("spike-count", target=target, current=current)
        met, currents = units.descend(task, learning.get("es", **es), study.seed, 40)
        study.array(f"spike-count/{target}", [met, currents])
        (hits,) = np.nonzero(np.array(met) == 0)
        reached[target] = len(hits) > 0
        rows.append(
            (target, current, int(hits[0]) + 1 if len(hits) else "-", len(hits), np.sqrt(met[-1]), currents[-1])
        )
    header = ("target", "first current", "first exact update", "exact updates of 40", "last difference", "last current")
    study.table("spikes in 1 s: ES on the squared difference, 32 antithetic candidates, sigma 5 uA/cm**2", header, rows)
    study.criterion("5 ES reaches 20 spikes exactly", "yes" if reached[20] else "no", "yes", reached[20])
    if study.quick:
        study.unmeasured("5 ES reaches 0 spikes exactly", "yes")
    else:
        study.criterion("5 ES reaches 0 spikes exactly", "yes" if reached[0] else "no", "yes", reached[0])
    task = tasks.get("spike-count")
    program = backends.get("native").compile(task.network(study.seed))
    slope = learning.get("bptt").gradient(program, values(program.network), task.test_batch(), task)["drive.w"]
    study.criterion("5 BPTT's gradient of that loss", float(np.abs(slope).max()), "0", not slope.any())


# -- gradients by horizon ----------------------------------------------------------------------------------------


def horizon(study: Study) -> None:
    """Criterion 3: norms of BPTT's gradient at initialisation in float32. What overflows is kept, and its size in float64 beside it."""
    import tasks

    lengths = (40, 400) if study.quick else (40, 100, 200, 400)  # steps a word: 200 ms to 2 s
    networks = [study.seed + s for s in range(1 if study.quick else 2)]
    norms: dict[str, Any] = {}
    for label, coupling, dtype in (("x1", 1.0, "float32"), ("x5", 5.0, "float32"), ("x5, float64", 5.0, "float64")):
        with study.progress(f"gradients, W_rec {label}"):
            chosen = [tasks.get("word-evidence", word_steps=n, coupling=coupling) for n in lengths]
            found = [[evidence.gradient_norms(task, seed, dtype) for task in chosen] for seed in networks]
        norms[label] = dict(zip(("W_rec", "W_ro"), np.moveaxis(np.array(found), 2, 0), strict=True))
        study.array(f"horizon/{label}", found)
    rows = [
        (f"dL/d{name}", label, *(" / ".join(f"{x:.2g}" for x in column) for column in values.T))
        for label, both in norms.items()
        for name, values in both.items()
    ]
    header = ("norm of", "W_rec", *(f"{n * 5} ms" for n in lengths))
    study.table(f"gradients at initialisation by horizon, {len(networks)} networks", header, rows)
    first, last = norms["x1"]["W_rec"][:, 0], norms["x1"]["W_rec"][:, -1]
    grown = float(np.log10(last / first).min())
    study.criterion("3 norm dL/dW_rec from 200 ms to 2 s, decades, least", grown, ">= 3", grown >= 3)
    late = np.array(lengths) >= 200
    lost = int((~np.isfinite(norms["x5"]["W_rec"][:, late])).any(axis=1).sum())
    wanted = f"{len(networks)} of {len(networks)}"
    study.criterion(
        "3 W_rec x5: networks whose gradient overflows float32 by 1 to 2 s", lost, wanted, lost == len(networks)
    )
    control = norms["x1"]["W_ro"]
    spread = float((control.max(axis=1) / control.min(axis=1)).max())
    study.criterion("3 norm dL/dW_ro over horizons, largest over smallest", spread, "<= 2", spread <= 2)
    draw(
        study,
        "horizon",
        "horizon, ms",
        "norm of the gradient",
        {
            f"dL/d{n}, W_rec {label}": (np.array(lengths) * 5, v.T)
            for label, both in norms.items()
            if label != "x5"
            for n, v in both.items()
        },
        log=True,
    )


def draw(study: Study, name: str, x: str, y: str, lines: dict[str, tuple[Any, Any]], *, log: bool = False) -> None:
    """One picture: curves [point, run] by name."""
    import matplotlib.pyplot as plt

    from neuro.plot import COLOURS

    figure, axes = plt.subplots(figsize=(6, 4))
    for colour, (label, (at, values)) in zip(COLOURS, lines.items(), strict=False):
        drawn = axes.plot(at, values, color=colour, marker="." if len(at) < 20 else None, linewidth=1)
        drawn[0].set_label(label)
    if log:
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel=x, ylabel=y)
    axes.legend(fontsize="small")
    study.figure(name, figure)
    plt.close(figure)


# -- the recurrent network ---------------------------------------------------------------------------------------

CONTROL, ES, BPTT, DISCRETE = evidence.ARMS
BATCH = 48  # phrases an update


def trained(arm: str, seed: int, updates: int, trials: int, **options: Any) -> evidence.Trained:
    """One arm on one network."""
    import torch

    import tasks

    torch.set_num_threads(1)
    return evidence.train(tasks.get("word-evidence", **options), arm, seed, updates, batch=BATCH, trials=trials)


def arms(study: Study) -> None:
    """Criterion 4: three arms on the same phrases, starts and initial weights; ES on 0/1 accuracy, too, on the first network."""
    from joblib import delayed

    import tasks

    seeds, updates, trials, fitted = (1, 6, 200, 400) if study.quick else (3, 200, 2000, 3600)
    jobs = [(arm, study.seed + s) for s in range(seeds) for arm in (CONTROL, ES, BPTT)]
    jobs += [] if study.quick else [(DISCRETE, study.seed)]
    found: dict[tuple[str, int], evidence.Trained] = {}
    with study.progress(f"word evidence, {updates} updates of {BATCH} phrases") as update:
        for job, result in zip(
            jobs, study.parallel(delayed(trained)(*job, updates, trials) for job in jobs), strict=True
        ):
            found[job] = result
            update(len(found), len(jobs), f"{job[0]} {result.accuracy:.3f}")
            study.array(f"evidence/{job[0]}/{job[1]}/losses", result.losses)
            study.array(f"evidence/{job[0]}/{job[1]}/curve", result.curve)
    task = tasks.get("word-evidence")
    with study.progress("ceiling of the readout"):
        ceilings = {study.seed + s: evidence.ceiling(task, study.seed + s, fitted, trials) for s in range(seeds)}
    rows: list[tuple[Any, ...]] = []
    for (arm, seed), r in found.items():
        curve = " ".join(f"{a:.3f}" for _, a in r.curve)
        rows.append((arm, seed, curve, r.moved[0] / r.moved[1], float(np.mean(r.losses[-20:])), r.skipped, r.seconds))
    rows += [
        (f"readout only, logistic fit to {fitted}", seed, f"{a:.3f}", 0.0, "", 0, "") for seed, a in ceilings.items()
    ]
    marks = "/".join(str(k) for k, _ in found[jobs[0]].curve)
    header = (
        "arm",
        "network",
        f"test accuracy at {marks}",
        "|change of W_rec|/|W_rec|",
        "last losses",
        "skipped",
        "seconds",
    )
    study.table(f"word evidence, 200 ms, {trials} test phrases", header, rows)
    curves = {arm: [np.array(r.curve) for (a, _), r in found.items() if a == arm] for arm in evidence.ARMS}
    drawn = {arm: (c[0][:, 0], np.transpose([x[:, 1] for x in c])) for arm, c in curves.items() if c}
    draw(study, "evidence", "update", "test accuracy", drawn)
    judge_arms(study, found, ceilings, seeds)


def judge_arms(
    study: Study, found: dict[tuple[str, int], evidence.Trained], ceilings: dict[int, float], seeds: int
) -> None:
    each = {arm: [found[arm, study.seed + s].accuracy for s in range(seeds)] for arm in (CONTROL, ES, BPTT)}
    moved = min(found[ES, study.seed + s].moved[0] for s in range(seeds))
    study.criterion("4 ES: |change of W_rec|, least", moved, "> 0", moved > 0)
    gain = float(np.mean(each[ES]) - np.mean(list(ceilings.values())))
    best = float(np.mean(each[ES]))
    least = min(min(v) for v in each.values())
    n = "3" if not study.quick else str(seeds)
    study.criterion(f"4 ES minus the readout's ceiling, mean of {n}", gain, ">= 0.03", gain >= 0.03, full=True)
    study.criterion(f"4 ES: test accuracy, mean of {n}", best, ">= 0.74", best >= 0.74, full=True)
    study.criterion("4 every arm: test accuracy, least", least, "> 0.33 (chance)", least > 0.33, full=True)
    bptt, control = float(np.mean(each[BPTT])), float(np.mean(each[CONTROL]))
    study.table(
        "word evidence: means",
        ("ES", "BPTT", "readout only", "its ceiling"),
        [(best, bptt, control, np.mean(list(ceilings.values())))],
    )


def longer(study: Study) -> None:
    """BPTT where its gradients are unusable at the start: 1 s, W_rec x5. What comes out is reported."""
    from joblib import delayed

    if study.quick:
        return
    options = {"word_steps": 200, "coupling": 5.0}
    jobs = [(arm, study.seed + s) for s in range(2) for arm in (CONTROL, BPTT)]
    calls = (delayed(trained)(*job, 100, 1000, **options) for job in jobs)
    with study.progress("word evidence, 1 s, W_rec x5"):
        found = dict(zip(jobs, study.parallel(calls), strict=True))
    rows = [
        (arm, seed, " ".join(f"{a:.3f}" for _, a in r.curve), r.skipped, r.seconds) for (arm, seed), r in found.items()
    ]
    header = ("arm", "network", "test accuracy at 25/50/75/100", "updates skipped, gradient not finite", "seconds")
    study.table("word evidence, 1 s, W_rec x5, 100 updates, 1000 test phrases", header, rows)


# -- what an update costs ----------------------------------------------------------------------------------------


PRICE = {n: f"native, 2 threads, an ES update on {n}, processor seconds a thread" for n in ("1 phrase", "50 phrases")}


def cost(study: Study) -> None:
    """One ES update of the full network: 128 units, 2,000 steps, 100 candidates.

    Judged by processor time a thread, which is the time on processors that do nothing else: others' work doesn't count, beyond the
    caches that it takes. The authors' batch has 50 phrases; its sums alone are 2,000 * 100 * 50 * 128 * (128 + 50) products.
    """
    import tasks
    from neuro import learning

    if study.quick:
        for name in PRICE.values():
            study.unmeasured(name, "< 2")
        return
    full, rows = tasks.get("word-evidence", units=128, words=49, dt=0.1), []
    each = {"1 phrase": 1, "10 phrases": 10, "50 phrases": 50}
    cases = [("native", threads, 50, batch) for batch in each for threads in (1, 2)]
    cases += [("torch", 1, 50, "1 phrase"), ("torch", 1, 50, "10 phrases"), ("brian2", 1, 2, "1 phrase")]
    for backend, threads, pairs, batch in cases:
        rule = learning.get("es", **{**evidence.SEARCH, "samples": pairs})
        with study.progress(f"{backend}, {batch}"):
            wall, cpu = (x * 50 / pairs for x in evidence.update_seconds(full, backend, threads, rule, each[batch]))
        note = "" if pairs == 50 else f"extrapolated from {2 * pairs} candidates"
        rows.append((backend, threads, batch, wall, cpu, os.getloadavg()[0], note))
        if (backend, threads) == ("native", 2) and batch in PRICE:
            study.criterion(PRICE[batch], cpu / threads, "< 2", cpu < 2 * threads)
    header = ("backend", "threads", "batch", "seconds", "processor seconds", "load of the machine", "")
    title = f"an update of ES, 128 units, 2,000 steps, 100 candidates, on {os.cpu_count()} processors"
    study.table(title, header, rows)


PARTS: tuple[Callable[[Study], None], ...] = (neuron, turn_off, discrete, horizon, arms, longer, cost)


def run(study: Study) -> None:
    for part in PARTS:
        part(study)
