"""Advantage actor-critic (A2C): the policy gradient through all of the network's own steps, with a value that it learns beside it.

With pi the softmax of the readout's channels but the last, V the last one, R the discounted sum of later rewards, A = R - V:

    loss = mean over episodes of 1/T sum over steps of -log pi(a) [A] + value_cost A^2 + diversity_cost sum over actions of pi^2

[A] is held fixed, nothing is expected after the last step. The last term is Simpson's index: lower, the more the policy varies.

Source: Mnih et al. (2016), ICML, PMLR 48:1928, without workers and without a value of the last state; the form of Miconi et al. (2019), ICLR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from neuro.episodes import acts, played, refuse_continuous
from neuro.learning.common.policies import chosen, discounted
from neuro.learning.common.summed_inputs import refuse_parts
from neuro.learning.gradient.bptt import BPTT, gradient_of
from neuro.options import OptionError, one_of
from neuro.protocols import Array, Batch, Parameters, UnsupportedError

BASELINES = ("per_episode", "shared_first")


@dataclass(frozen=True)
class ActorCritic(BPTT):
    """The loss that `step` gives is minus the mean return of an episode.

    value_baseline: "per_episode", or "shared_first", with which every episode's A is taken from the value of the first one in the
    batch, as published code of plastic networks does by an oversight. Other options: see BPTT.
    """

    discount: float = 0.9
    value_cost: float = 0.1
    diversity_cost: float = 0.1
    value_baseline: str = "per_episode"

    known_as: ClassVar[str] = "actor-critic"
    unsliced: ClassVar[str] = "actions are drawn for all episodes of a batch together"
    acting: ClassVar[bool] = True  # it learns from what the network does, where a task acts

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("value_baseline", self.value_baseline, BASELINES)
        if not 0 <= self.discount <= 1:
            raise OptionError(f"discount={self.discount}; give a factor from 0 to 1")

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: Mapping[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        if not acts(task):
            why = f"task '{task.name}' has no environment; use rule 'bptt', or 'reward-eprop' where it gives rewards"
            raise UnsupportedError("any", f"rule '{self.called()}'", why)
        refuse_continuous(task, self.called())
        refuse_parts(batch, self.called())
        episodes = played(program, parameters, task, batch, draw)
        options: dict[str, Any] = {"truncate": self.truncate} if self.truncate else {}
        _, slopes = gradient_of(self, program, parameters, episodes, self.judged(task), **options)
        return -float(episodes.returns.mean()), slopes

    def judged(self, task: Any) -> Judged:
        """The task with this rule's loss."""
        return Judged(task, self)


@dataclass(frozen=True)
class Judged:
    """A task whose loss is the actor-critic's."""

    task: Any
    rule: ActorCritic

    def record(self) -> tuple[str, ...]:
        return tuple(self.task.record())

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Any) -> Any:
        rule, y = self.rule, traces[self.record()[0]]
        log_pi = torch.log_softmax(y[..., :-1], dim=-1)
        value = y[..., -1] if rule.value_baseline == "per_episode" else y[:1, :, -1]
        counts = torch.as_tensor(batch.mask).to(y)
        advantage = torch.as_tensor(discounted(batch.rewards, rule.discount)).to(y) - value
        policy = -chosen(log_pi, batch.actions) * advantage.detach()
        diversity = (log_pi.exp() ** 2).sum(-1)
        total = policy + rule.value_cost * advantage**2 + rule.diversity_cost * diversity
        return (total * counts).sum() / (y.shape[0] * y.shape[1])
