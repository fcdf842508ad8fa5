"""Node perturbation and its relatives: a plain trial and a perturbed one, two scalar errors an update.

np: noise on the summed inputs that trainable weights feed; a synapse's credit is the sum over time of noise times presynaptic
activity. wp0: weights are perturbed, and those without presynaptic activity stay. hybrid: weights are perturbed, and credit is
np's with the change of the summed input that they made. Plain weight perturbation is rule "wp". A batch counts as one trial.

Source: Zuege, Klos & Memmesheimer (2023), Phys Rev X 13:021006.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from neuro.compiler import streams
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.language.units import unit
from neuro.learning.common import optimisers
from neuro.learning.common.summed_inputs import SummedInput, attach, refuse_state, silent, summed_inputs
from neuro.learning.search.search_space import Array, SearchSpace, check_capable, loss_of, trials
from neuro.learning.search.spread import SPENT, Held, Moment, spent
from neuro.model import Network
from neuro.options import one_of
from neuro.protocols import Batch, Parameters, Recording, UnsupportedError

KINDS = ("np", "wp0", "hybrid")


@dataclass
class PerturbationState:
    """theta: free numbers [n]. scales: SI value of each weight's own unit; np: of the first that reaches its input. updates: made so far. held: by workers."""

    space: SearchSpace
    summed_inputs: tuple[SummedInput, ...]
    scales: dict[str, float]
    theta: torch.Tensor
    optimiser: Any
    updates: int = 0
    held: Held | None = None


