"""What is timed: the recurrent network of `bench.py training` in several sizes, its updates by BPTT in processes, by ES over workers, and what these send."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from twinspike.benches import training
from twinspike.benches.peers.training import CLASSES, INPUTS

BACKEND, RULE = "native", {"optimiser": "adam", "learning_rate": 1e-3}
SEED = 0


@dataclass(frozen=True)
class Case:
    """hidden: recurrent cells behind 700 inputs. batch: examples of an update."""

    name: str
    hidden: int
    steps: int
    batch: int

    @property
    def weights(self) -> int:
        return self.hidden * (INPUTS + self.hidden + CLASSES)


@lru_cache(maxsize=2)
def task_of(case: Case) -> Any:
    """Spikes at random, and labels."""
    import tasks
    from neuro.events import Events

    rng = np.random.default_rng(SEED)
    spikes = rng.random((case.batch, case.steps, INPUTS), np.float32) < training.DENSITY
    labels = rng.integers(0, CLASSES, case.batch)
    network = training.network((case.hidden,))
    return tasks.from_arrays(
        Events.of(spikes), labels, network, x_test=Events.of(spikes[:1]), y_test=labels[:1], output="readout.v"
    )


@lru_cache(maxsize=2)
def program_of(hidden: int, backend: str = BACKEND) -> Any:
    import backends

    options = {"threads": 1} if backend == "native" else {}
    return backends.get(backend).compile(training.network((hidden,)), dtype="float32", **options)


def started(case: Case) -> tuple[Any, Any, Mapping[str, Any]]:
    """Rule, its state and the parameters before the first update by BPTT."""
    from neuro import learning
    from neuro.compiler.parameters import values

    program = program_of(case.hidden)
    rule = learning.get("bptt", **RULE)
    return rule, rule.init(program), dict(values(program.network))


def updates(case: Case, number: int) -> tuple[float, float, float]:
    """Seconds of an update by BPTT, of these in communication, and bytes that this process gave; the first one is not counted."""
    from neuro.learning.common.processes import here

    together, task, program = here(), task_of(case), program_of(case.hidden)
    rule, state, parameters = started(case)
    batch = task.train.batch
    start = 0.0
    for k in range(number + 1):
        if k == 1:
            together.collected(None)  # all begin together
            together.spent()
            start = time.perf_counter()
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
    seconds = (time.perf_counter() - start) / number
    cost = together.spent()
    return seconds, cost.get("communication_s", 0.0) / number, cost.get("communication_bytes", 0.0) / number


def sums(size: int, number: int) -> float:
    """Seconds of adding up an array of so many bytes over all processes; the first time is not counted."""
    from neuro.learning.common.processes import here

    together, numbers = here(), np.ones(size // 4, np.float32)
    together.summed(numbers)
    start = time.perf_counter()
    for _ in range(number):
        together.summed(numbers)
    return (time.perf_counter() - start) / number


def writing(case: Case, number: int) -> float:
    """Seconds an update in which the first process alone writes: its metrics, and every tenth time a checkpoint."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from neuro.io.results import Run
    from neuro.io.serialisation import to_json
    from neuro.learning.loop import CHECKPOINT_EVERY, metrics_of

    rule, state, parameters = started(case)
    program = program_of(case.hidden)
    with TemporaryDirectory() as folder:
        run = Run.create(
            Path(folder) / "run.h5", model=to_json(program.network), semantics=program.semantics.to_data(), config={}, seed=SEED,
            metrics=metrics_of(rule),
        )  # fmt: skip
        start = time.perf_counter()
        for k in range(number):
            run.log(k, {"loss": 1.0, "gradient_norm": 1.0})
            if k % CHECKPOINT_EVERY == 0:
                run.checkpoint({**rule.save(state), **{f"parameter/{n}": v for n, v in parameters.items()}})
        seconds = (time.perf_counter() - start) / number
        run.close()
    return seconds


# -- populations -------------------------------------------------------------------------------------------


def spread(hidden: int, workers: int, engine: str, backend: str = BACKEND) -> Any:
    """A program whose candidates are spread over workers, each a call of its own."""
    from backends.parallel import ParallelProgram

    options: dict[str, Any] = {"dtype": "float32"} | ({"threads": 1} if backend == "native" else {})
    return ParallelProgram(
        backend, training.network((hidden,)), workers=workers, chunk=1, options=options, engine=engine
    )


class Search:
    """ES on a case, from where its last update ended. candidates: of an update, an even number."""

    def __init__(self, case: Case, program: Any, candidates: int) -> None:
        from neuro import learning
        from neuro.compiler.parameters import values

        self.task, self.program = task_of(case), program
        self.rule = learning.get("es", samples=candidates // 2, sigma=0.01)
        self.state = self.rule.init(program)
        self.parameters: Mapping[str, Any] = dict(values(program.network))

    def update(self) -> tuple[float, Mapping[str, float]]:
        """Seconds on the wall clock, and the update's metrics."""
        start = time.perf_counter()
        self.parameters, self.state, metrics = self.rule.step(
            self.program, self.parameters, self.state, self.task.train.batch, self.task
        )
        return time.perf_counter() - start, metrics


def asking(case: Case, candidates: int) -> float:
    """Seconds in which a search makes its candidates, and is told their losses."""
    search = Search(case, program_of(case.hidden), candidates)
    state, losses = search.state.search, np.arange(float(candidates))
    start = time.perf_counter()
    _, directions = search.rule.search.ask(state)
    search.rule.search.tell(state, directions, losses)
    return time.perf_counter() - start


def nothing(program: Any, *given: Any) -> int:
    """A call of a worker that costs nothing but itself."""
    return 0


def calls(program: Any, number: int) -> float:
    """Seconds of so many calls that do nothing."""
    start = time.perf_counter()
    program.each(nothing, [(k,) for k in range(number)])
    return time.perf_counter() - start


def sending(program: Any, size: int) -> float:
    """Seconds until all workers have what they share, of so many bytes, that nobody has seen before."""
    shared = np.random.default_rng().random(size // 8)
    start = time.perf_counter()
    program.each(nothing, [(k,) for k in range(2 * program.workers)], (shared,))
    return time.perf_counter() - start
