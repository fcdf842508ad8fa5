"""One training step of e-prop against BPTT on the same network, and the memory that long trials add to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twinspike.benchmark import Bench, Figure
from twinspike.timing import CONTROL, in_fresh_process, interleaved, peak_memory

if TYPE_CHECKING:
    from neuro.protocols import Batch

TASKS = {"pattern": 1, "evidence": 8}  # batch
SHORT, LONG, TRIALS, CHANNELS, RATE = (
    100,
    4000,
    8,
    40,
    0.02,
)  # steps, steps, trials, channels, spikes a step and channel
LIMIT = 5.0  # MB
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "e-prop, random feedback": ("eprop", {"feedback": "random"}),
    "e-prop, symmetric": ("eprop", {}),
    "BPTT": ("bptt", {}),
}


def gradient(backend: str, rule: str, task: Any, data: Any, **options: Any) -> Callable[[], Any]:
    """The rule's gradient of one batch. options: of compile."""
    import backends
    from neuro import learning
    from neuro.compiler.parameters import values

    program = backends.get(backend).compile(task.network(0), dtype="float32", surrogate="triangle", **options)
    start = dict(values(program.network))
    name, options = RULES[rule]
    chosen = learning.get(name, **options)
    return lambda: chosen.gradient(program, start, data, task)


def trials(steps: int, count: int = TRIALS) -> Batch:
    """Random events and labels for the evidence task, of any length."""
    import numpy as np

    from neuro.protocols import Batch
    from twinspike.models.spikes import random_events

    rng = np.random.default_rng(0)
    spikes: Any = random_events(rng, (count, steps, CHANNELS), RATE)
    return Batch({"x": spikes}, rng.integers(0, 2, count), np.ones((count, steps), bool))


def peak(backend: str, rule: str, steps: int) -> int:
    """Peak bytes of two gradients for trials of so many steps, given as events."""
    import tasks

    step = gradient(backend, rule, tasks.get("evidence"), trials(steps))
    for _ in range(2):
        step()
    return peak_memory()


def memory(bench: Bench) -> None:
    """Growth from short to long trials; the control is a second measurement."""
    title = f"e-prop memory, T {SHORT} -> {LONG}"
    for backend in bench.backends:
        found = {}
        for rule in ("e-prop, random feedback", "e-prop, random feedback" + CONTROL, "BPTT"):
            short, long = (in_fresh_process(peak, backend, rule.removesuffix(CONTROL), n) for n in (SHORT, LONG))
            found[rule] = (long - short) / 2**20
        ours, again, bptt = found.values()
        low, high = sorted((ours, again))
        limit = LIMIT if backend == bench.ours else None
        note = f"growth in MB at batch {TRIALS}, not a ratio; BPTT on the same backend: {bptt:.3g} MB"
        text = f"{ours:.3g} MB"
        bench.figures.append(Figure(title, backend, "itself", text, "", ours, low, high, target=limit, differs=note))


def speed(bench: Bench, name: str, batch: int) -> None:
    """Every rule on every backend of ours; e-prop must not take longer than BPTT on the same one."""
    import numpy as np

    import tasks

    task = tasks.get(name)
    data = next(iter(task.train_batches(np.random.default_rng(0), batch)))
    for backend in bench.backends:
        steps = {rule: gradient(backend, rule, task, data) for rule in RULES}
        first = next(iter(RULES))
        steps[first + CONTROL] = gradient(backend, first, task, data)
        title = f"e-prop on {backend}, {name}, T {data.inputs['x'].shape[1]}, batch {batch}"
        with bench.progress(title) as update:
            times = interleaved(steps, bench.rounds, update)
        bench.ratios(title, times, first, targets={"BPTT": 1.0})


def run(bench: Bench) -> None:
    for name, batch in TASKS.items():
        speed(bench, name, batch)
    memory(bench)
