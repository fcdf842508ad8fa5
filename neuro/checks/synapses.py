"""Rules for synapses, projections and inputs, each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from neuro.checks.common import (
    check_bounds,
    check_cycles,
    check_dale,
    check_finite,
    check_method,
    check_name,
    check_positive,
    check_same_unit,
    check_shape,
    check_size,
    check_variable_names,
    parts_of,
    plain,
)
from neuro.checks.connectivity import check_numbers
from neuro.checks.events import check_event_driven, check_flags
from neuro.checks.parts import Input, Projection, Synapse
from neuro.checks.pathways import check_delays, check_labels
from neuro.language.equations import Problem, Statement, suggestion
from neuro.language.foreign import shown
from neuro.language.scope import SynapseScope
from neuro.language.units import Dimension, Quantity, unit

_MOST_SOURCES = 10**12


def synapse(item: Synapse) -> Iterator[Problem]:
    """What a synapse alone can break; what needs the two cells is checked in the network."""
    problems = list(check_text(item))
    yield from problems
    if not problems:
        from neuro.checks.formulas import check_numbers  # sympy loads when it is first needed

        problems = list(check_numbers(item.scope)) or list(check_event_driven(item.scope))
        yield from problems
    if not problems:
        yield from check_method(item.method, item.scope, f"synapse '{item.name}'")


def check_text(item: Synapse) -> Iterator[Problem]:
    where = f"synapse '{item.name}'"
    yield from check_name(item.name, where)
    scope = item.scope
    merged = type(item).__name__ == "MergedSynapse"
    yield from check_variable_names(scope.equations, scope.parameters, where, generated=merged)
    yield from check_variable_names(scope.receptor, scope.parameters, f"{where}, receptor", generated=merged)
    yield from check_cycles(scope.equations)
    yield from check_flags(scope.equations, synapse=True)
    yield from check_flags(scope.receptor, synapse=False)
    yield from check_labels(scope)
    own_names = {e.name for e in scope.equations}
    for equation in (e for e in scope.receptor if e.kind == "held"):
        message = f"'{equation.name}' is part of a receptor, in which nothing is held for a step"
        yield equation.source.problem(message, "leave out '(constant over dt)', or write it into the neuron")
    for equation in scope.receptor:
        if equation.kind != "subexpression" and equation.name in own_names:
            message = f"'{equation.name}' is a variable of the synapse too, and initial values could mean either"
            yield equation.source.problem(message, "rename one of the two")
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
    for statement in scope.statements:
        yield from check_target(statement, scope)
    for statement in (s for r in scope.regularly for s in r.statements):
        if statement.target.endswith("_post"):
            message = f"'{statement.target}' belongs to the cells, and what is added at the start of a step has no order there"
            fix = "add it in every_step, or assign it in the neuron's own regularly"
            yield statement.source.problem(message, fix, length=len(statement.target))
    receptor = {e.name: e.dimension for e in scope.receptor if e.kind != "subexpression"}
    own = {n: scope.dimensions[n] for n in _begun(scope)}
    yield from check_initial(item.initial, own | receptor, where)
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


def _begun(scope: SynapseScope) -> list[str]:
    """States that begin with a value of their own."""
    held = {e.name for e in scope.of_kind("held")}
    return [n for n in scope.states if n != "w" and n not in held]


def check_target(statement: Statement, scope: SynapseScope) -> Iterator[Problem]:
    """Statements don't assign parameters or the presynaptic cell."""
    name = statement.target
    if name in scope.parameters:
        yield statement.source.problem(
            f"'{name}' is a parameter and can't be assigned", f"declare '{name} : ...' instead", length=len(name)
        )
    elif name.endswith("_pre"):
        yield statement.source.problem(
            f"'{name}' belongs to the presynaptic cell", "synapses write to themselves and to *_post", length=len(name)
        )


def check_initial(initial: Mapping[str, object], states: Mapping[str, Dimension], where: str) -> Iterator[Problem]:
    for name, value in initial.items():
        if name not in states:
            fix = suggestion(name, set(states)) or f"states: {', '.join(states) or 'none'}; 'w' is given by weights="
            yield plain(f"{where}, initial", f"'{name}' is not a state variable", fix, name)
            continue
        for part in parts_of(value):
            yield from check_same_unit(name, part, states[name], f"{where}, initial '{name}'")
            yield from check_finite(part, f"{where}, initial '{name}'")


