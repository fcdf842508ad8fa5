"""Searches on tasks that act, over worker processes: the same numbers for any number of them, errors by name, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from backends.parallel import ParallelProgram, crew_of
from backends.workers.crew import Crew
from neuro import RunError, UnsupportedError, learning
from neuro.compiler.parameters import values
from neuro.episodes import returns
from neuro.io.results import open_run
from neuro.protocols import Array, Batch
from tasks.acting import ContinuousTask
from tasks.cue_reward import CueReward
from tasks.motor_networks import motor_network
from tests.children import ROOT, environment
from twinspike import train

RNG = np.random.default_rng


class Aim:
    """Shows a place and pays for naming it. What an episode's seed says goes wrong: 13 an error, 14 another one."""

    def __init__(self, episodes: int) -> None:
        self.num_envs = episodes

    def reset(self, *, seed: Any = None) -> tuple[Array, Mapping[str, Any]]:
        self.seeds, self.k = list(seed), 0
        self.places = np.array([RNG(s).choice([-0.8, 0.8], 6) for s in seed])
        return self.places[:, :1], {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Mapping[str, Any]]:
        if self.seeds[0] == 13:
            raise KeyError("no such joint")
        if self.seeds[0] == 14:
            raise UnsupportedError("any", "this place", "nobody goes there", ["another"])
        rewards = -np.abs(actions[:, 0] - self.places[:, self.k])
        self.k += 1
        over = np.full(self.num_envs, self.k == 5)
        return self.places[:, self.k : self.k + 1], rewards, over, ~over & False, {}

    def close(self) -> None:
        """Nothing is open."""


class Aiming(ContinuousTask):
    name, output, actions, steps = "aiming", "motors", 1, 5

    def environment(self, episodes: int) -> Aim:
        return Aim(episodes)

    def network(self, seed: int) -> Any:
        return motor_network(self.name, 1, 4, 1, "modulated", seed=seed)


TASK = Aiming()
NETWORK = TASK.network(0)
OPTIONS: dict[str, Any] = {"trainable": ("*",), "samples": 6, "sigma": 0.1, "learning_rate": 0.05, "standardise": True}


def parallel(workers: int) -> ParallelProgram:
    return ParallelProgram("native", NETWORK, workers=workers, options={"threads": 1})


@pytest.fixture(scope="module", autouse=True)
def crew() -> Iterator[Crew]:
    """Two workers for all programs of this file."""
    found = crew_of("joblib", 2)
    yield found
    found.close()


def sets(number: int) -> dict[str, Array]:
    return {n: RNG(7).normal(0, 0.5, (number, *np.shape(v))) for n, v in values(NETWORK).items()}


def search(program: Any, updates: int, **options: Any) -> tuple[dict[str, Array], list[float]]:
    rule, random = learning.get("es", **{**OPTIONS, **options}), RNG(5)
    parameters: Any = values(NETWORK)
    state, found = rule.init(program, parameters), []
    for _ in range(updates):
        parameters, state, metrics = rule.step(program, parameters, state, TASK.sample(random, 3), TASK)
        found.append(metrics["loss"])
    return parameters, found


@pytest.mark.parametrize("episodes", ["common", "own"])
def test_any_number_of_workers_finds_the_same(episodes: str) -> None:
    alone = search(backends.get("native").compile(NETWORK), 3, episodes=episodes)
    for workers in (1, 2):
        spread = search(parallel(workers), 3, episodes=episodes)
        assert spread[1] == alone[1]
        assert all(np.array_equal(spread[0][n], v) for n, v in alone[0].items())
    assert alone[0]["enter.w"].any()


def test_a_network_of_zeros_improves() -> None:
    """Its first gradient comes from the noise of the search alone."""
    _, losses = search(backends.get("native").compile(NETWORK), 80)
    assert not any(v.any() for v in values(NETWORK).values())
    assert losses[0] == pytest.approx(4.0, abs=0.2)  # five steps at a distance of 0.8
    assert np.mean(losses[-10:]) < 0.6 * losses[0]


