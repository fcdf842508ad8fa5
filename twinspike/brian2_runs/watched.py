"""A user's Brian2 objects, run as they are under our monitors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import brian2
import numpy as np
import numpy.typing as npt
from brian2.core.network import Network as BrianNetwork
from brian2.devices.device import get_device

from backends.brian.devices import preferences
from backends.brian.importing.importer import Imported
from twinspike.brian2_runs.first_run import FirstRun
from twinspike.brian2_runs.numbers import OurNumbers

Array = npt.NDArray[Any]
CELLS = 8  # of a group, and synapses of an object, whose traces are kept
_SPIKING = (brian2.NeuronGroup, brian2.PoissonGroup, brian2.SpikeGeneratorGroup)
LAST = 10**6  # an order behind everything that a user would write
COMPILED = "cython with -ffast-math"
# Ways in which Brian2 computes the same with other roundings: without a part of its own optimiser, and as compiled code with
# the compiler flags that it has by default, -ffast-math among them; that draws numbers of its own.
OTHERWISE: Mapping[str, Mapping[str, Any]] = {
    "without loop-invariant optimisations": {"codegen.loop_invariant_optimisations": False},
    COMPILED: {"codegen.target": "cython"},
}


@dataclass(frozen=True)
class Variable:
    """A state under comparison. owner, name: Brian2's; ours: "population.variable"; index: the cells or synapses that are traced."""

    owner: Any
    name: str
    ours: str
    index: Array

    @property
    def scalar(self) -> bool:
        """Whether Brian2 has it once for all."""
        return bool(self.owner.variables[self.name].scalar)


@dataclass(frozen=True)
class Ran:
    """What a run gave, ours or Brian2's.

    spikes: population -> (step, cell) of each, in order. traces: "population.variable" -> SI values [time, chosen] at the
    end of each step. end: the same names -> values of all cells or synapses after the last step. seconds: of the run alone.
    """

    steps: int
    seconds: float
    spikes: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    traces: Mapping[str, Array] = field(default_factory=dict)
    end: Mapping[str, Array] = field(default_factory=dict)


def variables(found: FirstRun, imported: Imported) -> tuple[Variable, ...]:
    """The states that both sides have, of whole groups."""
    states = {f"{p.name}.{v}" for p in imported.network.populations for v in p.neuron.scope.states}
    states |= {f"{p.name}.{v}" for p in imported.network.projections for v in p.synapse.scope.states}
    objects = {o.name: o for o in found.objects}
    chosen = []
    for theirs, ours in sorted(imported.variables.items()):
        owner, _, name = theirs.partition(".")
        group: Any = objects.get(owner)
        if ours in states and isinstance(group, brian2.NeuronGroup | brian2.Synapses):
            size = 1 if group.variables[name].scalar else len(group)
            index = np.unique(np.linspace(0, size - 1, CELLS).astype(int)) if size else np.zeros(0, int)
            chosen.append(Variable(group, name, ours, index))
    return tuple(v for v in chosen if len(v.index))


def spiking(found: FirstRun, imported: Imported) -> Iterator[tuple[str, Any, str]]:
    """Population, the group of Brian2's, and the event of it that its own spikes have to be."""
    for group in found.objects:
        if isinstance(group, _SPIKING) and "spike" in group.events:
            name = imported.groups[group.name].name
            if name in imported.network.parts["population"]:
                yield name, group, "spike"
    groups = {o.name: o for o in found.objects}
    yield from ((name, groups[group], event) for name, (group, event) in imported.events.items())


def run(
    found: FirstRun,
    imported: Imported,
    watched: Sequence[Variable],
    duration: float,
    *,
    budget: float = np.inf,
    way: str = "",
) -> Ran:
    """Run the objects for `duration` seconds of theirs, or as far as `budget` seconds of ours go. The objects are used up.

    way: one of OTHERWISE; Brian2's numpy code else, which gets our random numbers.
    """
    network, device = found.network, get_device()
    spikes = {
        name: brian2.EventMonitor(group, event, name=f"{event}s_of_{group.name}_compared")
        for name, group, event in spiking(found, imported)
    }
    traces = {v.ours: _monitor(v) for v in watched}
    wanted = {"codegen.target": "numpy", **OTHERWISE.get(way, {})}
    BrianNetwork.add(network, *spikes.values(), *traces.values())
    if wanted["codegen.target"] == "numpy":
        BrianNetwork.add(network, OurNumbers(found, imported))
    with preferences(wanted):
        before, device._maximum_run_time = device._maximum_run_time, None if budget == np.inf else budget
        try:
            BrianNetwork.run(network, duration * brian2.second, namespace=found.namespace)
        finally:
            device._maximum_run_time = before
    dt = float(imported.network.dt.value)
    steps = int(found.clock.variables["timestep"].get_value()[0])
    return Ran(
        steps,
        float(device._last_run_time),
        {n: (np.rint(np.asarray(m.t) / dt).astype(int), np.asarray(m.i)) for n, m in spikes.items()},
        {v.ours: np.asarray(getattr(traces[v.ours], f"{v.name}_")).T.reshape(steps, -1) for v in watched},
        {v.ours: np.array(v.owner.variables[v.name].get_value(), dtype=np.float64) for v in watched},
    )


def _monitor(variable: Variable) -> Any:
    group = variable.owner
    name = f"{variable.name}_of_{group.name}_compared"
    return brian2.StateMonitor(
        group, variable.name, record=variable.index, when="end", order=LAST, clock=group.clock, name=name
    )
