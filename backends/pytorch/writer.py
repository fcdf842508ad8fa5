"""What operations on cells and on synapses are written with: names, spreads over synapses, matrices, what is known of values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import sympy as sp

from backends.common.ranges import Range, range_of
from backends.common.storage import Storage
from backends.common.structure import Backward, flat, is_static, local
from backends.common.torch_printer import code
from backends.pytorch.constants import Constants
from backends.pytorch.functions import FUNCTIONS, ROUNDED, Wires, full, matrices
from backends.pytorch.groups import Arrival
from backends.pytorch.source import Source
from neuro.compiler.step import Couple, Step, Synapses
from neuro.language.mangling import mangled
from neuro.language.symbolic import symbol


class Writer:
    """The text of one group while it is written. whole: names of tensors that have their owner's full shape."""

    def __init__(
        self, step: Step, names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], backward: Backward, wires: Mapping[str, Wires],
        storage: Storage,
    ) -> None:  # fmt: skip
        self.step, self.names, self.backward, self.wires, self.storage = step, names, backward, wires, storage
        self.synapses = {s.name: s for s in step.synapses if s.post in names}
        self.parameters = {local(*k.split(".", 1)) for k in shapes}
        self.plastic = {local(s.name, "w") for s in step.synapses if "w" in s.states}
        self.source = Source(Constants(lambda n: n in self.parameters and n not in self.plastic))
        self.functions: dict[str, Any] = FUNCTIONS | ({} if storage.products is None else ROUNDED)
        self.arrivals: dict[Arrival, None] = {}
        self.whole: set[str] = set()
        self.like = mangled("zeros", names[0])
        self._matrices: dict[Couple, list[str]] = {}
        self._gates: set[str] = set()
        self._numbers = count()
        self.hoisted = [o for o in flat(step.operations) if isinstance(o, Couple) and self.crosses(o)]

    def line(self, text: str) -> None:
        self.source.lines.append(text)

    def fresh(self, role: str, owner: str) -> str:
        """A name that nothing else has."""
        return mangled(role, owner, str(next(self._numbers)))

    def function(self, role: str, owner: str, value: Any) -> str:
        """A function or tensor that the text may name."""
        name = self.fresh(role, owner)
        self.functions[name] = value
        return name

    # -- expressions ---------------------------------------------------------------------------------------

    def crosses(self, op: Couple) -> bool:
        """Whether a coupling's spikes come from outside the group, so that all steps' sums can be formed before the loop."""
        inside = self.step.projection(op.projection).pre in self.names
        return op.population in self.names and is_static(self.step, op) and not inside

    def of_cells(self, owner: str, expr: sp.Expr) -> sp.Expr:
        return expr.xreplace({s: symbol(self.common(owner, s.name)) for s in expr.free_symbols})

    def common(self, owner: str, name: str) -> str:
        return name if name in ("t", "dt") else local(owner, name)

    def bound(self, expr: sp.Expr) -> sp.Expr:
        return expr.xreplace({symbol("dt"): sp.Float(repr(self.step.dt), 17)})

    def put(self, expr: sp.Expr) -> str:
        return self.source.constants.source(self.bound(expr))

    def value(self, owner: str, expr: sp.Expr) -> str:
        """Source of what a name gets: a tensor, also where the expression is a number."""
        bound = self.bound(expr)
        if bound.is_number:
            return self.function("number", owner, self.storage.of(float(bound)))
        return self.put(expr)

    def is_whole(self, expr: sp.Expr) -> bool:
        return any(s.name in self.whole for s in expr.free_symbols)

    def range(self, expr: sp.Expr) -> Range:
        return range_of(expr, self.source.constants.ranges)

    def assigned(self, target: str, expr: sp.Expr, *, temporary: bool) -> None:
        """Keeps what is known of a value; of a state only whether it is finite, since not every cell may have taken it."""
        found = self.range(self.bound(expr))
        self.source.constants.ranges[target] = found if temporary else Range(found.finite)
        if self.is_whole(expr) or not temporary:
            self.whole.add(target)

    # -- synapses ------------------------------------------------------------------------------------------

    def of_synapses(self, synapses: Synapses, expr: sp.Expr) -> sp.Expr:
        """Names of a synapse; the cells' variables spread to its layout in statements of their own."""
        table = {}
        for s in sorted(expr.free_symbols, key=lambda s: s.name):
            end = next((e for e in ("pre", "post") if s.name.endswith(f"_{e}")), None)
            if end is None:
                table[s] = symbol(self.common(synapses.name, s.name))
                continue
            inner = s.name.removesuffix(f"_{end}")
            spread = mangled(end, synapses.name, inner)
            name = local(getattr(synapses, end), inner)
            value = self.spread(synapses, end, name)
            self.line(f"{spread} = {self.passed(synapses, value) if end == 'pre' else value}")
            self.source.constants.ranges[spread] = self.range(symbol(name))
            table[s] = symbol(spread)
        return expr.xreplace(table)

    def spread(self, synapses: Synapses, end: str, name: str) -> str:
        if synapses.kind == "dense":
            return f"across({name}, {-1 if end == 'pre' else -2})"
        index = mangled("index", synapses.name, end)
        self.functions[index] = getattr(self.wires[synapses.name], end)
        return f"take({name}, {index})"

    def spikes(self, source: str, delay: int, *, gathered: bool = False) -> str:
        if delay == 0 and source in self.names and not gathered:
            return mangled("z", source)
        arrival = Arrival(source, delay, gathered)
        self.arrivals[arrival] = None
        return arrival.name

    def passed(self, synapses: Synapses, value: str) -> str:
        """A presynaptic value as a projection sends it; a detached one brings no gradient back."""
        return f"{value}.detach()" if synapses.name in self.backward.detached else value

    def gate(self, synapses: Synapses, when: str, late: int | None) -> str | None:
        """Which synapses a spike reaches (pre), whose target fired (post), or which there are (always; None: all of them);
        broadcastable to the layout.
        """
        there, wires = None, self.wires[synapses.name]
        if wires.mask is not None:
            there = self.function("mask", synapses.name, wires.mask)
        if when == "always":
            return there
        name = mangled("gate", synapses.name, when, "" if late is None else str(late))
        if name in self._gates:
            return name
        self._gates.add(name)
        terms = [] if when == "pre" else [self.spread(synapses, "post", self.spikes(synapses.post, late or 0))]
        own = synapses.delays if late is None else (late,)
        for delay in own if when == "pre" else ():
            spread = self.passed(synapses, self.spread(synapses, "pre", self.spikes(synapses.pre, delay)))
            some = wires.late[delay] if late is None else None
            if some is not None:
                spread = f"{spread}*{self.function('at', synapses.name, some)}"
            terms.append(spread)
        text = " + ".join(terms)
        if there is not None:
            text = f"({text})*{there}"
        self.line(f"{name} = {text}")
        return name

    def feedback(self, synapses: Synapses) -> str | None:
        """Weights of their own that a projection's gradient goes back through."""
        return local(synapses.name, "feedback") if synapses.name in self.backward.feedback else None

    def matrices(self, op: Couple) -> list[str]:
        """Constants that hold a static coupling's matrices, one a delay."""
        if op not in self._matrices:
            synapses = self.step.projection(op.projection)
            names = [self.fresh("matrix", op.projection) for _ in synapses.delays]
            value = self.of_cells(op.projection, self.bound(op.factors.synapse if op.factors else sp.Integer(1)))
            wires = self.wires[op.projection]
            function = self.function("matrices", op.projection, lambda v: matrices(wires, v))
            self.source.setup.append(f"{', '.join(names)}, = {function}({code(value)})")
            self.source.extra += names
            self._matrices[op] = names
        return self._matrices[op]

    def times_full(self, synapses: Synapses, sent: str, value: sp.Expr) -> str:
        """Source of `sent` @ a dense coupling's matrix; value: of each synapse."""
        value = self.bound(self.of_cells(synapses.name, value))
        wires = self.wires[synapses.name]
        function = self.function("full", synapses.name, lambda v: full(wires, v))
        feedback = self.feedback(synapses)
        if feedback is not None:
            return f"through({sent}, {function}({self.source.constants.source(value)}), {feedback})"
        if not self.source.constants.fixed(value):
            return f"weighted({sent}, {function}({self.source.constants.source(value)}))"
        matrix = self.fresh("matrix", synapses.name)
        self.source.setup.append(f"{matrix} = invariant({function}({code(value)}))")
        self.source.extra.append(matrix)
        return f"product({sent}, {matrix})"
