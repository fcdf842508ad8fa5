"""Synapses -> projections with every synapse listed, as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import numpy as np
from brian2.utils.stringtools import get_identifiers

from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.cells import Cells, bare, defaults, own_names, standing, unit_of
from backends.brian.importing.errors import NotImportedError, refused_as
from backends.brian.importing.methods import method_of
from backends.brian.importing.regular import Runner, regularly
from backends.brian.importing.statements import check_shared, operations, statements, targets
from backends.brian.importing.words import DIFFERENTIAL, PARAMETER, Words, free, si
from neuro.checks.common import check_positive
from neuro.language.units import Quantity
from neuro.model import Pairs, Projection, Synapse

Summed = Literal["start", "turn"]  # where in a step a sum is formed
Integrated = Literal["start", "end"]  # and equations of synapses are integrated


@dataclass(frozen=True)
class End:
    """One end of synapses: name of the population or input, its cells if it has any, first cell and number of its part."""

    name: str
    group: Any
    cells: Cells | None
    first: int
    size: int
    late: frozenset[tuple[str, str, str]] = frozenset()  # see order.read_before

    def before(self, updater: Any, suffix: str) -> dict[str, str]:
        """Names of what this sum reads as it was in the step before."""
        read = [n for by, group, n in self.late if by == updater.name and group == self.name]
        return {f"{n}{suffix}": f"{self.cells.before[n]}{suffix}" for n in read if self.cells is not None}

    def names(self) -> dict[str, str]:
        found = dict(self.cells.words.names) if self.cells is not None else {}
        refractory = {n: n for n in ("lastspike", "not_refractory") if n in self.group.variables}
        return refractory | found


def own_equations(synapses: Any) -> dict[str, Any]:
    """Integrated in each step, between events, or not at all."""
    found = dict(synapses.equations)
    between = synapses.event_driven
    return found | {n: e for n, e in (between or {}).items() if e.type == DIFFERENTIAL}


def changed_outside(synapses: Any) -> Iterator[tuple[str, str, str]]:
    """("added" or "summed", source or target, variable of it) for what these synapses do to cells."""
    own = own_equations(synapses)
    for pathway in synapses._pathways:
        for name in targets(pathway.code):
            if name not in own:
                yield "added", "source" if name.endswith("_pre") else "target", bare(name)
    for name in synapses.summed_updaters:
        yield "summed", "source" if name.endswith("_pre") else "target", bare(name)


def check_rest(synapses: Any, end: str, group: Any, name: str) -> None:
    """Cells that a sum isn't formed for keep in Brian2 what stands in their variable; here they have no sum. Raises NotImportedError."""
    part = getattr(synapses, end)
    rest = np.array(group.variables[name].get_value())
    rest[part.start : part.start + len(part)] = 0
    if rest.any():
        reason = f"it sums '{name}' for some cells of '{group.name}', and others hold values of their own"
        raise NotImportedError(synapses.name, reason, f"let them hold 0, or give '{name}' to a group of its own")


def reached(synapses: Any, names: Iterable[str]) -> set[str]:
    """Variables that these names of a synapse's text are made of, those of cells with their suffix."""
    own = own_equations(synapses)
    pending, found = list(names), set[str]()
    while pending:
        name = pending.pop()
        if name not in own:
            name = name if name.endswith(("_pre", "_post")) else f"{name}_post"
        if name in found:
            continue
        found.add(name)
        suffix = "" if name in own else name[len(bare(name)) :]
        group = synapses.source if suffix == "_pre" else synapses.target
        equation = own.get(name) or (getattr(group, "equations", None) or {}).get(bare(name))
        if equation is not None and equation.type == "subexpression":
            pending += [f"{n}{suffix}" for n in equation.identifiers]
    return found


@dataclass(frozen=True)
class Around:
    """What the network says of synapses: their ends, statements that run now and then, where in a step each of their sums is formed, and their equations integrated."""

    pre: End
    post: End
    runners: Sequence[Runner]
    places: Mapping[str, Summed]
    integrated: Integrated = "start"


def read_synapses(
    synapses: Any, namespace: Mapping[str, Any], around: Around
) -> tuple[list[Projection], dict[str, str]]:
    """One projection, and one more for each further variable that they sum into cells; their own variables' names. Raises NotImportedError."""
    with refused_as(synapses.name):
        reader = _Reader(synapses, namespace, around)
        return reader.projections(), reader.mine


