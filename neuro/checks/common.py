"""What the rules share: problems from text, values, names."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from neuro.language.dimensions import dimension_of, fits_all, is_whole
from neuro.language.equations import (
    CONSTANTS,
    FUNCTIONS,
    Equation,
    Expression,
    ModelError,
    Problem,
    Statement,
    suggestion,
)
from neuro.language.foreign import shown
from neuro.language.scope import METHODS, STRATONOVICH, NeuronScope, SynapseScope
from neuro.language.units import Dimension, Quantity, Truth, UnitError, Whole, is_unit_name, quantity, unit, usual_unit

_MEANINGS = {
    "t": "it is the time",
    "dt": "it is the time step",
    "xi": "it is noise",
    "lastspike": "it is the time of a cell's last spike",
    "not_refractory": "it says which cells are not refractory",
    "spikes": "it stands for what a run gives",
}
RESERVED = {*_MEANINGS} | FUNCTIONS | CONSTANTS

_FIELDS = ("weights", "weight", "delay", "rate", "refractory", "dt")  # quantities that have a place of their own
_LARGEST_SIZE = 2**53


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


def check_size(size: Any, where: str, what: str) -> Iterator[Problem]:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        yield plain(where, f"the size {shown(size)} is not a positive whole number", f"give a whole number of {what}")
    elif size > _LARGEST_SIZE:
        yield plain(where, f"the size {shown(size)} fits no machine", f"give fewer {what}")


def check_name(name: Any, where: str) -> Iterator[Problem]:
    """Names are identifiers: they become dataset names, Brian2 names and C names."""
    if not isinstance(name, str):
        yield plain(where, f"{shown(name)} can't be a name", "give the name as text")
    elif (why := _fault(name)) is not None:
        yield plain(where, f"'{name}' can't be a name: {why}", "use letters, digits and single underscores", name)


def _fault(name: str) -> str | None:
    """Why a text is no name, or None."""
    foreign = next((c for c in name if not c.isascii()), None)
    broken = next((c for c in name if not (c.isalnum() or c == "_")), None)
    if not name:
        return "it is empty"
    if foreign is not None:
        return f"it holds {foreign!a}, which is not an ASCII letter"
    if broken is not None:
        return f"it holds {broken!r}"
    if name[0].isdigit():
        return "it begins with a digit"
    if keyword.iskeyword(name):
        return "it is a word of Python"
    if name.startswith("_"):
        return "it begins with an underscore"
    return "two underscores in a row are kept for generated names" if "__" in name else None


def reserved_problem(name: str) -> str | None:
    """Why a variable can't have this name, or None."""
    if name in FUNCTIONS:
        return f"'{name}' is reserved: it is a function"
    if name in RESERVED or name.startswith("xi_"):
        return (
            f"'{name}' is reserved: {_MEANINGS.get(name, 'it is a constant' if name in CONSTANTS else 'it is noise')}"
        )
    if is_unit_name(name):
        return f"'{name}' is the name of a unit"
    if f"_{name}".endswith(("_pre", "_post")):  # "pre" and "post" too: a cell's "new_" read at an end is "new__post"
        return f"'{name}' is reserved: _pre and _post mark the cells of a synapse"
    why = _fault(name)
    return None if why is None else f"{name!a} can't be a name: {why}"


def other_name(name: str) -> str:
    """A name like this one that a variable can have."""
    cleaned = "_".join(part for part in re.split(r"[^A-Za-z0-9]+", name) if part) or "x"
    tries = (cleaned, f"{cleaned}_", f"x_{cleaned}")
    return next((n for n in tries if n != name and reserved_problem(n) is None), "x")


def check_variable_names(
    equations: Iterable[Equation], parameters: Iterable[str], where: str, *, generated: bool = False
) -> Iterator[Problem]:
    """Reserved names and names defined twice. generated: names with "__" are allowed."""
    seen: set[str] = set()
    for equation in equations:
        why = None if generated and "__" in equation.name else reserved_problem(equation.name)
        if why:
            yield equation.source.problem(
                why, f"rename it, for example '{other_name(equation.name)}'", length=len(equation.name)
            )
        if equation.name in seen:
            yield equation.source.problem(f"'{equation.name}' is defined twice", "remove or rename one of the two")
        seen.add(equation.name)
    for name in parameters:
        why = None if generated and "__" in name else reserved_problem(name)
        if why:
            yield plain(f"{where}, parameters", why, f"rename it, for example '{other_name(name)}'", name)
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
        if isinstance(wanted, Truth) and found != "boolean":
            fix = "compare, like 'v > v_th', or declare it ': 1'"
            raise expression.source.fail(f"{what} is a number, a condition is needed", fix, expression.tree)
        if isinstance(wanted, Whole) and not is_whole(expression.tree, names):
            fix = "write int(...) around it, or declare it ': 1'"
            raise expression.source.fail(f"{what} may have digits, which an integer loses", fix, expression.tree)
        if found == "boolean" and wanted.dimensionless:
            return
        if found == "boolean":
            raise expression.source.fail(
                f"{what} is a condition, a number is needed", "wrap it in int(...)", expression.tree
            )
        if found != wanted and not fits_all(expression.tree):
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
        if equation.kind == "differential" and isinstance(wanted, Whole):
            yield equation.source.problem(f"'{equation.unit}' can't change continuously", "use the unit 1")
            continue
        if equation.kind == "differential":
            wanted = wanted / unit("second").dimension
        what = f"d{equation.name}/dt" if equation.kind == "differential" else f"'{equation.name}'"
        yield from check_expression(equation.expression, names, wanted, what)


