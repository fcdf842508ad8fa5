"""Rules for neurons and populations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from neuro.checks.common import (
    caught,
    check_bounds,
    check_cycles,
    check_early,
    check_equations,
    check_expression,
    check_finite,
    check_method,
    check_name,
    check_positive,
    check_same_unit,
    check_shape,
    check_size,
    check_statement,
    check_variable_names,
    parts_of,
    plain,
    reserved_problem,
)
from neuro.checks.distances import check_positions
from neuro.checks.events import check_flags
from neuro.checks.parts import Neuron, Population
from neuro.checks.pathways import check_unlabelled
from neuro.checks.refractory import check_assigned, check_refractory
from neuro.language.dimensions import dimension_of
from neuro.language.drawn import drawn_by
from neuro.language.equations import Problem, Statement, suggestion
from neuro.language.scope import (
    INDICES,
    SPIKE_STATES,
    STRATONOVICH,
    NeuronScope,
    index_dimensions,
    is_noise,
    noise_dimension,
)
from neuro.language.units import Dimension, Quantity, unit


def neuron(item: Neuron) -> Iterator[Problem]:
    """What a neuron can break; the integrator is asked about sound equations only."""
    problems = list(check_text(item))
    yield from problems
    if not problems:
        from neuro.checks import formulas  # sympy loads when it is first needed

        problems = list(formulas.check_numbers(item.scope))
        yield from problems or formulas.check_noise(item.scope, item.method)
    if not problems:
        yield from check_method(item.method, item.scope, f"neuron '{item.name}'")
        yield from check_frozen(item, item.scope)


def check_text(item: Neuron) -> Iterator[Problem]:
    where = f"neuron '{item.name}'"
    yield from check_name(item.name, where)
    scope = item.scope
    known = index_dimensions(INDICES) | dict(scope.kinds)
    names = known | {n: noise_dimension(n) for n in scope.noise}
    drawn = known | {n: noise_dimension(n) for n in scope.noise if n not in scope.white_noise}
    merged = type(item).__name__ == "MergedNeuron"
    yield from check_variable_names(scope.equations, scope.parameters, where, generated=merged)
    yield from check_equations(scope.equations, names)
    yield from check_cycles(scope.equations)
    yield from check_flags(scope.equations, synapse=False)
    yield from check_threshold(scope, names, where)
    yield from check_refractory(item, drawn)
    yield from check_unlabelled(scope.statements)
    for statement in scope.statements:
        yield from check_target(statement, scope, drawn)
    yield from check_regularly(item, scope)
    yield from check_events(scope, drawn)
    yield from check_kept(scope)
    yield from check_values(item, scope, where)
    yield from check_noise(item, scope)


def check_kept(scope: NeuronScope) -> Iterator[Problem]:
    """A refractory cell keeps states, and nothing else."""
    for equation in scope.equations:
        name, fix = equation.name, "leave out '(unless refractory)'"
        if "unless refractory" not in equation.flags or (name in scope.states and equation.kind != "held"):
            continue
        if name in scope.parameters:
            kind = "a parameter"
        elif equation.kind == "declaration":
            kind = "an input, which lives for one step"
        else:
            kind, fix = "a subexpression", f"flag the variables that it is made of, or {fix}"
        yield equation.source.problem(f"'{name}' is {kind}, so there is nothing that a refractory cell could keep", fix)


def check_regularly(item: Neuron, scope: NeuronScope) -> Iterator[Problem]:
    """Statements at the start of a step read no input, which is formed after them, and assign what a refractory cell keeps only where cells know whether they are."""
    for statement in (*scope.held, *(s for r in scope.regularly for s in r.statements)):
        yield from check_early(statement, lambda name: scope.reached([name]) & {*scope.inputs})
        if statement.target in item.frozen and not scope.spike_states:
            message = f"a refractory cell keeps '{statement.target}', and cells that count their period don't know at the start of a step whether they are refractory"
            fix = "write the period as a text, in steps: refractory='20*dt' for 2 ms of 0.1 ms; or leave out '(unless refractory)'"
            yield statement.source.problem(message, fix, length=len(statement.target))


def check_frozen(item: Neuron, scope: NeuronScope) -> Iterator[Problem]:
    """What a refractory cell keeps stands still within a step too, so nothing else may follow where an integrator tries it further on."""
    kept = set(item.frozen)
    for equation in scope.of_kind("differential") if item.method not in ("euler", "exponential_euler") else ():
        followed = sorted(kept & scope.reached(equation.expression.names)) if equation.expression is not None else []
        if followed and equation.name not in kept:
            name = equation.name
            yield equation.source.problem(
                f"d{name}/dt follows {', '.join(followed)}, which a refractory cell keeps, but '{item.method}' lets it move",
                f"use method='exponential_euler' or 'euler', or flag {name} '(unless refractory)' too",
            )


def check_events(scope: NeuronScope, names: Mapping[str, Dimension]) -> Iterator[Problem]:
    """An event has a name that is free, and a condition of what stands after the thresholds, other events left out."""
    declared = {*scope.parameters, *(e.name for e in scope.equations)}
    for event in scope.events:
        problem = event.condition.source.problem
        why = "it is what its threshold asks for" if event.name == "spike" else reserved_problem(event.name)
        why = "a variable or parameter is called so" if event.name in declared else why
        if why is not None:
            yield problem(f"an event can't be called '{event.name}': {why}", "give it another name")
            continue
        for node in event.condition.name_nodes():
            for other in sorted(scope.reached([node.id]) & {*scope.event_states})[:1]:
                message = f"'{other}' is an event, and conditions of events are asked all at once"
                yield event.condition.source.problem(message, "write its condition out", node)
        yield from check_expression(event.condition, names, unit("boolean").dimension, f"event '{event.name}'")


def check_threshold(scope: NeuronScope, names: dict[str, Dimension], where: str) -> Iterator[Problem]:
    """A threshold is a condition; a reset needs one."""
    threshold = scope.threshold
    if threshold is None:
        if scope.reset:
            source = scope.reset[0].source
            yield source.problem("there is a reset but no threshold", "add a threshold such as 'v > v_th'")
        return

    def check() -> None:
        if dimension_of(threshold, names) != "boolean":
            raise threshold.source.fail("a threshold must be a condition", "compare, like 'v > v_th'", threshold.tree)

    yield from caught(check)


def check_target(statement: Statement, scope: NeuronScope, names: dict[str, Dimension]) -> Iterator[Problem]:
    """Statements assign states, in the state's unit."""
    name = statement.target
    problem = statement.source.problem
    if name in scope.parameters:
        yield problem(
            f"'{name}' is a parameter and can't be assigned", f"declare '{name} : ...' as a variable", length=len(name)
        )
    elif name in scope.event_states:
        yield problem(f"'{name}' is an event and can't be assigned", "set what its condition reads", length=len(name))
    elif name in {*scope.subexpressions, *scope.formed}:
        yield problem(
            f"'{name}' is a subexpression and can't be assigned", "assign the states it is made of", length=len(name)
        )
    elif name in SPIKE_STATES:
        yield from check_assigned(statement)
    elif name not in scope.dimensions or name in ("t", "dt"):
        fix = suggestion(name, set(scope.states)) or f"states: {', '.join(scope.states) or 'none'}"
        yield problem(f"'{name}' is not a variable of this neuron", fix, length=len(name))
    else:
        yield from check_statement(statement, names)


