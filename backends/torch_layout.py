"""Which populations run together in one time loop, and what can be computed before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import networkx
import numpy as np

from neuro.step import Couple, Gather, Operation, Step, Synapses, Update

DENSE_LIMIT = 2**24  # entries of a matrix that a sparse projection may be turned into


def local(owner: str, name: str) -> str:
    """Python name of a variable or parameter."""
    return f"{owner}__{name}"


def own(owner: str, what: str) -> str:
    """Python name of something that a model doesn't know; no name of a model holds two underscores."""
    return f"{owner}__{what}__"


@dataclass(frozen=True)
class Arrival:
    """An argument of the step function: spikes of a source, `delay` steps ago."""

    source: str
    delay: int

    @property
    def name(self) -> str:
        return own(self.source, f"spikes_{self.delay}")


@dataclass
class Group:
    """One rendered group.

    states, arrivals, drives, noise, then zeros of each population and, where timed, the time: arguments of `step` after
    the constants, in this order. It returns the states, the spikes of the populations in `spiking`, the inputs.
    `observe` takes the constants, states, inputs, zeros and time, and returns the subexpressions.
    """

    populations: tuple[str, ...]
    hoisted: tuple[tuple[str, Couple], ...]  # (drive, coupling)
    currents: tuple[tuple[str, str], ...]  # (drive, input name)
    states: tuple[str, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    drives: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    timed: bool = False
    spiking: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    subexpressions: tuple[str, ...] = ()
    source: str = ""
    functions: dict[str, Any] = field(default_factory=dict)


def has_matrix(synapses: Synapses, couple: Couple) -> bool:
    """Is the sum (something of the source) @ matrix * (something of the target), with a matrix fixed during the run?"""
    if couple.factors is None or couple.when == "post":
        return False
    names = {s.name for s in couple.factors.synapse.free_symbols}
    small = synapses.kind != "sparse" or synapses.ends[0] * synapses.ends[1] <= DENSE_LIMIT
    return small and not names & {*synapses.states, "t"}


def is_static(step: Step, couple: Couple) -> bool:
    """An event coupling of fixed amounts: its sum is (spikes, some steps ago) @ matrix."""
    synapses, factors = step.projection(couple.projection), couple.factors
    if couple.when != "pre" or factors is None or factors.pre.free_symbols or factors.post.free_symbols:
        return False
    return has_matrix(synapses, couple)


def delays_of(synapses: Synapses) -> tuple[int, ...]:
    """The different delays of a projection, in steps."""
    return tuple(int(d) for d in np.unique(synapses.delay))


def flat(operations: tuple[Operation, ...]) -> Iterator[Operation]:
    """Operations, those inside of a Gather included."""
    for op in operations:
        if isinstance(op, Gather):
            yield from op.couplings
        yield op


def groups(step: Step) -> list[tuple[str, ...]]:
    """Populations that must run together, sources first. Only static event couplings can cross from group to group."""
    order = {c.name: i for i, c in enumerate(step.cells)}
    graph = networkx.DiGraph()
    graph.add_nodes_from(order)
    inside = {o.projection for o in flat(step.operations) if isinstance(o, Couple) and not is_static(step, o)}
    inside |= {o.owner for o in step.operations if isinstance(o, Update)}
    for synapses in step.synapses:
        if synapses.pre in order:
            graph.add_edge(synapses.pre, synapses.post)
            if synapses.name in inside:
                graph.add_edge(synapses.post, synapses.pre)
    condensed = networkx.condensation(graph)
    return [
        tuple(sorted(condensed.nodes[n]["members"], key=order.__getitem__)) for n in networkx.topological_sort(condensed)
    ]
