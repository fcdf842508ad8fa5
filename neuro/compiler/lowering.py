"""Network -> Step: receptors merged, equations discretised, statements and couplings put in Brian2's order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import sympy as sp

from neuro import checks
from neuro.caching import per_object
from neuro.compiler.integrators import MethodError, System, integrate, ordered_subexpressions, system_of
from neuro.compiler.parameters import steps_of, wiring
from neuro.compiler.receptors import without_receptors
from neuro.compiler.step import (
    Assign,
    Cells,
    Couple,
    Factors,
    Gather,
    Operation,
    Step,
    Synapses,
    Threshold,
    Update,
)
from neuro.language.elementary import maximum, minimum, number
from neuro.language.equations import ModelError, Problem, Statement
from neuro.language.symbolic import NumberError, margin, substituted, symbol, to_sympy
from neuro.language.units import Quantity
from neuro.model import Network, Population, Projection


def lower(network: Network) -> Step:
    """Lower a network. Raises ModelError where an integrator doesn't fit or graded units form a loop within a step."""
    return _lower(without_receptors(network))


@per_object
def _lower(network: Network) -> Step:
    checks.enforce(checks.memory(network))
    arriving = _by_target(network.projections)
    cells = tuple(_cells(network, p, arriving.get(p.name, [])) for p in network.populations)
    synapses = tuple(_synapses(network, p) for p in network.projections)
    operations: list[Operation] = _gathers(network)
    operations += [u for p in network.projections for u in _synaptic_integration(network, p)]
    operations += [u for p in network.populations for u in _integration(network, p)]
    operations += [u for p in network.populations for u in _block(p, "every_step")]
    operations += [u for p in network.projections for u in _synaptic_block(network, p, "every_step")]
    for population in network.populations:
        threshold = population.neuron.scope.threshold
        if threshold is not None:
            value, condition = (_inline(form(threshold), population) for form in (margin, to_sympy))
            operations.append(Threshold(population.name, value, condition))
    for phase in ("on_pre", "on_post"):
        operations += [u for p in network.projections for u in _synaptic_block(network, p, phase)]
    operations += [u for p in network.populations for u in _block(p, "reset")]
    sources = {i.name: i.size for i in network.inputs if i.kind != "current"}
    return Step(float(network.dt.value), cells, synapses, sources, tuple(operations))


