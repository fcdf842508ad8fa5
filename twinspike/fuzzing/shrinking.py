"""A failing case -> the smallest one found that fails in the same way."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from neuro import AllToAll, Network, Neuron, quantity
from neuro.language.equations import ModelError
from neuro.language.units import Quantity, UnitError
from twinspike.fuzzing.editing import Line, blocks, models, smaller, substituted, with_blocks, with_model
from twinspike.fuzzing.networks import Case

Change = Callable[[], Any]
_NUMBERS = ("1", "0.5", "(10*mV)", "nA", "(5*ms)", "(10*Mohm)")  # what may stand for a name
_WEIGHTS = {"amp": 1e-9, "volt": 0.01, "siemens": 1e-8}


def shrink(case: Case, fails: Callable[[Case], bool], seconds: float = 60.0) -> Case:
    """Greedy: the first smaller case that still fails is taken, until there is none or the time is over."""
    end = time.monotonic() + seconds
    found: Case | None = case
    while found is not None:
        case, found = found, next((c for c in _valid(case, end) if fails(c)), None)
    return case


def _valid(case: Case, end: float) -> Iterator[Case]:
    for make in candidates(case):
        if time.monotonic() > end:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield make()
        except (ModelError, UnitError, SyntaxError, ValueError, KeyError, TypeError):
            continue


def candidates(case: Case) -> Iterator[Callable[[], Case]]:
    """Smaller cases, the largest steps first."""
    network = case.network
    parts: list[Any] = [
        *(network.populations if len(network.populations) > 1 else ()),
        *network.projections,
        *network.inputs,
    ]
    for part in parts:
        yield partial(_with, case, partial(without, network, part.name))
    for fewer in sorted({1, case.steps // 2, case.steps - 1} - {0, case.steps}):
        yield partial(replace, case, steps=fewer)
    if case.batch > 1:
        yield partial(replace, case, batch=1)
    for change in (*_sizes(network), *_values(network)):
        yield partial(_with, case, change)
    for model in models(network):
        for change in _texts(model):
            yield partial(_with, case, partial(_changed_model, network, model, change))


def _with(case: Case, change: Change) -> Case:
    return replace(case, network=change())


def _changed_model(network: Network, model: Any, change: Change) -> Network:
    return with_model(network, model, change())


def without(network: Network, name: str) -> Network:
    """The network without a part and all that hangs on it."""
    populations = tuple(p for p in network.populations if p.name != name)
    projections = tuple(p for p in network.projections if name not in (p.name, p.pre, p.post))
    inputs = tuple(i for i in network.inputs if i.name != name and i.target.partition(".")[0] != name)
    return replace(network, populations=populations, projections=projections, inputs=inputs)


def changed(network: Network, old: Any, **fields: Any) -> Network:
    """The network with one population, projection or input changed."""
    new = replace(old, **fields)
    populations, projections, inputs = (
        tuple[Any, ...](new if x is old else x for x in items)
        for items in (network.populations, network.projections, network.inputs)
    )
    return replace(network, populations=populations, projections=projections, inputs=inputs)


def _sizes(network: Network) -> Iterator[Change]:
    items: list[Any] = [*network.populations, *network.inputs]
    for item in items:
        for size in sorted({1, item.size // 2, item.size - 1} - {0, item.size}):
            yield partial(changed, network, item, size=size)


def _values(network: Network) -> Iterator[Change]:
    """Plainer values of populations, projections and inputs."""
    for p in network.populations:
        for field in ("parameters", "initial"):
            if getattr(p, field):
                yield partial(changed, network, p, **{field: {}})
        if p.positions is not None:
            yield partial(changed, network, p, positions=None)
        if p.frozen:
            yield partial(changed, network, p, frozen=False)
    for j in network.projections:
        plain: dict[str, Any] = {"connectivity": AllToAll(), "delay": quantity(0, "s"), "parameters": {}, "initial": {}}
        plain |= {"delays": {}, "sign": None, "bounds": (None, None), "frozen": False}
        yield from (partial(changed, network, j, **{f: v}) for f, v in plain.items() if getattr(j, f) != v)
        if j.shares:
            yield partial(changed, network, j, shares="", weights=network.holder(j).weights)
        if j.weights is not None and not (isinstance(j.weights, Quantity) and j.weights.shape == ()):
            unit = j.synapse.scope.weight_unit
            weights = quantity(_WEIGHTS.get(unit, 0.5), unit)
            yield partial(changed, network, j, weights=weights)
            yield partial(changed, network, j, weights=weights, connectivity=AllToAll(), sign=None, bounds=(None, None))
    for i in network.inputs:
        if i.kind == "poisson":
            yield partial(changed, network, i, kind="spikes", rate=None)
        for name in ("rate", "weight"):
            value = getattr(i, name)
            if i.kind == "drive" and value.shape:
                yield partial(changed, network, i, **{name: quantity(float(value.value[0]), str(value.dimension))})
    if network.seed:
        yield partial(replace, network, seed=0)


def _texts(model: Any) -> Iterator[Change]:
    """A neuron's or synapse's text without a line, a name or a part of an expression."""
    found = blocks(model)
    if isinstance(model, Neuron) and model.threshold:
        yield partial(replace, model, threshold="", reset="")
    for block, lines in found.items():
        for number in range(len(lines)):
            rest = [*lines[:number], *lines[number + 1 :]]
            yield partial(with_blocks, model, {block: rest}, **({"target": ""} if block == "transmits" else {}))
    if isinstance(model, Neuron) and (model.scope.refractory or model.period):
        yield partial(replace, model, refractory="0 ms")
    if model.regularly:
        yield partial(replace, model, regularly={})
    if isinstance(model, Neuron) and model.events:
        yield partial(replace, model, events={}, on_event={})
    if model.method != "euler":
        yield partial(replace, model, method="euler")
    for name in (*model.parameters, *(line.name for line in found["equations"])):
        yield from (partial(without_name, model, name, value) for value in _NUMBERS)
    for field in ("initial", "parameters"):
        for name in getattr(model, field):
            kept = {k: v for k, v in getattr(model, field).items() if k != name}
            yield partial(replace, model, **{field: kept})
    for block, lines in found.items():
        for number, line in enumerate(lines):
            yield from (partial(with_blocks, model, {block: _put(lines, number, new)}) for new in _plainer(line))


def _plainer(line: Line) -> Iterator[Line]:
    """The line with a smaller expression, or without its flags."""
    if line.text:
        yield from (replace(line, text=text) for text in smaller(line.text))
    if " (" in line.tail:
        yield replace(line, tail=line.tail.split(" (")[0])


def _put(lines: list[Line], number: int, line: Line) -> list[Line]:
    return [*lines[:number], line, *lines[number + 1 :]]


def without_name(model: Any, name: str, value: str) -> Any:
    """The model with a variable or parameter replaced by a number."""
    changed = {}
    for block, lines in blocks(model).items():
        kept = [x for x in lines if x.name != name]
        changed[block] = [replace(x, text=substituted(x.text, {name: value})) if x.text else x for x in kept]
    parameters = {n: v for n, v in model.parameters.items() if n != name}
    initial = {n: v for n, v in model.initial.items() if n != name}
    return with_blocks(model, changed, parameters=parameters, initial=initial)
