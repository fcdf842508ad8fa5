"""Rules for equations of synapses that are solved from event to event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from neuro.checks.parts import Projection
from neuro.language.equations import Equation, Expression, Problem
from neuro.language.scope import NeuronScope, SynapseScope

_CLOCK = "flag it '(clock-driven)'"


def check_flags(equations: Iterable[Equation], *, synapse: bool) -> Iterator[Problem]:
    """Where an equation may say when it is solved."""
    for equation in equations:
        said = sorted(equation.flags & {"event-driven", "clock-driven"})
        if said and not synapse:
            message = f"'({said[0]})' is for equations of synapses; those of cells are solved at each step"
            yield equation.source.problem(message, "leave it out")
        elif said and equation.kind != "differential":
            yield equation.source.problem(f"'{equation.name}' is no differential equation", f"leave '({said[0]})' out")
        elif len(said) > 1:
            yield equation.source.problem("it is solved at each step, or from event to event", "choose one of the two")


def check_event_driven(scope: SynapseScope) -> Iterator[Problem]:
    """Each is linear in itself, with coefficients that keep their values between events; nothing reads it but what happens at events."""
    equations = scope.event_driven
    if equations and not (scope.on_pre or scope.on_post):
        yield equations[0].source.problem("no event ever solves it", f"add on_pre or on_post, or {_CLOCK}")
    moving = {"t", "dt", *(e.name for e in scope.of_kind("differential")), *(s.target for s in scope.every_step)}
    for equation in equations:
        expression = equation.expression
        if expression is None:
            continue
        for node in expression.name_nodes():
            read = sorted(scope.reached([node.id]) & moving - {equation.name})
            if read:
                yield _changes(equation, expression, node, node.id, read[0])
                break
        else:
            yield from _nonlinear(equation, expression, scope)
    yield from _early(scope, {e.name for e in equations})


def _changes(equation: Equation, expression: Expression, node: Any, name: str, read: str) -> Problem:
    through = "" if name == read else f" (through '{name}')"
    message = f"d{equation.name}/dt is solved from event to event, but '{read}'{through} changes in between"
    return expression.source.problem(message, f"let it depend on itself and on parameters, or {_CLOCK}", node)


def _nonlinear(equation: Equation, expression: Expression, scope: SynapseScope) -> Iterator[Problem]:
    from neuro.language.linear import affine, inlined, nonlinear_term  # sympy loads when it is first needed
    from neuro.language.symbolic import symbol

    if affine(inlined(equation, scope), [symbol(equation.name)]) is None:
        term = nonlinear_term(equation, scope)
        what = f": it has the nonlinear term {expression.piece(term)}" if term is not None else ""
        message = f"d{equation.name}/dt is solved from event to event, which needs a linear equation{what}"
        yield expression.source.problem(message, _CLOCK, term)


def _early(scope: SynapseScope, names: set[str]) -> Iterator[Problem]:
    """What reads such a variable, or sets it, at other times than events, when nobody knows its value."""
    texts = [e.expression for e in scope.of_kind("differential") if e.name not in names]
    texts += [scope.transmits, *(s.expression for s in scope.every_step)]
    for expression in (t for t in texts if t is not None):
        for node in expression.name_nodes():
            read = sorted(scope.reached([node.id]) & names)
            if read:
                message = f"'{read[0]}' has a value at events alone, and this is read at every step"
                yield expression.source.problem(
                    message, f"read it in on_pre or on_post, or {_CLOCK} where it is defined", node
                )
    for statement in (s for s in scope.every_step if s.target in names):
        message = f"'{statement.target}' has a value at events alone, and this sets it at every step"
        yield statement.source.problem(message, f"set it in on_pre or on_post, or {_CLOCK} where it is defined")


def check_ends(projection: Projection, pre: NeuronScope | None, post: NeuronScope) -> Iterator[Problem]:
    """Of the cells, an equation that is solved from event to event may read parameters alone."""
    scope = projection.synapse.scope
    for equation in scope.event_driven:
        for node in equation.expression.name_nodes() if equation.expression is not None else ():
            for suffix, cells in (("_pre", pre), ("_post", post)):
                read = {n.removesuffix(suffix) for n in scope.reached([node.id]) if n.endswith(suffix)}
                changing = sorted(
                    cells.reached(read) - {*cells.parameters, *cells.subexpressions, "N", "i"} if cells else ()
                )
                if changing and equation.expression is not None:
                    yield _changes(equation, equation.expression, node, node.id, f"{changing[0]}{suffix}")
