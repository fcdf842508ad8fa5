"""Crippled: a walker of which a part may be without power for a whole episode, and nobody tells it which; needs the extra `control`.

Task of Schmidgall (2020), arXiv 2006.05832, with MuJoCo's walkers in place of Bullet's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neuro.compiler import streams
from neuro.model import Network
from neuro.options import OptionError, counts, hint, one_of
from neuro.protocols import Array, Recording, Settings
from neuro.registry import missing
from tasks.acting import ContinuousTask, JudgedByReturn, same_for_each
from tasks.motor_networks import FORMS, motor_network
from tasks.plastic_networks import trained
from tasks.spiking_motors import PREFIX, READOUT, SPIKING, spiking_network

LONGEST = 1000  # steps of gymnasium's episodes
SEEN = 5.0  # observations are clipped to this, above and below
ALIVE, STRAINED = 0.01, 0.1  # the published reward: for each step, and against each joint at its limit
AT_LIMIT = 0.99  # of a joint's range, from its middle
REWARDS = ("displacement", "published")
MASKED = 0.8  # of the tanh units, by an oracle (XdG: Masse et al. 2018, PNAS 115:E10467)


@dataclass(frozen=True)
class Walker:
    """environment: its name at gymnasium. observed: numbers in an observation. parts: the actions of each part that may fail. sound: how often none does."""

    environment: str
    observed: int
    parts: tuple[tuple[int, ...], ...]
    sound: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def actions(self) -> int:
        return sum(len(part) for part in self.parts)


WALKERS = {  # the ant's actions are hip and ankle of its legs 4, 1, 2, 3, so part 0 is leg 4
    "ant": Walker(
        "Ant-v5", 27, ((0, 1), (2, 3), (4, 5), (6, 7)), 0.4,
        {"include_cfrc_ext_in_observation": False, "terminate_when_unhealthy": False},
    ),
    "half-cheetah": Walker("HalfCheetah-v5", 17, tuple((i,) for i in range(6)), 0.5),
    "hopper": Walker("Hopper-v5", 11, tuple((i,) for i in range(3)), 0.5, {"terminate_when_unhealthy": False}),
}  # fmt: skip


def masks(conditions: int, size: int) -> Array:
    """1 for the tanh units that work under a condition, 0 for MASKED of them [condition, unit]: drawn at random, and the same in every run."""
    random, working = streams.generator(0, "crippled/masks"), max(1, round((1 - MASKED) * size))
    return np.array([random.permutation(size) < working for _ in range(conditions)], np.float64)


class CrippledEnvironment:
    """Copies of a walker, one after another in this process. An episode's seed says how it begins and which part gets no power.

    disabled: "drawn", "none", or a part's number. reward: "displacement" along x in the step [m]; "published", that and ALIVE less STRAINED for each joint
    at its limit. told: numbers that are shown after each observation, of the episode's condition [condition, number], first of those without a handicap;
    none of them for those who aren't told. An episode ends early where something isn't finite. After `reset`: `without` [episode], the part, -1 for none.
    """

    def __init__(self, episodes: int, walker: Walker, disabled: str, reward: str, noise: float, told: Array) -> None:
        self.num_envs, self.walker, self.disabled, self.reward, self.told = episodes, walker, disabled, reward, told
        self._made = _made(walker, episodes, noise)
        space, acts = self._made.single_observation_space, self._made.single_action_space
        if (space.shape, acts.shape) != ((walker.observed,), (walker.actions,)):
            raise OptionError(f"environment '{walker.environment}' shows {space} and takes {acts}; use gymnasium 1.4")
        self._low, self._high, model = acts.low, acts.high, self._made.envs[0].unwrapped.model
        limited = np.flatnonzero(model.jnt_limited)
        self._range = model.jnt_range[limited].T
        hidden = model.nq + model.nv - walker.observed  # of the positions, the first aren't shown
        self._joints = model.jnt_qposadr[limited] - hidden

    def reset(self, *, seed: Any = None) -> tuple[Array, Mapping[str, Any]]:
        seeds = same_for_each(seed, self.num_envs)
        self.without = np.array([self._part(s) for s in seeds])
        self._power = np.ones((self.num_envs, self.walker.actions))
        for powered, part in zip(self._power, self.without, strict=True):
            if part >= 0:
                powered[list(self.walker.parts[part])] = 0.0
        observation, info = self._made.reset(seed=seeds)
        self._x = np.asarray(info["x_position"], np.float64)
        return self._shown(np.clip(observation, -SEEN, SEEN)), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Mapping[str, Any]]:
        self.powered = np.clip(actions, self._low, self._high) * self._power
        observation, _, ended, cut, info = self._made.step(self.powered)
        x = np.asarray(info["x_position"], np.float64)
        finite = np.isfinite(observation).all(axis=1) & np.isfinite(x)
        rewards = x - self._x
        if self.reward == "published":
            rewards = rewards + ALIVE - STRAINED * self._strained(observation)
        self._x = x
        observation = np.where(finite[:, None], np.clip(observation, -SEEN, SEEN), 0.0)
        rewards = np.where(finite, rewards, 0.0)
        return self._shown(observation), rewards, np.asarray(ended) | ~finite, np.asarray(cut), {}

    def close(self) -> None:
        self._made.close()

    def _shown(self, observation: Array) -> Array:
        return np.concatenate([observation, self.told[self.without + 1]], axis=1)

    def _part(self, seed: int) -> int:
        if self.disabled != "drawn":
            return -1 if self.disabled == "none" else int(self.disabled)
        random, parts = streams.generator(seed, "crippled"), len(self.walker.parts)
        return -1 if random.random() < self.walker.sound else int(random.integers(parts))

    def _strained(self, observation: Array) -> Array:
        """How many joints are at a limit [episode]."""
        low, high = self._range
        places = (2 * observation[:, self._joints] - low - high) / (high - low)
        return np.asarray((np.abs(places) > AT_LIMIT).sum(axis=1))


def _made(walker: Walker, episodes: int, noise: float) -> Any:
    """gymnasium's own copies. Raises OptionError."""
    for package in ("gymnasium", "mujoco", "imageio"):
        try:
            __import__(package)
        except ImportError:
            raise OptionError(missing("task 'crippled'", package)) from None
    import gymnasium

    options = {**walker.options, "reset_noise_scale": noise}
    try:
        return gymnasium.make_vec(walker.environment, num_envs=episodes, vectorization_mode="sync", **options)
    except (gymnasium.error.Error, ImportError) as error:
        raise OptionError(f"environment '{walker.environment}': {error}") from None


