"""A run stopped at any update, in the middle of an epoch too, continues to the numbers of the uninterrupted one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from neuro import learning
from neuro.compiler.parameters import values
from neuro.io.results import Reader, Run, open_run
from neuro.io.serialisation import to_json
from neuro.learning import loop
from neuro.protocols import Batch
from tests.learning.test_rules import Tiny

BATCHES, EPOCHS, EVERY = 5, 2, 2
SCHEDULES: dict[str, dict[str, float]] = {
    "": {},
    "step": {"step_size": 3, "gamma": 0.5},
    "exponential": {"gamma": 0.8},
    "cosine": {"T_max": BATCHES * EPOCHS},
}


class Stopped(Exception):
    pass


class Several(Tiny):
    """An epoch is five batches, each unlike the others, in an order of its own."""

    def train_batches(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        seeds = rng.permutation(BATCHES)
        found = []
        for seed in seeds:
            spikes = np.random.default_rng(seed).random((batch, 12, 6)) < 0.1 + 0.1 * seed
            found.append(Batch({"x": spikes}, np.array([[0.01, -0.02, 0.03]]) * (1 + seed)))
        return found


def trained(path: Path, rule: Any, saved: tuple[Run, Any] | None = None, epochs: int = EPOCHS) -> None:
    task = Several()
    program = backends.get("torch").compile(task.network(0))
    if saved is None:
        run = Run.create(
            path, model=to_json(program.network), semantics=program.semantics.to_data(), config={}, seed=0,
            metrics=loop.metrics_of(rule),
        )  # fmt: skip
        loop.train(task, program, rule, run, epochs=epochs, seed=1, batch=2)
    else:
        run, state = saved
        loop.train(task, program, rule, run, epochs=epochs, seed=1, batch=2, saved=state)


def stopped(path: Path, rule: Any, update: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the metrics of this update are logged."""
    log = Run.log

    def stop(run: Run, step: int, metrics: Mapping[str, float]) -> None:
        if step == update and "loss" in metrics:
            run.close()
            raise Stopped
        log(run, step, metrics)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Run, "log", stop)
        trained(path, rule)


