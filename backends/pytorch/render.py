"""Step -> torch source: one `constants` and one `step` function for each group of populations that depend on each other.

Event couplings from inputs and earlier groups are hoisted: one matmul over all time steps, done by the program. What is
left in the loop is written here, in the order of Step's operations. Names: `of__hidden__v` is variable v of `hidden`.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from backends.common.storage import Storage
from backends.common.structure import Backward, is_static, local, overwritten, stretches
from backends.pytorch.functions import Wires, total
from backends.pytorch.groups import Group, current, drive, due, groups
from backends.pytorch.writer import Writer
from neuro.compiler.step import Assign, Couple, Factors, Gather, Operation, Step, Synapses, Threshold, Update
from neuro.language.mangling import mangled
from neuro.language.symbolic import symbol


def render(
    step: Step, shapes: Mapping[str, tuple[int, ...]], backward: Backward, wires: Mapping[str, Wires], storage: Storage
) -> list[Group]:
    """All groups of a network. shapes: of the parameters. wires: of the projections."""
    return [_Renderer(step, names, shapes, backward, wires, storage).group() for names in groups(step)]


class _Renderer(Writer):
    def __init__(
        self, step: Step, names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], backward: Backward, wires: Mapping[str, Wires],
        storage: Storage,
    ) -> None:  # fmt: skip
        super().__init__(step, names, shapes, backward, wires, storage)
        self.states: list[str] = []
        self.drives: dict[str, None] = {}
        self.currents: list[tuple[str, str]] = []
        self.sums: list[str] = []
        self.stretch = stretches(step)
        self.pending = {  # inputs that get something before the next step's Gather
            (o.population, o.target): mangled("pending", o.population, o.target)
            for o in step.operations
            if isinstance(o, Couple) and o.population in names and self.to_input(o) and not is_static(step, o)
        }

    def to_input(self, op: Couple) -> bool:
        return op.target in self.step.population(op.population).inputs

    def drive_of(self, op: Couple) -> str:
        return drive(op.population, op.target, 0 if self.to_input(op) else self.stretch[id(op)])

    def group(self) -> Group:
        cells = [self.step.population(name) for name in self.names]
        for c in cells:
            self.states += [local(c.name, v) for v in c.states]
            self.states += [mangled("left", c.name)] if c.refractory else []
        for synapses in self.synapses.values():
            self.states += [local(synapses.name, v) for v in synapses.states]
        self.states += self.pending.values()
        noise = tuple(local(c.name, x) for c in cells for x in (*c.noise, *(count for count, _ in c.counts)))
        noise += tuple(local(s.name, x) for s in self.synapses.values() for x in s.noise)
        self.whole |= {*self.states, *noise}
        owners = {*self.names, *self.synapses}
        rare = {o.every for o in self.step.operations if isinstance(o, Update) and o.every > 1 and o.owner in owners}
        for c in cells:
            if c.refractory:
                left = mangled("left", c.name)
                self.line(f"{left} = ({left} - 1).clamp_min(0)")
                self.source.lines += [f"{mangled('frozen', c.name)} = {left} > 0"] if c.frozen else []
        for op in self.step.operations:
            self.operation(op)
        derived = self.derived()
        spiking = tuple(c.name for c in cells if c.spikes)
        found = Group(
            self.names, tuple((self.drive_of(o), o) for o in self.hoisted), tuple(self.currents), tuple(self.states), tuple(self.arrivals), tuple(self.drives), noise,
            tuple(due(every) for every in sorted(rare)), spiking, self.observed(), derived, self.overwritten(), tuple(self.sums),
        )  # fmt: skip
        found.source = self.source.assemble(found, self.parameters - self.plastic)
        found.functions = self.functions
        return found

    def operation(self, op: Operation) -> None:
        match op:
            case Gather() if op.population in self.names:
                self.gather(op)
            case Update() if op.owner in self.names:
                self.update_cells(op)
            case Update() if op.owner in self.synapses:
                self.update_synapses(op)
            case Threshold() if op.population in self.names:
                self.threshold(op)
            case Couple() if op.population in self.names:
                self.couple(op)

    # -- what cells receive --------------------------------------------------------------------------------

    def gather(self, op: Gather) -> None:
        for variable in op.variables:
            target, pending = local(op.population, variable), self.pending.get((op.population, variable))
            events = self.events(op.population, variable)
            terms = [] if events is None else [events]
            for source in (i for v, i in op.currents if v == variable):
                from_outside = drive(op.population, variable)
                name = from_outside if events in (None, from_outside) else current(op.population, variable)
                terms += [] if name in terms else [name]
                self.drives[name] = None
                self.currents.append((name, source))
            text = " + ".join(terms) or mangled("zeros", op.population)
            for couple in op.couplings:
                if couple.target == variable:
                    text = f"{text} + {self.graded(couple)}"
            self.line(f"{target} = {text}")
            self.whole.add(target)
            if pending is not None:
                self.line(f"{pending} = torch.zeros_like({pending})")

    def events(self, population: str, variable: str) -> str | None:
        """What events add to an input from one step's reading to the next; None where none reaches it."""
        couples = [
            o for o in self.step.operations
            if isinstance(o, Couple) and (o.population, o.target) == (population, variable)
        ]  # fmt: skip
        if not couples:
            return None
        pending, terms = self.pending.get((population, variable)), []
        if pending is None or any(c in self.hoisted for c in couples):
            terms.append(drive(population, variable))
            self.drives[terms[0]] = None
        text = " + ".join(terms if pending is None else [*terms, pending])
        for couple in couples:
            if is_static(self.step, couple) and couple not in self.hoisted:
                text = self.add_static(couple, text, gathered=True)
        self.sums.append(f"{population}.{variable}")
        self.source.arriving.append(text)
        return text

    def add_static(self, op: Couple, text: str, *, gathered: bool = False) -> str:
        """`text` plus spikes @ matrix, one product a delay."""
        synapses = self.step.projection(op.projection)
        feedback = self.feedback(synapses)
        for delay, matrix in zip(synapses.delays, self.matrices(op), strict=True):
            spikes = self.passed(synapses, self.spikes(synapses.pre, delay, gathered=gathered))
            if feedback is not None:
                text = f"{text} + through({spikes}, {matrix}, {feedback})"
            elif synapses.kind == "one_to_one":
                text = f"torch.addcmul({text}, {spikes}, {matrix})"
            else:
                text = f"project({text}, {spikes}, {matrix})"
        return text

    def graded(self, op: Couple) -> str:
        """Sum of a graded coupling, [batch, post]."""
        synapses, factors = self.step.projection(op.projection), op.factors
        if factors is None or synapses.kind != "dense":
            return self.summed(synapses, op, gate=None)
        return self.product(synapses, factors, gate=None)

    def product(self, synapses: Synapses, factors: Factors, gate: str | None) -> str:
        """post * (pre @ matrix) of a dense coupling whose value splits."""
        pre = self.at_end(synapses, "pre", factors.pre)
        if gate is not None:
            pre = gate if factors.pre == 1 else f"jump({gate}, {pre}, 0.0)"
        sent = self.fresh("sent", synapses.name)
        self.line(f"{sent} = {self.passed(synapses, f'rows({pre}, {self.like}, {synapses.shape[0]})')}")
        text = self.times_full(synapses, sent, factors.synapse)
        return text if factors.post == 1 else f"times({text}, {self.at_end(synapses, 'post', factors.post)})"

    def at_end(self, synapses: Synapses, end: str, expr: sp.Expr) -> str:
        """Source of a factor at one end of a dense coupling, [..., batch, cell]."""
        own = {s for s in expr.free_symbols if not s.name.endswith(f"_{end}") and s.name not in ("t", "dt")}
        if own:  # numbers of the projection, one per parameter set, have the synapses' axes
            return f"without({self.put(self.of_synapses(synapses, expr))}, {-1 if end == 'pre' else -2})"
        owner = getattr(synapses, end)
        plain = {s: symbol(self.common(owner, s.name.removesuffix(f"_{end}"))) for s in expr.free_symbols}
        return self.put(expr.xreplace(plain))

    def summed(self, synapses: Synapses, op: Couple, gate: str | None) -> str:
        """Sum of one value per synapse, [batch, post]."""
        value, wires = self.put(self.of_synapses(synapses, op.value)), self.wires[synapses.name]
        size = self.step.population(synapses.post).size
        function = self.function("sum", synapses.name, lambda v, like: total(wires, v, like, size))
        gated = value if gate is None else f"jump({gate}, {value}, 0.0)"
        return f"{function}({gated}, {self.like})"

    def couple(self, op: Couple) -> None:
        """Events that arrive in this step, or per-step sums into a state."""
        if self.to_input(op) and is_static(self.step, op):
            return  # gathered in the next step
        key, cells = local(op.population, op.target), self.step.population(op.population)
        synapses = self.step.projection(op.projection)
        if op in self.hoisted:
            found = self.drive_of(op)
            if found in self.drives:
                return  # what comes to a variable within a stretch comes in one drive
            self.drives[found] = None
        elif is_static(self.step, op):
            frozen = op.target in cells.frozen
            found = self.add_static(op, mangled("zeros", op.population) if frozen else key)
            if not frozen:
                self.line(f"{key} = {found}")
                return
        elif op.when != "always" and not (
            isinstance(synapses.delay, int)
            and op.late is None
            and synapses.kind == "dense"
            and op.factors
            and op.when == "pre"
        ):
            found = self.summed(synapses, op, self.gate(synapses, op.when, op.late))
        elif op.factors is not None and synapses.kind == "dense":
            gate = self.spikes(synapses.pre, int(synapses.delay)) if op.when == "pre" else None
            found = self.product(synapses, op.factors, gate)
        else:
            found = self.summed(synapses, op, None)
        if self.to_input(op):
            pending = self.pending[op.population, op.target]
            self.line(f"{pending} = {pending} + {found}")
        elif op.target in cells.frozen:
            self.line(f"{key} = {key} + ({found}).masked_fill({mangled('left', op.population)} > 0, 0.0)")
        else:
            self.line(f"{key} = {key} + {found}")

    # -- assignments ---------------------------------------------------------------------------------------

    def update_cells(self, op: Update) -> None:
        for assign in op.assigns:
            target, value = local(op.owner, assign.target), self.of_cells(op.owner, assign.expr)
            if op.when == "spikes":
                membrane = assign.target in self.step.population(op.owner).membranes
                detach = op.detached or (membrane and not self.backward.reset)
                self.reset(target, value, mangled("z", op.owner), detach=detach)
                continue
            text = self.value(op.owner, value)
            if not assign.temporary and not self.is_whole(value):
                text = f"{mangled('zeros', op.owner)} + {text}"
            if assign.target in op.frozen:
                left = f"{mangled('left', op.owner)} > 0"  # cells that have fired too, where thresholds are behind
                frozen = left if op.phase == "drive" else mangled("frozen", op.owner)
                text = f"torch.where({frozen}, {target}, {text})"
            text = self.when_due(op, assign, target, text)
            self.line(f"{target} = {text}")
            self.assigned(target, value, temporary=assign.temporary)

    def when_due(self, op: Update, assign: Assign, target: str, text: str) -> str:
        """A value that a variable takes in those steps alone in which the update runs."""
        return text if op.every == 1 or assign.temporary else f"torch.where({due(op.every)}, {text}, {target})"

    def reset(self, target: str, value: sp.Expr, spikes: str, *, detach: bool) -> None:
        """value where spiked; with detach, the spikes carry no gradient here."""
        change = self.bound(sp.expand(value - symbol(target)))
        if self.source.constants.fixed(change):
            gate = f"{spikes}.detach()" if detach else spikes
            self.line(f"{target} = torch.add({target}, {gate}*({self.put(change)}))")
        elif detach:
            self.line(f"{target} = torch.where({spikes} > 0, {self.put(value)}, {target})")
        else:
            self.line(f"{target} = jump({spikes}, {self.put(value)}, {target})")

    def update_synapses(self, op: Update) -> None:
        synapses = self.synapses[op.owner]
        gate = self.gate(synapses, op.when, op.late)
        for assign in op.assigns:
            target, value = local(op.owner, assign.target), self.of_synapses(synapses, assign.expr)
            text = self.value(op.owner, value)
            if gate is not None and not assign.temporary:
                text = f"jump({gate}, {text}, {target})"
            elif not assign.temporary and not self.is_whole(value):
                text = f"torch.zeros_like({target}) + {text}"
            text = self.when_due(op, assign, target, text)
            self.line(f"{target} = {text}")
            self.assigned(target, value, temporary=assign.temporary)

    def threshold(self, op: Threshold) -> None:
        name, cells = op.population, self.step.population(op.population)
        z, left = mangled("z", name), mangled("left", name)
        margin, condition = self.of_cells(name, op.margin), self.of_cells(name, op.condition)
        simple = op.plain and op.strict and all(side.is_Atom for side in op.condition.args)  # margin > 0 says the same
        told = [margin] if simple else [margin, condition]
        like = mangled("zeros", name)
        texts = [self.put(e) if self.is_whole(e) else f"{self.put(e)} + {like}" for e in told]
        self.line(f"{z} = {mangled('spike', name)}({', '.join(texts)})")
        if cells.refractory:
            self.source.lines += [
                f"{z} = torch.sub({z}, {left}, alpha=2).clamp_min(0)",  # 0 while refractory
                f"{left} = torch.add({left}, {z}.detach(), alpha={cells.refractory})",
            ]

    # -- what is recorded ----------------------------------------------------------------------------------

    def observed(self) -> tuple[str, ...]:
        """States and inputs, which can be recorded."""
        cells = [self.step.population(name) for name in self.names]
        return tuple(local(c.name, v) for c in cells for v in (*c.states, *c.inputs))

    def overwritten(self) -> tuple[str, ...]:
        """See Group."""
        return tuple(local(*key) for key in sorted(overwritten(self.step)) if key[0] in self.names)

    def derived(self) -> tuple[str, ...]:
        """Subexpressions at the end of the step, in a function of their own: most runs record none."""
        found = []
        for name in self.names:
            for sub, expr in self.step.population(name).subexpressions:
                target = local(name, sub)
                value = self.of_cells(name, expr)
                self.source.observing.append(f"{target} = {self.put(value)} + {mangled('zeros', name)}")
                self.assigned(target, value, temporary=True)
                found.append(target)
        return tuple(found)