def check_statement(statement: Statement, names: Mapping[str, Dimension]) -> Iterator[Problem]:
    """Units of a statement whose target is known."""
    wanted = names[statement.target]
    if isinstance(wanted, Truth if statement.op != "/=" else Whole) and statement.op != "=":
        kind, fix = ("a condition", "x = a or b") if isinstance(wanted, Truth) else ("an integer", "x = x // 2")
        yield statement.source.problem(f"'{statement.op}' is no operation on {kind}", f"write it like '{fix}'")
        return
    if statement.op in ("*=", "/=") and not isinstance(wanted, Whole):
        wanted = wanted / wanted
    yield from check_expression(statement.expression, names, wanted, f"the value for '{statement.target}'")


def check_cycles(equations: Iterable[Equation]) -> Iterator[Problem]:
    """Subexpressions must not need themselves."""
    table = {e.name: e for e in equations if e.kind in ("subexpression", "held")}

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


def check_early(statement: Statement, inputs: Callable[[str], set[str]]) -> Iterator[Problem]:
    """What runs at the start of a step reads no input. inputs: those that a name is made of."""
    for node in statement.expression.name_nodes():
        for name in sorted(inputs(node.id))[:1]:
            through = "" if node.id.removesuffix("_pre").removesuffix("_post") == name else f" (through '{node.id}')"
            message = f"'{name}' is read{through} at the start of a step, before its value of this step is formed"
            yield statement.expression.source.problem(message, "read it in every_step, or make it a state", node)


def check_finite(item: Quantity, where: str) -> Iterator[Problem]:
    if not np.isfinite(item.value).all():
        yield plain(where, f"the value {_sample(item)} is not finite", "give finite numbers", str(item))


def least(dimension: Dimension) -> tuple[float, bool]:
    """The least value of a parameter of this dimension, and whether it may have that very value."""
    if dimension in (unit("second").dimension, unit("farad").dimension, unit("ohm").dimension):
        return 0.0, False
    return (0.0 if dimension == unit("siemens").dimension else -np.inf), True


def check_positive(name: str, item: Quantity, where: str) -> Iterator[Problem]:
    """Times, capacitances and resistances are positive; conductances are not negative."""
    value, (low, included) = np.asarray(item.value), least(item.dimension)
    wrong = ~(value >= low if included else value > low)
    if wrong.any():
        first = ", ".join(str(int(k)) for k in np.argwhere(wrong)[0])
        at = f"; that of [{first}] is {Quantity(float(value[wrong][0]), item.dimension, item.unit)}" if first else ""
        if included:
            yield plain(where, f"'{name}' must not be negative{at}", "give a conductance of at least 0", str(item))
        else:
            yield plain(where, f"'{name}' must be positive{at}", "give a positive value", str(item))


def check_dale(sign: str | None, item: Quantity, where: str) -> Iterator[Problem]:
    """All weights of a projection with a sign have it, or are 0."""
    wrong = {"+": np.less, "-": np.greater}.get(sign or "")
    if wrong is not None and np.any(wrong(item.value, 0)):
        kinds = ("negative", "positive") if sign == "+" else ("positive", "negative")
        fix = f"make the weights {kinds[1]} or drop the sign"
        yield plain(where, f"sign '{sign}' but a weight is {kinds[0]}", fix, str(item))


def check_value(
    name: str, item: Quantity, where: str, pair: tuple[Quantity | None, Quantity | None] = (None, None),
    *, weight: bool = False, sign: str | None = None, rounding: float = 0.0,
) -> Iterator[Problem]:  # fmt: skip
    """Every rule for the numbers of a parameter or weight, in a definition, drawn, or given to a run.

    rounding: how far beyond a bound a value may lie, relative to the bound.
    """
    yield from check_finite(item, where)
    if not weight:
        yield from check_positive(name, item, where)
    yield from check_dale(sign, item, where)
    yield from check_within(pair, item, f"{where}, bounds", f"'{name}' =", rounding)


