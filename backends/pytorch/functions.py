"""What the rendered torch source calls besides elementary functions: sums over synapses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from backends.common.storage import Storage
from backends.common.torch_elementary import ELEMENTARY
from neuro.compiler.step import Synapses

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Wires:
    """A projection's mask, indices and delays as tensors where the program's are, made once."""

    synapses: Synapses
    storage: Storage

    @cached_property
    def mask(self) -> torch.Tensor | None:
        """Which synapses of a dense projection there are; None for all."""
        return None if self.synapses.mask is None else self.storage.as_it_is(self.synapses.mask)

    @cached_property
    def pre(self) -> torch.Tensor:
        return self.storage.as_it_is(self.synapses.pre_index)

    @cached_property
    def post(self) -> torch.Tensor:
        return self.storage.as_it_is(self.synapses.post_index)

    @cached_property
    def late(self) -> Mapping[int, torch.Tensor | None]:
        """Delay -> which synapses have it; None for all."""
        steps = self.synapses.delay
        return {
            d: None if isinstance(steps, int) else self.storage.as_it_is(np.asarray(steps) == d)
            for d in self.synapses.delays
        }


def matrices(wires: Wires, value: Any) -> tuple[torch.Tensor, ...]:
    """One [pre, post] matrix a delay (a vector for one-to-one) from a value per synapse, or a number.

    Matrices are stored by column: autograd then forms their gradient as (g' x)', which is twice as fast as x' g.
    """
    synapses, value = wires.synapses, wires.storage.of(value)
    rank = len(synapses.shape)
    if value.ndim > rank and synapses.kind != "one_to_one":
        value = value.squeeze(1)  # [population, 1, *layout]
    value = value.expand(*value.shape[: max(value.ndim - rank, 0)], *synapses.shape)
    if wires.mask is not None:
        value = value * wires.mask
    found = []
    for late in wires.late.values():
        part = value if late is None else value * late
        found.append(part if synapses.kind == "one_to_one" else _dense(wires, part).mT.contiguous().mT)
    return tuple(found)


def _dense(wires: Wires, value: torch.Tensor) -> torch.Tensor:
    if wires.synapses.kind == "dense":
        return value
    zeros = wires.storage.zeros(*wires.synapses.ends, *value.shape[:-1])
    return zeros.index_put((wires.pre, wires.post), value.movedim(-1, 0), accumulate=True).movedim((0, 1), (-2, -1))


def rows(value: Any, like: torch.Tensor, size: int) -> torch.Tensor:
    """A presynaptic value as [*lead, pre]."""
    shape = (*like.shape[:-1], size)
    if isinstance(value, torch.Tensor) and value.shape == shape:
        return value
    found: torch.Tensor = value.to(like.dtype) if isinstance(value, torch.Tensor) else like.new_full((), value)
    return found.expand(shape)


def full(wires: Wires, values: Any) -> torch.Tensor:
    """A dense coupling's matrix, without the synapses that don't exist."""
    value = wires.storage.of(values)
    value = value.expand(*value.shape[:-2], *wires.synapses.shape)
    return value if wires.mask is None else value * wires.mask


def weighted(source: torch.Tensor, matrix: torch.Tensor, multiply: Product = torch.matmul) -> torch.Tensor:
    """[*lead, pre] @ [pre, post], or a matrix a parameter set [population, 1, pre, post], or one per trial."""
    matrix = matrix.to(source.dtype)
    if matrix.ndim == 2:
        return multiply(source, matrix)
    if matrix.ndim == 4 and matrix.shape[1] == 1:
        return multiply(source, matrix.squeeze(1))
    return multiply(source.unsqueeze(-2), matrix).squeeze(-2)


class _Through(torch.autograd.Function):
    """x @ w; the gradient comes back through `feedback` instead of w, and `feedback` gets the gradient of w."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, feedback: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, feedback)
        return x @ w

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        (x, feedback), (g,) = ctx.saved_tensors, gradients
        slope = (g.reshape(-1, g.shape[-1]).T @ x.reshape(-1, x.shape[-1])).T
        return g @ feedback.T if ctx.needs_input_grad[0] else None, slope, slope


def through(x: torch.Tensor, w: torch.Tensor, feedback: torch.Tensor) -> torch.Tensor:
    """x @ w for [pre, post] weights, whose gradient comes back through `feedback` [pre, post]."""
    return _Through.apply(x, w, feedback)  # type: ignore[no-any-return, no-untyped-call]


def invariant(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix of `full` that stays the same in all steps: [pre, post], or [population, pre, post]."""
    return matrix.squeeze(1) if matrix.ndim == 4 else matrix


def product(source: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """source @ matrix; without matmul's search for a way where both have one of each parameter set."""
    return torch.bmm(source, matrix) if source.ndim == matrix.ndim == 3 else source @ matrix


def project(total: torch.Tensor, spikes: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """total + spikes @ matrix; matrix: [pre, post], or [population, pre, post]."""
    if spikes.ndim == 2 and matrix.ndim == 2:
        return torch.addmm(total, spikes, matrix)
    return total + spikes @ matrix


class _Summed(torch.autograd.Function):
    """`_product` under autograd, with the gradient of x @ w, or of `through`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, feedback: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, w if feedback is None else feedback)
        ctx.own = feedback is not None
        return _product(x, w)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x, back), (g,) = ctx.saved_tensors, gradients
        flat = (x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])) if back.ndim == 2 else (x, g)
        slope = (flat[1].mT @ flat[0]).mT.sum_to_size(back.shape) if any(ctx.needs_input_grad[1:]) else None
        return (
            (g @ back.mT).sum_to_size(x.shape) if ctx.needs_input_grad[0] else None,
            slope,
            slope if ctx.own else None,
        )


def _product(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """x @ w for x of zeros and ones, each sum rounded once: the same bits in any order, and so for any rows of x beside.

    Of n <= 2^b rows and a column's largest w, numbers rounded as they are beside 2^(b+2) w have sums without rounding; so has
    what that leaves, rounded likewise to numbers 2^(50-b) times smaller, where what is left counts for nothing.
    """
    bits = max(1, w.shape[-2] - 1).bit_length()
    large = (w.abs().amax(-2, keepdim=True) * 2.0 ** (bits + 2)).clamp_max(1e300)
    small = large * 2.0 ** (bits - 50)
    high = (w + large) - large
    low = ((w - high) + small) - small
    return x @ high + x @ low if low.any() else x @ high


def summed(spikes: torch.Tensor, matrix: torch.Tensor, feedback: torch.Tensor | None) -> torch.Tensor:
    """spikes @ matrix; float64, where runs are compared, has the same bits for any other rows. feedback: see `through`."""
    if spikes.dtype != torch.float64 or not matrix.numel():
        return spikes @ matrix if feedback is None else through(spikes, matrix, feedback)
    if not torch.is_grad_enabled():
        return _product(spikes, matrix)
    return _Summed.apply(spikes, matrix, feedback)  # type: ignore[no-any-return, no-untyped-call]


class _Rounded(torch.autograd.Function):
    """See `rounded`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return _in_bfloat16(x, w)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x, w), (g,) = ctx.saved_tensors, gradients
        flat = (x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])) if w.ndim == 2 else (x, g)
        return (
            _in_bfloat16(g, w.mT).sum_to_size(x.shape) if ctx.needs_input_grad[0] else None,
            _in_bfloat16(flat[1].mT, flat[0]).mT.sum_to_size(w.shape) if ctx.needs_input_grad[1] else None,
        )


