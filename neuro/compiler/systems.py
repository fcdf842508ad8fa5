"""Differential equations as formulas, with the subexpressions that they use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sympy as sp

from neuro.compiler.step import Assign
from neuro.language.equations import Equation
from neuro.language.mangling import mangled
from neuro.language.symbolic import substituted, symbol, to_sympy

TIME, DT = symbol("t"), symbol("dt")


@dataclass(frozen=True)
class System:
    """Differential equations and the subexpressions they use, in dependency order."""

    name: str
    rates: tuple[tuple[str, sp.Expr], ...]
    subexpressions: tuple[tuple[str, sp.Expr], ...]

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.rates)

    @property
    def now(self) -> dict[str, sp.Expr]:
        """States at the beginning of a step."""
        return {name: symbol(name) for name in self.states}

    def uses(self, name: str) -> set[str]:
        """Names that a rate or subexpression depends on, directly or through subexpressions."""
        table = dict(self.subexpressions) | dict(self.rates)
        found = names_in(table[name])
        return found.union(*(self.uses(n) for n in found & {n for n, _ in self.subexpressions}))

    def new(self, name: str, expr: sp.Expr) -> Assign:
        return Assign(mangled("new", name), expr, temporary=True)

    def commit(self) -> list[Assign]:
        """All states change together: new values are temporaries first."""
        return [Assign(name, symbol(mangled("new", name))) for name in self.states]

    def slope(self, name: str, number: int) -> sp.Symbol:
        return symbol(mangled(f"slope{number}", name))

    def stage(
        self, number: int, values: Mapping[str, sp.Expr], time: sp.Expr
    ) -> tuple[list[Assign], dict[str, sp.Expr]]:
        """Assignments and slopes at shifted states; names of stage 1 are plain, later ones carry the number.

        A later stage's time is a sum of its own: put into comparisons, each backend would fold its parts in another order.
        """
        table: dict[sp.Symbol, sp.Expr] = {symbol(n): v for n, v in values.items()}
        assigns = []
        if time != TIME and any(TIME in expr.free_symbols for _, expr in (*self.subexpressions, *self.rates)):
            table[TIME] = symbol(mangled(f"stage{number}", "t"))
            assigns.append(Assign(table[TIME].name, time, temporary=True))
        for name, expr in self.subexpressions:
            local = name if number == 1 else mangled(f"stage{number}", name)
            assigns.append(Assign(local, substituted(expr, table), temporary=True))
            table[symbol(name)] = symbol(local)
        return assigns, {name: substituted(expr, table) for name, expr in self.rates}


def system_of(name: str, equations: tuple[Equation, ...], rename: Callable[[sp.Expr], sp.Expr] = lambda e: e) -> System:
    """The differential equations among `equations`, with the subexpressions they need."""
    subs = ordered_subexpressions(equations, rename)
    numbers = {symbol(n): e for n, e in subs if e.is_number}
    rates = tuple(
        (e.name, substituted(rename(to_sympy(e.expression)), numbers))
        for e in equations
        if e.kind == "differential" and e.expression
    )
    needed: set[str] = set().union(*(names_in(r) for _, r in rates)) if rates else set()
    for sub, expr in reversed(subs):
        if sub in needed:
            needed |= names_in(expr)
    return System(name, rates, tuple((n, e) for n, e in subs if n in needed))


def ordered_subexpressions(
    equations: tuple[Equation, ...], rename: Callable[[sp.Expr], sp.Expr] = lambda e: e
) -> tuple[tuple[str, sp.Expr], ...]:
    """Subexpressions so that each stands after those it uses; those that are numbers are put into the others."""
    table = {e.name: rename(to_sympy(e.expression)) for e in equations if e.kind == "subexpression" and e.expression}
    done: dict[str, sp.Expr] = {}
    numbers: dict[sp.Symbol, sp.Expr] = {}

    def visit(name: str) -> None:
        if name in done:
            return
        for used in sorted(names_in(table[name]) & set(table)):
            visit(used)
        done[name] = substituted(table[name], numbers)
        if done[name].is_number:
            numbers[symbol(name)] = done[name]

    for name in table:
        visit(name)
    return tuple(done.items())


def names_in(expr: sp.Expr) -> set[str]:
    """Names of its variables."""
    return {s.name for s in expr.free_symbols if isinstance(s, sp.Symbol)}
