"""Initial gain, Lyapunov exponents and gradient flossing: what decides whether local rules learn (initial-connectivity.md 1 to 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinspike.study import Study

MINUTES = 8
GAINS = (0.1, 0.5, 1.0, 1.5, 2.0, 3.0)
RULES = ("bptt", "eprop", "rflo")
FIXTURE = {
    0.5: (-0.656, 0.031),
    0.8: (-0.186, 0.031),
    1.0: (-0.001, 0.002),
    1.3: (0.010, 0.012),
    1.5: (0.046, 0.024),
    2.0: (0.136, 0.018),
}
UPDATES, LAST, END = 300, 50, 10
TRIALS = 20  # of which the first only aligns the directions
FLOSS = {"exponents": 8, "form": "local", "trials": 4, "trainable": ("loop.w",), "learning_rate": 3e-3}
FLOSSINGS = 60


def task_of(gain: float, **options: Any) -> Any:
    import tasks

    return tasks.get("match-to-sample", gain=gain, **options)


def program_of(network: Any) -> Any:
    import backends

    return backends.get("native").compile(network, dtype="float64")


# -- one network -------------------------------------------------------------------------------------------


def exponent(program: Any, task: Any, parameters: Mapping[str, Any], seed: int) -> float:
    """The largest exponent, 1/step, of one run through TRIALS trials; the same trials before and after training."""
    import numpy as np

    from neuro.analysis import lyapunov

    inputs, steps = lyapunov.in_sequence(task.sample(np.random.default_rng(seed), TRIALS).inputs, TRIALS)
    recording = program.run(parameters, inputs, record=lyapunov.needed(program.network))
    found = lyapunov.spectrum(program.network, recording, 1, parameters=parameters, transient=steps)
    return float(found.per_step[0])


def learn(
    gain: float, rule_name: str, seed: int, updates: int, start: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Accuracy in each update, and the largest exponent before and after. start: parameters instead of the network's."""
    import numpy as np
    import torch

    from neuro import learning
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    task = task_of(gain)
    program = program_of(task.network(seed))
    options: dict[str, Any] = {"feedback_std": 1 / np.sqrt(task.hidden), "seed": seed} if rule_name == "rflo" else {}
    rule = learning.get(rule_name, learning_rate=1e-3, optimiser="adam", **options)
    parameters = {**values(program.network), **(start or {})}
    before = exponent(program, task, parameters, seed)
    state, rng, accuracy = rule.init(program, parameters), np.random.default_rng(seed), []
    for _ in range(updates):
        batch = task.sample(rng, task.settings.batch)
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
        accuracy.append(task.metric(program.run(parameters, batch.inputs, record=task.record()), batch))
    return {"accuracy": accuracy, "before": before, "after": exponent(program, task, parameters, seed)}


def floss(gain: float, seed: int, updates: int) -> dict[str, Any]:
    """Parameters after local flossing, exponents on the way, and how the full update points where local flossing begins."""
    import numpy as np
    import torch

    from neuro import learning
    from neuro.analysis.gradients import measure
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    task = task_of(gain)
    program = program_of(task.network(seed))
    rule = learning.get("flossing", **FLOSS)
    full = learning.get("flossing", **{**FLOSS, "form": "full"})
    parameters: Mapping[str, Any] = values(program.network)
    first = task.sample(np.random.default_rng(seed), FLOSS["trials"])
    truth, found = (r.gradient(program, parameters, first, task)["loop.w"].ravel() for r in (full, rule))
    state, rng, losses = rule.init(program, parameters), np.random.default_rng(seed + 1), []
    for _ in range(updates):
        parameters, state, metrics = rule.step(program, parameters, state, task.sample(rng, FLOSS["trials"]), task)
        losses.append(metrics["loss"])
    after = exponent(program, task, parameters, seed)
    return {"parameters": dict(parameters), "after": after, "losses": losses, "cosine": measure(found, truth).cosine}


def rescaled(gain: float, seed: int, wanted: float) -> dict[str, Any]:
    """The control: recurrent weights times one number, found by bisection, for the same largest exponent."""
    from scipy.optimize import brentq

    from neuro.compiler.parameters import values

    task = task_of(gain)
    program = program_of(task.network(seed))
    start = values(program.network)

    def off(factor: float) -> float:
        return exponent(program, task, {**start, "loop.w": factor * start["loop.w"]}, seed) - wanted

    factor = float(brentq(off, 1.0, 4.0 / gain, xtol=1e-3))
    return {"factor": factor, "parameters": {"loop.w": factor * start["loop.w"]}, "before": off(factor) + wanted}


