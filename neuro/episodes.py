"""Episodes: a network in an environment, step by step, and what remains of it as a batch that can be run again.

A batch of an acting task holds one seed an episode as `targets`, and an episode that was played by chance. `played` lets a network act
in the same episodes and gives what came: what it was shown, what it did, what that brought. Run again on that batch, the
same network does the same, so that gradients go back through the run of the episode while observations and
rewards are data, as policy gradients want them. All that only looks at inputs takes the batch as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from neuro.compiler import streams
from neuro.protocols import Array, Batch, Parameters, Recording, RunError, UnsupportedError


class Environment(Protocol):
    """As many copies of an environment as there are episodes: gymnasium's vector environments, and whatever has these methods."""

    def reset(self, *, seed: Any = None) -> tuple[Array, Mapping[str, Any]]:
        """Observations [batch, ...] before the first step. seed: one for each copy."""
        ...

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Mapping[str, Any]]:
        """Observations, rewards [batch], and bool [batch]: whether an episode has ended, and whether it was cut off."""
        ...

    def close(self) -> None:
        """Give back what the environment holds."""
        ...


class Acting(Protocol):
    """What a task has whose networks act, besides what every task has. They act on the trace that it records first."""

    name: str
    steps: int  # of an episode, at most
    discrete: bool  # whether an action is one of a few, drawn by their probabilities

    @property
    def channels(self) -> int:
        """Of that trace."""
        ...

    def environment(self, episodes: int) -> Environment:
        """So many copies, played side by side."""
        ...

    def shown(self, observation: Array, action: Array | None, reward: Array) -> Mapping[str, Array]:
        """Inputs of one step, name -> [batch, channel]: what is seen now, and what the step before did and brought. action: None before the first."""
        ...

    def act(self, output: Array, random: np.random.Generator) -> Array:
        """Actions [batch, ...] on the output [batch, channel] of this step."""
        ...


@dataclass(frozen=True)
class Episodes(Batch):
    """A batch that was played. inputs: as they came. mask: the steps up to the end of each episode.

    actions: [batch, time, ...]. rewards: [batch, time], of the action of that step; 0 after the end. targets: the seeds.
    """

    actions: Array = field(default_factory=lambda: np.zeros(0))
    rewards: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def returns(self) -> Array:
        """Sum of rewards of each episode [batch]."""
        return np.asarray(self.rewards.sum(axis=1))


def acts(task: Any) -> bool:
    """Whether what a task shows depends on what the network did."""
    return hasattr(task, "environment")


def refuse_continuous(task: Any, rule: str) -> None:
    """Raises UnsupportedError where actions have no probabilities for a rule to follow."""
    if not getattr(task, "discrete", True):
        why = "its actions are numbers, and the rule follows the probabilities of actions of which there are a few; use rule 'es'"
        raise UnsupportedError("any", f"task '{task.name}' for rule '{rule}'", why)


def by_chance(task: Acting, seeds: Array, random: np.random.Generator) -> Episodes:
    """One episode a seed, acted as on an output of zeros."""
    output = np.zeros((len(seeds), task.channels))
    return _episodes(task, seeds, lambda shown: task.act(output, random))


def played(program: Any, parameters: Parameters | None, task: Any, batch: Batch, draw: int = 0, trial: int = 0) -> Any:
    """The batch as it is, or, where a task acts, the episodes of its seeds as the network plays them.

    draw: of the actions' random stream. trial: as in Program.run. Raises RunError, also for an environment that fails or gives other things than numbers.
    """
    if not acts(task):
        return batch
    random = streams.generator(program.network.seed, f"actions/{task.name}", draw)
    record = tuple(task.record())
    session = program.session(len(batch.targets), parameters, record, trial=trial, state=batch.begun(trial))

    def act(shown: Mapping[str, Array]) -> Array:
        found: Recording = session.step(shown)
        return np.asarray(task.act(found.traces[record[0]][:, -1], random))

    try:
        return replace(_episodes(task, batch.targets, act), state=batch.state)
    finally:
        session.close()


