"""Which populations are stepped together, and what can be computed before the time loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backends.common.structure import flat, is_static
from neuro.compiler.step import Couple, Step, Update
from neuro.language.mangling import mangled


@dataclass(frozen=True)
class Arrival:
    """An argument of the step function: spikes of a source, `delay` steps ago; one step more where an input is gathered."""

    source: str
    delay: int
    gathered: bool = False

    @property
    def name(self) -> str:
        return mangled("gathered" if self.gathered else "arrived", self.source, str(self.delay))

    @property
    def late(self) -> int:
        """Steps from a spike to the step that reads it."""
        return self.delay + self.gathered


@dataclass
class Group:
    """One rendered group. states, arrivals, drives, noise: arguments of `step`, in this order after the constants. noise: with the
    counts of Poisson drives. due: arguments after them, one number a step, which say whether what runs every so many steps does.
    """

    populations: tuple[str, ...]
    hoisted: tuple[tuple[str, Couple], ...]  # (drive, coupling)
    currents: tuple[tuple[str, str], ...]  # (drive, input name)
    states: tuple[str, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    drives: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    due: tuple[str, ...] = ()
    spiking: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()  # what `step` gives after states and spikes
    derived: tuple[str, ...] = ()  # what `observe` gives
    overwritten: tuple[str, ...] = ()  # of the states: those in which a value that isn't finite can be lost
    sums: tuple[str, ...] = ()  # what `sums` gives: "population.input" that events reach
    source: str = ""
    functions: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Functions:
    """What a group's source defines."""

    constants: Callable[..., Any]
    step: Callable[..., Any]
    observe: Callable[..., Any]
    sums: Callable[..., Any]


def due(every: int) -> str:
    """Argument that says whether what runs every so many steps does so in this one."""
    return mangled("due", str(every))


def drive(population: str, target: str, stretch: int = 0) -> str:
    """Argument that carries what comes to a variable from outside the group: hoisted couplings, and currents beside nothing
    else; and, in the first step of a run that goes on, what had arrived at an input before.

    stretch: see backends.common.structure.stretches; 0 for inputs, which are gathered once.
    """
    return mangled("drive", population, target, str(stretch))


def current(population: str, target: str) -> str:
    """Argument that carries an input's currents where events come from inside the group too."""
    return mangled("current", population, target)


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
