"""The numbers of a network: what can be trained, connectivity drawn, initial values."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import tee
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro import checks
from neuro.caching import per_object
from neuro.compiler import streams
from neuro.compiler.receptors import receptor_names
from neuro.compiler.resolve import resolve
from neuro.compiler.sharing import mapped, spans
from neuro.compiler.wiring import Wiring
from neuro.language.equations import Problem
from neuro.language.scope import SPIKE_STATES, is_index
from neuro.language.units import Dimension, Quantity, unit
from neuro.model import (
    Network,
    Projection,
    Value,
)

Array = npt.NDArray[Any]
_LARGEST = float(np.finfo(np.float64).max)
Numbers64 = npt.NDArray[np.float64]
Make = Callable[[Iterable[int]], Iterator[Numbers64]]
KEPT = 2**19  # bytes of a parameter's numbers that are kept once they are drawn


class Numbers:
    """Numbers that are made when somebody asks, the same every time; many of them are kept only while somebody holds them.

    make: gives so many at once, one part after another. number: the one that all of them are, None where they differ.
    """

    def __init__(self, shape: tuple[int, ...], make: Make, number: float | None = None) -> None:
        self.shape, self.number, self._make = shape, number, make
        self._kept: Numbers64 | None = None
        self._held: weakref.ref[Numbers64] | None = None

    @property
    def array(self) -> Numbers64:
        """All of them, SI, in their shape; a large array is kept only while somebody holds it."""
        found = self._known
        if found is None:
            found = streams.joined(self._make, self.shape)
            if found.nbytes <= KEPT:
                self._kept = found
            else:
                self._held = weakref.ref(found)
        return found

    @property
    def _known(self) -> Numbers64 | None:
        return self._kept if self._held is None else self._held()

    def parts(self, lengths: Iterable[int]) -> Iterator[Numbers64]:
        """So many at once, one part after another, which nobody keeps."""
        found = self._known
        return self._make(lengths) if found is None else cut(found.reshape(-1), lengths)

    def __reduce__(self) -> tuple[type[Numbers], tuple[Any, ...]]:
        return Numbers, (self.shape, self._make, self.number)


def cut(values: Array, lengths: Iterable[int]) -> Iterator[Array]:
    """So many at once, one part after another."""
    first = 0
    for length in lengths:
        yield values[first : first + length]
        first += length


@dataclass(frozen=True)
class Parameter:
    """One array of numbers. given: its SI values. unit: what the user wrote. bounds: SI, -inf and inf where open. sign: Dale.

    shares: the parameter that has the same values always, as weights that projections share. frozen: no rule trains it.
    """

    name: str
    given: Numbers64 | Numbers
    unit: str
    dimension: Dimension
    axes: tuple[str, ...]
    low: Numbers64 | float = -np.inf
    high: Numbers64 | float = np.inf
    sign: str | None = None
    mask: npt.NDArray[np.bool_] | None = None  # dense weights: where there is a synapse
    shares: str = ""
    frozen: bool = False

    @property
    def value(self) -> Numbers64:
        """SI values."""
        return self.given.array if isinstance(self.given, Numbers) else self.given

    def parts(self, lengths: Iterable[int]) -> Iterator[Numbers64]:
        """SI values, so many at once, one part after another."""
        return self.given.parts(lengths) if isinstance(self.given, Numbers) else cut(self.given.reshape(-1), lengths)

    @property
    def number(self) -> float | None:
        """What all its values are, where the definition says so by one number."""
        return self.given.number if isinstance(self.given, Numbers) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """That of its values: () for one number, [cell], [pre, post] or [synapse]."""
        return self.given.shape

    @property
    def is_weight(self) -> bool:
        """Whether it is a projection's weight, or the weights through which one carries gradients back."""
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
        if self._within(value):
            return  # the usual case, in little time; the rules say what is wrong
        low_, high_ = (self._quantity(b) if np.isfinite(b).any() else None for b in (self.low, self.high))
        yield from checks.check_value(
            self.name.partition(".")[2], self._quantity(value), where, (low_, high_), weight=self.is_weight,
            sign=self.sign, rounding=rounding,
        )  # fmt: skip

    def problems_drawn(self, where: str) -> Iterator[Problem]:
        """The rules that its own values break; they are looked at part by part."""
        if isinstance(self.given, Numbers) and self.mask is None:
            lengths = (s.stop - s.start for s in spans(math.prod(self.shape)))
            if all(map(self._within, self.given.parts(lengths))):
                return
        yield from self.problems(self.value, where)

    def _within(self, value: Array) -> bool:
        """Whether all are finite and in its range."""
        if not value.size:
            return True
        low, high = self.range
        least, greatest = (value.min(), value.max()) if value.ndim else (value.item(), value.item())
        return bool(max(low, -_LARGEST) <= least and greatest <= min(high, _LARGEST))

    def _quantity(self, value: Any) -> Quantity:
        return Quantity(value if np.ndim(value) else float(value), self.dimension, self.unit)


