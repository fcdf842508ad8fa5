"""e-prop learns pattern generation and evidence accumulation near BPTT, far above a fitted readout (specification eprop.md, 5-8).

Pattern generation is learned in Brian2 alone as well, where torch simulates nothing; and a delayed choice is learned from
rewards, by the online form of the actor-critic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinspike.study import Study

MINUTES = 4  # from processor seconds an update: 0.009 (pattern), 0.12 (evidence), 0.2 (Brian2), 0.73 (rewards)
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "BPTT": ("bptt", {}),
    "symmetric": ("eprop", {"feedback": "symmetric"}),
    "random": ("eprop", {"feedback": "random"}),
    "control": ("bptt", {"trainable": ("readout.w",)}),
}
SAME = 20  # updates, in float32
EARLY = 30  # updates after which symmetric e-prop is below the control
FULL = {  # what needs more updates than a quick run has: criterion -> wanted
    "5 random e-prop, NMSE at 1000 and at 2000": "< 0.20, < 0.10",
    "5 symmetric below random at 500, mean of 3": "< random",
    "5 symmetric e-prop over BPTT": "<= 2",
    "5 control over random e-prop": "> 2",
    "6 random e-prop, error": "<= 0.15",
    "6 random e-prop, accuracy above the control": "> 0",
    "6 random e-prop, accuracy below BPTT": "<= 0.1",
    "6 random e-prop without adaptive cells, error": ">= 0.4",
    "8 reward-based e-prop: test accuracy": ">= 0.7, chance 0.5",
}
SMALL = {"cues": 3, "delay": 400, "tau_a": 0.5}


def learn(
    name: str, rule_name: str, seed: int, updates: int, batch: int, options: dict[str, Any], backend: str = "auto"
) -> list[float]:
    """The task's metric before each update, on the batch of that update."""
    import torch

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    task = tasks.get(name, **options)
    kind, own = RULES[rule_name]
    rule = learning.get(kind, **{**task.settings.rules[kind], **own})
    chosen = backends.get(backend)
    program = chosen.compile(task.network(seed), **task.settings.for_backend(chosen.name))
    state, parameters = rule.init(program), dict(values(program.network))
    found: list[float] = []
    random = streams.generator(seed, "study/eprop")
    while len(found) < updates:
        for data in task.train_batches(random, batch):
            recording = program.run(parameters, data.inputs, tuple(task.record()))
            found.append(float(task.metric(recording, data)))
            parameters, state, _ = rule.step(program, parameters, state, data, task)
            if len(found) == updates:
                break
    return found


