"""Rules for neurons and populations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from neuro.checks.common import (
    caught,
    check_cycles,
    check_equations,
    check_finite,
    check_name,
    check_positive,
    check_same_unit,
    check_shape,
    check_statement,
    check_variable_names,
    plain,
)
from neuro.equations import Problem, Statement, dimension_of, suggestion
from neuro.scope import METHODS, NeuronScope, is_noise, noise_dimension
from neuro.units import Dimension, Quantity, unit

if TYPE_CHECKING:
    from neuro.model import Neuron, Population


def neuron(item: Neuron) -> Iterator[Problem]:
    where = f"neuron '{item.name}'"
    yield from check_name(item.name, where)
    scope = item.scope
    names = dict(scope.dimensions) | {n: noise_dimension() for n in scope.noise}
    yield from check_variable_names(scope.equations, scope.parameters, where)
    yield from check_equations(scope.equations, names)
    yield from check_cycles(scope.equations)
    yield from check_threshold(scope, names, where)
    for statement in (*scope.reset, *scope.every_step):
        yield from check_target(statement, scope)
    yield from check_values(item, scope, where)
    yield from check_method(item, scope, where)
    yield from check_noise(item, scope)


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


def check_target(statement: Statement, scope: NeuronScope) -> Iterator[Problem]:
    """Statements assign states, in the state's unit."""
    name = statement.target
    problem = statement.source.problem
    if name in scope.parameters:
        yield problem(
            f"'{name}' is a parameter and can't be assigned", f"declare '{name} : ...' as a variable", length=len(name)
        )
    elif name in scope.subexpressions:
        yield problem(
            f"'{name}' is a subexpression and can't be assigned", "assign the states it is made of", length=len(name)
        )
    elif name not in scope.dimensions or name in ("t", "dt"):
        fix = suggestion(name, set(scope.states)) or f"states: {', '.join(scope.states) or 'none'}"
        yield problem(f"'{name}' is not a variable of this neuron", fix, length=len(name))
    else:
        yield from check_statement(statement, scope.dimensions)


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
        yield from check_bounds(name, (low, high), item.parameters.get(name), f"{where}, bounds of '{name}'")
    yield from check_same_unit("refractory", item.refractory, unit("second").dimension, f"{where}, refractory")
    if item.refractory.shape or not item.refractory.value >= 0:
        yield plain(
            f"{where}, refractory",
            "the refractory period must be one time of at least 0",
            "give one time",
            str(item.refractory),
        )


def check_initial(initial: object, scope: NeuronScope, where: str) -> Iterator[Problem]:
    values: dict[str, object] = dict(initial)  # type: ignore[call-overload]
    for name, value in values.items():
        if name not in scope.states:
            fix = suggestion(name, set(scope.states)) or f"states: {', '.join(scope.states) or 'none'}"
            yield plain(f"{where}, initial", f"'{name}' is not a state variable", fix, name)
            continue
        for part in _parts(value):
            yield from check_same_unit(name, part, scope.dimensions[name], f"{where}, initial '{name}'")
            yield from check_finite(part, f"{where}, initial '{name}'")


def check_bounds(
    name: str, pair: tuple[Quantity | None, Quantity | None], value: Quantity | None, where: str
) -> Iterator[Problem]:
    low, high = pair
    if value is None:
        yield plain(where, f"there is no parameter '{name}'", "bounds belong to parameters", name)
        return
    for bound in (low, high):
        if bound is not None:
            yield from check_same_unit(name, bound, value.dimension, where)
    if low is not None and high is not None and not np.all(np.asarray(low.value) < np.asarray(high.value)):
        yield plain(where, f"the lower bound {low} is not below the upper bound {high}", "swap them", str(low))
    elif (low is not None and np.any(value.value < low.value)) or (
        high is not None and np.any(value.value > high.value)
    ):
        yield plain(where, f"the value {value} lies outside its bounds", "change the value or the bounds", str(value))


def check_method(item: Neuron, scope: NeuronScope, where: str) -> Iterator[Problem]:
    """The integrator exists, and `exact` only meets linear equations."""
    if item.method not in METHODS:
        fix = suggestion(item.method, set(METHODS)) or f"methods: {', '.join(METHODS)}"
        yield plain(f"{where}, method", f"there is no integrator '{item.method}'", fix, item.method)
    elif item.method == "exact":
        from neuro.linear import nonlinear_term

        for equation in scope.of_kind("differential"):
            try:
                term = nonlinear_term(equation, scope)
            except KeyError:
                continue  # an unknown name: reported by its own rule
            if term is not None:
                yield equation.source.problem(
                    f"'exact' needs linear equations, but d{equation.name}/dt has the nonlinear term {term}",
                    "use method='exponential_euler', 'rk2' or 'rk4'",
                )


def check_noise(item: Neuron, scope: NeuronScope) -> Iterator[Problem]:
    """Noise stands linearly in differential equations and is integrated by Euler-Maruyama."""
    for equation in scope.equations:
        used = [n for n in equation.expression.names if is_noise(n)] if equation.expression is not None else []
        if used and equation.kind != "differential":
            yield equation.source.problem(f"noise '{used[0]}' stands outside a differential equation", "move it there")
        elif used and item.method != "euler":
            yield equation.source.problem(
                f"noise '{used[0]}' can't be integrated by '{item.method}'", "use method='euler' (Euler-Maruyama)"
            )


def population(item: Population) -> Iterator[Problem]:
    where = f"population '{item.name}'"
    yield from check_name(item.name, where)
    if not isinstance(item.size, int) or item.size < 1:
        yield plain(where, f"the size {item.size!r} is not a positive number", "give a whole number of neurons")
        return
    scope = item.neuron.scope
    for name, value in item.parameters.items():
        if name not in scope.parameters:
            fix = suggestion(name, set(scope.parameters)) or f"parameters: {', '.join(scope.parameters)}"
            yield plain(where, f"neuron '{item.neuron.name}' has no parameter '{name}'", fix, name)
            continue
        place = f"{where}, parameter '{name}'"
        shared = any(e.name == name and "shared" in e.flags for e in scope.equations)
        for part in _parts(value):
            yield from check_same_unit(name, part, scope.dimensions[name], place)
            yield from check_shape(name, part, [] if shared else [(item.size,)], place)
            yield from check_finite(part, place)
        if isinstance(value, Quantity):
            yield from check_positive(name, value, place)
    yield from check_initial(item.initial, scope, where)
    for name, value in item.initial.items():
        for part in _parts(value):
            yield from check_shape(name, part, [(item.size,)], f"{where}, initial '{name}'")


def _parts(value: object) -> list[Quantity]:
    """The quantities of a value: itself, or the two of a distribution."""
    if isinstance(value, Quantity):
        return [value]
    return [part for part in vars(value).values() if isinstance(part, Quantity)]
