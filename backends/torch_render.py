"""Step -> torch source: one `constants` and one `step` function for each group of populations that depend on each other.

Event couplings from inputs and earlier groups are hoisted: one matmul over all time steps, done by the program. What is
left in the loop is written here, in the order of Step's operations. Names: `hidden__v` is variable v of `hidden`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
import torch

from backends.structure import Backward, delays_of, flat, is_static
from backends.torch_functions import FUNCTIONS, full, matrices, total
from backends.torch_groups import Arrival, Group, drive_name, groups, local
from backends.torch_printer import Constants, code
from backends.torch_source import Source
from neuro.step import Couple, Factors, Gather, Operation, Step, Synapses, Threshold, Update
from neuro.symbolic import step as compare
from neuro.symbolic import symbol


def render(step: Step, shapes: Mapping[str, tuple[int, ...]], backward: Backward) -> list[Group]:
    """All groups of a network. shapes: of the parameters."""
    return [_Renderer(step, names, shapes, backward).group() for names in groups(step)]


class _Renderer:
    def __init__(
        self, step: Step, names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], backward: Backward
    ) -> None:
        self.step, self.names, self.shapes, self.backward = step, names, shapes, backward
        self.synapses = {s.name: s for s in step.synapses if s.post in names}
        self.parameters = {local(*k.split(".", 1)) for k in shapes}
        self.plastic = {local(s.name, "w") for s in step.synapses if "w" in s.states}
        self.source = Source(Constants(lambda n: n in self.parameters and n not in self.plastic))
        self.states: list[str] = []
        self.arrivals: dict[Arrival, None] = {}
        self.functions: dict[str, Any] = dict(FUNCTIONS)
        self.drives: dict[str, None] = {}
        self.matrices: dict[str, list[str]] = {}
        ops = flat(step.operations)
        self.hoisted = [o for o in ops if isinstance(o, Couple) and self.crosses(o)]
        self.pending = {
            (o.population, o.target): None
            for o in ops
            if isinstance(o, Couple) and o.population in names and self.to_input(o) and o.when != "always"
            and not is_static(step, o)
        }  # fmt: skip

    # -- names ---------------------------------------------------------------------------------------------

    def crosses(self, op: Couple) -> bool:
        return (
            op.population in self.names
            and is_static(self.step, op)
            and self.step.projection(op.projection).pre not in self.names
        )

    def to_input(self, op: Couple) -> bool:
        return op.target in self.step.population(op.population).inputs

    def of_cells(self, owner: str, expr: sp.Expr) -> sp.Expr:
        return expr.xreplace({s: symbol(self.common(owner, s.name)) for s in expr.free_symbols})

    def common(self, owner: str, name: str) -> str:
        return name if name in ("t", "dt") else local(owner, name)

    def bound(self, expr: sp.Expr) -> sp.Expr:
        return expr.xreplace({symbol("dt"): sp.Float(repr(self.step.dt), 17)})

    def of_synapses(self, synapses: Synapses, expr: sp.Expr) -> sp.Expr:
        """Names of a synapse; the cells' variables spread to its layout in statements of their own."""
        table = {}
        for s in sorted(expr.free_symbols, key=lambda s: s.name):
            end = next((e for e in ("pre", "post") if s.name.endswith(f"_{e}")), None)
            if end is None:
                table[s] = symbol(self.common(synapses.name, s.name))
                continue
            owner = getattr(synapses, end)
            inner = local(owner, s.name.removesuffix(f"_{end}"))
            spread = f"{synapses.name}__{end}__{inner}"
            value = self.spread(synapses, end, inner)
            self.source.lines.append(f"{spread} = {self.passed(synapses, value) if end == 'pre' else value}")
            table[s] = symbol(spread)
        return expr.xreplace(table)

    def spread(self, synapses: Synapses, end: str, name: str) -> str:
        if synapses.kind == "dense":
            return f"across({name}, {-1 if end == 'pre' else -2})"
        index = f"{synapses.name}__{end}_index"
        self.functions[index] = torch.as_tensor(getattr(synapses, f"{end}_index"))
        return f"take({name}, {index})"

    def put(self, expr: sp.Expr) -> str:
        return self.source.constants.source(self.bound(expr))

    # -- operations ----------------------------------------------------------------------------------------

    def group(self) -> Group:
        step = self.step
        for name in self.names:
            cells = step.population(name)
            self.states += [local(name, v) for v in cells.states]
            self.states += [f"{name}__left"] if cells.refractory else []
        for synapses in self.synapses.values():
            self.states += [local(synapses.name, v) for v in synapses.states]
        self.states += [f"{local(*key)}__pending" for key in self.pending]
        for name in self.names:
            if step.population(name).refractory:
                self.source.lines.append(f"{name}__left = ({name}__left - 1).clamp_min(0)")
                self.source.lines += [f"{name}__frozen = {name}__left > 0"] if step.population(name).frozen else []
        for op in step.operations:
            self.operation(op)
        derived = self.derived()
        spiking = tuple(n for n in self.names if step.population(n).spikes)
        currents = tuple(
            (f"{local(o.population, v)}__drive", i)
            for o in step.operations if isinstance(o, Gather) and o.population in self.names for v, i in o.currents
        )  # fmt: skip
        noise = tuple(local(n, x) for n in self.names for x in step.population(n).noise)
        found = Group(
            self.names, tuple(self.hoisted), currents, tuple(self.states), tuple(self.arrivals), tuple(self.drives), noise,
            spiking, self.observed(), derived,
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

    def gather(self, op: Gather) -> None:
        for variable in op.variables:
            target = local(op.population, variable)
            terms = []
            currents = [i for v, i in op.currents if v == variable]
            if currents or any((c.population, c.target) == (op.population, variable) for c in self.hoisted):
                self.drives[f"{target}__drive"] = None
                terms.append(f"{target}__drive")
            if (op.population, variable) in self.pending:
                terms.append(f"{target}__pending")
            text = " + ".join(terms) or f"{op.population}__zeros"
            for couple in self.static_events(op.population, variable):
                text = self.add_static(couple, text, extra_delay=1)
            for couple in op.couplings:
                if couple.target == variable:
                    text = f"{text} + {self.graded(couple)}"
            self.source.lines.append(f"{target} = {text}")
            if (op.population, variable) in self.pending:
                self.source.lines.append(f"{target}__pending = torch.zeros_like({target}__pending)")

    def static_events(self, population: str, variable: str) -> list[Couple]:
        return [
            o for o in self.step.operations
            if isinstance(o, Couple) and (o.population, o.target) == (population, variable)
            and is_static(self.step, o) and o not in self.hoisted
        ]  # fmt: skip

    def add_static(self, op: Couple, text: str, extra_delay: int = 0) -> str:
        """`text` plus spikes @ matrix, one product a delay."""
        synapses = self.step.projection(op.projection)
        for delay, matrix in zip(delays_of(synapses), self.matrix(op), strict=True):
            spikes = self.passed(synapses, self.spikes(synapses.pre, delay + extra_delay))
            if synapses.name in self.backward.feedback:
                text = f"{text} + through({spikes}, {matrix}, {local(synapses.name, 'feedback')})"
            elif synapses.kind == "one_to_one":
                text = f"torch.addcmul({text}, {spikes}, {matrix})"
            else:
                text = f"project({text}, {spikes}, {matrix})"
        return text

    def spikes(self, source: str, delay: int) -> str:
        if delay == 0 and source in self.names:
            return f"{source}__z"
        arrival = Arrival(source, delay)
        self.arrivals[arrival] = None
        return arrival.name

    def passed(self, synapses: Synapses, value: str) -> str:
        """A presynaptic value as a projection sends it; a detached one brings no gradient back."""
        return f"{value}.detach()" if synapses.name in self.backward.detached else value

    def matrix(self, op: Couple) -> list[str]:
        """Constants that hold a static coupling's matrices, one a delay."""
        key = f"{op.projection}__to__{op.target}"
        if key not in self.matrices:
            synapses = self.step.projection(op.projection)
            names = [f"{key}_{d}" for d in delays_of(synapses)]
            value = self.of_cells(op.projection, self.bound(op.factors.synapse if op.factors else sp.Integer(1)))
            self.functions[f"{key}__matrices"] = lambda v: matrices(synapses, v)
            self.source.setup.append(f"{', '.join(names)}, = {key}__matrices({self.code_of_constant(value)})")
            self.source.extra += names
            self.matrices[key] = names
        return self.matrices[key]

    def code_of_constant(self, expr: sp.Expr) -> str:
        return code(expr)

    def graded(self, op: Couple) -> str:
        """Sum of a graded coupling, [batch, post]."""
        synapses, factors = self.step.projection(op.projection), op.factors
        if factors is None or synapses.kind != "dense":
            return self.summed(synapses, op, gate=None)
        return self.product(synapses, factors, gate="")

    def product(self, synapses: Synapses, factors: Factors, gate: str) -> str:
        """post * (pre @ matrix) of a dense coupling whose value splits."""
        pre = self.at_end(synapses, "pre", factors.pre)
        post = self.at_end(synapses, "post", factors.post)
        spread = f"{synapses.name}__source"
        size = synapses.shape[0]
        zeros = f"{self.names[0]}__zeros"
        value = self.passed(synapses, f"rows({' * '.join(p for p in (gate, f'({pre})') if p)}, {zeros}, {size})")
        self.source.lines.append(f"{spread} = {value}")
        value = self.bound(self.of_cells(synapses.name, factors.synapse))
        self.functions[f"{synapses.name}__full"] = lambda v: full(synapses, v)
        if synapses.name in self.backward.feedback:
            full_ = f"{synapses.name}__full({self.source.constants.source(value)})"
            text = f"through({spread}, {full_}, {local(synapses.name, 'feedback')})"
        elif self.source.constants.fixed(value):
            matrix = f"{synapses.name}__matrix"
            if matrix not in self.source.extra:
                self.source.setup.append(f"{matrix} = invariant({synapses.name}__full({code(value)}))")
                self.source.extra.append(matrix)
            text = f"product({spread}, {matrix})"
        else:
            text = f"weighted({spread}, {synapses.name}__full({self.source.constants.source(value)}))"
        return text if post == "1" else f"({post}) * {text}"

    def at_end(self, synapses: Synapses, end: str, expr: sp.Expr) -> str:
        """Source of a factor at one end of a dense coupling, [..., batch, cell]."""
        own = {s for s in expr.free_symbols if not s.name.endswith(f"_{end}") and s.name not in ("t", "dt")}
        if own:  # numbers of the projection, one a parameter set, have the synapses' axes
            return f"({self.put(self.of_synapses(synapses, expr))}).squeeze({-1 if end == 'pre' else -2})"
        owner = getattr(synapses, end)
        plain = {s: symbol(self.common(owner, s.name.removesuffix(f"_{end}"))) for s in expr.free_symbols}
        return self.put(expr.xreplace(plain))

    def summed(self, synapses: Synapses, op: Couple, gate: str | None) -> str:
        """Sum of one value a synapse, [batch, post]."""
        value = self.put(self.of_synapses(synapses, op.value))
        size = self.step.population(synapses.post).size
        self.functions[f"{synapses.name}__sum"] = lambda v, like: total(synapses, v, like, size)
        gated = value if gate is None else f"{gate}*({value})"
        return f"{synapses.name}__sum({gated}, {self.names[0]}__zeros)"

    def gate(self, synapses: Synapses, when: str) -> str:
        """Which synapses a spike reaches (pre) or whose target fired (post); broadcastable to the layout."""
        name = f"{synapses.name}__{when}_gate"
        if f"{name} =" in "\n".join(self.source.lines):
            return name
        if when == "post":
            self.source.lines.append(f"{name} = {self.spread(synapses, 'post', f'{synapses.post}__z')}")
            return name
        terms = []
        for delay in delays_of(synapses):
            spread = self.passed(synapses, self.spread(synapses, "pre", self.spikes(synapses.pre, delay)))
            if not isinstance(synapses.delay, int):
                chosen = f"{synapses.name}__at_{delay}"
                self.functions[chosen] = torch.as_tensor(np.asarray(synapses.delay) == delay)
                spread = f"{spread}*{chosen}"
            terms.append(spread)
        text = " + ".join(terms)
        if synapses.mask is not None:
            self.functions[f"{synapses.name}__mask"] = torch.as_tensor(synapses.mask)
            text = f"({text})*{synapses.name}__mask"
        self.source.lines.append(f"{name} = {text}")
        return name

    def couple(self, op: Couple) -> None:
        """Events that arrive in this step, or per-step sums into a state."""
        if self.to_input(op) and is_static(self.step, op):
            return  # gathered in the next step
        key, cells = local(op.population, op.target), self.step.population(op.population)
        synapses = self.step.projection(op.projection)
        if op in self.hoisted:
            drive = drive_name(op)
            if drive in self.drives:
                return  # all hoisted couplings of a variable come in one drive
            self.drives[drive] = None
            total_ = drive
        elif is_static(self.step, op):
            total_ = self.add_static(op, f"{op.population}__zeros" if op.target in cells.frozen else key)
            if op.target not in cells.frozen:
                self.source.lines.append(f"{key} = {total_}")
                return
        elif op.when != "always" and not (
            isinstance(synapses.delay, int) and synapses.kind == "dense" and op.factors and op.when == "pre"
        ):
            total_ = self.summed(synapses, op, self.gate(synapses, op.when))
        elif op.factors is not None and synapses.kind == "dense":
            gate = self.spikes(synapses.pre, int(synapses.delay)) if op.when == "pre" else ""
            total_ = self.product(synapses, op.factors, gate)
        else:
            total_ = self.summed(synapses, op, None)
        if self.to_input(op):
            self.source.lines.append(f"{key}__pending = {key}__pending + {total_}")
        elif op.target in cells.frozen:
            self.source.lines.append(f"{key} = {key} + ({total_}).masked_fill({op.population}__left > 0, 0.0)")
        else:
            self.source.lines.append(f"{key} = {key} + {total_}")

    def update_cells(self, op: Update) -> None:
        for assign in op.assigns:
            target, value = local(op.owner, assign.target), self.of_cells(op.owner, assign.expr)
            if op.when == "spikes":
                membrane = assign.target in self.step.population(op.owner).membranes
                self.reset(target, value, f"{op.owner}__z", detach=membrane and not self.backward.reset)
                continue
            text = self.put(value)
            if not assign.temporary and self.source.constants.fixed(self.bound(value)):
                text = f"torch.zeros_like({target}) + {text}"
            if assign.target in op.frozen:
                text = f"torch.where({op.owner}__frozen, {target}, {text})"
            self.source.lines.append(f"{target} = {text}")

    def reset(self, target: str, value: sp.Expr, spikes: str, *, detach: bool) -> None:
        """value where spiked; with detach, the spikes carry no gradient here."""
        change = sp.expand(value - symbol(target))
        if symbol(target) not in change.free_symbols:
            gate = f"{spikes}.detach()" if detach else spikes
            self.source.lines.append(f"{target} = {target} + {gate}*({self.put(change)})")
        elif detach:
            self.source.lines.append(f"{target} = torch.where({spikes}.bool(), {self.put(value)}, {target})")
        else:
            self.source.lines.append(f"{target} = {spikes}*({self.put(value)}) + (1 - {spikes})*{target}")

    def update_synapses(self, op: Update) -> None:
        synapses = self.synapses[op.owner]
        gate = "" if op.when == "always" else self.gate(synapses, op.when)
        temporary = {a.target for a in op.assigns if a.temporary}
        for assign in op.assigns:
            target = local(op.owner, assign.target)
            text = self.put(self.of_synapses(synapses, assign.expr))
            if gate and assign.target not in temporary:
                text = f"{gate}*({text}) + (1 - {gate})*{target}"
            elif assign.target not in temporary:
                text = f"{text} + torch.zeros_like({target})" if target not in text else text
            self.source.lines.append(f"{target} = {text}")

    def threshold(self, op: Threshold) -> None:
        name, cells = op.population, self.step.population(op.population)
        margin, condition = self.of_cells(name, op.margin), self.of_cells(name, op.condition)
        whole = any(symbol(local(name, v)) in margin.free_symbols for v in (*cells.states, *cells.inputs))
        shape = "" if whole else f" + {name}__zeros"
        decides = "" if condition == compare(margin) else f", {self.put(condition)}"
        self.source.lines.append(f"{name}__z = {name}__spike({self.put(margin)}{shape}{decides})")
        if cells.refractory:
            self.source.lines += [
                f"{name}__z = torch.sub({name}__z, {name}__left, alpha=2).clamp_min(0)",  # 0 while refractory
                f"{name}__left = torch.add({name}__left, {name}__z.detach(), alpha={cells.refractory})",
            ]

    def observed(self) -> tuple[str, ...]:
        """States and inputs, which can be recorded."""
        cells = [self.step.population(name) for name in self.names]
        return tuple(local(c.name, v) for c in cells for v in (*c.states, *c.inputs))

    def derived(self) -> tuple[str, ...]:
        """Subexpressions at the end of the step, in a function of their own: most runs record none."""
        found = []
        for name in self.names:
            for sub, expr in self.step.population(name).subexpressions:
                found.append(local(name, sub))
                self.source.observing.append(f"{found[-1]} = {self.put(self.of_cells(name, expr))} + {name}__zeros")
        return tuple(found)
