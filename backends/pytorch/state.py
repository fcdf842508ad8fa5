"""The state that a forward pass begins with, and the one that it leaves: tensors, with the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backends.common.starting_state import layout
from backends.common.structure import local
from backends.pytorch.time import Rows, aligned_steps, one_after_another
from neuro.language.mangling import mangled
from neuro.model import Network
from neuro.state import State

if TYPE_CHECKING:
    from backends.pytorch.run import ForwardPass


class Beginning:
    """A State by the names of the generated text. spikes: source -> [step, *lead, neuron], oldest first."""

    def __init__(self, state: State, dtype: torch.dtype) -> None:
        self.values = {local(*n.split(".", 1)): _tensor(a, dtype) for n, a in state.variables.items()}
        self.values |= {mangled("pending", *n.split(".", 1)): _tensor(a, dtype) for n, a in state.sums.items()}
        self.values |= {mangled("left", n): _tensor(a, dtype) for n, a in state.refractory.items()}
        self.spikes = {n: _tensor(a, dtype).movedim(-2, 0) for n, a in state.spikes.items()}
        self._rows: dict[str, Rows] = {}

    def rows(self, source: str) -> Rows:
        """Spikes of a source, one tensor a step."""
        if source not in self._rows:
            self._rows[source] = aligned_steps(self.spikes[source])
        return self._rows[source]


def _tensor(array: Any, dtype: torch.dtype) -> torch.Tensor:
    """A copy of an array; a tensor itself, with its graph."""
    if isinstance(array, torch.Tensor):
        return array.to("cpu", dtype).contiguous()
    return torch.tensor(np.ascontiguousarray(array), dtype=dtype)


@dataclass(frozen=True)
class _Left:
    """What a pass has left behind. values: by generated name. spikes: [step, ..., neuron], the last steps or more of them."""

    network: Network
    state: State
    values: dict[str, torch.Tensor]
    sums: dict[str, torch.Tensor]
    spikes: dict[str, torch.Tensor]


def ending(run: ForwardPass) -> Callable[[], State]:
    """What gives the state after the last step."""
    step, feed = run.program.step, run.feed
    past: dict[str, int] = {}
    for synapses in step.synapses:
        past[synapses.pre] = max(past.get(synapses.pre, 0), synapses.max_delay)
    spikes = {name: _last(run, name, steps) for name, steps in past.items() if steps}
    state = State(step.dt, feed.start + feed.steps, feed.lead, feed.trial)
    return partial(_state, _Left(run.program._merged, state, run.states, run.sums, spikes))


def _last(run: ForwardPass, source: str, steps: int) -> torch.Tensor:
    """Spikes of the last steps; without a graph as a copy, so that those of all steps needn't be kept."""
    spikes = run.spikes[source][-steps:]
    missing = steps - len(spikes)
    if missing and run.before is not None:
        spikes = one_after_another(run.before.spikes[source][-missing:], spikes)
    elif missing:
        spikes = torch.cat([torch.zeros(missing, *spikes.shape[1:], dtype=spikes.dtype), spikes])
    return spikes if spikes.requires_grad else spikes.clone()


def _state(left: _Left) -> State:
    wanted, lead = layout(left.network), left.state.lead
    return replace(
        left.state,
        variables={n: left.values[local(*n.split(".", 1))] for n in wanted.variables},
        sums={n: left.sums[n].expand(*lead, *shape) for n, shape in wanted.sums.items()},
        refractory={n: left.values[mangled("left", n)].to(torch.int64) for n in wanted.refractory},
        spikes={n: _of_trials(left.spikes[n][-steps:], lead) for n, (steps, _) in wanted.spikes.items()},
    )


def _of_trials(spikes: torch.Tensor, lead: tuple[int, ...]) -> torch.Tensor:
    """[step, ..., neuron] -> [*lead, step, neuron]."""
    moved = spikes.movedim(0, -2)
    return moved.expand(*lead, *moved.shape[-2:])


def arrays(end: Callable[[], State]) -> State:
    """The same as arrays of their own."""
    state = end().numpy().each(np.array)
    return replace(state, spikes={n: a > 0 for n, a in state.spikes.items()})