def same(a: Reader, b: Reader) -> None:
    for name, found in a.metrics().items():
        np.testing.assert_array_equal(found, b.metrics()[name])
    for name, value in a.parameters().items():
        np.testing.assert_array_equal(value, b.parameters()[name])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_stopped_at_every_update_it_continues_to_the_same_numbers(
    schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", EVERY)
    rule = learning.get("bptt", learning_rate=0.05, scheduler=schedule, schedule_options=SCHEDULES[schedule])
    trained(tmp_path / "whole.h5", rule)
    whole = open_run(tmp_path / "whole.h5")
    losses = whole.metrics()["loss"]
    assert losses[:, 0].tolist() == list(range(1, BATCHES * EPOCHS + 1)) and len(set(losses[:, 1])) == BATCHES * EPOCHS
    resumed_at = set()
    for update in range(1, BATCHES * EPOCHS + 1):
        path = tmp_path / f"{update}.h5"
        stopped(path, rule, update, monkeypatch)
        run, state = Run.resume(path)
        resumed_at.add((int(state["position/epoch"]), int(state["position/batch"])))
        trained(path, rule, (run, state))
        same(whole, open_run(path))
    assert {batch for _, batch in resumed_at} == {0, 1, 2, 3, 4}  # in the middle of epochs, and between them


def test_a_complete_run_is_made_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is killed as it begins again: nothing is lost, and the numbers are those of a run that was as long from the start."""
    rule = learning.get("bptt", learning_rate=0.05)
    trained(tmp_path / "whole.h5", rule, epochs=2 * EPOCHS)
    path = tmp_path / "run.h5"
    trained(path, rule)
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Run, "_begin", lambda run, first: (_ for _ in ()).throw(Stopped))
        Run.resume(path, {"epochs": 2 * EPOCHS})
    assert path.read_bytes() == before
    run, _ = Run.resume(path, {"epochs": 2 * EPOCHS})
    run.close()  # killed before its first update
    run, state = Run.resume(path)
    assert run.header["config"] == {"epochs": 2 * EPOCHS}
    trained(path, rule, (run, state), epochs=2 * EPOCHS)
    same(open_run(tmp_path / "whole.h5"), open_run(path))


VALID_VALUES = (0.1, 0.5, 0.3, 0.5, 0.4, 0.9)  # of the validation examples, epoch after epoch


class Validated(Several):
    def valid_batch(self) -> Batch:
        return self.test_batch()


@pytest.mark.parametrize("stop", [None, *range(1, 4 * BATCHES + 1, 3)])
def test_it_stops_where_validation_gets_no_better(
    stop: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Best at epoch 2 of those it sees; with a patience of 2 it stops after the fourth, before the best of all. Killed and continued, too."""
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", EVERY)
    rule, path = learning.get("bptt", learning_rate=0.05), tmp_path / "run.h5"
    snapshots: dict[int, Any] = {}
    measured = loop.measured

    def told(task: Any, program: Any, parameters: Any, valid: Any) -> Any:
        found = measured(task, program, parameters, None)
        at = len(run.history["test_accuracy"])
        snapshots[at] = dict(parameters)
        return {**found, loop.VALID: VALID_VALUES[at]}

    monkeypatch.setattr(loop, "measured", told)
    task = Validated()
    program = backends.get("torch").compile(task.network(0))

    def begin() -> Run:
        return Run.create(
            path, model=to_json(program.network), semantics=program.semantics.to_data(), config={}, seed=0,
            metrics=loop.metrics_of(rule, task),
        )  # fmt: skip

    def go(run: Run, saved: Any = None) -> Any:
        return loop.train(task, program, rule, run, epochs=6, seed=1, batch=2, patience=2, saved=saved)

    run, saved = begin(), None
    if stop is not None:
        log = Run.log

        def killed(which: Run, step: int, metrics: Mapping[str, float]) -> None:
            if step == stop and "loss" in metrics:
                which.close()
                raise Stopped
            log(which, step, metrics)

        with monkeypatch.context() as patch, pytest.raises(Stopped):
            patch.setattr(Run, "log", killed)
            go(run)
        run, saved = Run.resume(path)
    found = go(run, saved)
    reader = open_run(path)
    assert reader.metrics()[loop.VALID][:, 1].tolist() == list(VALID_VALUES[:4])
    for name, value in found.items():
        np.testing.assert_array_equal(value, snapshots[1][name])
        np.testing.assert_array_equal(reader.parameters()[name], value)
        np.testing.assert_array_equal(reader.group("last_parameters")[name], snapshots[3][name])
    assert any(not np.array_equal(snapshots[1][n], snapshots[3][n]) for n in found)


@pytest.mark.parametrize("schedule", [s for s in SCHEDULES if s])
def test_a_learning_rate_after_a_stop_is_that_of_its_update(schedule: str) -> None:
    """Closed forms, so that a schedule that starts anew is seen even where two runs agree."""
    rate, options, task = 0.05, SCHEDULES[schedule], Several()
    rule = learning.get("bptt", learning_rate=rate, scheduler=schedule, schedule_options=options)
    program = backends.get("torch").compile(task.network(0))
    state, parameters = rule.init(program), dict(values(program.network))
    wanted = {
        "step": lambda n: rate * options["gamma"] ** (n // options["step_size"]),
        "exponential": lambda n: rate * options["gamma"] ** n,
        "cosine": lambda n: rate * (1 + np.cos(np.pi * n / options["T_max"])) / 2,
    }[schedule]
    for n, batch in enumerate(list(task.train_batches(np.random.default_rng(0), 2)) * 2, 1):
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
        again = rule.load(program, {**rule.save(state)})
        rates = [s.optimiser.param_groups[0]["lr"] for s in (state, again)]
        np.testing.assert_allclose(rates, wanted(n), rtol=1e-12)
        assert wanted(n) < rate or n < 3
