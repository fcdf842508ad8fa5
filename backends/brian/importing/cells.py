"""NeuronGroups and PoissonGroups -> populations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.errors import NotImportedError, refused_as
from backends.brian.importing.methods import method_of
from backends.brian.importing.words import Words, dimension, free, si
from neuro.checks.common import check_positive
from neuro.language.units import Quantity
from neuro.model import Neuron, Population

_PARAMETER, _DIFFERENTIAL = "parameter", "differential equation"


@dataclass(frozen=True)
class Outside:
    """What the rest of the network does to a group's variables. added: events change it; summed: synapses form it in each step."""

    added: set[str] = field(default_factory=set)
    summed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Cells:
    """A population, and the words that its group's text was read with: names and tables of time."""

    population: Population
    words: Words


def read_cells(group: Any, namespace: Mapping[str, Any], outside: Outside) -> Cells:
    """A group as a population. Raises NotImportedError."""
    reader = _PoissonReader if isinstance(group, brian2.PoissonGroup) else _Reader
    with refused_as(group.name):
        return reader(group, namespace, outside).cells()


class _Reader:
    def __init__(self, group: Any, namespace: Mapping[str, Any], outside: Outside) -> None:
        self.group, self.outside = group, outside
        self.equations = self.given()
        self.words = Words(group, namespace, own_names(self.equations), {"N": str(len(group))})
        self.reset = (
            self.words.statements(group.event_codes.get("spike") or "") if hasattr(group, "event_codes") else []
        )
        self.kept: list[str] = []  # variables that nothing in the group changes
        self.parameters: dict[str, Quantity] = {}
        self.initial: dict[str, Quantity] = {}

    def given(self) -> Mapping[str, Any]:
        return dict(self.group.user_equations)

    def cells(self) -> Cells:
        group = self.group
        self.check()
        lines = [self.line(name, equation) for name, equation in self.equations.items()]
        threshold = self.threshold()
        lines += [f"{name} : {dimension(table.array.dim)}" for name, table in self.words.tables.items()]
        each = {n: Quantity(float(np.ravel(v.value)[0]), v.dimension, v.unit) for n, v in self.parameters.items()}
        neuron = Neuron(
            group.name,
            equations="\n".join(lines),
            threshold=threshold,
            reset="\n".join(self.reset),
            every_step="\n".join(f"{name} = {name}" for name in self.kept),
            parameters={**self.words.constants, **each},
            refractory=self.refractory(),
            method=self.method(),
            source="imported from Brian2",
        )
        arrays = {n: v for n, v in self.parameters.items() if v.shape}
        return Cells(Population(group.name, neuron, len(group), arrays, self.initial), self.words)

    def check(self) -> None:
        events = sorted(set(self.group.events) - {"spike"})
        if events:
            reason = f"it has events of its own: {', '.join(events)}"
            raise self.words.refused(reason, "make them spikes of a group of their own, or leave them out")
        if self.group.subexpression_updater is not None:
            raise self.words.refused("it has subexpressions that are constant over dt", "leave the flag out")

    def line(self, name: str, equation: Any) -> str:
        own, tail = self.words.names[name], str(dimension(equation.dim))
        if equation.type == _PARAMETER:
            return f"{own} : {tail}{self.declared(name, equation)}"
        text = self.words.expression(equation.expr.code)
        if equation.type != _DIFFERENTIAL:
            return f"{own} = {text} : {tail}"
        self.initial[own] = self.standing(name)
        return f"d{own}/dt = {text} : {tail}{' (unless refractory)' if 'unless refractory' in equation.flags else ''}"

    def declared(self, name: str, equation: Any) -> str:
        """Flags of a declared variable: an input, a state that somebody changes, or a parameter."""
        own = self.words.names[name]
        if "linked" in equation.flags:
            raise self.words.refused(
                f"'{name}' is linked to another group's variable", "make it a variable of this group"
            )
        if name in self.outside.summed:
            return ""
        value = self.standing(name)
        assigned = any(line.split()[0] == own for line in self.reset)
        if not assigned and name not in self.outside.added and not any(check_positive(name, value, "")):
            self.parameters[own] = value
            return " (shared)" if "shared" in equation.flags else ""
        self.initial[own] = value
        if not assigned:
            self.kept.append(own)
        return ""

    def standing(self, name: str) -> Quantity:
        """The values that stand in a variable: one number where it is shared."""
        variable = self.group.variables[name]
        value = si(variable.get_value(), variable.dim)
        if not np.isfinite(value.value).all():
            raise self.words.refused(f"'{name}' holds values that are not finite", "give it finite ones")
        return compact(value) if variable.scalar else value

    def threshold(self) -> str:
        condition = self.group.events.get("spike")
        return self.words.expression(condition) if condition else ""

    def refractory(self) -> Any:
        given = self.group._refractory
        if given is False:
            return "0 ms"
        dt = float(self.group.clock.dt_)
        if isinstance(given, str):
            raise self.words.refused(f"its refractory period is the expression '{given}'", "give one time")
        steps = max(
            int((float(given) + 1e-3 * dt) / dt), 1
        )  # as Brian2's timestep() counts; 1 also holds what comes with the spike
        return si(steps * dt, brian2.second.dim)

    def method(self) -> str:
        return method_of(self.group, self.group.state_updater, self.group.equations, self.words.namespace)


class _PoissonReader(_Reader):
    """A PoissonGroup: cells that spike with a probability of rates*dt."""

    def given(self) -> Mapping[str, Any]:
        rates = self.group._rates
        kind = "parameter" if not isinstance(rates, str) else "subexpression"
        text = brian2.Equations("rates = 1*Hz : Hz" if kind == "subexpression" else "rates : Hz")
        return dict(text)

    def check(self) -> None:
        pass

    def line(self, name: str, equation: Any) -> str:
        if isinstance(self.group._rates, str):
            return f"rates = {self.words.expression(self.group._rates)} : hertz"
        return super().line(name, equation)

    def method(self) -> str:
        return "euler"


def own_names(equations: Iterable[str]) -> dict[str, str]:
    """Brian2's variables -> names that are free here; those that may stay do."""
    found: dict[str, str] = {}
    wanted = list(equations)
    stay = {n for n in wanted if free(n, ()) == n}
    for name in wanted:
        found[name] = name if name in stay else free(name, {*stay, *found.values()})
    return found


def compact(value: Quantity) -> Quantity:
    """One number where all are the same."""
    numbers = np.ravel(value.value)
    same = bool(numbers.size) and bool((numbers == numbers[0]).all())
    return Quantity(float(numbers[0]), value.dimension, value.unit) if same else value


def fail(owner: str, reason: str, fix: str) -> NotImportedError:
    return NotImportedError(owner, reason, fix)
