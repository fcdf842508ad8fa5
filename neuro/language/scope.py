"""What the names in a neuron or synapse mean: states, inputs, parameters, and their dimensions."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from neuro.language.drawn import drawn_by
from neuro.language.equations import (
    Equation,
    Expression,
    Statement,
    is_condition,
    parse_equations,
    parse_expression,
    parse_statements,
)
from neuro.language.mangling import mangled
from neuro.language.own_events import Event, parse_events
from neuro.language.regularly import Regular, parse_regularly
from neuro.language.units import Dimension, Truth, Whole, unit

METHODS = ("euler", "exponential_euler", "exact", "rk2", "rk4", "heun", "milstein", "rosenbrock")
SYNONYMS = {"linear": "exact", "independent": "exact"}  # names that Brian2 has for them
INDICES = ("i", "N")  # a cell's number from 0 on and how many there are, where its text doesn't call something so
LAST_EVENT = mangled("last", "event")  # a synapse's state, second
SYNAPTIC_INDICES = ("i", "j", "N_pre", "N_post")  # the same of a synapse's two cells
STRATONOVICH = ("heun", "milstein")  # those that take noise whose factors follow states, and how they read it
STAGED = ("rk2", "rk4")  # those that take slopes several times within a step

# What a cell with a threshold knows of its spikes, and its value before the first, SI: the time of the last one; whether no refractory
# period is on, a condition. They are states of the neurons that use them.
SPIKE_STATES = {"lastspike": -1e4, "not_refractory": 1.0}


@dataclass(frozen=True)
class NeuronScope:
    """A neuron's text, parsed. `states`, `inputs`, `parameters` are disjoint; dimensions cover all names.

    refractory: a time or a condition; None where the period is one number.
    """

    equations: tuple[Equation, ...]
    threshold: Expression | None
    reset: tuple[Statement, ...]
    every_step: tuple[Statement, ...]
    refractory: Expression | None
    parameters: tuple[str, ...]
    dimensions: Mapping[str, Dimension]
    regularly: tuple[Regular, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def kinds(self) -> Mapping[str, Dimension]:
        """Dimensions of all names that texts about such a cell may use."""
        return {**self.dimensions, **({} if self.threshold is None else _KNOWN)}

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """All that it computes: equations, threshold, refractory period, statements."""
        parts = [e.expression for e in self.equations] + [self.threshold, self.refractory]
        parts += [e.condition for e in self.events]
        parts += [s.expression for s in self.statements]
        return tuple(part for part in parts if part is not None)

    def of_kind(self, kind: str) -> tuple[Equation, ...]:
        return tuple(e for e in self.equations if e.kind == kind)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Those of all blocks."""
        regularly = (s for r in self.regularly for s in r.statements)
        return (*self.reset, *self.every_step, *regularly, *(s for e in self.events for s in e.statements))

    @property
    def assigned(self) -> set[str]:
        return {s.target for s in self.statements}

    @property
    def states(self) -> tuple[str, ...]:
        """Variables kept from step to step: differential ones, those held for a step, declared ones that a statement assigns, what is
        known of its spikes, and whether it had its events."""
        own = (
            e.name
            for e in self.equations
            if e.kind in ("differential", "held")
            or (e.kind == "declaration" and e.name in self.assigned and e.name not in self.parameters)
        )
        return (*own, *self.spike_states, *self.event_states)

    @property
    def event_states(self) -> tuple[str, ...]:
        """Names of its events, which say whether it had them."""
        return tuple(e.name for e in self.events)

    @property
    def formed(self) -> set[str]:
        """States that no statement may assign and that have no initial value: those held for a step, and events."""
        return {*(e.name for e in self.of_kind("held")), *self.event_states}

    @cached_property
    def spike_states(self) -> tuple[str, ...]:
        """Those of SPIKE_STATES that it has: where a text names one, or the refractory period is a text, its cells know when they are refractory."""
        named = SPIKE_STATES.keys() & self.names
        if self.threshold is None or (self.refractory is None and not named):
            return ()
        return tuple(n for n in SPIKE_STATES if n in named or n == "not_refractory" or self.timed)

    @property
    def timed(self) -> bool:
        """Whether its refractory period is a time, and no condition."""
        tree = None if self.refractory is None else self.refractory.tree
        if isinstance(tree, ast.Name):
            return not isinstance(self.kinds.get(tree.id), Truth)
        return tree is None or not is_condition(tree)

    @property
    def held(self) -> tuple[Statement, ...]:
        """What forms, at the start of every step, what is constant over dt."""
        return _held(self.equations)

    @property
    def subexpressions(self) -> tuple[str, ...]:
        return tuple(e.name for e in self.of_kind("subexpression"))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Declared variables that nothing in the neuron sets: what arrives in a step lives for that step."""
        known = {*self.parameters, *self.assigned}
        return tuple(e.name for e in self.of_kind("declaration") if e.name not in known)

    def reached(self, names: Iterable[str]) -> set[str]:
        """What these names are made of, directly or through the neuron's subexpressions."""
        return _reached(names, self.of_kind("subexpression"))

    @property
    def frozen_when_refractory(self) -> tuple[str, ...]:
        return tuple(e.name for e in self.equations if "unless refractory" in e.flags)

    @property
    def names(self) -> tuple[str, ...]:
        """All that its text reads, in the order of its expressions."""
        return tuple(dict.fromkeys(n for part in self.expressions for n in part.names))

    @property
    def noise(self) -> tuple[str, ...]:
        """xi names in the equations, then what is drawn in its other texts: numbers for each cell and step."""
        return tuple(n for n in self.names if is_noise(n))

    @property
    def indices(self) -> tuple[str, ...]:
        """Those of INDICES that its text reads."""
        return tuple(n for n in INDICES if n in self.names and n not in self.dimensions)

    @property
    def white_noise(self) -> tuple[str, ...]:
        """xi names alone."""
        return tuple(n for n in self.noise if not drawn_by(n))


