"""Integrators: differential equations -> assignments for one dt. Each is a few lines over `System`.

euler: Euler-Maruyama where there is noise. exponential_euler: exact in the variable's own linear part; coefficients that
follow the variable itself are taken at its old value, as in Brian2. exact: the propagator of a linear system. rk2: midpoint.
rk4: classical. Inputs are constant within a step.
Sources: Hairer, Norsett & Wanner (1993), Solving ODEs I; Rotter & Diesmann (1999), Biol Cybern 81:381 (exact).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import sympy as sp

from neuro.compiler.step import Assign
from neuro.compiler.systems import TIME, System, names_in
from neuro.language.elementary import exprel
from neuro.language.linear import affine, conditionally_linear, flow
from neuro.language.scope import is_noise
from neuro.language.symbolic import substituted, symbol

DT = symbol("dt")
_ZERO = sp.Integer(0)


def _now(system: System) -> dict[str, sp.Expr]:
    return {name: symbol(name) for name in system.states}


def euler(system: System) -> list[Assign]:
    assigns, slopes = system.stage(1, _now(system), TIME)
    for name, slope in slopes.items():
        scaled = {s: s / sp.sqrt(DT) for s in slope.free_symbols if is_noise(s.name)}
        assigns.append(system.new(name, symbol(name) + DT * substituted(slope, scaled)))
    return assigns + system.commit()


def rk2(system: System) -> list[Assign]:
    return _runge_kutta(system, (DT / 2,), {2: sp.Integer(1)})


def rk4(system: System) -> list[Assign]:
    sixth = sp.Rational(1, 6)
    return _runge_kutta(system, (DT / 2, DT / 2, DT), {1: sixth, 2: 2 * sixth, 3: 2 * sixth, 4: sixth})


def _runge_kutta(system: System, reaches: tuple[sp.Expr, ...], weights: Mapping[int, sp.Expr]) -> list[Assign]:
    """Each stage starts from the slope of the one before. reaches: of stages 2, 3, ... weights: stage -> share."""
    assigns: list[Assign] = []
    for number, reach in enumerate((_ZERO, *reaches), start=1):
        at = {n: symbol(n) + (reach * system.slope(n, number - 1) if reach else 0) for n in system.states}
        lets, slopes = system.stage(number, at, TIME + reach)
        assigns += lets + [Assign(system.slope(n, number).name, k, temporary=True) for n, k in slopes.items()]
    for n in system.states:
        mean = sp.factor_terms(sp.Add(*(share * system.slope(n, number) for number, share in weights.items())))
        assigns.append(system.new(n, symbol(n) + DT * mean))
    return assigns + system.commit()


def exponential_euler(system: System) -> list[Assign]:
    lets, _ = system.stage(1, _now(system), TIME)
    assigns: list[Assign] = []
    for name, rate in system.rates:
        x, full = symbol(name), rate
        for sub, expr in reversed(system.subexpressions):  # only those that hold the variable itself are put in
            if symbol(sub) in full.free_symbols and name in system.uses(sub):
                full = substituted(full, {symbol(sub): expr})
        found = conditionally_linear(full, x)
        if found is None:
            raise MethodError(f"exponential_euler needs d{name}/dt to be linear in {name}", "use method='rk2' or 'rk4'")
        slope, rest = found
        new = x + DT * rate if slope == 0 else x * sp.exp(slope * DT) + DT * rest * exprel(slope * DT)
        assigns.append(system.new(name, new))
    return _needed(lets, assigns) + assigns + system.commit()


def _needed(lets: list[Assign], assigns: list[Assign]) -> list[Assign]:
    """Those of the subexpressions, in order, that are left after some were put in."""
    kept: list[Assign] = []
    for let in reversed(lets):
        if any(let.target in names_in(a.expr) for a in (*kept, *assigns)):
            kept.insert(0, let)
    return kept


class MethodError(Exception):
    """An integrator met equations that it can't take; `fix` says what would help."""

    def __init__(self, message: str, fix: str) -> None:
        self.message, self.fix = message, fix
        super().__init__(message)


def exact(system: System) -> list[Assign]:
    """x(t + dt) = exp(A dt) x + integral of exp(A s) b, both in closed form or by the exponential of a matrix."""
    matrix, constants = _matrix(system)
    assigns = []
    for name in system.states:
        terms = []
        for column, share, integral in flow(matrix, name, DT):
            terms += [share * symbol(column), integral * constants[column]]
        assigns.append(system.new(name, sp.Add(*terms)))
    return assigns + system.commit()


def _matrix(system: System) -> tuple[dict[tuple[str, str], sp.Expr], dict[str, sp.Expr]]:
    """A and b of dx/dt = A x + b, zeros of A left out."""
    table: dict[sp.Symbol, sp.Expr] = {}
    for sub, expr in system.subexpressions:
        table[symbol(sub)] = substituted(expr, table)
    states = [symbol(n) for n in system.states]
    matrix: dict[tuple[str, str], sp.Expr] = {}
    constants = {}
    for name, rate in system.rates:
        full = substituted(rate, table)
        found = affine(full, states)
        if found is None or TIME in full.free_symbols:
            why = "linear with constant coefficients" if found is None else "independent of time"
            raise MethodError(f"exact needs d{name}/dt to be {why}", "use method='rk4'")
        slopes, constants[name] = found[0], sp.factor_terms(found[1])
        matrix |= {(name, x.name): sp.factor_terms(s) for x, s in slopes.items()}
    return matrix, constants


INTEGRATORS: dict[str, Callable[[System], list[Assign]]] = {
    "euler": euler,
    "exponential_euler": exponential_euler,
    "exact": exact,
    "rk2": rk2,
    "rk4": rk4,
}


@lru_cache(maxsize=256)
def integrate(method: str, system: System) -> tuple[Assign, ...]:
    """Assignments of one step; none for a system without differential equations."""
    return tuple(INTEGRATORS[method](system)) if system.rates else ()
