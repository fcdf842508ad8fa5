"""Backpropagation through time: torch's autograd over surrogate spikes, torch's optimisers and schedulers.

Source: Neftci, Mostafa & Zenke (2019), IEEE Signal Process Mag 36:51.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuro.learning.gradient_rule import GradientRule
from neuro.protocols import Array, Batch, Parameters, UnsupportedError


@dataclass(frozen=True)
class BPTT(GradientRule):
    """The true gradient, up to the surrogate. Options: see GradientRule."""

    def check(self, program: Any) -> None:
        if not program.capabilities.gradients:
            raise UnsupportedError(type(program).__name__, "rule 'bptt'", "it gives no gradients", ("native", "torch"))

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: Mapping[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        return gradient_of(self, program, parameters, batch, task)


def gradient_of(
    rule: GradientRule, program: Any, parameters: Parameters, batch: Batch, task: Any
) -> tuple[float, dict[str, Array]]:
    """A differentiable program's loss, without the regularisation, and the gradient of both."""
    plain = []

    def loss(found: Any) -> Any:
        value = task.loss(found.spikes, found.traces, batch)
        plain.append(float(value.detach()))
        return value + rule.penalty(program, found)

    _, slopes = program.value_and_grad(loss, parameters, batch.inputs, rule.names(program), tuple(task.record()))
    return plain[0], slopes
