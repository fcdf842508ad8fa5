"""What a script's monitors watch, as what a run records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from brian2.groups.subgroup import Subgroup

from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from neuro.model import Network

Index = npt.NDArray[np.int64]
Watched = tuple[str, Index | None]  # a name that run(record=...) takes, and which cells or synapses; None for all


class Watches:
    """variables: "object.variable" of Brian2's -> our name."""

    def __init__(self, network: Network, variables: Mapping[str, str]) -> None:
        self.network, self.variables = network, variables
        self.missing: list[str] = []  # what no run records, and why

    def record(self, monitors: Iterable[Any]) -> dict[str, list[int] | None]:
        """Name -> cells or synapses, None for all; of several monitors what any of them watches."""
        found: dict[str, Index | None] = {}
        for monitor in monitors:
            watched = self.values if isinstance(monitor, brian2.StateMonitor) else self.spikes
            for name, index in watched(monitor):
                before = found.get(name, index)
                found[name] = None if before is None or index is None else np.union1d(before, index)
        return {name: None if index is None else index.tolist() for name, index in sorted(found.items())}

    def values(self, monitor: Any) -> Iterator[Watched]:
        for variable in monitor.record_variables:
            name = self.variables.get(f"{whole(monitor.source).name}.{variable}", "")
            if not self.changes(name):
                self.missing.append(f"'{monitor.name}': '{variable}' doesn't change in a run, or follows from others")
            elif len(monitor.record):
                yield name, self.index(monitor.source, np.asarray(monitor.record, np.int64))

    def spikes(self, monitor: Any) -> Iterator[Watched]:
        """Of a SpikeMonitor or a PopulationRateMonitor. Spikes of inputs are given, and not recorded."""
        name = whole(monitor.source).name
        if name in self.network.parts["population"]:
            yield name, self.index(monitor.source, np.arange(len(monitor.source)))
        kept = sorted(set(getattr(monitor, "record_variables", ())) - {"i", "t"})
        if kept:
            self.missing.append(f"'{monitor.name}': {', '.join(kept)} at spikes; record it in each step")

    def index(self, source: Any, chosen: Index) -> Index | None:
        """Cells of the whole population, or synapses."""
        first = source.start if isinstance(source, Subgroup) else 0
        return None if len(np.unique(chosen)) == len(whole(source)) else np.unique(chosen) + first

    def changes(self, name: str) -> bool:
        """Whether a run records it: what is computed in cells, and states of synapses."""
        owner, _, variable = name.partition(".")
        if owner in self.network.parts["population"]:
            scope = self.network.population(owner).neuron.scope
            return variable in (*scope.states, *scope.inputs, *scope.subexpressions)
        if owner not in self.network.parts["projection"]:
            return False
        return variable in self.network.projection(owner).synapse.scope.states


def whole(source: Any) -> Any:
    """The group that a subgroup is a part of, and any other object itself."""
    return source.source if isinstance(source, Subgroup) else source
