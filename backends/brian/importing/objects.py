"""Which objects a Brian2 network has, and whether each of them runs where ours does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from brian2.groups.group import CodeRunner
from brian2.groups.neurongroup import Resetter, StateUpdater, SubexpressionUpdater, Thresholder
from brian2.groups.subgroup import Subgroup
from brian2.synapses.synapses import StateUpdater as SynapticStateUpdater
from brian2.synapses.synapses import SummedVariableUpdater, SynapticPathway

from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.errors import NotImportedError

SLOTS = ["start", "groups", "thresholds", "synapses", "resets", "end"]
_WATCHES = (brian2.StateMonitor, brian2.EventMonitor, brian2.PopulationRateMonitor)
_GROUPS = (brian2.NeuronGroup, brian2.PoissonGroup, brian2.SpikeGeneratorGroup)
_PARTS = (
    StateUpdater,
    SynapticStateUpdater,
    Thresholder,
    Resetter,
    SummedVariableUpdater,
    SynapticPathway,
    SubexpressionUpdater,
)
_SLOTS: Mapping[Any, str] = {  # of what a group consists of; orders within them are looked at where they matter
    StateUpdater: "groups",
    SynapticStateUpdater: "groups",
    SummedVariableUpdater: "groups",
    Thresholder: "thresholds",
    SynapticPathway: "synapses",
    Resetter: "resets",
    brian2.PoissonInput: "synapses",
    brian2.SpikeGeneratorGroup: "thresholds",
}
_INSTEAD = {
    "SpatialNeuron": (
        "it has several compartments",
        "write each compartment as a point neuron, joined by graded synapses",
    ),
    "NetworkOperation": (
        "it is Python code that runs in each step",
        "write what it does as equations, run_regularly statements or a TimedArray, or leave it out of the network",
    ),
}


@dataclass
class Objects:
    """A network's parts, in the order in which Brian2 takes them. runners: what run_regularly made. watches: monitors."""

    cells: list[Any] = field(default_factory=list)  # NeuronGroups and PoissonGroups
    generators: list[Any] = field(default_factory=list)
    synapses: list[Any] = field(default_factory=list)
    drives: list[Any] = field(default_factory=list)  # PoissonInputs
    subgroups: list[Any] = field(default_factory=list)
    runners: list[Any] = field(default_factory=list)
    watches: list[Any] = field(default_factory=list)
    dt: float = 0.0

    def base(self, group: Any) -> Any:
        """The whole group that a source or target is, or is a part of."""
        name = group.source.name if isinstance(group, Subgroup) else group.name
        for known in (*self.cells, *self.generators):
            if known.name == name:
                return known
        if any(s.name == name for s in self.synapses):
            raise NotImportedError(
                name, "synapses onto synapses have no place here", "give what they change to a group of cells"
            )
        raise NotImportedError(
            name, "it is joined to the network, and no part of it", "give it to from_brian2, or add it to the network"
        )


def key(item: Any) -> tuple[int, str]:
    """Brian2 sorts what stands in one slot by order, then by name."""
    return item.order, item.name


def objects(given: Iterable[Any]) -> Objects:
    """The parts of Brian2's network, or of the objects given. Raises NotImportedError."""
    given = list(given)
    check_start(given)
    found = Objects()
    for item in sorted(flattened(given), key=lambda item: item.name):
        if isinstance(item, _WATCHES):
            found.watches.append(item)
        else:
            sort(item, found)
    check_clocks(found, flattened(given))
    found.cells.sort(key=lambda g: key(getattr(g, "state_updater", g)))
    return found


def flattened(given: Iterable[Any]) -> list[Any]:
    """Every object once, with those that it consists of."""
    found: dict[int, Any] = {}
    pending = list(given)
    while pending:
        item = pending.pop()
        if isinstance(item, brian2.Network):
            check_schedule(item)
            pending += list(item.objects)
        elif isinstance(item, list | tuple | set):
            pending += list(item)
        elif id(item) not in found and hasattr(item, "contained_objects"):
            found[id(item)] = item
            pending += list(item.contained_objects)
        elif id(item) not in found:
            raise NotImportedError(
                getattr(item, "name", repr(item)), "it is no object of Brian2's", "give a Network or its objects"
            )
    return list(found.values())


def sort(item: Any, found: Objects) -> None:
    kind = type(item)
    for known in kind.__mro__:
        if known.__name__ in _INSTEAD:
            raise NotImportedError(item.name, *_INSTEAD[known.__name__])
    check_place(item)
    if isinstance(item, brian2.NeuronGroup | brian2.PoissonGroup):
        found.cells.append(item)
    elif isinstance(item, brian2.SpikeGeneratorGroup):
        found.generators.append(item)
    elif isinstance(item, brian2.Synapses):
        found.synapses.append(item)
    elif isinstance(item, brian2.PoissonInput):
        found.drives.append(item)
    elif isinstance(item, Subgroup):
        found.subgroups.append(item)
    elif kind is CodeRunner:
        found.runners.append(item)
    elif not isinstance(item, _PARTS):
        raise NotImportedError(
            item.name, f"there is nothing here for a {kind.__name__}", "leave it out, or say what it does in equations"
        )


def check_place(item: Any) -> None:
    """Everything runs in the slot that Brian2 gives it."""
    if not item.active:
        raise NotImportedError(item.name, "it is not active", "leave it out of the network, or make it active")
    slot = next((slot for kind, slot in _SLOTS.items() if isinstance(item, kind)), item.when)
    if isinstance(item, Thresholder | Resetter) and item.event != "spike":
        slot = f"after_{slot}"
    if item.when != slot:
        raise NotImportedError(item.name, f"it runs in the slot '{item.when}'", f"leave it in the slot '{slot}'")


def check_schedule(network: Any) -> None:
    if [s for s in network.schedule if s in SLOTS] != SLOTS:
        reason = f"its schedule is {', '.join(network.schedule)}"
        raise NotImportedError(network.name, reason, f"keep Brian2's own: {', '.join(SLOTS)}")


def check_clocks(found: Objects, items: Iterable[Any]) -> None:
    """One dt. What run_regularly made may have a longer one."""
    timed = [i for i in _timed(items) if i not in found.runners]
    if not timed:
        raise NotImportedError(
            "network", "there is nothing in it to simulate", "give groups of cells and their synapses"
        )
    found.dt = float(timed[0].clock.dt_)
    for item in timed:
        if float(item.clock.dt_) != found.dt:
            reason = f"its clock has dt = {item.clock.dt}, that of '{timed[0].name}' {timed[0].clock.dt}"
            raise NotImportedError(item.name, reason, "give all objects one clock")


def check_start(given: Iterable[Any]) -> None:
    """Nothing has been run yet: a Network knows its time, an object only whether it is in one, and its clock's."""
    for item in given:
        network = isinstance(item, brian2.Network)
        time = item.t_ if network else 0.0
        if not network and getattr(item, "_network", None) is not None:
            time = item.clock.variables["t"].get_value().item()
        if time != 0:
            reason = f"it has been run to t = {float(time):g} s, and spikes may be on their way"
            raise NotImportedError(item.name, reason, "import before the first run, or after restore()")


def _timed(items: Iterable[Any]) -> Iterator[Any]:
    for item in sorted(items, key=lambda item: item.name):
        if not isinstance(item, (*_WATCHES, Subgroup)):
            yield item
