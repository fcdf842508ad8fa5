"""What an operation gives: the networks before and after, and the way there for everything that has their cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.parameters import initial_state, parameters
from neuro.compiler.resolve import remembered, resolve
from neuro.model import IntArray, Network
from neuro.options import hint
from neuro.state import State
from neuro.surgery.arrays import Axes, moved, problem, wired

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Surgery:
    """A network before and after, and what becomes of arrays that have its cells or synapses.

    cells: of each cell after, its index before, -1 for a new one. synapses: likewise, of projections that are lists of synapses.
    """

    before: Network
    after: Network
    population: str
    cells: IntArray
    synapses: Mapping[str, IntArray] = field(default_factory=dict)

    @cached_property
    def _declared(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        return parameters(self.before), parameters(self.after)

    def axes(self, owner: str) -> Axes:
        """Of arrays with one value per cell or synapse of a population or projection. Raises ModelError."""
        network = resolve(self.before).network
        if owner in network.parts["population"]:
            return (self.cells if owner == self.population else None,)
        if owner not in network.parts["projection"]:
            known = (*network.parts["population"], *network.parts["projection"])
            raise problem(f"arrays of '{owner}'", f"there is no population or projection '{owner}'", hint(owner, known))
        if owner in self.synapses:
            return (self.synapses[owner],)
        projection, dense = network.projection(owner), resolve(self.before).wires[owner].kind == "dense"
        ends = (projection.pre, projection.post) if dense else ("",)
        return tuple(self.cells if end == self.population else None for end in ends)

    def arrays(self, arrays: Mapping[str, Any], fill: float | Mapping[str, Any] = 0.0) -> dict[str, Array]:
        """What is shaped like parameters, by their names: gradients, an optimiser's memory. fill: of new cells and synapses, one number, or
        arrays in the shapes after.
        """
        return self._moved(arrays, fill if isinstance(fill, Mapping) else dict.fromkeys(arrays, np.asarray(fill)))

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """SI values of parameters; new cells and synapses have those of the network after."""
        return self._moved(given, {n: p.value for n, p in self._declared[1].items()})

    def state(self, state: State) -> State:
        """A run's state; new cells and synapses begin as in a new run, and nothing is on its way to or from them."""
        plain_state, take = state.numpy(), self._taken
        fresh = {**initial_state(self.after), **{n: p.value for n, p in self._declared[1].items()}}
        variables = {n: take(n, a, fresh.get(n, 0)) for n, a in plain_state.variables.items()}
        sums = {n: take(n, a) for n, a in plain_state.sums.items()}
        late = {n: take(n, a) for n, a in plain_state.refractory.items()}
        return replace(plain_state, variables=variables, sums=sums, refractory=late, spikes=self._spikes(plain_state))

    def inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What a run is given: channels of a current that are wired to the cells one by one go with them, new ones hold 0."""
        item = self.before.population(self.population)
        channels = {i.name for i in self.before.inputs if wired(i, item)}
        return {n: moved(np.asarray(a), (self.cells,)) if n in channels else a for n, a in inputs.items()}

    def _moved(self, arrays: Mapping[str, Any], fill: Mapping[str, Array]) -> dict[str, Array]:
        before, after = self._declared
        found = {}
        for name, array in arrays.items():
            owner = name.partition(".")[0]
            if name not in before:
                raise problem(f"array '{name}'", f"the network has no parameter '{name}'", hint(name, before))
            found[name] = array = np.asarray(array)
            if after[name].shape:
                if not before[name].shape:  # one number for all becomes one for each
                    shape = self._shape(owner)
                    array = np.broadcast_to(array[(..., *[None] * len(shape))], (*array.shape, *shape))
                found[name] = self._taken(name, array, fill[name])
        return found

    def _taken(self, name: str, array: Array, fill: Any = 0) -> Array:
        """An array of one value per cell or synapse, moved. Raises ModelError where it isn't of the network before."""
        owner = name.partition(".")[0]
        axes, shape = self.axes(owner), self._shape(owner)
        if array.shape[max(array.ndim - len(shape), 0) :] != shape:
            why = f"the shape is {array.shape}, and the network before has {shape} there"
            raise problem(f"array '{name}'", why, "give what belongs to that network")
        return moved(array, axes, fill)

    def _shape(self, owner: str) -> tuple[int, ...]:
        """Of arrays with one value per cell or synapse, before."""
        resolved = resolve(self.before)
        if owner in resolved.wires:
            return resolved.wires[owner].shape
        return (resolved.network.population(owner).size,)

    def _spikes(self, state: State) -> dict[str, Array]:
        """Spikes on their way, as many steps of them as the longest delay of the network after has."""
        late = remembered(resolve(self.after).network)
        found = {}
        for name, steps in late.items():
            if not steps:
                continue
            size = self.after.source_size(name)
            last = np.zeros((*state.lead, steps, size), np.bool_)
            known = state.spikes.get(name)
            if known is not None:
                known = self._taken(name, known) if name == self.population else known
                kept = min(steps, known.shape[-2])
                last[..., steps - kept :, :] = known[..., known.shape[-2] - kept :, :]
            found[name] = last
        return found
