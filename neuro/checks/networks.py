"""Rules that need the whole network: names, ports, units across synapses, delays, shapes, the clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from neuro.checks.common import (
    check_early,
    check_equations,
    check_expression,
    check_same_unit,
    check_statement,
    plain,
)
from neuro.checks.connectivity import check_connectivity
from neuro.checks.distances import check_distance
from neuro.checks.events import check_ends
from neuro.checks.integration import check_clock, check_held
from neuro.checks.parts import Input, Network, Population, Projection
from neuro.checks.refractory import check_assigned, check_first
from neuro.checks.shared import check_shared
from neuro.checks.steps import check_grid, check_periods
from neuro.checks.sums import check_sums, inputs_of
from neuro.language.equations import Problem, Statement, suggestion
from neuro.language.mangling import mangled
from neuro.language.scope import (
    INDICES,
    SPIKE_STATES,
    STAGED,
    SYNAPTIC_INDICES,
    NeuronScope,
    SynapseScope,
    index_dimensions,
    noise_dimension,
)
from neuro.language.units import Dimension, Quantity, unit

MOST_EVENTS = 1e8  # of a drive's mean in a step and cell: the table of its probabilities is then of some megabytes


def network(item: Network) -> Iterator[Problem]:
    where = f"network '{item.name}'"
    if item.dt.shape or item.dt.dimension != unit("second").dimension or not item.dt.value > 0:
        yield plain(f"{where}, dt", f"the time step {item.dt} is not a positive time", "give it like '0.1 ms'")
        return
    if not item.populations:
        yield plain(where, "there is no population", "add at least one")
    yield from check_unique(item, where)
    for projection in item.projections:
        yield from check_projection(item, projection)
    for source in item.inputs:
        yield from check_input(item, source)
    for population in item.populations:
        refractory = population.neuron.refractory
        if not isinstance(refractory, str):
            yield from check_grid("refractory", refractory, item.dt, f"population '{population.name}', refractory")
        yield from check_first(population, item.dt)
        yield from check_periods(population.neuron, item.dt, f"population '{population.name}', regularly")
        check_clock(population, item.dt)
        check_held(population)
    yield from check_couplings(item, where)
    yield from check_sums(item)
    yield from check_shared(item)


def check_couplings(item: Network, where: str) -> Iterator[Problem]:
    """What is integrated as one system: cells by one method that has stages, which nothing but their equations changes within a step."""
    if item.couplings not in ("step", "stages"):
        yield plain(f"{where}, couplings", f"'{item.couplings}' is none", "use 'step' or 'stages'", str(item.couplings))
    if item.couplings != "stages":
        return
    for projection in (p for p in item.projections if p.summed == "turn"):
        message = "couplings='stages', where all that cells send each other is summed at once"
        yield plain(
            f"projection '{projection.name}', summed", message, "use summed='start' or couplings='step'", "turn"
        )
    graded = [p for p in item.projections if p.synapse.scope.transmits is not None and p.summed == "start"]
    for projection in graded:
        own = {e.name for e in projection.synapse.scope.of_kind("differential")}
        read = sorted(own & projection.synapse.scope.reached(projection.synapse.scope.transmits.names))
        if read:
            message = f"couplings='stages', but it sends {read[0]}, which is integrated in each synapse once a step"
            yield plain(f"projection '{projection.name}'", message, "make it a state of the presynaptic cells")
    ends = {end for p in graded for end in (p.pre, p.post)}
    joined = [p for p in item.populations if p.name in ends]
    moving = [p for p in joined if p.neuron.scope.of_kind("differential")]
    for population in moving:
        method, first = population.neuron.method, moving[0]
        if method not in STAGED:
            message = f"couplings='stages', but '{method}' has no stages"
            yield plain(
                f"population '{population.name}'", message, f"use method='{STAGED[-1]}' or couplings='step'", method
            )
        elif method != first.neuron.method:
            message = f"couplings='stages', but population '{first.name}' is integrated by '{first.neuron.method}'"
            yield plain(f"population '{population.name}'", message, "give both one method", method)
        if population.neuron.frozen:
            message = (
                f"couplings='stages', but a refractory cell keeps {', '.join(population.neuron.frozen)} between stages"
            )
            yield plain(
                f"population '{population.name}'", message, "leave out '(unless refractory)', or use couplings='step'"
            )


def check_unique(item: Network, where: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for name in [p.name for p in item.populations] + [p.name for p in item.projections] + [i.name for i in item.inputs]:
        if name in seen:
            yield plain(where, f"the name '{name}' is used twice", "rename one of the two", name)
        seen.add(name)


def ends(item: Network, projection: Projection) -> tuple[Population | Input | None, Population | None]:
    cells, inputs = {p.name: p for p in item.populations}, {i.name: i for i in item.inputs}
    return cells.get(projection.pre) or inputs.get(projection.pre), cells.get(projection.post)


def check_projection(item: Network, projection: Projection) -> Iterator[Problem]:
    where = f"projection '{projection.name}'"
    pre, post = ends(item, projection)
    sources = [p.name for p in item.populations] + [i.name for i in item.inputs]
    if pre is None:
        fix = suggestion(projection.pre, sources) or f"known: {', '.join(sources)}"
        yield plain(where, f"there is no population or input '{projection.pre}'", fix, projection.pre)
    if post is None:
        known = [p.name for p in item.populations]
        fix = suggestion(projection.post, known) or f"known: {', '.join(known)}"
        yield plain(where, f"there is no population '{projection.post}'", fix, projection.post)
    if pre is None or post is None:
        return
    kind = getattr(pre, "kind", "spikes")
    if kind in ("current", "drive"):
        message = f"'{projection.pre}' is a {kind} {'input ' if kind == 'current' else ''}and has no spikes"
        yield plain(where, message, "make it a spike input", projection.pre)
    scope = projection.synapse.scope
    fires = getattr(getattr(pre, "neuron", None), "threshold", "input")
    if scope.on_pre and not fires:
        yield plain(
            where,
            f"population '{projection.pre}' has no threshold, so it sends no spikes",
            "use a graded synapse (transmits=...)",
            projection.pre,
        )
    if scope.on_post and not post.neuron.threshold:
        yield plain(
            where,
            f"population '{projection.post}' has no threshold, so on_post never runs",
            "drop on_post",
            projection.post,
        )
    if scope.transmits is not None and not hasattr(pre, "neuron"):
        yield plain(
            where,
            f"input '{projection.pre}' sends spikes, it has no graded value",
            "use on_pre, or a current input with target='population.variable'",
            projection.pre,
        )
    drawn = not isinstance(projection.delay, Quantity)
    if not drawn:
        yield from check_grid("delay", projection.delay, item.dt, f"{where}, delay")
    for name, delay in projection.delays.items():
        yield from check_grid("delay", delay, item.dt, f"{where}, delay of '{name}'")
    if scope.transmits is not None and not scope.on_pre and (drawn or np.any(np.asarray(projection.delay.value) > 0)):
        yield plain(
            f"{where}, delay",
            "graded transmission has no delay",
            "use events (on_pre), or delay='0 ms'",
            str(projection.delay),
        )
    yield from check_periods(projection.synapse, item.dt, f"{where}, regularly")
    yield from check_connectivity(projection, pre.size, post.size)
    if type(projection.connectivity).__name__ == "Distance":
        yield from check_distance(projection, pre, post)
    yield from check_synapse(projection, pre, post)


def synapse_names(projection: Projection, pre: Any, post: Population) -> dict[str, Dimension]:
    """All names that a synapse may use, with dimensions."""
    names = index_dimensions(SYNAPTIC_INDICES if hasattr(pre, "neuron") else SYNAPTIC_INDICES[1:])
    names |= projection.synapse.scope.dimensions
    names |= {n: noise_dimension(n) for n in projection.synapse.scope.noise}
    names |= {f"{n}_post": d for n, d in post.neuron.scope.kinds.items() if n not in ("t", "dt")}
    if hasattr(pre, "neuron"):
        names |= {f"{n}_pre": d for n, d in pre.neuron.scope.kinds.items() if n not in ("t", "dt")}
    return names


def check_synapse(projection: Projection, pre: Any, post: Population) -> Iterator[Problem]:
    """Units and ports of a synapse between these two cells."""
    scope = projection.synapse.scope
    where = f"projection '{projection.name}'"
    names = synapse_names(projection, pre, post)
    post_names = post.neuron.scope.dimensions
    receptor = {e.name: e.dimension for e in scope.receptor}
    inputs = set(post.neuron.scope.inputs)
    cell = (
        index_dimensions(INDICES)
        | {n: d for n, d in post_names.items() if n not in inputs}
        | receptor
        | dict(scope.dimensions)
    )
    added = [e for e in scope.receptor if e.name in inputs]
    yield from check_equations(scope.equations, names)
    yield from check_ends(projection, pre.neuron.scope if hasattr(pre, "neuron") else None, post.neuron.scope)
    yield from check_equations(scope.receptor, cell)
    for equation in added:
        if equation.dimension != post_names[equation.name]:
            yield equation.source.problem(
                f"'{equation.name}' of neuron '{post.neuron.name}' is in {post_names[equation.name]}", "use its unit"
            )
    for equation in scope.receptor:
        if equation.kind == "declaration" and not any(s.target == f"{equation.name}_post" for s in scope.on_pre):
            yield equation.source.problem(f"nothing sets '{equation.name}'", "write to it in on_pre, or remove it")
        if equation.name in post_names and equation.name not in inputs:
            yield equation.source.problem(
                f"neuron '{post.neuron.name}' already has '{equation.name}'", "rename it in the receptor"
            )
        if equation.name in ("I",) and equation.name not in inputs and equation.kind == "subexpression":
            yield equation.source.problem(
                f"neuron '{post.neuron.name}' has no input '{equation.name}'",
                f"inputs: {', '.join(sorted(inputs)) or 'none'}",
            )
    held = {*SPIKE_STATES, *post.neuron.scope.formed}
    writable = (set(post.neuron.scope.states) | inputs | set(receptor)) - {e.name for e in added} - held
    for statement in scope.statements:
        yield from check_write(
            statement, names | {f"{n}_post": d for n, d in receptor.items()}, writable, projection, post
        )
    for statement in (*scope.held, *(s for r in scope.regularly for s in r.statements)):
        yield from check_early(statement, partial(inputs_of, scope, {"_pre": pre, "_post": post}))
    for block in (*scope.pathways.values(), scope.on_post):
        yield from check_order(block, scope, post.neuron.scope)
    if scope.transmits is not None:
        target = projection.synapse.target
        if target not in inputs:
            fix = suggestion(target, inputs) or f"inputs of '{post.neuron.name}': {', '.join(sorted(inputs)) or 'none'}"
            yield plain(
                where, f"population '{post.name}' (neuron '{post.neuron.name}') has no input '{target}'", fix, target
            )
        else:
            yield from check_expression(scope.transmits, names, post_names[target], f"the value for '{target}'")


def check_write(
    statement: Statement, names: Mapping[str, Dimension], writable: set[str], projection: Projection, post: Population
) -> Iterator[Problem]:
    """Synapses write to their own variables, and add to the postsynaptic cell's."""
    target, scope = statement.target, projection.synapse.scope
    problem = statement.source.problem
    if target.endswith("_post"):
        name = target.removesuffix("_post")
        if name in SPIKE_STATES:
            yield from check_assigned(statement)
            return
        if name not in writable:
            fix = suggestion(name, writable) or f"variables of '{post.neuron.name}': {', '.join(sorted(writable))}"
            message = f"population '{post.name}' (neuron '{post.neuron.name}') has no variable '{name}' to write to"
            yield problem(message, fix, length=len(target))
            return
        if statement.op not in ("+=", "-="):
            yield problem(
                f"synapses add to '{target}'; '{statement.op}' would depend on their order",
                "use += or -=",
                length=len(target),
            )
    elif target not in {e.name for e in scope.equations if e.kind in ("differential", "declaration")}:
        own = {e.name for e in scope.equations}
        yield problem(
            f"'{target}' is not a variable of synapse '{projection.synapse.name}'",
            suggestion(target, own) or "declare it in its equations",
            length=len(target),
        )
        return
    yield from check_statement(statement, names)


