"""Couplings evaluated at every stage of an integrator: cells that graded synapses join are one system of equations.

Otherwise what graded synapses send is held for a step, and a recurrent network is of first order, whatever integrates its cells.
Here stage follows stage: what all cells send at a stage is summed, then each cell's slopes are taken there. What events and
currents bring is held, as it is between two steps on any backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import sympy as sp

from neuro.compiler.couplings import couple, graded_sums, sources_first
from neuro.compiler.formulas import Sum
from neuro.compiler.integrators import RUNGE_KUTTA, RungeKutta
from neuro.compiler.resolve import Resolved
from neuro.compiler.step import Assign, Gather, Operation, Update
from neuro.compiler.systems import DT, TIME
from neuro.language.mangling import mangled
from neuro.language.symbolic import substituted, symbol
from neuro.model import Projection


@dataclass(frozen=True)
class Stages:
    """Of a network whose couplings are evaluated at every stage; of any other, it joins no populations."""

    resolved: Resolved

    @cached_property
    def joined(self) -> tuple[str, ...]:
        """Populations at either end of a graded projection, sources first."""
        if self.resolved.network.couplings == "step":
            return ()
        ends = {end for arriving in self._graded.values() for p, _ in arriving for end in (p.pre, p.post)}
        return tuple(name for name in sources_first(self.resolved, "start") if name in ends)

    @cached_property
    def method(self) -> RungeKutta:
        """Of all joined populations that have differential equations; checked when the network was made."""
        neurons = [self.resolved.network.population(name).neuron for name in self.joined]
        names = {n.method for n in neurons if n.scope.of_kind("differential")}
        return RUNGE_KUTTA[min(names, default="rk2")]

    @cached_property
    def _graded(self) -> Mapping[str, list[tuple[Projection, Sum]]]:
        return graded_sums(self.resolved, "start")

    def variables(self, population: str) -> tuple[str, ...]:
        """What a population has within a step: sums and slopes of each stage, states at each but the first."""
        if population not in self.joined:
            return ()
        system, found = self.resolved.cells[population].system, []
        for number, _ in enumerate(self.method.weights, start=1):
            found += [_name("graded", number, target) for target in self._targets(population)]
            found += [system.slope(state, number).name for state in system.states]
            found += [_name("stage", number, state) for state in system.states if number > 1]
        return tuple(found)

    def operations(self) -> list[Operation]:
        """From the sums of the first stage to the slopes of the last."""
        found: list[Operation] = []
        if not self.joined:
            return found
        for number, reach in enumerate((sp.Integer(0), *self.method.reaches), start=1):
            found += [self._gather(name, number, reach) for name in self.joined if self._targets(name)]
            found += [u for name in self.joined if (u := self._slopes(name, number, reach)).assigns]
        return found + [u for name in self.joined if (u := self._whole(name)).assigns]

    def _targets(self, population: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.target for _, item in self._graded.get(population, ())))

    def _at(self, population: str, number: int, suffix: str = "") -> dict[sp.Symbol, sp.Expr]:
        """A population's states and inputs, as a formula names them -> what they are at a stage."""
        table = {}
        for target in self._targets(population):
            held = symbol(target + suffix)
            table[held] = held + symbol(_name("graded", number, target) + suffix)
        if number > 1:
            for state in self.resolved.cells[population].system.states:
                table[symbol(state + suffix)] = symbol(_name("stage", number, state) + suffix)
        return table

    def _gather(self, population: str, number: int, reach: sp.Rational) -> Gather:
        couplings = []
        for projection, item in self._graded[population]:
            table = self._at(projection.pre, number, "_pre") | self._at(projection.post, number, "_post")
            value = substituted(item.value, {**table, TIME: TIME + DT * reach} if reach else table)
            target = _name("graded", number, item.target)
            couplings.append(replace(couple(projection, Sum(item.target, value), "always"), target=target))
        variables = tuple(_name("graded", number, target) for target in self._targets(population))
        return Gather(population, variables, tuple(couplings), ())

    def _slopes(self, population: str, number: int, reach: sp.Rational) -> Update:
        """Slopes of a stage, and the states of the next."""
        system = self.resolved.cells[population].system
        at = {s.name: value for s, value in self._at(population, number).items()}
        lets, slopes = system.stage(number, at, TIME + DT * reach)
        assigns = lets + [Assign(system.slope(n, number).name, slope) for n, slope in slopes.items()]
        if number <= len(self.method.reaches):
            further = DT * self.method.reaches[number - 1]
            for n in system.states:
                value = symbol(n) + further * system.slope(n, number)
                assigns.append(Assign(_name("stage", number + 1, n), value))
        return Update(population, "stage", tuple(assigns) if slopes else ())

    def _whole(self, population: str) -> Update:
        """Inputs as they are read and recorded after the step's integration: with what came at its first stage."""
        assigns = (Assign(n, symbol(n) + symbol(_name("graded", 1, n))) for n in self._targets(population))
        return Update(population, "stage", tuple(assigns))


def _name(role: str, number: int, variable: str) -> str:
    return mangled(f"{role}{number}", variable)
