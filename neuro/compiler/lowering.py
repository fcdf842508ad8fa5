"""Resolved network -> Step: equations discretised, statements and couplings put in Brian2's order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import sympy as sp

from neuro.caching import per_object
from neuro.compiler.couplings import couple, gathers, gathers_at_turns
from neuro.compiler.drives import count_of, weight_of
from neuro.compiler.formulas import Sum
from neuro.compiler.integrators import MethodError, integrate
from neuro.compiler.refractory import FREE, keeping, noted, taking
from neuro.compiler.resolve import Resolved, counted, late, resolve
from neuro.compiler.stages import Stages
from neuro.compiler.step import Assign, Cells, Operation, Step, Synapses, Threshold, Update
from neuro.compiler.systems import System
from neuro.compiler.wiring import Wiring
from neuro.language.elementary import chosen, maximum, minimum, number
from neuro.language.equations import Source
from neuro.language.symbolic import symbol
from neuro.language.units import Quantity
from neuro.model import Input, Network, Population, Projection


def lower(network: Network) -> Step:
    """Lower a network. Raises ModelError where an integrator doesn't fit or graded units form a loop within a step."""
    return _lower(resolve(network).network)


def levels(network: Network) -> dict[str, Network | Resolved | Step]:
    """A network on its way down, level by level: "definition", "resolved", "step". Each prints itself. Raises ModelError."""
    return {"definition": network, "resolved": resolve(network), "step": lower(network)}


@per_object
def _lower(network: Network) -> Step:
    resolved = resolve(network)
    wires = resolved.wires  # refuses what fits no memory
    arriving = _by_target(network.projections)
    synapses = tuple(_synapses(resolved, p, wires[p.name]) for p in network.projections)
    stages = Stages(resolved)
    cells = tuple(_cells(resolved, p, arriving.get(p.name, []), stages) for p in network.populations)
    operations: list[Operation] = [*_starting(resolved), *gathers(resolved, "start", graded=not stages.joined)]
    operations += _synaptic_integration(resolved, "start")
    early = {
        name: _free(resolved, network.population(name)) for name in stages.joined
    }  # who is refractory in all stages
    operations += [Update(name, "stage", assigns) for name, assigns in early.items() if assigns]
    operations += stages.operations()
    turns = gathers_at_turns(resolved)
    for population in network.populations:
        operations += turns[population.name]
        operations += _integration(resolved, population, stages)
    operations += [u for p in network.populations for u in _block(resolved, p, "every_step")]
    operations += _synaptic_integration(resolved, "end")
    operations += gathers(resolved, "end")
    operations += [u for p in network.projections for u in _synaptic_block(resolved, p, "every_step")]
    operations += [t for p in network.populations for t in _threshold(resolved, p)]
    knowing = [p for p in network.populations if p.neuron.scope.spike_states]
    operations += [noted(p.name, p.neuron.scope) for p in knowing]
    operations += [Update(n, "event", f.events) for n, f in resolved.cells.items() if f.events]
    operations += [_drive(network, i) for i in network.inputs if i.kind == "drive"]
    operations += [u for p in network.projections for u in _pathways(resolved, p)]
    operations += [u for p in network.projections for u in _synaptic_block(resolved, p, "on_post")]
    operations += [u for p in network.populations for u in _block(resolved, p, "reset")]
    operations += [_on_event(n, *own) for n, f in resolved.cells.items() for own in f.on_event]
    sources = {i.name: i.size for i in network.inputs if i.sends}
    return Step(float(network.dt.value), cells, synapses, sources, tuple(operations))


def _cells(resolved: Resolved, population: Population, arriving: list[Projection], stages: Stages) -> Cells:
    neuron, scope = population.neuron, population.neuron.scope
    drives = [i for i in resolved.network.inputs if i.kind == "drive" and _driven(i)[0] == population.name]
    return Cells(
        name=population.name,
        size=population.size,
        states=scope.states,
        inputs=scope.inputs,
        parameters=scope.parameters,
        subexpressions=resolved.cells[population.name].subexpressions,
        noise=scope.noise,
        spikes=scope.threshold is not None,
        frozen=() if scope.spike_states else neuron.frozen,
        refractory=counted(neuron, resolved.network.dt),
        method=neuron.method,
        membranes=_membranes(population, arriving, {_driven(i)[1] for i in drives}),
        stages=stages.variables(population.name),
        counts=tuple((count_of(i.name), i.name) for i in drives),
    )