def check_order(block: tuple[Statement, ...], scope: SynapseScope, post: NeuronScope) -> Iterator[Problem]:
    """A cell's variable that a block adds to can't also be read there, nor what is made of it: the result would depend on synapse order."""
    written = {s.target for s in block if s.target.endswith("_post")}
    for statement in block:
        for node in statement.expression.name_nodes():
            names = scope.reached([node.id])
            cell = post.reached(n.removesuffix("_post") for n in names if n.endswith("_post"))
            both = sorted(written & {f"{n}_post" for n in cell})
            if both:
                through = "" if node.id == both[0] else f" (through '{node.id}')"
                yield statement.expression.source.problem(
                    f"'{both[0]}' is read{through} and added to in the same block",
                    "put the factor into the neuron's equations",
                    node,
                )


def check_input(item: Network, source: Input) -> Iterator[Problem]:
    where = f"input '{source.name}'"
    if (
        source.kind == "poisson"
        and source.rate is not None
        and np.any(np.asarray(source.rate.value) * item.dt.value > 1)
    ):
        yield plain(
            where,
            f"more than one spike a step: {source.rate} at dt = {item.dt}",
            "lower the rate or dt; a drive has any",
        )
    if source.kind not in ("current", "drive"):
        return
    name, _, variable = source.target.partition(".")
    population = next((p for p in item.populations if p.name == name), None)
    if population is None:
        known = [p.name for p in item.populations]
        yield plain(
            where,
            f"there is no population '{name}'",
            suggestion(name, known) or f"known: {', '.join(known)}",
            source.target,
        )
        return
    if source.kind == "drive":
        yield from check_drive(item, source, population, variable)
        return
    inputs = set(population.neuron.scope.inputs)
    if variable not in inputs:
        fix = suggestion(variable, inputs) or f"inputs: {', '.join(sorted(inputs)) or 'none'}"
        yield plain(
            where,
            f"population '{name}' (neuron '{population.neuron.name}') has no input '{variable}'",
            fix,
            source.target,
        )
    if source.size not in (1, population.size):
        yield plain(where, f"{source.size} channels for {population.size} neurons", f"use size 1 or {population.size}")