def check_values(item: Neuron, scope: NeuronScope, where: str) -> Iterator[Problem]:
    """Parameters and initial values: unit, sign, finite; constants have a value."""
    for name, value in item.parameters.items():
        yield from check_finite(value, f"{where}, parameter '{name}'")
        yield from check_positive(name, value, f"{where}, parameter '{name}'")
    for equation in scope.of_kind("declaration"):
        if equation.name in item.parameters:
            yield from check_same_unit(
                equation.name,
                item.parameters[equation.name],
                equation.dimension,
                f"{where}, parameter '{equation.name}'",
            )
        elif "constant" in equation.flags:
            yield equation.source.problem(
                f"the constant '{equation.name}' has no value", f"add parameters={{'{equation.name}': ...}}"
            )
    yield from check_initial(item.initial, scope, where)
    for name, (low, high) in item.bounds.items():
        place = f"{where}, bounds of '{name}'"
        if name in item.parameters:
            yield from check_bounds((low, high), item.parameters[name], place)
        else:
            fix = suggestion(name, set(item.parameters)) or "bounds belong to parameters"
            yield plain(place, f"there is no parameter '{name}'", fix, name)


def check_initial(initial: object, scope: NeuronScope, where: str) -> Iterator[Problem]:
    values: dict[str, object] = dict(initial)  # type: ignore[call-overload]
    states = [n for n in scope.states if n not in scope.formed]
    for name, value in values.items():
        if name not in states:
            fix = suggestion(name, set(states)) or f"states: {', '.join(states) or 'none'}"
            yield plain(f"{where}, initial", f"'{name}' is not a state variable", fix, name)
            continue
        for part in parts_of(value):
            yield from check_same_unit(name, part, scope.dimensions[name], f"{where}, initial '{name}'")
            yield from check_finite(part, f"{where}, initial '{name}'")