def drawn(network: Network, value: Value, name: str, shape: tuple[int, ...]) -> Numbers64:
    """SI values of a quantity (broadcast) or a distribution (drawn), in this shape."""
    return streams.joined(partial(_parts, network.seed, value, name, shape, None), shape)


def _parts(
    seed: int,
    value: Value,
    name: str,
    shape: tuple[int, ...],
    mask: npt.NDArray[np.bool_] | None,
    lengths: Iterable[int],
) -> Iterator[Numbers64]:
    """SI values, so many at once; 0 where there is no synapse."""
    if mask is not None:
        lengths, again = tee(lengths)
        own = _parts(seed, value, name, shape, None, lengths)
        return (np.where(m, x, 0.0) for m, x in zip(cut(mask.reshape(-1), again), own, strict=True))
    if isinstance(value, Quantity):
        return cut(np.broadcast_to(np.asarray(value.value, dtype=np.float64), shape).reshape(-1), lengths)
    return streams.drawn(seed, name, value, lengths)


def _synaptic_numbers(
    network: Network, value: Value, name: str, shape: tuple[int, ...], mask: npt.NDArray[np.bool_] | None
) -> Numbers:
    """One number per synapse, 0 where there is none."""
    make = partial(_parts, network.seed, value, name, shape, mask)
    one = float(value.value) if isinstance(value, Quantity) and not value.shape and mask is None else None
    return Numbers(shape, make, one)


def _unit_of(value: Value) -> tuple[str, Dimension]:
    first = value if isinstance(value, Quantity) else next(iter(vars(value).values()))
    return first.unit, first.dimension


def parameters(network: Network) -> dict[str, Parameter]:
    """Everything that can be trained, or is frozen, by name: "population.parameter", "projection.w", "projection.parameter".

    A parameter given as one number has shape (); heterogeneous ones have one value per neuron or synapse. A receptor's is frozen
    with the cells that it lives in, and with any projection that it belongs to.
    """
    kept = {key for key, owners in receptor_names(network).items() if any(p.frozen for p, _ in owners)}
    resolved = resolve(network)
    network, wires = resolved.network, resolved.wires
    found: dict[str, Parameter] = {}
    for population in network.populations:
        for name, value in population.values().items():
            key = f"{population.name}.{name}"
            scalar = isinstance(value, Quantity) and not value.shape
            low, high = population.neuron.bounds.get(name, (None, None))
            text, dimension = _unit_of(value)
            found[key] = _declared(
                network,
                f"population '{population.name}', parameter '{name}' drawn",
                value,
                Parameter(
                    key,
                    drawn(network, value, f"parameter/{key}", () if scalar else (population.size,)),
                    text,
                    dimension,
                    () if scalar else ("neuron",),
                    -np.inf if low is None else low.value,
                    np.inf if high is None else high.value,
                    frozen=population.frozen or key in kept or is_index(name),
                ),
            )
    for part in mapped(lambda p: _synaptic(network, p, wires[p.name]), network.projections):
        found |= part
    return found


def sharing(declared: Mapping[str, Parameter]) -> dict[str, tuple[str, ...]]:
    """Parameter that others share -> itself and those."""
    found: dict[str, tuple[str, ...]] = {}
    for parameter in declared.values():
        if parameter.shares:
            found[parameter.shares] = (*found.get(parameter.shares, (parameter.shares,)), parameter.name)
    return found


