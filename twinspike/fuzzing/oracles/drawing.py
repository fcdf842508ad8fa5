"""A network with everything random drawn and written down, but for noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from backends.common.arrays import draw_poisson
from neuro import AllToAll, Network, OneToOne, Pairs, Population, Projection, quantity
from neuro.compiler.drives import counts
from neuro.compiler.parameters import initial_state, parameters
from neuro.compiler.resolve import resolve
from neuro.fields import Distribution
from neuro.language.units import Quantity
from twinspike.fuzzing.networks import Case


def drawn(case: Case) -> tuple[Case, dict[str, Any]]:
    """The case with values in place of distributions, spikes in place of Poisson inputs; and all its inputs, counts of drives too."""
    network, inputs = case.network, case.inputs()
    for item in network.inputs:
        if item.kind == "poisson":
            inputs[item.name] = draw_poisson(network, item, 0, case.batch, case.steps)
        elif item.kind == "drive":
            inputs[item.name] = counts(resolve(network).network, item.name, 0, case.batch, case.steps)
    plain = tuple(replace(i, kind="spikes", rate=None) if i.kind == "poisson" else i for i in network.inputs)
    populations = tuple(_population(network, p) for p in network.populations)
    projections = tuple(_projection(network, p) for p in network.projections)
    return replace(
        case, network=replace(network, populations=populations, projections=projections, inputs=plain)
    ), inputs


def _is_drawn(value: Any) -> bool:
    return isinstance(value, Distribution)


def _quantity(value: Any, like: Any) -> Quantity:
    """SI values with the dimension of a distribution."""
    first = next(iter(vars(like).values()))
    return Quantity(np.asarray(value, np.float64), first.dimension, str(first.dimension))


def _population(network: Network, p: Population) -> Population:
    known, starts = parameters(network), initial_state(network)
    given = {n: _quantity(known[f"{p.name}.{n}"].value, v) for n, v in p.parameters.items() if _is_drawn(v)}
    initial = {n: _quantity(starts[f"{p.name}.{n}"], v) for n, v in p.initial_values().items() if _is_drawn(v)}
    return replace(p, parameters={**p.parameters, **given}, initial={**p.initial, **initial})


def _projection(network: Network, p: Projection) -> Projection:
    """Random connectivity as pairs; its values in their order."""
    known, starts, wires = parameters(network), initial_state(network), resolve(network).wires[p.name]
    used = {n: v for n, v in p.parameters.items() if _is_drawn(v) and f"{p.name}.{n}" in known}  # others are in no text
    given = {n: _quantity(known[f"{p.name}.{n}"].value, v) for n, v in used.items()}
    every = {**p.synapse.initial, **p.initial}
    initial = {
        n: _quantity(starts[f"{p.name}.{n}"], v) for n, v in every.items() if _is_drawn(v) and f"{p.name}.{n}" in starts
    }
    weights = p.weights
    if weights is not None and _is_drawn(weights):
        weights = _quantity(known[f"{p.name}.w"].value, weights)
    connectivity = p.connectivity
    if not isinstance(connectivity, AllToAll | OneToOne):
        connectivity = Pairs(wires.pre_index, wires.post_index)
    delay = p.delay
    if _is_drawn(delay):
        steps = np.broadcast_to(resolve(network).delays[p.name], wires.shape)
        delay = replace(network.dt, value=network.dt.value * steps)
    return replace(
        p,
        weights=weights,
        delay=delay,
        connectivity=connectivity,
        parameters={**p.parameters, **given},
        initial={**p.initial, **initial},
    )


def as_pairs(network: Network, p: Projection, chosen: Any) -> Projection:
    """The chosen synapses of a projection (indices into its synapses) as pairs with their own values."""
    wires = resolve(network).wires[p.name]
    there = np.flatnonzero(np.ones(wires.shape, bool) if wires.mask is None else wires.mask)
    kept = there[chosen]

    def part(value: Any) -> Any:
        if not isinstance(value, Quantity) or not value.shape:
            return value
        flat = np.broadcast_to(np.asarray(value.value), wires.shape).ravel()[kept]
        return Quantity(flat, value.dimension, value.unit)

    return replace(
        p, connectivity=Pairs(wires.pre_index[kept], wires.post_index[kept]), weights=part(p.weights), delay=part(p.delay),
        parameters={n: part(v) for n, v in p.parameters.items()}, initial={n: part(v) for n, v in p.initial.items()},
        bounds=tuple(part(b) for b in p.bounds),
    )  # fmt: skip


def synapses(network: Network, p: Projection) -> int:
    """How many there are."""
    wires = resolve(network).wires[p.name]
    return int(np.prod(wires.shape)) if wires.mask is None else int(wires.mask.sum())


def silent(value: Any, unit: str) -> Quantity:
    """Weights of 0."""
    return quantity(np.zeros(np.shape(value)), unit)
