"""e-prop learns pattern generation and evidence accumulation near BPTT, far above a fitted readout (specification eprop.md, 5-6)."""

from __future__ import annotations

from typing import Any

from study import Study

LONG = True
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "BPTT": ("bptt", {}),
    "e-prop, symmetric": ("eprop", {"feedback": "symmetric"}),
    "e-prop, random": ("eprop", {"feedback": "random"}),
    "readout only (control)": ("bptt", {"trainable": ("readout.w",)}),
}


def learn(name: str, rule_name: str, seed: int, updates: int, batch: int, options: dict[str, Any]) -> list[float]:
    """The task's metric before each update, on the batch of that update."""
    import numpy as np
    import torch

    import backends
    import tasks
    from neuro import learning, streams
    from neuro.parameters import values

    torch.set_num_threads(1)
    task = tasks.get(name, **options)
    kind, own = RULES[rule_name]
    rule = learning.get(kind, **{**task.settings.rules[kind], **own})
    program = backends.get("torch").compile(task.network(seed), **task.settings.backends["torch"])
    state, parameters = rule.init(program), dict(values(program.network))
    found: list[float] = []
    random = streams.generator(seed, "study/eprop")
    while len(found) < updates:
        for data in task.train_batches(random, batch):
            recording = program.run(parameters, data.inputs, tuple(task.record()))
            found.append(task.metric(recording, data))
            parameters, state, _ = rule.step(program, parameters, state, data, task)
            if len(found) == updates:
                break
    return [float(np.float64(x)) for x in found]


def compare(
    study: Study, task: str, title: str, updates: int, batch: int, options: dict[str, Any], last: int
) -> dict[str, float]:
    """Final metric of each rule: the mean of the last so many updates."""
    import numpy as np
    from joblib import Parallel, delayed

    done: list[list[float]] = []
    with study.progress(f"{task}, {updates} updates") as update:
        calls = (delayed(learn)(task, rule, study.seed, updates, batch, options) for rule in RULES)
        for result in Parallel(n_jobs=2, return_as="generator")(calls):
            done.append(result)
            update(len(done), len(RULES), "")
    found = {}
    for rule, curve in zip(RULES, done, strict=True):
        study.array(f"{task}/{rule}", curve)
        found[rule] = float(np.mean(curve[-last:]))
    study.table(title, ("rule", "final"), list(found.items()))
    return found


def run(study: Study) -> None:
    pattern = 200 if study.quick else 1000
    found = compare(study, "pattern", f"pattern generation: 1 - NMSE after {pattern} updates", pattern, 1, {}, 5)
    errors = {rule: 1 - value for rule, value in found.items()}
    study.criterion(
        f"5 random e-prop, NMSE at {pattern}", errors["e-prop, random"], "< 0.20", errors["e-prop, random"] < 0.20
    )
    study.criterion("5 random e-prop below the control", errors["readout only (control)"] / errors["e-prop, random"], "> 2",
                    errors["e-prop, random"] < 0.5 * errors["readout only (control)"])  # fmt: skip
    updates = 30 if study.quick else 100
    small = {"cues": 3, "delay": 400, "tau_a": 0.5}
    found = compare(
        study,
        "evidence",
        f"evidence accumulation, 3 cues: accuracy of the last 10 of {updates} updates",
        updates,
        64,
        small,
        10,
    )
    study.criterion("6 random e-prop, accuracy", found["e-prop, random"], ">= 0.85", found["e-prop, random"] >= 0.85)
    gap = found["e-prop, random"] - found["readout only (control)"]
    study.criterion("6 random e-prop above the control", gap, "> 0", gap > 0)
