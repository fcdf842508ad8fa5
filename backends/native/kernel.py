"""What the forward loop and its adjoint share: names, arrays, events, and the versions of every variable in a step.

Each write in a step makes a new version of a variable. The adjoint says which versions it reads; the forward loop keeps
those, and only those, for every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sympy as sp

from backends.common.structure import is_static, local, reads_target, stretches
from backends.native.arrangement import Arrangement
from backends.native.constants import Constants
from backends.native.dialect import C, Dialect
from backends.native.layout import Layout
from backends.native.lines import Line, in_order
from backends.native.operations import count
from backends.native.printer import calls_library
from backends.native.recording import Recorded
from backends.native.spikes import Spikes
from backends.native.synaptic import drawn
from backends.native.training import Training
from neuro.compiler.step import Assign, Cells, Couple, Gather, Operation, Step, Synapses, Threshold, Update
from neuro.language.mangling import mangled, unmangled
from neuro.language.symbolic import symbol

Key = tuple[str, str, int]  # owner, variable, version
Slot = tuple[str, str, int]  # population, variable, stretch of the step


@dataclass
class Kernel(Spikes):
    """One kernel in the making. tile: trials side by side. arrangements: of sparse projections. parts: of the cells, which
    threads share. divided: whether their number depends on that of threads. kept: versions that the adjoint reads.
    """

    step: Step
    constants: Constants
    record: tuple[Recorded, ...]
    training: Training | None
    tile: int
    arrangements: Mapping[str, Arrangement] = field(default_factory=dict)
    parts: int = 1
    divided: bool = False
    dialect: Dialect = C
    layout: Layout = field(default_factory=Layout)
    kept: dict[Key, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.populations = {c.name: c for c in self.step.cells}
        self.sources = dict(self.step.sources) | {c.name: c.size for c in self.step.cells if c.spikes}
        self.versions = self._versions()
        self.rasters = {end for s in self.step.synapses if s.name in self.changing() for end in (s.pre, s.post)}
        self._stretch = stretches(self.step)
        self.depth, self.back = dict[Slot, int](), dict[Slot, int]()  # steps until it arrives; of its adjoint
        self.reach = dict.fromkeys(self.sources, 1)  # steps back over which adjoints of spikes are collected
        events = [o for o in self.step.operations if isinstance(o, Couple) and (o.when != "always" or self.waits(o))]
        for op in events:
            late, key = self.step.projection(op.projection).max_delay, self.slot(op)
            self.back[key] = max(self.back.get(key, 1), late + self.dialect.handed)
            self.depth[key] = max(self.depth.get(key, 1), (late if self.sends(op) else 0) + 1)
        self.last = {self.slot(op): op for op in events if not self.direct(op)}
        for name in self.changing():
            s = self.step.projection(name)
            self.reach[s.pre] = max(self.reach.get(s.pre, 1), s.longest + 1)
            self.reach[s.post] = max(self.reach.get(s.post, 1), s.behind + 1)

    def couples(self) -> list[Couple]:
        found: list[Couple] = []
        for op in self.step.operations:
            found += op.couplings if isinstance(op, Gather) else [op] if isinstance(op, Couple) else []
        return found

    def waits(self, op: Couple) -> bool:
        """Whether the sum of an operation of the step goes into an input, which gathers it in the next step."""
        return op.target in self.populations[op.population].inputs

    def slot(self, op: Couple) -> Slot:
        """Where what an operation of the step brings waits: with all that nobody could tell from it."""
        return op.population, op.target, 0 if self.waits(op) else self._stretch[id(op)]

    def changing(self) -> set[str]:
        """Projections in which events do more than add fixed amounts: their gates need gradients, and rasters."""
        updated = {o.owner for o in self.step.operations if isinstance(o, Update) and o.when in ("pre", "post")}
        return updated | {o.projection for o in self.couples() if o.when != "always" and not is_static(self.step, o)}

    def sends(self, op: Couple) -> bool:
        """Whether an event coupling puts its amounts on their way when a cell fires; elsewhere they are looked up when they arrive."""
        synapses = self.step.projection(op.projection)
        if not self.is_static(op):
            return False
        return synapses.kind != "sparse" or not (
            isinstance(synapses.delay, int) or self.arrangements[synapses.name].grouped
        )

    # -- versions ------------------------------------------------------------------------------------------

    def _versions(self) -> list[dict[tuple[str, str], int]]:
        """Versions of all variables before each operation, and after the last."""
        now = {(c.name, v): 0 for c in self.step.cells for v in c.variables}
        now |= {(s.name, v): 0 for s in self.step.synapses for v in s.states}
        found = []
        for op in self.step.operations:
            found.append(dict(now))
            for key in self.written(op):
                now[key] += 1
        return [*found, dict(now)]

    def fixed(self) -> dict[str, int]:
        """Arrays of synapses that stay as they are in a run, and how many numbers each has."""
        found = {}
        for name in self.layout.slots:
            role, *parts = unmangled(name)
            constant = self.constants.table.get(mangled(*parts) if role == "turned" else name)
            if mangled("each", name) in self.layout.slots:
                continue  # it may be one number
            if constant is not None and constant.owner not in self.populations and not constant.one:
                found[name] = self.size(constant.owner)
            elif role == "turned" and constant is None:  # feedback weights
                found[name] = self.size(parts[1])
        return found

    def written(self, op: Operation) -> list[tuple[str, str]]:
        """Variables to which an operation gives a new version; events into inputs wait for the next step's gathering."""
        match op:
            case Gather():
                return [(op.population, v) for v in op.variables]
            case Update():
                return [(op.owner, v) for v in dict.fromkeys(a.target for a in op.assigns if not a.temporary)]
            case Couple() if op.target in self.populations[op.population].states:
                return [(op.population, op.target)]
        return []

    def own(self, op: Operation) -> bool:
        """Whether each thread of a block finds in an operation what it wrote itself, or what was handed over. See `barriers`."""
        match op:
            case Threshold():
                return True
            case Gather():
                return all(self.factored(c) for c in op.couplings)
            case Couple():
                return self.factored(op) if op.when == "always" else self.is_static(op)
            case Update():
                return op.owner in self.populations

    def keep(self, owner: str, variable: str, at: int) -> str:
        """Name of the tape that holds a variable's version before operation `at`."""
        version = self.versions[at][owner, variable]
        self.kept[owner, variable, version] = None
        return self.tape(owner, variable, version)

    def tape(self, owner: str, variable: str, version: int) -> str:
        return self.layout.filled(
            mangled("tape", owner, variable, str(version)), ("units", "span", self.tile, self.size(owner)), inner=True
        )

    # -- names ---------------------------------------------------------------------------------------------

    def constant(self, name: str, index: str) -> str:
        one = self.constants.table[name].one
        found = self.layout.given(name, sets=True, number=one)
        return found if one else f"{found}[{index}]"

    def cell_names(self, cells: Cells, at: int | None, o: str = "o + i", q: str = "q + i") -> dict[str, str]:
        """C of a population's symbols at index `o`. at: None for present values, or an operation whose versions are read
        from the tape at index `q`.
        """
        found = _Names({"t": "t"}, self, "i")
        for name in cells.variables:
            if at is None:
                found[name] = f"{local(cells.name, name)}[{o}]"
            else:
                found.later[name] = (cells.name, name, at, q)
        for name in cells.noise:
            found.noise[name] = (cells, name)
        found.update({name: f"{name}[i]" for name, _ in cells.counts})
        return found

    def synapse_names(self, synapses: Synapses, at: int | None) -> dict[str, str]:
        """C of a projection's symbols at synapse `s` from `i` to `j`."""
        found = _Names({"t": "t"}, self, "s")
        size = count(synapses)
        for name in synapses.states:
            if at is None:
                found[name] = f"{local(synapses.name, name)}[b*{size} + s]"
            else:
                found.later[name] = (synapses.name, name, at, "q_own + s")
        found.drawing = synapses
        for end, suffix, index in ((synapses.pre, "_pre", "i"), (synapses.post, "_post", "j")):
            cells = self.populations.get(end)
            for name in () if cells is None else cells.variables:
                if at is None:
                    found[name + suffix] = f"{local(end, name)}[b*{self.size(end)} + {index}]"
                else:
                    found.later[name + suffix] = (end, name, at, f"q{suffix} + {index}")
        return found

    def row(self, owner: str) -> str:
        """Where a trial's values of this step begin on a tape."""
        return f"((unit*span + k - begin)*TILE + b)*{self.size(owner)}"

    # -- lines ---------------------------------------------------------------------------------------------

    def cell_lines(self, op: Update) -> list[Line]:
        """Statements over a population."""
        cells = self.populations[op.owner]

        def gates(assign: Assign) -> dict[str, object]:
            if op.when == "spikes":
                kept = (
                    self.training is not None and not self.training.backward.reset and assign.target in cells.membranes
                )
                return {"take": "fired", "passes": not (op.detached or kept)}
            return {"keep": "frozen"} if assign.target in op.frozen and cells.refractory else {}

        return in_order(op.assigns, lambda e: self.constants.cells(cells, e), gates)

    def synapse_lines(self, op: Update) -> list[Line]:
        """Statements over a projection's synapses; gated where events start them."""
        synapses = self.step.projection(op.owner)
        gate: dict[str, object] = {} if op.when == "always" else {"take": "gate", "passes": True}
        return in_order(op.assigns, lambda e: self.constants.synapses(synapses, e), lambda a: gate)

    def observed(self, item: Recorded) -> tuple[Cells, sp.Expr]:
        """Population and expression of a cell's variable."""
        cells = self.populations[item.owner]
        return cells, self.constants.cells(cells, cells.inlined.get(item.variable, symbol(item.variable)))

    def records(self, item: Recorded) -> tuple[str, str]:
        """C of where the values of trial b's present step go, and of their number."""
        size: int | str = item.places if item.chosen else self.size(item.owner)
        out = self.layout.filled(item.name, ("trials", "records", size))
        number = f"{self.layout.given(item.places, 'long')}[0]" if item.chosen else str(size)
        return f"({out} + ((trial + b)*(steps/every) + (k + 1)/every - 1)*{number})", number

    def at_records(self, item: Recorded, index: str, number: str, body: Sequence[str]) -> list[str]:
        """A loop over the recorded entries r, which are those of the cells i or synapses s."""
        head = f"const long {index} = {f'{item.places}[1 + r]' if item.chosen else 'r'};"
        return [f"VECTOR {self.dialect.loop('r', '0', number)} {{ {head}", *body, "}"]

    # -- synapses ------------------------------------------------------------------------------------------

    def of_source(
        self, synapses: Synapses, body: Sequence[str], dialect: Dialect | None = None, *, alone: bool = False
    ) -> list[str]:
        """A loop over the synapses s from cell i to j; of one thread, where it is given C. alone: whether the body writes to the synapse alone."""
        dialect = dialect or self.dialect
        if synapses.kind == "dense":
            post = synapses.ends[1]
            head = f"{dialect.loop('j', '0', str(post))} {{ const long s = i*{post} + j; {self.missing(synapses)}"
            return [head, *body, "}"]
        if synapses.kind == "one_to_one":
            head = "for (long s = i; s <= i; s++) { const long j = s;"
        else:
            first = self.layout.given(mangled("first", synapses.name), "long")
            post_index = self.layout.given(mangled("post", synapses.name), "int")
            loop = (dialect if alone else C).spread("s", f"{first}[i]", f"{first}[i + 1]")
            head, body = f"{loop} {{ const long j = {post_index}[s];", self.singly(synapses, body)
            if alone:
                return [head, *body, "}"]
        return [head, *dialect.own("j"), *body, "}"]

    def of_group(self, synapses: Synapses, group: str, body: Sequence[str]) -> list[str]:
        """The same of one group of them: see Arrangement."""
        arrangement = self.arrangements[synapses.name]
        first = self.layout.given(mangled("first", synapses.name), "long")
        post_index = self.layout.given(mangled("post", synapses.name), "int")
        cut = f"{self.cuts(synapses)} + i*{arrangement.width + 1} + {group}"
        return [
            f"for (long s = {first}[i] + ({cut})[0], last = {first}[i] + ({cut})[1]; s < last; s++) {{ const long j = {post_index}[s];",
            *self.dialect.own("j"), *self.singly(synapses, body), "}",
        ]  # fmt: skip

    def singly(self, synapses: Synapses, body: Sequence[str]) -> Sequence[str]:
        """A loop's body over a stretch of synapses, one by one where vectors round otherwise and the stretch depends on the threads' number."""
        return (
            ["SINGLY", *body] if self.arrangements[synapses.name].divided and calls_library("\n".join(body)) else body
        )

    def cuts(self, synapses: Synapses) -> str:
        """Where the groups of each row begin, from the row's beginning."""
        return self.layout.given(mangled("cuts", synapses.name), self.arrangements[synapses.name].cut)

    def each_synapse(self, synapses: Synapses, body: Sequence[str]) -> list[str]:
        """A loop over all synapses s from i to j."""
        return [f"for (long i = 0; i < {synapses.ends[0]}; i++) {{", *self.of_source(synapses, body), "}"]

    def by_source(self, synapses: Synapses, body: Sequence[str]) -> list[str]:
        """The same, for what is added to cell i: its owner goes through all of its synapses."""
        head = self.dialect.loop("i", "0", str(synapses.ends[0]))
        return [f"{head} {{", *self.of_source(synapses, body, C), "}"]

    def missing(self, synapses: Synapses) -> str:
        """Skips synapse s where there is none."""
        if synapses.mask is None:
            return ""
        return f"if (!{self.layout.given(mangled('mask', synapses.name), 'byte')}[s]) continue;"

    def delay(self, synapses: Synapses) -> str:
        """Steps of synapse s."""
        if isinstance(synapses.delay, int):
            return str(synapses.delay)
        late = synapses.max_delay
        kind = "byte" if late < 2**8 else "ushort" if late < 2**16 else "int"
        return f"{self.layout.given(mangled('delay', synapses.name), kind)}[s]"

    def late(self) -> list[Couple]:
        """Couplings that put fixed amounts on their way when a cell fires, for a later step."""
        events = [o for o in self.step.operations if isinstance(o, Couple) and self.is_static(o)]
        return [o for o in events if self.step.projection(o.projection).max_delay > 0]

    def arrived(self, synapses: Synapses) -> tuple[list[str], list[str]]:
        """C that skips, in a step before the run, what arrived before the run: all of it, or one synapse s in a loop."""
        skip = f"if (k + {self.delay(synapses)} < 0)"
        return ([f"{skip} return 0;"], []) if isinstance(synapses.delay, int) else ([], [f"{skip} continue;"])

    def direct(self, op: Couple) -> bool:
        """Whether what an event coupling brings goes straight to its state: nothing is on its way, nothing is masked."""
        cells = self.populations[op.population]
        return op.target in cells.states and self.depth[self.slot(op)] == 1 and not (
            cells.refractory and op.target in cells.frozen
        ) and not reads_target(op)  # fmt: skip

    def fused(self, op: Update) -> Threshold | None:
        """The threshold that may be computed in the loop of an integration: nothing between the two touches the cells."""
        index = self.step.operations.index(op)
        for other in self.step.operations[index + 1 :]:
            if isinstance(other, Threshold):
                if other.population == op.owner:
                    return other
            elif not (isinstance(other, Update) and other.phase == "integrate" and other.owner in self.populations):
                return None
        return None

    def arrivals(self, slot: Slot) -> str:
        """What is on its way to a variable: [step][trial][cell]."""
        return self.waiting("coming", slot)

    def waiting(self, role: str, slot: Slot) -> str:
        """Scratch for the steps of a slot."""
        population, variable, stretch = slot
        depth = self.depth if role == "coming" else self.back
        size = depth[slot] * self.tile * self.size(population)
        name = self.layout.room(mangled(role, population, variable, str(stretch)), size)
        if role == "B":
            self.layout.handed.add(name)
        return name

    def handed(self, role: str, op: Couple, at: int, length: int) -> str:
        """C of scratch in which operation `at` writes what other threads read before its next step."""
        if self.dialect.handed == 1:
            return self.layout.room(mangled(role, op.projection), length)
        name = self.layout.room(mangled(role, op.projection, op.target, str(at)), 2 * length)
        self.layout.handed.add(name)
        return f"({name} + (k & 1)*{length})"

    def is_static(self, op: Couple) -> bool:
        return is_static(self.step, op)

    def factored(self, op: Couple) -> bool:
        """Whether a coupling of all cells is one product with an invariant matrix."""
        synapses, factors = self.step.projection(op.projection), op.factors
        whole = synapses.kind == "dense" and op.when == "always" and factors is not None
        return whole and factors is not None and self.constants.fixed(synapses, factors.synapse)

    def matrix(self, op: Couple) -> str:
        """The constant amounts of a static or factored coupling."""
        assert op.factors is not None
        value = op.factors.synapse if self.factored(op) else op.factors.pre * op.factors.synapse * op.factors.post
        return self.layout.given(self.constants.amounts(op, value), sets=True)

    def each(self, op: Couple) -> str:
        """1, or C of 0 where all synapses have the one amount that a run gives."""
        if self.training is not None or self.step.projection(op.projection).kind != "sparse":
            return "1"
        return self.layout.given(mangled("each", self.matrix(op)), "long", number=True)

    def due(self, op: Couple) -> bool:
        """Whether what has arrived must be in the variable now: nothing else comes before somebody reads or changes it."""
        return self.last.get(self.slot(op)) is op


class _Names(dict[str, str]):
    """Names looked up when they are printed: constants are declared, and versions kept, only if something reads them."""

    def __init__(self, plain: Mapping[str, str], kernel: Kernel, index: str) -> None:
        super().__init__(plain)
        self.kernel, self.index = kernel, index
        self.later: dict[str, tuple[str, str, int, str]] = {}
        self.noise: dict[str, tuple[Cells, str]] = {}
        self.drawing: Synapses | None = None

    def __missing__(self, name: str) -> str:
        if name in self.later:
            owner, variable, at, index = self.later[name]
            return f"{self.kernel.keep(owner, variable, at)}[{index}]"
        if name in self.noise:
            cells, xi = self.noise[name]
            stream = self.kernel.layout.given(mangled("stream", cells.name, xi))
            return f"{stream}[((first + b)*steps + k)*{cells.size} + i]"
        if self.drawing is not None and name in self.drawing.noise:
            return drawn(self.kernel.layout, self.drawing, name)
        return self.kernel.constant(name, self.index)
