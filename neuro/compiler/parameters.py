"""The numbers of a network: what can be trained, connectivity drawn, initial values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro import checks
from neuro.caching import per_object
from neuro.compiler import streams
from neuro.compiler.receptors import without_receptors
from neuro.language.equations import Problem
from neuro.language.units import Dimension, Quantity, unit
from neuro.model import (
    AllToAll,
    Network,
    OneToOne,
    Pairs,
    Probability,
    Projection,
    Value,
)

Array = npt.NDArray[Any]
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Parameter:
    """One trainable array. value: SI. unit: what the user wrote. bounds: SI, -inf and inf where open. sign: Dale."""

    name: str
    value: npt.NDArray[np.float64]
    unit: str
    dimension: Dimension
    axes: tuple[str, ...]
    low: npt.NDArray[np.float64] | float = -np.inf
    high: npt.NDArray[np.float64] | float = np.inf
    sign: str | None = None
    mask: npt.NDArray[np.bool_] | None = None  # dense weights: where there is a synapse

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def is_weight(self) -> bool:
        return self.name.endswith((".w", ".feedback"))

    @cached_property
    def range(self) -> tuple[float, float]:
        """Least and greatest number that it may hold, SI: the narrowest bounds, the sign, and what its dimension allows."""
        low, high = float(np.max(self.low)), float(np.min(self.high))
        if not self.is_weight:
            least, included = checks.least(self.dimension)
            low = max(low, least if included else np.nextafter(least, np.inf))
        return max(low, 0.0) if self.sign == "+" else low, min(high, 0.0) if self.sign == "-" else high

    def problems(self, value: Array, where: str, rounding: float = 0.0) -> Iterator[Problem]:
        """The rules that SI values in its shape, or with more axes before, break. rounding: see check_value."""
        value = value if self.mask is None else value[..., self.mask]
        low, high = self.range
        if not value.size:
            return
        least, greatest = (value.min(), value.max()) if value.ndim else (value.item(), value.item())
        if max(low, -_LARGEST) <= least and greatest <= min(high, _LARGEST):
            return  # the usual case, in little time; the rules say what is wrong
        low_, high_ = (self._quantity(b) if np.isfinite(b).any() else None for b in (self.low, self.high))
        yield from checks.check_value(
            self.name.partition(".")[2], self._quantity(value), where, (low_, high_), weight=self.is_weight,
            sign=self.sign, rounding=rounding,
        )  # fmt: skip

    def _quantity(self, value: Any) -> Quantity:
        return Quantity(value if np.ndim(value) else float(value), self.dimension, self.unit)


@dataclass(frozen=True)
class Wiring:
    """A projection's synapses. indices: pre and post; None where dense: all pairs, mask False where there is none."""

    kind: str
    shape: tuple[int, ...]
    indices: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None
    mask: npt.NDArray[np.bool_] | None = None

    @property
    def pre(self) -> npt.NDArray[np.int64]:
        return np.repeat(np.arange(self.shape[0]), self.shape[1]) if self.indices is None else self.indices[0]

    @property
    def post(self) -> npt.NDArray[np.int64]:
        return np.tile(np.arange(self.shape[1]), self.shape[0]) if self.indices is None else self.indices[1]


def wiring(network: Network, projection: Projection) -> Wiring:
    """Draw a projection's synapses; the same for the same seed and name."""
    pre = network.source_size(projection.pre)
    post = network.population(projection.post).size
    item = projection.connectivity
    match item:
        case AllToAll():
            mask = None
            if not item.self_connections and projection.pre == projection.post:
                mask = ~np.eye(pre, dtype=bool)
            return Wiring("dense", (pre, post), None, mask)
        case OneToOne():
            index = np.arange(pre)
            return Wiring("one_to_one", (pre,), (index, index))
        case Probability():
            rows, columns = _random_pairs(network)[projection.name]
            return Wiring("sparse", (len(rows),), (rows, columns))
        case Pairs():
            return Wiring("sparse", item.pre.shape, (item.pre, item.post))


@per_object
def _random_pairs(network: Network) -> dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """pre and post of each random projection, those of a cell with itself left out where they are unwanted."""
    found = {}
    for projection in network.projections:
        item = projection.connectivity
        if isinstance(item, Probability):
            pre, post = network.source_size(projection.pre), network.population(projection.post).size
            rows, columns = streams.pairs(network.seed, f"connectivity/{projection.name}", float(item.p), pre, post)
            if not item.self_connections and projection.pre == projection.post:
                others = rows != columns
                rows, columns = rows[others], columns[others]
            found[projection.name] = rows, columns
    return found


