"""What goes into Brian2's objects: numbers of cells and synapses, inputs, noise; and whether its formulas bear those numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.built import Built
from backends.brian.errors import described
from backends.brian.events import check_rates
from backends.brian.exact import DegenerateError, Propagator, Tie
from backends.brian.names import HIGHEST, LOWEST, PLACE, Names
from backends.brian.plan import limits, pairs
from backends.common.arrays import Feed, draw_noise
from neuro.compiler.parameters import Parameter, initial_state
from neuro.compiler.resolve import resolve
from neuro.model import Network

Array = npt.NDArray[Any]
Columns = dict[str, dict[str, Array]]  # population or projection -> Brian2's variable -> values, trial after trial


@dataclass(frozen=True)
class Numbers:
    """Of cells and synapses. network: without receptors."""

    network: Network
    names: Names
    declared: Mapping[str, Parameter]

    def columns(self, parameters: Mapping[str, Array], lead: tuple[int, ...]) -> Columns:
        """Initial values of everything."""
        network, found = self.network, Columns()
        for name, value in {**initial_state(network), **parameters}.items():
            owner, _, variable = name.partition(".")
            projection = next((p for p in network.projections if p.name == owner), None)
            if projection is None:
                flat = np.broadcast_to(value, (*lead, network.population(owner).size))
            else:
                shape, chosen = resolve(network).wires[projection.name].shape, pairs(network, projection)[2]
                flat = np.broadcast_to(value, (*lead, *shape)).reshape(*lead, -1)[..., chosen]
            found.setdefault(owner, {})[self.names[owner][variable]] = flat.ravel()
        for projection in network.projections:
            if projection.synapse.scope.noise:
                drawing = len(pairs(network, projection)[2]) * int(np.prod(lead))
                found.setdefault(projection.name, {})[PLACE] = np.arange(drawing)
            bounds = limits(projection, self.declared) or ()
            for name, bound in zip((LOWEST, HIGHEST), bounds, strict=False):
                if bound.ndim:
                    chosen = pairs(network, projection)[2]
                    found[projection.name][name] = np.tile(bound.ravel()[chosen], int(np.prod(lead)))
        return found

    @property
    def dt(self) -> float:
        return float(self.network.dt.value)

    def ties(self, columns: Columns, propagators: Mapping[str, Propagator]) -> dict[str, Tie]:
        """Rates that are equal in value, where Brian2's formula must know it."""
        found = {o: p.tie(columns.get(o, {}), self.dt) for o, p in propagators.items()}
        return {owner: tie for owner, tie in found.items() if tie is not None}

    def add_rates(
        self, columns: Columns, propagators: Mapping[str, Propagator], ties: Mapping[str, Tie]
    ) -> None:  # fmt: skip
        """Puts the values of tied rates into the columns. propagators: before they were tied."""
        for owner, tie in ties.items():
            columns[owner] |= propagators[owner].rates(tie, columns[owner])

    def check(self, columns: Columns, propagators: Mapping[str, Propagator]) -> None:
        """Raises DegenerateError where a formula is wrong with these numbers: of an exact step, or from event to event."""
        check_rates(self.names, columns)
        for owner, reason in self.wrong(columns, propagators):
            raise DegenerateError(reason, described(self.network, owner))

    def wrong(self, columns: Columns, propagators: Mapping[str, Propagator]) -> Iterator[tuple[str, str]]:
        """Whose formulas are wrong with these numbers, and why."""
        for owner, propagator in propagators.items():
            try:
                propagator.check(columns.get(owner, {}), self.dt)
            except DegenerateError as error:
                yield owner, self.names.translated(str(error), owner)


def initial_values(built: Built, columns: Columns) -> dict[tuple[Any, str], Array]:
    """(Brian2 object, variable) -> initial values."""
    objects = {**built.groups, **built.synapses}
    return {(objects[o], n): v for o, table in columns.items() if o in objects for n, v in table.items()}


def held_numbers(built: Built, parameters: Mapping[str, Array], lead: tuple[int, ...]) -> dict[tuple[Any, str], Array]:
    """Parameters of projections that presynaptic cells hold."""
    found = {}
    for name, (group, held) in built.numbers.items():
        value = parameters[name]
        number = np.reshape(value, (-1, 1, 1) if np.ndim(value) else ())
        found[group, held] = np.broadcast_to(number, (*lead, len(group) // int(np.prod(lead)))).ravel()
    return found


def arrays(network: Network, built: Built, feed: Feed) -> dict[str, Array]:
    """Our name of an input or noise -> [time, copies * size]."""
    noise = {n: _there(network, n, array) for n, array in draw_noise(network, feed).items()}
    found = {}
    for name, variable in built.feeds.items():
        array = noise[name] if name in noise else feed.arrays[name].astype(float)
        size = len(variable.group) // int(np.prod(feed.lead))
        array = np.broadcast_to(array, (*array.shape[:2], size))  # one channel may serve the whole population
        found[name] = np.tile(np.moveaxis(array, 0, 1).reshape(feed.steps, -1), feed.population or 1)
    return found


def _there(network: Network, name: str, array: Array) -> Array:
    """Of what synapses draw [batch, time, *layout] the numbers of those that exist, [batch, time, synapse]; noise of cells as it is."""
    projection = network.parts["projection"].get(name.partition(".")[0])
    if projection is None:
        return array
    found: Array = array.reshape(*array.shape[:2], -1)[..., pairs(network, projection)[2]]
    return found
