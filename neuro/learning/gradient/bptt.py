"""Backpropagation through time: torch's autograd over surrogate spikes, optimisers by name, torch's schedulers.

Source: Neftci, Mostafa & Zenke (2019), IEEE Signal Process Mag 36:51.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from neuro.learning.common.optimisers import under
from neuro.learning.common.summed_inputs import refuse_parts
from neuro.learning.gradient.gradient_rule import GradientRule
from neuro.learning.gradient.sliced import CARRIED
from neuro.options import OptionError
from neuro.protocols import Array, Batch, Parameters, RunError, require
from neuro.state import State


@dataclass(frozen=True)
class BPTT(GradientRule):
    """The true gradient, up to the surrogate. Options besides GradientRule's:

    truncate: steps of a part; 0: the whole trial at once. The trial runs in parts of so many steps, and the state is carried
    from each into the next as numbers alone: variables, sums, spikes on their way, refractory periods. The loss sees the whole
    trial, and there is one update. The gradient is the sum over all parts of what their own spikes and traces say of the
    parameters as they acted in that same part; left out is every path from a parameter to the loss that crosses from one part
    into another. So the loss of step k reaches back over k mod truncate steps, and over the whole trial from truncate = its
    steps on. Initial values of plastic weights act in the first part alone. Memory is that of the whole trial.
    Source: Williams & Peng (1990), Neural Comput 2:490: BPTT(h; h') with h = h' = truncate.

    Batches that are parts of longer trials (Batch.follows) go on with the state in which the batch before ended, as numbers alone; what was
    updated since then acts from there on.
    """

    truncate: int = 0

    needs: ClassVar[tuple[str, ...]] = ("gradients",)
    known_as: ClassVar[str] = "bptt"
    unsliced: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.truncate, int) or isinstance(self.truncate, bool) or self.truncate < 0:
            raise OptionError(
                f"truncate={self.truncate!r}; give the steps of a part, such as truncate=100, or 0 for the whole trial"
            )

    def check(self, program: Any) -> None:
        super().check(program)
        if self.truncate:
            require(program, "state", f"truncate={self.truncate}", "leave truncate out")

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: dict[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        options = {"truncate": self.truncate} if self.truncate else {}
        if batch.follows:
            if f"{CARRIED}/step" not in memory:
                raise RunError("the first batch says that it follows another one; let the first have follows=False")
            batch = replace(batch, state=State.from_arrays(under(CARRIED, memory)))
        ended: list[State] = []
        found = gradient_of(self, program, parameters, batch, task, None if batch.follows is None else ended, **options)
        if ended:
            memory.update({f"{CARRIED}/{n}": a for n, a in ended[0].arrays().items()})
        return found


def gradient_of(
    rule: GradientRule,
    program: Any,
    parameters: Parameters,
    batch: Batch,
    task: Any,
    ended: list[State] | None = None,
    **options: Any,
) -> tuple[float, dict[str, Array]]:
    """A differentiable program's loss, without the regularisation, and the gradient of both. options: of its value_and_grad.

    ended: gets the state after the last step.
    """
    if ended is None:
        refuse_parts(batch, rule.called())
    plain = []

    def loss(found: Any) -> Any:
        if ended is not None:
            ended.append(found.state.numpy())
        value = task.loss(found.spikes, found.traces, batch)
        plain.append(float(value.detach()))
        return value + rule.penalty(program, found)

    options |= {"trial": batch.trial} if batch.state is None else {"state": batch.state}
    _, slopes = program.value_and_grad(
        loss, parameters, batch.inputs, rule.names(program), tuple(task.record()), **options
    )
    return plain[0], slopes
