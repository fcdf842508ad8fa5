"""A failing case -> the smallest one found that fails in the same way."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from fuzzing.editing import Line, blocks, models, smaller, substituted, with_blocks, with_model
from fuzzing.networks import Case
from neuro import AllToAll, Network, Neuron, quantity
from neuro.equations import ModelError
from neuro.units import UnitError

Candidate = Callable[[], Case]


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


def candidates(case: Case) -> Iterator[Candidate]:
    """Smaller cases, the largest steps first."""
    network = case.network
    yield from _parts(case)
    for fewer in {1, case.steps // 2, case.steps - 1}:
        if 0 < fewer < case.steps:
            yield lambda n=fewer: replace(case, steps=n)
    if case.batch > 1:
        yield lambda: replace(case, batch=1)
    for change in (*_sizes(network), *_values(network)):
        yield lambda c=change: replace(case, network=c())
    for model in models(network):
        for change in _texts(model):
            yield lambda m=model, c=change: replace(case, network=with_model(network, m, c()))


def _parts(case: Case) -> Iterator[Candidate]:
    """Without one population, projection or input."""
    network = case.network
    for gone in network.populations:
        if len(network.populations) > 1:
            yield lambda g=gone: replace(case, network=without(network, g.name))
    for gone in (*network.projections, *network.inputs):
        yield lambda g=gone: replace(case, network=without(network, g.name))


def without(network: Network, name: str) -> Network:
    """The network without a part and all that hangs on it."""
    populations = tuple(p for p in network.populations if p.name != name)
    projections = tuple(p for p in network.projections if name not in (p.name, p.pre, p.post))
    inputs = tuple(i for i in network.inputs if i.name != name and i.target.partition(".")[0] != name)
    return replace(network, populations=populations, projections=projections, inputs=inputs)


def _swap(network: Network, field: str, old: Any, new: Any) -> Network:
    return replace(network, **{field: tuple(new if x is old else x for x in getattr(network, field))})


def _sizes(network: Network) -> Iterator[Callable[[], Network]]:
    for field in ("populations", "inputs"):
        for item in getattr(network, field):
            for size in sorted({1, item.size // 2, item.size - 1} - {0, item.size}):
                yield lambda f=field, i=item, n=size: _swap(network, f, i, replace(i, size=n))


def _values(network: Network) -> Iterator[Callable[[], Network]]:
    """Plainer values of populations, projections and inputs."""
    for p in network.populations:
        for field in ("parameters", "initial"):
            if getattr(p, field):
                yield lambda p=p, f=field: _swap(network, "populations", p, replace(p, **{f: {}}))
    for j in network.projections:
        plain = {
            "connectivity": AllToAll(),
            "delay": quantity(0, "s"),
            "parameters": {},
            "initial": {},
            "sign": None,
            "bounds": (None, None),
        }
        for field, value in plain.items():
            if getattr(j, field) != value:
                yield lambda j=j, f=field, v=value: _swap(network, "projections", j, replace(j, **{f: v}))
        if j.weights is not None and getattr(j.weights, "shape", (1,)):
            unit = j.synapse.scope.weight_unit
            yield lambda j=j, u=unit: _swap(
                network, "projections", j, replace(j, weights=quantity({"amp": 1e-9, "volt": 0.01}.get(u, 0.5), u))
            )
            yield lambda j=j, u=unit: _swap(
                network,
                "projections",
                j,
                replace(j, connectivity=AllToAll(), weights=quantity({"amp": 1e-9, "volt": 0.01}.get(u, 0.5), u)),
            )
    for i in network.inputs:
        if i.kind == "poisson":
            yield lambda i=i: _swap(network, "inputs", i, replace(i, kind="spikes", rate=None))
    for name in ("seed", "name"):
        plainest = {"seed": 0, "name": "network"}[name]
        if getattr(network, name) != plainest:
            yield lambda n=name, v=plainest: replace(network, **{n: v})


def _texts(model: Any) -> Iterator[Callable[[], Any]]:
    """A neuron's or synapse's text without a line, a name or a part of an expression."""
    found = blocks(model)
    if isinstance(model, Neuron):
        yield from _without_spikes(model, found)
    for block, lines in found.items():
        for number in range(len(lines)):
            yield lambda b=block, n=number: with_blocks(
                model, {b: [*found[b][:n], *found[b][n + 1 :]]}, **_without_target(model, b)
            )
    if isinstance(model, Neuron) and model.refractory.value:
        yield lambda: replace(model, refractory="0 ms")
    if model.method != "euler":
        yield lambda: replace(model, method="euler")
    for name in (*model.parameters, *(line.name for line in found["equations"])):
        for value in ("1", "0.5", "(10*mV)", "nA", "(5*ms)", "(10*Mohm)"):
            yield lambda n=name, v=value: without_name(model, n, v)
    for field in ("initial", "parameters"):
        for name in getattr(model, field):
            yield lambda f=field, n=name: replace(model, **{f: {k: v for k, v in getattr(model, f).items() if k != n}})
    for block, lines in found.items():
        for number, line in enumerate(lines):
            for text in smaller(line.text) if line.text else ():
                yield lambda b=block, n=number, t=text: with_blocks(
                    model, {b: [replace(x, text=t) if i == n else x for i, x in enumerate(found[b])]}
                )
            if " (" in line.tail:
                yield lambda b=block, n=number: with_blocks(
                    model,
                    {b: [replace(x, tail=x.tail.split(" (")[0]) if i == n else x for i, x in enumerate(found[b])]},
                )


def _without_target(model: Any, block: str) -> dict[str, Any]:
    return {"target": ""} if block == "transmits" else {}


def _without_spikes(model: Neuron, found: dict[str, list[Line]]) -> Iterator[Callable[[], Any]]:
    if model.threshold:
        yield lambda: replace(model, threshold="", reset="")


def without_name(model: Any, name: str, value: str) -> Any:
    """The model with a variable or parameter replaced by a number."""
    changed = {}
    for block, lines in blocks(model).items():
        kept = [x for x in lines if x.name != name]
        changed[block] = [replace(x, text=substituted(x.text, {name: value})) if x.text else x for x in kept]
    parameters = {n: v for n, v in model.parameters.items() if n != name}
    initial = {n: v for n, v in model.initial.items() if n != name}
    return with_blocks(model, changed, parameters=parameters, initial=initial)