def test_episodes_are_common_or_each_set_s_own() -> None:
    """The same parameters earn the same in common episodes only; own ones follow from the batch's seeds and the set's place."""
    same = {n: np.stack([v[0]] * 5) for n, v in sets(1).items()}
    program, batch = backends.get("native").compile(NETWORK), Batch({}, np.array([3, 4]))
    common, own, again = (returns(program, same, TASK, batch, own=o) for o in (False, True, True))
    assert len(set(common)) == 1 and len(set(own)) > 1
    np.testing.assert_array_equal(own, again)
    other = returns(program, same, TASK, Batch({}, np.array([4, 5])), own=True)
    assert not np.array_equal(own, other)
    part = returns(program, {n: v[:2] for n, v in same.items()}, TASK, batch, own=True)
    np.testing.assert_array_equal(part, own[:2])


def test_own_episodes_are_of_tasks_that_act() -> None:
    import tasks

    task = tasks.get("xor")
    program = backends.get("native").compile(task.network(0))
    rule = learning.get("es", episodes="own")
    with pytest.raises(UnsupportedError, match=r"task 'xor' with episodes='own'.*use episodes='common'"):
        rule.step(program, values(program.network), rule.init(program), next(iter(task.train_batches(RNG(0), 1))), task)


def test_what_goes_wrong_in_a_worker_is_told_as_anywhere() -> None:
    with pytest.raises(RunError, match="the environment of task 'aiming' at step 0: KeyError: 'no such joint'"):
        returns(parallel(2), sets(4), TASK, Batch({}, np.array([13])))
    with pytest.raises(RunError, match="this place: nobody goes there; use one of: another"):
        returns(parallel(2), sets(4), TASK, Batch({}, np.array([14])))
    held = Aiming()
    held.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"can't be pickled.*lock.*use one worker"):
        returns(parallel(2), sets(4), held, Batch({}, np.array([1])))
    assert len(returns(parallel(1), sets(4), held, Batch({}, np.array([1])))) == 4
    error = UnsupportedError("native", "a thing", "no reason", ["torch"])
    import pickle

    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.backends == ("torch",)


def test_train_spreads_episodes_over_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CueReward, "updates", 3)
    monkeypatch.setattr(CueReward, "test_trials", 4)
    config = tmp_path / "config.toml"
    config.write_text(
        'task = "cue-reward"\nbatch = 2\nepochs = 1\n[task_options]\nhidden = 3\nsteps = 12\n[rule_options]\nsamples = 2\n'
    )
    found = []
    for workers in (None, 2):
        out = tmp_path / f"{workers}.h5"
        train.main(out=out, rule="es", config=config, workers=workers)
        found.append(open_run(out).parameters())
    assert all(np.array_equal(found[0][n], found[1][n]) for n in found[0])


ENDLESS = """
import numpy as np
from tests.learning.test_workers import Aiming, parallel, sets
from neuro.episodes import returns
from neuro.protocols import Batch

print("ready", flush=True)
try:
    while True:
        returns(parallel(2), sets(64), Aiming(), Batch({}, np.arange(4)))
        print("round", flush=True)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def running(session: int) -> list[int]:
    """Processes of a session that haven't ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the processes from /proc")
def test_ctrl_c_leaves_nothing_behind() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
        start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        assert [child.stdout.readline() for _ in range(2)] == ["ready\n", "round\n"]
        assert len(running(child.pid)) >= 3
        os.kill(child.pid, signal.SIGINT)
        assert child.stdout.read().rpartition("round\n")[2] == "stopped\n"
        assert child.wait(60) == 0
        for _ in range(100):
            if not running(child.pid):
                return
            time.sleep(0.1)
        assert not running(child.pid)
    finally:
        for pid in running(child.pid):
            os.kill(pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