@dataclass(frozen=True)
class Perturbation:
    """kind: np, wp0 or hybrid. sigma: of the noise, in the weights' own unit. decay: theta *= 1 - decay after updates.

    np needs a program of `attach(network)`, which takes the noise as inputs.
    """

    kind: str = "np"
    sigma: float = 0.01
    trainable: tuple[str, ...] = ("*.w",)
    optimiser: str = "sgd"
    learning_rate: float = 1e-2
    decay: float = 0.0

    metrics: ClassVar[tuple[str, ...]] = SPENT
    runs_at_once: ClassVar[int] = 2  # that workers can share: the plain trial and the perturbed one

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        optimisers.check(self.optimiser)

    def attach(self, network: Network) -> Network:
        """The network to compile: with inputs for the noise."""
        return attach(network, self.trainable) if self.kind == "np" else network

    def init(self, program: Any, parameters: Parameters | None = None) -> PerturbationState:
        """State before the first update. Raises UnsupportedError where program or network don't allow the rule."""
        check_capable(self.kind, program)
        space = SearchSpace.of(program, self.trainable)
        found = summed_inputs(program.network, self.trainable)
        known = {i.name for i in program.network.inputs}
        if self.kind == "np" and not all(s.noise in known for s in found):
            why = "it has no inputs for the noise; compile rule.attach(network)"
            raise UnsupportedError(program.backend, "rule 'np'", why)
        declared = declared_parameters(program.network)
        scales = {s.name: float(unit(declared[s.name].unit).value) for s in found}
        if self.kind == "np":  # one noise for all that reach an input
            first = {s.noise: scales[s.name] for s in reversed(found)}
            scales = {s.name: first[s.noise] for s in found}
        theta = torch.tensor(space.vector(parameters), requires_grad=True)
        optimiser = optimisers.make(self.optimiser, [theta], self.learning_rate)
        return PerturbationState(space, found, scales, theta, optimiser)

    def step(
        self, program: Any, parameters: Parameters, state: PerturbationState, batch: Batch, task: Any
    ) -> tuple[Parameters, PerturbationState, Mapping[str, float]]:
        """One update. task: its `loss` and `record`. Returns SI arrays of the trained parameters, state, metrics."""
        loss, gradient = self._estimate(program, parameters, state, batch, task)
        if not np.isfinite(gradient).all():
            raise FloatingPointError(f"an error is not finite at update {state.updates}; lower the learning rate")
        state.theta.grad = torch.from_numpy(gradient)
        state.optimiser.step()
        if self.decay:
            with torch.no_grad():
                state.theta.mul_(1 - self.decay)
        state.updates += 1
        norm = float(np.linalg.norm(gradient))
        trained = state.space.arrays(state.theta.detach().numpy())
        return {**parameters, **trained}, state, {"loss": loss, "gradient_norm": norm, **spent(program)}

    def gradient(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, draw: int = 0
    ) -> dict[str, Array]:
        """See Rule.gradient."""
        state = self.init(program, parameters)
        state.updates = draw
        _, found = self._estimate(program, parameters, state, batch, task)
        return state.space.push(state.theta.detach().numpy(), found)

    def _estimate(
        self, program: Any, parameters: Parameters, state: PerturbationState, batch: Batch, task: Any
    ) -> tuple[float, Array]:
        """Loss of the plain trial and the gradient by free numbers [n]."""
        refuse_state(batch, self.kind)
        (loss, credits), (other, _) = self._both(program, parameters, state, batch, task)
        worse, theta = other - loss, state.theta.detach().numpy()
        if self.kind == "wp0":
            return loss, worse / self.sigma * self._direction(program, state) * state.space.flat(credits)
        slopes = {s.name: worse / self._variance(state, s) * credits[s.name] for s in state.summed_inputs}
        return loss, state.space.pull_back(theta, slopes)

    def _both(
        self, program: Any, parameters: Parameters, state: PerturbationState, batch: Batch, task: Any
    ) -> list[tuple[float, dict[str, Array]]]:
        """Of the plain trial and of the perturbed one the loss, of the plain one what each weight is credited with; two workers make one each."""
        if not hasattr(program, "each"):
            return self._trials(program, parameters, state, batch, task, (0, 1))
        if state.held is None or state.held.task is not task:
            state.held = Held(self, task)
        theta, changed = state.theta.detach().numpy(), state.space.changed(parameters)
        moment = Moment(theta, {}, state.updates, changed, 0)
        found: list[Any] = program.each(_trial, [(0,), (1,)], (state.held, moment, batch))
        return found

    def _trials(
        self, program: Any, parameters: Parameters, state: PerturbationState, batch: Batch, task: Any,
        which: tuple[int, ...],
    ) -> list[tuple[float, dict[str, Array]]]:  # fmt: skip
        """which: 0 the plain trial, 1 the perturbed one."""
        run = self._nodes if self.kind == "np" else self._weights
        return run(program, parameters, state, batch, task, which)

    def _random(self, program: Any, state: PerturbationState) -> np.random.Generator:
        return streams.generator(program.network.seed, f"rule/{self.kind}", state.updates)

    def _direction(self, program: Any, state: PerturbationState) -> Array:
        return self._random(program, state).standard_normal(len(state.theta))

    def _variance(self, state: PerturbationState, summed: SummedInput) -> float:
        return float((self.sigma * state.scales[summed.name]) ** 2)

    def _watched(self, program: Any, state: PerturbationState, task: Any) -> tuple[str, ...]:
        """What the plain trial records."""
        own = (t for s in state.summed_inputs for t in s.traces(program.network))
        return tuple(dict.fromkeys([*task.record(), *own]))

    def _nodes(
        self, program: Any, parameters: Parameters, state: PerturbationState, batch: Batch, task: Any,
        which: tuple[int, ...],
    ) -> list[tuple[float, dict[str, Array]]]:  # fmt: skip
        """Noise on summed inputs."""
        random = self._random(program, state)
        theta, trial = state.theta.detach().numpy(), state.updates * trials(batch)
        quiet = silent(program.network, batch.inputs)
        values = {**state.space.changed(parameters), **state.space.arrays(theta)}
        noise = {}
        for summed in state.summed_inputs:
            if summed.noise not in noise:
                draw = random.standard_normal(quiet[summed.noise].shape)
                noise[summed.noise] = self.sigma * state.scales[summed.name] * draw
        found = []
        for perturbed in which:
            record = tuple(task.record()) if perturbed else self._watched(program, state, task)
            recording = program.run(values, {**quiet, **noise} if perturbed else quiet, record, trial=trial)
            credits = {}
            for summed in () if perturbed else state.summed_inputs:
                activity = summed.activity(program.network, {**parameters, **values}, batch.inputs, recording)
                credits[summed.name] = summed.credit(activity, noise[summed.noise])
            found.append((loss_of(task, recording, batch), credits))
        return found

    def _weights(
        self, program: Any, parameters: Parameters, state: PerturbationState, batch: Batch, task: Any,
        which: tuple[int, ...],
    ) -> list[tuple[float, dict[str, Array]]]:  # fmt: skip
        """Noise on weights; both trials are one run."""
        theta, trial = state.theta.detach().numpy(), state.updates * trials(batch)
        direction = self._direction(program, state)
        values = state.space.candidates(np.stack([theta, theta + self.sigma * direction]), parameters)
        sets = {n: v[list(which)] for n, v in values.items()}
        record = self._watched(program, state, task)
        recording = program.run(sets, batch.inputs, record, trial=trial, population=len(which))
        found = []
        for k, perturbed in enumerate(which):
            own = recording.of_set(k)
            credits = {} if perturbed else self._credits(program, parameters, values, state, batch, own)
            found.append((loss_of(task, own, batch), credits))
        return found

    def _credits(
        self, program: Any, parameters: Parameters, values: Parameters, state: PerturbationState, batch: Batch,
        plain: Recording,
    ) -> dict[str, Array]:  # fmt: skip
        """By weight: whether its presynaptic cell did anything (wp0), or activity times the change of the summed input (hybrid)."""
        now = {n: v[0] for n, v in values.items()}
        activity = {
            s.name: s.activity(program.network, {**parameters, **now}, batch.inputs, plain) for s in state.summed_inputs
        }
        if self.kind == "wp0":
            active = {s.name: s.active(activity[s.name]) for s in state.summed_inputs}
            return {n: np.minimum(a, 1.0) for n, a in state.space.parametrisation.collected(active).items()}
        made: dict[str, Array] = {}
        for summed in state.summed_inputs:
            weights = values[summed.name][1] - values[summed.name][0]
            made[summed.noise] = made.get(summed.noise, 0.0) + summed.change(activity[summed.name], weights)
        return {s.name: s.credit(activity[s.name], made[s.noise]) for s in state.summed_inputs}

    def save(self, state: PerturbationState) -> dict[str, Any]:
        """All of the state as arrays and numbers: exact."""
        found: dict[str, Any] = {f"optimiser/{n}": v for n, v in optimisers.arrays(state.optimiser).items()}
        return found | {"theta": state.theta.detach().numpy().copy(), "updates": np.asarray(state.updates)}

    def load(self, program: Any, saved: Mapping[str, Any]) -> PerturbationState:
        """Inverse of save; continues with the same numbers."""
        state = self.init(program)
        with torch.no_grad():
            state.theta.copy_(torch.from_numpy(np.array(saved["theta"])))
        optimisers.restore(state.optimiser, optimisers.under("optimiser", saved))
        state.updates = int(saved["updates"])
        return state


def _trial(program: Any, held: Held, moment: Moment, batch: Batch, which: int) -> tuple[float, dict[str, Array]]:
    """In a worker."""
    state, rule = held.state(program), held.rule
    state.theta.detach().numpy()[...] = moment.mean
    state.updates = moment.updates
    parameters = {**state.space.others, **moment.changed}
    found: tuple[float, dict[str, Array]]
    (found,) = rule._trials(program, parameters, state, batch, held.task, (which,))
    return found


node, silent_stay, hybrid = (partial(Perturbation, kind) for kind in KINDS)
