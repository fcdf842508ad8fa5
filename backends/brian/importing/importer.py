"""Brian2's objects -> a Network, with constants, connections, weights, delays and initial values as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from brian2.core.namespace import get_local_namespace

from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.cells import RELAY, Outside, read_cells, with_tables
from backends.brian.importing.custom import told
from backends.brian.importing.errors import NotImportedError as NotImportedError
from backends.brian.importing.errors import refused_as
from backends.brian.importing.imported import Imported as Imported
from backends.brian.importing.imported import Place as Place
from backends.brian.importing.imported import Placed as Placed
from backends.brian.importing.links import check_links, links, project
from backends.brian.importing.objects import Objects, objects
from backends.brian.importing.order import check_order, check_sums, integrated_at, read_before, summed_at
from backends.brian.importing.regular import Runner
from backends.brian.importing.sources import Brings, check_stages, currents, drive, generator
from backends.brian.importing.synapses import (
    Around,
    End,
    Summed,
    changed_outside,
    check_rest,
    event_name,
    read_synapses,
)
from backends.brian.importing.watches import Watches
from backends.brian.importing.words import si
from neuro.model import Input, Network, Population, Projection

Array = npt.NDArray[Any]


def from_brian2(*given: Any, namespace: Mapping[str, Any] | None = None, level: int = 0) -> Imported:
    """The model that Brian2's objects make, as a Network.

    given: a Network or objects; nothing means those that Brian2's run() would take. namespace: of run(); left out, names in texts mean what
    they mean where this is called, `level` frames further up. Raises NotImportedError naming the object, the reason, and what to write instead.
    """
    if not given:
        given = tuple(brian2.collect(level + 1))
    values = dict(namespace) if namespace is not None else get_local_namespace(level + 1)
    return _Importer(objects(given), values).imported()


class _Importer:
    def __init__(self, found: Objects, namespace: Mapping[str, Any]) -> None:
        self.objects, self.namespace = found, namespace
        self.inputs: list[Input] = []
        self.brings: dict[str, Brings] = {}
        self.warnings: list[str] = []
        self.groups: dict[str, Place] = {}
        self.names: dict[str, dict[str, str]] = {}  # of synapses' variables

    def imported(self) -> Imported:
        check_order(self.objects)
        self.late = frozenset(read_before(self.objects))
        check_sums(self.objects, self.late)
        outside = self.outside()
        relays = self.relays()
        groups = [*self.objects.cells, *relays]
        self.cells = {g.name: read_cells(g, self.namespace, outside[g.name]) for g in groups}
        for cells in self.cells.values():
            check_stages(cells)
        self.take([generator(g, f"{g.name}.{RELAY}" if g in relays else "") for g in self.objects.generators])
        for item in self.objects.drives:
            base = self.objects.base(item._group)
            self.inputs.append(drive(item, self.cells[base.name], item._group.start, len(item._group)))
            self.warn_of_normal(item)
        self.warn_of_precision()
        projections, placed = self.projections()
        told, telling = self.told()
        projections += telling
        self.cells = {name: with_tables(cells) for name, cells in self.cells.items()}
        for cells in self.cells.values():
            self.take(currents(cells))
        linked = links(self.objects)
        check_links(self.objects, linked)
        projections += [project(link, self.cells, self.namespace) for link in linked]
        with refused_as("network"):
            network = Network(
                (*(c.population for c in self.cells.values()), *told),
                tuple(projections),
                tuple(self.inputs),
                dt=si(self.objects.dt, brian2.second.dim),
            )
        watches = Watches(network, self.variables())
        record = watches.record(self.objects.watches)
        return Imported(
            network, self.bring, self.places(), placed, self.variables(), tuple(self.warnings),
            {o.name: o for o in (*self.objects.cells, *self.objects.generators, *self.objects.synapses)},
            self.constants(network, placed), {event_name(*of): of for of in self.followed()}, record, tuple(watches.missing),
        )  # fmt: skip

    def warn_of_normal(self, drive_: Any) -> None:
        """Brian2 takes another law where counts are large."""
        sources = int(drive_.N)
        chance = float(drive_.rate) * self.objects.dt
        if sources * chance > 5 and sources * (1 - chance) > 5:
            said = "its counts are binomial here; Brian2 draws numbers of the normal distribution of that mean and variance"
            self.warnings.append(f"'{drive_.name}': {said}")

    def warn_of_precision(self) -> None:
        for group in (*self.objects.cells, *self.objects.synapses):
            single = [n for n, v in group.variables.items() if getattr(v, "dtype", None) == np.float32]
            if single:
                said = f"Brian2 holds {', '.join(sorted(single))} in single precision; compile with dtype='float32' for the like"
                self.warnings.append(f"'{group.name}': {said}")

    def take(self, found: list[tuple[Input, Brings]]) -> None:
        for item, brings in found:
            brings(1)  # refuses what it can't bring
            self.inputs.append(item)
            self.brings[item.name] = brings

    def bring(self, steps: int) -> dict[str, Array]:
        return {name: brings(steps) for name, brings in self.brings.items()}

    def told(self) -> tuple[list[Population], list[Projection]]:
        """For each event that synapses follow, cells that spike where it happens, and what tells them."""
        made = [told(self.cells[name], event) for name, event in self.followed()]
        return [population for population, _ in made], [projection for _, projection in made]

    def followed(self) -> list[tuple[str, str]]:
        """Groups and their events that synapses follow."""
        own = ((s, p) for s in self.objects.synapses if len(s) for p in s._pathways if p.prepost == "pre")
        return sorted({(self.objects.base(s.source).name, p.event) for s, p in own if p.event != "spike"})

    def relays(self) -> list[Any]:
        """SpikeGeneratorGroups whose cells are asked for more than spikes: targets, and sources of sums."""
        found = []
        for synapses in self.objects.synapses:
            found += [synapses.target, *([synapses.source] if synapses.summed_updaters else [])]
        asked = {id(self.objects.base(end)) for end in found}
        return [g for g in self.objects.generators if id(g) in asked]

    def outside(self) -> dict[str, Outside]:
        found = {g.name: Outside() for g in (*self.objects.cells, *self.objects.generators)}
        for synapses in self.objects.synapses:
            for kind, end, name in changed_outside(synapses):
                group = self.objects.base(getattr(synapses, end))
                (found[group.name].added if kind == "added" else found[group.name].summed).add(name)
                if kind == "summed":
                    check_rest(synapses, end, group, name)
        for item in self.objects.drives:
            found[self.objects.base(item._group).name].added.add(item._target_var)
        for _, group_name, variable in self.late:
            found[group_name].before.add(variable)
        for item in self.objects.runners:
            if item.group not in self.objects.synapses:
                runner = Runner(item, item.group.start, len(item.group))
                found[self.objects.base(item.group).name].runners.append(runner)
        return found

    def end(self, group: Any) -> End:
        base = self.objects.base(group)
        place = self.groups[group.name] = Place(base.name, group.start, len(group))
        return End(base.name, base, self.cells.get(base.name), place.first, place.size, self.late)

    def projections(self) -> tuple[list[Projection], dict[str, Placed]]:
        """In the order in which Brian2 runs their pathways."""
        found: list[Projection] = []
        placed: dict[str, Placed] = {}
        for synapses in sorted(self.objects.synapses, key=_first_pathway):
            made: list[Projection] = []
            if not len(synapses):
                self.warnings.append(f"'{synapses.name}' has no synapses and is left out")
            elif not synapses._pathways and not synapses.summed_updaters:
                self.warnings.append(f"'{synapses.name}' sends nothing to cells and is left out")
            else:
                runners = [Runner(r, 0, len(synapses)) for r in self.objects.runners if r.group.name == synapses.name]
                sums = synapses.summed_updaters.items()
                places: dict[str, Summed] = {
                    name: summed_at(self.objects, synapses, name, updater) for name, updater in sums
                }
                place = integrated_at(self.objects, synapses)
                around = Around(self.end(synapses.source), self.end(synapses.target), runners, places, place)
                made, names = read_synapses(synapses, self.namespace, around)
                self.names[synapses.name] = {n: f"{made[0].name}.{own}" for n, own in names.items()}
            found += made
            placed[synapses.name] = Placed(tuple(p.name for p in made), len(synapses))
        return found, placed

    def places(self) -> dict[str, Place]:
        whole = {g.name: Place(g.name, 0, len(g)) for g in (*self.objects.cells, *self.objects.generators)}
        parts = {s.name: Place(s.source.name, s.start, len(s)) for s in self.objects.subgroups}
        return whole | parts | self.groups

    def variables(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, place in self.places().items():
            if place.name in self.cells:
                words = self.cells[place.name].words
                found |= {f"{name}.{theirs}": f"{place.name}.{ours}" for theirs, ours in words.names.items()}
        for owner, names in self.names.items():
            found |= {f"{owner}.{theirs}": ours for theirs, ours in names.items()}
        return found

    def constants(self, network: Network, placed: Mapping[str, Placed]) -> dict[str, str]:
        """Of cells by the names that their words remember; a synapse's keep theirs."""
        renamed = {name: cells.words.renamed for name, cells in self.cells.items()}
        found = {
            f"{name}.{theirs}": f"{name}.{own}" for name, table in renamed.items() for theirs, own in table.items()
        }
        for synapses in self.objects.synapses:
            for name in placed[synapses.name].projections[:1]:
                declared = self.names[synapses.name].values()
                own = network.projection(name).synapse.parameters
                found |= {f"{synapses.name}.{n}": f"{name}.{n}" for n in own if f"{name}.{n}" not in declared}
        return found


def _first_pathway(synapses: Any) -> tuple[str, str]:
    names = sorted(p.name for p in synapses._pathways)
    return (names[0] if names else synapses.name, synapses.name)