def returns(
    program: Any, sets: Parameters, task: Any, batch: Batch, draw: int = 0, *, own: bool = False,
    places: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """Mean return [P] of the episodes of each of P parameter sets; a program that has `each` plays them in its worker processes.

    own: each set plays other episodes, as many, whose seeds follow from the batch's and from the set's place; else all play those of the batch.
    places: of these sets in their population, where they aren't all of it.
    draw: of the actions' random stream, and the first trial in those of the network, the same for all sets. Raises RunError.
    """
    if places is None:
        places = range(len(next(iter(sets.values()))))
    seeds = [_own_seeds(batch.targets, int(p)) if own else batch.targets for p in places]
    state = batch.begun(draw)
    items = [({n: v[p] for n, v in sets.items()}, task, Batch({}, s, state=state), draw) for p, s in enumerate(seeds)]
    each = getattr(program, "each", None)
    return np.array([_return(program, *i) for i in items] if each is None else each(_return, items))


def _return(program: Any, parameters: Parameters, task: Any, batch: Batch, draw: int) -> float:
    return float(played(program, parameters, task, batch, draw, draw).returns.mean())


def _own_seeds(seeds: Array, p: int) -> Array:
    return np.array([streams.generator(int(seed), "episodes of sets", p).integers(2**31) for seed in seeds])


def run_of(
    program: Any, parameters: Parameters | None, task: Any, batch: Batch, record: Sequence[str] = ()
) -> tuple[Recording, Any]:
    """A recording and what it is of: the batch, or, where a task acts, the episodes as this program plays them. record: besides the task's own."""
    own = played(program, parameters, task, batch)
    names = tuple(dict.fromkeys((*task.record(), *record)))
    return program.run(parameters, own.inputs, names, state=own.state), own


def _episodes(task: Acting, seeds: Array, act: Callable[[Mapping[str, Array]], Array]) -> Episodes:
    """act: inputs of one step, name -> [batch, 1, channel], to actions [batch, ...]."""
    inputs: dict[str, list[Array]] = {}
    actions, rewards, alive = list[Array](), list[Array](), [np.ones(len(seeds), bool)]
    world = _World(task, seeds)
    try:
        observation = world.reset()
        while alive[-1].any() and len(actions) < task.steps:
            action, reward = (actions[-1], rewards[-1]) if actions else (None, np.zeros(len(seeds)))
            shown = {n: v[:, None] for n, v in task.shown(observation, action, reward).items()}
            for name, value in shown.items():
                inputs.setdefault(name, []).append(value)
            actions.append(act(shown))
            observation, reward, over = world.step(actions[-1], len(actions) - 1)
            rewards.append(np.where(alive[-1], reward, 0.0))
            alive.append(alive[-1] & ~over)
    finally:
        world.environment.close()
    whole = {n: np.concatenate(parts, axis=1) for n, parts in inputs.items()}
    return Episodes(
        whole, seeds, np.stack(alive[: len(actions)], 1), actions=np.stack(actions, 1), rewards=np.stack(rewards, 1)
    )


class _World:
    """A task's environment, whose failures are told with the step at which they came."""

    def __init__(self, task: Acting, seeds: Array) -> None:
        self.task, self.seeds, self.environment = task, seeds, task.environment(len(seeds))

    def reset(self) -> Array:
        seeds = [int(s) for s in self.seeds]
        found = self._asked("reset", lambda: self.environment.reset(seed=seeds))
        return self._numbers("observations", found[0], "reset")

    def step(self, actions: Array, k: int) -> tuple[Array, Array, Array]:
        """Observations, rewards, and which episodes are over. The environment gets actions of its own, which it may change."""
        place = f"step {k}"
        observation, reward, ended, cut, _ = self._asked(place, lambda: self.environment.step(np.array(actions)))
        rewards = self._numbers("rewards", reward, place)
        if rewards.size != len(self.seeds):
            raise self._error(place, f"it gives rewards of the shape {rewards.shape} for {len(self.seeds)} episodes")
        over = np.asarray(ended, bool) | np.asarray(cut, bool)
        return self._numbers("observations", observation, place), rewards.reshape(len(self.seeds)), over

    def _asked(self, place: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # whatever somebody else's environment raises
            raise self._error(place, f"{type(error).__name__}: {error}") from error

    def _numbers(self, what: str, given: Any, place: str) -> Array:
        try:
            found = np.asarray(given, np.float64)
        except (TypeError, ValueError):
            raise self._error(place, f"its {what} are no numbers") from None
        if not np.isfinite(found).all():
            raise self._error(place, f"its {what} are not finite")
        return found

    def _error(self, place: str, why: str) -> RunError:
        return RunError(f"the environment of task '{self.task.name}' at {place}: {why}")
