"""A network with other cells in one of its populations: every part of the definition that has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.drives import weight_of
from neuro.compiler.parameters import drawn, initial_state, parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.wiring import Wiring
from neuro.language.scope import SPIKE_STATES, is_index, noise_text
from neuro.language.units import Quantity
from neuro.model import Input, IntArray, Network, OneToOne, Pairs, Population, Projection, Value
from neuro.options import hint
from neuro.surgery.arrays import Axes, indices, moved, problem, wired
from neuro.surgery.moving import Surgery

Array = npt.NDArray[Any]


def numbered(network: Network, population: str) -> bool:
    """Whether a text reads numbers of these cells, or how many there are."""
    merged = resolve(network).network
    touched = (p.synapse for p in merged.projections if population in (p.pre, p.post))
    held = (merged.population(population).neuron.parameters, *(s.parameters for s in touched))
    return any(is_index(name) for parameters in held for name in parameters)


class Operation:
    """One rearrangement. used: names of values that something was made of."""

    def __init__(
        self, network: Network, item: Population, cells: IntArray, values: Mapping[str, Any],
        pairs: Mapping[str, tuple[Any, Any]], delays: Mapping[str, Any], noise: str,
    ) -> None:  # fmt: skip
        self.network, self.item, self.cells = network, item, cells
        self.values, self.pairs, self.delays, self.noise = values, pairs, delays, noise
        self.used: set[str] = set()
        self.wires, self.declared = resolve(network).wires, parameters(network)
        self.starts = initial_state(network)

    def done(self) -> Surgery:
        network, item = self.network, self.item
        self._refuse_what_has_no_number()
        touched = [p for p in network.projections if item.name in (p.pre, p.post)]
        for name in (*self.pairs, *self.delays):
            if name not in [p.name for p in touched]:
                fix = hint(name, [p.name for p in touched])
                raise problem(f"projection '{name}'", f"it doesn't begin or end at population '{item.name}'", fix)
        made, synapses = {}, {}
        for p in touched:
            made[p.name], origin = self._projection(p)
            if origin is not None:
                synapses[p.name] = origin
        after = replace(
            network,
            populations=tuple(self._population() if p.name == item.name else p for p in network.populations),
            projections=tuple(made.get(p.name, p) for p in network.projections),
            inputs=tuple(self._input(i) if wired(i, item) else i for i in network.inputs),
        )
        for name in self.values:
            if name not in self.used:
                raise problem(f"values '{name}'", "nothing here has that value", hint(name, self.used))
        return Surgery(network, after, item.name, self.cells, synapses)

    def _refuse_what_has_no_number(self) -> None:
        item, where = self.item, f"population '{self.item.name}'"
        noise = resolve(self.network).network.population(item.name).neuron.scope.noise
        random = [f"noise '{noise_text(name)}'" for name in noise]
        random += [
            f"projection '{p.name}', whose '{noise_text(p.synapse.scope.noise[0])}'"
            for p in self.network.projections
            if p.synapse.scope.noise and item.name in (p.pre, p.post)
        ]
        random += [f"drive '{i.name}'" for i in self.network.inputs if i.kind == "drive" and wired(i, item)]
        if random and self.noise != "anew":
            why = f"its {random[0]} is drawn for all its cells at once, by their places, so other cells would get other numbers"
            raise problem(where, why, "give noise='anew' where they may")
        if numbered(self.network, item.name):
            why = "its text, or that of a synapse, reads numbers of cells ('i', 'j', 'N'), and other cells would have other ones"
            raise problem(where, why, "give the cells a parameter in place of the index")
        for name, pair in item.neuron.bounds.items():
            if any(b is not None and b.shape for b in pair):
                raise problem(where, f"the bounds of '{name}' have one number for each cell", "give one for all")

    def _population(self) -> Population:
        p, axes = self.item, (self.cells,)
        fields: dict[str, Any] = {"parameters": dict(p.parameters), "initial": dict(p.initial)}
        tables: tuple[tuple[str, Mapping[str, Value], Mapping[str, Value]], ...] = (
            ("parameters", p.values(), p.neuron.parameters), ("initial", {**self._zeros(p), **p.initial_values()}, p.neuron.initial),
        )  # fmt: skip
        for table, items, own in tables:
            for name, value in items.items():
                key = f"{p.name}.{name}"
                default = _one(own.get(name, None if table == "parameters" else 0.0))
                found = self._placed(key, value, default, axes, (p.size,), partial(self._drawn, key))
                if found is not value:
                    fields[table][name] = found
        return replace(p, size=len(self.cells), positions=self._positions(), **fields)

    def _positions(self) -> Quantity | None:
        key, before = f"{self.item.name}.positions", self.item.positions
        if before is None:
            return None
        self.used.add(key)
        given = self.values.get(key)
        if given is None and (self.cells < 0).any():
            raise problem(f"'{key}'", "a new cell has none", f"give values={{'{key}': ...}}")
        array = _filled(f"values '{key}'", np.asarray(before.value), (self.cells, None), given, 0.0, before)
        return Quantity(array, before.dimension, before.unit)

    def _input(self, item: Input) -> Input:
        """A channel for each cell; a drive's rates and weights go with them."""
        if item.kind != "drive":
            return replace(item, size=len(self.cells))
        keys = {"rate": f"{item.name}.rate", "weight": f"{self.item.name}.{weight_of(item.name)}"}
        found: dict[str, Any] = {
            name: self._placed(key, getattr(item, name), None, (self.cells,), (item.size,), None)
            for name, key in keys.items()
        }
        return replace(item, size=len(self.cells), **found)

    def _zeros(self, p: Population) -> dict[str, Value]:
        """States whose initial value nobody gives."""
        dimensions = p.neuron.scope.dimensions
        return {n: Quantity(SPIKE_STATES.get(n, 0.0), dimensions[n], str(dimensions[n])) for n in p.neuron.scope.states}

    def _drawn(self, key: str) -> Array:
        """The numbers of a distribution, by the name of a parameter or state."""
        return self.declared[key].value if key in self.declared else self.starts[key]

    def _placed(
        self, key: str, value: Value, default: float | None, axes: Axes, shape: tuple[int, ...], drawn: Any,
        *, alike: bool = True,
    ) -> Value:  # fmt: skip
        """A value after. default: of what is new, None where only somebody else knows. shape: of all values, before. alike: whether what
        is new has the one value of all the others, where they have one.
        """
        given, new = self.values.get(key), any(i is not None and (i < 0).any() for i in axes)
        self.used.add(key)
        first = value if isinstance(value, Quantity) else next(iter(vars(value).values()))
        if given is None and isinstance(value, Quantity) and not value.shape and (alike or not new):
            return value
        if given is None and new and default is None:
            why = "its values are drawn or given one by one, and a new one has none"
            raise problem(f"'{key}'", why, f"give values={{'{key}': ...}}")
        array = np.broadcast_to(np.asarray(value.value, np.float64), shape) if isinstance(value, Quantity) else drawn()
        return Quantity(_filled(f"values '{key}'", array, axes, given, default, first), first.dimension, first.unit)

    # -- projections ---------------------------------------------------------------------------------------

    def _projection(self, p: Projection) -> tuple[Projection, IntArray | None]:
        """After, and where its synapses come from if it is a list of them."""
        wires, item = self.wires[p.name], self.item
        connectivity, origin = p.connectivity, None
        if wires.kind == "dense":
            if p.name in self.pairs:
                raise problem(
                    f"projection '{p.name}'", "it joins all to all, and has no list of pairs", "leave it out of pairs"
                )
            axes: Axes = tuple(self.cells if end == item.name else None for end in (p.pre, p.post))
        elif isinstance(connectivity, OneToOne) and p.pre == p.post and p.name not in self.pairs:
            axes, origin = (self.cells,), self.cells
        else:
            connectivity, origin = self._list(p, wires)
            axes = (origin,)
        weights = p.weights
        if weights is not None:
            weights = self._placed(
                f"{p.name}.w", weights, 0.0, axes, wires.shape, partial(_raw, self.network, p, wires), alike=False
            )
        found = replace(
            p, synapse=self._synapse(p), connectivity=connectivity, weights=weights, delay=self._delay(p, axes, wires),
            parameters=self._table(p, p.parameters, p.synapse.parameters, axes, wires),
            initial=self._table(p, p.initial, p.synapse.initial, axes, wires, 0.0), bounds=self._bounds(p, axes, wires),
        )  # fmt: skip
        return found, origin

    def _list(self, p: Projection, wires: Wiring) -> tuple[Pairs, IntArray]:
        """The synapses after, and where each comes from."""
        place = np.full(self.item.size, -1)
        place[self.cells[self.cells >= 0]] = np.flatnonzero(self.cells >= 0)
        pre, post = wires.pre_index, wires.post_index
        pre = place[pre] if p.pre == self.item.name else pre
        post = place[post] if p.post == self.item.name else post
        kept = np.flatnonzero((pre >= 0) & (post >= 0))
        if p.name not in self.pairs:
            return Pairs(pre[kept], post[kept]), kept
        waiting: dict[tuple[int, int], list[int]] = {}
        for synapse in kept[::-1].tolist():
            waiting.setdefault((int(pre[synapse]), int(post[synapse])), []).append(synapse)
        size = len(self.cells)
        where = f"pairs of projection '{p.name}'"
        sizes = [size if end == self.item.name else self.network.source_size(end) for end in (p.pre, p.post)]
        ends = [indices([*given], n, where) for given, n in zip(self.pairs[p.name], sizes, strict=True)]
        if len(ends[0]) != len(ends[1]):
            raise problem(where, "pre and post differ in length", "give one of each per synapse")
        found = [waiting.get((a, b), []) for a, b in zip(*(e.tolist() for e in ends), strict=True)]
        return Pairs(*ends), np.array([known.pop() if known else -1 for known in found], np.int64)

    def _synapse(self, p: Projection) -> Any:
        """What lives once in each cell has one value for each of them."""
        if p.post != self.item.name:
            return p.synapse
        initial, changed = dict(p.synapse.initial), False
        for name in (e.name for e in p.synapse.scope.receptor if e.name in initial):
            value = initial[name]
            if isinstance(value, Quantity) and not value.shape:
                continue
            where = f"synapse '{p.synapse.name}', receptor, initial '{name}'"
            if not isinstance(value, Quantity) or (self.cells < 0).any():
                raise problem(
                    where, "its values are drawn or given one by one, and a new cell has none", "give one number"
                )
            initial[name] = Quantity(moved(np.asarray(value.value), (self.cells,)), value.dimension, value.unit)
            changed = True
        return replace(p.synapse, initial=initial) if changed else p.synapse

    def _table(
        self, p: Projection, items: Mapping[str, Value], own: Mapping[str, Value], axes: Axes, wires: Wiring, zero: float | None = None
    ) -> dict[str, Value]:  # fmt: skip
        """Parameters or initial values of synapses. own: of the synapse's definition. zero: of what nobody gives."""
        scope, found = p.synapse.scope, dict(items)
        names = scope.states if zero is not None else scope.parameters
        every = {**own, **items}
        for name in names:
            key = f"{p.name}.{name}"
            if name == "w" or (key not in self.declared and key not in self.starts):
                continue
            dimension = scope.dimensions[name]
            value = every.get(name, Quantity(0.0, dimension, str(dimension)))
            default = _one(own.get(name, zero))
            placed = self._placed(key, value, default, axes, wires.shape, partial(self._drawn, key))
            if placed is not value:
                found[name] = placed
        return found

    def _delay(self, p: Projection, axes: Axes, wires: Wiring) -> Quantity:
        """One delay for all stays one; those given one by one, or drawn, are written down."""
        given, like = self.delays.get(p.name), p.delay if isinstance(p.delay, Quantity) else self.network.dt
        if given is None and like is p.delay and not like.shape:
            return like
        value = like.value if like is p.delay else like.value * resolve(self.network).delays[p.name]
        array = np.broadcast_to(np.asarray(value, np.float64), wires.shape)
        return Quantity(_filled(f"delays '{p.name}'", array, axes, given, 0.0, like), like.dimension, like.unit)

    def _bounds(self, p: Projection, axes: Axes, wires: Wiring) -> tuple[Quantity | None, Quantity | None]:
        found = []
        for bound in p.bounds:
            if bound is not None and bound.shape:
                if any(i is not None and (i < 0).any() for i in axes):
                    why = "there is one number for each synapse, and a new one has none"
                    raise problem(f"projection '{p.name}', bounds", why, "give one number for all")
                bound = Quantity(moved(np.asarray(bound.value), axes), bound.dimension, bound.unit)
            found.append(bound)
        return found[0], found[1]


def _raw(network: Network, p: Projection, wires: Wiring) -> Array:
    """Drawn weights, those of synapses that don't exist as well."""
    assert p.weights is not None
    return drawn(network, p.weights, f"weights/{p.name}", wires.shape)


def _filled(where: str, array: Array, axes: Axes, given: Any, default: float | None, like: Quantity) -> Array:
    """The array moved, with SI numbers of what is new: those given, a quantity or numbers, else the default. Raises ModelError."""
    if isinstance(given, Quantity):
        if given.dimension != like.dimension:
            raise problem(where, f"it is in {given.dimension}", f"give it in {like.dimension}")
        given = given.value
    try:
        return moved(array.copy(), axes, default if given is None else np.asarray(given, np.float64))
    except ValueError:
        after = tuple(n if i is None else len(i) for n, i in zip(array.shape, axes, strict=True))
        raise problem(where, f"the shape is {np.asarray(given).shape}", f"give one number, or {after}") from None


def _one(value: Any) -> float | None:
    """The number that a definition has for all, None where it has one for each or none."""
    if isinstance(value, Quantity):
        return None if value.shape else float(value.value)
    return value if isinstance(value, float) else None
