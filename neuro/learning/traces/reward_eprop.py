"""Reward-based e-prop: an actor-critic learns from rewards alone; policy and value are readouts of the network.

With pi the softmax of the policy's outputs, V the value's output, a the action drawn, R the discounted sum of later rewards:

    E = mean over trials of sum over steps of -(R - V) log pi(a) + value_cost/2 (R - V)^2, the first (R - V) held fixed

and its e-prop gradient. The online form meets it without waiting for R: with delta = r + discount V' - V and
signal = (pi - 1[a], -value_cost), it is the sum over steps of delta F(signal ebar), F a filter with factor discount.

Source: Bellec et al. (2020), Nat Commun 11:3625.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.episodes import Episodes, acts, played, refuse_continuous
from neuro.learning.common.policies import chosen, discounted, drawn
from neuro.learning.common.summed_inputs import SummedInput
from neuro.learning.traces.eligibility import eligibility
from neuro.learning.traces.eprop import FORMS, EProp
from neuro.learning.traces.trial import Trial, check_inputs, run_trial
from neuro.options import OptionError
from neuro.protocols import Array, Batch, Parameters, UnsupportedError


class ActorCritic:
    """A task whose loss is E. Either the task has an environment and the batch was played, or it says what actions bring that
    change rewards, not inputs: `reward(actions [batch, time], batch)` -> [batch, time]; those are drawn here.

    The task records one variable of its output, whose last channel is the value; actions count where the batch's mask is
    set. random: draws the actions. After `loss`: `reward`, the mean sum of a trial;
    `signal` [batch, time, output] and `delta` [batch, time], what the online form multiplies.
    """

    def __init__(self, task: Any, discount: float, value_cost: float, random: np.random.Generator) -> None:
        if not hasattr(task, "reward") and not acts(task):
            raise UnsupportedError("any", "rule 'reward-eprop'", f"task '{task.name}' gives no rewards")
        refuse_continuous(task, "reward-eprop")
        self.task, self.output, self.discount, self.value_cost, self.random = (
            task, task.output, discount, value_cost, random,
        )  # fmt: skip
        self.reward, self.signal, self.delta = 0.0, np.zeros(0), np.zeros(0)

    def record(self) -> tuple[str, ...]:
        return tuple(self.task.record())

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        y = traces[self.record()[0]]
        value, log_pi = y[..., -1], torch.log_softmax(y[..., :-1], dim=-1)
        counts = torch.as_tensor(np.ones(value.shape) if batch.mask is None else batch.mask).to(y)
        pi, v = log_pi.detach().exp().double().cpu().numpy(), value.detach().double().cpu().numpy()
        if isinstance(batch, Episodes):
            actions, rewards = batch.actions, batch.rewards
        else:
            actions = drawn(pi, self.random)
            rewards = np.asarray(self.task.reward(actions, batch), dtype=np.float64)
        self.reward = float(rewards.sum(axis=1).mean())
        going = (
            batch.mask if isinstance(batch, Episodes) else np.ones(v.shape, bool)
        )  # nothing counts after an episode's end
        v = v * going
        self.delta = rewards + self.discount * np.concatenate([v[:, 1:], np.zeros((len(v), 1))], axis=1) - v
        policy = (pi - np.eye(pi.shape[-1])[actions]) * counts.double().cpu().numpy()[..., None]
        self.signal = np.concatenate([policy, np.full((*v.shape, 1), -self.value_cost)], axis=-1)
        missing = torch.as_tensor(discounted(rewards, self.discount)).to(y) - value
        missing = missing * torch.as_tensor(going).to(y)
        total = -(missing.detach() * chosen(log_pi, actions) * counts).sum() + self.value_cost / 2 * (missing**2).sum()
        return total / len(v)


@dataclass(frozen=True)
class RewardEProp(EProp):
    """The loss that `step` gives is minus the mean reward of a trial. form: see EProp, or "online", by the error delta of each
    step, with one more trace a synapse. seed: of the actions as well. Options: see EProp.
    """

    discount: float = 0.99
    value_cost: float = 0.5

    forms: ClassVar[tuple[str, ...]] = (*FORMS, "online")
    known_as: ClassVar[str] = "reward-eprop"
    unsliced: ClassVar[str] = "actions are drawn for all trials of a batch together"
    acting: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "online" and (self.rate_strength or self.recurrent != "none"):
            raise OptionError("the online form has no rate regularisation and no recurrent Jacobian")

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: Mapping[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        judged = ActorCritic(
            task, self.discount, self.value_cost, streams.generator(self.seed, "rule/reward-eprop", draw)
        )
        batch = played(program, parameters, task, batch, draw)
        if self.form != "online":
            _, found = super().estimate(program, parameters, batch, judged, memory, draw)
            return -judged.reward, found
        now = values(program.network, parameters)
        feedback = self._feedback(program, now, memory, task.output)
        self.check_network(program.network, task.output)
        check_inputs(program.network, batch, self.called())
        trial = run_trial(program, now, batch, judged, feedback, detach_reset=self.detach_reset)
        chosen = [trial.summed_inputs[n.removesuffix(".w")] for n in self.names(program)]
        return -judged.reward, {s.name: by_errors(trial, s, judged, feedback) for s in chosen}


def by_errors(trial: Trial, summed: SummedInput, judged: ActorCritic, feedback: Mapping[str, Array]) -> Array:
    """One projection's gradient, forwards in time: trace = discount trace + signal ebar; total += delta trace.

    Memory: arrays [batch, pre, post], whatever the number of steps.
    """
    reads: list[SummedInput | None] = [None]
    if summed.population != trial.output:
        reads = [s for s in trial.into(trial.output) if s.synapses.pre == summed.population]
    total = np.zeros(summed.synapses.ends)
    for read in reads:
        signal = judged.signal
        if read is not None:
            signal = signal @ read.dense(feedback.get(read.synapses.name, trial.parameters[read.name])).T
        trace: Any = 0.0
        for k, ebar in _filtered(trial, summed, read):
            trace = judged.discount * trace + signal[:, k, None, :] * ebar
            total += np.einsum("b,bij->ij", judged.delta[:, k], trace)
    return summed.layout(total / len(judged.delta))


def _filtered(trial: Trial, summed: SummedInput, read: SummedInput | None) -> Iterator[tuple[int, Array]]:
    """Step, and ebar [batch, pre, post or 1]: what the output's own filter makes of the projection's eligibility. read: by which the output reads
    the projection's cells, None where they are its own."""
    keep, gain = _filter(trial)
    if read is None:
        sent: Iterator[Array] = (
            a[:, :, None] * summed.gain for a in np.moveaxis(trial.activity[summed.synapses.name], 1, 0)
        )
        late = 0
    else:
        cells = trial.cells[summed.population]
        if read.pre is not None:
            raise UnsupportedError("any", "the online form of 'reward-eprop'", "the readout reads graded values")
        sent = (e * read.gain for _, e, _ in eligibility(cells, summed, trial.activity[summed.synapses.name]))
        late = read.late
    waiting: deque[Any] = deque([0.0] * late)
    ebar: Any = 0.0
    for k, e in enumerate(sent):
        waiting.append(e)
        ebar = keep * ebar + gain * waiting.popleft()
        yield k, np.asarray(ebar)


def _filter(trial: Trial) -> tuple[float, float]:
    """The leaky readout's factors: what it keeps of itself, and what it takes of its input in a step."""
    cells = trial.cells[trial.output]
    slopes = [np.unique(v) for v in cells.at(0).state.values()]
    if len(cells.states) != 1 or len(slopes) != 2 or any(s.size != 1 for s in slopes):
        raise UnsupportedError("any", "the online form of 'reward-eprop'", "it needs leaky readouts, all with one leak")
    (state,), (driver,) = cells.states, cells.inputs
    found = cells.at(0).state
    return float(np.unique(found[state, state])[0]), float(np.unique(found[state, driver])[0])