def projection(item: Projection) -> Iterator[Problem]:
    where = f"projection '{item.name}'"
    yield from check_name(item.name, where)
    scope = item.synapse.scope
    if item.shares:
        yield from check_shares(item, where)
    elif scope.has_weight and item.weights is None:
        yield plain(where, f"synapse '{item.synapse.name}' has a weight, but no weights are given", "add weights=...")
    if not scope.has_weight and item.weights is not None:
        yield plain(where, f"synapse '{item.synapse.name}' has no weight 'w'", "declare 'w : ...' in its equations")
    for part in parts_of(item.weights) if item.weights is not None else ():
        if scope.has_weight:
            yield from check_same_unit("weights", part, unit(scope.weight_unit).dimension, f"{where}, weights")
            yield from check_finite(part, f"{where}, weights")
    for part in parts_of(item.delay):
        yield from check_same_unit("delay", part, unit("second").dimension, f"{where}, delay")
    if isinstance(item.delay, Quantity) and not np.all(np.asarray(item.delay.value) >= 0):
        yield plain(
            f"{where}, delay", "a delay is negative or not a number", "give delays of at least 0", str(item.delay)
        )
    yield from check_delays(item)
    yield from check_numbers(item.connectivity, where)
    for name, value in item.parameters.items():
        if name not in scope.parameters:
            fix = suggestion(name, set(scope.parameters)) or f"parameters: {', '.join(scope.parameters) or 'none'}"
            yield plain(where, f"synapse '{item.synapse.name}' has no parameter '{name}'", fix, name)
            continue
        if name in scope.receptor_parameters and (not isinstance(value, Quantity) or value.shape):
            message = f"'{name}' belongs to the receptor, which a cell has once for all synapses"
            yield plain(f"{where}, parameter '{name}'", message, "give one value")
            continue
        for part in parts_of(value):
            yield from check_same_unit(name, part, scope.dimensions[name], f"{where}, parameter '{name}'")
            yield from check_finite(part, f"{where}, parameter '{name}'")
        if isinstance(value, Quantity):
            yield from check_positive(name, value, f"{where}, parameter '{name}'")
    yield from check_initial(item.initial, {n: scope.dimensions[n] for n in _begun(scope)}, where)
    yield from check_sign(item, where)
    if item.summed not in ("start", "turn", "end"):
        yield plain(f"{where}, summed", f"'{item.summed}' is none", "use 'start', 'turn' or 'end'", str(item.summed))
    elif item.summed != "start" and scope.transmits is None:
        message = (
            f"synapse '{item.synapse.name}' sends no graded value to sum; events arrive after the thresholds anyway"
        )
        yield plain(f"{where}, summed", message, "leave it out", item.summed)
    if item.integrated not in ("start", "end"):
        yield plain(
            f"{where}, integrated", f"'{item.integrated}' is none", "use 'start' or 'end'", str(item.integrated)
        )
    elif item.integrated != "start" and not {*scope.of_kind("differential")} - {*scope.event_driven}:
        message = f"synapse '{item.synapse.name}' has no equations to integrate in each step"
        yield plain(f"{where}, integrated", message, "leave it out", item.integrated)


def check_shares(item: Projection, where: str) -> Iterator[Problem]:
    """Nothing of shared weights is said twice; what needs the other projection is checked in the network."""
    given = {"weights": item.weights is not None, "sign": item.sign is not None, "bounds": item.bounds != (None, None)}
    if item.shares == item.name:
        yield plain(
            f"{where}, shares", "it would share its weights with itself", "name another projection", item.shares
        )
    if not item.synapse.scope.has_weight:
        message = f"synapse '{item.synapse.name}' has no weight 'w' to share"
        yield plain(f"{where}, shares", message, "declare 'w : ...' in its equations, or leave shares out")
    for name in (n for n, own in given.items() if own):
        message = f"it has the {name} of '{item.shares}', and {name} of its own"
        yield plain(f"{where}, {name}", message, f"leave {name} out, or leave shares out")


def check_sign(item: Projection, where: str) -> Iterator[Problem]:
    """Dale's law and bounds hold for the weights given; and for the limits of a distribution; its numbers are looked at when drawn."""
    if item.sign not in (None, "+", "-"):
        yield plain(where, f"the sign {item.sign!r} is not known", "use '+', '-' or None")
    elif isinstance(item.weights, Quantity):
        yield from check_weights(item, item.weights, where)
    elif item.weights is not None:
        for end in (item.weights.low, item.weights.high):
            if end is not None:
                yield from check_weights(item, end, where)


def check_weights(item: Projection, weights: Quantity, where: str) -> Iterator[Problem]:
    yield from check_dale(item.sign, weights, where)
    yield from check_bounds(item.bounds, weights, f"{where}, bounds", "a weight of")


def input_(item: Input) -> Iterator[Problem]:
    where = f"input '{item.name}'"
    yield from check_name(item.name, where)
    yield from check_size(item.size, where, "channels")
    if item.kind not in ("spikes", "poisson", "current", "drive"):
        fix = "use 'spikes', 'poisson', 'current' or 'drive'"
        yield plain(where, f"there is no input kind '{item.kind}'", fix, str(item.kind))
    aimed, drive = item.kind in ("current", "drive"), item.kind == "drive"
    if aimed != bool(item.target):
        fix = "add target='population.variable'" if aimed else "spikes reach cells through a projection"
        yield plain(where, "exactly the currents and drives have a target", fix, item.target)
    if (item.kind in ("poisson", "drive")) != (item.rate is not None):
        yield plain(where, "exactly the Poisson inputs and drives have a rate", "add rate='20 Hz' or change the kind")
    if drive != (item.weight is not None):
        yield plain(where, "exactly the drives have a weight", "add weight='1 mV' or change the kind")
    if not 1 <= item.sources <= _MOST_SOURCES:
        yield plain(where, f"{shown(item.sources)} sources", f"give a whole number from 1 on, at most {_MOST_SOURCES}")
    elif item.sources != 1 and not drive:
        yield plain(where, "only a drive has several sources", "change the kind, or leave `sources` out")
    if item.law not in ("poisson", "binomial"):
        yield plain(f"{where}, law", f"there is no law '{item.law}'", "use 'poisson' or 'binomial'", str(item.law))
    elif item.law != "poisson" and not drive:
        yield plain(f"{where}, law", "only a drive has a law", "change the kind, or leave `law` out", item.law)
    if item.weight is not None:
        yield from check_finite(item.weight, f"{where}, weight")
        yield from check_positive("weight", item.weight, f"{where}, weight")
        yield from check_shape("weight", item.weight, [(item.size,)], f"{where}, weight")
    if item.rate is not None:
        yield from check_same_unit("rate", item.rate, unit("hertz").dimension, f"{where}, rate")
        if item.rate.shape not in ((), (item.size,)):
            yield plain(where, f"rate has the shape {list(item.rate.shape)}", f"give one rate, or {item.size}")
        if not np.all(np.asarray(item.rate.value) >= 0):
            yield plain(where, "a rate is negative or not a number", "give rates of at least 0 Hz", str(item.rate))
