"""What tasks share whose networks act in an environment (see neuro.episodes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro.episodes import Environment, Episodes, by_chance
from neuro.learning.common.policies import drawn, softmax
from neuro.protocols import Array, Recording, UnsupportedError
from tasks.synthetic import SyntheticTask


class ActingTask(SyntheticTask):
    """Discrete actions, drawn by the softmax of the output's channels but the last, which is the value of what is to come.

    actions: how many. The input `senses` holds what the environment shows, then the reward of the step before, then its action as one of n.
    """

    output = "output"
    actions: int
    steps: int
    discrete = True

    @property
    def channels(self) -> int:
        """Of the output."""
        return self.actions + 1

    def environment(self, episodes: int) -> Environment:
        """So many copies, played side by side."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator, trials: int) -> Episodes:
        """This many new episodes, played by chance."""
        return by_chance(self, rng.integers(0, 2**31, trials), rng)

    def shown(self, observation: Array, action: Array | None, reward: Array) -> Mapping[str, Array]:
        """What the network hears of a step: observation, the last reward, and the last action, one channel each. Arrays [batch, channel]; action None before the first step."""
        past = np.zeros((len(observation), self.actions)) if action is None else np.eye(self.actions)[action]
        return {"senses": np.concatenate([observation, reward[:, None], past], axis=1)}

    def act(self, output: Array, random: np.random.Generator) -> Array:
        """An action of each episode [batch], drawn by the output's soft maximum; the output's last number is the value."""
        return drawn(softmax(output[..., :-1]), random)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.y",)


class ContinuousTask(ActingTask):
    """Actions are the output's numbers, of which the environment makes what it can. The input `senses` holds what it shows, and nothing else."""

    discrete = False

    @property
    def channels(self) -> int:
        """Of the output."""
        return self.actions

    def shown(self, observation: Array, action: Array | None, reward: Array) -> Mapping[str, Array]:
        """What the network hears of a step: the observation [batch, channel]."""
        return {"senses": observation}

    def act(self, output: Array, random: np.random.Generator) -> Array:
        """The output's numbers [batch, action]."""
        return output


class JudgedByReturn:
    """A task of which nobody knows the right actions: rules that are told them can't be used, and its metric is the mean return of the episodes."""

    name: str
    learns_by: tuple[str, ...] = ("actor-critic", "reward-eprop", "es")  # rules

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Any) -> Any:
        """Raises UnsupportedError."""
        *first, last = (f"'{rule}'" for rule in self.learns_by)
        instead = f"{', '.join(first)} or {last}" if first else last
        why = f"nobody knows the right actions; use rule {instead}"
        raise UnsupportedError("any", f"task '{self.name}' for a rule that is told the answer", why)

    def metric(self, recording: Recording, batch: Any) -> float:
        return float(batch.returns.mean())


def same_for_each(seed: Any, episodes: int) -> list[int]:
    """One seed a copy, from what gymnasium's vector environments take: one for each, or one number, counted up."""
    if seed is None:
        return [int(s) for s in np.random.default_rng().integers(0, 2**31, episodes)]
    return [int(seed) + i for i in range(episodes)] if np.ndim(seed) == 0 else [int(s) for s in seed]