@dataclass(frozen=True)
class SynapseScope:
    """A synapse's text, parsed. Names ending in _pre and _post are the cells' variables."""

    equations: tuple[Equation, ...]
    receptor: tuple[Equation, ...]
    on_pre: tuple[Statement, ...]
    on_post: tuple[Statement, ...]
    every_step: tuple[Statement, ...]
    transmits: Expression | None
    parameters: tuple[str, ...]
    dimensions: Mapping[str, Dimension] = field(default_factory=dict)
    regularly: tuple[Regular, ...] = ()

    def of_kind(self, kind: str) -> tuple[Equation, ...]:
        return tuple(e for e in self.equations if e.kind == kind)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Those of all blocks."""
        regularly = (s for r in self.regularly for s in r.statements)
        return (*self.on_pre, *self.on_post, *self.every_step, *regularly)

    @property
    def assigned(self) -> set[str]:
        return {s.target for s in self.statements}

    @property
    def event_driven(self) -> tuple[Equation, ...]:
        """Equations that are solved from event to event."""
        return tuple(e for e in self.of_kind("differential") if "event-driven" in e.flags)

    @property
    def states(self) -> tuple[str, ...]:
        """Per-synapse variables that change, the weight included where a statement assigns it; where events solve equations, the time of the last one."""
        own = (
            e.name
            for e in self.equations
            if e.kind in ("differential", "held") or (e.kind == "declaration" and e.name in self.assigned)
        )
        return (*own, *([LAST_EVENT] if self.event_driven else ()))

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """All that it computes."""
        parts = [e.expression for e in (*self.equations, *self.receptor)] + [self.transmits]
        parts += [s.expression for s in self.statements]
        return tuple(part for part in parts if part is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """All that its text reads but for the receptor's, which is the cells'."""
        parts = [*(e.expression for e in self.equations), self.transmits]
        parts += [s.expression for s in self.statements]
        return tuple(dict.fromkeys(n for part in parts if part is not None for n in part.names))

    @property
    def noise(self) -> tuple[str, ...]:
        """What its text draws: numbers for each synapse and step."""
        return tuple(n for n in self.names if drawn_by(n))

    @property
    def indices(self) -> tuple[str, ...]:
        """Those of SYNAPTIC_INDICES that its text reads, which may be the cells' own names too."""
        return tuple(n for n in SYNAPTIC_INDICES if n in self.names and n not in self.dimensions)

    @property
    def pathways(self) -> Mapping[str, tuple[Statement, ...]]:
        """Label -> the statements of on_pre that have it, "" for those without one; in order of appearance."""
        found: dict[str, tuple[Statement, ...]] = {}
        for statement in self.on_pre:
            found[statement.pathway] = (*found.get(statement.pathway, ()), statement)
        return found

    @property
    def held(self) -> tuple[Statement, ...]:
        """What forms, at the start of every step, what is constant over dt."""
        return _held(self.equations)

    @property
    def has_weight(self) -> bool:
        return any(e.name == "w" for e in self.equations)

    @property
    def weight_unit(self) -> str:
        return next((e.unit for e in self.equations if e.name == "w"), "1")

    @property
    def plastic(self) -> bool:
        return "w" in self.assigned or any(e.name == "w" and e.kind == "differential" for e in self.equations)

    def reached(self, names: Iterable[str]) -> set[str]:
        """What these names are made of, directly or through the synapse's subexpressions."""
        return _reached(names, self.of_kind("subexpression"))

    @property
    def receptor_parameters(self) -> set[str]:
        """Parameters that the receptor reads: a cell has them once."""
        return {n for e in self.receptor if e.expression for n in e.expression.names if n in self.parameters}


def _reached(names: Iterable[str], subexpressions: tuple[Equation, ...]) -> set[str]:
    table = {e.name: e.expression for e in subexpressions}
    pending, found = list(names), set[str]()
    while pending:
        name = pending.pop()
        found.add(name)
        inner = table.get(name)
        pending += [n for n in (inner.names if inner is not None else ()) if n not in found]
    return found