def check_noise(item: Neuron, scope: NeuronScope) -> Iterator[Problem]:
    """Noise stands linearly in differential equations and is integrated by Euler-Maruyama's method or Heun's."""
    for equation in scope.equations:
        names = () if equation.expression is None else equation.expression.names
        used = [n for n in names if is_noise(n) and not drawn_by(n)]
        if used and equation.kind != "differential":
            yield equation.source.problem(f"noise '{used[0]}' stands outside a differential equation", "move it there")
        elif used and item.method not in ("euler", *STRATONOVICH):
            fix = "use method='euler' (Euler-Maruyama), or 'heun' (Stratonovich)"
            yield equation.source.problem(f"noise '{used[0]}' can't be integrated by '{item.method}'", fix)


def population(item: Population) -> Iterator[Problem]:
    where = f"population '{item.name}'"
    yield from check_name(item.name, where)
    problems = list(check_size(item.size, where, "neurons"))
    yield from problems
    if problems:
        return
    scope = item.neuron.scope

    def shapes(name: str) -> list[tuple[int, ...]]:
        return [] if any(e.name == name and "shared" in e.flags for e in scope.equations) else [(item.size,)]

    for name, value in item.parameters.items():
        if name not in scope.parameters:
            fix = suggestion(name, set(scope.parameters)) or f"parameters: {', '.join(scope.parameters)}"
            yield plain(where, f"neuron '{item.neuron.name}' has no parameter '{name}'", fix, name)
            continue
        place = f"{where}, parameter '{name}'"
        for part in parts_of(value):
            yield from check_same_unit(name, part, scope.dimensions[name], place)
            yield from check_shape(name, part, shapes(name), place)
            yield from check_finite(part, place)
        if isinstance(value, Quantity):
            yield from check_positive(name, value, place)
            if name in item.neuron.bounds:
                yield from check_bounds(item.neuron.bounds[name], value, place)
    for name, value in item.neuron.parameters.items():
        if name not in item.parameters:
            place = f"{where}, neuron '{item.neuron.name}', parameter '{name}'"
            yield from check_shape(name, value, shapes(name), place)
    yield from check_positions(item.positions, item.size, f"{where}, positions")
    yield from check_initial(item.initial, scope, where)
    for name, value in item.initial_values().items():
        for part in parts_of(value):
            yield from check_shape(name, part, [(item.size,)], f"{where}, initial '{name}'")
