"""Maze: an invisible reward whose place changes from episode to episode; who finds it is put elsewhere and may come back.

Task of Miconi et al. (2019), ICLR, arXiv 2002.10585, without the one input that theirs never uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from neuro.compiler import streams
from neuro.episodes import Environment
from neuro.options import OptionError, counts
from neuro.protocols import Array, Recording, Settings
from tasks.acting import same_for_each
from tasks.self_modifying import TRAINED, SelfModifyingTask

MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])
REWARD = 10.0


def walls(size: int) -> Array:
    """bool [size, size]: a border, pillars where both coordinates are even, the centre free. Raises OptionError."""
    if size < 5 or size % 2 == 0:
        raise OptionError(f"a maze has an odd number of at least 5 cells a side, not {size}")
    found = np.zeros((size, size), bool)
    found[::2, ::2] = True
    found[[0, -1], :] = found[:, [0, -1]] = True
    found[size // 2, size // 2] = False
    return found


@lru_cache(maxsize=1024)
def distances(size: int, goal: tuple[int, int]) -> Array:
    """Steps to the goal [size, size]; -1 at walls."""
    closed, found, front = walls(size), np.full((size, size), -1), [goal]
    found[goal] = 0
    for here in front:
        for move in MOVES:
            there = here[0] + int(move[0]), here[1] + int(move[1])
            if not closed[there] and found[there] < 0:
                found[there] = found[here] + 1
                front.append(there)
    found.flags.writeable = False
    return found


class MazeEnvironment:
    """Moves up, down, left, right; a move into a wall keeps the place. The reward's place brings 10 and puts the walker on a random free place.

    Shown: walls within a step, [3, 3] row by row; a one; the time within the episode, 0 to 1. places, goals: [episode, 2], row and column.
    """

    def __init__(self, episodes: int, size: int, steps: int) -> None:
        self.num_envs, self.size, self.steps, self.walls = episodes, size, steps, walls(size)
        self.free = np.argwhere(~self.walls)

    def reset(self, *, seed: Any = None) -> tuple[Array, Mapping[str, Any]]:
        self._random = [streams.generator(s, "maze") for s in same_for_each(seed, self.num_envs)]
        centre = np.array([self.size // 2] * 2)
        self.goals = np.stack([self._elsewhere(centre, r) for r in self._random])
        self.places = np.tile(centre, (self.num_envs, 1))
        self._k = 0
        return self._seen(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Mapping[str, Any]]:
        there = self.places + MOVES[np.asarray(actions)]
        self.places = np.where(self.walls[tuple(there.T)][:, None], self.places, there)
        hit = (self.places == self.goals).all(axis=1)
        for i in np.flatnonzero(hit):
            self.places[i] = self._elsewhere(self.goals[i], self._random[i])
        self._k += 1
        over = np.full(self.num_envs, self._k == self.steps)
        return self._seen(), np.where(hit, REWARD, 0.0), np.zeros_like(over), over, {}

    def close(self) -> None:
        """Nothing is open."""

    def _elsewhere(self, place: Array, random: np.random.Generator) -> Array:
        """A free place other than this one."""
        others = self.free[(self.free != place).any(axis=1)]
        return np.asarray(others[random.integers(len(others))])

    def _seen(self) -> Array:
        rows = self.places[:, :1] + np.repeat([-1, 0, 1], 3)
        columns = self.places[:, 1:] + np.tile([-1, 0, 1], 3)
        clock = np.broadcast_to([1.0, min(self._k, self.steps - 1) / self.steps], (self.num_envs, 2))
        return np.concatenate([self.walls[rows, columns], clock], axis=1)


Walker = Callable[[MazeEnvironment, np.random.Generator], Array]


def random_walk(environment: MazeEnvironment, random: np.random.Generator) -> Array:
    """Every move equally often."""
    return random.integers(0, len(MOVES), environment.num_envs)


def shortest_path(environment: MazeEnvironment, random: np.random.Generator) -> Array:
    """What is best for who knows the reward's place; ties at random."""
    return np.array([_towards(environment, i, random) for i in range(environment.num_envs)])


