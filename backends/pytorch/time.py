"""Sequences of tensors, one per step: put together, summed, and laid out so that equal numbers give equal bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from backends.common.storage import Storage

Rows = Sequence[torch.Tensor]
_LINE = 64  # bytes: what a product rounds may depend on the address of its rows within such a line


def in_time(parts: Sequence[tuple[int, torch.Tensor]], steps: int) -> Rows:
    """Sum of sequences [time, ...] that begin some steps late, as one tensor a step."""
    if len(parts) == 1:
        late, values = parts[0]
        late = min(late, steps)
        return [torch.zeros_like(values[0])] * late + list(values.unbind(0))[: steps - late]
    padded = [torch.cat([_nothing(v, min(late, steps)), v[: max(steps - late, 0)]]) for late, v in parts]
    return total(padded).unbind(0)


def _nothing(values: torch.Tensor, steps: int) -> torch.Tensor:
    return values.new_zeros(steps, *values.shape[1:])


def total(sequences: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum of [time, ...]; those that depend on parameter sets have an axis for them after that of time, others don't."""
    axes = max(v.ndim for v in sequences)
    alike = [v if v.ndim == axes else v.unsqueeze(1) for v in sequences]
    return sum(alike[1:], alike[0])


def one_after_another(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Both along time; where the first has an axis for parameter sets, so does the whole."""
    if first.ndim > second.ndim:
        second = second.unsqueeze(1).expand(-1, *first.shape[1:])
    return torch.cat([first, second])


def aligned(steps: int, shape: tuple[int, ...], storage: Storage) -> torch.Tensor:
    """Room for [time, *shape], each step contiguous and at the beginning of a line of memory."""
    width = torch.Size(shape).numel()
    whole = width + _spare(width, storage.dtype)
    return torch.empty(steps, whole, dtype=storage.dtype, device=storage.device)[:, :width].view(steps, *shape)


def aligned_steps(values: torch.Tensor) -> Rows:
    """[time, ...] as one tensor a step, laid out like those of `aligned`."""
    flat = values.flatten(1)
    width = flat.shape[1]
    spare = _spare(width, values.dtype)
    flat = pad(flat, (0, spare)) if spare else flat.clone(memory_format=torch.contiguous_format)
    return flat[:, :width].view(values.shape).unbind(0)


def _spare(width: int, dtype: torch.dtype) -> int:
    return -width % (_LINE // dtype.itemsize)
