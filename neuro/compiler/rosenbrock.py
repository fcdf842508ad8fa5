"""Rosenbrock methods: linearly implicit steps with the Jacobian of a system, for stiff equations.

Sources: Hairer & Wanner (1996), Solving ODEs II, IV.7; Sandu et al. (1997), Atmos Environ 31:3459 (ROS3).
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from neuro.compiler.step import Assign
from neuro.compiler.systems import DT, TIME, System
from neuro.language.elementary import number, values_alone
from neuro.language.mangling import mangled
from neuro.language.symbolic import closed, substituted, symbol

_ZERO = sp.Integer(0)


@dataclass(frozen=True)
class Rosenbrock:
    """A method each of whose stages solves a linear system with the Jacobian J at the step's beginning.

    (I - gamma dt J) u_i = gamma (dt f(t + reach_i dt, x + sum_j a_ij u_j) + sum_j c_ij u_j + shift_i dt^2 df/dt), and x + sum_i m_i u_i
    is the state after the step. reaches, shifts, weights (m), and rows of a and c: of each stage. Where a row of a is None, the slope is
    that of the stage before.
    """

    gamma: sp.Expr
    reaches: tuple[sp.Expr, ...]
    shifts: tuple[sp.Expr, ...]
    weights: tuple[sp.Expr, ...]
    a: tuple[tuple[sp.Expr, ...] | None, ...]
    c: tuple[tuple[sp.Expr, ...], ...]

    def __call__(self, system: System) -> list[Assign]:
        solver, taken = _Elimination(system, self.gamma), 0
        assigns = list(solver.assigns)
        for stage, (row, reach) in enumerate(zip(self.a, self.reaches, strict=True), start=1):
            if row is not None:
                at = {n: sp.Add(symbol(n), *_shares(row, n)) for n in system.states}
                lets, slopes = system.stage(stage, at, TIME + DT * reach)
                assigns += lets + [Assign(system.slope(n, stage).name, k, temporary=True) for n, k in slopes.items()]
                taken = stage
            shift, before = DT**2 * self.shifts[stage - 1], self.c[stage - 1]
            right = {}
            for n in system.states:
                terms = [DT * system.slope(n, taken), shift * solver.by_time[n], *_shares(before, n)]
                right[n] = self.gamma * sp.Add(*terms)
            assigns += solver.solve(stage, right)
        assigns += [system.new(n, sp.Add(symbol(n), *_shares(self.weights, n))) for n in system.states]
        return assigns + system.commit()


def _shares(factors: tuple[sp.Expr, ...], name: str) -> list[sp.Expr]:
    """Of the increments of stages 1, 2, ..."""
    return [factor * _increment(name, stage) for stage, factor in enumerate(factors, start=1) if factor]


def _increment(name: str, stage: int) -> sp.Symbol:
    return symbol(mangled(f"increment{stage}", name))


class _Elimination:
    """I - gamma dt J, taken apart once by Gauss's elimination without pivoting, which its diagonal allows where dt J is not large and
    positive. assigns: what does it. by_time: df/dt."""

    def __init__(self, system: System, gamma: sp.Expr) -> None:
        self.states, table = system.states, dict[sp.Symbol, sp.Expr]()
        for sub, expr in system.subexpressions:
            table[symbol(sub)] = substituted(expr, table)
        rates = {n: values_alone(substituted(rate, table)) for n, rate in system.rates}
        self.by_time = {n: closed(sp.diff(rate, TIME)) for n, rate in rates.items()}
        self.entries: dict[tuple[str, str], sp.Symbol] = {}
        self.assigns: list[Assign] = []
        for row in self.states:
            for column in self.states:
                slope = closed(sp.diff(rates[row], symbol(column)))
                if row == column or slope != 0:
                    self._put(row, column, (1 if row == column else 0) - gamma * DT * slope)
        for n, pivot in enumerate(self.states):
            for row in self.states[n + 1 :]:
                if (row, pivot) in self.entries:
                    self._put(row, pivot, self.entries[row, pivot] / self.entries[pivot, pivot])
                    for column in self.states[n + 1 :]:
                        if (pivot, column) in self.entries:
                            old = self.entries.get((row, column), _ZERO)
                            self._put(row, column, old - self.entries[row, pivot] * self.entries[pivot, column])

    def _put(self, row: str, column: str, value: sp.Expr) -> None:
        entry = symbol(mangled(f"eliminated{len(self.assigns)}", row, column))
        self.assigns.append(Assign(entry.name, value, temporary=True))
        self.entries[row, column] = entry

    def solve(self, stage: int, right: dict[str, sp.Expr]) -> list[Assign]:
        """Increments of a stage: forward, then back."""
        found = []
        for n, row in enumerate(self.states):
            known = (self.entries[row, c] * _forward(c, stage) for c in self.states[:n] if (row, c) in self.entries)
            value = sp.Add(right[row], *(-term for term in known))
            found.append(Assign(_forward(row, stage).name, value, temporary=True))
        for n, row in reversed(list(enumerate(self.states))):
            known = (
                self.entries[row, c] * _increment(c, stage) for c in self.states[n + 1 :] if (row, c) in self.entries
            )
            value = sp.Add(_forward(row, stage), *(-term for term in known)) / self.entries[row, row]
            found.append(Assign(_increment(row, stage).name, value, temporary=True))
        return found


def _forward(name: str, stage: int) -> sp.Symbol:
    return symbol(mangled(f"forward{stage}", name))


_G = 0.43586652150845899941601945119356  # of ROS3; root of g**3 - 3*g**2 + 1.5*g - 1/6
ROS3 = Rosenbrock(
    gamma=number(_G),
    reaches=(_ZERO, number(_G), number(_G)),
    shifts=(number(_G), number(0.24291996454816804366592249683314), number(2.1851380027664058511513169485832)),
    weights=(sp.Integer(1), number(6.1697947043828245592553615689730), number(-0.42772256543218573326238373806514)),
    a=((), (sp.Integer(1),), None),
    c=(
        (),
        (number(-1.0156171083877702091975600115545),),
        (number(4.0759956452537699824805835358067), number(9.2076794298330791242156818474003)),
    ),
)