class ExploreThenGo:
    """The least visited neighbour, ties at random, until the reward was met once; then the shortest path."""

    def __init__(self, episodes: int, size: int) -> None:
        self.visits = np.zeros((episodes, size, size))
        self.met = np.zeros(episodes, bool)

    def __call__(self, environment: MazeEnvironment, random: np.random.Generator) -> Array:
        found = np.zeros(environment.num_envs, int)
        for i, place in enumerate(environment.places):
            self.visits[i][tuple(place)] += 1
            if self.met[i]:
                found[i] = _towards(environment, i, random)
                continue
            counts = np.array([self._count(environment, i, place + move) for move in MOVES])
            found[i] = random.choice(np.flatnonzero(counts == counts.min()))
        return found

    def _count(self, environment: MazeEnvironment, episode: int, place: Array) -> float:
        return np.inf if environment.walls[tuple(place)] else float(self.visits[episode][tuple(place)])


def _towards(environment: MazeEnvironment, episode: int, random: np.random.Generator) -> int:
    left = distances(environment.size, tuple(environment.goals[episode].tolist()))
    there = np.array([left[tuple(environment.places[episode] + move)] for move in MOVES])
    there = np.where(there < 0, np.iinfo(int).max, there)
    return int(random.choice(np.flatnonzero(there == there.min())))


def walked(size: int, steps: int, episodes: int, walker: Walker, seed: int) -> Array:
    """Sum of rewards of each episode [episode] of somebody who walks by a rule."""
    environment, random = MazeEnvironment(episodes, size, steps), streams.generator(seed, "maze/walker")
    environment.reset(seed=streams.generator(seed, "maze/episodes").integers(0, 2**31, episodes))
    total = np.zeros(episodes)
    for _ in range(steps):
        _, rewards, _, _, _ = environment.step(walker(environment, random))
        total += rewards
        if isinstance(walker, ExploreThenGo):
            walker.met |= rewards > 0
    return total


class Maze(SelfModifyingTask):
    """size: cells a side, the border included. form: see tasks.self_modifying. Loss, for rules that are told the answer: minus the mean log probability of a
    move on a shortest path. Metric: share of steps at which the preferred move is on one; so it judges moves in episodes that were
    played before, and what a network earns is the episodes' return.
    """

    name = "maze"
    version = 1
    readout = ("readout.w", "output.b")
    actions = len(MOVES)
    observed = 9 + 2
    updates = 50
    test_trials = 50
    settings = Settings(
        epochs=10,
        batch=30,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "actor-critic": {
                "trainable": TRAINED, "learning_rate": 1e-3, "clip": 4.0, "discount": 0.9, "value_cost": 0.1, "diversity_cost": 0.03,
                "optimiser_options": {"eps": 1e-4},
            },
        },
    )  # fmt: skip

    def __init__(
        self, size: int = 7, steps: int = 100, hidden: int = 50, form: str = "modulated", clip: float = 1.0, eta: float = 0.01,
        scale: float = 0.01,
    ) -> None:  # fmt: skip
        walls(size)
        counts(steps=steps)
        super().__init__(hidden, form, clip, eta, scale)
        self.size, self.steps = size, steps

    def environment(self, episodes: int) -> Environment:
        return MazeEnvironment(episodes, self.size, self.steps)

    def best(self, batch: Any) -> Array:
        """bool [batch, time, move]: the moves on a shortest path, at each step of episodes that were played."""
        environment = MazeEnvironment(len(batch.targets), self.size, self.steps)
        environment.reset(seed=batch.targets)
        left = np.stack([distances(self.size, tuple(goal)) for goal in environment.goals.tolist()])
        left, each = np.where(left < 0, np.iinfo(int).max, left), np.arange(len(left))
        found = np.zeros((*batch.actions.shape, len(MOVES)), bool)
        for k in range(batch.actions.shape[1]):
            there = np.stack([left[each, *(environment.places + move).T] for move in MOVES], axis=-1)
            found[:, k] = there == there.min(axis=-1, keepdims=True)
            environment.step(batch.actions[:, k])
        return found

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Any) -> Any:
        import torch

        log_pi = torch.log_softmax(traces[f"{self.output}.y"][..., :-1], dim=-1)
        worse = torch.as_tensor(~self.best(batch)).to(log_pi.device)
        return -log_pi.masked_fill(worse, -torch.inf).logsumexp(-1).mean()

    def metric(self, recording: Recording, batch: Any) -> float:
        preferred = np.asarray(recording.traces[f"{self.output}.y"])[..., :-1].argmax(axis=-1)
        return float(np.take_along_axis(self.best(batch), preferred[..., None], -1).mean())

    def perfect(self, batch: Any) -> Recording:
        """The best moves are 20 above the others."""
        best = self.best(batch)
        return Recording(
            1e-3, traces={f"{self.output}.y": np.concatenate([20.0 * best, np.zeros((*batch.mask.shape, 1))], axis=2)}
        )
