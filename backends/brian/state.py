"""A run's state in the objects of Brian2: put in before a run, copied out after it.

Brian2 holds no whole numbers of steps that are left of a refractory period, but the time of a cell's last spike; and spikes on their
way wait in a queue of each projection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.built import Built
from backends.brian.names import arriving, finite_steps, may_diverge
from backends.brian.plan import pairs
from backends.common.arrays import Feed
from backends.common.starting_state import Layout, last_spikes, layout
from neuro.compiler.parameters import initial_state
from neuro.compiler.resolve import resolve
from neuro.model import Network
from neuro.state import State

Array = npt.NDArray[Any]


# -- in ------------------------------------------------------------------------------------------------------------------


def resume(network: Network, built: Built, state: State) -> None:
    """Let a simulation that stands at its beginning go on from there."""
    built.network.t_, built.first = state.step * state.dt, state.step
    for (group, variable), values in _values_of(network, built, state):
        group.variables[variable].set_value(values)
    _replay(network, built, state)


def _values_of(network: Network, built: Built, state: State) -> Iterator[tuple[tuple[Any, str], Array]]:
    """(Brian2 object, variable), and what it holds."""
    for name, owner, variable in _split(state.variables):
        if owner in built.synapses:
            yield (
                (built.synapses[owner], built.names[owner][variable]),
                _of_synapses(network, owner, state.variables[name]),
            )
        elif owner in built.groups:
            yield (built.groups[owner], built.names[owner][variable]), np.ravel(state.variables[name])
    for name, owner, variable in _split(state.sums):
        yield (built.groups[owner], arriving(built.names[owner][variable])), np.ravel(state.sums[name])
    periods = layout(network).periods
    for name, array in state.refractory.items():
        group, left = built.groups[name], np.ravel(array)
        spiked = (state.step - 1 - (periods[name] - left)) * state.dt
        yield (group, "lastspike"), np.where(left > 0, spiked, group.variables["lastspike"].get_value())
        yield (group, "not_refractory"), left == 0
    for population in network.populations:
        group = built.groups[population.name]
        for name in may_diverge(population.neuron.scope):
            yield (group, finite_steps(built.names[population.name][name])), np.full(len(group), state.step)


def _of_synapses(network: Network, name: str, array: Array) -> Array:
    """[*lead, *layout] -> Brian2's order of synapses, trial by trial."""
    projection = network.projection(name)
    lead = array.shape[: array.ndim - len(resolve(network).wires[projection.name].shape)]
    found: Array = np.reshape(array, (*lead, -1))[..., pairs(network, projection)[2]].ravel()
    return found


def _replay(network: Network, built: Built, state: State) -> None:
    """Put spikes on their way into the queues, which are empty, in the order in which their steps did it."""
    past = {
        name: np.moveaxis(np.asarray(spikes, bool), -2, 0).reshape(np.shape(spikes)[-2], -1)
        for name, spikes in state.spikes.items()
    }
    for projection in network.projections:
        synapses = built.synapses.get(projection.name)
        for pathway in () if synapses is None else synapses._pathways:
            source = projection.post if pathway.prepost == "post" else projection.pre
            for spikes in past.get(source, ()):
                pathway.queue.push(np.flatnonzero(spikes).astype(np.int32))
                pathway.queue.advance()


# -- out -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """Copies of what a run leaves behind, in Brian2's order; the next run of the same simulation overwrites the originals."""

    network: Network
    before: State | None  # what the run began with, if it was given
    began: Mapping[str, Array]  # initial values and parameters
    step: int
    steps: int  # of the run
    trial: int
    lead: tuple[int, ...]
    values: Mapping[str, Array]  # "owner.variable"
    sums: Mapping[str, Array]  # "population.input"
    lastspike: Mapping[str, Array]  # seconds
    spikes: Mapping[str, Array]  # bool [*lead, step, neuron]

    @staticmethod
    def of(
        network: Network, built: Built, feed: Feed, rasters: Mapping[str, Array], parameters: Mapping[str, Array]
    ) -> Kept:
        """After a run. rasters: population -> bool [*lead, time, neuron]. parameters: shaped by `with_lead`."""
        wanted = layout(network)
        return Kept(
            network,
            feed.state,
            {**initial_state(network), **parameters},
            feed.start + feed.steps,
            feed.steps,
            feed.trial,
            feed.lead,
            {n: values for n in wanted.variables if (values := _held(built, n)) is not None},
            {n: _copied(built.groups[o], arriving(built.names[o][v])) for n, o, v in _split(wanted.sums)},
            {n: _copied(built.groups[n], "lastspike") for n in wanted.refractory},
            dict(_last_spikes(wanted, feed, rasters)),
        )

    def variable(self, name: str) -> Array:
        """SI values [*lead, neuron] or [*lead, *layout]; where there is no synapse, those that the run began with."""
        owner = name.partition(".")[0]
        if owner not in self.network.parts["projection"]:
            return self.values[name].reshape(*self.lead, -1)
        projection = self.network.projection(owner)
        wires = resolve(self.network).wires[projection.name]
        full = np.zeros((*self.lead, *wires.shape))
        if wires.mask is not None:
            full[:] = (self.began if self.before is None else self.before.variables)[name]
        flat = full.reshape(*self.lead, -1)
        if name in self.values:
            flat[..., pairs(self.network, projection)[2]] = self.values[name].reshape(*self.lead, -1)
        return full

    def state(self) -> State:
        """The same in our order."""
        wanted = layout(self.network)
        left = {
            n: wanted.periods[n] - (self.step - 1 - np.round(t / wanted.dt).astype(np.int64))
            for n, t in self.lastspike.items()
        }
        return State(
            wanted.dt, self.step, self.lead, self.trial,
            {n: self.variable(n) for n in wanted.variables},
            {n: v.reshape(*self.lead, -1) for n, v in self.sums.items()},
            {n: np.maximum(steps, 0).reshape(*self.lead, -1) for n, steps in left.items()},
            self.spikes,
        )  # fmt: skip


def _split(names: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """ "owner.variable", owner, variable."""
    return ((name, *name.split(".", 1)) for name in names)  # type: ignore[misc]


def _held(built: Built, name: str) -> Array | None:
    """Values of a variable; None of a projection without synapses."""
    owner, _, variable = name.partition(".")
    found = built.synapses.get(owner, built.groups.get(owner))
    return None if found is None else _copied(found, built.names[owner][variable]).astype(np.float64)  # conditions too


def _copied(group: Any, variable: str) -> Array:
    return np.array(group.variables[variable].get_value())


def _last_spikes(wanted: Layout, feed: Feed, rasters: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Those of the steps that reach beyond the run's end, of this run and, where it was shorter, from before it."""
    for name, (past, _) in wanted.spikes.items():
        recent = rasters[name] if name in rasters else feed.arrays[name]
        yield name, last_spikes(feed.state, name, recent, feed.lead, past)
