"""Neural ODEs by evolution strategies and by BPTT: a spiral, and Robertson's stiff reactions (morris-lecar-es.md 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twinspike.study import Study

MINUTES = 12
PAIRS = (16, 32, 64, 128, 256)  # an antithetic update evaluates twice as many
SIGMAS = (1e-1, 1e-2, 1e-3)
GOAL, CAP = 0.02, 400
MEAN = 10  # batches, over which a loss is averaged
STEP = 50  # updates of a part of Robertson's curve
FIXTURE = {40.0: (0.7158271, 9.18554e-6, 0.2841637), 1e5: (1.786592e-2, 7.274751e-8, 0.982134)}


def fit(
    task_name: str, rule_name: str, seed: int, updates: int, goal: float = 0.0, options: Mapping[str, Any] | None = None, **of_task: Any
) -> dict[str, Any]:  # fmt: skip
    """Losses of the batches, until the mean of the last MEAN reaches the goal; the error on all points; the parameters."""
    import numpy as np
    import torch

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    task = tasks.get(task_name, **of_task)
    program = backends.get("native").compile(task.network(seed), dtype="float64")
    rule = learning.get(rule_name, **{**task.settings.rules[rule_name], **(options or {})})
    parameters: Mapping[str, Any] = values(program.network)
    state = rule.init(program)
    losses: list[float] = []
    random = streams.generator(seed, "study/neural-ode")
    while len(losses) < updates and not reached(losses, goal):
        for batch in task.train_batches(random, task.settings.batch):
            parameters, state, metrics = rule.step(program, parameters, state, batch, task)
            losses.append(metrics["loss"])
            if len(losses) == updates or reached(losses, goal):
                break
    test = task.test_batch()
    found = program.run(parameters, test.inputs, task.record(), state=test.state)
    return {"losses": np.array(losses), "error": -task.metric(found, test), "parameters": dict(parameters)}


def reached(losses: Sequence[float], goal: float) -> bool:
    return len(losses) >= MEAN and sum(losses[-MEAN:]) / MEAN < goal


def means(losses: Any, updates: int) -> Any:
    """Of each MEAN consecutive losses, up to an update."""
    import numpy as np

    return np.convolve(losses[:updates], np.ones(MEAN) / MEAN, "valid")


def spiral(study: Study) -> None:
    """6: both kinds of learning from the same weights and pieces; both rates decay."""
    from joblib import delayed

    seeds = 1 if study.quick else 3
    limits = {"bptt": (100, 0.005), "es": (250, 0.01)}
    rows: list[tuple[Any, ...]] = []
    jobs = [(r, s) for r in limits for s in range(seeds)]
    lowest: dict[str, list[float]] = {r: [] for r in limits}
    calls = (delayed(fit)("spiral", r, study.seed + s, limits[r][0]) for r, s in jobs)
    with study.progress("spiral") as update:
        for number, result in enumerate(study.parallel(calls)):
            rule, seed = jobs[number]
            least = float(means(result["losses"], limits[rule][0]).min())
            lowest[rule].append(least)
            rows.append((rule, seed, float(result["losses"][0]), least, result["error"]))
            study.array(f"spiral/{rule}/{seed}/losses", result["losses"])
            update(number + 1, len(jobs), f"{rule}: {least:.4f}")
    header = ("rule", "seed", "first loss", f"lowest mean of {MEAN} batches", "error on the whole spiral")
    study.table("6 spiral, 200 hidden units", header, rows)
    for rule, (updates, limit) in limits.items():
        worst = max(lowest[rule])
        name = {"bptt": "BPTT", "es": "ES, 100 evaluations"}[rule]
        study.criterion(f"6 {name}: error by update {updates}, worst of {seeds}", worst, f"< {limit}", worst < limit)
    solves_itself(study)


def solves_itself(study: Study) -> None:
    """The network is the system of equations that it stands for: at every stage, not from step to step."""
    import numpy as np
    from scipy.integrate import solve_ivp

    import backends
    import tasks
    from neuro.compiler.parameters import values

    task = tasks.get("spiral")
    network = task.network(study.seed)
    inner, out = (values(network)[f"{n}.w"] for n in ("inner", "out"))
    ours = backends.get("native").compile(network, dtype="float64").run(
        inputs={"push": np.zeros((1, task.steps, 2))}, record=["y.y"]
    ).traces["y.y"][0]  # fmt: skip
    times = task.dt * np.arange(1, task.steps + 1)
    solved = solve_ivp(
        lambda t, y: np.tanh(y**3 @ inner) @ out, (0, times[-1]), [2.0, 0.0], "DOP853", times, rtol=1e-10, atol=1e-12
    )
    off = float(np.abs(ours - solved.y.T).max() / np.abs(ours).max())
    study.criterion("6 network against scipy's DOP853 over 25 s, off by", off, "<= 1e-4", off <= 1e-4)


def sweep(study: Study) -> None:
    """6: updates to a goal over the number of evaluations and the width of the search."""
    import numpy as np
    from joblib import delayed
    from scipy.stats import spearmanr

    if study.quick:
        study.unmeasured("6 updates to the goal over evaluations, rank correlation", "< -0.9")
        study.unmeasured("6 exponent of updates over evaluations", "between -1.5 and -0.5")
        return
    jobs = [(pairs, sigma) for sigma in SIGMAS for pairs in PAIRS]
    needed = np.full((len(SIGMAS), len(PAIRS)), np.nan)
    calls = (delayed(fit)("spiral", "es", study.seed, CAP, GOAL, {"samples": p, "sigma": s}) for p, s in jobs)
    with study.progress(f"sweep: updates to an error of {GOAL}") as update:
        for number, result in enumerate(study.parallel(calls)):
            count = len(result["losses"]) if reached(result["losses"], GOAL) else np.nan
            needed[divmod(number, len(PAIRS))] = count
            update(number + 1, len(jobs), f"{2 * jobs[number][0]} evaluations, sigma {jobs[number][1]:g}: {count:g}")
    evaluations = 2 * np.array(PAIRS)
    study.array("sweep/updates", needed)
    study.array("sweep/evaluations", evaluations)
    study.array("sweep/sigmas", SIGMAS)
    rows = [(f"{s:g}", *(float(n) for n in row)) for s, row in zip(SIGMAS, needed, strict=True)]
    study.table(f"6 updates until the error is {GOAL} (nan: more than {CAP})", ("sigma", *map(str, evaluations)), rows)
    curve = needed[SIGMAS.index(1e-2)]
    there = np.isfinite(curve)
    rank = float(spearmanr(evaluations[there], curve[there])[0]) if there.sum() > 2 else float("nan")
    study.criterion("6 updates to the goal over evaluations, rank correlation", rank, "< -0.9", rank < -0.9)
    slope = (
        float(np.polyfit(np.log(evaluations[there]), np.log(curve[there]), 1)[0]) if there.sum() > 2 else float("nan")
    )
    study.criterion("6 exponent of updates over evaluations", slope, "between -1.5 and -0.5", -1.5 <= slope <= -0.5)
    picture(study, evaluations, needed)


def picture(study: Study, evaluations: Any, needed: Any) -> None:
    """Updates to the goal over evaluations, one line a sigma."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for sigma, row in zip(SIGMAS, needed, strict=True):
        axes.loglog(evaluations, row, "o-", label=f"sigma {sigma:g}")
    axes.set(xlabel="evaluations an update", ylabel=f"updates until the error is {GOAL}")
    axes.legend()
    study.figure("sweep", figure)


