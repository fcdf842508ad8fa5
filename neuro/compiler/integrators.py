"""Integrators: differential equations -> assignments for one dt. Each is a few lines over `System`.

euler: Euler-Maruyama where there is noise. exponential_euler: exact in the variable's own linear part; coefficients that
follow the variable itself are taken at its old value, as in Brian2. exact: the propagator of a linear system. rk2: midpoint.
rk4: classical. heun: noise that may depend on states, read as Stratonovich's, as in Brian2; milstein: the same without a second drift, for
noises each of which stands in one equation alone. rosenbrock: ROS3, linearly implicit,
L-stable and of order 3, for stiff equations. Inputs are constant within a step.
Sources: Hairer, Norsett & Wanner (1993), Solving ODEs I; Rotter & Diesmann (1999), Biol Cybern 81:381 (exact); Sandu et al. (1997),
Atmos Environ 31:3459 (ROS3); Ruemelin (1982), SIAM J Numer Anal 19:604 (heun); Kloeden & Platen (1992), Numerical Solution of Stochastic Differential
Equations, 11.1 (milstein without derivatives).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy as sp

from neuro.compiler.rosenbrock import ROS3
from neuro.compiler.step import Assign
from neuro.compiler.systems import DT, TIME, System, names_in
from neuro.language.elementary import exprel
from neuro.language.linear import affine, conditionally_linear, flow
from neuro.language.scope import is_noise
from neuro.language.symbolic import substituted, symbol

_ZERO = sp.Integer(0)


def euler(system: System) -> list[Assign]:
    assigns, slopes = system.stage(1, system.now, TIME)
    for name, slope in slopes.items():
        scaled = {s: s / sp.sqrt(DT) for s in slope.free_symbols if is_noise(s.name)}
        assigns.append(system.new(name, symbol(name) + DT * substituted(slope, scaled)))
    return assigns + system.commit()


def heun(system: System) -> list[Assign]:
    """Each noise by itself: the mean of its factors before the step and where it alone would lead; everything else as by euler."""
    parts = {n: _by_noise(rate) for n, rate in system.rates}
    drifts = replace(system, rates=tuple((n, drift) for n, (drift, _) in parts.items()))
    assigns, slopes = drifts.stage(1, system.now, TIME)
    changes = {n: [DT * slope] for n, slope in slopes.items()}
    for number, noise in enumerate(_noises(system), start=2):
        factors = replace(system, rates=tuple((n, g[noise]) for n, (_, g) in parts.items() if noise in g))
        jump = sp.sqrt(DT) * noise
        here = factors.stage(1, system.now, TIME)[1]
        moved = system.now | {n: symbol(n) + jump * g for n, g in here.items()}
        lets, there = factors.stage(number, moved, TIME + DT)
        assigns += lets
        for n, factor in here.items():
            changes[n].append(jump * (factor + there[n]) / 2)
    ends = [system.new(n, symbol(n) + sp.Add(*changes[n])) for n in system.states]
    return _needed(assigns, ends) + ends + system.commit()


def milstein(system: System) -> list[Assign]:
    """Each noise's factor before the step, corrected by its slope along the noise, which a step of its standard deviation shows; the drift as by euler."""
    parts = {n: _by_noise(rate) for n, rate in system.rates}
    drifts = replace(system, rates=tuple((n, drift) for n, (drift, _) in parts.items()))
    assigns, slopes = drifts.stage(1, system.now, TIME)
    changes, root = {n: [DT * slope] for n, slope in slopes.items()}, sp.sqrt(DT)
    for number, noise in enumerate(_noises(system), start=2):
        factors = replace(system, rates=tuple((n, g[noise]) for n, (_, g) in parts.items() if noise in g))
        here = factors.stage(1, system.now, TIME)[1]
        moved = {n: symbol(n) + DT * slope + root * here.get(n, _ZERO) for n, slope in slopes.items()}
        lets, there = factors.stage(number, moved, TIME)
        assigns += lets
        for n, factor in here.items():
            changes[n] += [root * noise * factor, root * noise**2 * (there[n] - factor) / 2]
    ends = [system.new(n, symbol(n) + sp.Add(*changes[n])) for n in system.states]
    return _needed(assigns, ends) + ends + system.commit()


def _noises(system: System) -> list[sp.Symbol]:
    found = {s for _, rate in system.rates for s in rate.free_symbols if is_noise(s.name)}
    return sorted(found, key=lambda s: s.name)


def _by_noise(rate: sp.Expr) -> tuple[sp.Expr, dict[sp.Symbol, sp.Expr]]:
    """Drift, and the factor of each noise; the rate was checked to be linear in them."""
    found = affine(rate, [s for s in rate.free_symbols if is_noise(s.name)])
    assert found is not None
    return found[1], found[0]


@dataclass(frozen=True)
class RungeKutta:
    """An explicit method each of whose stages starts from the slope of the one before.

    reaches: how far into the step stages 2, 3, ... lie, in steps. weights: of all stages' slopes.
    """

    reaches: tuple[sp.Rational, ...]
    weights: tuple[sp.Rational, ...]

    def __call__(self, system: System) -> list[Assign]:
        assigns: list[Assign] = []
        for number, reach in enumerate((_ZERO, *self.reaches), start=1):
            at = {n: symbol(n) + (DT * reach * system.slope(n, number - 1) if reach else 0) for n in system.states}
            lets, slopes = system.stage(number, at, TIME + DT * reach)
            assigns += lets + [Assign(system.slope(n, number).name, k, temporary=True) for n, k in slopes.items()]
        return assigns + self.last(system)

    def last(self, system: System) -> list[Assign]:
        """From the slopes of all stages to the states at the end of the step."""
        assigns = []
        for n in system.states:
            shares = (share * system.slope(n, k) for k, share in enumerate(self.weights, start=1) if share)
            assigns.append(system.new(n, symbol(n) + DT * sp.factor_terms(sp.Add(*shares))))
        return assigns + system.commit()


_HALF, _SIXTH = sp.Rational(1, 2), sp.Rational(1, 6)
RUNGE_KUTTA = {
    "rk2": RungeKutta((_HALF,), (_ZERO, sp.Integer(1))),
    "rk4": RungeKutta((_HALF, _HALF, sp.Integer(1)), (_SIXTH, 2 * _SIXTH, 2 * _SIXTH, _SIXTH)),
}


def exponential_euler(system: System) -> list[Assign]:
    lets, _ = system.stage(1, system.now, TIME)
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
    matrix, constants = matrix_of(system)
    assigns = []
    for name in system.states:
        terms = []
        for column, share, integral in flow(matrix, name, DT):
            terms += [share * symbol(column), integral * constants[column]]
        assigns.append(system.new(name, sp.Add(*terms)))
    return assigns + system.commit()


def matrix_of(system: System) -> tuple[dict[tuple[str, str], sp.Expr], dict[str, sp.Expr]]:
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
    **RUNGE_KUTTA,
    "heun": heun,
    "milstein": milstein,
    "rosenbrock": ROS3,
}


@lru_cache(maxsize=256)
def integrate(method: str, system: System) -> tuple[Assign, ...]:
    """Assignments of one step; none for a system without differential equations."""
    return tuple(INTEGRATORS[method](system)) if system.rates else ()