def _sample(item: Quantity) -> str:
    value = np.asarray(item.value).ravel()
    bad = value[~np.isfinite(value)]
    return str(bad[0]) if bad.size else str(item)


def check_same_unit(name: str, item: Quantity, wanted: Dimension, where: str) -> Iterator[Problem]:
    if item.dimension != wanted:
        fix = f"give it in {wanted}"
        if item.unit == "1" and not wanted.dimensionless:  # plain numbers
            place = f"{name}=" if name in _FIELDS else f"'{name}': " if name.isidentifier() else ""
            fix = f"write {place}quantity({'array' if item.shape else str(item)}, '{usual_unit(wanted)}')"
        yield plain(where, f"'{name}' is in {item.dimension}, but {wanted} is needed", fix, str(item))
    elif isinstance(wanted, Whole):
        values = np.asarray(item.value)
        fits = (values == 0) | (values == 1) if isinstance(wanted, Truth) else values == np.floor(values)
        if not fits.all():
            kind = "a condition, which is 0 or 1" if isinstance(wanted, Truth) else "an integer"
            yield plain(where, f"'{name}' is {kind}", "give such values, or declare it ': 1'", str(item))


def check_shape(name: str, item: Quantity, allowed: Iterable[tuple[int, ...]], where: str) -> Iterator[Problem]:
    shapes = [(), *allowed]
    if item.shape not in shapes:
        fix = " or ".join(["give one value", *(f"an array {list(s)}" for s in shapes[1:])])
        yield plain(where, f"'{name}' has the shape {list(item.shape)}", fix, str(item))


def pair(item: Any) -> Iterator[Problem]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        yield plain("bounds", f"{item!r} is no pair", "give (low, high); None leaves one side open")


def check_bounds(
    pair: tuple[Quantity | None, Quantity | None], item: Quantity, where: str, name: str = "the value"
) -> Iterator[Problem]:
    """Bounds in the value's unit, in order, around the value."""
    given = [b for b in pair if b is not None]
    problems = [p for b in given for p in check_same_unit("a bound", b, item.dimension, where)]
    problems += [p for b in given for p in check_shape("a bound", b, [item.shape] if item.shape else [], where)]
    yield from problems
    if problems:
        return
    low, high = (limit if b is None else b.value for b, limit in zip(pair, (-np.inf, np.inf), strict=True))
    if not np.all(np.asarray(low) < np.asarray(high)):
        yield plain(where, f"the lower bound {pair[0]} is not below the upper bound {pair[1]}", "swap them")
    else:
        yield from check_within(pair, item, where, name)


def check_within(
    pair: tuple[Quantity | None, Quantity | None], item: Quantity, where: str, name: str, rounding: float = 0.0
) -> Iterator[Problem]:
    """No number beyond its bounds, which have its unit and broadcast against it."""
    for bound, side in zip(pair, (1, -1), strict=True):
        if bound is not None and np.any(side * (item.value - bound.value) < -rounding * np.abs(bound.value)):
            message = f"{name} {item} lies outside its bounds ({pair[0]}, {pair[1]})"
            yield plain(where, message, "change the value or the bounds", str(item))
            return


def parts_of(value: object) -> list[Quantity]:
    """The quantities of a value: itself, or those of a distribution."""
    if isinstance(value, Quantity):
        return [value]
    return [part for part in vars(value).values() if isinstance(part, Quantity)]


def check_method(method: str, scope: NeuronScope | SynapseScope, where: str) -> Iterator[Problem]:
    """The integrator exists; `exact` and `exponential_euler` only meet equations that are linear enough."""
    if method not in METHODS:
        fix = suggestion(method, set(METHODS)) or f"methods: {', '.join(METHODS)}"
        yield plain(f"{where}, method", f"there is no integrator '{method}'", fix, method)
    elif (
        method in STRATONOVICH
        and scope.of_kind("differential")
        and not (isinstance(scope, NeuronScope) and scope.white_noise)
    ):
        message = f"'{method}' is for noise, and there is none: without it, it is Euler's method"
        yield plain(f"{where}, method", message, "use method='euler', or 'rk2', which is more exact", method)
    elif method in ("exact", "exponential_euler"):
        from neuro.language.linear import nonlinear_term  # sympy loads when it is first needed

        for equation in (e for e in scope.of_kind("differential") if "event-driven" not in e.flags):
            term = nonlinear_term(equation, scope, method)
            if term is not None and (expression := equation.expression) is not None:
                needs = "linear equations" if method == "exact" else f"an equation linear in {equation.name}"
                yield expression.source.problem(
                    f"'{method}' needs {needs}, but d{equation.name}/dt has the nonlinear term {expression.piece(term)}",
                    "use method='exponential_euler', 'rk2' or 'rk4'" if method == "exact" else "use 'rk2' or 'rk4'",
                    term,
                )
