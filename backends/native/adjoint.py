"""The reverse of the forward function: from the last step to the first, each operation's adjoint in reverse order.

A_x holds the adjoint of variable x's present version, B_x that of what arrived at x (one slot a step), Z_p that of p's
spikes, G_c the gradient of constant c, D_y the loss's gradient that comes from outside. Only the product that takes an
adjoint back through a matrix is dense; a weight's gradient comes from the cells that fired.
"""

from __future__ import annotations

import sympy as sp

from backends.native.adjoint_writer import BOTH, Writer
from backends.native.drives import counted
from backends.native.lines import Line, results
from backends.native.operations import count, title, when_due
from backends.native.printer import c_code
from backends.native.recording import Recorded
from backends.native.text import Piece
from neuro.compiler.step import Cells, Couple, Gather, Operation, Synapses, Threshold, Update
from neuro.language.mangling import mangled


class Adjoint(Writer):
    """Writes the backward function of a kernel, and tells it what the forward function must keep."""

    def start(self) -> list[Piece]:
        """What is done before a unit's last step."""
        return [Piece(f"weights of {s.name}", tuple(self.begin(s))) for s in self.step.synapses if "w" in s.states]

    def past(self) -> list[Piece]:
        """What is done in a step before the run: what was sent then, and arrived in it, has a part in the weights' gradients."""
        found = [
            (op, self.weights(op, self.step.projection(op.projection), before=True))
            for op in reversed(self.kernel.late())
        ]
        return [Piece(f"back through spikes on their way: {title(op)}", tuple(lines)) for op, lines in found if lines]

    def each(self) -> list[Piece]:
        """What is done in every step, the last of them first."""
        found = [
            Piece(
                f"back through record of {r.owner}.{r.variable}",
                tuple(self.recorded(r)),
                own=not r.synaptic and not r.chosen,
            )
            for r in self.kernel.record
        ]
        for at in reversed(range(len(self.step.operations))):
            self.at = at
            lines = self.operation(self.step.operations[at])
            if lines:
                found.append(
                    Piece(
                        f"back through {title(self.step.operations[at])}",
                        tuple(lines),
                        own=self.kernel.own(self.step.operations[at]),
                    )
                )
        return [*self.ahead(), *found]

    def finish(self) -> list[Piece]:
        """What is done after a unit's first step."""
        learnt = [s for s in self.step.synapses if "w" in s.states and f"{s.name}.w" in self.training.wrt]
        found = [Piece(f"first weights of {s.name}", tuple(self.initial_weights(s))) for s in learnt]
        owners: list[Cells | Synapses] = [*self.step.cells, *self.step.synapses]
        names = ((owner.name, v) for owner in owners for v in owner.states)
        return found + [
            Piece(f"first values of {owner}.{v}", tuple(self.initial_values(owner, v)))
            for owner, v in names if f"{owner}.{v}" in self.training.states
        ]  # fmt: skip

    def ahead(self) -> list[Piece]:
        """Fetches what the tapes hold of the step before, while this one is computed."""
        found = []
        for key in self.kernel.kept:
            if key[0] in self.kernel.populations:
                size = self.kernel.size(key[0])
                at = f"{self.kernel.tape(*key)} + (unit*span + k - 1 - begin)*TILE*{size}"
                found.append(
                    Piece(f"tape of {key[0]}.{key[1]}", (f"if (k > begin) fetch({at}, TILE*{size});",), own=True)
                )
        return found

    # -- beginnings and ends -------------------------------------------------------------------------------

    def begin(self, synapses: Synapses) -> list[str]:
        """Gradients of the weights that the run itself changed."""
        size = count(synapses)
        given = self.layout.given(mangled("D", "final", synapses.name, "w"))
        copied = self.dialect.copied(self.adjoint(synapses.name, "w"), f"{given} + trial*{size}", f"active*{size}")
        return [f"{copied};"]

    def initial_weights(self, synapses: Synapses) -> list[str]:
        size = count(synapses)
        out = self.layout.filled(mangled("G", "initial", synapses.name, "w"), ("lanes", size))
        return [
            f"if (begin == 0) for (long b = 0; b < active; b++) add({out} + lane*{size}, {self.adjoint(synapses.name, 'w')} + b*{size}, {size});"
        ]

    def initial_values(self, owner: str, variable: str) -> list[str]:
        """Gradients of what each trial begins with."""
        size = self.kernel.size(owner)
        out = self.layout.filled(mangled("G", "state", owner, variable), ("trials", size))
        copied = self.dialect.copied(f"{out} + trial*{size}", self.adjoint(owner, variable), f"active*{size}")
        return [f"if (begin == 0) {copied};"]

    def recorded(self, item: Recorded) -> list[str]:
        _, number = self.kernel.records(item)
        place, size = self.outside(item.name, "(k + 1)/every - 1", "r"), self.kernel.size(item.owner)
        if item.synaptic:
            index, body = "s", [f"{self.adjoint(item.owner, item.variable)}[o + s] += {place};"]
        else:
            cells, value = self.kernel.observed(item)
            index, body = "i", self.of_cells(cells, [Line("out__", value)], {"out__": place})
        return [
            f"if ((k + 1)%every == 0) for (long b = 0; b < active; b++) {{ const long o = b*{size}, q = {self.kernel.row(item.owner)};",
            *self.kernel.at_records(item, index, number, body), "}",
        ]  # fmt: skip

    # -- operations ----------------------------------------------------------------------------------------

    def operation(self, op: Operation) -> list[str]:
        match op:
            case Gather():
                return self.gather(op)
            case Threshold():
                return self.threshold(op)
            case Couple():
                return self.couple(op)
            case Update() if op.owner in self.kernel.populations:
                return when_due(op, self.update_cells(op))
            case Update():
                return when_due(op, self.update_synapses(op))

    def reset(self, op: Update) -> list[str]:
        """A reset changes the adjoints of those cells only that fired; a gate that has a gradient needs all of them."""
        cells, lines = self.kernel.populations[op.owner], self.kernel.cell_lines(op)
        seeds = {name: f"{self.adjoint(op.owner, v)}[o + i]" for v, name in results(lines).items()}
        if any(line.passes for line in lines):
            fired = f"const int fired = {self.adjoint_mask(op.owner)}[o + i];"
            return [*self.marked(op.owner), *self.over_cells(cells, [fired, *self.of_cells(cells, lines, seeds)])]
        taken = [Line(x.name, x.value, x.target, x.old) for x in lines]
        loop = self.kernel.own_spikes_of(op.owner, self.of_cells(cells, taken, seeds))
        row = self.kernel.row(cells.name)
        return [f"for (long b = 0; b < active; b++) {{ const long o = b*{cells.size}, q = {row};", *loop, "}"]

    def update_cells(self, op: Update) -> list[str]:
        if op.when == "spikes":
            return self.reset(op)
        cells, lines = self.kernel.populations[op.owner], self.kernel.cell_lines(op)
        seeds = {name: f"{self.adjoint(op.owner, v)}[o + i]" for v, name in results(lines).items()}
        marks, gates = list[str](), list[str]()
        if any(x.keep for x in lines):
            marks, still = self.resting(cells)
            gates = [f"const int frozen = {still};"]
        drawn = self.dialect.ranges(
            "0", str(cells.size), lambda *part: counted(self.layout, op, dict(cells.counts), cells.size, part)
        )
        return [*marks, *self.over_cells(cells, [*gates, *self.of_cells(cells, lines, seeds)], drawn)]

    def threshold(self, op: Threshold) -> list[str]:
        cells = self.kernel.populations[op.population]
        scale = float(self.training.scales[op.population])
        margin = self.kernel.constants.cells(cells, op.margin)
        present = self.layout.given(mangled("given", "spikes", cells.name), "long")
        z, place = self.spikes(cells.name), self.outside(mangled("spikes", cells.name), "k")
        slope = c_code(self.training.slope, {"x": "x"})
        free = f"{self.frozen(cells)}[q + i] ? 0 : " if cells.refractory else ""
        body = [
            f"const real x = ({c_code(margin, self.kernel.cell_names(cells, self.at))})*(real){1 / scale!r};",
            f"const real z = {free}times(({z})[o + i], ({slope})*(real){1 / scale!r});",
            *self.of_cells(cells, [Line("margin__", margin)], {"margin__": "z"}),
            f"({z})[o + i] = 0;",
        ]
        add = self.over_cells(cells, [f"({z})[o + i] += {place};"])
        return [f"if ({present}[0]) {{", *add, "}", *self.over_cells(cells, body)]

    def gather(self, op: Gather) -> list[str]:
        size, found = self.kernel.size(op.population), []
        for coupling in reversed(op.couplings):
            found += [*self.graded(coupling, self.adjoint(op.population, coupling.target)), *self.dialect.between()]
        for name, source in op.currents:
            if source in self.training.inputs:
                out = self.layout.filled(mangled("G", "current", source), ("batch", "steps", size))
                row, own = f"{out} + ((first + b)*steps + k)*{size}", f"{self.adjoint(op.population, name)} + b*{size}"
                found.append(f"for (long b = 0; b < active; b++) {self.dialect.copied(row, own, size)};")
        for name in op.variables:
            a, total = self.adjoint(op.population, name), f"active*{size}"
            slot = op.population, name, 0
            if slot in self.kernel.back:
                place = f"{self.arrived(slot)} + wrapped(k - 1, {self.kernel.back[slot]})*TILE*{size}"
                found.append(f"{self.dialect.copied(place, a, total)};")
            found.append(f"{self.dialect.cleared(a, total)};")
        return found

    def couple(self, op: Couple) -> list[str]:
        cells, synapses = self.kernel.populations[op.population], self.step.projection(op.projection)
        size, found = cells.size, []
        if op.when == "always":
            if self.kernel.waits(op):
                return self.graded(op, self.arrived_now(op))
            whole = self.layout.room(mangled("always", op.projection), self.kernel.tile * size)
            return [*self.unfrozen(op, cells, whole), *self.dialect.between(), *self.graded(op, whole)]
        if op.target in cells.states:
            found += [*self.unfrozen(op, cells, self.arrived_now(op)), *self.dialect.between()]
        return found + (self.static(op, synapses) if self.kernel.is_static(op) else self.changing(op, synapses))

    def arrived_now(self, op: Couple) -> str:
        """Adjoint of what arrives in this step, [trial][cell]."""
        slot = self.kernel.slot(op)
        return f"({self.arrived(slot)} + k%{self.kernel.back[slot]}*TILE*{self.kernel.size(op.population)})"

    def unfrozen(self, op: Couple, cells: Cells, out: str) -> list[str]:
        """Adjoint of a sum that a state took, 0 where a refractory cell didn't."""
        a, marks = f"{self.adjoint(op.population, op.target)}[o + i]", list[str]()
        if cells.refractory and op.target in cells.frozen:
            marks, still = self.resting(cells)
            a = f"{still} ? 0 : {a}"
        return [*marks, *self.over_cells(cells, [f"{out}[o + i] = {a};"])]

    def resting(self, cells: Cells) -> tuple[list[str], str]:
        """What comes before, and C of whether cell i is refractory at the operation at hand: one that has fired is, one that is yet to
        fire isn't."""
        still, before = f"{self.frozen(cells)}[q + i]", self.step.operations[: self.at]
        if not any(isinstance(o, Threshold) and o.population == cells.name for o in before):
            return [], still
        return self.marked(cells.name), f"({still} || {self.adjoint_mask(cells.name)}[o + i])"

    def static(self, op: Couple, synapses: Synapses) -> list[str]:
        """Weights from the cells that fired; spikes through the whole matrix."""
        kernel, post, found = self.kernel, synapses.ends[1], self.weights(op, synapses)
        b, depth = self.arrived(kernel.slot(op)), kernel.back[kernel.slot(op)]
        if synapses.pre not in kernel.populations or synapses.name in self.training.backward.detached:
            return found
        back, pre = self.through(op, synapses), synapses.ends[0]
        if synapses.kind == "dense" and isinstance(synapses.delay, int):
            tile = f"{b} + (k + {synapses.delay})%{depth}*TILE*{post}"
            return [*found, f"project({self.spikes(synapses.pre)}, {tile}, {mangled('turned', back)}, {post}, {pre});"]
        z = f"({self.spikes(synapses.pre)})[b*{pre} + i]"
        body = kernel.by_source(synapses, [f"{z} += {back}[s]*({self.sent_to(op, synapses)})[j];"])
        return [*found, "for (long b = 0; b < active; b++) {", *body, "}"]

    def sent_to(self, op: Couple, synapses: Synapses) -> str:
        """Adjoint of what trial b's spikes of this step bring, when they arrive, [cell]."""
        slot, post = self.kernel.slot(op), synapses.ends[1]
        late = f"(k + {self.kernel.delay(synapses)})%{self.kernel.back[slot]}"
        return f"{self.arrived(slot)} + {late}*TILE*{post} + b*{post}"

    def weights(self, op: Couple, synapses: Synapses, *, before: bool = False) -> list[str]:
        """Gradient of fixed amounts, from the cells that fired. before: in a step before the run, of what arrives in it."""
        kernel, amounts = self.kernel, self.kernel.matrix(op)
        if not self.weighed(synapses, amounts):
            return []
        size, slot = count(synapses), self.sent_to(op, synapses)
        none, skip = kernel.arrived(synapses) if before else ([], [])
        out = f"{self.layout.filled(mangled('G', amounts), ('lanes', size))} + lane*{size}"
        if synapses.kind == "dense" and isinstance(synapses.delay, int):
            body = [kernel.of_rows("scatter", out, slot, synapses.pre, synapses.ends[1])]
        else:
            add = kernel.of_source(synapses, [*skip, self.dialect.summed(f"({out})[s]", f"({slot})[j]")], alone=True)
            body = kernel.spikes_of(synapses.pre, 0, add)
        return [*none, "for (long b = 0; b < active; b++) {", *body, "}"]

    def through(self, op: Couple, synapses: Synapses) -> str:
        """Matrix that takes the adjoint back: the coupling's own, or feedback weights. Declares its transpose where used."""
        name = self.kernel.matrix(op)
        if synapses.name in self.training.backward.feedback:
            name = mangled("feedback", synapses.name)
        dense = synapses.kind == "dense" and isinstance(synapses.delay, int)
        self.layout.given(mangled("turned", name) if dense else name)
        return name

    def changing(self, op: Couple, synapses: Synapses) -> list[str]:
        """An event coupling whose amounts change: its value's adjoint where a spike arrived, its gate's everywhere."""
        kernel, post = self.kernel, synapses.ends[1]
        value = kernel.constants.synapses(synapses, op.value)
        g = f"{self.arrived_now(op)}[b*{post} + j]"
        lines, seeds = [Line("value__", value)], {"value__": "(gate ? g : 0)"}
        names = kernel.synapse_names(synapses, self.at)

        def text(ends: str) -> list[str]:
            body, _ = self.of_synapses(synapses, lines, seeds, ends)
            gate = self.to_gate(synapses, op, f"times(g, {c_code(value, names)})", ends)
            head = [f"const real g = {g};", f"const int gate = {self.gate(synapses, op)};"]
            return [*head, *body, *gate] if ends == BOTH or body or gate else []

        return self.over_trials(synapses, self.over_synapses(synapses, text))

    def gate(self, synapses: Synapses, op: Couple | Update) -> str:
        if op.when == "post":
            return self.kernel.fired(synapses.post, str(op.late or 0), "j")
        return self.kernel.fired(synapses.pre, self.late(synapses, op), "i")

    def late(self, synapses: Synapses, op: Couple | Update) -> str:
        """C of the steps from a presynaptic spike to what an operation does at synapse s."""
        return self.kernel.delay(synapses) if op.late is None else str(op.late)

    def to_gate(self, synapses: Synapses, op: Couple | Update, value: str, ends: str) -> list[str]:
        """Adjoint of the spike that opens a gate, if it is that of one of these ends."""
        if ("j" if op.when == "post" else "i") not in ends:
            return []
        if op.when == "post":
            behind = str(op.late or 0)
            there = f"({self.spikes(synapses.post, behind)})[b*{synapses.ends[1]} + j]"
            return [f"if (k >= {behind}) {there} += {value};"]
        if synapses.pre not in self.kernel.populations or synapses.name in self.training.backward.detached:
            return []
        late = self.late(synapses, op)
        return [f"if (k >= {late}) ({self.spikes(synapses.pre, late)})[b*{synapses.ends[0]} + i] += {value};"]

    def update_synapses(self, op: Update) -> list[str]:
        synapses, lines = self.step.projection(op.owner), self.kernel.synapse_lines(op)
        size = count(synapses)
        seeds = {name: f"{self.adjoint(op.owner, v)}[b*{size} + s]" for v, name in results(lines).items()}

        def text(ends: str) -> list[str]:
            body, found = self.of_synapses(synapses, lines, seeds, ends)
            if op.when == "always":
                return body
            # the gate's adjoint reads what the statements have made, so it follows them
            gate = self.to_gate(synapses, op, found.gate, ends) if found.gate else []
            if not body and not gate and ends != BOTH:
                return []
            return [f"const int gate = {self.gate(synapses, op)};", *(body or found.statements), *gate]

        return self.over_trials(synapses, self.over_synapses(synapses, text))

    def graded(self, op: Couple, total: str) -> list[str]:
        """A coupling of all synapses. total: adjoint of its sums, an array [trial][post]."""
        kernel, synapses = self.kernel, self.step.projection(op.projection)
        pre, post = synapses.ends
        if not kernel.factored(op):
            value = kernel.constants.synapses(synapses, op.value)
            lines, seeds = [Line("value__", value)], {"value__": f"{total}[b*{post} + j]"}
            text = self.over_synapses(synapses, lambda ends: self.of_synapses(synapses, lines, seeds, ends)[0])
            return self.over_trials(synapses, text)
        assert op.factors is not None
        sent, w = (kernel.handed(n, op, self.at, kernel.tile * s) for n, s in (("sent", pre), ("reaching", post)))
        names, amounts = kernel.synapse_names(synapses, self.at), kernel.matrix(op)
        factors = [kernel.constants.synapses(synapses, f) for f in (op.factors.pre, op.factors.post)]
        found = self.over_trials(synapses, [
            f"VECTOR {self.dialect.loop('i', '0', str(pre))} {{ const long s = i*{post}; {sent}[b*{pre} + i] = {c_code(factors[0], names)}; }}",
            f"VECTOR {self.dialect.loop('j', '0', str(post))} {{ const long s = j; {w}[b*{post} + j] = times({total}[b*{post} + j], {c_code(factors[1], names)}); }}",
        ])  # fmt: skip
        found += self.dialect.between()
        if self.weighed(synapses, amounts):
            size = count(synapses)
            out = f"{self.layout.filled(mangled('G', amounts), ('lanes', size))} + lane*{size}"
            found.append(f"outer({out}, {sent}, {w}, {pre}, {post}, active);")
        found += self.to_end(op, synapses, factors[1], total, sent, amounts)
        if synapses.pre in kernel.populations and synapses.name not in self.training.backward.detached:
            back = self.through(op, synapses)
            a = self.layout.room(mangled("A", "sent", op.projection), kernel.tile * pre)
            found += [
                *self.dialect.between(), f"{self.dialect.cleared(a, f'TILE*{pre}')};", f"project({a}, {w}, {mangled('turned', back)}, {post}, {pre});",
                *self.along(synapses, "i", pre, f"const long s = i*{post};", factors[0], f"{a}[b*{pre} + i]"),
            ]  # fmt: skip
        return found

    def to_end(self, op: Couple, synapses: Synapses, factor: sp.Expr, total: str, sent: str, amounts: str) -> list[str]:
        """Adjoint of the postsynaptic factor of a product, which needs the sums themselves."""
        if factor.is_number:
            return []
        pre, post = synapses.ends
        sums = self.layout.room(mangled("total", op.projection), self.kernel.tile * post)
        return [
            f"{self.dialect.cleared(sums, f'TILE*{post}')};",
            f"project({sums}, {sent}, {amounts}, {pre}, {post});",
            *self.along(
                synapses, "j", post, "const long s = j;", factor, f"times({total}[b*{post} + j], {sums}[b*{post} + j])"
            ),
        ]

    def along(self, synapses: Synapses, index: str, size: int, head: str, factor: sp.Expr, seed: str) -> list[str]:
        """Adjoint of one end's factor, cell after cell."""
        body, _ = self.of_synapses(synapses, [Line("factor__", factor)], {"factor__": seed}, cell=index)
        return self.over_trials(synapses, [f"{self.dialect.loop(index, '0', str(size))} {{ {head}", *body, "}"])