def _in_bfloat16(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    x, w = x.to(torch.bfloat16), w.to(torch.bfloat16)
    if not x.is_cuda or x.ndim != w.ndim or x.ndim > 3:
        return x.float() @ w.float()
    multiply: Any = torch.mm if x.ndim == 2 else torch.bmm
    found: torch.Tensor = multiply(x, w, out_dtype=torch.float32)
    return found


def rounded(source: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """source @ matrix, both rounded to bfloat16, whose products are summed in float32; so are the products of their gradients."""
    flat = source.reshape(-1, source.shape[-1]) if matrix.ndim == 2 else source
    found: torch.Tensor = _Rounded.apply(flat, matrix)  # type: ignore[no-untyped-call]
    return found.reshape(*source.shape[:-1], matrix.shape[-1]) if matrix.ndim == 2 else found


def over_time(
    spikes: torch.Tensor, matrix: torch.Tensor, kind: str, feedback: torch.Tensor | None = None, *, round_: bool = False
) -> torch.Tensor:
    """Products of all steps' spikes [time, *lead, pre] with a matrix, or one per parameter set. feedback: see `through`. round_: see `rounded`."""
    many = matrix.ndim == 3
    if many and spikes.ndim == 3:
        spikes = spikes.unsqueeze(1)
    if kind == "one_to_one":
        return spikes * matrix
    if not many:
        return rounded(spikes, matrix) if round_ else summed(spikes, matrix, feedback)
    time, _, batch, pre = spikes.shape
    flat = spikes.transpose(0, 1).reshape(-1, time * batch, pre)
    flat = rounded(flat, matrix) if round_ else summed(flat, matrix, feedback)
    return flat.reshape(len(matrix), time, batch, -1).transpose(0, 1)


def total(wires: Wires, values: Any, like: torch.Tensor, size: int) -> torch.Tensor:
    """Sum of a value per synapse into the target cells, [*lead, post]."""
    value = wires.storage.of(values)
    value = value.expand(*like.shape[:-1], *wires.synapses.shape)
    if wires.mask is not None:
        value = value * wires.mask
    if wires.synapses.kind == "dense":
        return value.sum(dim=-2)
    return wires.storage.zeros(*like.shape[:-1], size).index_add(-1, wires.post, value)


def take(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """One value per synapse [..., synapse] of one per cell; a value that all cells share stays as it is."""
    return values if values.ndim == 0 or values.shape[-1] == 1 else values[..., index]


def across(values: torch.Tensor, axis: int) -> torch.Tensor:
    """One value per cell along one axis of [..., pre, post]; a single number stays as it is."""
    return values.unsqueeze(axis) if values.ndim else values


def without(values: torch.Tensor, axis: int) -> torch.Tensor:
    """The inverse of `across`."""
    return values.squeeze(axis) if values.ndim else values


FUNCTIONS: dict[str, Any] = {
    **ELEMENTARY, "rows": rows, "weighted": weighted, "project": project, "take": take, "through": through,
    "across": across, "without": without, "invariant": invariant, "product": product,
}  # fmt: skip
ROUNDED: dict[str, Any] = {
    "weighted": lambda source, matrix: weighted(source, matrix, rounded),
    "project": lambda total, spikes, matrix: total + rounded(spikes, matrix),
    "product": rounded,
}  # in place of those of the same names
