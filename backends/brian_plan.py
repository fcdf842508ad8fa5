"""What Brian2 has to be told of a network beyond its equations: who is summed into whom, in which order, and within which bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian_names import Names
from neuro.equations import Expression, Statement
from neuro.model import Network, Projection
from neuro.parameters import Parameter, wiring
from neuro.protocols import UnsupportedError
from neuro.scope import NeuronScope

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
    wires = wiring(network, projection)
    if wires.indices is not None:
        return *wires.indices, np.arange(len(wires.indices[0]))
    mask = np.ones(wires.shape, bool) if wires.mask is None else wires.mask
    pre, post = np.nonzero(mask)
    return pre, post, np.flatnonzero(mask)


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


def _follows_inputs(scope: NeuronScope, names: Iterable[str], suffix: str) -> bool:
    """True if some `name_suffix` depends on an input of this very step, directly or through subexpressions."""
    table = {e.name: e.expression for e in scope.of_kind("subexpression")}
    open_names = [n.removesuffix(suffix) for n in names if n.endswith(suffix)]
    while open_names:
        name = open_names.pop()
        if name in scope.inputs:
            return True
        expression = table.get(name)
        open_names += expression.names if expression else ()
    return False


def sources_first(network: Network) -> tuple[str, ...]:
    """Populations so that inputs are gathered before graded values that depend on them."""
    cells = {p.name: p for p in network.populations}
    needs: dict[str, set[str]] = {name: set() for name in cells}
    for projection in network.projections:
        transmits = projection.synapse.scope.transmits
        for end, suffix in ((projection.pre, "_pre"), (projection.post, "_post")):
            if transmits and end in cells and _follows_inputs(cells[end].neuron.scope, transmits.names, suffix):
                needs[projection.post].add(end)
    try:
        return tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        names = ", ".join(sorted(set(error.args[1])))
        why = "graded units depend on each other within one step; give one of them a state, or send events"
        raise UnsupportedError("brian2", f"populations {names}", why) from None
