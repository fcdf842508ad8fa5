"""What the rules share: problems from text, values, names."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from neuro.equations import (
    CONSTANTS,
    FUNCTIONS,
    Equation,
    Expression,
    ModelError,
    Problem,
    Statement,
    dimension_of,
    suggestion,
)
from neuro.units import Dimension, Quantity, UnitError, is_unit_name, quantity, unit

RESERVED = {"t", "dt", "i", "j", "N", "xi", "lastspike", "not_refractory", "spikes"} | FUNCTIONS | CONSTANTS


class ModelWarning(UserWarning):
    """A definition that is legal but likely wrong."""


def enforce(problems: Iterable[Problem]) -> None:
    """Raise ModelError if there is any problem."""
    found = list(dict.fromkeys(problems))
    if found:
        raise ModelError(found)


def plain(where: str, message: str, fix: str, text: str = "") -> Problem:
    """A problem that is not at one place of the user's text."""
    return Problem(where, text, 0, len(text), message, fix)


def read_quantity(value: Any, where: str) -> Quantity:
    """quantity(), with the place in the error."""
    try:
        return quantity(value)
    except UnitError as error:
        text = value if isinstance(value, str) else ""
        raise ModelError([plain(where, str(error), "write a number and a unit, like '20 ms'", text)]) from None


def same_dimension(where: str, a: Quantity, b: Quantity) -> None:
    if a.dimension != b.dimension:
        message = f"'{a}' ({a.dimension}) and '{b}' ({b.dimension}) have different units"
        raise ModelError([plain(where, message, "give both the same unit")])


def unknown_name(name: str, known: Iterable[str], kind: str, where: str = "network") -> NoReturn:
    names = sorted(known)
    fix = suggestion(name, names) or f"known: {', '.join(names) or 'none'}"
    raise ModelError([plain(where, f"there is no {kind} '{name}'", fix, name)])


def caught(check: Callable[[], Any]) -> Iterator[Problem]:
    """The problems that a check raises."""
    try:
        check()
    except ModelError as error:
        yield from error.problems


def check_name(name: str, where: str) -> Iterator[Problem]:
    """Names are identifiers: they become dataset names, Brian2 names and C names."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or "__" in name or not name.isascii():
        yield plain(where, f"'{name}' can't be a name", "use letters, digits and single underscores", name)


def reserved_problem(name: str) -> str | None:
    """Why a variable can't have this name, or None."""
    if name in RESERVED or name.startswith("xi_"):
        return f"'{name}' is reserved"
    if is_unit_name(name):
        return f"'{name}' is the name of a unit"
    if name.endswith(("_pre", "_post")):
        return f"'{name}' is reserved: _pre and _post mark the cells of a synapse"
    if keyword.iskeyword(name) or name.startswith("_") or "__" in name:
        return f"'{name}' can't be a name"
    return None


def check_variable_names(equations: Iterable[Equation], parameters: Iterable[str], where: str) -> Iterator[Problem]:
    """Reserved names and names defined twice."""
    seen: set[str] = set()
    for equation in equations:
        why = reserved_problem(equation.name)
        if why:
            yield equation.source.problem(why, f"rename it, for example '{equation.name}_'", length=len(equation.name))
        if equation.name in seen:
            yield equation.source.problem(f"'{equation.name}' is defined twice", "remove or rename one of the two")
        seen.add(equation.name)
    for name in parameters:
        why = reserved_problem(name)
        if why:
            yield plain(f"{where}, parameters", why, f"rename it, for example '{name}_'", name)
    for equation in equations:
        if equation.name in set(parameters) and equation.kind != "declaration":
            message = f"'{equation.name}' is both an equation and a parameter"
            yield equation.source.problem(message, "remove the parameter or the equation")


def check_expression(
    expression: Expression, names: Mapping[str, Dimension], wanted: Dimension, what: str
) -> Iterator[Problem]:
    """Identifiers known, units consistent, value of the wanted dimension."""

    def check() -> None:
        found = dimension_of(expression, names)
        if found == "boolean":
            raise expression.source.fail(
                f"{what} is a condition, a number is needed", "wrap it in int(...)", expression.tree
            )
        if found != wanted:
            raise expression.source.fail(
                f"{what} is in {found}, but {wanted} is needed", f"make the right-hand side {wanted}", expression.tree
            )

    yield from caught(check)


def check_equations(equations: Iterable[Equation], names: Mapping[str, Dimension]) -> Iterator[Problem]:
    """Units of every equation."""
    for equation in equations:
        if equation.expression is None:
            continue
        wanted = equation.dimension
        if equation.kind == "differential":
            wanted = wanted / unit("second").dimension
        what = f"d{equation.name}/dt" if equation.kind == "differential" else f"'{equation.name}'"
        yield from check_expression(equation.expression, names, wanted, what)


def check_statement(statement: Statement, names: Mapping[str, Dimension]) -> Iterator[Problem]:
    """Units of a statement whose target is known."""
    wanted = names[statement.target]
    if statement.op in ("*=", "/="):
        wanted = wanted / wanted
    yield from check_expression(statement.expression, names, wanted, f"the value for '{statement.target}'")


def check_cycles(equations: Iterable[Equation]) -> Iterator[Problem]:
    """Subexpressions must not need themselves."""
    table = {e.name: e for e in equations if e.kind == "subexpression"}

    def reaches(name: str, goal: str, seen: set[str]) -> bool:
        expression = table[name].expression
        for used in expression.names if expression else ():
            if used == goal or (used in table and used not in seen and reaches(used, goal, seen | {used})):
                return True
        return False

    for name, equation in table.items():
        if reaches(name, name, {name}):
            message = f"'{name}' depends on itself"
            yield equation.source.problem(message, "break the loop: make one of them a state variable")


def check_finite(item: Quantity, where: str) -> Iterator[Problem]:
    if not np.isfinite(item.value).all():
        yield plain(where, f"the value {_sample(item)} is not finite", "give finite numbers", str(item))


def check_positive(name: str, item: Quantity, where: str) -> Iterator[Problem]:
    """Times, capacitances and resistances are positive; conductances are not negative."""
    value = np.asarray(item.value)
    strict = item.dimension in (unit("second").dimension, unit("farad").dimension, unit("ohm").dimension)
    if strict and not (value > 0).all():
        yield plain(where, f"'{name}' must be positive", "give a positive value", str(item))
    elif item.dimension == unit("siemens").dimension and not (value >= 0).all():
        yield plain(where, f"'{name}' must not be negative", "give a conductance of at least 0", str(item))


def _sample(item: Quantity) -> str:
    value = np.asarray(item.value).ravel()
    bad = value[~np.isfinite(value)]
    return str(bad[0]) if bad.size else str(item)


def check_same_unit(name: str, item: Quantity, wanted: Dimension, where: str) -> Iterator[Problem]:
    if item.dimension != wanted:
        yield plain(
            where, f"'{name}' is in {item.dimension}, but {wanted} is needed", f"give it in {wanted}", str(item)
        )


def check_shape(name: str, item: Quantity, allowed: Iterable[tuple[int, ...]], where: str) -> Iterator[Problem]:
    shapes = [(), *allowed]
    if item.shape not in shapes:
        wanted = " or ".join(str(list(s)) for s in shapes[1:])
        yield plain(
            where, f"'{name}' has the shape {list(item.shape)}", f"give one value, or an array {wanted}", str(item)
        )
