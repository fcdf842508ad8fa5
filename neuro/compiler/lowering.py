"""Resolved network -> Step: equations discretised, statements and couplings put in Brian2's order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp

from neuro.caching import per_object
from neuro.compiler.formulas import Sum
from neuro.compiler.integrators import MethodError, integrate
from neuro.compiler.resolve import Resolved, resolve, steps_of
from neuro.compiler.step import Assign, Cells, Couple, Factors, Gather, Operation, Step, Synapses, Threshold, Update
from neuro.compiler.systems import System
from neuro.compiler.wiring import Wiring
from neuro.language.elementary import maximum, minimum, number
from neuro.language.equations import ModelError, Problem
from neuro.language.symbolic import symbol
from neuro.language.units import Quantity
from neuro.model import Network, Population, Projection


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
    cells = tuple(_cells(resolved, p, arriving.get(p.name, [])) for p in network.populations)
    operations: list[Operation] = _gathers(resolved)
    operations += [u for p in network.projections for u in _synaptic_integration(resolved, p)]
    operations += [u for p in network.populations for u in _integration(resolved, p)]
    operations += [u for p in network.populations for u in _block(resolved, p, "every_step")]
    operations += [u for p in network.projections for u in _synaptic_block(resolved, p, "every_step")]
    thresholds = {p.name: resolved.cells[p.name].threshold for p in network.populations}
    operations += [Threshold(name, *found) for name, found in thresholds.items() if found is not None]
    for phase in ("on_pre", "on_post"):
        operations += [u for p in network.projections for u in _synaptic_block(resolved, p, phase)]
    operations += [u for p in network.populations for u in _block(resolved, p, "reset")]
    sources = {i.name: i.size for i in network.inputs if i.kind != "current"}
    return Step(float(network.dt.value), cells, synapses, sources, tuple(operations))


def _cells(resolved: Resolved, population: Population, arriving: list[Projection]) -> Cells:
    neuron, scope = population.neuron, population.neuron.scope
    return Cells(
        name=population.name,
        size=population.size,
        states=scope.states,
        inputs=scope.inputs,
        parameters=scope.parameters,
        subexpressions=resolved.cells[population.name].subexpressions,
        noise=scope.noise,
        spikes=scope.threshold is not None,
        frozen=neuron.frozen,
        refractory=int(steps_of(neuron.refractory, resolved.network.dt)),
        method=neuron.method,
        membranes=_membranes(population, arriving),
    )


def _membranes(population: Population, arriving: list[Projection]) -> tuple[str, ...]:
    """States that events jump, and those whose equation has an input or such a state (one that resets don't touch)."""
    scope = population.neuron.scope
    blocks = (s for p in arriving for s in p.synapse.scope.on_pre)
    jumped = {s.target.removesuffix("_post") for s in blocks if s.target.endswith("_post")} & set(scope.states)
    carriers = jumped - {s.target for s in scope.reset}
    inner = {e.name: set(e.expression.names) for e in scope.of_kind("subexpression") if e.expression}

    def reached(names: set[str]) -> bool:
        return any(n in carriers or n in scope.inputs or reached(inner.get(n, set())) for n in names)

    driven = {
        e.name for e in scope.of_kind("differential") if e.expression and reached(set(e.expression.names) - {e.name})
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
        **vars(wires),
    )


def _fail(where: str, message: str, fix: str) -> ModelError:
    return ModelError([Problem(where, "", 0, 0, message, fix)])


def _integration(resolved: Resolved, population: Population) -> Iterable[Update]:
    neuron, frozen = population.neuron, population.neuron.frozen
    where, system = f"population '{population.name}'", resolved.cells[population.name].system
    assigns = _assigns(where, neuron.method, system)
    follower = next((n for n in system.states if n not in frozen and system.uses(n) & set(frozen)), None)
    if follower is not None and neuron.method in ("exact", "rk2", "rk4"):
        raise _fail(
            where,
            f"d{follower}/dt follows {', '.join(frozen)}, which a refractory cell keeps, but '{neuron.method}' lets it move",
            f"use method='exponential_euler' or 'euler', or flag {follower} '(unless refractory)' too",
        )
    if assigns:
        yield Update(population.name, "integrate", assigns, frozen=frozen)


def _assigns(where: str, method: str, system: System) -> tuple[Assign, ...]:
    """One step of a system, or ModelError where the method doesn't fit its equations."""
    try:
        return integrate(method, system)
    except MethodError as error:
        raise _fail(where, error.message, error.fix) from None


def _block(resolved: Resolved, population: Population, phase: Any) -> Iterable[Update]:
    """A neuron's reset or every_step statements."""
    assigns = getattr(resolved.cells[population.name], phase)
    if assigns:
        frozen = population.neuron.frozen if phase == "every_step" else ()
        yield Update(population.name, phase, assigns, "spikes" if phase == "reset" else "always", frozen)


def _synaptic_integration(resolved: Resolved, projection: Projection) -> Iterable[Update]:
    system = resolved.synapses[projection.name].system
    assigns = _assigns(f"projection '{projection.name}'", projection.synapse.method, system)
    assigns = tuple(_kept_within(a, projection) for a in assigns)
    if assigns:
        yield Update(projection.name, "integrate", assigns)


def _synaptic_block(resolved: Resolved, projection: Projection, phase: Any) -> Iterable[Operation]:
    """Statements of a synapse in order; sums into cells become Couples."""
    when: Any = {"on_pre": "pre", "on_post": "post", "every_step": "always"}[phase]
    pending: list[Assign] = []
    for statement in getattr(resolved.synapses[projection.name], phase):
        if isinstance(statement, Assign):
            pending.append(_kept_within(statement, projection))
            continue
        if pending:
            yield Update(projection.name, phase, tuple(pending), when)
            pending = []
        yield _couple(projection, statement, when)
    if pending:
        yield Update(projection.name, phase, tuple(pending), when)


def _couple(projection: Projection, item: Sum, when: Any) -> Couple:
    factors = _factors(item.value, _numbers(projection))
    return Couple(projection.name, projection.post, item.target, item.value, factors, when)


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
        raise _fail(where, "bounds of weights that change by themselves are two numbers", "give one number per side")
    return float(bound.value)


def _factors(value: sp.Expr, numbers: frozenset[str]) -> Factors | None:
    """Split a product by where its variables live; None where one factor mixes them.

    numbers: parameters of the projection that are one number, which go with either end.
    """
    parts = {"pre": sp.Integer(1), "synapse": sp.Integer(1), "post": sp.Integer(1)}
    for factor in sp.Mul.make_args(value):
        names = {s.name for s in factor.free_symbols}
        kinds = {_kind(n) for n in names - numbers} - {"any"}
        if len(kinds) > 1:
            return None
        kind = kinds.pop() if kinds else ("synapse" if factor.is_number or names & numbers else "pre")
        parts[kind] *= factor
    return Factors(**parts)


def _numbers(projection: Projection) -> frozenset[str]:
    given = {**projection.synapse.parameters, **projection.parameters}
    return frozenset(n for n, v in given.items() if isinstance(v, Quantity) and not v.shape)


def _kind(name: str) -> str:
    if name in ("t", "dt"):
        return "any"
    return "pre" if name.endswith("_pre") else "post" if name.endswith("_post") else "synapse"


def _gathers(resolved: Resolved) -> list[Operation]:
    """Inputs of each population, sources before targets where a graded value depends on inputs of the same step."""
    network, gathers = resolved.network, dict[str, Gather]()
    needs: dict[str, set[str]] = {p.name: set() for p in network.populations}
    sent = {name: s.transmits for name, s in resolved.synapses.items() if s.transmits is not None}
    graded = _by_target(p for p in network.projections if p.name in sent)
    for population in network.populations:
        couplings = []
        for projection in graded.get(population.name, ()):
            couplings.append(_couple(projection, sent[projection.name], "always"))
            read = sent[projection.name].value.free_symbols
            for end, suffix in ((projection.pre, "_pre"), (projection.post, "_post")):
                cell = network.parts["population"].get(end)
                if cell and any(symbol(n + suffix) in read for n in cell.neuron.scope.inputs):
                    needs[population.name].add(cell.name)
        currents = tuple(
            (i.target.partition(".")[2], i.name)
            for i in network.inputs
            if i.kind == "current" and i.target.partition(".")[0] == population.name
        )
        inputs = population.neuron.scope.inputs
        if inputs:
            gathers[population.name] = Gather(population.name, inputs, tuple(couplings), currents)
    return [gathers[name] for name in _topological(needs) if name in gathers]


def _by_target(projections: Iterable[Projection]) -> dict[str, list[Projection]]:
    found: dict[str, list[Projection]] = {}
    for projection in projections:
        found.setdefault(projection.post, []).append(projection)
    return found


def _topological(needs: dict[str, set[str]]) -> list[str]:
    done: dict[str, None] = {}
    while len(done) < len(needs):
        ready = [n for n in needs if n not in done and needs[n] <= done.keys()]
        if not ready:
            loop = ", ".join(sorted(set(needs) - set(done)))
            raise _fail(
                f"populations {loop}",
                "graded units depend on each other within one step",
                "give one of them a state (a time constant), or send events",
            )
        done |= dict.fromkeys(ready)
    return list(done)