def check_drive(item: Network, source: Input, population: Population, variable: str) -> Iterator[Problem]:
    """A drive adds to a state of each cell; receptors' states are called as in the cells."""
    where, scope = f"input '{source.name}'", population.neuron.scope
    held = {*SPIKE_STATES, *scope.formed}
    states = {n: scope.dimensions[n] for n in scope.states if n not in held}
    for p in (p for p in item.projections if p.post == population.name):
        for suffix in (p.synapse.name, p.name, mangled(p.synapse.name, p.name)):
            kept = [e for e in p.synapse.scope.receptor if e.kind == "differential"]
            states |= {f"{e.name}_{suffix}": e.dimension for e in kept if f"{e.name}_{suffix}" not in scope.dimensions}
            states |= {mangled(suffix, e.name): e.dimension for e in kept}
    if variable not in states:
        fix = suggestion(variable, set(states)) or f"states: {', '.join(n for n in states if '__' not in n) or 'none'}"
        if variable in scope.inputs:
            fix = "add to a state, or send spikes through a projection"
        message = f"population '{population.name}' (neuron '{population.neuron.name}') has no state '{variable}'"
        yield plain(where, message, fix, source.target)
    elif source.weight is not None:
        yield from check_same_unit("weight", source.weight, states[variable], f"{where}, weight")
    if source.size != population.size:
        yield plain(where, f"{source.size} channels for {population.size} neurons", f"use size {population.size}")
    often = 0.0 if source.rate is None else float(np.max(source.rate.value)) * float(item.dt.value)
    if source.law == "binomial" and often > 1 + 1e-9:
        message = f"a source has {often:g} events in a step of {item.dt}, and the binomial law has one at most"
        yield plain(f"{where}, rate", message, "use law='poisson', or a smaller dt", str(source.rate))
    if source.rate is not None and np.any(np.asarray(source.rate.value) * source.sources * item.dt.value > MOST_EVENTS):
        message = f"more than {MOST_EVENTS:g} events a step: {source.sources} x {source.rate} at dt = {item.dt}"
        yield plain(where, message, "lower the rate, the number of sources or dt", str(source.rate))
