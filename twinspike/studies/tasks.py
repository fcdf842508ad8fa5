"""Every task by BPTT against its control: all else frozen, the readout alone fitted, by the same rule, data, seed and updates.

`digits`, `word-evidence`, `match-to-sample` and the relaxing networks (`xor`, `graded-digits`, `slow-sine`), whose studies are their own,
and tasks that have nothing but a readout are left out.
"""

from __future__ import annotations

from typing import Any

from twinspike.study import Study

MINUTES = 2  # from processor milliseconds an update: 3 to 140
TASKS: dict[str, dict[str, Any]] = {  # options that make a task fit into minutes
    "add": {},
    "cue-accumulation": {},
    "delayed-choice": {},
    "delayed-match": {},
    "evidence": {"cues": 3, "delay": 400, "tau_a": 0.5},
    "pattern": {},
    "rflo": {},
    "store-recall": {},
    "trajectory": {},
}
QUICK = {"add": 30, "delayed-choice": 20, "pattern": 30, "rflo": 30}  # updates after which all weights are well ahead
UPDATES = {
    "pattern": 500,
    "rflo": 3000,
    "evidence": 100,
    "delayed-choice": 100,
    "cue-accumulation": 200,
}  # of the others: 600


def learned(name: str, control: bool, seed: int, updates: int) -> float:
    """The metric on the test trials after so many updates."""
    from itertools import islice

    import torch

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    task = tasks.get(name, **TASKS[name])
    options = {**task.settings.rules["bptt"], **({"trainable": tuple(task.readout)} if control else {})}
    rule = learning.get("bptt", **options)
    chosen = backends.get("auto")
    program = chosen.compile(task.network(seed), **task.settings.for_backend(chosen.name))
    state, parameters = rule.init(program), dict(values(program.network))
    random, done = streams.generator(seed, "study/tasks"), 0
    while done < updates:
        for data in islice(task.train_batches(random, task.settings.batch), updates - done):
            parameters, state, _ = rule.step(program, parameters, state, data, task)
            done += 1
    test = task.test_batch()
    return float(task.metric(program.run(parameters, test.inputs, tuple(task.record())), test))


def run(study: Study) -> None:
    from joblib import delayed

    full = {name: UPDATES.get(name, 600) for name in TASKS}
    chosen = QUICK if study.quick else full
    jobs = [(name, control, updates) for name, updates in chosen.items() for control in (False, True)]
    found: dict[tuple[str, bool], float] = {}
    with study.progress("tasks") as update:
        calls = (delayed(learned)(name, control, study.seed, updates) for name, control, updates in jobs)
        for job, metric in zip(jobs, study.parallel(calls), strict=True):
            found[job[:2]] = metric
            update(len(found), len(jobs), job[0])
    rows = [(name, updates, found[name, False], found[name, True]) for name, updates in chosen.items()]
    study.table("metric on the test trials", ("task", "updates", "all weights", "readout only (control)"), rows)
    for name, updates, every, control in rows:
        study.array(name, [every, control])
        study.criterion(f"{name}, {updates} updates: gain over the control", every - control, "> 0", every > control)
    for name, updates in full.items():
        if study.quick:
            study.unmeasured(f"{name}, {updates} updates: gain over the control", "> 0")