def _driven(drive: Input) -> tuple[str, str]:
    """Population and state that a drive adds to."""
    population, _, variable = drive.target.partition(".")
    return population, variable


def _drive(network: Network, item: Input) -> Update:
    """Where the spikes of an input of delay 0 would act, before those of all projections."""
    population, variable = _driven(item)
    added = Assign(variable, symbol(variable) + symbol(weight_of(item.name)) * symbol(count_of(item.name)))
    neuron = network.population(population).neuron
    frozen = tuple(n for n in neuron.frozen if n == variable)
    return keeping(Update(population, "drive", (added,), frozen=frozen), neuron)


def _membranes(population: Population, arriving: list[Projection], driven: set[str]) -> tuple[str, ...]:
    """States that events jump, and those whose equation has an input or such a state (one that resets don't touch)."""
    scope = population.neuron.scope
    blocks = (s for p in arriving for s in p.synapse.scope.on_pre)
    jumped = {s.target.removesuffix("_post") for s in blocks if s.target.endswith("_post")} & set(scope.states) | driven
    carriers = jumped - {s.target for s in scope.reset}
    sources = carriers | set(scope.inputs)
    driven = {
        e.name
        for e in scope.of_kind("differential")
        if e.expression and sources & scope.reached(set(e.expression.names) - {e.name})
    }
    return tuple(n for n in scope.states if n in jumped | driven)


def _synapses(resolved: Resolved, projection: Projection, wires: Wiring) -> Synapses:
    network, scope = resolved.network, projection.synapse.scope
    return Synapses(
        name=projection.name,
        pre=projection.pre,
        post=projection.post,
        ends=(network.source_size(projection.pre), network.population(projection.post).size),
        delay=resolved.delays[projection.name],
        states=scope.states,
        parameters=scope.parameters,
        weight=scope.has_weight,
        noise=scope.noise,
        later=tuple(steps for label in scope.pathways if (steps := late(network, projection, label)) is not None),
        behind=late(network, projection, "post") or 0,
        **vars(wires),
    )


def _integration(resolved: Resolved, population: Population, stages: Stages) -> Iterable[Update]:
    neuron = population.neuron
    where, system = f"population '{population.name}'", resolved.cells[population.name].system
    if population.name in stages.joined:
        assigns = tuple(stages.method.last(system))
    else:
        assigns = (*_free(resolved, population), *_assigns(where, neuron.method, system))
    if assigns:
        yield keeping(Update(population.name, "integrate", assigns, frozen=neuron.frozen), neuron)


def _free(resolved: Resolved, population: Population) -> tuple[Assign, ...]:
    """Who is refractory in this step, in cells that know; from what stands at its start."""
    value = resolved.cells[population.name].free
    return () if value is None else (Assign(FREE.name, value),)


def _threshold(resolved: Resolved, population: Population) -> Iterable[Threshold]:
    found = resolved.cells[population.name].threshold
    if found is not None:
        margin, condition = found
        if population.neuron.scope.spike_states:  # the slope is that of the margin, and none while refractory
            margin, condition = chosen(FREE, margin, -1), FREE * condition
        yield Threshold(population.name, margin, condition)


def _assigns(where: str, method: str, system: System) -> tuple[Assign, ...]:
    """One step of a system, or ModelError where the method doesn't fit its equations."""
    try:
        return integrate(method, system)
    except MethodError as error:
        raise Source(where, "").fail(error.message, error.fix) from None


def _starting(resolved: Resolved) -> Iterable[Update]:
    """What is held for a step is formed first; then follows what cells do at its start, then what synapses do."""
    held = {n: f.held for n, f in resolved.cells.items()} | {n: f.held for n, f in resolved.synapses.items()}
    yield from (Update(name, "start", assigns) for name, assigns in held.items() if assigns)
    for name, cells in resolved.cells.items():
        neuron = resolved.network.population(name).neuron
        kept = neuron.frozen if neuron.scope.spike_states else ()  # others assign none of these
        for item in cells.starting:
            yield keeping(Update(name, "start", item.assigns, frozen=kept, every=item.steps), neuron)
    for projection in resolved.network.projections:
        for item in resolved.synapses[projection.name].starting:
            assigns = tuple(_kept_within(a, projection) for a in item.assigns)
            yield Update(projection.name, "start", assigns, every=item.steps)


