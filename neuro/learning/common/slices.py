"""A batch in slices: consecutive examples, each with the random streams that it has in the whole; and sums over slices in an order that no split changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from neuro.options import OptionError
from neuro.protocols import Array, Batch, RunError
from neuro.state import State

MEAN = 1e-5  # relative difference of a batch's loss and the mean of its slices' that rounding may make
Span = tuple[int, int]  # from the first on, up to the last and without it


def divided(number: int, parts: int) -> list[Span]:
    """So many things in consecutive parts, as equal as they can be; empty ones where there are more parts than things."""
    return [(k * number // parts, (k + 1) * number // parts) for k in range(parts)]


def examples(batch: Batch) -> int:
    """How many there are. Raises RunError where inputs, targets, mask and state don't have as many."""
    found = {f"input '{n}'": len(a) for n, a in batch.inputs.items()} | {"targets": len(batch.targets)}
    found |= {n: len(getattr(batch, n)) for n in _own(batch)}
    if batch.mask is not None:
        found["mask"] = len(batch.mask)
    if batch.state is not None:
        found["state"] = batch.state.lead[0]
    (what, number), *others = found.items()
    for other, size in others:
        if size != number:
            raise RunError(
                f"a batch in slices: {what} has {number} examples and {other} {size}; give as many of each, one an example"
            )
    return number


def cut(batch: Batch, span: Span) -> Batch:
    """Some consecutive examples; their random streams are those that they have in the whole batch."""
    first, last = span
    own: dict[str, Any] = {n: getattr(batch, n)[first:last] for n in _own(batch)}
    return replace(
        batch,
        **own,
        inputs={n: a[first:last] for n, a in batch.inputs.items()},
        targets=batch.targets[first:last],
        mask=None if batch.mask is None else batch.mask[first:last],
        state=None if batch.state is None else cut_state(batch.state, span),
        trial=batch.trial + first,
    )


def _own(batch: Batch) -> list[str]:
    """What a kind of batch has besides a Batch's: arrays [batch, ...]."""
    return [f.name for f in fields(batch) if f.name not in Batch.__dataclass_fields__]


def cut_state(state: State, span: Span) -> State:
    """That of some consecutive trials."""
    first, last = span
    return replace(state.each(lambda a: a[first:last]), lead=(last - first,), trial=state.trial + first)


def weight_of(task: Any, batch: Batch) -> float:
    """What of its loss a batch counts: see Task."""
    own = getattr(task, "weight", None)
    return float(examples(batch)) if own is None else float(own(batch))


def shares(task: Any, batch: Batch, spans: list[Span]) -> list[float]:
    """What each slice counts in the whole; together 1. Raises FloatingPointError where nothing counts."""
    weights = [weight_of(task, cut(batch, span)) if span[1] > span[0] else 0.0 for span in spans]
    total = sum(weights)
    if not total > 0:
        raise FloatingPointError(f"nothing of the batch counts: its examples have the weights {weights}")
    return [w / total for w in weights]


def check_mean(task: Any, batch: Batch, signals: tuple[Mapping[str, Any], Mapping[str, Any]]) -> None:
    """Raises OptionError where the task's loss of a batch isn't the mean of those of its slices. signals: spikes and traces, tensors [batch, time, neuron]."""
    count = examples(batch)
    spans = [(0, 1), (1, count)] if count > 1 else [(0, count)]
    whole, parts = float(task.loss(*signals, batch)), 0.0
    for span, share in zip(spans, shares(task, batch, spans), strict=True):
        if share:
            own = [{n: a[slice(*span)] for n, a in side.items()} for side in signals]
            parts += share * float(task.loss(*own, cut(batch, span)))
    if not math.isclose(whole, parts, rel_tol=MEAN, abs_tol=1e-300) and math.isfinite(whole):
        raise OptionError(
            f"task '{task.name}': its loss of a batch is {whole:.6g}, and the mean of those of two slices {parts:.6g}, so slices would give another gradient; "
            "let weight(batch) say what of the loss a batch counts, or `indivisible` why it is no mean; or train in one process, without slices"
        )


def total(span: Span, value: Callable[[int], Array], known: Mapping[Span, Array] | None = None) -> Array:
    """The sum over leaves from first to last - 1 in a binary tree whose form depends on their number alone. known: of nodes that are summed already."""
    if known is not None and span in known:
        return known[span]
    first, last = span
    if last - first == 1:
        return value(first)
    middle = (first + last + 1) // 2
    return np.asarray(total((first, middle), value, known) + total((middle, last), value, known))


def nodes(tree: Span, own: Span) -> list[Span]:
    """The largest nodes of the tree that lie within a part of its leaves."""
    first, last = tree
    if last <= own[0] or own[1] <= first or own[0] == own[1]:
        return []
    if own[0] <= first and last <= own[1]:
        return [tree]
    middle = (first + last + 1) // 2
    return [*nodes((first, middle), own), *nodes((middle, last), own)]
