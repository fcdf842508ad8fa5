"""What Brian2 calls things. Nothing of a user's text reaches it: variables and objects are numbered in order of appearance.

So no name can meet a word of Brian2, sympy, Cython or C++, and a renamed network is the same network to Brian2, bit for bit
(sympy orders sums by name). Its messages are translated back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from backends.brian.scalars import Scalars, scalars
from backends.brian.text import Table
from neuro.language.scope import LAST_EVENT, SPIKE_STATES, NeuronScope, SynapseScope
from neuro.model import Network, Population, Projection


def _numbered(letter: str, scope: NeuronScope | SynapseScope) -> dict[str, str]:
    own = dict.fromkeys([*(e.name for e in scope.equations), *scope.parameters])
    return {name: f"{letter}{n}" for n, name in enumerate(own)}


def may_diverge(scope: NeuronScope) -> tuple[str, ...]:
    """States that may leave the finite numbers."""
    return tuple(n for n in scope.states if n not in (*SPIKE_STATES, *scope.event_states))


def brian2s_own(scope: NeuronScope | SynapseScope) -> Table:
    """Variables that Brian2's cells and synapses have by names of its own."""
    if isinstance(scope, NeuronScope):
        return {name: name for name in scope.spike_states} | {e: happened(n) for n, e in enumerate(scope.event_states)}
    return {LAST_EVENT: "lastupdate"} if scope.event_driven else {}


# -- variables that only this backend has ------------------------------------------------------------------------------


LOWEST, HIGHEST = "lowest", "highest"  # of plastic weights that have bounds of their own, SI numbers
PLACE = "place"  # of a synapse that draws numbers, among all of its projection


def draw(number: int) -> str:
    """A number drawn for the step."""
    return f"draw{number}"


def happened(number: int) -> str:
    """Whether a cell had an event of its own, 1 or 0."""
    return f"happened{number}"


def arriving(variable: str) -> str:
    """What events add up for the next step's value of an input. variable: Brian2's name, as in the following ones."""
    return f"next_{variable}"


def finite_steps(variable: str) -> str:
    """Number of steps that a state stayed finite."""
    return f"finite_{variable}"


@dataclass(frozen=True)
class Names:
    """Brian2's names in a network."""

    network: Network
    numbers: dict[str, int] = field(default_factory=dict)  # of populations, inputs and projections
    tables: dict[str, Table] = field(default_factory=dict)
    scalars: dict[str, Scalars] = field(
        default_factory=dict
    )  # that a projection's text may name: of its cells, and its own

    def __post_init__(self) -> None:
        network = self.network
        for names in self._by_role().values():
            self.numbers.update({name: n for n, name in enumerate(names)})
        for population in network.populations:
            self.tables[population.name] = self.of_cells(population)
        for projection in network.projections:
            self.scalars[projection.name] = self._scalars_of(projection)
            self.tables[projection.name] = self._with_cells(projection)

    def of_cells(self, population: Population) -> Table:
        """A neuron's variables and noise, which is a number drawn for the step."""
        scope = population.neuron.scope
        return _numbered("v", scope) | brian2s_own(scope) | {name: draw(n) for n, name in enumerate(scope.noise)}

    def of_synapse(self, projection: Projection) -> Table:
        """A synapse's own variables, and what it draws for the step; Brian2 wants them to differ from the cells'."""
        scope = projection.synapse.scope
        return (
            _numbered("s", scope) | brian2s_own(scope) | {name: f"own_{draw(n)}" for n, name in enumerate(scope.noise)}
        )

    def _by_role(self) -> dict[str, list[str]]:
        network = self.network
        return {
            "cells": [p.name for p in network.populations],
            "source": [i.name for i in network.inputs],
            "synapses": [p.name for p in network.projections],
        }

    def _with_cells(self, projection: Projection) -> Table:
        found = self.of_synapse(projection)
        for _, end, suffix in self._ends(projection):
            found |= {f"{name}{suffix}": f"{variable}{suffix}" for name, variable in self.tables[end].items()}
        return found | {name: scalar.text for name, scalar in self.scalars[projection.name].items()}

    def _ends(self, projection: Projection) -> Iterator[tuple[NeuronScope, str, str]]:
        """Its cells: their scope, their population's name, and what a synapse adds to their variables' names."""
        for end, suffix in ((projection.pre, "_pre"), (projection.post, "_post")):
            population = self.network.parts["population"].get(end)
            if population is not None:
                yield population.neuron.scope, end, suffix

    def _scalars_of(self, projection: Projection) -> Scalars:
        ends = {f"{n}{suffix}": x for scope, _, suffix in self._ends(projection) for n, x in scalars(scope).items()}
        return ends | scalars(projection.synapse.scope, ends)

    def __getitem__(self, owner: str) -> Table:
        """Names in the text of a population or projection."""
        return self.tables[owner]

    def object(self, role: str, owner: str) -> str:
        """A Brian2 object that belongs to a population, input or projection."""
        return f"{role}{self.numbers[owner]}"

    def given(self, feed: str, number: int) -> str:
        """The TimedArray of an input's or noise's values. feed: "input", or "population.noise"; number: of the feed."""
        return f"table{number}"

    def part(self, variable: str, source: str) -> str:
        """What a current input or projection adds to a variable."""
        kind = "current" if any(i.name == source for i in self.network.inputs) else "sum"
        return f"{kind}{self.numbers[source]}_{variable}"

    def count(self, drive: str) -> str:
        """Number of events that a drive brings in a step."""
        return f"count{self.numbers[drive]}"

    def sent(self, projection: str) -> str:
        """Presynaptic factor of a projection's graded values."""
        return f"sent{self.numbers[projection]}"

    def number(self, name: str, projection: str) -> str:
        """A projection's parameter that its presynaptic cells hold."""
        return f"number{self.numbers[projection]}_{self.tables[projection][name]}"

    # -- back again ----------------------------------------------------------------------------------------------------

    def owner(self, brian2_object: str) -> str | None:
        """The population, input or projection that a Brian2 object belongs to."""
        match = re.match(r"(cells|source|synapses)(\d+)", brian2_object)
        return self._by_role()[match[1]][int(match[2])] if match else None

    def translated(self, message: str, owner: str) -> str:
        """Brian2's message about an owner's text in the user's names."""
        table = {theirs: ours for ours, theirs in self.tables.get(owner, {}).items()}
        return re.sub(r"\b_?([a-z]+\d+(?:_pre|_post)?)\b", lambda m: table.get(m[1], m[0]), message)
