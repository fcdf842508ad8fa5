"""Formulas of cells and synapses: every text as an expression over states, inputs and parameters, subexpressions put in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import sympy as sp

from neuro.compiler.integrators import exact
from neuro.compiler.printing import expression_text
from neuro.compiler.refractory import constant, free, still
from neuro.compiler.step import Assign, composed
from neuro.compiler.systems import DT, TIME, System, ordered_subexpressions, system_of
from neuro.language.equations import Equation, Source, Statement
from neuro.language.regularly import Regular
from neuro.language.scope import LAST_EVENT, SynapseScope
from neuro.language.symbolic import NumberError, margin, substituted, symbol, to_sympy
from neuro.model import Network, Neuron, Population, Projection


@dataclass(frozen=True)
class Sum:
    """`target[post] += sum over synapses of value`."""

    target: str
    value: sp.Expr

    def __str__(self) -> str:
        return f"{self.target}_post += {expression_text(self.value)}"


@dataclass(frozen=True)
class Starting:
    """Statements at the start of every so many steps; of every step where they form what is held for it."""

    steps: int
    assigns: tuple[Assign, ...]

    def lines(self) -> list[str]:
        when = f"start of every {self.steps} steps" if self.steps > 1 else "start"
        return [f"{when} {assign}" for assign in self.assigns]


@dataclass(frozen=True)
class CellFormulas:
    """system: its differential equations. subexpressions: in dependency order. threshold: margin and condition, as in Step. free: what
    not_refractory becomes at the start of a step, None of cells that have no such state. starting: in order. events: which of them happen, 1 or 0. on_event: what each then does, in order."""

    system: System
    subexpressions: tuple[tuple[str, sp.Expr], ...]
    threshold: tuple[sp.Expr, sp.Expr] | None
    free: sp.Expr | None
    reset: tuple[Assign, ...]
    every_step: tuple[Assign, ...]
    held: tuple[Assign, ...]
    starting: tuple[Starting, ...]
    events: tuple[Assign, ...] = ()
    on_event: tuple[tuple[str, tuple[Assign, ...]], ...] = ()

    def lines(self) -> list[str]:
        """As text that a person can read."""
        lines = [f"{name} = {expression_text(expr)}" for name, expr in self.subexpressions]
        lines += [line for item in (Starting(1, self.held), *self.starting) for line in item.lines()]
        lines += [] if self.free is None else [f"not_refractory = {expression_text(self.free)}"]
        lines += _rates(self.system)
        lines += [f"every step {assign}" for assign in self.every_step]
        if self.threshold is not None:
            lines.append(f"threshold {expression_text(self.threshold[1])}")
        lines += [f"event {assign}" for assign in self.events] + [f"reset {assign}" for assign in self.reset]
        return lines + [f"on {name} {assign}" for name, block in self.on_event for assign in block]


@dataclass(frozen=True)
class SynapseFormulas:
    """system: differential equations of each synapse that are solved at each step. events: from event to event. pathways: of on_pre, by
    label. on_post, every_step: statements in order. transmits: graded value."""

    system: System
    events: System
    pathways: Mapping[str, tuple[Assign | Sum, ...]]
    on_post: tuple[Assign | Sum, ...]
    every_step: tuple[Assign | Sum, ...]
    transmits: Sum | None
    held: tuple[Assign, ...]
    starting: tuple[Starting, ...]

    def lines(self) -> list[str]:
        """As text that a person can read."""
        lines = [line for item in (Starting(1, self.held), *self.starting) for line in item.lines()]
        lines += _rates(self.system)
        lines += [] if self.transmits is None else [f"transmits {self.transmits}"]
        own = {f"on pre {label}".strip(): block for label, block in self.pathways.items()}
        blocks = {"every step": self.every_step, **own, "on post": self.on_post}
        return lines + [f"{when} {statement}" for when, block in blocks.items() for statement in block]


def cell_formulas(network: Network, population: Population) -> CellFormulas:
    """Raises ModelError where numbers alone give no number."""
    neuron, scope = population.neuron, population.neuron.scope
    inlined, threshold = _Inlined([_subexpressions(population)]), scope.threshold

    def block(statements: Iterable[Statement]) -> tuple[Assign, ...]:
        return tuple(Assign(s.target, inlined(_value(s, s.target))) for s in statements)

    return CellFormulas(
        system_of(neuron.name, scope.equations),
        ordered_subexpressions(scope.equations),
        None if threshold is None else (inlined(margin(threshold)), inlined(to_sympy(threshold))),
        _free(neuron, inlined),
        block(scope.reset),
        block(scope.every_step),
        block(scope.held),
        tuple(Starting(_steps(network, r), block(r.statements)) for r in scope.regularly),
        tuple(Assign(e.name, inlined(to_sympy(e.condition))) for e in scope.events),
        tuple((e.name, block(e.statements)) for e in scope.events if e.statements),
    )


def _free(neuron: Neuron, inlined: Callable[[sp.Expr], sp.Expr]) -> sp.Expr | None:
    if not neuron.scope.spike_states:
        return None
    text = neuron.scope.refractory
    if text is None:
        return constant(neuron)
    return (free if neuron.scope.timed else still)(inlined(to_sympy(text)))


def synapse_formulas(network: Network, projection: Projection) -> SynapseFormulas:
    """Raises ModelError where numbers alone give no number."""
    synapse, scope = projection.synapse, projection.synapse.scope
    own = {symbol(name): value for name, value in ordered_subexpressions(scope.equations)}
    pre, post = network.parts["population"].get(projection.pre), network.population(projection.post)
    ends = [] if pre is None else [_subexpressions(pre, "_pre")]
    inlined = _Inlined([(f"projection '{projection.name}'", own), *ends, _subexpressions(post, "_post")])

    events = {e.name for e in scope.event_driven}
    between = system_of(synapse.name, _of(scope, lambda e: e.name in events), inlined)
    solved = _solved(between)

    def block(statements: tuple[Statement, ...]) -> tuple[Assign | Sum, ...]:
        """At an event: what was solved up to it, then the statements."""
        last = (Assign(LAST_EVENT, TIME),) if events else ()
        return (*solved, *map(formula, statements), *last) if statements else ()

    def formula(statement: Statement) -> Assign | Sum:
        target = statement.target.removesuffix("_post")
        if target == statement.target:
            return Assign(target, inlined(_value(statement, target)))
        return Sum(target, inlined((-1 if statement.op == "-=" else 1) * to_sympy(statement.expression)))

    def own_block(statements: Iterable[Statement]) -> tuple[Assign, ...]:
        return tuple(Assign(s.target, inlined(_value(s, s.target))) for s in statements)

    return SynapseFormulas(
        system_of(synapse.name, _of(scope, lambda e: e.name not in events), inlined),
        between,
        {label: block(b) for label, b in scope.pathways.items()},
        block(scope.on_post),
        tuple(map(formula, scope.every_step)),
        None if scope.transmits is None else Sum(synapse.target, inlined(to_sympy(scope.transmits))),
        own_block(scope.held),
        tuple(Starting(_steps(network, r), own_block(r.statements)) for r in scope.regularly),
    )


def _steps(network: Network, regular: Regular) -> int:
    """Of a period, which was checked to be a multiple of dt."""
    return round(float(regular.period.value) / float(network.dt.value))


def _of(scope: SynapseScope, wanted: Callable[[Equation], bool]) -> tuple[Equation, ...]:
    """Subexpressions, and those of the differential equations."""
    return tuple(e for e in scope.equations if e.kind == "subexpression" or (e.kind == "differential" and wanted(e)))


def _solved(system: System) -> tuple[Assign, ...]:
    """A synapse's variables at an event, from those at the one before."""
    elapsed = {DT: TIME - symbol(LAST_EVENT)}
    found = composed(tuple(exact(system))) if system.rates else {}
    return tuple(Assign(name, substituted(expr, elapsed)) for name, expr in found.items())