def for_all(declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values by name; where parameters share theirs, what one of them got for all."""
    for group in sharing(declared).values() if given else ():
        own = next((given[n] for n in group if n in given), None)
        if own is not None:
            given = {**dict.fromkeys(group, own), **given}
    return given


def different(declared: Mapping[str, Parameter], given: Mapping[str, Array]) -> tuple[str, str] | None:
    """What is wrong, and the fix, where parameters that share their values got different ones. given: as `for_all` gives it."""
    for name, value in given.items():
        other = declared[name].shares
        if other and value is not given[other] and not np.array_equal(value, given[other]):
            return f"'{name}' and '{other}' are the same weights, and got different ones", f"give '{other}' alone"
    return None


def _synaptic(network: Network, projection: Projection, wires: Wiring) -> dict[str, Parameter]:
    axes = ("pre", "post") if wires.kind == "dense" else ("synapse",)
    found, holder = {}, network.holder(projection)
    if holder.weights is not None:
        key = f"{projection.name}.w"
        weights = _synaptic_numbers(network, holder.weights, f"weights/{holder.name}", wires.shape, wires.mask)
        low, high = holder.bounds
        text, dimension = _unit_of(holder.weights)
        found[key] = _declared(
            network,
            f"projection '{projection.name}', weights drawn",
            holder.weights,
            Parameter(
                key,
                weights,
                text,
                dimension,
                axes,
                -np.inf if low is None else low.value,
                np.inf if high is None else high.value,
                holder.sign,
                wires.mask,
                f"{projection.shares}.w" if projection.shares else "",
                projection.frozen,
            ),
        )
    for name, value in {**projection.synapse.parameters, **projection.parameters}.items():
        if name not in _used_names(projection):
            continue  # a receptor's parameter lives in the cell
        key = f"{projection.name}.{name}"
        scalar = isinstance(value, Quantity) and not value.shape
        text, dimension = _unit_of(value)
        shape = () if scalar else wires.shape
        numbers = _synaptic_numbers(network, value, f"parameter/{key}", shape, None)
        parameter = Parameter(
            key, numbers, text, dimension, () if scalar else axes, frozen=projection.frozen or is_index(name)
        )
        found[key] = _declared(network, f"projection '{projection.name}', parameter '{name}' drawn", value, parameter)
    return found


def _declared(network: Network, where: str, value: Value, parameter: Parameter) -> Parameter:
    """The parameter; its numbers are looked at, once for a network, where they come from a distribution."""
    if not isinstance(value, Quantity) and parameter.name not in _looked_at(network):
        checks.enforce(parameter.problems_drawn(where))
        _looked_at(network).add(parameter.name)
    return parameter


@per_object
def _looked_at(network: Network) -> set[str]:
    """Names of parameters whose numbers obey the rules."""
    return set()


def _used_names(projection: Projection) -> set[str]:
    scope = projection.synapse.scope
    expressions = [e.expression for e in scope.equations] + [scope.transmits]
    expressions += [s.expression for s in scope.statements]
    return {n for e in expressions if e is not None for n in e.names}


def values(network: Network, given: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """SI arrays of all parameters, with the given ones in their places."""
    declared = parameters(network)
    return {name: p.value for name, p in declared.items()} | dict(for_all(declared, given or {}))


def initial_state(network: Network) -> dict[str, Array]:
    """SI arrays of all states, "owner.state", zeros where nothing is given but for what is known of spikes; weights are parameters, not states."""
    resolved = resolve(network)
    network, wires = resolved.network, resolved.wires
    owners: list[tuple[str, tuple[str, ...], Mapping[str, Value], tuple[int, ...]]] = [
        (p.name, p.neuron.scope.states, p.initial_values(), (p.size,)) for p in network.populations
    ]
    owners += [
        (p.name, p.synapse.scope.states, {**p.synapse.initial, **p.initial}, wires[p.name].shape)
        for p in network.projections
    ]
    found: dict[str, Array] = {}
    weights = {f"{p.name}.w" for p in network.projections}
    for owner, states, given, shape in owners:
        for name in states:
            key = f"{owner}.{name}"
            if key not in weights:
                first = np.full(shape, SPIKE_STATES.get(name, 0.0))
                found[key] = drawn(network, given[name], f"initial/{key}", shape) if name in given else first
    return found


def unit_of_variable(network: Network, name: str) -> str:
    """Unit text of "population.variable"."""
    network = resolve(network).network
    owner, _, variable = name.partition(".")
    population = network.population(owner)
    declared = {e.name: e.unit for e in population.neuron.scope.equations}
    if variable in declared:
        return declared[variable]
    return str(population.neuron.scope.dimensions.get(variable, unit("1").dimension))
