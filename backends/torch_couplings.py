"""Sums over synapses as tensor operations."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from backends.torch_layout import delays_of
from neuro.step import Synapses

SPARSE_BELOW = 0.08  # density of spikes below which summing rows of a matrix is faster than multiplying by it


def matrices(synapses: Synapses, value: Any) -> tuple[torch.Tensor, ...]:
    """One [pre, post] matrix a delay (a vector for one-to-one) from a value a synapse."""
    value = torch.as_tensor(value).expand(synapses.shape)
    if synapses.mask is not None:
        value = value * torch.as_tensor(synapses.mask)
    if isinstance(synapses.delay, int):
        return (_dense(synapses, value),)
    delay = torch.as_tensor(synapses.delay)
    return tuple(_dense(synapses, value * (delay == d)) for d in delays_of(synapses))


def _dense(synapses: Synapses, value: torch.Tensor) -> torch.Tensor:
    if synapses.kind != "sparse":
        return value
    pre, post = torch.as_tensor(synapses.pre_index), torch.as_tensor(synapses.post_index)
    zeros = torch.zeros(synapses.ends, dtype=value.dtype)
    return zeros.index_put((pre, post), value, accumulate=True)


def product(source: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """[batch, pre] @ [pre, post], a matrix a trial, or a vector for one-to-one."""
    if matrix.ndim == 3:
        return torch.bmm(source.unsqueeze(1), matrix).squeeze(1)
    return source @ matrix if matrix.ndim == 2 else source * matrix


def rows(value: Any, like: torch.Tensor, size: int) -> torch.Tensor:
    """A presynaptic value as [batch, pre]."""
    return torch.as_tensor(value, dtype=like.dtype).expand(like.shape[0], size)


def full(synapses: Synapses, value: torch.Tensor) -> torch.Tensor:
    """A dense coupling's matrix a trial, without the synapses that don't exist."""
    value = value.expand(*value.shape[:-2], *synapses.shape)
    return value if synapses.mask is None else value * torch.as_tensor(synapses.mask)


def total(synapses: Synapses, value: Any, like: torch.Tensor) -> torch.Tensor:
    """Sum of a value a synapse into the target cells, [batch, post]."""
    value = torch.as_tensor(value, dtype=like.dtype).expand(like.shape[0], *synapses.shape)
    if synapses.mask is not None:
        value = value * torch.as_tensor(synapses.mask)
    if synapses.kind == "dense":
        return value.sum(dim=1)
    zeros = torch.zeros(like.shape[0], synapses.ends[1], dtype=like.dtype)
    return zeros.index_add(1, torch.as_tensor(synapses.post_index), value)


class _Events:
    """Spikes [row, column] as a list, sorted by row; the same ones by column when a gradient asks for them."""

    def __init__(self, index: torch.Tensor, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.row, self.column = index // shape[1], index % shape[1]
        self.starts = _starts(self.row, shape[0])

    @cached_property
    def by_column(self) -> torch.Tensor:
        return torch.argsort(self.column, stable=True)


def _starts(index: torch.Tensor, size: int) -> torch.Tensor:
    """Where each of `size` bags begins, and the end."""
    counts = torch.bincount(index, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


class _Times(torch.autograd.Function):
    """(first `count` rows of the spikes) @ matrix."""

    @staticmethod
    def forward(ctx: Any, matrix: torch.Tensor, events: _Events, count: int) -> torch.Tensor:
        ctx.events, ctx.count = events, count
        column = events.column[: int(events.starts[count])]
        return embedding_bag(column, matrix, events.starts[:count], mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _TransposedTimes.apply(grads[0], ctx.events, ctx.count), None, None  # type: ignore[no-untyped-call]


class _TransposedTimes(torch.autograd.Function):
    """(first `count` rows of the spikes)^T @ matrix."""

    @staticmethod
    def forward(ctx: Any, matrix: torch.Tensor, events: _Events, count: int) -> torch.Tensor:
        ctx.events, ctx.count = events, count
        number = int(events.starts[count])
        order = events.by_column if number == len(events.row) else events.by_column[events.by_column < number]
        starts = _starts(events.column[:number], events.shape[1])
        return embedding_bag(events.row[order], matrix.contiguous(), starts[:-1], mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _Times.apply(grads[0], ctx.events, ctx.count), None, None  # type: ignore[no-untyped-call]


class Spikes:
    """Spikes of one source over the run, [time, batch, cell]: a tensor, or the raster of an input."""

    def __init__(self, spikes: torch.Tensor, dtype: torch.dtype) -> None:
        self.shape = tuple(spikes.shape)
        self._spikes, self._dtype = spikes, dtype

    @cached_property
    def tensor(self) -> torch.Tensor:
        return self._spikes.to(self._dtype)

    @cached_property
    def _events(self) -> _Events | None:
        """A list of the spikes where there are few; None for spikes that carry gradients."""
        if self._spikes.dtype != torch.bool:
            return None
        index = np.flatnonzero(self._spikes.numpy())
        if len(index) > SPARSE_BELOW * self._spikes.numel():
            return None
        return _Events(torch.from_numpy(index), (self.shape[0] * self.shape[1], self.shape[2]))

    def times(self, matrix: torch.Tensor, steps: int) -> torch.Tensor:
        """The first steps' spikes @ matrix, [steps, batch, post]; elementwise for a vector."""
        if matrix.ndim == 1 or self._events is None or not steps:
            sent = self.tensor[:steps]
            return sent @ matrix if matrix.ndim == 2 else sent * matrix
        batch = self.shape[1]
        found = _Times.apply(matrix, self._events, steps * batch)  # type: ignore[no-untyped-call]
        return found.view(steps, batch, -1)  # type: ignore[no-any-return]