def resolve(network: Network, value: Value, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """SI values of a quantity (broadcast) or a distribution (drawn), in this shape."""
    if isinstance(value, Quantity):
        return np.broadcast_to(np.asarray(value.value, dtype=np.float64), shape).copy()
    return streams.draw(network.seed, name, value, shape)


def _unit_of(value: Value) -> tuple[str, Dimension]:
    first = value if isinstance(value, Quantity) else next(iter(vars(value).values()))
    return first.unit, first.dimension


def parameters(network: Network) -> dict[str, Parameter]:
    """Everything that can be trained, by name: "population.parameter", "projection.w", "projection.parameter".

    A parameter given as one number has shape (); heterogeneous ones have one value a neuron or synapse.
    """
    network = without_receptors(network)
    checks.enforce(checks.memory(network))
    found: dict[str, Parameter] = {}
    for population in network.populations:
        for name, value in population.values().items():
            key = f"{population.name}.{name}"
            scalar = isinstance(value, Quantity) and not value.shape
            low, high = population.neuron.bounds.get(name, (None, None))
            text, dimension = _unit_of(value)
            found[key] = _declared(
                f"population '{population.name}', parameter '{name}' drawn",
                value,
                Parameter(
                    key,
                    resolve(network, value, f"parameter/{key}", () if scalar else (population.size,)),
                    text,
                    dimension,
                    () if scalar else ("neuron",),
                    -np.inf if low is None else low.value,
                    np.inf if high is None else high.value,
                ),
            )
    for projection in network.projections:
        found |= _synaptic(network, projection)
    return found


def _synaptic(network: Network, projection: Projection) -> dict[str, Parameter]:
    wires = wiring(network, projection)
    axes = ("pre", "post") if wires.kind == "dense" else ("synapse",)
    found = {}
    if projection.weights is not None:
        key = f"{projection.name}.w"
        weights = resolve(network, projection.weights, f"weights/{projection.name}", wires.shape)
        if wires.mask is not None:
            weights = np.where(wires.mask, weights, 0.0)
        low, high = projection.bounds
        text, dimension = _unit_of(projection.weights)
        found[key] = _declared(
            f"projection '{projection.name}', weights drawn",
            projection.weights,
            Parameter(
                key,
                weights,
                text,
                dimension,
                axes,
                -np.inf if low is None else low.value,
                np.inf if high is None else high.value,
                projection.sign,
                wires.mask,
            ),
        )
    for name, value in {**projection.synapse.parameters, **projection.parameters}.items():
        if name not in _used_names(projection):
            continue  # a receptor's parameter lives in the cell
        key = f"{projection.name}.{name}"
        scalar = isinstance(value, Quantity) and not value.shape
        text, dimension = _unit_of(value)
        shape = () if scalar else wires.shape
        drawn = resolve(network, value, f"parameter/{key}", shape)
        parameter = Parameter(key, drawn, text, dimension, () if scalar else axes)
        found[key] = _declared(f"projection '{projection.name}', parameter '{name}' drawn", value, parameter)
    return found


def _declared(where: str, value: Value, parameter: Parameter) -> Parameter:
    """The parameter; its numbers are looked at here where they come from a distribution."""
    if not isinstance(value, Quantity):
        checks.enforce(parameter.problems(parameter.value, where))
    return parameter


def _used_names(projection: Projection) -> set[str]:
    scope = projection.synapse.scope
    expressions = [e.expression for e in scope.equations] + [scope.transmits]
    expressions += [s.expression for s in (*scope.on_pre, *scope.on_post, *scope.every_step)]
    return {n for e in expressions if e is not None for n in e.names}


def values(network: Network) -> dict[str, Array]:
    """SI arrays of all parameters."""
    return {name: p.value for name, p in parameters(network).items()}


def initial_state(network: Network) -> dict[str, Array]:
    """SI arrays of all states, "owner.state", zeros where nothing is given; weights are parameters, not states."""
    network = without_receptors(network)
    checks.enforce(checks.memory(network))
    found: dict[str, Array] = {}
    for population in network.populations:
        given = population.initial_values()
        for name in population.neuron.scope.states:
            key = f"{population.name}.{name}"
            shape = (population.size,)
            found[key] = resolve(network, given[name], f"initial/{key}", shape) if name in given else np.zeros(shape)
    for projection in network.projections:
        given = {**projection.synapse.initial, **projection.initial}
        wires = wiring(network, projection)
        for name in projection.synapse.scope.states:
            key = f"{projection.name}.{name}"
            if name != "w":
                found[key] = (
                    resolve(network, given[name], f"initial/{key}", wires.shape)
                    if name in given
                    else np.zeros(wires.shape)
                )
    return found


def steps_of(quantity: Quantity, dt: Quantity) -> npt.NDArray[np.int64]:
    """Whole steps of a time that has been checked to be a multiple of dt."""
    return np.round(np.asarray(quantity.value) / dt.value).astype(np.int64)


def unit_of_variable(network: Network, name: str) -> str:
    """Unit text of "population.variable"."""
    network = without_receptors(network)
    owner, _, variable = name.partition(".")
    population = network.population(owner)
    declared = {e.name: e.unit for e in population.neuron.scope.equations}
    if variable in declared:
        return declared[variable]
    return str(population.neuron.scope.dimensions.get(variable, unit("1").dimension))
