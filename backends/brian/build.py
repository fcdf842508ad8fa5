"""Network -> Brian2 objects, in our order of events. Batches are tiled copies: cells, then synapses, trial by trial.

Brian2's slots, and our order within them:
    start       inputs written (FIRST); what cells, then synapses, do regularly, in an order below 0; by population, sources first: presynaptic factors of its graded sums (3n), the sums
                (3n + 1), then inputs gathered (3n + 2)
    groups      synapses' equations (-2), bounds of weights that follow equations (-1), cells' (0), cells' every_step (1); where
                something is summed at turns: before all of these -4 for each population, then by population the factors (0), sums (1),
                inputs (2) and equations (3); equations of synapses that are integrated at the end (2), their bounds (3); by population
                the factors (3n + 4), sums (3n + 5) and inputs (3n + 6) of what is summed at the end of a step; synapses' every_step
    thresholds
    synapses    what drives add (-1), on_pre of all projections in order, then on_post
    after       of the thresholds: what says which events happened is 0 (-1), their conditions (0), and 1 where one holds (1); of the resets:
                their statements
    resets
    end         monitors (0), count of the steps with finite states (1)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian import text as words
from backends.brian.built import Built, Feed, PreparedNetwork
from backends.brian.devices import BrianObjectException, UnsupportedEquationsException, brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.errors import OTHERS, described
from backends.brian.exact import DegenerateError, Propagator, Tie, symbol_of
from backends.brian.happening import happen, own_events
from backends.brian.integrators import Integrators
from backends.brian.names import HIGHEST, LOWEST, PLACE, Names, arriving, finite_steps, may_diverge
from backends.brian.plan import Sum, limits, pairs, sources_first, sums
from backends.brian.starting import feeds, starting
from backends.brian.text import Table, unit_text
from neuro.compiler.couplings import Place, inputs_summed
from neuro.compiler.drives import weight_of
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import late, resolve
from neuro.language.dimensions import dimension_of
from neuro.language.equations import Equation, Expression, Statement
from neuro.language.scope import NeuronScope
from neuro.language.units import unit
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse
from neuro.protocols import UnsupportedError

Array = npt.NDArray[Any]
Block = tuple[Statement, ...]
Ties = Mapping[str, Tie]  # by population and projection


class Builder:
    """Makes the objects of one network. steps: known only to programs that are built in C++."""

    def __init__(
        self, network: Network, batch: int, steps: int | None = None, ties: Ties | None = None, integrators: Integrators | None = None,
        names: Names | None = None,
    ) -> None:  # fmt: skip
        self.network, self.batch, self.steps, self.ties = network, batch, steps, ties or {}
        self.integrators = integrators or Integrators()
        self.dt = float(network.dt.value) * brian2.second
        self.clock = brian2.Clock(dt=self.dt, name="steps")
        self.names = Names(network) if names is None else names
        self.built = Built(PreparedNetwork(name="simulation"), self.names, self.clock)
        self.declared = parameters(network)
        self.rank = {name: 3 * n for n, name in enumerate(sources_first(network, "start"))}
        self.late_rank = {name: 3 * n + 4 for n, name in enumerate(sources_first(network, "end"))}
        self.pre_order = count()
        self.post_order = count(sum(len(p.synapse.scope.pathways) for p in network.projections))
        self.turns = -4 * len(network.populations) if any(network.turn_inputs.values()) else 0
        self.every_step_order = count(3 * len(network.populations) + 4)
        self.sent = {p.name: found for p in network.projections if (found := self.split(p))}

    def build(self) -> Built:
        built, network = self.built, self.network
        for population in network.populations:
            self.cells(population)
        for source in network.inputs:
            if source.sends:
                self.source(source)
        for number, projection in enumerate(network.projections):
            self.projection(projection, number)
        starting(network, built, self.limit)
        for population in network.populations:
            if population.neuron.threshold:
                name = population.name
                built.spikes[name] = brian2.SpikeMonitor(built.groups[name], name=self.names.object("spikes", name))
        feeds(built, self.steps)
        objects = [*built.groups.values(), *built.synapses.values(), *built.spikes.values()]
        built.network.add(*objects)
        return built

    # -- cells ---------------------------------------------------------------------------------------------

    def cells(self, population: Population) -> None:
        scope, name = population.neuron.scope, population.name
        own = self.names[name]
        group = brian2.NeuronGroup(
            self.batch * population.size,
            "\n".join(self.cell_lines(population)),
            threshold=words.text(scope.threshold, own, condition=True) if scope.threshold else None,
            events=dict(own_events(scope, own)),
            reset=words.statements(scope.reset, own) or None,
            refractory=self.refractory(population.neuron, own),
            **self.method(population.neuron),
            clock=self.clock,
            name=self.names.object("cells", name),
        )
        self.built.groups[name] = group
        for kept in {own[n] for n in population.neuron.frozen} - group.equations.diff_eq_names:  # which have no flag
            group.variables[kept].set_conditional_write(group.variables["not_refractory"])
        self.solve(name, group, population.neuron.method)
        self.built.feeds |= {f"{name}.{n}": Feed(group, own[n]) for n in scope.noise}
        self.gather(population, group, "start")
        self.gather(population, group, "turn")
        self.gather(population, group, "end")
        if self.turns:
            group.state_updater.order = self.at(name, "turn", 3)["order"]
        self.send(population, group)
        self.drive(population, group)
        happen(group, scope, own, self.clock)
        if scope.every_step:
            group.run_regularly(words.statements(scope.every_step, own), when="groups", order=1, clock=self.clock)
        if finite := [*self.finite(scope, own)]:
            group.run_regularly("\n".join(finite), when="end", order=1, clock=self.clock)

    def refractory(self, neuron: Neuron, own: Table) -> Any:
        """Brian2's cells know of their spikes only where they have a period, be it 0."""
        scope = neuron.scope
        if scope.refractory is not None:
            return words.text(scope.refractory, own, condition=not scope.timed)
        steps = round(neuron.period / float(self.network.dt.value))
        return steps * self.dt if steps or scope.spike_states else False

    def at(self, population: str, place: str, number: int) -> dict[str, Any]:
        """Slot and order of what forms a population's sums: 0 factors, 1 sums, 2 inputs."""
        if place == "turn":
            turn = next(n for n, p in enumerate(self.network.populations) if p.name == population)
            return {"when": "groups", "order": self.turns + 4 * turn + number}
        slot, rank = ("start", self.rank) if place == "start" else ("groups", self.late_rank)
        return {"when": slot, "order": rank[population] + number}

    def gather(self, population: Population, group: Any, place: Place) -> None:
        """Inputs that are summed at that place of a step."""
        scope, name, gather = population.neuron.scope, population.name, []
        own = self.names[name]
        for n in inputs_summed(self.network, name, place):
            events = arriving(own[n])
            terms = [events]
            for i in self.currents(name):
                if i.target == f"{name}.{n}":
                    terms.append(self.names.part(own[n], i.name))
                    self.built.feeds[i.name] = Feed(group, terms[-1], unit_text(scope.dimensions[n]))
            terms += [s.variable for s in self.sums_into(name) if s.target == n and s.statement is None]
            gather += [f"{own[n]} = {' + '.join(terms)}", f"{events} = 0*{unit_text(scope.dimensions[n])}"]
        if gather:
            group.run_regularly("\n".join(gather), **self.at(name, place, 2), clock=self.clock)

    def cell_lines(self, population: Population) -> Iterator[str]:
        """Equations: the neuron's own, then variables that only this backend has."""
        scope, dimension = population.neuron.scope, population.neuron.scope.dimensions
        own = self.names[population.name]
        yield from self.shared_rates(population.name)
        for equation in scope.equations:
            if equation.name not in scope.parameters:
                flags = equation.flags & {"unless refractory"} if equation.kind == "differential" else ()
                yield self.equation(population.name, equation, flags)
        for name in scope.parameters:
            yield words.declaration(own[name], dimension[name], "constant")
        for name in scope.inputs:
            yield words.declaration(arriving(own[name]), dimension[name])
        for name in (*scope.noise, *scope.event_states):
            yield f"{own[name]} : 1"
        yield from self.finite_lines(scope, own)
        for source in self.currents(population.name):
            name = source.target.partition(".")[2]
            yield words.declaration(self.names.part(own[name], source.name), dimension[name])
        for source in self.into(population.name, "drive"):
            yield words.declaration(self.names.count(source.name), unit("1").dimension)
        for item in self.sums_into(population.name):
            yield words.declaration(item.variable, dimension[item.target])
        yield from self.sent_lines(population)

    def solve(self, owner: str, group: Any, method: str) -> None:
        if method == "exact" and group.equations.diff_eq_names:
            try:
                self.built.propagators[owner] = Propagator.of(group)
            except DegenerateError as error:
                raise UnsupportedError("brian2", described(self.network, owner), str(error), OTHERS) from None
            except UnsupportedEquationsException as error:
                raise BrianObjectException("no formula", group) from error

    def shared_rates(self, owner: str) -> Iterator[str]:
        if owner in self.ties:
            yield from (f"{symbol_of(n)} : Hz (constant)" for n in sorted({n for _, n in self.ties[owner].rates}))

    def equation(self, owner: str, item: Equation, flags: Iterable[str]) -> str:
        """One line of equations; where rates are tied, with the symbol that they share."""
        variable = self.names[owner][item.name]
        tie = self.ties.get(owner)
        if tie is None or variable not in dict(tie.rates):
            return words.equation(item, self.names[owner], flags)
        rest = dict(tie.rest)[variable]
        line = f"d{variable}/dt = {symbol_of(dict(tie.rates)[variable])}*{variable}" + (
            f" + {rest}" if rest != "0" else ""
        )
        return words.declaration(line, item.dimension, *flags)

    def method(self, model: Neuron | Synapse) -> dict[str, Any]:
        """How Brian2 is told to integrate it."""
        return {"method": self.integrators[model.method]}

    def finite_lines(self, scope: NeuronScope, own: Table) -> Iterator[str]:
        """Declarations for `finite`."""
        return (f"{finite_steps(own[name])} : integer" for name in may_diverge(scope))

    def finite(self, scope: NeuronScope, own: Table) -> Iterator[str]:
        """Statements that count the steps in which each state is finite."""
        for name in may_diverge(scope):
            counter, infinite = finite_steps(own[name]), f"inf*({unit_text(scope.dimensions[name])})"
            yield f"{counter} += int({counter} == t_in_timesteps and abs({own[name]}) < {infinite})"

    def split(self, projection: Projection) -> tuple[Expression, Expression] | None:
        """Presynaptic factor and rest of a projection's graded value: the factor is computed once per cell."""
        value = projection.synapse.scope.transmits
        if value is None:
            return None
        own = {e.name for e in projection.synapse.scope.equations}
        names = [n for n in projection.synapse.scope.parameters if n not in own]
        return words.split(value, [n for n in names if self.is_number(projection, n)])

    def is_number(self, projection: Projection, name: str) -> bool:
        parameter = self.declared.get(f"{projection.name}.{name}")
        return parameter is not None and not parameter.shape

    def sending(self, population: Population) -> Iterator[tuple[Projection, Expression, tuple[str, ...]]]:
        """Projections whose presynaptic factor this population holds, and the projection's numbers in it."""
        for projection in self.network.projections:
            if projection.name in self.sent and projection.pre == population.name:
                factor = self.sent[projection.name][0]
                yield projection, factor, tuple(n for n in factor.names if not n.endswith("_pre"))

    def sent_lines(self, population: Population) -> Iterator[str]:
        """Declarations for `sending`."""
        own = {f"{n}_pre": d for n, d in population.neuron.scope.kinds.items()}
        for projection, factor, numbers in self.sending(population):
            dimensions = {**projection.synapse.scope.dimensions, **own}
            found = dimension_of(factor, dimensions)
            yield words.declaration(self.names.sent(projection.name), found)  # type: ignore[arg-type]
            for name in numbers:
                dimension = projection.synapse.scope.dimensions[name]
                yield words.declaration(self.names.number(name, projection.name), dimension, "constant")

    def send(self, population: Population, group: Any) -> None:
        """Compute the presynaptic factors when the sums of their targets are formed."""
        for projection, factor, numbers in self.sending(population):
            held_here = {n: self.names.number(n, projection.name) for n in numbers}
            own = {f"{n}_pre": variable for n, variable in self.names[population.name].items()}
            code = f"{self.names.sent(projection.name)} = {words.text(factor, own | held_here)}"
            group.run_regularly(code, **self.at(projection.post, projection.summed, 0), clock=self.clock)
            for name, held in held_here.items():
                self.built.numbers[f"{projection.name}.{name}"] = (group, held)

    def currents(self, population: str) -> list[Input]:
        return self.into(population, "current")

    def into(self, population: str, kind: str) -> list[Input]:
        return [i for i in self.network.inputs if i.kind == kind and i.target.partition(".")[0] == population]

    def drive(self, population: Population, group: Any) -> None:
        """What drives add to states, where a refractory cell takes nothing that it keeps."""
        own, lines = self.names[population.name], []
        for source in self.into(population.name, "drive"):
            count = self.names.count(source.name)
            self.built.feeds[source.name] = Feed(group, count)
            lines.append(f"{own[source.target.partition('.')[2]]} += {own[weight_of(source.name)]}*{count}")
        if lines:
            group.run_regularly("\n".join(lines), when="synapses", order=-1, clock=self.clock)

    def sums_into(self, population: str) -> list[Sum]:
        return [s for p in self.network.projections if p.post == population for s in sums(p, self.names)]

    def source(self, source: Input) -> None:
        group = brian2.NeuronGroup(
            self.batch * source.size, "s : 1", threshold="s > 0.5", clock=self.clock,
            name=self.names.object("source", source.name),
        )  # fmt: skip
        self.built.groups[source.name] = group
        self.built.feeds[source.name] = Feed(group, "s")

    # -- synapses ------------------------------------------------------------------------------------------

    def projection(self, projection: Projection, number: int) -> None:
        pre, post, chosen = pairs(self.network, projection)
        if not len(pre):
            return  # Brian2 has no empty projections
        scope, cells = projection.synapse.scope, self.network.population(projection.post)
        own, inputs = self.names[projection.name], cells.neuron.scope.inputs
        limit = self.limit(projection)
        moved = limit if any(e.name == "w" for e in scope.event_driven) else ""
        targets = own | {f"{n}_post": f"{arriving(self.names[cells.name][n])}_post" for n in inputs}
        synapses = brian2.Synapses(
            self.built.groups[projection.pre],
            self.built.groups[projection.post],
            "\n".join(self.synapse_lines(projection)),
            on_pre={n: self.at_event(b, own, targets, limit, moved) for n, b in self.pathways(projection)} or None,
            on_post=self.at_event(scope.on_post, own, targets, limit, moved),
            **self.method(projection.synapse),
            clock=self.clock,
            name=self.names.object("synapses", projection.name),
        )
        shift = np.arange(self.batch)[:, None]
        size = self.network.source_size(projection.pre)
        synapses.connect(i=(pre + shift * size).ravel(), j=(post + shift * cells.size).ravel())
        for name, label in zip((n for n, _ in self.pathways(projection)), scope.pathways, strict=True):
            pathway = getattr(synapses, name)
            pathway.delay = np.tile(self.delays(projection, label)[chosen], self.batch) * self.dt
            pathway.order = next(self.pre_order)
        if scope.on_post:
            synapses.post.delay = (late(self.network, projection, "post") or 0) * self.dt
            synapses.post.order = next(self.post_order)
        order = 2 if projection.integrated == "end" else self.turns - 2
        if synapses.state_updater is not None:
            synapses.state_updater.order = order
        if limit and not moved and any(e.name == "w" for e in scope.of_kind("differential")):
            synapses.run_regularly(limit, when="groups", order=order + 1, clock=self.clock)
        self.built.synapses[projection.name] = synapses
        self.built.feeds |= {f"{projection.name}.{n}": Feed(synapses, own[n], place=PLACE) for n in scope.noise}
        self.solve(projection.name, synapses, projection.synapse.method)
        self.synaptic_steps(projection, synapses)

    def at_event(self, block: Any, own: Table, targets: Table, limit: str, moved: str) -> str | None:
        """A pathway's statements. moved: what follows when Brian2 has solved a weight's equation up to the event."""
        return "\n".join(filter(None, [moved, words.statements(block, own, targets, limit)])) if block else None

    def pathways(self, projection: Projection) -> list[tuple[str, Block]]:
        """Brian2's name of each pathway of on_pre, and its statements."""
        return [(f"pre{n}" if n else "pre", b) for n, b in enumerate(projection.synapse.scope.pathways.values())]

    def delays(self, projection: Projection, label: str) -> Array:
        """Steps of a pathway, one per entry of the flattened layout."""
        resolved = resolve(self.network)
        own, shape = late(self.network, projection, label), resolved.wires[projection.name].shape
        return np.broadcast_to(resolved.delays[projection.name] if own is None else own, shape).ravel()

    def limit(self, projection: Projection) -> str:
        """The statement that keeps a plastic projection's weights within its bounds and sign."""
        found = limits(projection, self.declared)
        if found is None:
            return ""
        low, high = (words.number(x) if x.ndim == 0 else name for x, name in zip(found, (LOWEST, HIGHEST), strict=True))
        dimension = self.declared[f"{projection.name}.w"].dimension
        return words.limited(self.names[projection.name]["w"], low, high, dimension)

    def synapse_lines(self, projection: Projection) -> Iterator[str]:
        scope, own = projection.synapse.scope, self.names[projection.name]
        scalars = self.names.scalars[projection.name]
        yield from self.shared_rates(projection.name)
        for equation in scope.equations:
            if equation.kind == "differential":
                solved = "event-driven" if equation in scope.event_driven else "clock-driven"
                yield self.equation(projection.name, equation, [solved])
            elif equation.name not in {*scope.parameters, *scalars}:
                yield words.equation(equation, own)
        for name in scope.parameters:  # those of a receptor live in the cell
            if f"{projection.name}.{name}" in self.declared:
                yield words.declaration(own[name], scope.dimensions[name], "constant")
        yield from (f"{own[name]} : 1" for name in scope.noise)
        yield from (f"{PLACE} : integer (constant)" for _ in scope.noise[:1])
        for limit, name in zip(limits(projection, self.declared) or (), (LOWEST, HIGHEST), strict=False):
            if limit.ndim:
                yield words.declaration(name, unit("1").dimension, "constant")
        dimensions = self.network.population(projection.post).neuron.scope.dimensions
        for item in sums(projection, self.names):
            value = words.text(item.value, own)
            if item.statement is None and projection.name in self.sent:
                value = f"({words.text(self.sent[projection.name][1], own)})*{self.names.sent(projection.name)}_pre"
            line = f"{item.variable}_post = {value}"
            yield f"{line} : {unit_text(dimensions[item.target])} (summed)"

    def synaptic_steps(self, projection: Projection, synapses: Any) -> None:
        """When sums are formed; every_step statements, one after another."""
        updaters = {u.target_varname.removesuffix("_post"): u for u in synapses.summed_updaters.values()}
        by_statement = {}
        for item in sums(projection, self.names):
            if item.statement is None:
                at = self.at(projection.post, projection.summed, 1)
                updaters[item.variable].when, updaters[item.variable].order = at["when"], at["order"]
            else:
                by_statement[item.statement] = item
        group = self.built.groups[projection.post]
        inputs = self.network.population(projection.post).neuron.scope.inputs
        for statement in projection.synapse.scope.every_step:
            found = by_statement.get(statement)
            if found is None:
                self.regularly(
                    synapses, words.statements([statement], self.names[projection.name], limit=self.limit(projection))
                )
                continue
            updaters[found.variable].order = next(self.every_step_order)
            name = self.names[projection.post][found.target]
            name = arriving(name) if found.target in inputs else name
            self.regularly(group, f"{name} {statement.op} {found.variable}")

    def regularly(self, group: Any, code: str) -> None:
        group.run_regularly(code, when="groups", order=next(self.every_step_order), clock=self.clock)
