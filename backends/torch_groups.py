"""Which populations are stepped together, and what can be computed before the time loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuro.parameters import Parameter
from neuro.protocols import UnsupportedError
from neuro.step import Couple, Gather, Operation, Step, Synapses, Update


def local(owner: str, name: str) -> str:
    """Python name of a variable or parameter."""
    return f"{owner}__{name}"


@dataclass(frozen=True)
class Arrival:
    """An argument of the step function: spikes of a source, `delay` steps ago."""

    source: str
    delay: int

    @property
    def name(self) -> str:
        return f"{self.source}__z_{self.delay}"


@dataclass
class Group:
    """One rendered group. states, arrivals, drives, noise: arguments of `step`, in this order after the constants."""

    populations: tuple[str, ...]
    hoisted: tuple[Couple, ...]
    currents: tuple[tuple[str, str], ...]  # (drive, input name)
    states: tuple[str, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    drives: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    spiking: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()  # what `step` gives after states and spikes
    derived: tuple[str, ...] = ()  # what `observe` gives
    source: str = ""
    functions: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Backward:
    """What a gradient may pass. reset: False where membranes' resets are detached. detached: projections it doesn't pass
    from post to pre. feedback: projections that it passes through weights of their own, "projection.feedback".
    """

    reset: bool = False
    detached: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()


def drive_name(couple: Couple) -> str:
    """Argument that carries what hoisted couplings bring to a variable."""
    return f"{local(couple.population, couple.target)}__drive"


def is_static(step: Step, couple: Couple) -> bool:
    """An event coupling of fixed per-synapse amounts: its sum is (spikes, some steps ago) @ matrix."""
    synapses, factors = step.projection(couple.projection), couple.factors
    if couple.when != "pre" or factors is None or factors.pre.free_symbols or factors.post.free_symbols:
        return False
    names = {s.name for s in factors.synapse.free_symbols}
    return not names & {*synapses.states, "t"}


def delays_of(synapses: Synapses) -> tuple[int, ...]:
    return tuple(int(d) for d in np.unique(synapses.delay))


def groups(step: Step) -> list[tuple[str, ...]]:
    """Populations that must run together, sources first. Only static event couplings can cross from group to group."""
    import networkx

    graph = networkx.DiGraph()
    graph.add_nodes_from(c.name for c in step.cells)
    known = set(graph.nodes)
    static = {s.name: True for s in step.synapses}
    for op in flat(step.operations):
        if isinstance(op, Couple) and not is_static(step, op):
            static[op.projection] = False
        if isinstance(op, Update) and op.owner in static:
            static[op.owner] = False
    for synapses in step.synapses:
        if synapses.pre in known:
            graph.add_edge(synapses.pre, synapses.post)
            if not static[synapses.name]:
                graph.add_edge(synapses.post, synapses.pre)
    order = {c.name: i for i, c in enumerate(step.cells)}
    condensed = networkx.condensation(graph)
    return [
        tuple(sorted(condensed.nodes[n]["members"], key=order.__getitem__))
        for n in networkx.topological_sort(condensed)
    ]


def flat(operations: tuple[Operation, ...]) -> list[Operation]:
    found: list[Operation] = []
    for op in operations:
        found += [*op.couplings, op] if isinstance(op, Gather) else [op]
    return found


def with_feedback(declared: dict[str, Parameter], backward: Backward) -> dict[str, Parameter]:
    """Feedback weights beside the parameters. Raises UnsupportedError on a projection that has no dense weights."""
    for name in (*backward.detached, *backward.feedback):
        weights = declared.get(f"{name}.w")
        if weights is None or (name in backward.feedback and len(weights.shape) != 2):
            known = ", ".join(
                n.removesuffix(".w") for n, p in declared.items() if n.endswith(".w") and len(p.shape) == 2
            )
            raise UnsupportedError(
                "torch", f"feedback through '{name}'", f"projections with dense weights are: {known}"
            )
    return declared | {f"{n}.feedback": declared[f"{n}.w"] for n in backward.feedback}