class Crippled(JudgedByReturn, ContinuousTask):
    """walker: "ant", "half-cheetah", "hopper". form, modulator, gate, structural, hidden: see tasks.motor_networks; form "spiking-ndp-oja" and the like: see
    tasks.spiking_motors. steps: of an episode, at most 1000. disabled, reward: see CrippledEnvironment. noise: of positions and velocities at the start.
    Metric: mean return of the episodes.

    oracle: the policy is told what is disabled, by a mask that silences four fifths of its tanh units, others for each part (XdG). It bounds what a policy that
    knows could do, and is no fair competitor of those that aren't told.
    """

    name = "crippled"
    version = 1
    output = "motors"
    readout = ("plastic.w", "motors.b")
    learns_by = ("es",)
    updates = 80
    test_trials = 10
    settings = Settings(
        epochs=1,
        batch=1,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "es": {
                "trainable": ("*",), "samples": 16, "sigma": 0.05, "learning_rate": 0.03, "standardise": True, "l2": 0.005,
            },
        },
    )  # fmt: skip

    def __init__(
        self, walker: str = "ant", form: str = "modulated", modulator: str = "pooled", gate: bool = False, structural: bool = False, oracle: bool = False,
        hidden: int = 32, steps: int = 150, disabled: str = "drawn", reward: str = "displacement", noise: float = 0.05,
    ) -> None:  # fmt: skip
        if walker not in WALKERS:
            raise OptionError(f"there is no walker '{walker}'; {hint(walker, WALKERS)}")
        counts(hidden=hidden, steps=steps)
        if steps > LONGEST:
            raise OptionError(f"steps={steps}: an episode has at most {LONGEST}")
        one_of("form", form, (*FORMS, *SPIKING))
        one_of("reward", reward, REWARDS)
        self.body = WALKERS[walker]
        one_of("disabled", disabled, ("drawn", "none", *map(str, range(len(self.body.parts)))))
        if not noise >= 0:
            raise OptionError(f"noise={noise}; give a number of at least 0")
        self.walker, self.form, self.modulator, self.hidden = walker, form, modulator, hidden
        self.gate, self.structural, self.oracle = gate, structural, oracle
        self.steps, self.disabled, self.reward, self.noise = steps, disabled, reward, noise
        if form in SPIKING:
            self._spikes(form.removeprefix(PREFIX))

    def _spikes(self, kind: str) -> None:
        """What differs where the policy spikes. Raises OptionError."""
        options = {"modulator": "pooled", "gate": False, "structural": False, "oracle": False}
        for option, usual in options.items():
            if (given := getattr(self, option)) != usual:
                raise OptionError(f"{option}={given!r}: form '{self.form}' has no tanh units; use form='modulated'")
        searched = {"es": {**self.settings.rules["es"], "trainable": trained(kind)}}
        self.readout, self.settings = READOUT, replace(self.settings, rules=searched)

    @property
    def actions(self) -> int:  # type: ignore[override]
        """Numbers of an action."""
        return self.body.actions

    def network(self, seed: int) -> Network:
        sizes = self.body.observed, self.hidden, self.actions
        if self.form in SPIKING:
            return spiking_network(self.name, *sizes, self.form.removeprefix(PREFIX), seed=seed)
        options = {"gate": self.gate, "structural": self.structural, "oracle": self.oracle}
        return motor_network(self.name, *sizes, self.form, self.modulator, **options, seed=seed)

    def environment(self, episodes: int) -> CrippledEnvironment:
        told = masks(len(self.body.parts) + 1, self.hidden if self.oracle else 0)
        return CrippledEnvironment(episodes, self.body, self.disabled, self.reward, self.noise, told)

    def shown(self, observation: Array, action: Array | None, reward: Array) -> Mapping[str, Array]:
        senses, mask = np.split(observation, [self.body.observed], axis=1)
        return {"senses": senses} | ({"mask": mask} if self.oracle else {})

    def perfect(self, batch: Any) -> Recording:
        """Nobody knows; no torque at all."""
        return Recording(1e-3, traces={"motors.y": np.zeros((*batch.mask.shape, self.actions))})