def _block(resolved: Resolved, population: Population, phase: Any) -> Iterable[Update]:
    """A neuron's reset or every_step statements."""
    assigns = getattr(resolved.cells[population.name], phase)
    if assigns:
        frozen = population.neuron.frozen if phase == "every_step" else ()
        update = Update(population.name, phase, assigns, "spikes" if phase == "reset" else "always", frozen)
        yield keeping(update, population.neuron)


def _on_event(population: str, event: str, block: tuple[Assign, ...]) -> Update:
    """Statements where an event happened; a refractory cell takes them too."""
    assigns = (Assign(a.target, chosen(symbol(event), a.expr, symbol(a.target))) for a in block)
    return Update(population, "on_event", tuple(assigns))


def _synaptic_integration(resolved: Resolved, place: str) -> Iterable[Update]:
    """Of the synapses that are integrated there."""
    for projection in (p for p in resolved.network.projections if p.integrated == place):
        system = resolved.synapses[projection.name].system
        assigns = _assigns(f"projection '{projection.name}'", projection.synapse.method, system)
        assigns = tuple(_kept_within(a, projection) for a in assigns)
        if assigns:
            yield Update(projection.name, "integrate", assigns)


def _pathways(resolved: Resolved, projection: Projection) -> Iterable[Operation]:
    """What a presynaptic spike does, pathway after pathway."""
    for label, block in resolved.synapses[projection.name].pathways.items():
        yield from _statements(resolved, projection, block, "on_pre", late(resolved.network, projection, label))


def _synaptic_block(resolved: Resolved, projection: Projection, phase: Any) -> Iterable[Operation]:
    behind = late(resolved.network, projection, "post") if phase == "on_post" else None
    return _statements(resolved, projection, getattr(resolved.synapses[projection.name], phase), phase, behind)


def _statements(
    resolved: Resolved, projection: Projection, block: Iterable[Assign | Sum], phase: Any, steps: int | None
) -> Iterable[Operation]:
    """Statements of a synapse in order; sums into cells become Couples. steps: late after the spike."""
    when: Any = {"on_pre": "pre", "on_post": "post", "every_step": "always"}[phase]
    pending: list[Assign] = []
    for statement in block:
        if isinstance(statement, Assign):
            pending.append(_kept_within(statement, projection))
            continue
        if pending:
            yield Update(projection.name, phase, tuple(pending), when, late=steps)
            pending = []
        coupling = replace(couple(projection, statement, when), late=steps)
        yield taking(coupling, resolved.network.population(projection.post).neuron)
    if pending:
        yield Update(projection.name, phase, tuple(pending), when, late=steps)


def _kept_within(assign: Assign, projection: Projection) -> Assign:
    """A weight stays within its projection's bounds and keeps its sign, whatever changes it."""
    if assign.target != "w":
        return assign
    low, high = (None if b is None else number(_bound(projection, b)) for b in projection.bounds)
    if projection.sign == "+":
        low = sp.Integer(0) if low is None else maximum(low, 0)
    elif projection.sign == "-":
        high = sp.Integer(0) if high is None else minimum(high, 0)
    expr = assign.expr if low is None else maximum(assign.expr, low)
    return Assign("w", expr if high is None else minimum(expr, high))


def _bound(projection: Projection, bound: Quantity) -> float:
    if bound.shape:
        where = f"projection '{projection.name}', bounds"
        message = "bounds of weights that change by themselves are two numbers"
        raise Source(where, "").fail(message, "give one number per side")
    return float(bound.value)


def _by_target(projections: Iterable[Projection]) -> dict[str, list[Projection]]:
    found: dict[str, list[Projection]] = {}
    for projection in projections:
        found.setdefault(projection.post, []).append(projection)
    return found
