"""Rules whose runs are spread over workers: the numbers of the serial run, for any workers, chunks and engines, also where a worker is killed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from backends.parallel import ParallelProgram, crew_of
from backends.workers.crew import Crew
from neuro import learning
from neuro.compiler.parameters import values
from neuro.io.results import Run, open_run
from neuro.learning.audit import Audit
from neuro.learning.search.spread import SPENT
from neuro.model import Network
from neuro.protocols import Batch
from tests.learning.fatal import Fatal
from twinspike import train

ONE = {"threads": 1}
SEARCHES = {
    "es": {"samples": 5}, "pgpe": {"samples": 5}, "snes": {}, "sep-cma": {}, "cma": {}, "spsa": {"samples": 3},
    "wp": {"samples": 6}, "finite-differences": {},
}  # fmt: skip
TASK = tasks.get("rflo", hidden=4)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """Two workers for all programs of this file."""
    found = crew_of("joblib", 2)
    yield found
    found.close()


def batch(update: int) -> Batch:
    found: Batch = next(iter(TASK.train_batches(np.random.default_rng(update), 4)))
    return found


def attached(rule: Any) -> Network:
    network = TASK.network(0)
    found: Network = rule.attach(network) if hasattr(rule, "attach") else network
    return found


def spread(network: Network, workers: int = 2, **options: Any) -> ParallelProgram:
    return ParallelProgram("native", network, workers=workers, options=ONE, **options)


def learned(rule: Any, program: Any, updates: int = 3, task: Any = TASK) -> tuple[dict[str, Any], list[Any]]:
    parameters: Any = values(program.network)
    state, found = rule.init(program, parameters), []
    for update in range(updates):
        parameters, state, metrics = rule.step(program, parameters, state, batch(update), task)
        found.append(metrics)
    return parameters, found


def same(one: tuple[dict[str, Any], list[Any]], other: tuple[dict[str, Any], list[Any]]) -> None:
    assert [m["loss"] for m in one[1]] == [m["loss"] for m in other[1]]
    assert set(one[0]) == set(other[0])
    for name, value in one[0].items():
        np.testing.assert_array_equal(value, other[0][name])


@pytest.mark.parametrize("name", SEARCHES)
def test_workers_and_chunks_change_no_number(name: str, crew: Crew) -> None:
    rule = learning.get(name, **SEARCHES[name])
    network = TASK.network(0)
    alone = learned(rule, backends.get("native").compile(network, **ONE))
    assert not all(np.array_equal(v, values(network)[n]) for n, v in alone[0].items())
    for chunk in (3, 8):
        same(alone, learned(rule, spread(network, chunk=chunk)))
    same(alone, learned(rule, spread(network, workers=1, chunk=2)))


@pytest.mark.parametrize("kind", ["np", "wp0", "hybrid"])
def test_both_trials_of_a_perturbation_are_shared(kind: str, crew: Crew) -> None:
    rule = learning.get(kind)
    network = attached(rule)
    alone = learned(rule, backends.get("native").compile(network, **ONE))
    found = learned(rule, spread(network))
    same(alone, found)
    assert all(m["bytes_sent"] > 0 for m in found[1])


def test_where_the_search_stands_travels_not_its_candidates(crew: Crew) -> None:
    """An update of ES sends its mean and its batch once, a few bytes a call, and gets numbers back; one of pycma sends candidates."""
    network, sent = TASK.network(0), {}
    inputs = sum(np.asarray(v).nbytes for v in batch(0).inputs.values())
    n = sum(v.size for k, v in values(network).items() if k.endswith(".w"))
    for name, size in (("es", 100), ("cma", 200)):
        option = {"es": "samples", "cma": "candidates"}[name]
        program = spread(network, chunk=20)
        metrics = learned(learning.get(name, **{option: size}), program)[1][-1]
        sent[name] = metrics["bytes_sent"]
        assert set(SPENT) <= set(metrics) and metrics["worker_seconds"] > 0 and metrics["workers_lost"] == 0
        assert 200 * 8 < metrics["bytes_received"] < 200 * 8 + 10 * 200
    assert inputs < sent["es"] < 2 * inputs + 8 * n + 20 * 300 < 200 * n * 8 < sent["cma"]


def test_who_confirms_is_spread_too(crew: Crew) -> None:
    network, found = TASK.network(0), []
    for again, program in (
        (backends.get("reference").compile(network), backends.get("native").compile(network, **ONE)),
        (ParallelProgram("reference", network, workers=2, chunk=1), spread(network)),
    ):
        found.append(learned(learning.get("es", samples=4, confirm=again, elite=3), program))
    same(*found)
    assert found[0][1][0]["disagreement"] == found[1][1][0]["disagreement"]


def test_the_draws_of_an_audit_are_shared(crew: Crew) -> None:
    network = TASK.network(0)
    program = backends.get("native").compile(network, **ONE)
    rules = {"wp": learning.get("wp"), "rflo": learning.get("rflo")}
    first, second = (Audit(program, TASK, rules, draws=5, spread=s) for s in (None, spread(network)))
    one, other = (a.look(values(network), batch(0)) for a in (first, second))
    assert one.spreads.keys() == other.spreads.keys() == {"wp"} and one.spreads["wp"] == other.spreads["wp"]
    for name, estimate in one.estimates.items():
        for n, value in estimate.items():
            np.testing.assert_array_equal(value, other.estimates[name][n])


def test_runs_of_one_size_where_that_is_what_is_built(crew: Crew) -> None:
    """Seven sets in chunks of three are three runs of three of Brian2, so that a worker builds once."""
    network = TASK.network(0)
    rule = learning.get("wp", samples=6)
    program = ParallelProgram("brian2", network, workers=1, chunk=3, options={"target": "numpy"})
    learned(rule, program)
    built = program._own.builds  # type: ignore[attr-defined]
    same(learned(rule, program), learned(rule, spread(network, chunk=7)))
    assert built == program._own.builds == 1  # type: ignore[attr-defined]


RAY = pytest.mark.skipif(find_spec("ray") is None, reason="engine 'ray' needs ray: install the extra 'distributed'")


@pytest.mark.parametrize("engine", [pytest.param("joblib", marks=pytest.mark.slow), pytest.param("ray", marks=RAY)])
def test_a_worker_killed_within_an_update_changes_no_number(engine: str, crew: Crew, tmp_path: Path) -> None:
    """Of Ray, whose numbers are those of this process too."""
    rule, network = learning.get("es", samples=6), TASK.network(0)
    alone = learned(rule, backends.get("native").compile(network, **ONE), 4)
    program = spread(network, engine=engine, chunk=3)
    task = Fatal(str(tmp_path), hidden=4)
    same(alone, learned(rule, program, 4, task))
    (tmp_path / "armed").touch()
    found = learned(rule, program, 4, task)
    same(alone, found)
    assert (tmp_path / "killed").exists() and found[1][0]["workers_lost"] >= 1
    program.crew.close()


CONFIG = 'task = "rflo"\nrule = "es"\nepochs = 1\nthreads = 1\n[task_options]\nhidden = 4\nupdates = 12\n[rule_options]\nsamples = 3\n'


def test_a_run_goes_on_with_other_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crew: Crew, capsys: pytest.CaptureFixture[str]
) -> None:
    config, whole, part = tmp_path / "c.toml", tmp_path / "whole.h5", tmp_path / "part.h5"
    config.write_text(CONFIG)
    train.main(out=whole, config=config)
    log = Run.log

    def stop(run: Run, step: int, metrics: Any) -> None:
        if step == 11:
            run.close()
            raise InterruptedError
        log(run, step, metrics)

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(Run, "log", stop)
        train.main(out=part, config=config)
    train.main(out=part, resume=True, workers=2)
    one, other = open_run(whole), open_run(part)
    assert all(np.array_equal(v, other.parameters()[n]) for n, v in one.parameters().items())
    np.testing.assert_array_equal(one.metrics()["loss"], other.metrics()["loss"])
    assert [step for step, _ in other.metrics()["bytes_sent"]] == [11, 12]
    capsys.readouterr()
