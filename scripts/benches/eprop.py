"""One training step of e-prop's offline form (the adjoint of the detached graph) against BPTT on the same network."""

from __future__ import annotations

from typing import Any

from study import Study
from timing import CONTROL, interleaved, ratio_rows

TASKS = {"pattern": 1, "evidence": 8}  # batch


def run(study: Study, rounds: int) -> None:
    import numpy as np
    import torch

    import backends
    import tasks
    from neuro import learning
    from neuro.parameters import values

    for name, batch in TASKS.items():
        task = tasks.get(name)
        program = backends.get("torch").compile(task.network(0), dtype="float32", surrogate="triangle")
        data = next(iter(task.train_batches(np.random.default_rng(0), batch)))
        start = dict(values(program.network))

        def step(rule: Any, data: Any = data, program: Any = program, task: Any = task, start: Any = start) -> Any:
            return lambda: rule.gradient(program, start, data, task)

        steps = {
            "e-prop, random feedback": step(learning.get("eprop", feedback="random")),
            "e-prop, random feedback" + CONTROL: step(learning.get("eprop", feedback="random")),
            "e-prop, symmetric": step(learning.get("eprop")),
            "BPTT": step(learning.get("bptt")),
        }
        with study.progress(name) as update:
            times = interleaved(steps, rounds, update)
        rows = ratio_rows(times, "e-prop, random feedback", {})
        steps_done = data.inputs["x"].shape[1]
        title = f"{name}: {steps_done} steps, batch {batch}, float32, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"
        study.table(title, ("rule", "CPU s", "ours/theirs", "range", "differs"), rows)
        ratio = next(row[2] for row in rows if row[0] == "BPTT")
        study.criterion(f"{name}: e-prop against BPTT", ratio, "<= 1", ratio <= 1)
