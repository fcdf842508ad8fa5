"""A whole pass as CUDA graphs: captured once for each form of what it reads, forward and back, and replayed with other numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from backends.common.storage import Storage
from neuro.compiler.lowering import lower
from neuro.compiler.step import Couple, Threshold, Update
from neuro.language.elementary import poisson_of
from neuro.model import Network
from neuro.protocols import RunError, UnsupportedError

DEVICES = ("cuda",)  # of torch, that have graphs
KEPT = 8  # forms whose graphs are kept: each holds the memory of a pass
Pass = Callable[[Any], Any]


def refuse(backend: str, storage: Storage, network: Network) -> None:
    """Raises UnsupportedError where a pass can't be captured."""
    what = "option 'compile'='graph'"
    for op in lower(network).operations:
        texts = [a.expr for a in op.assigns] if isinstance(op, Update) else []
        texts += [op.condition] if isinstance(op, Threshold) else [op.value] if isinstance(op, Couple) else []
        if any(expr.has(poisson_of) for expr in texts):
            owner = op.owner if isinstance(op, Update) else op.projection if isinstance(op, Couple) else op.population
            raise UnsupportedError(
                backend, f"poisson() in '{owner}' with {what}", "counts are made on the CPU; leave the option out"
            )
    if storage.device.type not in DEVICES:
        raise UnsupportedError(backend, what, f"'{storage.device}' has no graphs; use device='cuda', or compile=True")
    if storage.dtype != torch.float32:
        why = "products of float64 ask how they must be rounded while they run; use dtype='float32'"
        raise UnsupportedError(backend, what, why)


class Graphs:
    """Captured passes of one program, by form: shapes, which tensors want gradients, and whatever else decides what a pass does."""

    def __init__(self) -> None:
        self._captured: OrderedDict[Any, Captured] = OrderedDict()

    def run(self, form: Any, function: Pass, given: Any) -> Any:
        """What `function` gives for `given`, nested dictionaries of tensors both. Raises RunError."""
        leaves, spec = tree_flatten(given)
        graded = torch.is_grad_enabled()
        leaves = [a if graded else a.detach() for a in leaves]
        key = (form, graded, str(spec), *((a.shape, a.dtype, a.requires_grad) for a in leaves))
        if key not in self._captured:
            while len(self._captured) >= KEPT:
                self._captured.popitem(last=False)
            self._captured[key] = Captured(lambda *tensors: function(tree_unflatten(tensors, spec)), leaves)
        self._captured.move_to_end(key)
        return self._captured[key](leaves)


class Captured:
    """One form. Its inputs and everything that it computes lie in memory of its own, which the next call writes again."""

    def __init__(self, function: Callable[..., Any], leaves: list[torch.Tensor]) -> None:
        self.turn = 0
        held = tuple(a.detach().clone().requires_grad_(a.requires_grad) for a in leaves)
        self._shape: Any = None

        def flat(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found, self._shape = tree_flatten(function(*tensors))
            return tuple(found)

        try:
            self._replay: Any = torch.cuda.make_graphed_callables(flat, held, allow_unused_input=True)
        except RuntimeError as error:
            said = str(error).strip().splitlines()[0]
            raise RunError(
                f"this pass can't be captured in a graph, torch says: {said}; leave compile='graph' out"
            ) from error

    def __call__(self, leaves: list[torch.Tensor]) -> Any:
        self.turn += 1
        return tree_unflatten(_Own.apply(self, *self._replay(*leaves)), self._shape)  # type: ignore[no-untyped-call]


class _Own(torch.autograd.Function):
    """Copies of what a replay gave, which the next one leaves alone; the way back must come before the next one."""

    @staticmethod
    def forward(ctx: Any, captured: Captured, *found: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.captured, ctx.turn = captured, captured.turn
        ctx.mark_non_differentiable(*(a for a in found if not a.is_floating_point()))
        return tuple(a.clone() for a in found)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if ctx.turn != ctx.captured.turn:
            raise RunError(
                "this pass was captured in a graph, which has run again since: call backward() before the next pass of "
                "the same form, detach a state that goes on, or leave compile='graph' out"
            )
        return None, *gradients
