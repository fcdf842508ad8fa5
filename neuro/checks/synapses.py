"""Rules for synapses, projections and inputs, each by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from neuro.checks.common import (
    check_cycles,
    check_finite,
    check_name,
    check_positive,
    check_same_unit,
    check_variable_names,
    plain,
)
from neuro.equations import Problem, suggestion
from neuro.scope import METHODS
from neuro.units import Quantity, unit

if TYPE_CHECKING:
    from neuro.model import Input, Projection, Synapse


def synapse(item: Synapse) -> Iterator[Problem]:
    """What a synapse alone can break; what needs the two cells is checked in the network."""
    where = f"synapse '{item.name}'"
    yield from check_name(item.name, where)
    scope = item.scope
    yield from check_variable_names(scope.equations, scope.parameters, where)
    yield from check_variable_names(scope.receptor, (), f"{where}, receptor")
    yield from check_cycles(scope.equations)
    for name, value in item.parameters.items():
        yield from check_finite(value, f"{where}, parameter '{name}'")
        yield from check_positive(name, value, f"{where}, parameter '{name}'")
    for equation in scope.equations:
        declared = equation.kind == "declaration" and equation.name != "w"
        if declared and equation.name not in scope.parameters and equation.name not in scope.assigned:
            yield equation.source.problem(f"nothing ever sets '{equation.name}'", "give it as a parameter or remove it")
        if equation.name in scope.parameters and equation.kind == "declaration":
            value = item.parameters[equation.name]
            yield from check_same_unit(
                equation.name, value, equation.dimension, f"{where}, parameter '{equation.name}'"
            )
    for statement in (*scope.on_pre, *scope.on_post, *scope.every_step):
        name = statement.target
        if name in scope.parameters:
            yield statement.source.problem(
                f"'{name}' is a parameter and can't be assigned", f"declare '{name} : ...' instead", length=len(name)
            )
        elif name.endswith("_pre"):
            yield statement.source.problem(
                f"'{name}' belongs to the presynaptic cell",
                "synapses write to themselves and to *_post",
                length=len(name),
            )
    if item.method not in METHODS:
        fix = suggestion(item.method, set(METHODS)) or f"methods: {', '.join(METHODS)}"
        yield plain(f"{where}, method", f"there is no integrator '{item.method}'", fix, item.method)
    if scope.transmits is not None and not item.target:
        yield scope.transmits.source.problem(
            "a graded value needs a target", "add target='I', an input of the postsynaptic neuron"
        )
    if item.target and scope.transmits is None:
        yield plain(
            where, f"target '{item.target}' without transmits", "add transmits=..., or remove target", item.target
        )
    if scope.transmits is None and not (scope.on_pre or scope.on_post):
        yield plain(where, "the synapse transmits nothing", "add on_pre or transmits")


def projection(item: Projection) -> Iterator[Problem]:
    where = f"projection '{item.name}'"
    yield from check_name(item.name, where)
    scope = item.synapse.scope
    if scope.has_weight and item.weights is None:
        yield plain(where, f"synapse '{item.synapse.name}' has a weight, but no weights are given", "add weights=...")
    if not scope.has_weight and item.weights is not None:
        yield plain(where, f"synapse '{item.synapse.name}' has no weight 'w'", "declare 'w : ...' in its equations")
    parts = [item.weights] if isinstance(item.weights, Quantity) else list(vars(item.weights or object).values())
    for part in parts:
        if isinstance(part, Quantity) and scope.has_weight:
            yield from check_same_unit("weights", part, unit(scope.weight_unit).dimension, f"{where}, weights")
            yield from check_finite(part, f"{where}, weights")
    yield from check_same_unit("delay", item.delay, unit("second").dimension, f"{where}, delay")
    if not np.all(np.asarray(item.delay.value) >= 0):
        yield plain(
            f"{where}, delay", "a delay is negative or not a number", "give delays of at least 0", str(item.delay)
        )
    p = getattr(item.connectivity, "p", None)
    if p is not None and not 0 <= p <= 1:
        yield plain(where, f"the probability {p} is not between 0 and 1", "give 0 <= p <= 1", str(p))
    for name in item.parameters:
        if name not in scope.parameters:
            fix = suggestion(name, set(scope.parameters)) or f"parameters: {', '.join(scope.parameters) or 'none'}"
            yield plain(where, f"synapse '{item.synapse.name}' has no parameter '{name}'", fix, name)
    yield from check_sign(item, where)


def check_sign(item: Projection, where: str) -> Iterator[Problem]:
    """Dale's law and bounds hold for the weights given."""
    if item.sign not in (None, "+", "-"):
        yield plain(where, f"the sign {item.sign!r} is not known", "use '+', '-' or None")
        return
    if not isinstance(item.weights, Quantity):
        return
    values = np.asarray(item.weights.value)
    if item.sign == "+" and np.any(values < 0):
        yield plain(
            where, "sign '+' but a weight is negative", "make the weights positive or drop the sign", str(item.weights)
        )
    if item.sign == "-" and np.any(values > 0):
        yield plain(
            where, "sign '-' but a weight is positive", "make the weights negative or drop the sign", str(item.weights)
        )
    low, high = item.bounds
    if (low is not None and np.any(values < low.value)) or (high is not None and np.any(values > high.value)):
        yield plain(where, "a weight lies outside the bounds", "change the weights or the bounds", str(item.weights))


def input_(item: Input) -> Iterator[Problem]:
    where = f"input '{item.name}'"
    yield from check_name(item.name, where)
    if not isinstance(item.size, int) or item.size < 1:
        yield plain(where, f"the size {item.size!r} is not a positive number", "give a whole number of channels")
    if item.kind not in ("spikes", "poisson", "current"):
        yield plain(
            where, f"there is no input kind '{item.kind}'", "use 'spikes', 'poisson' or 'current'", str(item.kind)
        )
    if (item.kind == "current") != bool(item.target):
        fix = (
            "add target='population.variable'" if item.kind == "current" else "spikes reach cells through a projection"
        )
        yield plain(where, "exactly the current inputs have a target", fix, item.target)
    if (item.kind == "poisson") != (item.rate is not None):
        yield plain(where, "exactly the Poisson inputs have a rate", "add rate='20 Hz' or change the kind")
    if item.rate is not None:
        yield from check_same_unit("rate", item.rate, unit("hertz").dimension, f"{where}, rate")
        if item.rate.shape not in ((), (item.size,)):
            yield plain(where, f"rate has the shape {list(item.rate.shape)}", f"give one rate, or {item.size}")
        if not np.all(np.asarray(item.rate.value) >= 0):
            yield plain(where, "a rate is negative or not a number", "give rates of at least 0 Hz", str(item.rate))
