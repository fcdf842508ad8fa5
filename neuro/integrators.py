"""Integrators: differential equations -> assignments for one dt. Each is a few lines over `System`.

euler: Euler-Maruyama where there is noise. exponential_euler: exact in the variable's own linear part. exact: the
propagator of a linear system. rk2: midpoint. rk4: classical. Inputs are constant within a step.
Sources: Hairer, Norsett & Wanner (1993), Solving ODEs I; Rotter & Diesmann (1999), Biol Cybern 81:381 (exact).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from neuro.equations import Equation
from neuro.scope import is_noise
from neuro.step import Assign
from neuro.symbolic import exprel, symbol, to_sympy

DT, TIME = symbol("dt"), symbol("t")


@dataclass(frozen=True)
class System:
    """Differential equations and the subexpressions they use, in dependency order."""

    name: str
    rates: tuple[tuple[str, sp.Expr], ...]
    subexpressions: tuple[tuple[str, sp.Expr], ...]

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.rates)

    def stage(self, number: int, values: Mapping[str, sp.Expr], time: sp.Expr) -> tuple[list[Assign], dict[str, sp.Expr]]:
        """Assignments and slopes at shifted states; names of stage 1 are plain, later ones carry the number."""
        table: dict[sp.Expr, sp.Expr] = {symbol(n): v for n, v in values.items()} | {TIME: time}
        assigns = []
        for name, expr in self.subexpressions:
            local = name if number == 1 else f"{name}_{number}"
            assigns.append(Assign(local, expr.xreplace(table), temporary=True))
            table[symbol(name)] = symbol(local)
        return assigns, {name: expr.xreplace(table) for name, expr in self.rates}


def system_of(name: str, equations: tuple[Equation, ...], rename: Callable[[sp.Expr], sp.Expr] = lambda e: e) -> System:
    """The differential equations among `equations`, with the subexpressions they need."""
    subs = ordered_subexpressions(equations, rename)
    rates = tuple(
        (e.name, rename(to_sympy(e.expression))) for e in equations if e.kind == "differential" and e.expression
    )
    needed: set[str] = set().union(*(_names(r) for _, r in rates)) if rates else set()
    for sub, expr in reversed(subs):
        if sub in needed:
            needed |= _names(expr)
    return System(name, rates, tuple((n, e) for n, e in subs if n in needed))


def ordered_subexpressions(
    equations: tuple[Equation, ...], rename: Callable[[sp.Expr], sp.Expr] = lambda e: e
) -> tuple[tuple[str, sp.Expr], ...]:
    """Subexpressions so that each stands after those it uses."""
    table = {e.name: rename(to_sympy(e.expression)) for e in equations if e.kind == "subexpression" and e.expression}
    done: dict[str, sp.Expr] = {}

    def visit(name: str) -> None:
        if name in done:
            return
        for used in sorted(_names(table[name]) & set(table)):
            visit(used)
        done[name] = table[name]

    for name in table:
        visit(name)
    return tuple(done.items())


def _names(expr: sp.Expr) -> set[str]:
    return {s.name for s in expr.free_symbols if isinstance(s, sp.Symbol)}


def _commit(states: tuple[str, ...]) -> list[Assign]:
    """All states change together: new values are temporaries first."""
    return [Assign(name, symbol(f"{name}_new")) for name in states]


def _new(name: str, expr: sp.Expr) -> Assign:
    return Assign(f"{name}_new", expr, temporary=True)


def _now(system: System) -> dict[str, sp.Expr]:
    return {name: symbol(name) for name in system.states}


def euler(system: System) -> list[Assign]:
    lets, slopes = system.stage(1, _now(system), TIME)
    assigns = lets
    for name, slope in slopes.items():
        scaled = {s: s / sp.sqrt(DT) for s in slope.free_symbols if is_noise(s.name)}
        assigns.append(_new(name, symbol(name) + DT * slope.xreplace(scaled)))
    return assigns + _commit(system.states)


def rk2(system: System) -> list[Assign]:
    first, k1 = system.stage(1, _now(system), TIME)
    first += [Assign(f"{n}_k1", k, temporary=True) for n, k in k1.items()]
    middle = {n: symbol(n) + DT / 2 * symbol(f"{n}_k1") for n in system.states}
    second, k2 = system.stage(2, middle, TIME + DT / 2)
    return first + second + [_new(n, symbol(n) + DT * k) for n, k in k2.items()] + _commit(system.states)


def rk4(system: System) -> list[Assign]:
    assigns: list[Assign] = []
    at, time = _now(system), TIME
    for number, reach in ((1, DT / 2), (2, DT / 2), (3, DT), (4, None)):
        lets, slopes = system.stage(number, at, time)
        assigns += lets + [Assign(f"{n}_k{number}", k, temporary=True) for n, k in slopes.items()]
        if reach is not None:
            at = {n: symbol(n) + reach * symbol(f"{n}_k{number}") for n in system.states}
            time = TIME + reach
    for n in system.states:
        k1, k2, k3, k4 = (symbol(f"{n}_k{i}") for i in (1, 2, 3, 4))
        assigns.append(_new(n, symbol(n) + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)))
    return assigns + _commit(system.states)


def exponential_euler(system: System) -> list[Assign]:
    lets, _ = system.stage(1, _now(system), TIME)
    assigns = list(lets)
    for name, rate in system.rates:
        x = symbol(name)
        full = rate
        for sub, expr in reversed(system.subexpressions):  # only those that hold the variable itself are put in
            if symbol(sub) in full.free_symbols and _depends(sub, name, system):
                full = full.xreplace({symbol(sub): expr})
        slope = sp.simplify(sp.diff(full, x)) if x in full.free_symbols else sp.Integer(0)
        if x in slope.free_symbols:
            raise NotLinearError(system.name, name, "exponential_euler")
        if slope == 0:
            assigns.append(_new(name, x + DT * rate))
            continue
        rest = full.xreplace({x: sp.Integer(0)})
        assigns.append(_new(name, x * sp.exp(slope * DT) + DT * rest * exprel(slope * DT)))
    return assigns + _commit(system.states)


class NotLinearError(Exception):
    """An integrator that needs linear equations met another one."""

    def __init__(self, owner: str, variable: str, method: str) -> None:
        self.owner, self.variable, self.method = owner, variable, method
        super().__init__(
            f"'{owner}': {method} needs d{variable}/dt to be linear in {variable}; use method='rk2' or 'rk4'"
        )


def _depends(sub: str, name: str, system: System) -> bool:
    table = dict(system.subexpressions)
    used = _names(table[sub])
    return name in used or any(_depends(u, name, system) for u in used if u in table)


def exact(system: System) -> list[Assign]:
    """x(t + dt) = exp(A dt) x + integral of exp(A s) b, both in closed form."""
    table: dict[sp.Expr, sp.Expr] = {}
    for sub, expr in system.subexpressions:
        table[symbol(sub)] = expr.xreplace(table)
    x = sp.Matrix([symbol(n) for n in system.states])
    rates = sp.Matrix([sp.expand(r.xreplace(table)) for _, r in system.rates])
    matrix = rates.jacobian(x)
    constant = (rates - matrix * x).applyfunc(sp.expand)
    if (set(x) & matrix.free_symbols) or (set(x) & constant.free_symbols):
        raise NotLinearError(system.name, system.states[0], "exact")
    propagator, integral = _propagator(sp.ImmutableMatrix(matrix))
    new = propagator * x + integral * constant
    return [_new(n, e) for n, e in zip(system.states, new, strict=True)] + _commit(system.states)


@lru_cache(maxsize=256)
def _propagator(matrix: sp.ImmutableMatrix) -> tuple[sp.ImmutableMatrix, sp.ImmutableMatrix]:
    """exp(A dt) and the integral of exp(A s) over 0..dt."""
    s = sp.Symbol("s_", positive=True)
    flow = (sp.Matrix(matrix) * s).exp().applyfunc(lambda e: sp.expand(sp.powsimp(e)))
    integral = flow.applyfunc(lambda e: _integrate(e, s))
    tidy = lambda e: sp.factor_terms(e).xreplace({s: DT})  # noqa: E731
    return sp.ImmutableMatrix(flow.applyfunc(tidy)), sp.ImmutableMatrix(integral.applyfunc(tidy))


def _integrate(expr: sp.Expr, s: sp.Symbol) -> sp.Expr:
    found = sp.Integer(0)
    for term in sp.Add.make_args(sp.expand(expr)):
        whole = sp.integrate(term, s, conds="none")
        if whole.has(sp.Piecewise):  # rates that are symbols: the case of a zero rate is not one we can meet
            whole = whole.replace(lambda e: isinstance(e, sp.Piecewise), lambda e: e.args[0].expr)
        found += whole - whole.subs(s, 0)
    return sp.simplify(found)


INTEGRATORS: dict[str, Callable[[System], list[Assign]]] = {
    "euler": euler,
    "exponential_euler": exponential_euler,
    "exact": exact,
    "rk2": rk2,
    "rk4": rk4,
}


def integrate(method: str, system: System) -> tuple[Assign, ...]:
    """Assignments of one step; none for a system without differential equations."""
    return tuple(INTEGRATORS[method](system)) if system.rates else ()
