"""Model text -> syntax trees with positions, through a whitelisted ast walk. Nothing is ever evaluated.

The grammar is Brian2's: `dv/dt = expr : unit (flags)`, `x = expr : unit`, `x : unit (flags)`, and statements
`v = expr`, `g += expr` for resets, events and per-step updates.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from neuro.language.drawn import DRAWN, Named
from neuro.language.units import Dimension, UnitError, unit

FLAGS = {"constant", "shared", "unless refractory", "event-driven", "clock-driven", "constant over dt"}

# Functions of one dimensionless argument; the value is dimensionless.
PLAIN_FUNCTIONS = {
    *("exp", "log", "log10", "log1p", "expm1", "exprel", "sigmoid"),
    *("sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan"),
}
KEEP_FUNCTIONS = {"abs", "floor", "ceil", "relu"}  # the value has the argument's dimension
FUNCTIONS = PLAIN_FUNCTIONS | KEEP_FUNCTIONS | {"sqrt", "sign", "clip", "int", "timestep", "straight_through"}
CONSTANTS = {"pi", "inf"}
_ARITY = dict.fromkeys(FUNCTIONS, 1) | {"clip": 3, "timestep": 2, "straight_through": 2}


@dataclass(frozen=True)
class Problem:
    """One broken rule: the user's text with the place in it, what is wrong, and the fix."""

    where: str
    text: str
    start: int
    end: int
    message: str
    fix: str

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.message}"]
        if self.text:
            caret = " " * self.start + "^" + "~" * max(0, self.end - self.start - 1)
            lines += [f"    {self.text}", f"    {caret}"]
        return "\n".join([*lines, f"  fix: {self.fix}"])


class ModelError(Exception):
    """A definition breaks rules; `problems` lists every one of them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(["", *map(str, problems)]))

    def __reduce__(self) -> tuple[Any, ...]:
        """Comes out of a worker process as it was."""
        return type(self), (self.problems,)


@dataclass(frozen=True)
class Source:
    """One line of the user's text: where it stands, and the column at which a piece of it begins."""

    where: str
    text: str
    offset: int = 0

    def problem(self, message: str, fix: str, node: ast.AST | None = None, length: int | None = None) -> Problem:
        """What is wrong at a node of the line's tree, or at all of it. length: characters that are marked where there is no node."""
        start, end = self.offset, self.offset + (length or max(1, len(self.text) - self.offset))
        if isinstance(node, ast.expr):
            start = self.offset + node.col_offset - 1  # parsed within one added parenthesis
            end = self.offset + (node.end_col_offset or node.col_offset + 1) - 1
        return Problem(self.where, self.text, start, end, message, fix)

    def fail(self, message: str, fix: str, node: ast.AST | None = None) -> ModelError:
        """The error with that one problem, to be raised."""
        return ModelError([self.problem(message, fix, node)])

    def piece(self, start: int) -> Source:
        """The rest of the line from a column on."""
        return Source(self.where, self.text, self.offset + start)