def score(result: Mapping[str, Any]) -> tuple[float, float]:
    """Mean accuracy of the last updates, and of all."""
    import numpy as np

    return float(np.mean(result["accuracy"][-LAST:])), float(np.mean(result["accuracy"]))


# -- criteria ----------------------------------------------------------------------------------------------


def free(gain: float, seed: int, size: int = 200, leak: float = 1.0) -> Any:
    """h <- (1 - leak) h + leak W tanh(h), from 0.5 N(0, 1), without inputs."""
    import warnings

    import numpy as np

    from neuro import Network, Normal, Population, Projection, library, quantity
    from tasks.match_to_sample import sent

    cells = Population("c", library.get("leaky_tanh"), size, initial={"x": Normal(quantity(0, ""), quantity(0.5, ""))})
    weights = Normal(quantity(0.0, ""), quantity(gain / np.sqrt(size), ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dt = tau is meant: a map
        return Network(
            (cells,), (Projection("loop", "c", "c", sent, weights),), (), dt=quantity(10 * leak, "ms"), seed=seed
        )


def largest(
    gain: float, seed: int, steps: int = 2200, leak: float = 1.0, *, twice: bool = False
) -> tuple[float, float]:
    """The largest exponent of a free network by tangents, and by two runs where that is asked."""
    from neuro.analysis import lyapunov

    network = free(gain, seed, leak=leak)
    program = program_of(network)
    recording = program.run(record=lyapunov.needed(network), steps=steps)
    found = lyapunov.spectrum(network, recording, 10 if twice else 1, transient=200).per_step[0]
    second = lyapunov.benettin(program, steps, transient=200).per_step[0] if twice else float("nan")
    return float(found), float(second)


def fixtures(study: Study) -> None:
    """1: exponents of free networks."""
    import numpy as np
    from joblib import delayed

    gains, networks = ((0.8, 1.0, 2.0), 1) if study.quick else (tuple(FIXTURE), 5)
    jobs = [(g, study.seed + s) for g in gains for s in range(networks)]
    found: dict[float, list[float]] = {g: [] for g in gains}
    with study.progress(f"exponents of {len(jobs)} free networks") as update:
        for number, (value, _) in enumerate(study.parallel(delayed(largest)(g, s) for g, s in jobs)):
            found[jobs[number][0]].append(value)
            update(number + 1, len(jobs), "")
    rows = [(g, float(np.mean(v)), float(np.std(v)), *FIXTURE[g]) for g, v in found.items()]
    study.table(
        f"1 largest exponent, {networks} networks of 200 units", ("gain", "mean", "sd", "prototype", "its sd"), rows
    )
    far = [abs(mean - wanted) / sd for _, mean, _, wanted, sd in rows]
    study.criterion("1 distance from the prototype's means, in its sd", max(far), "<= 2", max(far) <= 2, full=True)
    mean = {g: m for g, m, *_ in rows}
    study.criterion("1 exponent at gain 0.8", mean[0.8], "< -0.1", mean[0.8] < -0.1)
    study.criterion("1 exponent at gain 1, size", abs(mean[1.0]), "< 0.05", abs(mean[1.0]) < 0.05)
    study.criterion("1 exponent at gain 2", mean[2.0], "> 0.05", mean[2.0] > 0.05)
    ours, twice = largest(1.5, study.seed, twice=True)
    study.criterion(
        "1 by tangents and by two runs, difference", abs(ours - twice), "<= 0.002", abs(ours - twice) <= 0.002
    )
    floor = largest(0.01, study.seed, 700, leak=0.2)[0] - float(np.log(0.8))
    study.criterion("1 floor at gain 0.01, off by", abs(floor), "<= 0.01", abs(floor) <= 0.01)


def identities(study: Study) -> None:
    """2: what the rules have in common, in float64."""
    import numpy as np

    import backends
    from neuro import learning
    from neuro.analysis.gradients import ALL, measures
    from neuro.compiler.parameters import values

    task = task_of(1.0, hidden=12)
    network = task.network(study.seed)
    programs = {n: backends.get(n).compile(network, dtype="float64") for n in ("torch", "reference")}
    start, batch = values(network), task.sample(np.random.default_rng(0), 8)

    def gradient(rule: str, backend: str = "torch", parameters: Any = None, **options: Any) -> dict[str, Any]:
        return dict(learning.get(rule, **options).gradient(programs[backend], parameters or start, batch, task))

    detached = gradient("eprop")
    off = measures(gradient("eprop", "reference", form="traces"), detached)[ALL].deviation
    study.criterion("2 traces against the detached graph", off, "<= 1e-6", off <= 1e-6)
    symmetric = measures(gradient("rflo", feedback="symmetric"), detached)[ALL].deviation
    study.criterion("2 RFLO fed back by the readout against e-prop", symmetric, "<= 1e-9", symmetric <= 1e-9)
    unjoined = {**start, "loop.w": np.zeros_like(start["loop.w"])}
    alike = measures(gradient("eprop", parameters=unjoined), gradient("bptt", parameters=unjoined))[ALL].deviation
    study.criterion("2 e-prop against BPTT at W = 0", alike, "<= 1e-9", alike <= 1e-9)
    cosine = measures(detached, gradient("bptt"))["loop.w"].cosine
    study.table("2 gain 1, untrained", ("cosine of e-prop and BPTT, W",), [(cosine,)])


def sweep(study: Study) -> None:
    """3 and 4: gains times rules, and what training does to the largest exponent."""
    import numpy as np
    from joblib import delayed

    gains, networks = ((0.5,), 1) if study.quick else (GAINS, 3)
    rules = ("bptt", "eprop") if study.quick else RULES
    jobs = [(g, r, study.seed + s) for g in gains for r in rules for s in range(networks)]
    runs: dict[tuple[float, str], list[dict[str, Any]]] = {}
    with study.progress(f"{len(jobs)} runs of {UPDATES} updates") as update:
        for number, result in enumerate(study.parallel(delayed(learn)(g, r, s, UPDATES) for g, r, s in jobs)):
            gain, rule, seed = jobs[number]
            runs.setdefault((gain, rule), []).append(result)
            study.array(f"sweep/{rule}/{gain}/{seed}/accuracy", result["accuracy"])
            study.array(f"sweep/{rule}/{gain}/{seed}/exponent", [result["before"], result["after"]])
            update(number + 1, len(jobs), f"gain {gain:g}, {rule}: {score(result)[0]:.3f}")
    mean = {key: np.mean([(*score(r), r["before"], r["after"]) for r in found], axis=0) for key, found in runs.items()}
    rows = [(g, *(float(x) for r in rules for x in mean[g, r])) for g in gains]
    header = ("gain", *(f"{r} {what}" for r in rules for what in ("acc", "AUC", "before", "after")))
    study.table(f"3 accuracy and largest exponent, mean of {networks}", header, rows)
    chance, solved = float(mean[0.5, "eprop"][0]), float(mean[0.5, "bptt"][0])
    study.criterion("3 e-prop at gain 0.5, accuracy", chance, "<= 0.6", chance <= 0.6)
    study.criterion("3 BPTT at gain 0.5, accuracy", solved, ">= 0.95", solved >= 0.95)
    if study.quick:
        for rule in ("e-prop", "RFLO"):
            study.unmeasured(f"3 {rule}: gain of the largest AUC", "in [1, 2.5], AUC less on both sides")
        study.unmeasured("3 RFLO, accuracy at gain 2 less that at gain 3", ">= 0.1")
    else:
        for rule, name in (("eprop", "e-prop"), ("rflo", "RFLO")):
            curve = [float(mean[g, rule][1]) for g in gains]
            best = gains[int(np.argmax(curve))]
            inside = 1 <= best <= 2.5 and curve[0] < max(curve) and curve[-1] < max(curve)
            study.criterion(f"3 {name}: gain of the largest AUC", best, "in [1, 2.5], AUC less on both sides", inside)
        fall = float(mean[2.0, "rflo"][0] - mean[3.0, "rflo"][0])
        study.criterion("3 RFLO, accuracy at gain 2 less that at gain 3", fall, ">= 0.1", fall >= 0.1)
        curves(study, gains, mean)
    demand(study, {key: found for key, found in runs.items() if key[0] <= 1})


def demand(study: Study, runs: Mapping[tuple[float, str], list[dict[str, Any]]]) -> None:
    """4: from small gains, runs that solve the task have raised the exponent; those that don't, haven't."""
    import numpy as np

    every = [r for found in runs.values() for r in found]
    ends_at = [float(np.mean(r["accuracy"][-END:])) for r in every]  # when the exponent is measured
    solved = [r for r, accuracy in zip(every, ends_at, strict=True) if accuracy >= 0.95]
    failed = [r for r, accuracy in zip(every, ends_at, strict=True) if accuracy < 0.6]
    least = min((r["after"] - r["before"] for r in solved), default=float("nan"))
    study.criterion(f"4 {len(solved)} runs that solve it: exponent raised by at least", least, ">= 0.01", least >= 0.01)
    ends = [r["after"] for r in solved]
    inside = bool(ends) and min(ends) >= -0.06 and max(ends) <= 0.01
    study.criterion(
        "4 and ends between",
        f"{min(ends, default=float('nan')):.3f}, {max(ends, default=float('nan')):.3f}",
        "-0.06, 0.01",
        inside,
        full=True,
    )
    moved = max((abs(r["after"] - r["before"]) for r in failed), default=float("nan"))
    study.criterion(f"4 {len(failed)} runs that fail: exponent moved by at most", moved, "<= 0.05", moved <= 0.05)


def flossing(study: Study) -> None:
    """5: local flossing before training; the control has the same exponent by one factor on all recurrent weights."""
    from joblib import delayed

    gains = (0.5,) if study.quick else (0.1, 0.5)
    found = list(study.parallel(delayed(floss)(g, study.seed, FLOSSINGS) for g in gains))
    controls = [rescaled(g, study.seed, f["after"]) for g, f in zip(gains, found, strict=True)]
    starts = [None, *(f["parameters"] for f in found), *(c["parameters"] for c in controls)]
    names = ("as drawn", "flossed", "rescaled")
    rules = ("eprop",) if study.quick else RULES
    jobs = [(i, w, r) for i, _ in enumerate(gains) for w in range(3) for r in rules]
    chosen = [starts[0 if not w else 1 + i + (w - 1) * len(gains)] for i, w, _ in jobs]
    results = dict(zip(jobs, study.parallel(
        delayed(learn)(gains[i], r, study.seed, UPDATES, s) for (i, _, r), s in zip(jobs, chosen, strict=True)
    ), strict=True))  # fmt: skip
    rows = [(gains[i], names[w], r, *score(x), x["before"], x["after"]) for (i, w, r), x in results.items()]
    study.table("5 before training", ("gain", "weights", "rule", "acc", "AUC", "exponent before", "after"), rows)
    cosines = [(g, f["cosine"], c["factor"]) for g, f, c in zip(gains, found, controls, strict=True)]
    study.table("5 update of full and of local flossing", ("gain", "cosine", "factor of the control"), cosines)
    for i, (gain, made) in enumerate(zip(gains, found, strict=True)):
        drawn, flossed = (results[i, w, "eprop"] for w in (0, 1))
        fall = abs(drawn["before"] / flossed["before"])
        study.criterion(f"5 gain {gain:g}: exponent falls by a factor of", fall, ">= 5", fall >= 5)
        accuracy, area = score(flossed)
        study.criterion(f"5 gain {gain:g}: e-prop flossed, accuracy", accuracy, ">= 0.95", accuracy >= 0.95)
        study.criterion(f"5 gain {gain:g}: e-prop flossed, AUC", area, ">= 0.85", area >= 0.85)
        chance = score(drawn)[0]
        study.criterion(f"5 gain {gain:g}: e-prop as drawn, accuracy", chance, "<= 0.6", chance <= 0.6)
        for name, array in made["parameters"].items():
            study.array(f"flossed/{gain:g}/{name}", array)
        study.array(f"flossed/{gain:g}/losses", made["losses"])


def curves(study: Study, gains: tuple[float, ...], mean: Mapping[tuple[float, str], Any]) -> None:
    """AUC and exponents over the gain."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    right.plot(gains, [mean[g, "bptt"][2] for g in gains], "o:", color="0.5", label="before training")
    for rule in RULES:
        left.plot(gains, [mean[g, rule][1] for g in gains], "o-", label=rule)
        right.plot(gains, [mean[g, rule][3] for g in gains], "o-", label=f"after {rule}")
    for axes, text in ((left, "mean accuracy of all updates"), (right, "largest exponent, 1/step")):
        axes.set(xlabel="gain of the recurrent weights", ylabel=text)
        axes.legend(fontsize=8)
    study.figure("gains", figure)


def run(study: Study) -> None:
    fixtures(study)
    identities(study)
    sweep(study)
    flossing(study)
