"""Step: one dt of the whole network, symbolic. What torch, the native kernel, the interpreter and the rules read.

A Step is an ordered list of operations. Expressions are sympy over real symbols: a population's own variables by
name; in synapses `x_pre`, `x_post` and the synapse's own names; `dt` and `t` are the step and its start time; `xi`
names are standard normal numbers. In one step, in this order (Brian2's schedule):

    Update      what is held for the step; what cells, then synapses, do at the start of every n-th one
    Gather      inputs of step k: what events left since the last one, graded sums, currents
    Update      all differential variables, synapses' and cells', from t_k to t_k + dt; then the cells' every_step statements
                (where couplings are evaluated at each stage of an integrator: Gather and Update in turn, stage after stage)
                (where an input is summed at a population's turn: Gather right before that population's Update)
    Update      differential variables of synapses that are integrated after cells
    Gather      other inputs: graded sums that are formed at the end of a step
    Update      the synapses' every_step statements
    Threshold   spikes of step k on the new state, not while refractory
    Update      what cells that fired remember of it
    Update      which events of their own cells have
    Update      what drives add to cells
    Update      on_pre statements of the spikes that arrive (Couple: their sums into cells), then on_post
    Update      resets
    Update      what cells do where they had an event
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import sympy as sp

from neuro.compiler.printing import expression_text
from neuro.compiler.sharing import spans
from neuro.compiler.wiring import Steps, Wiring
from neuro.display.networks import step_html
from neuro.language.elementary import greater, greater_equal
from neuro.language.equations import Source
from neuro.language.symbolic import closed, substituted, symbol

When = Literal["always", "spikes", "pre", "post"]


@dataclass(frozen=True)
class Assign:
    """`target := expr`. Assignments of one Update run in order; temporaries live within it."""

    target: str
    expr: sp.Expr
    temporary: bool = False

    def __str__(self) -> str:
        return f"{self.target} {'=' if self.temporary else ':='} {expression_text(self.expr)}"


@dataclass(frozen=True)
class Factors:
    """A coupling's value as a product: of presynaptic, per-synapse and postsynaptic variables.

    pre and post may also hold parameters of the projection that are one number.
    """

    pre: sp.Expr
    synapse: sp.Expr
    post: sp.Expr


@dataclass(frozen=True)
class Couple:
    """`target[post] += sum over synapses of value`. when: "always" (graded), "pre" or "post" (events).

    factors: None where the value doesn't split into a product. late: steps after the spike; None where the synapses' own delays say it.
    """

    projection: str
    population: str
    target: str
    value: sp.Expr
    factors: Factors | None
    when: When
    late: int | None = None

    def __str__(self) -> str:
        f = self.factors
        value = expression_text(self.value)
        if f is not None:
            parts = {"pre": f.pre, "synapse": f.synapse, "post": f.post}
            value = " ".join(f"{name}[{expression_text(e)}]" for name, e in parts.items() if e != 1) or "1"
        late = "" if self.late is None else f", {self.late} steps after"
        return f"{self.target} += sum({value})  via {self.projection}{late}"


@dataclass(frozen=True)
class Gather:
    """Inputs of a population: `variable := arrived + graded couplings + currents`, arrived back to 0."""

    population: str
    variables: tuple[str, ...]
    couplings: tuple[Couple, ...]
    currents: tuple[tuple[str, str], ...]  # (variable, input name)

    def __str__(self) -> str:
        lines = [f"gather {self.population}: {', '.join(self.variables)}"]
        lines += [f"    {coupling}" for coupling in self.couplings]
        return "\n".join(lines + [f"    {variable} += {name}[k]" for variable, name in self.currents])


@dataclass(frozen=True)
class Update:
    """Elementwise assignments over a population or a projection's synapses.

    when: always; where the cell spiked; where a spike arrives (pre); where the target fired (post).
    frozen: targets that a refractory cell keeps (and, in on_pre, doesn't take). every: only in steps k that are multiples of it.
    detached: no gradient passes to the spikes. late: as in Couple.
    """

    owner: str
    phase: Literal[
        "start", "stage", "integrate", "every_step", "spike", "event", "drive", "on_pre", "on_post", "reset", "on_event"
    ]
    assigns: tuple[Assign, ...]
    when: When = "always"
    frozen: tuple[str, ...] = ()
    every: int = 1
    detached: bool = False
    late: int | None = None

    def __str__(self) -> str:
        when = {
            "always": "",
            "spikes": " where spiked",
            "pre": " where a spike arrives",
            "post": " where the target fired",
        }
        frozen = f", {', '.join(self.frozen)} kept while refractory" if self.frozen else ""
        frozen += "" if self.late is None else f", {self.late} steps after"
        every = f" of every {self.every} steps" if self.every > 1 else ""
        return "\n".join(
            [f"{self.phase} {self.owner}{every}{when[self.when]}{frozen}", *(f"    {a}" for a in self.assigns)]
        )


@dataclass(frozen=True)
class Threshold:
    """spikes := condition, where not refractory.

    condition: 1 where it holds, else 0: it alone decides. margin: positive where it holds, up to equality; a surrogate's
    slope is taken there.
    """

    population: str
    margin: sp.Expr
    condition: sp.Expr

    @property
    def plain(self) -> bool:
        """True for one comparison, whose sides differ by the margin."""
        if not isinstance(self.condition, greater | greater_equal):
            return False
        a, b = self.condition.args
        return bool(closed(a - b) == self.margin)

    @property
    def strict(self) -> bool:
        """True if no comparison counts equality."""
        return not self.condition.has(greater_equal)

    def __str__(self) -> str:
        text = (
            f"{expression_text(self.margin)} {'>' if self.strict else '>='} 0"
            if self.plain
            else expression_text(self.condition)
        )
        return f"threshold {self.population}: {text}"


Operation = Gather | Update | Threshold | Couple


@dataclass(frozen=True)
class Cells:
    """A population's layout. membranes: states that inputs or a synapse's events reach directly; the others adapt.

    stages: variables that live within a step, where couplings are evaluated at each stage of the integrator. counts: (name, drive) of
    the numbers of events that drives bring in a step.
    """

    name: str
    size: int
    states: tuple[str, ...]
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    subexpressions: tuple[tuple[str, sp.Expr], ...]  # in dependency order
    noise: tuple[str, ...]
    spikes: bool
    frozen: tuple[str, ...]
    refractory: int  # steps; 0 where there is no refractory period
    method: str
    membranes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    counts: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"population {self.name}[{self.size}]: states {', '.join(self.states) or '-'}"]
        return "\n".join(lines + [f"    {name} = {expression_text(expr)}" for name, expr in self.subexpressions])

    @property
    def variables(self) -> tuple[str, ...]:
        """Everything that has a value in each cell: what is kept from step to step, and what lives within one."""
        return (*self.states, *self.inputs, *self.stages)

    @property
    def inlined(self) -> dict[str, sp.Expr]:
        """Subexpressions in terms of states, inputs and parameters."""
        return composed(tuple(Assign(name, expr) for name, expr in self.subexpressions))


@dataclass(frozen=True, kw_only=True)
class Synapses(Wiring):
    """A projection's layout: its wiring, and what stands in it. delay: steps, one number or one per synapse in its shape. later: delays of
    pathways that have their own. behind: steps from the target's spike to on_post."""

    name: str
    pre: str
    post: str
    ends: tuple[int, int]  # cells or channels before and after
    delay: int | Steps
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    weight: bool
    noise: tuple[str, ...] = ()
    later: tuple[int, ...] = ()
    behind: int = 0

    @property
    def longest(self) -> int:
        """Steps from a source's spike to the last that it does here."""
        return max((self.max_delay, *self.later))

    def __str__(self) -> str:
        delay = f"{self.delay}" if isinstance(self.delay, int) else f"0..{self.max_delay}"
        return f"projection {self.name}: {self.pre} -> {self.post}, {self.kind}, delay {delay} steps"

    @cached_property
    def max_delay(self) -> int:
        """The longest delay, steps; 0 where there are no synapses."""
        return int(np.max(self.delay)) if np.size(self.delay) else 0

    @cached_property
    def delays(self) -> tuple[int, ...]:
        """Every delay that occurs, in ascending order; 0 where there are no synapses."""
        every, counts = np.ravel(self.delay), np.zeros(self.max_delay + 1, np.int64)
        for part in spans(every.size):
            counts += np.bincount(every[part], minlength=len(counts))
        return tuple(int(d) for d in np.flatnonzero(counts)) or (0,)


@dataclass(frozen=True)
class Step:
    """One step of a network. dt in seconds."""

    dt: float
    cells: tuple[Cells, ...]
    synapses: tuple[Synapses, ...]
    sources: Mapping[str, int]  # spike inputs: name -> size
    operations: tuple[Operation, ...]

    @property
    def staged(self) -> tuple[str, ...]:
        """Populations that are integrated together with what they send each other."""
        return tuple(c.name for c in self.cells if c.stages)

    @cached_property
    def _cells(self) -> dict[str, Cells]:
        return {c.name: c for c in self.cells}

    @cached_property
    def _synapses(self) -> dict[str, Synapses]:
        return {s.name: s for s in self.synapses}

    @cached_property
    def _updates(self) -> dict[tuple[str, str], Update]:
        return {(o.owner, o.phase): o for o in reversed(self.operations) if isinstance(o, Update)}

    def population(self, name: str) -> Cells:
        """The cells of that name. Raises KeyError."""
        return self._cells[name]

    def projection(self, name: str) -> Synapses:
        """The synapses of that name. Raises KeyError."""
        return self._synapses[name]

    def update(self, owner: str, phase: str) -> Update | None:
        """The first one of this phase."""
        return self._updates.get((owner, phase))

    def starting(self, owner: str) -> list[Update]:
        """What it does at the start of a step."""
        return [o for o in self.operations if isinstance(o, Update) and o.owner == owner and o.phase == "start"]

    def next_state(self, owner: str) -> dict[str, sp.Expr]:
        """State after integration as expressions of the old state, temporaries put in.

        Raises ModelError where a population is integrated together with others.
        """
        if owner in self.staged:
            message = "couplings='stages': its state after a step depends on those of other cells"
            raise Source(f"population '{owner}'", "").fail(message, "use couplings='step'")
        update = self.update(owner, "integrate")
        return {} if update is None else composed(update.assigns)

    def jacobian(self, population: str) -> dict[tuple[str, str], sp.Expr]:
        """d(new state)/d(old state or input), by (new, old); entries that are zero are left out."""
        cells = self.population(population)
        new = self.next_state(population)
        found = {}
        for state in cells.states:
            for old in (*cells.states, *cells.inputs):
                slope = closed(sp.diff(new.get(state, symbol(state)), symbol(old)))
                if slope != 0:
                    found[state, old] = slope
        return found

    def __str__(self) -> str:
        """One line an assignment, in the order of execution."""
        parts = [f"dt = {self.dt:.12g} s", *self.cells, *self.synapses, *(self._line(op) for op in self.operations)]
        return "".join(f"{part}\n" for part in parts)

    def _repr_html_(self) -> str:
        return step_html(self)

    def _line(self, op: Operation) -> str:
        if isinstance(op, Couple):
            return f"deliver {op.when}: {op.population}.{op}"
        refractory = self.population(op.population).refractory if isinstance(op, Threshold) else 0
        return f"{op}, refractory for {refractory} steps" if refractory else str(op)


def composed(assigns: tuple[Assign, ...]) -> dict[str, sp.Expr]:
    """What a list of assignments does, as expressions of the values before it."""
    table: dict[sp.Symbol, sp.Expr] = {}
    for assign in assigns:
        table[symbol(assign.target)] = substituted(assign.expr, table)
    return {a.target: table[symbol(a.target)] for a in assigns if not a.temporary}