def index_name(name: str) -> str:
    """What a resolved network calls an index."""
    return mangled("index", "_".join(reversed(name.split("_"))))  # N_pre: no variable of a cell


def is_index(name: str) -> bool:
    return name.startswith(mangled("index", ""))


def index_dimensions(names: Iterable[str]) -> dict[str, Dimension]:
    return dict.fromkeys(names, Whole())


def _held(equations: tuple[Equation, ...]) -> tuple[Statement, ...]:
    """Each after those that it is made of, directly or through subexpressions."""
    table = {e.name: e for e in equations if e.kind in ("held", "subexpression")}
    done: dict[str, Statement | None] = {}

    def visit(name: str) -> None:
        equation = table[name]
        if name in done or equation.expression is None:
            return
        done[name] = None  # loops are refused elsewhere
        for used in equation.expression.names:
            if used in table:
                visit(used)
        done.pop(name)
        made = Statement(name, "=", equation.expression, equation.source)
        done[name] = made if equation.kind == "held" else None

    for name in table:
        visit(name)
    return tuple(s for s in done.values() if s is not None)


def is_noise(name: str) -> bool:
    return name == "xi" or name.startswith("xi_") or bool(drawn_by(name))


def is_uniform(name: str) -> bool:
    """Whether a noise's numbers are uniform from 0 to 1; others are standard normal."""
    return drawn_by(name) in ("rand", "poisson")


def noise_text(name: str) -> str:
    """As the user wrote it."""
    return f"{drawn_by(name)}()" if drawn_by(name) else name


def noise_dimension(name: str) -> Dimension:
    return unit("1").dimension if drawn_by(name) else unit("second").dimension ** -0.5


def shared_names() -> dict[str, Dimension]:
    """Names that every expression may use."""
    second = unit("second").dimension
    return {"t": second, "dt": second}


def _given(parameters: Iterable[tuple[str, Dimension]]) -> dict[str, Dimension]:
    return {name: Whole() if is_index(name) else dimension for name, dimension in parameters}


@lru_cache(maxsize=512)
def neuron_scope(
    name: str,
    equations: str,
    threshold: str,
    reset: str,
    every_step: str,
    refractory: str,
    parameters: tuple[tuple[str, Dimension], ...],
    regularly: tuple[tuple[str, str], ...] = (),
    events: tuple[tuple[str, str], ...] = (),
    on_event: tuple[tuple[str, str], ...] = (),
) -> NeuronScope:
    """Parse a neuron's text. Raises ModelError on text that can't be read."""
    where = f"neuron '{name}'"
    parsed = parse_equations(equations, f"{where}, equations", "held")
    own = parse_events(dict(events), dict(on_event), where)
    dimensions = shared_names() | _given(parameters) | {e.name: e.dimension for e in parsed}
    dimensions |= {e.name: unit("boolean").dimension for e in own if e.name not in dimensions}
    found = NeuronScope(
        equations=parsed,
        threshold=parse_expression(threshold, f"{where}, threshold", "threshold") if threshold.strip() else None,
        reset=parse_statements(reset, f"{where}, reset", "reset"),
        every_step=parse_statements(every_step, f"{where}, every_step", "every_step"),
        refractory=parse_expression(refractory, f"{where}, refractory", "refractory") if refractory.strip() else None,
        parameters=tuple(n for n, _ in parameters),
        dimensions=dimensions,
        regularly=parse_regularly(regularly, f"{where}, regularly", "regularly"),
        events=own,
    )
    return replace(found, dimensions={**dimensions, **{n: _KNOWN[n] for n in found.spike_states}})


_KNOWN = {"lastspike": unit("second").dimension, "not_refractory": unit("boolean").dimension}


@lru_cache(maxsize=512)
def synapse_scope(
    name: str,
    equations: str,
    receptor: str,
    on_pre: str,
    on_post: str,
    every_step: str,
    transmits: str,
    parameters: tuple[tuple[str, Dimension], ...],
    regularly: tuple[tuple[str, str], ...] = (),
) -> SynapseScope:
    """Parse a synapse's text. Raises ModelError on text that can't be read."""
    where = f"synapse '{name}'"
    parsed = parse_equations(equations, f"{where}, equations", "held")
    last = {LAST_EVENT: unit("second").dimension} if any("event-driven" in e.flags for e in parsed) else {}
    return SynapseScope(
        equations=parsed,
        receptor=parse_equations(receptor, f"{where}, receptor"),
        on_pre=parse_statements(on_pre, f"{where}, on_pre", "on_pre"),
        on_post=parse_statements(on_post, f"{where}, on_post", "on_post"),
        every_step=parse_statements(every_step, f"{where}, every_step", "every_step"),
        transmits=parse_expression(transmits, f"{where}, transmits") if transmits.strip() else None,
        parameters=tuple(n for n, _ in parameters),
        dimensions=shared_names() | _given(parameters) | {e.name: e.dimension for e in parsed} | last,
        regularly=parse_regularly(regularly, f"{where}, regularly", "regularly"),
    )
