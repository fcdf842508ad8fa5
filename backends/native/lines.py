"""Elementwise statements in single-assignment form, as C forwards and in reverse.

A loop over cells or synapses is a list of lines; each gives a name its only value. The reverse of a list sums, for every
symbol that it reads, adjoint times derivative, from the last line to the first.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from backends.native.printer import c_code
from neuro.mangling import mangled
from neuro.step import Assign
from neuro.symbolic import symbol


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
    """Adjoint of a list of lines. seeds: last names -> C expression. wanted: which of the symbols read get adjoints."""
    made = {line.name for line in lines}
    known = ChainMap({name: name for name in made}, names)  # type: ignore[arg-type]
    terms: dict[str, list[str]] = {name: [text] for name, text in seeds.items()}
    found, gates, needs = [], [], set()

    def collect(name: str, text: str) -> None:
        terms.setdefault(name, []).append(text)

    for line in reversed(lines):
        if line.name not in terms:
            continue
        g = mangled("g", line.name)
        found.append(f"const real {g} = {' + '.join(terms.pop(line.name))};")
        through = g
        if line.keep or line.take:
            if line.passes:
                gates.append(f"{g}*({c_code(line.value, known)} - {known[line.old]})")
                needs |= {s.name for s in line.value.free_symbols} | {line.old}
            through = mangled("h", line.name)
            kept = f"{line.keep} ? {g} : 0" if line.keep else f"{line.take} ? 0 : {g}"
            found.append(f"const real {through} = {g} - ({kept});")
            if line.old in made or wanted(line.old):
                collect(line.old, f"({kept})")
        for s in sorted(line.value.free_symbols, key=lambda s: s.name):
            slope = sp.diff(line.value, s)
            if slope == 0 or not (s.name in made or wanted(s.name)):
                continue
            needs |= {x.name for x in slope.free_symbols}
            collect(s.name, through if slope == 1 else f"{through}*({c_code(slope, known)})")
    statements = [*forward(needed(lines, needs), names), *found]
    return Reversed(statements, {n: " + ".join(t) for n, t in terms.items()}, " + ".join(gates))


def needed(lines: Sequence[Line], names: set[str]) -> list[Line]:
    """Those lines whose values the names depend on, in order."""
    wanted, found = set(names), []
    for line in reversed(lines):
        if line.name in wanted:
            found.append(line)
            wanted |= {s.name for s in line.value.free_symbols} | ({line.old} - {""})
    return found[::-1]
