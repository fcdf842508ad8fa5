"""A network's trainable parameters as one vector of free numbers, and the losses of many such vectors in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neuro.compiler.parameters import parameters as declared_parameters
from neuro.episodes import acts, returns
from neuro.learning.common.parametrisation import ParameterError, Parametrisation
from neuro.protocols import Batch, Parameters, Recording, require

Array = npt.NDArray[np.float64]
FITNESS = ("loss", "metric")
EPISODES = ("common", "own")


@dataclass(frozen=True)
class SearchSpace:
    """Free numbers [n] of the synapses and parameters that exist; see Parametrisation for units, bounds and signs."""

    parametrisation: Parametrisation
    others: Mapping[str, Array] = field(default_factory=dict)  # the network's values of what isn't searched, SI

    @staticmethod
    def of(program: Any, trainable: Sequence[str]) -> SearchSpace:
        """trainable: names or patterns. Raises ParameterError."""
        declared = declared_parameters(program.network)
        chosen = Parametrisation.of(declared, trainable)
        return SearchSpace(chosen, {n: p.value for n, p in declared.items() if n not in chosen.names})

    @property
    def names(self) -> tuple[str, ...]:
        return self.parametrisation.names

    def vector(self, parameters: Parameters | None = None) -> Array:
        """SI values (default: the network's) as free numbers [n]."""
        free = self.parametrisation.free(parameters, dtype=torch.float64)
        return self.flat({n: t.detach().numpy() for n, t in free.items()})

    def flat(self, arrays: Mapping[str, Array]) -> Array:
        """Arrays in the parameters' shapes as one vector [n]."""
        return np.concatenate([arrays[m.name][m.mask != 0].ravel() for m in self.parametrisation.maps])

    def tensors(self, vectors: Array) -> dict[str, torch.Tensor]:
        """[..., n] -> free tensors [..., *shape], zeros where there is no synapse."""
        found, start = {}, 0
        for m in self.parametrisation.maps:
            count = int(np.count_nonzero(m.mask))
            full = np.zeros((*vectors.shape[:-1], *m.mask.shape))
            full[..., m.mask != 0] = vectors[..., start : start + count]
            found[m.name], start = torch.from_numpy(full), start + count
        return found

    def arrays(self, vectors: Array) -> dict[str, Array]:
        """[..., n] -> SI values [..., *shape] within bounds."""
        return self.parametrisation.arrays(self.tensors(vectors))

    def candidates(self, vectors: Array, parameters: Parameters) -> dict[str, Array]:
        """[P, n] -> SI values [P, *shape], and those of other parameters that something else has changed, the same for every set."""
        rest = {n: np.broadcast_to(v, (len(vectors), *np.shape(v))) for n, v in self.changed(parameters).items()}
        return {**rest, **self.arrays(vectors)}

    def changed(self, parameters: Parameters) -> dict[str, Array]:
        """Parameters that aren't searched and aren't the network's own any more."""
        return {
            n: parameters[n] for n, v in self.others.items() if n in parameters and not np.array_equal(parameters[n], v)
        }

    def pull_back(self, vector: Array, slopes: Mapping[str, Array]) -> Array:
        """A gradient in SI values, by name, as one in free numbers [n]."""
        free = {n: t.requires_grad_() for n, t in self.tensors(vector).items()}
        values = self.parametrisation.values(free)
        total = sum(((values[n] * torch.from_numpy(slopes[n])).sum() for n in slopes), torch.zeros(()))
        grads = torch.autograd.grad(total, list(free.values()))
        return self.flat({n: g.numpy() for n, g in zip(free, grads, strict=True)})

    def push(self, vector: Array, gradient: Array) -> dict[str, Array]:
        """Inverse of pull_back: a gradient in free numbers [n] as one in SI values, 0 where there is no synapse."""
        ones = {n: np.ones(t.shape) for n, t in self.tensors(vector).items()}
        return {n: t.numpy() for n, t in self.tensors(gradient / self.pull_back(vector, ones)).items()}

    def scale(self, sigma: float | Mapping[str, float]) -> Array:
        """One standard deviation a free number, from one for all or one a name or pattern. Raises ParameterError."""
        groups = {"*": sigma} if isinstance(sigma, int | float) else dict(sigma)
        parts = []
        for m in self.parametrisation.maps:
            chosen = [
                value
                for pattern, value in groups.items()
                if any(fnmatch(n, pattern) for n in self.parametrisation.called(m.name))
            ]
            if not chosen or chosen[-1] <= 0:
                raise ParameterError(f"parameter '{m.name}' has no positive sigma; give one, by name or pattern")
            parts.append(np.full(int(np.count_nonzero(m.mask)), float(chosen[-1])))
        return np.concatenate(parts)


def check_capable(rule: str, program: Any) -> None:
    """Raises UnsupportedError where a program runs one parameter set at a time."""
    require(program, "populations", f"rule '{rule}'")


def loss_of(task: Any, recording: Recording, batch: Batch, fitness: str = "loss") -> float:
    """What is minimised: the task's loss, or its metric with the sign turned."""
    if fitness == "metric":
        return -float(task.metric(recording, batch))
    return float(task.loss(*signals(recording), batch))


def signals(recording: Recording) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Spikes and traces as a task's loss takes them."""
    spikes, traces = (
        {n: torch.from_numpy(np.asarray(a, dtype=np.float64)) for n, a in d.items()}
        for d in (recording.spikes, recording.traces)
    )
    return spikes, traces


def losses(
    program: Any, parameters: Parameters, batch: Batch, task: Any, *, trial: int = 0, fitness: str = "loss",
    episodes: str = "common", places: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """Losses [P] of parameters that all have a first axis of P sets; inputs, noise and initial states are common.

    Where the task acts, minus the mean return, whatever the fitness; each set plays with the same draws, the same episodes ("common") or its "own".
    places: of the sets in their population, where they are a part of it.
    """
    population = len(next(iter(parameters.values())))
    if acts(task):
        return -returns(program, parameters, task, batch, trial, own=episodes == "own", places=places)
    options = {"trial": trial, "population": population, "state": batch.begun(trial)}
    found = program.run(parameters, batch.inputs, tuple(task.record()), **options)
    return np.array([loss_of(task, found.of_set(p), batch, fitness) for p in range(population)])


def trials(batch: Batch) -> int:
    """Number of trials in a batch."""
    return len(next(iter(batch.inputs.values())))
