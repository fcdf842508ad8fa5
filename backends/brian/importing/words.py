"""Brian2's text in this language's words: names that are free here, constants as parameters, tables of time as inputs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from backends.brian.devices import DEFAULT_FUNCTIONS, DEFAULT_UNITS, brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.errors import NotImportedError
from neuro.checks.common import check_positive, other_name, reserved_problem
from neuro.language.equations import CONSTANTS
from neuro.language.units import Dimension, Quantity, is_unit_name, unit, usual_unit

PARAMETER, DIFFERENTIAL = (
    "parameter",
    "differential equation",
)  # kinds of equations, in Brian2's words; a parameter is a declared variable


def dimension(dim: Any) -> Dimension:
    """Brian2's dimension as ours."""
    return Dimension(tuple(Fraction(float(d)).limit_denominator(1000) for d in dim._dims))


def si(value: Any, dim: Any) -> Quantity:
    """SI numbers, as Brian2 stores them, and a unit in which rules of learning find them of some size."""
    found, own = np.asarray(value, np.float64), dimension(dim)
    return Quantity(float(found) if found.ndim == 0 else found.copy(), own, usual_unit(own))


def free(name: str, taken: Iterable[str]) -> str:
    """A name like this one that a variable can have and nobody has."""
    found, number = name if reserved_problem(name) is None else other_name(name), 1
    while found in taken or reserved_problem(found) is not None:
        number += 1
        found = f"{name.strip('_')}_{number}"
    return found


@dataclass(frozen=True)
class Table:
    """A TimedArray as somebody reads it. time, cell: the text of its arguments; cell is empty where there is one column."""

    array: Any
    time: str
    cell: str


@dataclass
class Words:
    """Texts of one group. names: its variables in Brian2 -> ours. counts: names that stand for one number.

    constants, tables: what the texts read so far take from outside, by our name. Synapses have the tables of their targets: suffix is theirs, beside what
    is called something there.
    """

    group: Any
    namespace: Mapping[str, Any]
    names: dict[str, str]
    counts: Mapping[str, str] = field(default_factory=dict)
    constants: dict[str, Quantity] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)  # constants, Brian2's name -> ours
    inlined: dict[str, ast.expr] = field(default_factory=dict)  # variables that are written out wherever they are read
    held: dict[str, Dimension] = field(default_factory=dict)  # variables that only statements knew, by our name
    suffix: str = ""
    beside: frozenset[str] = frozenset()

    @property
    def taken(self) -> set[str]:
        return {*self.names.values(), *self.renamed.values(), *self.tables, *self.held, *self.beside}

    def expression(self, text: str) -> str:
        return ast.unparse(self.tree(text))

    def tree(self, text: str) -> ast.expr:
        found: ast.expr = Rewriter(self, self.inlined).visit(self.parsed(text))
        return found

    def parsed(self, text: str) -> ast.expr:
        clean = " ".join(text.split())
        try:
            return ast.parse(clean, mode="eval").body
        except SyntaxError:
            raise self.refused(f"'{clean}' is no expression", "write one expression") from None

    def hold(self, name: str, kept: Dimension) -> str:
        """A variable that only some statements know gets a place among the variables, whose name no other text can mean."""
        own = free(name, self.taken)
        self.held[own] = kept
        return own

    def held_lines(self) -> list[str]:
        return [f"{name} : {kept}" for name, kept in self.held.items()]

    # -- names from outside --------------------------------------------------------------------------------------------

    def resolved(self, name: str) -> Any:
        """What Brian2 finds under a name: a Constant, a Function or a variable."""
        try:
            return self.group._resolve(name, self.namespace, user_identifier=False)
        except KeyError:
            fix = "define it before the import, or give it in namespace={...}"
            raise self.refused(f"nothing is known of '{name}' in its text", fix) from None

    def name(self, name: str) -> ast.expr:
        """A name that is no variable of the group."""
        if name in self.counts:
            return _tree(self.counts[name])
        if name in CONSTANTS or name in self.given or name in self.noise:
            return ast.Name(name)
        if name == "t_in_timesteps":
            return _tree("timestep(t, dt)")
        if name in DEFAULT_UNITS:
            return self.unit(name)
        found = self.resolved(name)
        if not isinstance(found, brian2.core.variables.Constant):
            raise self.refused(
                f"'{name}' in its text is neither a variable of it nor a number", "use numbers and variables"
            )
        return self.constant(name, si(found.get_value(), found.dim))

    @property
    def given(self) -> set[str]:
        """Names that mean the same here; `j` is a user's own where there are no synapses."""
        return {"t", "dt", *({"i", "j", "lastspike", "not_refractory"} & self.group.variables.keys())}

    @property
    def noise(self) -> set[str]:
        """Brian2 takes `xi` and `xi_...` for noise in equations alone."""
        equations = getattr(self.group, "equations", None)
        return set(equations.stochastic_variables) if equations is not None else set()

    def truth(self, node: ast.expr) -> ast.expr | None:
        """A name that stands for True or False outside, as a condition."""
        if not isinstance(node, ast.Name) or node.id in self.names or self.name_is_own(node.id):
            return None
        found = self.resolved(node.id)
        if not isinstance(found, brian2.core.variables.Constant) or found.dtype != bool:
            return None
        return _tree("1 > 0" if found.get_value() else "1 < 0")

    def name_is_own(self, name: str) -> bool:
        """Whether a name means the same here, without a look at what stands outside."""
        own = name in self.counts or name in CONSTANTS or name in self.given or name in self.noise
        return own or name == "t_in_timesteps" or name in DEFAULT_UNITS

    def unit(self, name: str) -> ast.expr:
        value = DEFAULT_UNITS[name]
        same = is_unit_name(name) and unit(name).value == float(value)
        return ast.Name(name) if same else _tree(literal(si(float(value), value.dim)))

    def constant(self, name: str, value: Quantity) -> ast.expr:
        """A number as a parameter; written out where it is none that a parameter may have."""
        if name not in self.renamed:
            if not np.isfinite(value.value) or any(check_positive(name, value, "")):
                return _tree(literal(value))
            self.renamed[name] = free(name, self.taken)
            self.constants[self.renamed[name]] = value
        return ast.Name(self.renamed[name])

    def number(self, tree: ast.expr) -> float | None:
        """The value of an expression of numbers alone, or None."""
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        if any(isinstance(n, ast.Call) for n in ast.walk(tree)) or any(
            n in self.names or n in ("t", "dt", "i", "j") for n in names
        ):
            return None
        try:
            values = {n: self.value(n) for n in names}
            return float(eval(compile(ast.Expression(tree), "", "eval"), {"__builtins__": {}}, values))
        except (AttributeError, NotImportedError, ArithmeticError, TypeError, ValueError):
            return None

    def value(self, name: str) -> float:
        """SI value of a number's name or a unit's."""
        if name in self.counts:
            return float(self.counts[name])
        return float(DEFAULT_UNITS[name] if name in DEFAULT_UNITS else self.resolved(name).get_value())

    def call(self, node: ast.Call, visit: Callable[[ast.expr], ast.expr]) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name in DEFAULT_FUNCTIONS:
            return ast.Call(ast.Name(name), [visit(a) for a in node.args], [])
        found = self.resolved(name)
        if not isinstance(found, brian2.TimedArray):
            reason = f"'{name}' is a function of its own code"
            raise self.refused(reason, "write what it computes as an expression, or its values as a TimedArray")
        arguments = [ast.unparse(a) for a in node.args]
        if self.suffix and arguments != ["t"]:
            reason = f"its text reads the TimedArray '{name}' at '{', '.join(arguments)}'"
            raise self.refused(reason, "read it at 't', or in a variable of the cells")
        table = Table(found, arguments[0], arguments[1] if len(arguments) > 1 else "")
        for known, other in self.tables.items():
            if (other.array is table.array) and (other.time, other.cell) == (table.time, table.cell):
                return ast.Name(known + self.suffix)
        own = free(name, self.taken)
        self.tables[own] = table
        return ast.Name(own + self.suffix)

    def refused(self, reason: str, fix: str) -> NotImportedError:
        return NotImportedError(self.group.name, reason, fix)


