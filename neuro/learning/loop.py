"""The only training loop: epochs of batches, metrics, checkpoints; a stopped run continues to the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from neuro.compiler import streams
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.episodes import run_of
from neuro.io.results import Run
from neuro.learning.common import processes
from neuro.learning.common.optimisers import under
from neuro.learning.common.processes import here
from neuro.learning.common.slices import check_mean
from neuro.learning.common.summed_inputs import silent
from neuro.learning.gradient.gradient_rule import GradientRule
from neuro.learning.search.search_space import signals
from neuro.protocols import Array, Batch, Parameters, Program, Recording, Rule, Task, UnsupportedError

METRICS = ("loss", "gradient_norm", "test_accuracy", "test_rate_hz")
VALID = "valid_accuracy"
CHECKPOINT_EVERY = 10  # updates


def metrics_of(rule: Any, task: Any = None) -> tuple[str, ...]:
    """What the loop logs, and what the rule and the processes add."""
    valid = (VALID,) if validation(task) is not None else ()
    together = processes.METRICS if here().number > 1 else ()
    return (*METRICS, *valid, *getattr(rule, "metrics", ()), *together)


def validation(task: Any) -> Batch | None:
    """The examples of a task that are neither for training nor for the test; None where it keeps none."""
    give = getattr(task, "valid_batch", None)
    found: Batch | None = give() if give is not None else None
    return found


class TrainingError(Exception):
    """Training left the finite numbers, or was asked for something that doesn't fit."""


class Unwritten:
    """The run of a process that leaves the writing to the first one. What it takes goes nowhere."""

    def __init__(self) -> None:
        self.history: dict[str, list[tuple[int, float]]] = {}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See Run.log."""

    def checkpoint(self, state: Mapping[str, Array]) -> None:
        """See Run.checkpoint."""

    def finish(self, *results: Any) -> None:
        """See Run.finish."""

    def discard(self) -> None:
        """See Run.discard."""


def check_processes(rule: Rule, program: Any, task: Any) -> None:
    """Raises UnsupportedError or OptionError where several processes can't train this network together, each with its part of every batch, or one in slices."""
    alone = here().number == 1
    if not isinstance(rule, GradientRule):
        if alone:
            return
        name = getattr(rule, "known_as", type(rule).__name__)
        why = "its update is no sum over the examples of a batch"
        raise UnsupportedError(
            "any", f"rule '{name}' over processes that share a batch", f"{why}; train in one process"
        )
    if rule.slices or not alone:
        rule.check_slices(program, task)


@dataclass
class Position:
    """Where training stands: updates made, epoch, batches done in it; and updates of flossing, which come first."""

    update: int = 0
    epoch: int = 0
    batch: int = 0
    flossed: int = 0

    @staticmethod
    def of(saved: Mapping[str, Array]) -> Position:
        """As a checkpoint has it."""
        return Position(*(int(saved.get(f"position/{n}", 0)) for n in ("update", "epoch", "batch", "flossed")))


@dataclass
class Best:
    """The parameters with the largest metric on the validation examples so far, and the epochs and updates that had been done."""

    parameters: dict[str, Array] = field(default_factory=dict)
    value: float = -np.inf
    epoch: int = 0
    update: int = 0

    def look(self, value: float, parameters: Mapping[str, Array], at: Position) -> None:
        """Takes them if they are better."""
        if value > self.value:
            self.parameters, self.value, self.epoch, self.update = dict(parameters), value, at.epoch, at.update

    def arrays(self) -> dict[str, Array]:
        """For a checkpoint; nothing where nothing was looked at."""
        if not self.parameters:
            return {}
        numbers = {f"best/{n}": np.asarray(getattr(self, n)) for n in ("value", "epoch", "update")}
        return {**numbers, **{f"best_parameter/{n}": v for n, v in self.parameters.items()}}

    @staticmethod
    def of(saved: Mapping[str, Array]) -> Best:
        """As a checkpoint has it."""
        if "best/value" not in saved:
            return Best()
        numbers = float(saved["best/value"]), int(saved["best/epoch"]), int(saved["best/update"])
        return Best(under("best_parameter", saved), *numbers)


@dataclass(frozen=True)
class Before:
    """What weights go through before they learn: so many updates of a rule that looks at the task's inputs alone."""

    rule: Rule
    updates: int

    metric: ClassVar[str] = "flossing_loss"


