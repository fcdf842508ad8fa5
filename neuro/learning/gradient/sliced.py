"""A rule's estimate of a whole batch from those of its slices, which may be spread over processes: loss and gradient are sums, divided by what all of them count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neuro.learning.common import slices
from neuro.learning.common.optimisers import under
from neuro.learning.common.processes import CPU, Processes
from neuro.learning.common.slices import Span
from neuro.protocols import Array, Batch
from neuro.state import State, joined

CARRIED = "carried"  # in a rule's memory: the state in which the last batch ended
Found = tuple[float, dict[str, Array]]
# estimate of a slice: batch, task, memory -> loss, gradient
Estimate = Callable[[Batch, Any, dict[str, Array]], Found]


@dataclass(frozen=True)
class Uncounted:
    """A task for examples of which nothing counts: they only run on, to the state in which they end."""

    task: Any

    @property
    def output(self) -> str:
        return str(self.task.output)

    def record(self) -> Sequence[str]:
        return tuple(self.task.record())

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> torch.Tensor:
        return torch.zeros((), dtype=torch.float64)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of torch depend on how many threads share them; here it is one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def estimated(
    estimate: Estimate, batch: Batch, task: Any, memory: dict[str, Array], *, shapes: Mapping[str, tuple[int, ...]],
    number: int, dtype: Any, device: torch.device = CPU, together: Processes,
) -> Found:  # fmt: skip
    """Loss and gradient of a batch in slices. shapes: of the gradient. dtype: in which sums are made.

    number: of slices, summed in one binary tree, which gives the same bits however many processes share them; 0 for one a process, summed by torch.distributed. memory: gets the state in which all trials end, where batches go on. Raises what `estimate` raises in
    the first process where it does, and ElsewhereError in the others.
    """
    spans = slices.divided(slices.examples(batch), number or together.number)
    work = _Work(estimate, batch, task, memory, spans, slices.shares(task, batch, spans), shapes, dtype)
    found = _in_a_tree(work, number, together, device) if number else together.summed(work.of(together.rank), device)
    if found[0]:
        together.raise_first(work.error)
    if batch.follows is not None:
        ended = [State.from_arrays(a) for states in together.collected(work.ended) for a in states]
        memory.update({f"{CARRIED}/{n}": a for n, a in joined(ended).arrays().items()})
    return float(found[1]), work.apart(found[2:])


def _in_a_tree(work: _Work, number: int, together: Processes, device: torch.device) -> Array:
    """The sum over all slices. Each process sums the nodes that are its own; all finish in the same order."""
    tree, own = (0, number), slices.divided(number, together.number)
    places = [slices.nodes(tree, part) for part in own]
    stack = np.zeros((max(map(len, places)), work.size), work.dtype)
    for row, node in zip(stack, places[together.rank], strict=False):
        row[:] = slices.total(node, work.of)
    known: dict[Span, Array] = {}
    for nodes, rows in zip(places, together.gathered(stack, device), strict=True):
        known |= zip(nodes, rows, strict=False)
    return slices.total(tree, work.of, known)


class _Work:
    """What a process does of a batch. error: of its first slice that had one. ended: the states in which its trials end, as arrays."""

    def __init__(
        self, estimate: Estimate, batch: Batch, task: Any, memory: Mapping[str, Array], spans: Sequence[Span],
        shares: Sequence[float], shapes: Mapping[str, tuple[int, ...]], dtype: Any,
    ) -> None:  # fmt: skip
        self.estimate, self.batch, self.task, self.memory = estimate, batch, task, memory
        self.spans, self.shares, self.shapes, self.dtype = spans, shares, shapes, dtype
        self.size = 2 + sum(int(np.prod(shape)) for shape in shapes.values())
        self.error: Exception | None = None
        self.ended: list[dict[str, Array]] = []

    def of(self, s: int) -> Array:
        """Slice s: whether it failed, and its share of the loss and of the gradient, one after another."""
        found = np.zeros(self.size, self.dtype)
        (first, last), share = self.spans[s], self.shares[s]
        if last == first or self.error is not None or not (share or self.batch.follows is not None):
            return found
        memory = {n: a for n, a in self.memory.items() if not n.startswith(f"{CARRIED}/")}
        carried = under(CARRIED, self.memory)
        if carried:
            state = slices.cut_state(State.from_arrays(carried), (first, last))
            memory |= {f"{CARRIED}/{n}": a for n, a in state.arrays().items()}
        task = self.task if share else Uncounted(self.task)
        try:
            loss, slopes = self.estimate(slices.cut(self.batch, (first, last)), task, memory)
        except Exception as error:  # the others are told before it is raised: they wait for this one's numbers
            self.error, found[0] = error, 1
            return found
        if self.batch.follows is not None:
            self.ended.append(under(CARRIED, memory))
        if share:
            found[1] = share * loss
            found[2:] = np.concatenate([np.ravel(share * slopes[n]) for n in self.shapes] or [found[2:]])
        return found

    def apart(self, numbers: Array) -> dict[str, Array]:
        """A gradient by parameter."""
        found, begin = dict[str, Array](), 0
        for name, shape in self.shapes.items():
            end = begin + int(np.prod(shape))
            found[name], begin = numbers[begin:end].reshape(shape), end
        return found