@dataclass(frozen=True)
class Expression:
    """An expression's text and syntax tree. draws: what the names of its drawn numbers hold; nothing where none may stand."""

    text: str
    source: Source
    draws: str = ""

    @cached_property
    def tree(self) -> ast.expr:
        """Its syntax tree. Raises ModelError where it is no expression of the language."""
        tree = _parse(self.text, self.source, bool(self.draws))
        return Named(self.draws, tree).visit(tree) if self.draws else tree

    def piece(self, node: ast.expr) -> str:
        """The user's text of one node of the tree."""
        return self.text[node.col_offset - 1 : (node.end_col_offset or 0) - 1]  # parsed within one added parenthesis

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Identifiers in order of appearance, without functions, units and constants."""
        return tuple(dict.fromkeys(node.id for node in self.name_nodes()))

    def name_nodes(self) -> Iterator[ast.Name]:
        """Nodes of its names in order of appearance, those of functions left out."""
        called = {id(node.func) for node in ast.walk(self.tree) if isinstance(node, ast.Call)}
        found = [n for n in ast.walk(self.tree) if isinstance(n, ast.Name) and id(n) not in called]
        yield from sorted(found, key=lambda node: node.col_offset)


@dataclass(frozen=True)
class Equation:
    """One line of an equations block. held: a subexpression that is formed at the start of a step, and kept for it."""

    name: str
    kind: Literal["differential", "subexpression", "declaration", "held"]
    unit: str
    flags: frozenset[str]
    source: Source
    expression: Expression | None = None

    @property
    def dimension(self) -> Dimension:
        """That of its unit."""
        return unit(self.unit).dimension


@dataclass(frozen=True)
class Statement:
    """`target op expression`, op one of = += -= *= /=. pathway: the label before it, "" where it has none."""

    target: str
    op: str
    expression: Expression
    source: Source
    pathway: str = ""

    @property
    def label(self) -> str:
        """As text stands before it."""
        return f"{self.pathway}: " if self.pathway else ""


_ALLOWED = (
    ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Call, ast.Name, ast.Constant, ast.Load,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Pow, ast.Mod, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or,
    ast.Gt, ast.GtE, ast.Lt, ast.LtE, ast.Eq, ast.NotEq,
)  # fmt: skip


_MAX_LENGTH, _MAX_DEPTH, _MAX_POWER = 5000, 100, 100
_LARGEST = sys.float_info.max


def _parse(text: str, source: Source, draws: bool) -> ast.expr:
    _check_text(text, source)
    try:
        tree = ast.parse(f"({text})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None) or 1
        raise source.piece(min(max(column - 2, 0), max(len(text) - 1, 0))).fail(
            "this is not an expression", "check parentheses and operators; powers are written x**2"
        ) from None
    if _depth(tree) > _MAX_DEPTH:
        raise source.fail("the expression is nested too deeply", "split it into named subexpressions")
    for node in ast.walk(tree):
        _check_node(node, source, draws)
    return tree


def _check_text(text: str, source: Source) -> None:
    """Short, ASCII, parentheses that close: what then parses within parentheses is one expression."""
    if len(text) > _MAX_LENGTH:
        raise source.fail("the expression is too long", "split it into named subexpressions")
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            problem = source.piece(place).problem("this parenthesis closes nothing", "remove it, or open one", length=1)
            raise ModelError([problem])
        if not character.isascii() or not character.isprintable():
            problem = source.piece(place).problem(
                f"the character {character!a} is not allowed", "use ASCII: letters, digits, operators", length=1
            )
            raise ModelError([problem])


def _depth(tree: ast.expr) -> int:
    """Levels of nesting, counted without recursion; a sum of n terms has n."""
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return depth


def _check_node(node: ast.AST, source: Source, draws: bool) -> None:
    if not isinstance(node, _ALLOWED):
        what = type(node).__name__
        raise source.fail(
            f"{what} is not allowed in a model", "use arithmetic, comparisons and the listed functions", node
        )
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, int | float):
            raise source.fail(f"{node.value!r} is not a number", "models hold numbers and names only", node)
        if not abs(node.value) < _LARGEST:
            raise source.fail("this number is too large", "use a smaller number, or inf", node)
    if isinstance(node, ast.Compare) and len(node.ops) != 1:
        raise source.fail("chained comparisons are not allowed", "write 'a < b and b < c'", node)
    if isinstance(node, ast.Call):
        _check_call(node, source, draws)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        _check_power(node, source)


def _check_power(node: ast.BinOp, source: Source) -> None:
    """Powers of numbers are computed when a model is read, so towers such as 9**9**9 are refused."""
    power = literal(node.right)
    if power is None and not _has_names(node.right):
        raise source.fail("this exponent is no plain number", "write it out, like x**2 or x**(1/3)", node.right)
    if power is not None and abs(power) > _MAX_POWER:
        raise source.fail(f"the exponent {power:g} is too large", f"exponents go up to {_MAX_POWER}", node.right)
    if any(isinstance(n, ast.Pow) for n in ast.walk(node.left)) and not _has_names(node.left):
        raise source.fail("this is a power of a power of numbers", "write the number out, like 1e9", node)


def _has_names(tree: ast.expr) -> bool:
    return any(isinstance(n, ast.Name) for n in ast.walk(tree))


def _check_call(node: ast.Call, source: Source, draws: bool) -> None:
    if not isinstance(node.func, ast.Name) or node.keywords:
        raise source.fail("only plain function calls are allowed", f"functions: {', '.join(sorted(FUNCTIONS))}", node)
    name = node.func.id
    if name in DRAWN and draws:
        wanted = int(name == "poisson")
        if len(node.args) != wanted:
            takes = "one argument" if wanted else "no argument"
            raise source.fail(
                f"{name}() takes {takes}", f"write {DRAWN[name]} for each cell, or synapse, and step", node
            )
        return
    if name in DRAWN:
        what = "stands in a neuron's threshold, its refractory text, its statements and what is constant over dt alone; and in a synapse's of these"
        fix = "write noise as xi (units second**-0.5), inputs as Input(...)"
        raise source.fail(f"{name}() {what}", fix, node)
    if name not in FUNCTIONS:
        close = suggestion(name, FUNCTIONS)
        raise source.fail(f"unknown function '{name}'", close or f"functions: {', '.join(sorted(FUNCTIONS))}", node)
    if len(node.args) != _ARITY[name]:
        raise source.fail(f"{name}() takes {_ARITY[name]} argument(s), not {len(node.args)}", "fix the call", node)


def suggestion(name: str, candidates: set[str] | list[str]) -> str | None:
    """A "did you mean" sentence, or None."""
    import difflib

    close = difflib.get_close_matches(name, sorted(candidates), n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else None


def _lines(block: str, where: str) -> Iterator[Source]:
    """Lines without comments; a line goes on while a parenthesis is open."""
    pending, first = "", 0
    for number, raw in enumerate(block.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        first = first if pending else number
        pending = f"{pending} {line}".strip()
        if pending and pending.count("(") <= pending.count(")"):
            yield Source(f"{where}, line {first}", pending)
            pending = ""
    if pending:
        yield Source(f"{where}, line {first}", pending)


_EQUATION = re.compile(r"(?:d(?P<state>\w+)\s*/\s*dt\s*=|(?P<sub>\w+)\s*=|(?P<plain>\w+)\s*(?=:))\s*(?P<rest>.*)", re.S)
_STATEMENT = re.compile(r"(?:(?P<pathway>\w+)\s*:\s*)?(?P<target>\w+)\s*(?P<op>[-+*/]?=)(?!=)\s*(?P<expr>.*)", re.S)


def parse_equations(block: str, where: str, draws: str = "") -> tuple[Equation, ...]:
    """Read an equations block. draws: see Expression, of what is constant over dt. Raises ModelError with the line and a caret."""
    found: list[Equation] = []
    for source in _lines(block, where):
        number = 1 + sum(e.kind == "held" for e in found)
        found.append(_equation(source, f"{draws}_{number}" if draws else ""))
    return tuple(found)


def _equation(source: Source, draws: str) -> Equation:
    match = _EQUATION.fullmatch(source.text)
    if match is None:
        raise source.fail("this is not an equation", "write 'dv/dt = ... : volt', 'x = ... : 1' or 'I : amp'")
    name = match["state"] or match["sub"] or match["plain"]
    rest, start = match["rest"], match.start("rest")
    body, colon, tail = rest.rpartition(":")
    if not colon:
        raise source.piece(start).fail(
            f"the equation of '{name}' has no unit", "end the line with ': volt', or ': 1' for a dimensionless variable"
        )
    unit_text, flags = _unit_and_flags(tail, source.piece(start + len(body) + 1))
    kind: Literal["differential", "subexpression", "declaration", "held"]
    kind = "differential" if match["state"] else "subexpression" if match["sub"] else "declaration"
    if "constant over dt" in flags:
        if kind != "subexpression":
            message = f"'{name}' is no subexpression, and only such can be constant over dt"
            raise source.fail(message, f"write '{name} = ...', or leave the flag out")
        kind = "held"
    expression = None
    if kind != "declaration":
        expression = Expression(body.strip(), source.piece(start), draws if kind == "held" else "")
        if not expression.text:
            raise source.fail(f"the equation of '{name}' has no right-hand side", "write an expression after '='")
        _ = expression.tree
    return Equation(name, kind, unit_text, flags, source, expression)


def _unit_and_flags(tail: str, source: Source) -> tuple[str, frozenset[str]]:
    match = re.fullmatch(r"\s*(?P<unit>[^()]*(?:\([^()]*\)[^()]+)?)\s*(?:\((?P<flags>[^()]*)\))?\s*", tail)
    flags = frozenset(f.strip() for f in (match["flags"] or "").split(",") if f.strip()) if match else frozenset()
    if "linked" in flags:
        message = "a linked variable is an input that a projection brings at the cells' turn to be integrated"
        fix = "leave '(linked)' out, and add a projection with transmits='y_pre', target='x' and summed='turn'"
        raise source.fail(message, fix)
    for flag in flags - FLAGS:
        raise source.fail(f"unknown flag '{flag}'", suggestion(flag, FLAGS) or f"flags: {', '.join(sorted(FLAGS))}")
    text = match["unit"].strip() if match else tail.strip()
    if not text:
        raise source.fail("the unit is missing", "write ': volt', or ': 1' for a dimensionless variable")
    try:
        unit(text)
    except UnitError as error:
        raise source.fail(str(error), "use a unit such as volt, amp, siemens, second, hertz or 1") from None
    return text, flags


def labelled(blocks: Mapping[str, str]) -> str:
    """Blocks of statements as one, each statement after the label of its block; those of "pre" have none."""
    lines = []
    for label, block in blocks.items():
        bare = "\n".join(line.split("#", 1)[0] for line in str(block).splitlines())
        parts = (part.strip() for line in bare.splitlines() for part in line.split(";"))
        lines += [part if label == "pre" else f"{label}: {part}" for part in parts if part]
    return "\n".join(lines)


def parse_statements(block: str, where: str, draws: str = "") -> tuple[Statement, ...]:
    """Read statements, one per line or separated by ';'. draws: see Expression. Raises ModelError with the line and a caret."""
    found: list[Statement] = []
    for source in _lines(block, where):
        start = 0
        for part in source.text.split(";"):
            stripped = part.strip()
            if stripped:
                own = f"{draws}_{len(found) + 1}" if draws else ""
                found.append(_statement(stripped, source.piece(start + len(part) - len(part.lstrip())), own))
            start += len(part) + 1
    return tuple(found)


def _statement(text: str, source: Source, draws: str) -> Statement:
    match = _STATEMENT.fullmatch(text)
    if match is None:
        raise source.fail("this is not a statement", "write 'v = v_reset' or 'g_post += w'")
    expression = Expression(match["expr"].strip(), source.piece(match.start("expr")), draws)
    if not expression.text:
        raise source.fail("the statement has no right-hand side", "write an expression after the operator")
    _ = expression.tree
    return Statement(match["target"], match["op"], expression, source, match["pathway"] or "")


def parse_expression(text: str, where: str, draws: str = "") -> Expression:
    """Read one expression, such as a threshold. draws: see Expression. Raises ModelError with a caret."""
    clean = " ".join(text.split())
    expression = Expression(clean, Source(where, clean), draws)
    if not clean:
        raise expression.source.fail("the expression is empty", "write an expression")
    _ = expression.tree
    return expression


def is_condition(node: ast.AST) -> bool:
    """Whether a node is a condition by its form; the name of a variable that holds one is not."""
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    return isinstance(node, ast.Compare | ast.BoolOp) or (
        isinstance(node, ast.Constant) and isinstance(node.value, bool)
    )


def literal(node: ast.expr) -> float | None:
    """The value of a number literal (with sign, sums and quotients), or None."""
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            x = literal(inner)
            return None if x is None else -x
        case ast.BinOp(op=ast.Div(), left=a, right=b):
            x, y = literal(a), literal(b)
            return None if x is None or not y else x / y
    return None