def _rates(system: System) -> list[str]:
    return [f"d{name}/dt = {expression_text(rate)}" for name, rate in system.rates]


def _value(statement: Statement, target: str) -> sp.Expr:
    value, old = to_sympy(statement.expression), symbol(target)
    return {"=": value, "+=": old + value, "-=": old - value, "*=": old * value, "/=": old / value}[statement.op]


_Table = tuple[str, dict[sp.Symbol, sp.Expr]]  # whose subexpressions they are, and these by name, in dependency order


def _subexpressions(population: Population, suffix: str = "") -> _Table:
    """A population's, as its own text names them, or with a suffix as a synapse's does."""
    table = {}
    for name, value in ordered_subexpressions(population.neuron.scope.equations):
        renamed = {s: symbol(s.name + suffix) for s in value.free_symbols if s.name not in ("t", "dt")}
        table[symbol(name + suffix)] = value.xreplace(renamed) if suffix else value
    return f"population '{population.name}'", table


@dataclass(frozen=True)
class _Inlined:
    """An expression with subexpressions put in, table after table, so that only states, inputs and parameters remain."""

    tables: list[_Table]

    def __call__(self, expr: sp.Expr) -> sp.Expr:
        for where, table in self.tables:
            try:
                for name, value in reversed(table.items()):
                    expr = substituted(expr, {name: value})
            except NumberError:
                message = "numbers alone give no real, finite value where its subexpressions are put in"
                fix = "look for divisors, roots and logarithms of numbers"
                raise Source(where, "").fail(message, fix) from None
        return expr
