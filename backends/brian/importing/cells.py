"""NeuronGroups, PoissonGroups and SpikeGeneratorGroups -> populations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.errors import refused_as
from backends.brian.importing.methods import method_of
from backends.brian.importing.regular import Runner, regularly
from backends.brian.importing.statements import check_shared, statements
from backends.brian.importing.words import DIFFERENTIAL, PARAMETER, Words, dimension, free, si
from neuro.checks.common import check_positive
from neuro.language.scope import SPIKE_STATES
from neuro.language.units import Quantity
from neuro.model import Neuron, Population

RELAY = "s"  # of a SpikeGeneratorGroup that is a population: what makes a cell of it fire


@dataclass(frozen=True)
class Outside:
    """What the rest of the network does to a group's variables. added: events change it; summed: synapses form it in each step.

    runners: statements that run now and then. before: those of `summed` that others read as they were in the step before.
    """

    added: set[str] = field(default_factory=set)
    summed: set[str] = field(default_factory=set)
    runners: list[Runner] = field(default_factory=list)
    before: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Cells:
    """A population, and the words that its group's text was read with: names and tables of time. stays: variables, in Brian2's words, that nobody changes."""

    population: Population
    words: Words
    stays: frozenset[str] = frozenset()
    before: Mapping[str, str] = field(
        default_factory=dict
    )  # a sum of the cells' -> the state that holds it for a step more


def read_cells(group: Any, namespace: Mapping[str, Any], outside: Outside) -> Cells:
    """A group as a population. Raises NotImportedError."""
    with refused_as(group.name):
        if isinstance(group, brian2.SpikeGeneratorGroup):
            return relay(group, namespace)
        reader = _PoissonReader if isinstance(group, brian2.PoissonGroup) else _Reader
        return reader(group, namespace, outside).cells()


def with_tables(cells: Cells) -> Cells:
    """With an input for each table that synapses onto them have read meanwhile."""
    population, neuron = cells.population, cells.population.neuron
    lines = [
        f"{n} : {dimension(t.array.dim)}" for n, t in cells.words.tables.items() if n not in neuron.scope.dimensions
    ]
    if not lines:
        return cells
    equations = "\n".join(filter(None, [neuron.equations, *lines]))
    return replace(cells, population=replace(population, neuron=replace(neuron, equations=equations)))


def relay(group: Any, namespace: Mapping[str, Any]) -> Cells:
    """Cells that fire when they are told to: a SpikeGeneratorGroup whose cells synapses ask for more than spikes."""
    neuron = Neuron(group.name, f"{RELAY} : 1", threshold=f"{RELAY} > 0.5", source="imported from Brian2")
    return Cells(Population(group.name, neuron, len(group)), Words(group, namespace, {}))


class _Reader:
    def __init__(self, group: Any, namespace: Mapping[str, Any], outside: Outside) -> None:
        self.group, self.outside = group, outside
        self.equations = self.given()
        self.words = Words(group, namespace, own_names(self.equations), {"N": str(len(group))})
        self.write_out_noise()
        codes = getattr(group, "event_codes", {})
        self.reset = statements(self.words, codes.get("spike") or "")
        self.on_event = {n: statements(self.words, codes.get(n) or "") for n in self.own_events()}
        self.regularly = regularly(self.words, outside.runners)
        written = "\n".join([*self.reset, *self.regularly.values()]).splitlines()
        written += [line for block in self.on_event.values() for line in block]
        check_shared(self.words, self.equations, written)
        self.assigned = {line.split()[0] for line in written}
        self.kept: list[str] = []  # variables that nothing in the group changes
        self.stays: set[str] = set()
        self.parameters: dict[str, Quantity] = {}
        self.initial: dict[str, Quantity] = {}

    def given(self) -> dict[str, Any]:
        return dict(self.group.user_equations)

    def write_out_noise(self) -> None:
        """Subexpressions with noise in them are put into the equations that read them: noise stands nowhere else."""
        for equation in brian2.Equations(list(self.equations.values())).ordered if self.equations else ():
            noisy = {n for n in equation.identifiers if n == "xi" or n.startswith("xi_") or n in self.words.inlined}
            if equation.type == "subexpression" and noisy:
                self.words.inlined[equation.varname] = self.words.tree(equation.expr.code)
                del self.equations[equation.varname]

    def cells(self) -> Cells:
        group = self.group
        self.check()
        lines = [self.line(name, equation) for name, equation in self.equations.items()]
        threshold, refractory = self.threshold(), self.refractory()
        conditions = {n: self.words.expression(self.group.events[n]) for n in self.on_event}
        lines += self.words.held_lines()
        lines += [f"{name} : {dimension(table.array.dim)}" for name, table in self.words.tables.items()]
        before = {n: free(f"{self.words.names[n]}_before", self.words.taken) for n in sorted(self.outside.before)}
        for name, own in before.items():
            lines.append(f"{own} : {unit_of(self.equations[name])}")
            self.initial[own] = self.standing(name)
        every_step = [f"{n} = {n}" for n in self.kept] + [f"{own} = {self.words.names[n]}" for n, own in before.items()]
        neuron = Neuron(
            group.name,
            equations="\n".join(lines),
            threshold=threshold,
            reset="\n".join(self.reset),
            every_step="\n".join(every_step),
            parameters={**self.words.constants, **defaults(self.parameters)},
            refractory=refractory,
            method=self.method(),
            source="imported from Brian2",
            regularly=self.regularly,
            **self.events(conditions, {*self.words.constants, *self.parameters, *before.values()}),
        )
        arrays = {n: v for n, v in self.parameters.items() if v.shape}
        population = Population(group.name, neuron, len(group), arrays, self.initial)
        return Cells(population, self.words, frozenset(self.stays), before)

    def own_events(self) -> list[str]:
        """Events beside the spike, in the order in which Brian2 runs their statements."""
        runs = getattr(self.group, "resetter", {})
        found = set(getattr(self.group, "events", {})) - {"spike"}
        return sorted(found, key=lambda n: (runs[n].order, runs[n].name) if n in runs else (0, n))

    def events(self, conditions: Mapping[str, str], taken: set[str]) -> dict[str, dict[str, str]]:
        """Conditions and statements under names that are free; here they run in the order of these."""
        own: dict[str, str] = {}
        for name in conditions:
            own[name] = free(name, {*self.words.taken, *taken, *own.values()})
        running = [own[n] for n, block in self.on_event.items() if block]
        if running != sorted(running):
            reason = f"statements of its events run in the order {', '.join(running)}"
            raise self.words.refused(reason, "leave out order=..., so that they run in the order of their names")
        texts = {own[n]: "\n".join(block) for n, block in self.on_event.items() if block}
        return {"events": {own[n]: text for n, text in conditions.items()}, "on_event": texts}

    def check(self) -> None:
        last = self.group.variables.get("lastspike")
        if last is not None and (np.asarray(last.get_value()) != SPIKE_STATES["lastspike"]).any():
            raise self.words.refused("'lastspike' holds times at which nobody has spiked here", "leave it as it is")

    def line(self, name: str, equation: Any) -> str:
        own, tail = self.words.names[name], unit_of(equation)
        if equation.type == PARAMETER:
            return f"{own} : {tail}{self.declared(name, equation)}"
        text = self.words.expression(equation.expr.code)
        if equation.type != DIFFERENTIAL:
            return f"{own} = {text} : {tail}{' (constant over dt)' if 'constant over dt' in equation.flags else ''}"
        self.initial[own] = self.standing(name)
        return f"d{own}/dt = {text} : {tail}{' (unless refractory)' if 'unless refractory' in equation.flags else ''}"

    def declared(self, name: str, equation: Any) -> str:
        """Flags of a declared variable: an input, a state that somebody changes, or a parameter."""
        own = self.words.names[name]
        if "linked" in equation.flags or name in self.outside.summed:
            if own in self.assigned or name in self.outside.added:
                reason = f"'{name}' is summed or linked, and statements or events change it too"
                raise self.words.refused(reason, "let them change a variable of its own, and read both")
            return ""
        value = self.standing(name)
        assigned = own in self.assigned
        if not assigned and name not in self.outside.added:
            self.stays.add(name)
            if not any(check_positive(name, value, "")):
                self.parameters[own] = value
                return " (shared)" if "shared" in equation.flags else ""
        self.initial[own] = value
        if not assigned:
            self.kept.append(own)
        return ""

    def standing(self, name: str) -> Quantity:
        """The values that stand in a variable: one number where it is shared."""
        return standing(self.words, self.group.variables[name], name)

    def threshold(self) -> str:
        condition = self.group.events.get("spike")
        return self.words.expression(condition) if condition else ""

    def refractory(self) -> Any:
        given = self.group._refractory
        if given is False:
            return "0 ms"
        if isinstance(given, str):
            return self.words.expression(given)
        dt = float(self.group.clock.dt_)
        steps = max(
            int((float(given) + 1e-3 * dt) / dt), 1
        )  # as Brian2's timestep() counts; 1 also holds what comes with the spike
        flagged = {self.words.names[n] for n, e in self.equations.items() if "unless refractory" in e.flags}
        if flagged & {line.split()[0] for text in self.regularly.values() for line in text.splitlines()}:
            return f"{steps}*dt"  # so that cells know at the start of a step
        return si(steps * dt, brian2.second.dim)

    def method(self) -> str:
        return method_of(self.group, self.group.state_updater, self.group.equations, self.words.namespace)


class _PoissonReader(_Reader):
    """A PoissonGroup: cells that spike with a probability of rates*dt."""

    def given(self) -> dict[str, Any]:
        rates = self.group._rates
        return dict(brian2.Equations(f"rates = {rates} : Hz" if isinstance(rates, str) else "rates : Hz"))

    def check(self) -> None:
        pass

    def method(self) -> str:
        return "euler"


def reached_in(group: Any, names: Iterable[str]) -> set[str]:
    """Variables of a group that these names are made of, themselves included."""
    pending, found = list(names), set[str]()
    while pending:
        name = pending.pop()
        equation = group.equations.get(name)
        if equation is None or name in found:
            continue
        found.add(name)
        pending += list(equation.identifiers) if equation.type == "subexpression" else []
    return found


def standing(words: Words, variable: Any, name: str) -> Quantity:
    value = si(variable.get_value(), variable.dim)
    if not np.isfinite(value.value).all():
        raise words.refused(f"'{name}' holds values that are not finite", "give it finite ones")
    return first(value) if variable.scalar else value


def first(value: Quantity) -> Quantity:
    """The first of its numbers."""
    return Quantity(float(np.ravel(value.value)[0]), value.dimension, value.unit)


def defaults(parameters: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """One number for each parameter, which those of every cell or synapse come before."""
    return {name: first(value) for name, value in parameters.items()}


def unit_of(equation: Any) -> str:
    """integer, boolean, or a unit."""
    return {"integer": "integer", "boolean": "boolean"}.get(equation.var_type, str(dimension(equation.dim)))


def own_names(equations: Iterable[str]) -> dict[str, str]:
    """Brian2's variables -> names that are free here; those that may stay do."""
    found: dict[str, str] = {}
    wanted = list(equations)
    stay = {n for n in wanted if free(n, ()) == n}
    for name in wanted:
        found[name] = name if name in stay else free(name, {*stay, *found.values()})
    return found


def bare(name: str) -> str:
    """A cell's variable as a synapse calls it, without the end."""
    return re.sub(r"_(pre|post)$", "", name)