def stiff(study: Study) -> None:
    """7: Robertson's reactions: the truth, and what is learnt of it."""
    import numpy as np
    from joblib import delayed

    from tasks.neural_odes import robertson

    found = robertson(np.array(list(FIXTURE)))
    off = float(np.abs(found / np.array(list(FIXTURE.values())) - 1).max())
    study.criterion("7 Robertson's concentrations, relative error", off, "<= 1e-5", off <= 1e-5)
    updates = 100 if study.quick else 400
    arms: dict[str, tuple[str, dict[str, Any]]] = {
        "ES, 5 units a layer": ("es", {}),
        "BPTT, 5 units a layer": ("bptt", {}),
    }
    if not study.quick:
        arms |= {"ES, 50 units a layer": ("es", {"width": 50}), "BPTT, 50 units a layer": ("bptt", {"width": 50})}
    rows, curves = [], {}
    calls = (delayed(fit)("robertson", rule, study.seed, updates, **options) for rule, options in arms.values())
    for label, result in zip(arms, study.parallel(calls), strict=True):
        curve = result["losses"].reshape(-1, STEP).mean(axis=1)
        curves[label] = curve
        study.array(f"robertson/{label}/losses", result["losses"])
        rows.append(
            (label, float(result["losses"][0]), *(float(c) for c in curve[[0, len(curve) // 2, -1]]), result["error"])
        )
    header = (
        "arm",
        "first loss",
        f"mean of the first {STEP}",
        "in the middle",
        f"of the last {STEP}",
        "error at the end",
    )
    study.table(f"7 Robertson, {updates} updates, mean absolute error over the largest concentration", header, rows)
    falls = np.diff(curves["ES, 5 units a layer"])
    study.criterion(f"7 ES: largest change from {STEP} updates to the next", float(falls.max()), "< 0", falls.max() < 0)
    first = rows[0][1]
    study.criterion("7 ES: first loss", first, "about 0.3", 0.2 <= first <= 0.4)


def run(study: Study) -> None:
    spiral(study)
    sweep(study)
    stiff(study)
