"""What synapses bring to cells, forwards: graded sums, amounts on their way, and those that are looked up when they arrive.

A thread that shares a trial with others does this for its own part of the cells, where each synapse's amount is fixed: see Arrangement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backends.common.structure import local, reads_target
from backends.native.arrangement import Arrangement, part_of
from backends.native.kernel import Kernel
from backends.native.printer import c_code
from backends.native.text import EACH, ONE
from neuro.compiler.step import Cells, Couple, Gather, Operation, Synapses, Threshold, Update
from neuro.language.mangling import mangled


class Delivery:
    """kernel: the one whose forward function is written. at: number of the operation at hand. share: how threads share it. divided: whether
    other numbers of threads share it, so that its loops end where they are told.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.step, self.layout = kernel, kernel.step, kernel.layout
        self.at, self.share, self.divided, self.dialect = 0, ONE, False, kernel.dialect
        grouped = [
            self.step.projection(o.projection) for o in self.step.operations
            if isinstance(o, Couple) and o.when == "pre" and kernel.is_static(o) and not kernel.sends(o)
            and self.dialect.gathers
        ]  # fmt: skip
        self.recent = dict[str, int]()  # steps from which something arrives in groups, by the population that fires
        for s in grouped:
            if s.pre in kernel.populations and not isinstance(s.delay, int):
                self.recent[s.pre] = max(self.recent.get(s.pre, 0), s.max_delay + 1)

    # -- parts of the cells --------------------------------------------------------------------------------

    def turn_to(self, op: Operation | None) -> None:
        """The operation at hand. op: None for what concerns cells alone."""
        own = isinstance(op, Update) and op.owner in self.kernel.populations
        if isinstance(op, Gather):
            own = not op.couplings
        elif isinstance(op, Couple):
            sparse = self.step.projection(op.projection).kind == "sparse"
            own = sparse and op.when == "pre" and self.kernel.is_static(op)
        self.divided = self.kernel.divided and (own or op is None or isinstance(op, Threshold))
        self.share = EACH if self.divided and self.kernel.parts > 1 else ONE

    def bounds(self, size: int) -> tuple[str, str]:
        """C of the first cell that a loop visits, and of the last + 1."""
        if not self.divided:
            return "0", f"{size}"
        return part_of(size, self.kernel.parts, "mine")

    def each_cell(self, size: int) -> str:
        """The head of a loop over the cells i of a trial."""
        return self.loop("i", *self.bounds(size))

    def every(self, size: int) -> str:
        """The head of a loop over the cells n of all trials, of which there is one where threads share its cells."""
        first, last = self.bounds(size)
        return self.loop("n", first, last if self.share == EACH else f"active*{size}")

    def loop(self, index: str, first: str, last: str) -> str:
        """Where threads share the cells, a loop's end is found before it: compilers make no vectors of one that looks for it. Any number of them
        has the same loop.
        """
        if not self.divided:
            return self.dialect.loop(index, first, last)
        return f"for (long {index} = {first}, {index}_end = {last}; {index} < {index}_end; {index}++)"

    def stretch(self, size: int) -> tuple[str, str]:
        """C of where those cells begin in an array of all trials, to be added to it, and of their number."""
        first, last = self.bounds(size)
        return ("", f"active*{size}") if self.share != EACH else (f" + {first}", f"({last} - {first})")

    # -- couplings -----------------------------------------------------------------------------------------

    def graded(self, op: Couple, target: str) -> list[str]:
        """A coupling of all synapses, added to the cells of an array."""
        kernel, synapses = self.kernel, self.step.projection(op.projection)
        post = synapses.ends[1]
        if not kernel.factored(op):
            value = c_code(kernel.constants.synapses(synapses, op.value), kernel.synapse_names(synapses, None))
            body = kernel.each_synapse(synapses, [f"{target}[b*{post} + j] += {value};"])
            return ["for (long b = 0; b < active; b++) {", *body, "}"]
        assert op.factors is not None
        (sent, out), total = self.sent(op), self.layout.room(mangled("total", op.projection), kernel.tile * post)
        factor = c_code(kernel.constants.synapses(synapses, op.factors.post), kernel.synapse_names(synapses, None))
        return [
            *sent, *self.dialect.between(), f"{self.dialect.cleared(total, f'TILE*{post}')};",
            f"project({total}, {out}, {kernel.matrix(op)}, {synapses.ends[0]}, {post});",
            f"for (long b = 0; b < active; b++) VECTOR {self.dialect.loop('j', '0', str(post))} {{ const long s = j; {target}[b*{post} + j] += ({factor})*{total}[b*{post} + j]; }}",
        ]  # fmt: skip

    def sent(self, op: Couple) -> tuple[list[str], str]:
        """Presynaptic factors of a factored coupling, and C of the array in which they are."""
        assert op.factors is not None
        synapses, pre = self.step.projection(op.projection), self.step.projection(op.projection).ends[0]
        out = self.kernel.handed("sent", op, self.at, self.kernel.tile * pre)
        value = c_code(
            self.kernel.constants.synapses(synapses, op.factors.pre), self.kernel.synapse_names(synapses, None)
        )
        return [
            f"for (long b = 0; b < active; b++) VECTOR {self.dialect.loop('i', '0', str(pre))} {{ const long s = i*{synapses.ends[1]}; {out}[b*{pre} + i] = {value}; }}"
        ], out

    def couple(self, op: Couple) -> list[str]:
        """Events that arrive, or per-step sums: into a state, or an input's sums of the next step."""
        cells, synapses = self.kernel.populations[op.population], self.step.projection(op.projection)
        if op.when == "always":
            target, size = local(op.population, op.target), cells.size
            if self.kernel.waits(op):
                place = _slot(0, self.kernel.depth[self.kernel.slot(op)])
                return self.graded(op, f"({self.target(op)} + {place}*TILE*{size})")
            frozen = cells.refractory and op.target in cells.frozen
            if not frozen and not reads_target(op):
                return self.graded(op, target)
            sums = self.layout.room(mangled("sums", op.population, op.target), self.kernel.tile * size)
            amount = f"{mangled('left', cells.name)}[n] > 0 ? 0 : {sums}[n]" if frozen else f"{sums}[n]"
            return [
                f"{self.dialect.cleared(sums, f'active*{size}')};", *self.graded(op, sums), *self.dialect.between(),
                f"{self.every(size)} {target}[n] += {amount};",
            ]  # fmt: skip
        if self.kernel.is_static(op):
            found = self.send(op, synapses) if self.kernel.sends(op) else self.arriving(op, synapses)
        else:
            found = self.events(op, synapses)
        if op.target in cells.states and not self.kernel.direct(op) and self.kernel.due(op):
            found += [*(self.dialect.between() if reads_target(op) else []), *self.deliver(op, cells)]
        return found

    def send(self, op: Couple, synapses: Synapses, *, before: bool = False) -> list[str]:
        """Put the rows of the cells that fired on their way. before: in a step before the run, what arrives in it."""
        kernel, post = self.kernel, synapses.ends[1]
        none, skip = kernel.arrived(synapses) if before else ([], [])
        coming, depth = self.target(op), kernel.depth[kernel.slot(op)]
        amounts = kernel.matrix(op)
        if isinstance(synapses.delay, int):
            row = f"{coming} + ({_slot(synapses.delay, depth)}*TILE + b)*{post}"
            if synapses.kind == "dense":
                rows = kernel.of_rows("gather", row, amounts, synapses.pre, post)
                return [*none, f"for (long b = 0; b < active; b++) {rows}"]
            body = kernel.of_source(synapses, [f"to[j] += {amounts}[s];"])
            return [
                *none, f"for (long b = 0; b < active; b++) {{ real *restrict to = {row};",
                *kernel.spikes_of(synapses.pre, 0, body), "}",
            ]  # fmt: skip
        late = f"base + {kernel.delay(synapses)}"
        slot = f"{coming}[(({late} - ({late} < {depth} ? 0 : {depth}))*TILE + b)*{post} + j]"

        def of_cell(body: list[str]) -> list[str]:
            return (
                kernel.of_group(synapses, "u->part", body) if self.share == EACH else kernel.of_source(synapses, body)
            )

        ask = of_cell([f"__builtin_prefetch(&{slot}, 1);"]) if self.dialect.gathers else []
        add = of_cell([*skip, f"{slot} += {amounts}[{_index(kernel.each(op))}];"])
        return [
            f"const long base = wrapped(k, {depth});",
            "for (long b = 0; b < active; b++) {", *kernel.spikes_of(synapses.pre, 0, [*ask, *add]), "}",
        ]  # fmt: skip

    def arriving(self, op: Couple, synapses: Synapses) -> list[str]:
        """Amounts that arrive now, of what fired as long ago as each delay says, group by group of synapses."""
        kernel, arrangement, post = self.kernel, self.kernel.arrangements[synapses.name], synapses.ends[1]
        if not self.dialect.gathers:
            return self.at_once(op, synapses)
        to = f"{self.target(op)} + ({_slot(0, kernel.depth[kernel.slot(op)])}*TILE + b)*{post}"
        first = self.layout.given(mangled("first", synapses.name), "long")
        targets = self.layout.given(mangled("post", synapses.name), "int")
        if arrangement.width == 1:
            kind, cuts, due = "long", first, "(due_t){0, i}"
        else:
            cuts = kernel.cuts(synapses)
            kind, due = arrangement.cut, f"(due_t){{{first}[i], i*{arrangement.width + 1} + group}}"
        deliver = f"deliver_{kind}({to}, due, waiting, {cuts}, {targets}, {kernel.matrix(op)}, {kernel.each(op)})"
        body = [
            f"due[waiting] = {due};", f"__builtin_prefetch({cuts} + due[waiting].cut);",
            f"if (++waiting == DUE) {deliver}, waiting = 0;",
        ]  # fmt: skip
        if synapses.pre in self.recent and not isinstance(synapses.delay, int):
            found = self.each_part(arrangement, self.of_recent(synapses, body))
        else:
            found = self.late(synapses, lambda late: kernel.spikes_of(synapses.pre, late, body))
        return [
            "for (long b = 0; b < active; b++) { due_t due[DUE]; long waiting = 0;", *found, f"{deliver};", "}",
        ]  # fmt: skip

    def at_once(self, op: Couple, synapses: Synapses) -> list[str]:
        """The same, one synapse after another."""
        kernel, post = self.kernel, synapses.ends[1]
        slot = f"{self.target(op)}[({_slot(0, kernel.depth[kernel.slot(op)])}*TILE + b)*{post} + j]"
        add = [f"{slot} += {kernel.matrix(op)}[{_index(kernel.each(op))}];"]
        return ["for (long b = 0; b < active; b++) {", *self.where(synapses, "pre", add), "}"]

    def of_recent(self, synapses: Synapses, body: Sequence[str]) -> list[str]:
        """A loop over the cells i whose spikes arrive now, and the group of their synapses."""
        fired, number = self.recently(synapses.pre)
        groups = self.layout.given(mangled("groups", synapses.name), "int")
        delays = self.kernel.arrangements[synapses.name].delays
        return [
            f"for (long e = 0, n = *{number}; e < n; e++) {{ const long late = {fired}[e] >> 32, i = {fired}[e] & 0xFFFFFFFF;",
            f"if (late > {synapses.max_delay}) break;", f"if ({groups}[late] < 0) continue;",
            f"const long group = part*{delays} + {groups}[late];", *body, "}",
        ]  # fmt: skip

    def recently(self, population: str) -> tuple[str, str]:
        """C of which cells of trial b fired in the steps from which something arrives now, and of where their number is."""
        room = ("trials", self.recent[population] * self.kernel.size(population))
        found = self.layout.filled(mangled("recent", population), room, "long", inner=True)
        number = self.layout.filled(mangled("recents", population), ("trials",), "long", inner=True)
        return f"({found} + (trial + b)*{room[1]}l)", f"({number} + trial + b)"

    def collected(self, population: str) -> list[str]:
        """Finds them when trial b's list is made."""
        if population not in self.recent:
            return []
        (offsets, events), (found, number) = self.kernel.lists(population), self.recently(population)
        steps, known = self.recent[population], "past + k + 1"
        return [f"*{number} = recent({events}, {offsets} + k, {known} < {steps} ? {known} : {steps}, {found});"]

    def each_part(self, arrangement: Arrangement, body: Sequence[str]) -> list[str]:
        """A loop over the parts of the cells, or this thread's own."""
        if self.share == EACH:
            return ["{ const long part = u->part;", *body, "}"]
        return [f"for (long part = 0; part < {arrangement.parts}; part++) {{", *body, "}"]

    def late(self, synapses: Synapses, body: Callable[[int | str], Sequence[str]]) -> list[str]:
        """A loop over the groups of a source's synapses. body: of C of their delay; `group` is known in it where there are several."""
        arrangement = self.kernel.arrangements[synapses.name]
        delay = synapses.delay if isinstance(synapses.delay, int) else "late"
        found = list(body(delay))
        one, parts = arrangement.parts == 1, "u->part" if self.share == EACH else "part"
        if arrangement.grouped:
            late = self.layout.given(mangled("delays", synapses.name), "long")
            place = "d" if one else f"{parts}*{arrangement.delays} + d"
            head = f"for (long d = 0; d < {arrangement.delays}; d++) {{ const long late = {late}[d], group = {place};"
            found = [head, *found, "}"]
        elif not one:
            found = [f"{{ const long group = {parts};", *found, "}"]
        if not one and self.share != EACH:
            found = [f"for (long part = 0; part < {arrangement.parts}; part++) {{", *found, "}"]
        return found

    def target(self, op: Couple) -> str:
        """Where an event coupling's amounts go: slots of what is on its way, or the state itself."""
        return local(op.population, op.target) if self.kernel.direct(op) else self.kernel.arrivals(self.kernel.slot(op))

    def events(self, op: Couple, synapses: Synapses) -> list[str]:
        """Amounts that depend on what the cells and synapses are when the spike arrives, or on the target's spike."""
        kernel, post = self.kernel, synapses.ends[1]
        coming, depth = self.target(op), kernel.depth[kernel.slot(op)]
        value = c_code(kernel.constants.synapses(synapses, op.value), kernel.synapse_names(synapses, None))
        body = [f"{coming}[({_slot(0, depth)}*TILE + b)*{post} + j] += {value};"]
        return ["for (long b = 0; b < active; b++) {", *self.where(synapses, op.when, body, op.late), "}"]

    def deliver(self, op: Couple, cells: Cells) -> list[str]:
        """Add what has arrived in this step to a state, but not to a refractory cell's frozen one."""
        v, size, slot = local(op.population, op.target), cells.size, self.kernel.slot(op)
        place = f"{self.kernel.arrivals(slot)} + {_slot(0, self.kernel.depth[slot])}*TILE*{size}"
        frozen = cells.refractory and op.target in cells.frozen
        amount = f"{mangled('left', cells.name)}[n] > 0 ? 0 : in[n]" if frozen else "in[n]"
        begin, total = self.stretch(size)
        return [
            f"{{ real *restrict in = {place};", f"VECTOR {self.every(size)} {v}[n] += {amount};",
            f"{self.dialect.cleared(f'in{begin}', total)}; }}",
        ]  # fmt: skip

    def where(self, synapses: Synapses, when: str, body: Sequence[str], steps: int | None = None) -> list[str]:
        """A loop over trial b's synapses s from i to j at which a spike arrives (pre), or whose target fired (post). steps: so late, and
        not by the synapses' own delays."""
        kernel = self.kernel
        if when == "pre" and steps is not None:
            return kernel.spikes_of(synapses.pre, steps, kernel.of_source(synapses, body))
        if when == "always":
            return kernel.each_synapse(synapses, body)
        if when == "pre" and isinstance(synapses.delay, int):
            return kernel.spikes_of(synapses.pre, synapses.delay, kernel.of_source(synapses, body))
        if when == "pre" and synapses.kind == "sparse":
            return self.late(
                synapses, lambda late: kernel.spikes_of(synapses.pre, late, kernel.of_group(synapses, "group", body))
            )
        if when == "pre":
            late = self.layout.given(mangled("delays", synapses.name), "long")
            of_one = kernel.of_source(synapses, [f"if ({kernel.delay(synapses)} != late) continue;", *body])
            return [
                f"for (long d = 0; d < {len(synapses.delays)}; d++) {{ const long late = {late}[d];",
                *kernel.spikes_of(synapses.pre, "late", of_one), "}",
            ]  # fmt: skip
        fired = f"if (!{mangled('fired', synapses.post)}[b*{synapses.ends[1]} + j]) continue;"
        if steps or self.by_target(synapses):
            ending = ["const long target = i;", *self.of_target(synapses, body)]
            return kernel.spikes_of(synapses.post, steps or 0, ending)
        return [f"if ({kernel.some(synapses.post)}) {{", *kernel.each_synapse(synapses, [fired, *body]), "}"]

    def by_target(self, synapses: Synapses) -> bool:
        """Whether there is a list of the synapses that end at each cell, see Arrangement.by_target; one thread for each would wait for the longest."""
        return synapses.kind == "sparse" and self.dialect.lists

    def of_target(self, synapses: Synapses, body: Sequence[str]) -> list[str]:
        """A loop over the synapses s from i that end at cell `target`, j."""
        if self.by_target(synapses):
            into = self.layout.given(mangled("into", synapses.name), "long")
            ending, source = (self.layout.given(mangled(n, synapses.name), "int") for n in ("ending", "source"))
            loop = f"for (long q = {into}[target]; q < {into}[target + 1]; q++) {{"
            return [loop, f"const long s = {ending}[q], i = {source}[q], j = target;", *body, "}"]
        if synapses.kind == "sparse":
            return self.kernel.each_synapse(synapses, ["if (j != target) continue;", *body])
        ends = "0", str(synapses.ends[0]) if synapses.kind == "dense" else "1"
        place = f"i*{synapses.ends[1]} + j" if synapses.kind == "dense" else "j"
        head = f"for (long i = {ends[0]}; i < {ends[1]}; i++) {{ const long j = target, s = {place};"
        return [head, self.kernel.missing(synapses), *self.dialect.own("j"), *body, "}"]


def _index(each: str) -> str:
    """Of synapse s among amounts: see Kernel.each."""
    return "s" if each == "1" else f"s*{each}"


def _slot(delay: int | str, depth: int) -> str:
    """The slot of what arrives that many steps later."""
    return "0" if depth == 1 else f"(k + {delay})%{depth}"