def _cells(network: Network, population: Population, arriving: list[Projection]) -> Cells:
    neuron, scope = population.neuron, population.neuron.scope
    refractory = int(steps_of(neuron.refractory, network.dt))
    return Cells(
        name=population.name,
        size=population.size,
        states=scope.states,
        inputs=scope.inputs,
        parameters=scope.parameters,
        subexpressions=ordered_subexpressions(scope.equations),
        noise=scope.noise,
        spikes=scope.threshold is not None,
        frozen=population.neuron.frozen,
        refractory=refractory,
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


def _synapses(network: Network, projection: Projection) -> Synapses:
    wires = wiring(network, projection)
    delay: Any = steps_of(projection.delay, network.dt)
    if delay.ndim:
        delay = np.broadcast_to(delay, wires.shape).copy()
        if delay.size and (delay == delay.flat[0]).all():
            delay = delay.flat[0]
    scope = projection.synapse.scope
    return Synapses(
        name=projection.name,
        pre=projection.pre,
        post=projection.post,
        kind=wires.kind,  # type: ignore[arg-type]
        ends=(network.source_size(projection.pre), network.population(projection.post).size),
        shape=wires.shape,
        indices=wires.indices,
        mask=wires.mask,
        delay=delay if np.ndim(delay) else int(delay),
        states=scope.states,
        parameters=scope.parameters,
        weight=scope.has_weight,
    )


def _fail(where: str, message: str, fix: str) -> ModelError:
    return ModelError([Problem(where, "", 0, 0, message, fix)])


def _integration(network: Network, population: Population) -> Iterable[Update]:
    neuron, frozen = population.neuron, population.neuron.frozen
    where, system = f"population '{population.name}'", system_of(neuron.name, neuron.scope.equations)
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


def _block(population: Population, phase: Any) -> Iterable[Update]:
    """A neuron's reset or every_step statements."""
    scope = population.neuron.scope
    statements = scope.reset if phase == "reset" else scope.every_step
    assigns = tuple(Assign(s.target, _inline(_value(s, s.target), population)) for s in statements)
    if assigns:
        frozen = population.neuron.frozen if phase == "every_step" else ()
        yield Update(population.name, phase, assigns, "spikes" if phase == "reset" else "always", frozen)


def _value(statement: Statement, target: str) -> sp.Expr:
    value, old = to_sympy(statement.expression), symbol(target)
    return {"=": value, "+=": old + value, "-=": old - value, "*=": old * value, "/=": old / value}[statement.op]


def _inline(expr: sp.Expr, population: Population, suffix: str = "") -> sp.Expr:
    """Put a population's subexpressions in, so that only states, inputs and parameters remain."""
    table = {}
    for name, value in ordered_subexpressions(population.neuron.scope.equations):
        renamed = {s: symbol(s.name + suffix) for s in value.free_symbols if s.name not in ("t", "dt")}
        table[symbol(name + suffix)] = value.xreplace(renamed) if suffix else value
    return _put_in(expr, table, f"population '{population.name}'")


def _put_in(expr: sp.Expr, table: dict[sp.Symbol, sp.Expr], where: str) -> sp.Expr:
    """Subexpressions, in dependency order, put into an expression."""
    try:
        for name, value in reversed(table.items()):
            expr = substituted(expr, {name: value})
    except NumberError:
        message = "numbers alone give no real, finite value where its subexpressions are put in"
        raise _fail(where, message, "look for divisors, roots and logarithms of numbers") from None
    return expr


def _ends(network: Network, projection: Projection) -> tuple[Population | None, Population]:
    return network.parts["population"].get(projection.pre), network.population(projection.post)


def _synaptic_expression(network: Network, projection: Projection, expr: sp.Expr) -> sp.Expr:
    """A synapse's expression with the cells' and its own subexpressions put in."""
    own = ordered_subexpressions(projection.synapse.scope.equations)
    expr = _put_in(expr, {symbol(name): value for name, value in own}, f"projection '{projection.name}'")
    pre, post = _ends(network, projection)
    if pre is not None:
        expr = _inline(expr, pre, "_pre")
    return _inline(expr, post, "_post")


def _synaptic_integration(network: Network, projection: Projection) -> Iterable[Update]:
    scope = projection.synapse.scope
    equations = tuple(e for e in scope.equations if e.kind != "declaration")
    system = system_of(projection.synapse.name, equations, lambda e: _synaptic_expression(network, projection, e))
    assigns = _assigns(f"projection '{projection.name}'", projection.synapse.method, system)
    assigns = tuple(_kept_within(a, projection) for a in assigns)
    if assigns:
        yield Update(projection.name, "integrate", assigns)


def _synaptic_block(network: Network, projection: Projection, phase: Any) -> Iterable[Operation]:
    """Statements of a synapse in order; sums into cells become Couples."""
    scope = projection.synapse.scope
    post = network.population(projection.post)
    when: Any = {"on_pre": "pre", "on_post": "post", "every_step": "always"}[phase]
    pending: list[Assign] = []
    for statement in getattr(scope, phase):
        if not statement.target.endswith("_post"):
            expr = _synaptic_expression(network, projection, _value(statement, statement.target))
            pending.append(_kept_within(Assign(statement.target, expr), projection))
            continue
        if pending:
            yield Update(projection.name, phase, tuple(pending), when)
            pending = []
        sign = -1 if statement.op == "-=" else 1
        value = _synaptic_expression(network, projection, sign * to_sympy(statement.expression))
        target = statement.target.removesuffix("_post")
        yield Couple(projection.name, post.name, target, value, _factors(value, _numbers(projection)), when)
    if pending:
        yield Update(projection.name, phase, tuple(pending), when)


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
        raise _fail(where, "bounds of weights that change by themselves are two numbers", "give one number a side")
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


def _gathers(network: Network) -> list[Operation]:
    """Inputs of each population, sources before targets where a graded value depends on inputs of the same step."""
    gathers: dict[str, Gather] = {}
    needs: dict[str, set[str]] = {p.name: set() for p in network.populations}
    graded = _by_target(p for p in network.projections if p.synapse.scope.transmits is not None)
    for population in network.populations:
        couplings = []
        for projection in graded.get(population.name, ()):
            value = _synaptic_expression(network, projection, to_sympy(projection.synapse.scope.transmits))
            couplings.append(
                Couple(
                    projection.name,
                    population.name,
                    projection.synapse.target,
                    value,
                    _factors(value, _numbers(projection)),
                    "always",
                )
            )
            pre, post = _ends(network, projection)
            for cell, suffix in ((pre, "_pre"), (post, "_post")):
                if cell and any(symbol(n + suffix) in value.free_symbols for n in cell.neuron.scope.inputs):
                    needs[population.name].add(cell.name)
        currents = tuple(
            (i.target.partition(".")[2], i.name)
            for i in network.inputs
            if i.kind == "current" and i.target.partition(".")[0] == population.name
        )
        if population.neuron.scope.inputs:
            gathers[population.name] = Gather(
                population.name, population.neuron.scope.inputs, tuple(couplings), currents
            )
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
