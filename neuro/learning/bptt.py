"""Backpropagation through time: torch's autograd over surrogate spikes, torch's optimisers and schedulers.

Source: Neftci, Mostafa & Zenke (2019), IEEE Signal Process Mag 36:51.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neuro.learning import optimisers
from neuro.learning.parametrisation import Parametrisation
from neuro.learning.regularisation import rate_penalty
from neuro.parameters import parameters as declared_parameters
from neuro.protocols import Batch, Parameters, UnsupportedError

SCHEDULERS = {"cosine": "CosineAnnealingLR", "step": "StepLR", "exponential": "ExponentialLR"}


@dataclass
class BPTTState:
    """Free parameters, optimiser, scheduler; what `save` writes."""

    parametrisation: Parametrisation
    theta: dict[str, torch.Tensor]
    optimiser: Any
    scheduler: Any
    updates: int = 0


@dataclass(frozen=True)
class BPTT:
    """trainable: names or patterns. learning_rate: in the parameters' own units. schedule_options: the scheduler's own,
    counted in updates. clip: gradient norm, 0 for none. target_rate: Hz, with strength rate_strength (0: off).
    """

    optimiser: str = "adam"
    learning_rate: float = 1e-2
    trainable: tuple[str, ...] = ("*.w",)
    scheduler: str = ""
    schedule_options: Mapping[str, float] = field(default_factory=dict)
    clip: float = 0.0
    weight_decay: float = 0.0
    target_rate: float = 0.0
    rate_strength: float = 0.0

    def __post_init__(self) -> None:
        optimisers.check(self.optimiser)
        if self.scheduler and self.scheduler not in SCHEDULERS:
            raise TypeError(f"scheduler '{self.scheduler}'; use one of {', '.join(SCHEDULERS)}")

    def init(self, program: Any, parameters: Parameters | None = None) -> BPTTState:
        """State before the first update. Raises UnsupportedError where the program has no gradients."""
        if not program.capabilities.gradients:
            raise UnsupportedError(type(program).__name__, "rule 'bptt'", "it gives no gradients", ("torch",))
        chosen = Parametrisation.of(declared_parameters(program.network), self.trainable)
        theta = chosen.free(parameters, dtype=program.dtype)
        tensors = list(theta.values())
        optimiser = optimisers.make(self.optimiser, tensors, self.learning_rate, weight_decay=self.weight_decay)
        scheduler = None
        if self.scheduler:
            scheduler = getattr(torch.optim.lr_scheduler, SCHEDULERS[self.scheduler])(
                optimiser, **self.schedule_options
            )
        return BPTTState(chosen, theta, optimiser, scheduler)

    def step(
        self, program: Any, parameters: Parameters, state: BPTTState, batch: Batch, task: Any
    ) -> tuple[Parameters, BPTTState, Mapping[str, float]]:
        """One update. task: its `loss` and `record`. Returns SI arrays of the trained parameters, state, metrics."""
        state.optimiser.zero_grad(set_to_none=True)
        found = program.forward(state.parametrisation.values(state.theta), batch.inputs, tuple(task.record()))
        loss = task.loss(found.spikes, found.traces, batch)
        (loss + self._penalty(program, found)).backward()
        norm = torch.nn.utils.clip_grad_norm_(list(state.theta.values()), self.clip if self.clip else float("inf"))
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at update {state.updates}; lower the learning rate")
        state.optimiser.step()
        if state.scheduler is not None:
            state.scheduler.step()
        state.updates += 1
        metrics = {"loss": float(loss.detach()), "gradient_norm": float(norm)}
        return {**parameters, **state.parametrisation.arrays(state.theta)}, state, metrics

    def _penalty(self, program: Any, found: Any) -> Any:
        if not self.rate_strength:
            return 0.0
        return self.rate_strength * rate_penalty(found.spikes, program.semantics.dt, self.target_rate)

    def gradient(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, draw: int = 0
    ) -> dict[str, npt.NDArray[np.float64]]:
        """The true gradient of the loss with respect to the trainable parameters, SI. draw: nothing here is random."""

        def loss(found: Any) -> Any:
            return task.loss(found.spikes, found.traces, batch) + self._penalty(program, found)

        names = Parametrisation.of(declared_parameters(program.network), self.trainable).names
        found: dict[str, npt.NDArray[np.float64]] = program.value_and_grad(
            loss, parameters, batch.inputs, names, tuple(task.record())
        )[1]
        return found

    def save(self, state: BPTTState) -> dict[str, Any]:
        """All of the state as arrays and numbers, "theta/..." and "optimiser/...": exact."""
        found: dict[str, Any] = {f"theta/{n}": t.detach().numpy().copy() for n, t in state.theta.items()}
        found |= {f"optimiser/{n}": v for n, v in optimisers.arrays(state.optimiser).items()}
        found["updates"] = np.asarray(state.updates)
        return found

    def load(self, program: Any, saved: Mapping[str, Any]) -> BPTTState:
        """Inverse of save; continues with the same numbers."""
        state = self.init(program)
        with torch.no_grad():
            for name, theta in state.theta.items():
                theta.copy_(torch.as_tensor(np.array(saved[f"theta/{name}"])))
        optimisers.restore(state.optimiser, optimisers.under("optimiser", saved))
        state.updates = int(saved["updates"])
        if state.scheduler is not None:
            for group in state.optimiser.param_groups:
                group["lr"] = group["initial_lr"]
            state.scheduler = None
            state.scheduler = self._scheduler_at(state)
        return state

    def _scheduler_at(self, state: BPTTState) -> Any:
        """The scheduler after as many updates; its schedule depends on their number only."""
        import warnings

        scheduler = getattr(torch.optim.lr_scheduler, SCHEDULERS[self.scheduler])(
            state.optimiser, **self.schedule_options
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "scheduler before optimiser": the updates were made before the stop
            for _ in range(state.updates):
                scheduler.step()
        return scheduler


Loss = Callable[..., torch.Tensor]
