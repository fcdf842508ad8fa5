"""e-prop: eligibility traces and a learning signal through the readout alone; nothing goes back through the recurrence.

Source: Bellec et al. (2020), Nat Commun 11:3625. Feedback: Samadi, Lillicrap & Tweed (2017), Neural Comput 29:578 (random);
Kolen & Pollack (1994), ICNN (adaptive); Liao, Leibo & Poggio (2016), AAAI (sign).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from neuro.compiler import streams
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.compiler.parameters import values
from neuro.learning.common.parametrisation import Parametrisation
from neuro.learning.gradient.bptt import gradient_of
from neuro.learning.gradient.gradient_rule import GradientRule, GradientState
from neuro.learning.traces.eligibility import by_adjoint, by_traces
from neuro.learning.traces.influence import by_influence
from neuro.learning.traces.trial import Trial, check_inputs, check_trial, run_trial
from neuro.model import Network
from neuro.options import OptionError, one_of
from neuro.protocols import Array, Batch, Parameters

FEEDBACKS = ("symmetric", "random", "adaptive", "sign")
FORMS = ("adjoint", "traces")


@dataclass(frozen=True)
class EProp(GradientRule):
    """Works on every backend: it reads recorded states. Options besides GradientRule's:

    feedback: the weights that bring the readout's errors to hidden cells: the readout's own (symmetric), fixed random ones,
    random ones that follow the readout's updates (adaptive), or the readout's signs. feedback_std: of the random ones, SI
    (default: the root mean square of the readout's initial weights). feedback_decay: of readout and adaptive feedback, a
    share an update. recurrent: how much of the recurrent Jacobian counts: "none", "diagonal" (SnAp-1), "full" (RTRL), or a
    number of hops. detach_reset: of membranes; None for what the program does. form: traces carried forward, or the adjoint of the same graph, which is faster; equal up to rounding.
    seed: of the feedback.
    """

    feedback: str = "symmetric"
    feedback_std: float = 0.0
    feedback_decay: float = 0.0
    recurrent: str | int = "none"
    detach_reset: bool | None = True
    form: str = "adjoint"
    seed: int = 0

    forms: ClassVar[tuple[str, ...]] = FORMS
    known_as: ClassVar[str] = "eprop"
    unsliced: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("feedback", FEEDBACKS), ("form", self.forms)):
            one_of(name, getattr(self, name), known)
        if self.recurrent not in ("none", "diagonal", "full") and not isinstance(self.recurrent, int):
            raise OptionError(f"recurrent '{self.recurrent}'; use none, diagonal, full, or a number of hops")

    def memory(self, program: Any) -> dict[str, Array]:
        """Feedback weights of the projections into populations that send nothing; symmetric feedback needs none."""
        if self.feedback == "symmetric":
            return {}
        step, found = lower(program.network), {}
        for synapses in step.synapses:
            if synapses.kind == "dense" and synapses.post not in {s.pre for s in step.synapses}:
                weights = values(program.network)[f"{synapses.name}.w"]
                std = self.feedback_std or float(np.sqrt(np.mean(weights**2)))
                random = streams.generator(self.seed, f"feedback/{synapses.name}")
                found[synapses.name] = std * random.standard_normal(weights.shape)
        return found

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: Mapping[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        parameters = values(program.network, parameters)
        feedback = self._feedback(program, parameters, memory, task.output)
        if self.recurrent == "none" and self.form == "adjoint" and hasattr(program, "variant"):
            return self._by_autograd(program, parameters, batch, task, feedback)
        self.check_network(program.network, task.output)
        check_inputs(program.network, batch, self.called())
        trial = run_trial(
            program, parameters, batch, task, feedback, target_rate=self.target_rate, rate_strength=self.rate_strength,
            detach_reset=self.detach_reset, trial=batch.trial,
        )  # fmt: skip
        trained = [n.removesuffix(".w") for n in self.names(program)]
        return trial.loss, self.slopes(trial, trained, draw)

    def check_network(self, network: Network, output: str) -> None:
        """Raises UnsupportedError naming the projection, parameter or population for which there are no traces.

        output: the population that the loss reads. Where it raises nothing, RTRL's gradient is that of BPTT.
        """
        check_trial(
            network, output, Parametrisation.of(declared_parameters(network), self.trainable).names, self.called()
        )

    def slopes(self, trial: Trial, trained: list[str], draw: int) -> dict[str, Array]:
        """Gradient of a trial with respect to the weights of the trained projections."""
        if self.recurrent == "none":
            return by_adjoint(trial, trained) if self.form == "adjoint" else by_traces(trial, trained)
        inner = self.recurrent_weights(trial, trained)
        found = by_traces(trial, [n for n in trained if n not in inner])
        if self.recurrent == "diagonal":
            return found | by_influence(trial, inner, snap=1)
        return found | by_influence(trial, inner, hops=None if self.recurrent == "full" else int(self.recurrent))

    @staticmethod
    def recurrent_weights(trial: Trial, trained: list[str]) -> list[str]:
        """The trained projections whose influence goes on from cell to cell."""
        return [n for n in trained if trial.closed or trial.summed_inputs[n].population != trial.output]

    def _feedback(
        self, program: Any, parameters: Parameters, memory: Mapping[str, Array], output: str
    ) -> dict[str, Array]:
        into = [s.name for s in lower(program.network).synapses if s.post == output and s.name in memory]
        if self.feedback != "sign":
            return {n: memory[n] for n in into}
        return {n: np.sqrt(np.mean(memory[n] ** 2)) * np.sign(parameters[f"{n}.w"]) for n in into}

    def _by_autograd(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, feedback: Mapping[str, Array]
    ) -> tuple[float, dict[str, Array]]:
        """The adjoint by torch: the graph without connections among cells, but for those from hidden cells to the readout."""
        step, output = lower(program.network), task.output
        fed = {s.post for s in step.synapses}
        detached = tuple(s.name for s in step.synapses if s.pre in fed and (s.post != output or s.pre == output))
        variant = program.variant(detached=detached, feedback=tuple(feedback), detach_reset=self.detach_reset)
        given = {**parameters, **{f"{n}.feedback": w for n, w in feedback.items()}}
        return gradient_of(self, variant, given, batch, task)

    def remember(self, state: GradientState, before: Parameters, after: Parameters) -> None:
        """Adaptive feedback: the same update as the readout's, and the same decay; none where that isn't trained."""
        if self.feedback != "adaptive":
            return
        keep, read = 1 - self.feedback_decay, set[str]()
        for name, weights in state.memory.items():
            holder = state.parametrisation.shared.get(f"{name}.w", f"{name}.w")
            moved = weights + after[f"{name}.w"] - before[f"{name}.w"]
            state.memory[name] = keep * moved if holder in state.theta else moved
            read.add(holder)
        with torch.no_grad():
            for name, theta in state.theta.items():
                if self.feedback_decay and name in read:
                    theta.mul_(keep)
