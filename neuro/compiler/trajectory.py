"""A recorded run, and the arrays in which its tangents are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from neuro.compiler.evaluation import chain_product, compiled
from neuro.compiler.step import Synapses


def added(values: Any, index: Any, size: int) -> Any:
    """[batch, synapse, ...] -> [batch, size, ...]: sums of the entries that share an index."""
    total = np.zeros((values.shape[0], size, *values.shape[2:]))
    where: Any = (slice(None), index)
    np.add.at(total, where, values)
    return total


@dataclass(frozen=True)
class Arithmetic:
    """What another library's arrays write differently.

    compiled: (sympy tuple, names) -> function of arrays that gives a tuple. product: slope times tangent, 0 where the tangent is 0. array: one of its
    own from one of numpy's. added: see `added`.
    """

    compiled: Callable[[sp.Expr, tuple[str, ...]], Callable[..., Any]] = compiled
    product: Callable[[Any, Any], Any] = chain_product
    finite: Callable[[Any], bool] = lambda a: bool(np.isfinite(a).all())
    array: Callable[[Any], Any] = np.asarray
    where: Callable[[Any, Any, Any], Any] = np.where
    broadcast_to: Callable[[Any, tuple[int, ...]], Any] = np.broadcast_to
    concatenate: Callable[[list[Any], int], Any] = np.concatenate
    added: Callable[[Any, Any, int], Any] = added


@dataclass(frozen=True)
class Trajectory:
    """A run as its tangents read it.

    traces: "owner.variable" -> SI values [batch, time, ...], of all states after each step and of all inputs in it. spikes: population
    or spike input -> bool [batch, time, neuron]. noise: "population.xi" -> [batch, time, neuron], with the counts of
    drives. parameters: SI. first: the number of the first recorded step.
    """

    traces: Mapping[str, Any]
    spikes: Mapping[str, Any]
    parameters: Mapping[str, Any]
    noise: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Trials and steps."""
        some = next(iter({**self.traces, **self.spikes}.values()))
        return int(some.shape[0]), int(some.shape[1])


def spread(synapses: Synapses, end: str, values: Any, axes: int) -> Any:
    """[..., cell] (axes 1) or [..., cell, direction] (axes 2) -> one entry per synapse, which broadcasts to the layout."""
    place: tuple[Any, ...]
    if synapses.kind == "dense":
        place = (..., slice(None), None) if end == "pre" else (..., None, slice(None))
    else:
        place = (..., synapses.pre_index if end == "pre" else synapses.post_index)
    return values[place if axes == 1 else (*place, slice(None))]


def wide(slope: Any) -> Any:
    """[..., cell] -> [..., cell, 1], beside tangents."""
    return slope[..., None] if getattr(slope, "ndim", 0) else slope


def plus(one: Any, other: Any) -> Any:
    """Of two tangents; None is none at all."""
    return other if one is None else one if other is None else one + other
