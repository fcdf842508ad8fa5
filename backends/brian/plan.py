"""What Brian2 has to be told of a network beyond its equations: who is summed into whom, in which order, within which bounds,
and what it records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.names import Names
from backends.common.recording import Wanted
from neuro.compiler.couplings import Place, inputs_summed
from neuro.compiler.parameters import Parameter
from neuro.compiler.resolve import resolve
from neuro.language.equations import Expression, Statement
from neuro.language.scope import NeuronScope
from neuro.model import Network, Projection
from neuro.protocols import UnsupportedError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sum:
    """A value that a projection's synapses sum into a variable of their target.

    statement: the every_step statement that adds it, None where it is a graded value.
    """

    variable: str  # in the cells
    target: str
    value: Expression
    statement: Statement | None = None


def pairs(network: Network, projection: Projection) -> tuple[Array, Array, Array]:
    """pre and post indices of the synapses, and which entries of the flattened layout they are."""
    wires = resolve(network).wires[projection.name]
    if wires.kind != "dense":
        return *wires.indices, np.arange(wires.shape[0])
    mask = np.ones(wires.shape, bool) if wires.mask is None else wires.mask
    pre, post = np.nonzero(mask)
    return pre, post, np.flatnonzero(mask)


@dataclass(frozen=True)
class Watched:
    """A variable under a monitor. index: in Brian2's order of all copies; None for all `size` of them."""

    name: str
    size: int
    index: tuple[int, ...] | None = None


def watched_by(network: Network, wanted: Wanted, copies: int) -> Iterator[Watched]:
    """What has to be recorded of so many copies of a network."""
    for name, trace in wanted.traces.items():
        there = pairs(network, network.projection(trace.owner))[2] if trace.synaptic else np.arange(trace.layout[0])
        index = None
        if trace.index is not None:
            own = np.searchsorted(there, trace.index)
            index = tuple((np.arange(copies)[:, None] * len(there) + own).ravel().tolist())
        yield Watched(name, copies * len(there), index)


def sums(projection: Projection, names: Names) -> tuple[Sum, ...]:
    """Graded values, and sums that every_step statements make."""
    scope, cells = projection.synapse.scope, names[projection.post]
    found = []
    if scope.transmits is not None:
        target = projection.synapse.target
        found.append(Sum(names.part(cells[target], projection.name), target, scope.transmits))
    for number, statement in enumerate(scope.every_step):
        if statement.target.endswith("_post"):
            target = statement.target.removesuffix("_post")
            variable = f"{names.part(cells[target], projection.name)}_{number}"
            found.append(Sum(variable, target, statement.expression, statement))
    return tuple(found)


def limits(projection: Projection, declared: Mapping[str, Parameter]) -> tuple[Array, Array] | None:
    """Lowest and highest weights (SI, infinite where open) of a plastic projection by its bounds and sign; None of others."""
    if not projection.synapse.scope.plastic:
        return None
    weights = declared[f"{projection.name}.w"]
    low, high = np.asarray(weights.low, np.float64), np.asarray(weights.high, np.float64)
    return (
        np.maximum(low, 0.0) if weights.sign == "+" else low,
        np.minimum(high, 0.0) if weights.sign == "-" else high,
    )


def reached(scope: NeuronScope, names: Iterable[str], suffix: str) -> set[str]:
    """What of the cells each `name_suffix` is made of, directly or through subexpressions."""
    return scope.reached(n.removesuffix(suffix) for n in names if n.endswith(suffix))


def sources_first(network: Network, place: Place) -> tuple[str, ...]:
    """Populations so that inputs are gathered before graded values that depend on them. place: "start" or "end" of a step."""
    cells = {p.name: p for p in network.populations}
    needs: dict[str, set[str]] = {name: set() for name in cells}
    for projection in network.projections:
        scope = projection.synapse.scope
        if scope.transmits is None or projection.summed != place:
            continue
        read = scope.reached(scope.transmits.names)
        for end, suffix in ((projection.pre, "_pre"), (projection.post, "_post")):
            if end in cells and reached(cells[end].neuron.scope, read, suffix) & {*inputs_summed(network, end, place)}:
                needs[projection.post].add(end)
    try:
        return tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        names = ", ".join(sorted(set(error.args[1])))
        why = "graded units depend on each other within one step; give one of them a state, or send events"
        raise UnsupportedError("brian2", f"populations {names}", why) from None