def event_name(group: str, event: str) -> str:
    """The population whose cells spike where those of a group had an event."""
    return f"{group}_{event}"


class _Reader:
    def __init__(self, synapses: Any, namespace: Mapping[str, Any], around: Around) -> None:
        self.synapses, self.around = synapses, around
        self.pre, self.post = pre, post = around.pre, around.post
        self.equations = own_equations(synapses)
        names = post.names() | {f"{n}_post": f"{own}_post" for n, own in post.names().items()}
        names = {n: own if own.endswith("_post") else f"{own}_post" for n, own in names.items()}
        names |= {f"{n}_pre": f"{own}{'_post' if self.to_itself() else '_pre'}" for n, own in pre.names().items()}
        mine = own_names(self.equations)
        if "w" in self.equations and self.equations["w"].expr is not None and self.equations["w"].type != DIFFERENTIAL:
            mine["w"] = free("w_1", mine.values())  # `w` is a weight, which has values
        counts = {"N": str(len(synapses)), "N_pre": str(pre.size), "N_post": str(post.size)}
        counts |= {n: f"({n} - {end.first})" for n, end in (("i", pre), ("j", post)) if end.first}
        self.mine = mine
        self.words = Words(synapses, namespace, names | mine, counts, suffix="_post")
        if post.cells is not None:
            known = post.cells.words
            self.words = replace(self.words, tables=known.tables, beside=frozenset(known.taken))
        self.check_writes()
        self.blocks = {p.objname: statements(self.words, p.code) for p in synapses._pathways}
        self.regularly = regularly(self.words, around.runners)
        written = [line for block in self.blocks.values() for line in block]
        written += [line for block in self.regularly.values() for line in block.splitlines()]
        check_shared(self.words, self.equations, written)
        self.assigned = {line.split()[0] for line in written}
        self.kept: list[str] = []
        self.parameters: dict[str, Quantity] = {}
        self.initial: dict[str, Quantity] = {}
        self.weights: Quantity | None = None

    def check_writes(self) -> None:
        """Of cells, events change the target's variables, by adding to them. Raises NotImportedError."""
        for pathway in self.synapses._pathways:
            for target, op, text in operations(self.words, pathway.code):
                if target in self.equations or self.words.names.get(target, "").rpartition("_")[2] not in (
                    "pre",
                    "post",
                ):
                    continue
                what = f"its '{pathway.objname}' says '{text}'"
                if target.endswith("_pre") and not self.to_itself():
                    fix = f"join the groups the other way round in a Synapses object of its own, which adds to '{bare(target)}_post'"
                    raise self.words.refused(f"{what}, and synapses change their targets alone", fix)
                if op not in ("+=", "-="):
                    fix = f"let events add to a variable of their own, such as 'events_post += 1', and let the cells change '{bare(target)}' by that"
                    raise self.words.refused(f"{what}; of several events in a step the order would count", fix)

    def projections(self) -> list[Projection]:
        if self.synapses.subexpression_updater is not None:
            raise self.words.refused("it has subexpressions that are constant over dt", "leave the flag out")
        if self.synapses.equations.is_stochastic:
            fix = "give each synapse a cell of a NeuronGroup that has the equation, or leave the noise out"
            raise self.words.refused("its equations have noise, of which each synapse would have its own", fix)
        if "lastupdate" in self.synapses.variables and np.any(self.synapses.variables["lastupdate"].get_value()):
            raise self.words.refused("'lastupdate' holds times at which nothing has happened here", "leave it as it is")
        lines = [self.line(name, equation) for name, equation in self.equations.items()]
        lines += self.words.held_lines()
        sums = [self.sum(name, updater) for name, updater in self.synapses.summed_updaters.items()]
        method = method_of(self.synapses, self.synapses.state_updater, self.synapses.equations, self.words.namespace)
        if "w" in self.words.constants:
            self.weights = self.words.constants.pop("w")
            lines.append(f"w : {self.weights.dimension}")
        runs = self.runs()
        self.check_runs(runs)
        synapse = Synapse(
            self.synapses.name,
            equations="\n".join(lines),
            on_pre=self.on_pre(runs[0]),
            on_post=self.on_post(),
            every_step="\n".join(f"{name} = {name}" for name in self.kept),
            transmits=sums[0][1] if sums else "",
            target=sums[0][0] if sums else "",
            parameters={**self.words.constants, **defaults(self.parameters)},
            method=method,
            source="imported from Brian2",
            regularly=self.regularly,
        )
        self.check_tables(synapse, [value for _, value in sums])
        places: list[Summed] = [self.around.places[name] for name in self.synapses.summed_updaters]
        found = Projection(
            self.synapses.name,
            self.sender(runs[0]),
            self.post.name,
            synapse,
            weights=self.weights,
            connectivity=self.pairs(),
            delay=self.delays(runs[0]),
            parameters={n: v for n, v in self.parameters.items() if v.shape},
            initial=self.initial,
            summed=places[0] if places else "start",
            integrated=self.around.integrated,
        )
        rest = [self.further(found, *item, place) for item, place in zip(sums[1:], places[1:], strict=True)]
        return [found, *(self.run(found, run) for run in runs[1:]), *rest]

    def runs(self) -> list[list[Any]]:
        """Pathways of presynaptic events in order, those that follow one event after another together; one projection each."""
        found = [list(run) for _, run in groupby(self.pathways("pre"), key=lambda p: p.event)]
        return found or [[]]

    def sender(self, run: list[Any]) -> str:
        """Whose spikes a projection hears: the cells', or those of the cells that tell of an event of theirs."""
        if not run or run[0].event == "spike":
            return self.pre.name
        event, texts = run[0].event, "\n".join(line for p in run for line in self.blocks[p.objname])
        read = re.findall(r"\b\w+_pre\b", texts)
        if read or self.synapses.summed_updaters:
            reason = (
                f"it follows the event '{event}', and reads '{read[0]}' of the cells that had it"
                if read
                else f"it follows the event '{event}', and sums"
            )
            raise self.words.refused(
                reason, "let the spikes' pathways read the cells, in a Synapses object of their own"
            )
        return event_name(self.pre.name, event)

    def check_runs(self, runs: list[list[Any]]) -> None:
        """Projections of one object have each variable of their own."""
        states = sorted({*self.initial, *({"w"} & self.assigned)})
        if len(runs) > 1 and states:
            reason = f"its pathways follow several events, and share states: {', '.join(states)}"
            raise self.words.refused(reason, "give each event a Synapses object of its own")

    def run(self, first: Projection, run: list[Any]) -> Projection:
        """Pathways that follow another event than those before them."""
        name = f"{first.name}_{run[0].objname}"
        synapse = replace(first.synapse, name=name, on_pre=self.on_pre(run), on_post="", transmits="", target="")
        return replace(
            first, name=name, pre=self.sender(run), synapse=synapse, delay=self.delays(run), delays={}, summed="start"
        )

    def on_pre(self, run: list[Any]) -> dict[str, str]:
        return {label: "\n".join(self.blocks[p.objname]) for label, p in self.labels(run).items()}

    def check_tables(self, synapse: Synapse, sums: Sequence[str]) -> None:
        """A table is an input of the targets: formed with their sums, and held for a step."""
        tables = {f"{name}_post": name for name in self.words.tables}
        equations = (
            [e.expression for e in synapse.scope.of_kind("differential")] if synapse.method in ("rk2", "rk4") else []
        )
        texts = {
            "what it sums": {n for text in sums for n in get_identifiers(text)},
            f"'{synapse.method}', within a step,": {n for e in equations if e is not None for n in e.names},
        }
        for what, names in texts.items():
            for name in sorted(synapse.scope.reached(names) & tables.keys()):
                reason, fix = (
                    f"{what} reads the TimedArray '{tables[name]}'",
                    "read it in the cells' equations, or integrate by 'euler'",
                )
                raise self.words.refused(reason, fix)

    def further(self, first: Projection, target: str, value: str, place: Summed) -> Projection:
        if first.synapse.scope.states:
            reason = f"it sums several variables into cells, and has states: {', '.join(first.synapse.scope.states)}"
            raise self.words.refused(reason, "give each summed variable a Synapses object of its own")
        name = f"{first.name}_{target}"
        synapse = replace(first.synapse, name=name, on_pre="", on_post="", transmits=value, target=target)
        return replace(first, name=name, synapse=synapse, delay="0 ms", delays={}, summed=place)

    def pairs(self) -> Pairs:
        variables = self.synapses.variables
        pre, post = (np.asarray(variables[f"_synaptic_{end}"].get_value(), np.int64) for end in ("pre", "post"))
        return Pairs(pre, post)

    def to_itself(self) -> bool:
        """Whether each synapse joins a cell to itself: both ends' variables are then one."""
        pairs = self.pairs()
        return self.pre.name == self.post.name and bool((pairs.pre == pairs.post).all())

    def line(self, name: str, equation: Any) -> str:
        own, tail = self.mine[name], unit_of(equation)
        if equation.type == PARAMETER:
            return f"{own} : {tail}{self.declared(name, equation)}"
        text = self.words.expression(equation.expr.code)
        if equation.type != DIFFERENTIAL:
            return f"{own} = {text} : {tail}"
        self.begins(own, self.standing(name))
        return f"d{own}/dt = {text} : {tail}{' (event-driven)' if 'event-driven' in equation.flags else ''}"

    def declared(self, name: str, equation: Any) -> str:
        if "linked" in equation.flags:
            fix = "make it a variable of the cells that the synapses join"
            raise self.words.refused(f"'{name}' is linked to another group's variable", fix)
        own, value = self.mine[name], self.standing(name)
        assigned = own in self.assigned
        if own == "w":
            self.weights = value
        elif not assigned and not any(check_positive(name, value, "")):
            self.parameters[own] = value
            return " (shared)" if "shared" in equation.flags else ""
        else:
            self.begins(own, value)
            self.kept += [] if assigned else [own]
        return ""

    def begins(self, own: str, value: Quantity) -> None:
        if own == "w":
            self.weights = value
        else:
            self.initial[own] = value

    def standing(self, name: str) -> Quantity:
        return standing(self.words, self.synapses.variables[name], name)

    def sum(self, name: str, updater: Any) -> tuple[str, str]:
        """Input of the target, and what is summed into it."""
        if not name.endswith("_post"):
            reason = f"it sums '{name}' into its sources"
            raise self.words.refused(reason, "join the groups the other way round and sum into '..._post'")
        before = self.pre.before(updater, "_pre") | self.post.before(updater, "_post")
        words = replace(self.words, names=self.words.names | before)  # it shares constants
        return self.words.names[name].removesuffix("_post"), words.expression(updater.expression.code)

    def pathways(self, end: str) -> list[Any]:
        found = [p for p in self.synapses._pathways if p.prepost == end and self.blocks[p.objname]]
        for pathway in found if end == "post" else ():
            if pathway.event != "spike":
                raise self.words.refused(f"on_post waits for '{pathway.event}' events", "use spikes there")
        return sorted(found, key=lambda p: (p.order, p.name))

    def on_post(self) -> str:
        found = self.pathways("post")
        for pathway in found:
            if self.steps(pathway).size > 1:
                reason = f"each of its synapses has a delay of its own in '{pathway.objname}', which postsynaptic spikes start"
                fix = f"give one: '{self.synapses.name}.{pathway.objname}.delay = 1*ms', or Synapses objects for synapses of each delay"
                raise self.words.refused(reason, fix)
        if len({self.time(p) for p in found}) > 1:
            reason = f"its pathways of postsynaptic spikes have several delays: {', '.join(p.objname for p in found)}"
            fix = "give them one delay, or each a Synapses object of its own where they share no variable"
            raise self.words.refused(reason, fix)
        return "\n".join(line for p in found for line in self.blocks[p.objname])

    def labels(self, found: list[Any]) -> dict[str, Any]:
        """Pathways of presynaptic spikes, in order. "pre" is the one whose synapses may have delays of their own."""
        each = next((p for p in found if self.steps(p).size > 1), found[0] if found else None)
        return {"pre" if p is each else free(p.objname, ["pre", "post"]): p for p in found}

    def delays(self, run: list[Any]) -> dict[str, Quantity]:
        found = {label: self.time(p) for label, p in self.labels(run).items()}
        after = self.pathways("post") if run == self.runs()[0] else []
        return found | ({"post": self.time(after[0])} if after and self.steps(after[0]).any() else {})

    def time(self, pathway: Any) -> Quantity:
        steps = self.steps(pathway)
        value = steps if steps.size > 1 else steps.reshape(-1)[0] if steps.size else 0.0
        return si(value * float(self.synapses.clock.dt_), brian2.second.dim)

    def steps(self, pathway: Any) -> Any:
        """Delays in steps, as Brian2's queue rounds them."""
        steps = np.floor(np.asarray(pathway._delays.get_value(), np.float64) / float(pathway.source.clock.dt_) + 0.5)
        return steps[:1] if steps.size and (steps == steps[0]).all() else steps
