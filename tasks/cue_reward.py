"""Cue-reward: which of several cues is the target changes from episode to episode, and only rewards tell.

Task of Miconi et al. (2019), ICLR, arXiv 2002.10585, without the one input that theirs never uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuro.compiler import streams
from neuro.episodes import Environment, Episodes
from neuro.options import OptionError, counts
from neuro.protocols import Array, Recording, Settings
from tasks.acting import same_for_each
from tasks.self_modifying import TRAINED, SelfModifyingTask


class CueRewardEnvironment:
    """Trials one after another to the end of the episode. A trial: a blank, then half of the cues and blanks in random order, a go signal, a blank. At
    the go signal action 1 is right if the target was among the cues of the trial, else action 0; right brings 1, wrong -1.

    Shown: the cue's bits, +-1 or 0 for none; the go signal; a one; the time within the episode, 0 to 1. After `reset`: `go` and `right`
    [episode, time], where a go signal comes and the right action.
    """

    def __init__(self, episodes: int, cues: int, bits: int, steps: int) -> None:
        self.num_envs, self.cues, self.bits, self.steps = episodes, cues, bits, steps

    def reset(self, *, seed: Any = None) -> tuple[Array, Mapping[str, Any]]:
        made = [self._episode(streams.generator(s, "cue-reward")) for s in same_for_each(seed, self.num_envs)]
        self._bits, self.go, self.right = (np.stack(parts) for parts in zip(*made, strict=True))
        self._k = 0
        return self._seen(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Mapping[str, Any]]:
        go, right = self.go[:, self._k], self.right[:, self._k]
        rewards = np.where(go, np.where(np.asarray(actions) == right, 1.0, -1.0), 0.0)
        self._k += 1
        over = np.full(self.num_envs, self._k == self.steps)
        return self._seen(), rewards, np.zeros_like(over), over, {}

    def close(self) -> None:
        """Nothing is open."""

    def _seen(self) -> Array:
        k = min(self._k, self.steps - 1)
        clock = np.broadcast_to([1.0, k / self.steps], (self.num_envs, 2))
        return np.concatenate([self._bits[:, k], self.go[:, k, None], clock], axis=1)

    def _episode(self, random: np.random.Generator) -> tuple[Array, Array, Array]:
        patterns = np.array([[2 * (i >> b & 1) - 1 for b in range(self.bits)] for i in self._different(random)], float)
        target = int(random.integers(self.cues))
        bits, go, right = np.zeros((self.steps, self.bits)), np.zeros(self.steps, bool), np.zeros(self.steps, int)
        first = 0
        while first < self.steps:
            length = self.cues // 2 + 3 + int(random.integers(self.cues))
            order = np.full(length - 3, -1)
            order[: self.cues // 2] = random.permutation(self.cues)[: self.cues // 2]
            for k, cue in enumerate(random.permutation(order), start=first + 1):
                if cue >= 0 and k < self.steps:
                    bits[k] = patterns[cue]
            if (at := first + length - 2) < self.steps:
                go[at], right[at] = True, int(target in order)
            first += length
        return bits, go, right

    def _different(self, random: np.random.Generator) -> list[int]:
        """Patterns as numbers, no two alike."""
        found: dict[int, None] = {}
        while len(found) < self.cues:
            found[int(random.integers(2**self.bits))] = None
        return list(found)


class CueReward(SelfModifyingTask):
    """cues, bits: of an episode. form: see tasks.self_modifying. Loss, for rules that are told the answer: cross entropy of the
    preferences at go signals. Metric: share of go signals in the second half of the episode at which the right action is preferred.
    """

    name = "cue-reward"
    version = 1
    readout = ("readout.w", "output.b")
    actions = 2
    updates = 50
    test_trials = 100
    settings = Settings(
        epochs=12,
        batch=30,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "actor-critic": {
                "trainable": TRAINED, "learning_rate": 2e-3, "clip": 2.5, "discount": 0.9, "value_cost": 0.1, "diversity_cost": 0.05,
                "optimiser_options": {"eps": 1e-6},
            },
            "bptt": {"trainable": TRAINED, "learning_rate": 2e-3, "clip": 2.5},
        },
    )  # fmt: skip

    def __init__(
        self, cues: int = 2, bits: int = 2, steps: int = 60, hidden: int = 32, form: str = "modulated", clip: float = 1.0,
        eta: float = 0.1, scale: float = 0.01,
    ) -> None:  # fmt: skip
        counts(cues=cues, bits=bits, steps=steps)
        if cues > 2**bits:
            raise OptionError(f"cues={cues}, bits={bits}: there are only {2**bits} patterns of so many bits")
        longest = cues // 2 + 3 + cues - 1
        if steps < 2 * longest:
            raise OptionError(
                f"steps={steps}: a trial takes up to {longest}; give at least {2 * longest}, so that both halves of an episode hold one"
            )
        super().__init__(hidden, form, clip, eta, scale)
        self.cues, self.bits, self.steps, self.observed = cues, bits, steps, bits + 3

    def environment(self, episodes: int) -> Environment:
        return CueRewardEnvironment(episodes, self.cues, self.bits, self.steps)

    def answers(self, batch: Any) -> tuple[Array, Array]:
        """Where go signals come, and the right actions [batch, time]."""
        environment = CueRewardEnvironment(len(batch.targets), self.cues, self.bits, self.steps)
        environment.reset(seed=batch.targets)
        return environment.go, environment.right

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Any) -> Any:
        import torch

        y = traces[f"{self.output}.y"]
        go, right = (torch.as_tensor(a).to(y.device) for a in self.answers(batch))
        return torch.nn.functional.cross_entropy(y[..., :-1][go], right[go])

    def weight(self, batch: Any) -> float:
        """Go signals."""
        return float(np.count_nonzero(self.answers(batch)[0]))

    def metric(self, recording: Recording, batch: Any) -> float:
        go, right = self.answers(batch)
        go[:, : self.steps // 2] = False
        preferred = np.asarray(recording.traces[f"{self.output}.y"])[..., :-1].argmax(axis=-1)
        return float(np.mean(preferred[go] == right[go]))

    def accuracy(self, episodes: Episodes) -> float:
        """Share of go signals in the second half of the episodes at which the action taken was right."""
        go, right = self.answers(episodes)
        go[:, : self.steps // 2] = False
        return float(np.mean(episodes.actions[go] == right[go]))

    def perfect(self, batch: Any) -> Recording:
        """The right preference is 20 above the other."""
        y = np.concatenate([20.0 * np.eye(2)[self.answers(batch)[1]], np.zeros((*batch.mask.shape, 1))], axis=2)
        return Recording(1e-3, traces={f"{self.output}.y": y})
