"""Gradient flossing: weights that keep a network's leading Lyapunov exponents near a target, before it learns anything.

Where exponents are near 0, gradients neither vanish nor explode over the time of a task. "full" differentiates the exponents
through the orthonormalisations and the trajectory; "local" sees the weights where they act on tangents and nowhere else, so that an
update is the product of a presynaptic tangent, a postsynaptic one and one number for all: a three-factor rule.

Source: Engelken (2023), NeurIPS 36 (full); the local form drops what e-prop drops, and is this library's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from neuro.analysis import lyapunov
from neuro.analysis.trajectories import trajectory
from neuro.compiler.linearised import Resets
from neuro.compiler.lowering import lower
from neuro.compiler.tangents import Tangents
from neuro.compiler.trajectory import Trajectory
from neuro.learning.common import torch_arithmetic
from neuro.learning.common.summed_inputs import refuse_state, silent
from neuro.learning.gradient.gradient_rule import GradientRule
from neuro.options import OptionError
from neuro.protocols import Array, Batch, Parameters, Recording, RunError, UnsupportedError, require


@dataclass(frozen=True)
class Flossing(GradientRule):
    """The loss is the mean over the leading exponents of (exponent - target)^2; a task gives the inputs, its own loss isn't read.

    Options besides GradientRule's: exponents: how many, all where there are fewer. target: 1/step. form: "full" or "local", see above. trials: of a batch, at most;
    they run one after another as one trajectory, of which the first trial only aligns the directions (of a single one: its first
    tenth). surrogate: of a network that fires, as in neuro.analysis.lyapunov.spectrum; the program's own where left out. resets:
    see neuro.compiler.linearised.Linearised. seed: of the first directions.
    """

    exponents: int = 8
    target: float = 0.0
    form: Literal["full", "local"] = "full"
    trials: int = 4
    surrogate: str = ""
    resets: Resets = "detached"
    seed: int = 0
    learning_rate: float = 3e-3

    known_as: ClassVar[str] = "flossing"
    unsliced: ClassVar[str] = "its trials run one after another, as one trajectory"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not np.isfinite(self.target) or self.seed < 0:
            raise OptionError(f"target={self.target}, seed={self.seed}; give a finite target, and a seed from 0 on")
        if self.rate_strength:
            raise OptionError("rate_strength: flossing looks at exponents alone; leave it out")
        for name in ("exponents", "trials"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}={getattr(self, name)}; use a whole number from 1 on")

    def check(self, program: Any) -> None:
        super().check(program)
        if self.form == "full":
            require(program, "gradients", "rule 'flossing' in full", "or use form='local'")
        try:
            lyapunov.needed(program.network)
            lyapunov.slopes(program.network, self._surrogate(program), program.semantics.surrogate_scale)
        except lyapunov.LyapunovError as error:
            raise UnsupportedError(program.backend, "rule 'flossing'", str(error)) from None

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: Mapping[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        trained = {n: torch.tensor(parameters[n], dtype=torch.float64, requires_grad=True) for n in self.names(program)}
        found = self.leading(program, {**parameters, **trained}, batch)
        loss = ((found - self.target) ** 2).mean()
        slopes = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        arrays = {
            n: np.zeros(t.shape) if g is None else g.numpy() for (n, t), g in zip(trained.items(), slopes, strict=True)
        }
        return float(loss.detach()), arrays

    def leading(self, program: Any, parameters: Mapping[str, Any], batch: Batch) -> torch.Tensor:
        """The leading exponents, 1/step [exponents], differentiable by those parameters that are tensors with gradients.

        Raises RunError where a direction vanishes.
        """
        refuse_state(batch, "flossing")
        inputs, aligning = lyapunov.in_sequence(silent(program.network, batch.inputs), self.trials)
        run = self._trajectory(program, parameters, inputs)
        aligning = aligning if aligning < run.shape[1] else run.shape[1] // 10
        tangents = Tangents(
            lower(program.network), run, lyapunov.slopes(program.network, self._surrogate(program), program.semantics.surrogate_scale), resets=self.resets,
            arithmetic=torch_arithmetic.in_dtype(torch.float64),
        )  # fmt: skip
        if max(tangents.start, aligning) >= run.shape[1]:
            raise RunError(f"rule 'flossing': of {run.shape[1]} steps none counts; give longer or more trials")
        random = np.random.default_rng(self.seed).standard_normal(
            (1, tangents.size, min(self.exponents, tangents.size))
        )
        q, growth = torch.linalg.qr(torch.as_tensor(random))[0], []
        for step in range(tangents.start, run.shape[1]):
            q, r = torch.linalg.qr(tangents.advance(step, q))
            q = q.detach() if self.form == "local" else q
            if step >= aligning:
                _check_none_vanishes(lyapunov.factors(r.detach().numpy()[0]))
                growth.append(torch.log(torch.abs(torch.diagonal(r, dim1=-2, dim2=-1)[0])))
        return torch.stack(growth).mean(dim=0)

    def _surrogate(self, program: Any) -> str:
        return self.surrogate or program.semantics.surrogate

    def _trajectory(self, program: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Array]) -> Trajectory:
        """The run in tensors: with the graph that led to it, or, of the local form, without."""
        record, begins = lyapunov.needed(program.network), None
        if self.form == "full":
            signals = program.forward(parameters, inputs, record)
            traces = {n: t.to("cpu", torch.float64) for n, t in signals.traces.items()}
            spikes = {n: t.detach().cpu().numpy() > 0 for n, t in signals.spikes.items()}
            begins = 0
            recording = Recording(program.semantics.dt, spikes, {n: t.detach().numpy() for n, t in traces.items()})
        else:
            plain = {n: v.detach().numpy() if isinstance(v, torch.Tensor) else v for n, v in parameters.items()}
            recording = program.run(plain, inputs, record)
            traces = {n: torch.as_tensor(np.asarray(a, np.float64)) for n, a in recording.traces.items()}
        known = trajectory(program.network, recording, inputs=inputs, trial=begins, first=begins)
        return Trajectory(
            traces,
            {n: torch.as_tensor(np.asarray(a)) for n, a in known.spikes.items()},
            {n: torch.as_tensor(parameters.get(n, v), dtype=torch.float64) for n, v in known.parameters.items()},
            {n: torch.as_tensor(a) for n, a in known.noise.items()},
        )


def _check_none_vanishes(factors: Array) -> None:
    if not factors.all():
        number = int(np.argmin(factors))
        fix = (
            f"use exponents={number} at most" if number else "resets='ignored' or 'attached' keep what a reset forgets"
        )
        raise RunError(f"rule 'flossing': direction {number + 1} vanishes within a step; {fix}")