def curves(study: Study, title: str, jobs: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """label -> the metric along training. jobs: label -> arguments of `learn`."""
    import numpy as np
    from joblib import delayed

    found: dict[str, Any] = {}
    with study.progress(title) as update:
        calls = (delayed(learn)(*job) for job in jobs.values())
        for label, curve in zip(jobs, study.parallel(calls), strict=True):
            found[label] = np.array(curve)
            study.array(f"{title}/{label}", curve)
            update(len(found), len(jobs), label)
    return found


def errors(study: Study, jobs: Mapping[str, tuple[Any, ...]], same: int) -> dict[str, Any]:
    """NMSE of jobs on pattern generation; what both quick and full runs judge of it. same: updates on torch, too."""
    jobs = {**jobs, "random, on torch": ("pattern", "random", study.seed, same, 1, {}, "torch")}
    found = {label: 1 - curve for label, curve in curves(study, "pattern", jobs).items()}
    apart = float(abs(found["random, on torch"] - found["random"][:same]).max())
    name = f"torch gives the same NMSE for {same} updates: largest difference"
    study.criterion(name, apart, "<= 1e-3", apart <= 1e-3)
    symmetric, control = (float(found[rule][EARLY - 5 : EARLY].mean()) for rule in ("symmetric", "control"))
    name = f"5 symmetric e-prop over control after {EARLY} updates"
    study.criterion(name, symmetric / control, "< 1", symmetric < control)
    return found


def pattern(study: Study) -> None:
    """Normalised squared error of one trial of 1 s; 5 updates are averaged."""
    half, whole, long = 500, 1000, 2000
    jobs: dict[str, tuple[Any, ...]] = {
        rule: ("pattern", rule, study.seed, long if rule == "random" else whole, 1, {}) for rule in RULES
    }
    runs = 3
    for run in range(1, runs):
        jobs |= {
            f"{rule}, run {run}": ("pattern", rule, study.seed + run, half, 1, {}) for rule in ("symmetric", "random")
        }
    found = errors(study, jobs, SAME)

    def at(label: str, updates: int) -> float:
        return float(found[label][updates - 5 : updates].mean())

    rows = [(rule, at(rule, half), at(rule, whole)) for rule in RULES]
    study.table("pattern generation: NMSE", ("rule", f"{half} updates", f"{whole} updates"), rows)
    error, control = at("random", whole), at("control", whole)
    study.criterion(f"5 random e-prop, NMSE at {whole}", error, "< 0.20", error < 0.20)
    last = at("random", long)
    study.criterion(f"5 random e-prop, NMSE at {long}", last, "< 0.10", last < 0.10)
    labels = [f"{{}}{f', run {run}' if run else ''}" for run in range(runs)]
    symmetric, random = (sum(at(x.format(rule), half) for x in labels) / runs for rule in ("symmetric", "random"))
    study.criterion(
        f"5 symmetric below random at {half}, mean of {runs}", symmetric, f"< {random:.3g}", symmetric < random
    )
    near = at("symmetric", whole) / at("BPTT", whole)
    study.criterion("5 symmetric e-prop over BPTT", near, "<= 2", near <= 2)
    study.criterion("5 control over random e-prop", control / error, "> 2", control > 2 * error)


def evidence(study: Study) -> None:
    """Accuracy of the last 10 updates, 3 cues and a delay of 0.4 s."""
    updates = 150
    jobs = {rule: ("evidence", rule, study.seed, updates, 64, SMALL) for rule in RULES}
    jobs["random, LIF only"] = ("evidence", "random", study.seed, updates, 64, {**SMALL, "lif": 100, "alif": 0})
    found = {label: float(curve[-10:].mean()) for label, curve in curves(study, "evidence", jobs).items()}
    study.table(f"evidence accumulation: accuracy after {updates} updates", ("rule", "accuracy"), list(found.items()))
    random, gap = found["random"], found["random"] - found["control"]
    study.criterion("6 random e-prop, error", 1 - random, "<= 0.15", random >= 0.85)
    study.criterion("6 random e-prop, accuracy above the control", gap, "> 0", gap > 0)
    away = found["BPTT"] - random
    study.criterion("6 random e-prop, accuracy below BPTT", away, "<= 0.1", away <= 0.1)
    silent = 1 - found["random, LIF only"]
    study.criterion("6 random e-prop without adaptive cells, error", silent, ">= 0.4", silent >= 0.4)


def alone(study: Study) -> None:
    """Pattern generation in 500 steps where every simulation is Brian2's: the rule reads what Brian2 recorded."""
    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler.parameters import values

    updates, task = (5 if study.quick else 150), tasks.get("pattern", steps=500)
    options = {**task.settings.rules["eprop"], "feedback": "symmetric", "learning_rate": 4e-4}
    arms = {
        "Brian2, all weights": ("brian2", {}, ("*.w",)),
        "Brian2, readout only (control)": ("brian2", {}, task.readout),
        "torch float64, all weights": ("torch", {"surrogate": "triangle"}, ("*.w",)),
    }
    found, last, rows = {}, {}, []
    batch = task.batch()
    for label, (backend, chosen, trained) in arms.items():
        program: Any = backends.get(backend).compile(task.network(study.seed), **chosen)
        rule = learning.get("eprop", **options, trainable=trained)
        state, parameters = rule.init(program), dict(values(program.network))
        losses = []
        with study.progress(label) as update:
            for k in range(updates):
                parameters, state, metrics = rule.step(program, parameters, state, batch, task)
                losses.append(metrics["loss"])
                update(k + 1, updates, f"loss {losses[-1]:.1f}")
        target = batch.targets[:, 1:]
        errors = 2 * np.array(losses) / ((target - target.mean()) ** 2).sum()
        study.array(f"brian2/{label}", errors)
        found[label], last[label] = parameters, float(errors[-5:].mean())
        rows.append((label, float(errors[0]), last[label]))
    study.table(f"pattern generation by symmetric e-prop, {updates} updates: NMSE", ("arm", "first", "last"), rows)
    every, control, same = arms
    study.criterion(
        "trained in Brian2 alone: NMSE below the control's",
        last[every],
        f"< {last[control]:.3g}",
        last[every] < last[control],
    )
    apart = max(float(np.abs(found[every][n] - w).max() / max(np.abs(w).max(), 1e-300)) for n, w in found[same].items())
    study.criterion(
        "weights learned in Brian2 and in torch: largest relative difference", apart, "<= 1e-6", apart <= 1e-6
    )


def rewards(study: Study) -> None:
    """The delayed choice, from rewards alone."""
    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    updates, task = 80, tasks.get("delayed-choice", delay=100)
    program = backends.get("torch").compile(task.network(study.seed), **task.settings.backends["torch"])
    options = {**task.settings.rules["reward-eprop"], "rate_strength": 0.0, "form": "online"}
    rule = learning.get("reward-eprop", **options)
    state, parameters = rule.init(program), dict(values(program.network))
    random, reward = streams.generator(study.seed, "study/rewards"), []
    with study.progress("rewards") as update:
        for k in range(updates):
            batch = task.sample(random, task.settings.batch)
            parameters, state, metrics = rule.step(program, parameters, state, batch, task)
            reward.append(-metrics["loss"])
            update(k + 1, updates, f"reward {reward[-1]:.1f} of 50")
    test = task.test_batch()
    accuracy = task.metric(program.run(parameters, test.inputs, tuple(task.record())), test)
    study.array("rewards", reward)
    rows = [(updates, float(np.mean(reward[:5])), float(np.mean(reward[-5:])), accuracy)]
    study.table(
        "delayed choice by the online actor-critic", ("updates", "first rewards", "last", "test accuracy"), rows
    )
    study.criterion("8 reward-based e-prop: test accuracy", accuracy, ">= 0.7, chance 0.5", accuracy >= 0.7)


def quick(study: Study) -> None:
    """The first updates, and whether backends agree in them."""
    alone(study)
    rules = {"symmetric": EARLY, "control": EARLY, "random": 5}
    errors(study, {rule: ("pattern", rule, study.seed, updates, 1, {}) for rule, updates in rules.items()}, 5)
    for name, wanted in FULL.items():
        study.unmeasured(name, wanted)


def run(study: Study) -> None:
    if study.quick:
        quick(study)
        return
    rewards(study)
    alone(study)
    evidence(study)
    pattern(study)
