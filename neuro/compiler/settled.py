"""A network whose numbers stand in its definition: what it draws from its seed, and what was trained, is written down.

So a part of another network keeps its own weights, synapses, delays and initial values, whatever seed and names it has there. What a
run draws, noise and Poisson spikes, stays random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro import checks
from neuro.checks.common import plain
from neuro.compiler.drives import weight_of
from neuro.compiler.parameters import Parameter, different, for_all, initial_state, parameters
from neuro.compiler.receptors import receptor_names
from neuro.compiler.resolve import resolve
from neuro.language.equations import ModelError
from neuro.language.foreign import NumbersError, numbers
from neuro.language.units import Quantity
from neuro.model import (
    AllToAll,
    Connectivity,
    Input,
    Network,
    OneToOne,
    Pairs,
    Population,
    Projection,
    Synapse,
    Value,
)

Array = npt.NDArray[Any]
ROUNDING = 1e-6  # of a bound: numbers that were trained in single precision


def settled(network: Network, given: Mapping[str, Any] | None = None) -> Network:
    """The same network with its numbers in its definition. given: SI arrays of parameters, by name, in their places.

    Raises ModelError on a name, a shape or a number that doesn't fit, and on weights that are shared and got different ones.
    """
    return _Settled(network, given or {}).network()


class _Settled:
    def __init__(self, before: Network, given: Mapping[str, Any]) -> None:
        self.before, self.declared = before, parameters(before)
        given = _checked(self.declared, given, f"network '{before.name}', parameters")
        self.given = {n: v for n, v in given.items() if not np.array_equal(v, self.declared[n].value)}
        self.resolved, self.starts = resolve(before), initial_state(before)
        self.merged: dict[str, dict[str, str]] = {}  # projection -> name in its receptor -> "population.name"
        for key, owners in receptor_names(before).items():
            for projection, name in owners:
                self.merged.setdefault(projection.name, {})[name] = key

    def network(self) -> Network:
        return replace(
            self.before,
            populations=tuple(map(self._population, self.before.populations)),
            projections=tuple(map(self._projection, self.before.projections)),
            inputs=tuple(map(self._input, self.before.inputs)),
        )

    def _population(self, item: Population) -> Population:
        own = {n: self._parameter(f"{item.name}.{n}", v) for n, v in item.values().items()}
        starts = {n: self._start(f"{item.name}.{n}", v) for n, v in item.initial_values().items()}
        return replace(
            item,
            parameters={**item.parameters, **_changed(own, item.values())},
            initial={**item.initial, **_changed(starts, item.initial_values())},
        )

    def _projection(self, item: Projection) -> Projection:
        scope, every = item.synapse.scope, {**item.synapse.parameters, **item.parameters}
        keys = {n: f"{item.name}.{n}" for n in every} | self.merged.get(item.name, {})
        own = {n: self._parameter(keys[n], v) for n, v in every.items() if keys[n] in self.declared}
        initial = {**item.synapse.initial, **item.initial}
        starts = {n: self._start(f"{item.name}.{n}", v) for n, v in initial.items() if n in scope.states}
        return replace(
            item,
            synapse=self._synapse(item),
            weights=self._weights(item),
            connectivity=self._connectivity(item),
            delay=item.delay if isinstance(item.delay, Quantity) else self._delay(item),
            parameters={**item.parameters, **_changed(own, every)},
            initial={**item.initial, **_changed(starts, initial)},
        )

    def _input(self, item: Input) -> Input:
        if item.weight is None:
            return item
        key = f"{item.target.partition('.')[0]}.{weight_of(item.name)}"
        return replace(item, weight=self._parameter(key, item.weight))

    def _synapse(self, item: Projection) -> Synapse:
        """What lives once in each cell and was drawn there."""
        keys, initial = self.merged.get(item.name, {}), item.synapse.initial
        found = {n: self._start(keys[n], v) for n, v in initial.items() if n in keys}
        changed = _changed(found, initial)
        return replace(item.synapse, initial={**initial, **changed}) if changed else item.synapse

    def _weights(self, item: Projection) -> Value | None:
        key = f"{item.name}.w"
        if item.weights is None or (isinstance(item.weights, Quantity) and key not in self.given):
            return item.weights
        mask, array = self.declared[key].mask, self.given.get(key, self.declared[key].value)
        if mask is not None and mask.any():  # numbers without a synapse keep the rules as well
            array = np.where(mask, array, array[mask][0])
        return self._quantity(key, array)

    def _connectivity(self, item: Projection) -> Connectivity:
        if isinstance(item.connectivity, AllToAll | OneToOne | Pairs):
            return item.connectivity
        wires = self.resolved.wires[item.name]
        return Pairs(wires.pre_index, wires.post_index)

    def _delay(self, item: Projection) -> Quantity:
        dt = self.before.dt
        return Quantity(dt.value * np.asarray(self.resolved.delays[item.name], np.float64), dt.dimension, dt.unit)

    def _parameter(self, key: str, value: Value) -> Value:
        """The quantity or distribution as it is, or the numbers in its place."""
        if key in self.given:
            return self._quantity(key, self.given[key])
        return value if isinstance(value, Quantity) else self._quantity(key, self.declared[key].value)

    def _start(self, key: str, value: Value) -> Value:
        if isinstance(value, Quantity):
            return value
        first = next(iter(vars(value).values()))
        return Quantity(self.starts[key], first.dimension, first.unit)

    def _quantity(self, key: str, array: Array) -> Quantity:
        parameter = self.declared[key]
        return Quantity(array if np.ndim(array) else float(array), parameter.dimension, parameter.unit)


def _changed(found: Mapping[str, Value], before: Mapping[str, Value]) -> dict[str, Value]:
    return {n: v for n, v in found.items() if v is not before[n]}


def _checked(declared: Mapping[str, Parameter], given: Mapping[str, Any], where: str) -> dict[str, Array]:
    """SI arrays by name, within bounds."""
    found: dict[str, Array] = {}
    for name, value in for_all(declared, given).items():
        if name not in declared:
            checks.unknown_name(name, declared, "parameter", where)
        parameter, place = declared[name], f"{where} '{name}'"
        try:
            array = np.asarray(numbers(value), np.float64)
        except NumbersError as error:
            raise ModelError([plain(place, str(error), "give SI numbers")]) from None
        if array.shape != parameter.shape:
            message = f"its shape is {array.shape}, and the network has {parameter.shape} there"
            raise ModelError([plain(place, message, "give the numbers that were trained in this network")])
        checks.enforce(parameter.problems(array, place, ROUNDING))
        low, high = (np.asarray(limit) for limit in parameter.range)
        found[name] = np.clip(array, np.maximum(low, parameter.low), np.minimum(high, parameter.high))
    if wrong := different(declared, found):
        raise ModelError([plain(where, *wrong)])
    return found
