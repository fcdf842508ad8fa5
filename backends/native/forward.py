"""Step -> the C function that runs it: tile after tile of trials, step after step, in the order of Step's operations.

Spikes are lists of cells: an event coupling of fixed amounts costs what the cells that fired send, nothing else.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

from backends.common.structure import local
from backends.native.arrangement import part_of
from backends.native.delivery import Delivery
from backends.native.drives import counted
from backends.native.ends import Ends
from backends.native.kernel import Kernel
from backends.native.lines import Line, forward, results
from backends.native.operations import count, title, when_due
from backends.native.printer import c_code, c_condition
from backends.native.recording import Recorded
from backends.native.text import APART, EACH, ONE, Piece
from neuro.compiler.step import Cells, Couple, Gather, Operation, Threshold, Update
from neuro.language.mangling import mangled


class Forward(Delivery):
    """Writes the forward function of a kernel whose kept versions are known."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.ends, self.lists = Ends(kernel), dict[str, list[str]]()

    def start(self) -> list[Piece]:
        """What is done before a unit's first step."""
        return self.ends.start()

    def past(self) -> list[Piece]:
        """What is done in a step before the run: what was sent then, and arrives now or later, is put on its way."""
        return [
            Piece(f"spikes on their way: {title(op)}", tuple(self.send(op, self.step.projection(op.projection), before=True)))
            for op in self.kernel.late() if self.kernel.sends(op)
        ]  # fmt: skip

    def each(self) -> list[Piece]:
        """What is done in every step."""
        found = []
        self.turn_to(None)
        for cells in self.step.cells:
            if cells.states and not self.watches(cells):
                found.append(Piece(f"values of {cells.name}", tuple(self.watched(cells)), share=self.share, own=True))
            if cells.refractory and self.step.update(cells.name, "integrate") is None:
                body = f"VECTOR {self.every(cells.size)} {_counted(cells.name, 'n')};"
                found.append(Piece(f"refractory periods of {cells.name}", (body,), share=self.share, own=True))
        for owner, variable, version in self.kernel.kept:
            if version == 0 and (
                owner not in self.kernel.populations or variable in self.kernel.populations[owner].states
            ):
                found.append(
                    Piece(
                        f"tape of {owner}.{variable}",
                        tuple(self.keep(owner, variable, 0)),
                        own=owner in self.kernel.populations,
                    )
                )
        for at, op in enumerate(self.step.operations):
            self.at = at
            self.turn_to(op)
            if not self.before_spikes(op):
                found += self.waiting_lists()
            lines = self.operation(op)
            if lines:
                found.append(Piece(title(op), tuple(lines), share=self.share, own=self.kernel.own(op)))
        found += self.waiting_lists()
        self.share, self.divided = ONE, False
        records = (
            Piece(f"record of {r.owner}.{r.variable}", tuple(self.recorded(r)), own=not r.synaptic and not r.chosen)
            for r in self.kernel.record
        )
        return [*found, *records]

    def watches(self, cells: Cells) -> bool:
        """Whether the loop of an integration looks at the states, of which nothing at the start of the step has changed one."""
        return self.step.update(cells.name, "integrate") is not None and not self.step.starting(cells.name)

    def before_spikes(self, op: Operation) -> bool:
        """Whether an operation is one of those that no spike of this step reaches."""
        integrates = isinstance(op, Update) and op.phase == "integrate" and op.owner in self.kernel.populations
        return integrates or isinstance(op, Threshold)

    def waiting_lists(self) -> list[Piece]:
        """Lists of all that threads have found in their own cells: at once, since they meet for it."""
        found = [Piece(f"list of {n}", tuple(text), share=APART) for n, text in self.lists.items()]
        self.lists = {}
        return found

    def finish(self) -> list[Piece]:
        """What is done after the last step."""
        found = [
            Piece(f"values of {c.name}", tuple(self.located(c)), n) for n, c in enumerate(self.step.cells) if c.states
        ]
        return found + self.ends.finish()

    # -- tapes and records ---------------------------------------------------------------------------------

    def keep(self, owner: str, variable: str, version: int) -> list[str]:
        """Copy a variable's present version to its tape."""
        tape, size = self.kernel.tape(owner, variable, version), self.kernel.size(owner)
        place = f"{tape} + (unit*span + k - begin)*TILE*{size}"
        return [f"{self.dialect.copied(place, local(owner, variable), f'active*{size}')};"]

    def written(self, op: Operation) -> list[str]:
        """Tapes of the versions that an operation makes."""
        found = []
        for owner, variable in self.kernel.written(op):
            version = self.kernel.versions[self.at + 1][owner, variable]
            if (owner, variable, version) in self.kernel.kept:
                found += self.keep(owner, variable, version)
        return found

    def recorded(self, item: Recorded) -> list[str]:
        """A variable at the end of every n-th step."""
        (out, number), size, before = self.kernel.records(item), self.kernel.size(item.owner), list[str]()
        if item.synaptic:
            index, text = "s", f"{local(item.owner, item.variable)}[o + s]"
        else:
            cells, value = self.kernel.observed(item)
            index, text = "i", c_code(value, self.kernel.cell_names(cells, None))
            if not value.is_Symbol:  # in a loop of its own: how a function rounds may depend on what else a loop does
                row = self.layout.room(mangled("observed", item.owner, item.variable), size)
                head = self.dialect.loop("i", "0", str(size))
                before, text = (
                    [f"VECTOR {head} {row}[i] = {text};", *(self.dialect.between() if item.chosen else [])],
                    f"{row}[i]",
                )
        return [
            f"if ((k + 1)%every == 0) for (long b = 0; b < active; b++) {{ const long o = b*{size};",
            f"real *restrict out = {out};", *before, *self.kernel.at_records(item, index, number, [f"out[r] = {text};"]), "}",
        ]  # fmt: skip

    # -- finite numbers ------------------------------------------------------------------------------------

    @staticmethod
    def suspicious(cells: Cells) -> list[str]:
        """Says in a loop over cells i whether the state after the step before, resets and all, is not finite.

        It costs no memory, since the loop reads the state anyway; which one it was a second run finds, cut off there.
        """
        rest = " + ".join(f"({v} - {v})" for v in (f"{local(cells.name, n)}[o + i]" for n in cells.states))
        return [f"bad |= !({rest} == 0);"] if rest else []

    def watched(self, cells: Cells) -> list[str]:
        """The same where no integration reads the states."""
        return [
            f"for (long b = 0; b < active; b++) {{ const long o = b*{cells.size}; int bad = 0;",
            f"VECTOR {self.each_cell(cells.size)} {self.suspicious(cells)[0]}", f"{self.dialect.stopped()} }}",
        ]  # fmt: skip

    def located(self, cells: Cells) -> list[str]:
        """Names the first state that is not finite after the last step."""
        found = [f"for (long b = 0; b < active; b++) for (long i = 0; i < {cells.size}; i++) {{"]
        for n, v in enumerate(cells.states):
            found.append(
                f"if (!isfinite({local(cells.name, v)}[b*{cells.size} + i])) return failed(u, id, {n}, k - 1, b, i);"
            )
        return [*found, "}"]

    # -- operations ----------------------------------------------------------------------------------------

    def operation(self, op: Operation) -> list[str]:
        match op:
            case Gather():
                return [*self.gather(op), *self.written(op)]
            case Threshold():
                return self.threshold(op)
            case Couple():
                return [*self.couple(op), *self.written(op)]
            case Update() if op.owner in self.kernel.populations:
                return [*when_due(op, self.update_cells(op)), *self.written(op)]
            case Update():
                kept = self.written(op)
                lines = when_due(op, self.update_synapses(op))
                return [*lines, *(self.dialect.between() if kept else []), *kept]

    def gather(self, op: Gather) -> list[str]:
        size, found = self.kernel.size(op.population), []
        for name in op.variables:
            v, (begin, total) = local(op.population, name), self.stretch(size)
            slot = op.population, name, 0
            if slot in self.kernel.depth:
                place = f"{self.kernel.arrivals(slot)} + wrapped(k - 1, {self.kernel.depth[slot]})*TILE*{size}"
                copied = self.dialect.copied(f"{v}{begin}", f"{place}{begin}", total)
                found.append(f"{copied}; {self.dialect.cleared(f'{place}{begin}', total)};")
            else:
                found.append(f"{self.dialect.cleared(f'{v}{begin}', total)};")
        for couple in op.couplings:
            found += self.graded(couple, local(op.population, couple.target))
        for name, source in op.currents:
            given = self.layout.given(mangled("current", source))
            wide = self.layout.given(mangled("channels", source), "long")
            found += [
                f"for (long b = 0; b < active; b++) {{ const real *in = {given} + ((first + b)*steps + k)*{wide}[0];",
                f"const long one = {wide}[0] == 1;",
                f"VECTOR {self.each_cell(size)} {local(op.population, name)}[b*{size} + i] += in[one ? 0 : i]; }}",
            ]
        return found

    def update_cells(self, op: Update) -> list[str]:
        if op.when == "spikes":
            return self.reset(op)
        kernel, cells, size = self.kernel, self.kernel.populations[op.owner], self.kernel.size(op.owner)
        lines, names = kernel.cell_lines(op), kernel.cell_names(cells, None)
        last, integrates = results(lines), op.phase == "integrate"
        body = [_counted(cells.name, "o + i") + ";"] if cells.refractory and integrates else []
        body += [f"const int frozen = {mangled('left', cells.name)}[o + i] > 0;"] if cells.refractory else []
        body += forward(lines, names)
        body += [f"{local(cells.name, v)}[o + i] = {name};" for v, name in last.items()]
        threshold = kernel.fused(op) if integrates else None
        head, tail = self.threshold_lines(threshold, ChainMap(last, names)) if threshold else ([], [])
        watch = self.suspicious(cells) if integrates and self.watches(cells) else []
        if cells.refractory and integrates and kernel.training is not None:
            head, tail = [*head, self.frozen_tape(cells)], [*tail, "kept[i] = (byte)frozen;"]
        drawn = self.dialect.ranges(
            *self.bounds(size), lambda *part: counted(self.layout, op, dict(cells.counts), size, part)
        )
        return [
            f"for (long b = 0; b < active; b++) {{ const long o = b*{size}; int bad = 0;", *head,
            *drawn, f"VECTOR {self.each_cell(size)} {{", *watch, *body, *tail, "}", *([self.dialect.stopped()] if watch else []), "}",
            *(self.listed(threshold.population) if threshold else []),
        ]  # fmt: skip

    def reset(self, op: Update) -> list[str]:
        """Only the cells that fired are visited."""
        kernel, cells = self.kernel, self.kernel.populations[op.owner]
        lines = [Line(x.name, x.value, x.target, x.old) for x in kernel.cell_lines(op)]
        body = forward(lines, kernel.cell_names(cells, None))
        body += [f"{local(cells.name, v)}[o + i] = {name};" for v, name in results(lines).items()]
        if self.share == EACH:
            first, last = self.bounds(cells.size)
            body = [f"if (i < {first} || i >= {last}) continue;", *body]
        loop = kernel.own_spikes_of(op.owner, body, f"{mangled('fired', cells.name)}[o + i]")
        return [f"for (long b = 0; b < active; b++) {{ const long o = b*{cells.size};", *loop, "}"]

    def frozen_tape(self, cells: Cells) -> str:
        """Which of a trial's cells are refractory in this step, for the adjoint."""
        tape = self.layout.filled(
            mangled("frozen", cells.name), ("units", "span", self.kernel.tile, cells.size), "byte", inner=True
        )
        return f"byte *restrict kept = {tape} + {self.kernel.row(cells.name)};"

    def update_synapses(self, op: Update) -> list[str]:
        kernel, synapses = self.kernel, self.step.projection(op.owner)
        lines = [
            Line(x.name, x.value, x.target, x.old) for x in kernel.synapse_lines(op)
        ]  # the loop itself visits those only that change
        names, size = kernel.synapse_names(synapses, None), count(synapses)
        body = forward(lines, names)
        body += [f"{local(op.owner, v)}[b*{size} + s] = {name};" for v, name in results(lines).items()]
        return ["for (long b = 0; b < active; b++) {", *self.where(synapses, op.when, body, op.late), "}"]

    def threshold(self, op: Threshold) -> list[str]:
        kernel, cells = self.kernel, self.kernel.populations[op.population]
        integration = self.step.update(op.population, "integrate")
        if integration is not None and kernel.fused(integration) is op:
            return []
        head, body = self.threshold_lines(op, kernel.cell_names(cells, None))
        body = (
            ["const int frozen = " + f"{mangled('left', cells.name)}[o + i] > 0;", *body] if cells.refractory else body
        )
        return [
            f"for (long b = 0; b < active; b++) {{ const long o = b*{cells.size};", *head,
            f"VECTOR {self.each_cell(cells.size)} {{", *body, "} }", *self.listed(op.population),
        ]  # fmt: skip

    def threshold_lines(self, op: Threshold, names: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """What goes before a loop over cells i, and into it; `frozen` is known there."""
        kernel, cells = self.kernel, self.kernel.populations[op.population]
        condition = c_condition(kernel.constants.cells(cells, op.condition), names)
        free = " & !frozen" if cells.refractory else ""
        body = [f"const int z = {condition}{free};", f"{mangled('fired', cells.name)}[o + i] = z;"]
        if cells.refractory:
            body.append(
                f"{mangled('left', cells.name)}[o + i] = z ? {cells.refractory} : {mangled('left', cells.name)}[o + i];"
            )
        if kernel.training is None or cells.name not in kernel.rasters or kernel.bits(cells.name):
            return [], body
        out = f"{kernel.raster(cells.name)} + ((trial + b)*(past + steps) + past + k)*{cells.size}"
        return [f"byte *restrict out = {out};"], [*body, "out[i] = (byte)z;"]

    def listed(self, population: str) -> list[str]:
        """Lists of the cells that fired, or bits; where each thread knows its own cells alone, put together of what each has found."""
        if self.kernel.bits(population):
            fired, size = mangled("fired", population), self.kernel.size(population)
            return [
                f"for (long b = 0; b < active; b++) noted({fired} + b*{size}, {size}, {self.kernel.words(population)});"
            ]
        size, (offsets, events), parts = self.kernel.size(population), self.kernel.lists(population), self.kernel.parts
        fired, at = mangled("fired", population), f"long *at = {offsets} + k;"
        if self.share != EACH:
            return self.dialect.listed(offsets, events, fired, size, self.collected(population))
        some = self.layout.room(mangled("some", population), size, "int")
        number, (first, last) = self.layout.room(mangled("number", population), parts, "long"), self.bounds(size)
        self.lists[population] = [
            f"for (long b = 0; b < active; b++) {{ {at} long n = at[0];", f"for (long part = 0; part < {parts}; n += {number}[part++])",
            f"memcpy({events} + n, {some} + {part_of(size, parts, 'part')[0]}, {number}[part]*sizeof(int));", "at[1] = n;",
            *self.collected(population), "}",
        ]  # fmt: skip
        return [f"{number}[u->part] = hits({fired}, {first}, {last}, {some} + {first});"]


def _counted(population: str, index: str) -> str:
    """One step of a refractory period has passed."""
    left = mangled("left", population)
    return f"{left}[{index}] -= {left}[{index}] > 0"