def train(
    task: Task,
    program: Program,
    rule: Rule,
    run: Run | Unwritten,
    *,
    epochs: int,
    seed: int,
    batch: int,
    before: Before | None = None,
    patience: int = 0,
    saved: Mapping[str, Array] | None = None,
    update: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> dict[str, Array]:
    """Train, log to the run and finish it. before: see Before. patience: epochs without a better metric on the validation examples after which it
    stops and takes the best parameters; 0 for all epochs and the last ones. saved: the state that Run.resume gave. Returns SI arrays of all
    parameters; the run file has those that learning began with, too, where something came before it, and the best ones of a task with validation examples.

    The order of the data depends on seed and epoch only, so a resumed run sees what the uninterrupted one saw. Several processes of one torch.distributed group
    train the same network, each on its part of every batch: the first one measures, and `run` is its file; the others take Unwritten(). Raises ProcessesError.
    """
    together = here()
    check_processes(rule, program, task)
    if before is not None:
        check_processes(before.rule, program, task)
    declared = declared_parameters(program.network)
    parameters: Mapping[str, Array] = {n: p.value for n, p in declared.items()}
    at, first, best = Position(), dict[str, Array](), Best()
    if saved:
        parameters, first = under("parameter", saved), under("first", saved)
        at, best = Position.of(saved), Best.of(saved)
    if before is not None and at.flossed < before.updates:
        parameters = _prepare(task, program, before, run, seed, batch, parameters, saved, at, update)
        first, saved = dict(parameters), None
    if saved:
        state = rule.load(program, saved)
    else:
        state = rule.init(program, parameters)
        _save(run, rule, state, parameters, at, first, best)
    accuracy, valid = "", validation(task)
    in_slices = together.number > 1 or bool(getattr(rule, "slices", 0))
    for epoch in range(at.epoch, epochs):
        if patience and epoch - best.epoch >= patience:
            break
        batches = list(task.train_batches(streams.generator(seed, f"data/{epoch}"), batch))
        if epoch == at.epoch and batches and in_slices:
            together.from_first(partial(_check_mean, task, program, parameters, batches[0]))
            together.spent()  # of no update
        for i in range(at.batch if epoch == at.epoch else 0, len(batches)):
            try:
                parameters, state, metrics = rule.step(program, parameters, state, batches[i], task)
            except FloatingPointError as error:
                raise TrainingError(str(error)) from None
            at = Position(at.update + 1, epoch, i + 1, at.flossed)
            run.log(at.update, {**metrics, **together.spent()})
            update(epoch * len(batches) + i + 1, epochs * len(batches), f"loss {metrics['loss']:.3f} {accuracy}")
            if at.update % CHECKPOINT_EVERY == 0 and i + 1 < len(batches):
                _save(run, rule, state, parameters, at, first, best)
        at = Position(at.update, epoch + 1, 0, at.flossed)
        found = together.from_first(partial(measured, task, program, parameters, valid))
        if valid is not None:
            best.look(found[VALID], parameters, at)
        accuracy = f"test accuracy {found['test_accuracy']:.3f}"
        run.log(at.update, found)
        _save(run, rule, state, parameters, at, first, best)
    results: dict[str, Any] = {"first_parameters": first} if first else {}
    if best.parameters and not patience:
        results["best_parameters"] = best.parameters
    elif best.parameters:
        results["last_parameters"] = parameters
        parameters, at = best.parameters, Position(best.update)
    own = getattr(rule, "results", None)
    if own is not None:
        results |= own(state, parameters)
    run.finish(parameters, declared, at.update, results)
    return dict(parameters)


def _check_mean(task: Task, program: Program, parameters: Parameters, batch: Batch) -> None:
    """Raises OptionError where slices of this batch would give another gradient than the whole: one run, whose loss is cut."""
    options: dict[str, Any] = {"trial": batch.trial} if batch.state is None else {"state": batch.state}
    found = program.run(parameters, silent(program.network, batch.inputs), tuple(task.record()), **options)
    check_mean(task, batch, signals(found))


def measured(task: Task, program: Program, parameters: Parameters, valid: Batch | None) -> dict[str, float]:
    """Metrics of the test examples, and of the validation examples where there are some."""
    found = {}
    for name, examples in (("test_accuracy", task.test_batch()), (VALID, valid)):
        if examples is None:
            continue
        whole = replace(examples, inputs=silent(program.network, examples.inputs))
        recording, own = run_of(program, parameters, task, whole)
        found[name] = task.metric(recording, own)
        found.setdefault("test_rate_hz", mean_rate(recording))
    return found


def _prepare(
    task: Task, program: Program, before: Before, run: Run | Unwritten, seed: int, batch: int, parameters: Mapping[str, Array],
    saved: Mapping[str, Array] | None, at: Position, update: Callable[[int, int, str], None],
) -> Mapping[str, Array]:  # fmt: skip
    """The parameters after what comes before learning. at: moves on with it."""
    state = before.rule.load(program, saved) if saved else before.rule.init(program, parameters)
    if not saved:
        _save(run, before.rule, state, parameters, at, {}, Best())
    epoch, done = 0, 0
    while at.flossed < before.updates:
        for examples in task.train_batches(streams.generator(seed, f"flossing/{epoch}"), batch):
            done += 1
            if done <= at.flossed:  # before the stop
                continue
            try:
                parameters, state, metrics = before.rule.step(program, parameters, state, examples, task)
            except FloatingPointError as error:
                raise TrainingError(f"before learning: {error}") from None
            at.flossed = done
            run.log(done, {Before.metric: metrics["loss"]})
            update(done, before.updates, f"before learning: flossing loss {metrics['loss']:.2g}")
            if done % CHECKPOINT_EVERY == 0 and done < before.updates:
                _save(run, before.rule, state, parameters, at, {}, Best())
            if done == before.updates:
                return parameters
        epoch += 1
    return parameters


def mean_rate(recording: Recording) -> float:
    """Mean rate over all cells that can fire, Hz."""
    rasters = list(recording.spikes.values())
    cells = sum(r.size for r in rasters)
    return float(sum(int(r.sum()) for r in rasters) / cells / recording.dt) if cells else 0.0


def _save(
    run: Run | Unwritten,
    rule: Rule,
    state: Any,
    parameters: Mapping[str, Array],
    at: Position,
    first: Mapping[str, Array],
    best: Best,
) -> None:
    """first: parameters that learning began with, where something came before it."""
    kept = {f"position/{n}": np.asarray(v) for n, v in vars(at).items()} | {f"first/{n}": v for n, v in first.items()}
    own = {f"parameter/{n}": v for n, v in parameters.items()}
    whole = {**rule.save(state), **own, **kept, **best.arrays()}
    here().check_same(whole)
    run.checkpoint(whole)
