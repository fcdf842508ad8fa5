"""Calls over worker processes of both engines: the order, what is sent, and that lost and late workers cost time only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from backends.parallel import ParallelProgram, crew_of
from backends.workers import cluster
from backends.workers.crew import Crew, WorkerTraceback
from backends.workers.here import Here
from backends.workers.on_ray import OnRay
from backends.workers.worker import KEPT
from neuro import ModelError, RunError
from neuro.options import OptionError
from neuro.registry import MissingPackageError
from tests.backends import calls
from tests.backends.networks import networks

RAY = pytest.mark.skipif(find_spec("ray") is None, reason="engine 'ray' needs ray: install the extra 'distributed'")


def test_what_ray_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("ray") is not None:  # before the fixture has begun a cluster
        with pytest.raises(
            RunError, match=r"no cluster of Ray at the address '127.0.0.1:9': .*refused.*ray start --head"
        ):
            Crew(OnRay(1, "127.0.0.1:9")).each(calls.wrong, [(1,)])
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"engine 'ray' needs the package 'ray'.*twinspike\[distributed\]"):
        OnRay(1)


@pytest.fixture(scope="module", params=["joblib", pytest.param("ray", marks=RAY)])
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    found = Crew(Here(2) if request.param == "joblib" else OnRay(2))
    yield found
    found.close()


def test_results_come_in_the_order_of_the_calls(crew: Crew) -> None:
    found = crew.each(calls.late_first, [(0.3 if k == 0 else 0.0, k) for k in range(5)])
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert os.getpid() not in {pid for _, pid in found}
    assert len({pid for _, pid in crew.each(calls.late_first, [(0.1, k) for k in range(6)])}) == 2


def test_what_calls_share_is_sent_once(crew: Crew) -> None:
    numbers = list(range(5000))
    sent = []
    for _ in range(2):
        before = crew.traffic.sent, crew.traffic.received
        assert crew.each(calls.total, [(1,), (2,)], [numbers]) == [sum(numbers) + 1, sum(numbers) + 2]
        sent.append(crew.traffic.sent - before[0])
        assert 0 < crew.traffic.received - before[1] < 500
    assert sent[0] > 9000 and sent[1] < 500
    for k in range(30):  # more than are kept
        assert crew.each(calls.total, [(1,)], [[k]]) == [k + 1]
    assert crew.each(calls.total, [(1,)], [numbers]) == [sum(numbers) + 1]


def test_a_killed_worker_costs_time_only(crew: Crew, tmp_path: Path) -> None:
    lost = crew.traffic.lost
    found = crew.each(calls.killed_once, [(str(tmp_path / "killed"), k) for k in range(8)])
    assert found == [k**2 for k in range(8)]
    assert (tmp_path / "killed").exists() and crew.traffic.lost > lost


def test_a_call_that_kills_every_worker_is_refused_by_name(crew: Crew) -> None:
    with pytest.raises(
        RunError, match=r"a worker process died 4 times at call 2 of 'deadly', also when nothing else ran"
    ):
        crew.each(calls.deadly, [(k,) for k in range(4)])
    assert crew.each(calls.deadly, [(k,) for k in (0, 1, 3)]) == [0, 1, 3]


def test_a_late_worker_holds_nobody_up(crew: Crew, tmp_path: Path) -> None:
    crew.each(calls.late_first, [(0.5, k) for k in range(4)])  # by both, which are there then
    twice, start = crew.traffic.twice, time.monotonic()
    assert crew.each(calls.slow_once, [(str(tmp_path / "slow"), 20.0, k) for k in range(6)]) == list(range(6))
    assert time.monotonic() - start < 12 and crew.traffic.twice > twice
    assert crew.each(calls.total, [(k,) for k in range(3)], [[1]]) == [1, 2, 3]  # by who is free


def test_an_error_is_raised_where_the_call_was_made(crew: Crew) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        crew.each(calls.wrong, [(k,) for k in (1, 2, 0, 3)])
    assert isinstance(caught.value.__cause__, WorkerTraceback) and "calls.py" in str(caught.value.__cause__)
    assert crew.each(calls.wrong, [(4,)]) == [0.25]


def test_errors_say_what_they_said_in_the_worker(crew: Crew) -> None:
    with pytest.raises(RunError, match="TwoWords: this: the reason"):
        crew.each(calls.misshapen, [(1,)])
    with pytest.raises(ModelError, match="network: it is none\n  fix: make one"):
        crew.each(calls.misshapen, [(2,)])


def test_a_call_may_share_more_than_is_kept(crew: Crew) -> None:
    things = list(range(KEPT + 3))
    for _ in range(2):
        assert crew.each(calls.count, [(0,), (1,)], things) == [len(things) + 1] * 2


@RAY
def test_the_engine_s_own_ends(crew: Crew) -> None:
    if isinstance(crew.engine, OnRay):
        with pytest.raises(
            RunError, match=r"in the cluster of Ray at '.*' already, not at 'a:1'; leave the address out"
        ):
            Crew(OnRay(1, "a:1")).each(calls.wrong, [(1,)])
        with pytest.raises(RunError, match="Ray's cluster has 2 processors for 3 workers; ask for 2 workers"):
            Crew(OnRay(3)).each(calls.wrong, [(1,)])
    else:
        crew.close()
        assert crew.each(calls.wrong, [(4,)]) == [0.25]  # in new processes
        assert max(crew.each(calls.set_aside, [(k,) for k in range(6)])) > 10_000


def test_programs_share_the_workers_of_an_engine() -> None:
    one, other = (ParallelProgram("reference", networks()[n], workers=2) for n in ("noise", "delay"))
    assert one.crew is other.crew is crew_of("joblib", 2)
    assert one.crew is not crew_of("joblib", 3)
    with pytest.raises(OptionError, match="engine 'rai'; use one of joblib, ray"):
        crew_of("rai", 2)
    with pytest.raises(OptionError, match="address 'a:1' is of a cluster of Ray; use engine='ray'"):
        crew_of("joblib", 2, "a:1")
