"""The state that a forward pass begins with, and the one that it leaves: tensors, with the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from backends.common.autograd import Tensors
from backends.common.starting_state import layout
from backends.common.storage import Storage
from backends.common.structure import local
from backends.pytorch.time import Rows, aligned_steps, one_after_another
from neuro.compiler.step import Step
from neuro.language.mangling import mangled
from neuro.model import Network
from neuro.state import State


class Beginning:
    """A State by the names of the generated text. spikes: source -> [step, *lead, neuron], oldest first."""

    def __init__(self, values: Tensors, spikes: Tensors) -> None:
        self.values, self.spikes = values, spikes
        self._rows: dict[str, Rows] = {}

    @staticmethod
    def of(state: State, storage: Storage) -> Beginning:
        values = {local(*n.split(".", 1)): _tensor(a, storage) for n, a in state.variables.items()}
        values |= {mangled("pending", *n.split(".", 1)): _tensor(a, storage) for n, a in state.sums.items()}
        values |= {mangled("left", n): _tensor(a, storage) for n, a in state.refractory.items()}
        return Beginning(values, {n: _tensor(a, storage).movedim(-2, 0) for n, a in state.spikes.items()})

    def rows(self, source: str) -> Rows:
        """Spikes of a source, one tensor a step."""
        if source not in self._rows:
            self._rows[source] = aligned_steps(self.spikes[source])
        return self._rows[source]


def _tensor(array: Any, storage: Storage) -> torch.Tensor:
    """A copy of an array; a tensor itself, with its graph."""
    if isinstance(array, torch.Tensor):
        return storage.of(array).contiguous()
    return storage.of(np.array(array, order="C"))


@dataclass(frozen=True)
class Ending:
    """What a pass has left behind, kept until somebody asks for its state. header: of the state, which holds no arrays yet.

    values: by generated name. sums: "population.input" -> tensor. spikes: [step, ..., neuron], the last steps or more of them.
    """

    network: Network
    header: State
    values: Tensors
    sums: Tensors
    spikes: Tensors

    def state(self) -> State:
        """After the last step."""
        wanted, lead = layout(self.network), self.header.lead
        return replace(
            self.header,
            variables={n: self.values[local(*n.split(".", 1))] for n in wanted.variables},
            sums={n: self.sums[n].expand(*lead, *shape) for n, shape in wanted.sums.items()},
            refractory={n: self.values[mangled("left", n)].to(torch.int64) for n in wanted.refractory},
            spikes={n: _of_trials(self.spikes[n][-steps:], lead) for n, (steps, _) in wanted.spikes.items()},
        )


def past_spikes(step: Step, spikes: Tensors, before: Beginning | None) -> Tensors:
    """Those that are still on their way. spikes: source -> [step, ..., neuron], of all steps. before: what the pass began with."""
    past: dict[str, int] = {}
    for synapses in step.synapses:
        past[synapses.pre] = max(past.get(synapses.pre, 0), synapses.longest)
        past[synapses.post] = max(past.get(synapses.post, 0), synapses.behind)
    earlier = {} if before is None else before.spikes
    return {name: _last(spikes[name], earlier.get(name), steps) for name, steps in past.items() if steps}


def _last(spikes: torch.Tensor, before: torch.Tensor | None, steps: int) -> torch.Tensor:
    """Spikes of the last steps; without a graph as a copy, so that those of all steps needn't be kept. before: those of a run before."""
    spikes = spikes[-steps:]
    missing = steps - len(spikes)
    if missing and before is not None:
        spikes = one_after_another(before[-missing:], spikes)
    elif missing:
        spikes = torch.cat([spikes.new_zeros(missing, *spikes.shape[1:]), spikes])
    return spikes if spikes.requires_grad else spikes.clone()


def _of_trials(spikes: torch.Tensor, lead: tuple[int, ...]) -> torch.Tensor:
    """[step, ..., neuron] -> [*lead, step, neuron]."""
    moved = spikes.movedim(0, -2)
    return moved.expand(*lead, *moved.shape[-2:])


def arrays(end: Callable[[], State]) -> State:
    """The same as arrays of their own."""
    state = end().numpy().each(np.array)
    return replace(state, spikes={n: a > 0 for n, a in state.spikes.items()})
