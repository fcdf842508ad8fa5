"""Brian2's statements, one line each. Variables that nobody declared are put into what reads them, or declared."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from brian2.parsing.expressions import parse_expression_dimensions
from brian2.units.fundamentalunits import get_dimensions
from brian2.utils.stringtools import get_identifiers

from backends.brian.importing.words import Rewriter, Words, dimension
from neuro.language.drawn import DRAWN

_STATEMENT = re.compile(r"(?P<target>\w+)\s*(?P<op>[-+*/%]?=|\*\*=|//=)(?!=)\s*(?P<expr>.*)", re.S)
_WRITTEN_OUT = {"%=": "%", "**=": "**", "//=": "//"}


def statements(words: Words, code: str) -> list[str]:
    """Statements in order. Raises NotImportedError on text that is none."""
    places: dict[str, str] = {}
    while True:
        block = _Block(replace(words, names={**words.names, **places}), places)  # it shares constants and tables
        try:
            return block.read(code)
        except _NeedsPlace as local:
            kept = dimension(get_dimensions(_dimensions(words, block.sources[local.name])))
            places[local.name] = words.hold(local.name, kept)


def check_shared(words: Words, equations: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Brian2 draws one number for all where a variable is shared, and here each cell has its own. Raises NotImportedError."""
    shared = {words.names[n]: n for n, e in equations.items() if "shared" in e.flags and n in words.names}
    drawn = [(e.varname, e.expr.code) for e in equations.values() if "shared" in e.flags and e.expr is not None]
    drawn += [(shared[line.split()[0]], line) for line in lines if line.split()[0] in shared]
    for name, text in drawn:
        if get_identifiers(text) & DRAWN.keys():
            reason = f"'{name}' is shared and gets a random number, one for all"
            raise words.refused(reason, f"leave out '(shared)', so that each has its own '{name}'")


def targets(code: str) -> list[str]:
    """What statements assign."""
    return [match["target"] for text in _texts(code) if (match := _STATEMENT.fullmatch(text)) is not None]


def operations(words: Words, code: str) -> Iterator[tuple[str, str, str]]:
    """What statements assign, how (`x = x + y` adds), and their text."""
    for text in _texts(code):
        match = _STATEMENT.fullmatch(text)
        if match is not None:
            target, op = match["target"], match["op"]
            yield target, _added(target, words.parsed(match["expr"]))[1] if op == "=" else op, text


def values(code: str) -> list[str]:
    """What statements read: their right-hand sides, and what they change but by adding to it."""
    found = []
    for text in _texts(code):
        match = _STATEMENT.fullmatch(text)
        if match is not None:
            found += [match["expr"], *([] if match["op"] in ("=", "+=", "-=") else [match["target"]])]
    return found


def _texts(code: str) -> list[str]:
    return [text for line in re.split(r"[;\n]", code) if (text := line.split("#", 1)[0].strip())]


class _NeedsPlace(Exception):
    """A variable that only statements know, and that can't be written out where it is read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Block:
    """known: variables of the statements so far, written out; None of those that have changed since. sources: the same in Brian2's words.

    places: of those that have one, by their names.
    """

    def __init__(self, words: Words, places: Mapping[str, str]) -> None:
        self.words, self.places = words, places
        self.known: dict[str, ast.expr | None] = dict(words.inlined)
        self.sources: dict[str, ast.expr] = {}
        self.lines: list[str] = []

    def read(self, code: str) -> list[str]:
        for text in _texts(code):
            match = _STATEMENT.fullmatch(text)
            if match is None:
                raise self.words.refused(f"'{text}' is no statement", "write 'x = ...' or 'x += ...'")
            self.statement(match["target"], match["op"], match["expr"])
        return self.lines

    def statement(self, target: str, op: str, text: str) -> None:
        source = self.words.parsed(text)
        if op in _WRITTEN_OUT or (op != "=" and target not in self.words.names):
            sign = _WRITTEN_OUT.get(op, op[0])
            source, op = self.words.parsed(f"({target}) {sign} ({ast.unparse(source)})"), "="
        elif op == "=":
            source, op = _added(target, source)
        tree = self.rewritten(source)
        if op == "=" and (target in self.places or target not in self.words.names):
            self.sources[target] = _put(source, self.sources)
        if target in self.words.names:
            self.lines.append(f"{self.words.names[target]} {op} {ast.unparse(tree)}")
            self.changed(self.words.names[target])
            return
        if any(isinstance(n, ast.Call) and getattr(n.func, "id", "") in DRAWN for n in ast.walk(tree)):
            raise _NeedsPlace(target)
        self.known[target] = tree

    def rewritten(self, source: ast.expr) -> ast.expr:
        for node in ast.walk(source):
            if isinstance(node, ast.Name) and self.known.get(node.id, node) is None:
                raise _NeedsPlace(node.id)
        found: ast.expr = Rewriter(self.words, {n: t for n, t in self.known.items() if t is not None}).visit(source)
        return found

    def changed(self, name: str) -> None:
        """What was made of this variable can't be written out any more."""
        for local, tree in self.known.items():
            if tree is not None and any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(tree)):
                self.known[local] = None


def _added(target: str, source: ast.expr) -> tuple[ast.expr, str]:
    """`x = x + y` as `x += y`, which synapses may do to cells."""
    match source:
        case ast.BinOp(left=ast.Name(id=left), op=ast.Add(), right=right) if left == target:
            return right, "+="
        case ast.BinOp(left=ast.Name(id=left), op=ast.Sub(), right=right) if left == target:
            return right, "-="
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Name(id=right)) if right == target:
            return left, "+="
    return source, "="


class _Put(ast.NodeTransformer):
    def __init__(self, known: Mapping[str, ast.expr]) -> None:
        self.known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.known.get(node.id, node)


def _put(source: ast.expr, known: Mapping[str, ast.expr]) -> ast.expr:
    found: ast.expr = _Put(known).visit(ast.parse(ast.unparse(source), mode="eval").body)
    return found


def _dimensions(words: Words, source: ast.expr) -> object:
    text = ast.unparse(source)
    variables = words.group.resolve_all(get_identifiers(text), words.namespace, user_identifiers=set())
    return parse_expression_dimensions(text, variables)