class Rewriter(ast.NodeTransformer):
    """Brian2's tree in our words. known: what is put in the place of a name."""

    def __init__(self, words: Words, known: Mapping[str, ast.expr]) -> None:
        self.words, self.known = words, known

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in self.known:
            return self.known[node.id]
        return ast.Name(self.words.names[node.id]) if node.id in self.words.names else self.words.name(node.id)

    def visit_Constant(self, node: ast.Constant) -> Any:
        return _tree("1 > 0" if node.value else "1 < 0") if isinstance(node.value, bool) else node

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        return ast.BoolOp(node.op, [self.condition(value) for value in node.values])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        return (
            ast.UnaryOp(node.op, self.condition(node.operand))
            if isinstance(node.op, ast.Not)
            else self.generic_visit(node)
        )

    def condition(self, node: ast.expr) -> ast.expr:
        """What stands where a truth value is asked for; a name of this text comes before what it means outside."""
        found: ast.expr = (None if self.own(node) else self.words.truth(node)) or self.visit(node)
        return found

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        power = self.number(node.right) if isinstance(node.op, ast.Pow) else None
        if power is None:
            return self.generic_visit(node)
        whole = power.is_integer() and abs(power) < 2**31
        return ast.BinOp(self.visit(node.left), node.op, _tree(repr(int(power) if whole else power)))

    def visit_Call(self, node: ast.Call) -> Any:
        own = self.own(node)
        if own and ast.unparse(node.func) not in DEFAULT_FUNCTIONS:
            reason = f"'{ast.unparse(node)}' reads '{min(own)}', which a text of it assigns or draws"
            raise self.words.refused(reason, "give it the time, the cell's number `i`, and parameters that stay")
        return self.words.call(node, self.argument)

    def argument(self, node: ast.expr) -> ast.expr:
        """`inf*mV` as inf, which clip() takes without a unit."""
        found: ast.expr = ast.Name("inf") if self.number(node) == np.inf else self.visit(node)
        return found

    def number(self, node: ast.expr) -> float | None:
        """What a name stands for here comes before what it means outside."""
        return None if self.own(node) else self.words.number(node)

    def own(self, node: ast.AST) -> set[str]:
        return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in self.known}


def literal(value: Quantity) -> str:
    """A number with its unit, written out."""
    number = float(value.value)
    if np.isnan(number):
        return "(inf - inf)"
    text = ("inf" if number > 0 else "(-inf)") if np.isinf(number) else repr(number)
    parts = [f"{n}**({p})" for n, p in zip(_BASES, value.dimension.exponents, strict=True) if p]
    return f"({'*'.join([text, *parts])})"


_BASES = ("meter", "kilogram", "second", "amp", "kelvin", "mole", "candela")


def _tree(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
