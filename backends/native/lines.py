"""Elementwise statements in single-assignment form, as C forwards and in reverse.

A loop over cells or synapses is a list of lines; each gives a name its only value. The reverse of a list sums, for every
symbol that it reads, adjoint times derivative, from the last line to the first.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from backends.native.printer import c_code
from neuro.compiler.step import Assign
from neuro.language.elementary import exprel
from neuro.language.elementary import pow as power
from neuro.language.mangling import mangled
from neuro.language.symbolic import symbol


@dataclass(frozen=True)
class Line:
    """name := value. gate: C condition under which the old value stays ("keep") or the new one is taken ("take").

    target: variable that it gives a new value, "" for a temporary. old: symbol of the value before.
    passes: the gate's spike gets a gradient, the difference of new and old value.
    """

    name: str
    value: sp.Expr
    target: str = ""
    old: str = ""
    keep: str = ""
    take: str = ""
    passes: bool = False


def in_order(
    assigns: Iterable[Assign], hoist: Callable[[sp.Expr], sp.Expr], gates: Callable[[Assign], Mapping[str, object]]
) -> list[Line]:
    """Assignments in order, each of which sees what those before it made."""
    now: dict[sp.Symbol, sp.Symbol] = {}
    found: list[Line] = []
    for n, assign in enumerate(assigns):
        value = hoist(assign.expr.xreplace(now))
        name = mangled("let", assign.target) if assign.temporary else mangled("new", assign.target, str(n))
        if assign.temporary:
            found.append(Line(name, value))
        else:
            old = now.get(symbol(assign.target), symbol(assign.target)).name
            found.append(Line(name, value, assign.target, old, **gates(assign)))  # type: ignore[arg-type]
        now[symbol(assign.target)] = symbol(name)
    return found


def results(lines: Sequence[Line]) -> dict[str, str]:
    """Last name of every variable that the lines change."""
    return {line.target: line.name for line in lines if line.target}


def forward(lines: Sequence[Line], names: Mapping[str, str]) -> list[str]:
    """C statements. names: of the symbols that the lines read."""
    made: dict[str, str] = {}
    known, found = ChainMap(made, names), []  # type: ignore[arg-type]
    for line in lines:
        text = c_code(line.value, known)
        if line.keep:
            text = f"{line.keep} ? {known[line.old]} : {text}"
        elif line.take:
            text = f"{line.take} ? {text} : {known[line.old]}"
        found.append(f"const real {line.name} = {text};")
        made[line.name] = line.name
    return found


@dataclass
class Reversed:
    """statements: C, from the last line to the first. adjoints: symbol -> C expression of its adjoint. gate: of the
    gates' spike.
    """

    statements: list[str]
    adjoints: dict[str, str]
    gate: str


def reverse(
    lines: Sequence[Line], names: Mapping[str, str], seeds: Mapping[str, str], wanted: Callable[[str], bool]
) -> Reversed:
    """Adjoint of a list of lines. seeds: last names -> C expression. wanted: which of the symbols read get adjoints.

    Each primitive operation has a line, and `times` lets 0 times anything be 0: a saturated gate's slope is 0, not inf/inf.
    """
    lines = primitive(lines)
    made = {line.name for line in lines}
    known = ChainMap({name: name for name in made}, names)  # type: ignore[arg-type]
    terms: dict[str, list[str]] = {name: [text] for name, text in seeds.items()}
    live = _live(lines, wanted)
    found, gates, needs = [], [], set()

    def collect(name: str, text: str) -> None:
        if name in live or wanted(name):
            terms.setdefault(name, []).append(text)

    for line in reversed(lines):
        if line.name not in terms or not (line.passes or line.name in live):
            terms.pop(line.name, None)
            continue
        g = mangled("g", line.name)
        found.append(f"const real {g} = {' + '.join(terms.pop(line.name))};")
        through = g
        if line.keep or line.take:
            if line.passes:
                gates.append(f"times({g}, {c_code(line.value, known)} - {known[line.old]})")
                needs |= {s.name for s in line.value.free_symbols} | {line.old}
            through = mangled("h", line.name)
            kept = f"{line.keep} ? {g} : 0" if line.keep else f"{line.take} ? 0 : {g}"
            found.append(f"const real {through} = {g} - ({kept});")
            collect(line.old, f"({kept})")
        for s in sorted(line.value.free_symbols, key=lambda s: s.name):
            slope = _slope(line, s) if s.name in live or wanted(s.name) else sp.Integer(0)
            if slope != 0:
                needs |= {x.name for x in slope.free_symbols}
                collect(s.name, _times(through, slope, known))
    statements = [*forward(needed(lines, needs), names), *found]
    return Reversed(statements, {n: " + ".join(t) for n, t in terms.items()}, " + ".join(gates))


def _times(adjoint: str, slope: sp.Expr, names: Mapping[str, str]) -> str:
    if slope.is_number:
        return adjoint if slope == 1 else f"-{adjoint}" if slope == -1 else f"{adjoint}*{c_code(slope, names)}"
    return f"times({adjoint}, {c_code(slope, names)})"


def primitive(lines: Iterable[Line]) -> list[Line]:
    """Lines of one operation each on names and numbers, equal ones shared; the text of each rounds as it did in one piece."""
    known: dict[sp.Expr, sp.Symbol] = {}
    found: list[Line] = []

    def atom(expr: sp.Expr) -> sp.Expr:
        if not expr.args or expr.is_number:
            return expr
        if expr not in known:
            value, known[expr] = one(expr), symbol(mangled("part", str(len(known))))
            found.append(Line(known[expr].name, value))
        return known[expr]

    def one(expr: sp.Expr) -> sp.Expr:
        if not expr.args or expr.is_number:
            return expr
        if expr.is_Add:
            return sp.Add(*(scaled(a) for a in expr.args), evaluate=False)
        if expr.is_Mul:
            return sp.Mul(*(divided(a) for a in expr.args), evaluate=False)
        return expr.func(*(atom(a) for a in expr.args))

    def scaled(term: sp.Expr) -> sp.Expr:
        plain = term.is_Mul and len(term.args) == 2 and term.args[0].is_number
        return sp.Mul(term.args[0], atom(term.args[1]), evaluate=False) if plain else atom(term)

    def divided(factor: sp.Expr) -> sp.Expr:
        below = factor.is_Pow and factor.exp.is_number and factor.exp.is_negative
        return sp.Pow(atom(factor.base), factor.exp) if below else atom(factor)

    for line in lines:
        value = one(line.value)
        found.append(replace(line, value=value))
    return found


def _live(lines: Iterable[Line], wanted: Callable[[str], bool]) -> set[str]:
    """Names of the lines that depend on something wanted."""
    found: set[str] = set()
    for line in lines:
        names = {s.name for s in line.value.free_symbols} | ({line.old} - {""})
        if any(n in found or wanted(n) for n in names):
            found.add(line.name)
    return found


def _slope(line: Line, s: sp.Symbol) -> sp.Expr:
    """Derivative of a primitive operation, by its own value where that is part of it."""
    value = line.value
    if isinstance(value, power):
        names = ("power_by_base", "power_by_exponent")
        by = [sp.Function(name)(*value.args) for name, a in zip(names, value.args, strict=True) if a == s]
        return sum(by, sp.Integer(0))
    if isinstance(value, exprel):
        return sp.Function("exprel_slope")(*value.args)
    slope = sp.diff(value, s)
    gated = line.keep or line.take
    return slope if gated or not value.is_Function else slope.xreplace({value: symbol(line.name)})


def needed(lines: Sequence[Line], names: set[str]) -> list[Line]:
    """Those lines whose values the names depend on, in order."""
    wanted, found = set(names), []
    for line in reversed(lines):
        if line.name in wanted:
            found.append(line)
            wanted |= {s.name for s in line.value.free_symbols} | ({line.old} - {""})
    return found[::-1]
