"""Runs of an evolution strategy on a crippled walker, and what the policy that they end with reaches with each part disabled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import backends
import tasks
from backends.parallel import ParallelProgram
from neuro import learning
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.episodes import Episodes, played
from neuro.learning.search.search_space import SearchSpace
from neuro.protocols import Batch

Array = npt.NDArray[Any]
FORMS = {"plastic": "modulated", "static": "static"}
SPIKING = {"spiking plastic": "spiking-ndp-oja", "spiking static": "spiking-static"}


@dataclass(frozen=True)
class Budget:
    """members: of a generation, in antithetic pairs. episodes: of each member, the same for all; a part is drawn for each."""

    members: int
    episodes: int
    steps: int
    generations: int

    @property
    def environment_steps(self) -> int:
        return self.members * self.episodes * self.steps * self.generations


@dataclass
class Evolved:
    """By generation, in its episodes: curve, mean return of the members; central, that of the policy around which they lie. parameters: at the end. seconds: of
    processor time, of this process alone.
    """

    curve: Array
    central: Array
    parameters: dict[str, Array]
    seconds: float


def evolved(form: str, seed: int, budget: Budget, workers: int = 0, **task_options: Any) -> Evolved:
    """One run. form: of the task's networks. workers: processes for the members, 0 for this one alone."""
    start = time.process_time()
    task = tasks.get("crippled", form=form, steps=budget.steps, **task_options)
    network = task.network(seed)
    program: Any
    if workers:
        program = ParallelProgram("native", network, workers=workers, options={"threads": 1})
    else:
        program = backends.get("native").compile(network, threads=1)
    rule = learning.get("es", **{**task.settings.rules["es"], "samples": budget.members // 2})
    parameters: Any = values(network)
    state, random, curve, central = rule.init(program, parameters), streams.generator(seed, "data/0"), [], []
    for _ in range(budget.generations):
        batch = task.sample(random, budget.episodes)
        central.append(float(played(program, parameters, task, batch).returns.mean()))
        parameters, state, metrics = rule.step(program, parameters, state, batch, task)
        curve.append(-metrics["loss"])
    return Evolved(np.array(curve), np.array(central), dict(parameters), time.process_time() - start)


def by_condition(
    form: str, parameters: Mapping[str, Array], seed: int, steps: int, episodes: int = 3
) -> dict[str, float]:
    """Mean return of a policy by what is disabled, "none" first: so many episodes each, with the same beginnings."""
    found, seeds = {}, streams.generator(seed, "conditions").integers(0, 2**31, episodes)
    for disabled in ("none", "0", "1", "2", "3"):
        task = tasks.get("crippled", form=form, steps=steps, disabled=disabled)
        program = backends.get("native").compile(task.network(seed), threads=1)
        found[disabled] = float(played(program, parameters, task, Batch({}, seeds)).returns.mean())
    return found


def costs(form: str, seed: int, steps: int, rounds: int) -> tuple[float, float, float]:
    """Processor seconds of an environment step: of the environment alone, of the policy alone on what was seen, of a whole episode by `played`; medians.

    The three take turns, so that whatever else the machine does meets all alike.
    """
    task = tasks.get("crippled", form=form, steps=steps)
    network = task.network(seed)
    program: Any = backends.get("native").compile(network, threads=1)
    random = np.random.default_rng(seed)
    rule = task.settings.rules["es"]
    space = SearchSpace.of(program, rule["trainable"])
    begins = space.vector()
    p = values(network) | space.arrays(begins + random.normal(0, rule["sigma"], begins.shape))
    batch = Batch({}, np.array([seed]))
    episodes: Episodes = played(program, p, task, batch)
    shown = [{n: v[:, k : k + 1].copy() for n, v in episodes.inputs.items()} for k in range(steps)]
    times: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        made = task.environment(1)
        made.reset(seed=[seed])
        start = time.process_time()
        for k in range(steps):
            made.step(episodes.actions[:, k])
        times[0].append(time.process_time() - start)
        made.close()
        start = time.process_time()
        with program.session(1, p, ("motors.y",)) as session:
            for inputs in shown:
                task.act(session.step(inputs).traces["motors.y"][:, -1], random)
        times[1].append(time.process_time() - start)
        start = time.process_time()
        played(program, p, task, batch)
        times[2].append(time.process_time() - start)
    world, policy, whole = (float(np.median(t)) / steps for t in times)
    return world, policy, whole
