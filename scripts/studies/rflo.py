"""RFLO against BPTT and a frozen network on the periodic task, feedback alignment, and the cut's cosine (rflo.md R1, R2, R4)."""

from __future__ import annotations

from typing import Any

from study import Study

RULES = ("rflo", "bptt", "readout only (control)")


def learn(seed: int, rule_name: str, updates: int, backend: str = "auto") -> dict[str, Any]:
    """Losses and alignment of readout and feedback over training, from the same initial weights for every rule."""
    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.parameters import values

    task = tasks.get("rflo")
    program = backends.get(backend).compile(task.network(seed), dtype="float64")
    feedback = learning.get("rflo", feedback_std=1.0, seed=seed).memory(program)["readout"]
    options: dict[str, Any] = {"optimiser": "sgd", "learning_rate": 0.03, "trainable": ("loop.w", "readout.w")}
    if rule_name == "rflo":
        rule = learning.get("rflo", feedback_std=1.0, seed=seed, **options)
    else:
        trained = options["trainable"] if rule_name == "bptt" else ("readout.w",)
        rule = learning.get("bptt", **{**options, "trainable": trained})
    state, parameters, batch = rule.init(program), dict(values(program.network)), task.batch()
    losses, alignment = [], []
    for update in range(updates):
        if update % 100 == 0:
            out = parameters["readout.w"]
            alignment.append(float(np.sum(out * feedback) / np.linalg.norm(out) / np.linalg.norm(feedback)))
        parameters, state, metrics = rule.step(program, parameters, state, batch, task)
        losses.append(metrics["loss"])
    return {"losses": losses, "alignment": alignment}


def symmetric_cosine(seed: int, gain: float) -> float:
    """Cosine of the recurrent update with symmetric feedback and the true gradient, untrained."""
    import backends
    import tasks
    from neuro import learning
    from neuro.analysis.gradients import measure
    from neuro.parameters import values

    task = tasks.get("rflo", gain=gain)
    program = backends.get("torch").compile(task.network(seed), dtype="float64")
    start = values(program.network)
    truth, found = (
        learning.get(n, trainable=("loop.w",)).gradient(program, start, task.batch(), task)["loop.w"].ravel()
        for n in ("bptt", "eprop")
    )
    return measure(found, truth).cosine


def run(study: Study) -> None:
    import numpy as np
    from joblib import Parallel, delayed

    seeds, updates = (2, 1000) if study.quick else (4, 10_000)
    jobs = [(rule, study.seed + s) for rule in RULES for s in range(seeds)]
    done = []
    with study.progress(f"{seeds} runs of {updates} trials") as update:
        for result in Parallel(n_jobs=2, return_as="generator")(delayed(learn)(s, r, updates) for r, s in jobs):
            done.append(result)
            update(len(done), len(jobs), "")
    final: dict[str, list[float]] = {r: [] for r in RULES}
    ends: dict[str, list[tuple[float, float]]] = {r: [] for r in RULES}
    for (rule, seed), result in zip(jobs, done, strict=True):
        study.array(f"{rule}/{seed}/losses", result["losses"])
        study.array(f"{rule}/{seed}/alignment", result["alignment"])
        final[rule].append(float(np.mean(result["losses"][-100:])))
        ends[rule].append((result["alignment"][0], result["alignment"][-1]))
    rows = [(r, float(np.median(v)), min(v), max(v), float(np.mean([e[1] for e in ends[r]]))) for r, v in final.items()]
    study.table(f"loss after {updates} trials", ("rule", "median", "lowest", "highest", "alignment"), rows)
    median = {r: float(np.median(v)) for r, v in final.items()}
    control = median[RULES[2]]
    study.criterion("R1 RFLO, median loss", median["rflo"], "<= 2e-3", median["rflo"] <= 2e-3)
    study.criterion("R1 RFLO over BPTT", median["rflo"] / median["bptt"], "<= 3", median["rflo"] <= 3 * median["bptt"])
    study.criterion("R1 control over RFLO", control / median["rflo"], ">= 10", control >= 10 * median["rflo"])
    first, last = (float(np.mean([e[i] for e in ends["rflo"]])) for i in (0, 1))
    study.criterion("R2 alignment at the start", first, "|cos| <= 0.3", abs(first) <= 0.3)
    study.criterion("R2 alignment at the end", last, ">= 0.6", last >= 0.6)
    other = max(abs(e[1]) for e in ends["bptt"])
    study.criterion("R2 alignment with BPTT stays", other, "<= 0.2", other <= 0.2)
    trials = 100 if study.quick else 500
    ours, theirs = (learn(study.seed, "rflo", trials, backend)["losses"] for backend in ("torch", "brian2"))
    study.array("brian2/losses", theirs)
    away = np.flatnonzero(np.abs(np.subtract(ours, theirs)) > 1e-6 * np.asarray(ours))  # training amplifies rounding
    same = int(away[0]) if len(away) else trials
    study.criterion(f"trained in Brian2 alone, {trials} trials: loss over the first", theirs[-1] / theirs[0], "<= 0.5", theirs[-1] <= 0.5 * theirs[0])  # fmt: skip
    study.criterion("trained in Brian2 alone: torch's losses to 1e-6 until trial", same, ">= 100", same >= 100)
    gains = (0.5, 0.75, 1.0, 1.25, 1.5)
    curve = [float(np.median([symmetric_cosine(study.seed + s, g) for s in range(5)])) for g in gains]
    study.table(
        "R4 cosine of symmetric-feedback RFLO with BPTT, untrained, median of 5",
        ("gain", "cosine"),
        list(zip(gains, curve)),
    )
    study.array("R4/cosine", curve)
    study.criterion("R4 cosine at gain 0.5", curve[0], ">= 0.9", curve[0] >= 0.9)
