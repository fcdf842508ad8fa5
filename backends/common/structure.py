"""What backends that write source text, torch and native, ask about a Step, and the names that they give its variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from backends.common.options import flags, names_of
from neuro.compiler.margin_scales import margin_scales
from neuro.compiler.parameters import Parameter
from neuro.compiler.step import Couple, Gather, Operation, Step, Threshold, Update
from neuro.language.foreign import shown
from neuro.language.mangling import mangled
from neuro.language.symbolic import symbol
from neuro.model import Network
from neuro.protocols import UnsupportedError


def local(owner: str, name: str) -> str:
    """Identifier of a variable or parameter of a population or projection."""
    return mangled("of", owner, name)


@dataclass(frozen=True)
class Backward:
    """What a gradient may pass. reset: False where membranes' resets are detached. detached: projections it doesn't pass
    from post to pre. feedback: projections that it passes through weights of their own, "projection.feedback". scale: the surrogate's unit of the
    margin, SI; 0 for each population's distance from its initial state to the threshold.
    """

    reset: bool = False
    detached: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    scale: float = 0.0

    @staticmethod
    def of(
        backend: str, detach_reset: bool, detached: Sequence[str], feedback: Sequence[str], scale: float = 0.0
    ) -> Backward:
        """What a user asks for. Raises UnsupportedError, RunError."""
        flags(backend, detach_reset=detach_reset)
        if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 <= scale < float("inf"):
            why = "give the surrogate's unit in SI, or 0 for the distance from the initial state to the threshold"
            raise UnsupportedError(backend, f"option 'surrogate_scale'={shown(scale)}", why)
        through, own = names_of("detached", detached, "projection"), names_of("feedback", feedback, "projection")
        return Backward(not detach_reset, through, own, float(scale))

    def scales(self, step: Step, network: Network) -> dict[str, float]:
        """The surrogate's unit of each population that fires, SI."""
        found = margin_scales(step, network)
        return dict.fromkeys(found, self.scale) if self.scale else found


def with_feedback(declared: dict[str, Parameter], backward: Backward) -> dict[str, Parameter]:
    """Feedback weights beside the parameters. Raises UnsupportedError on a projection that has no dense weights."""
    for name in (*backward.detached, *backward.feedback):
        weights = declared.get(f"{name}.w")
        if weights is None or (name in backward.feedback and len(weights.shape) != 2):
            known = ", ".join(
                n.removesuffix(".w") for n, p in declared.items() if n.endswith(".w") and len(p.shape) == 2
            )
            what = "feedback" if name in backward.feedback else "no gradient"
            why = f"it has no {'dense ' if weights is not None else ''}weights; those with dense weights are {known}. Use a rule that takes the gradient as it is, such as 'bptt'"
            raise UnsupportedError("any", f"{what} through '{name}'", why)
    found = dict(declared)
    for name in backward.feedback:  # they stand for no synapse
        own = f"{name}.feedback"
        found[own] = replace(declared[f"{name}.w"], name=own, low=-np.inf, high=np.inf, sign=None, shares="")
    return found


def is_static(step: Step, couple: Couple) -> bool:
    """An event coupling of fixed per-synapse amounts: its sum is (spikes, some steps ago) @ matrix."""
    synapses, factors = step.projection(couple.projection), couple.factors
    if (
        couple.when != "pre"
        or couple.late is not None
        or factors is None
        or factors.pre.free_symbols
        or factors.post.free_symbols
    ):
        return False
    names = {s.name for s in factors.synapse.free_symbols}
    return not names & {*synapses.states, *synapses.noise, "t"}


def overwritten(step: Step) -> set[tuple[str, str]]:
    """(population, state) of states that a statement may set to what they weren't before: there a value that isn't finite can be lost within a run.

    A reset that follows from a comparison with the state itself sets none, where that compares the state of every step: what isn't finite fulfils it at once or never.
    """
    compared = {o.population: o.margin.free_symbols for o in step.operations if isinstance(o, Threshold) and o.plain}
    found = set()
    layouts = {c.name: c for c in step.cells}
    for update in step.operations:
        if (
            not isinstance(update, Update)
            or update.phase not in ("start", "every_step", "reset", "on_event")
            or update.owner not in layouts
        ):
            continue
        cells = layouts[update.owner]
        for assign in update.assigns:
            target, waits = symbol(assign.target), cells.refractory and assign.target not in cells.frozen
            spared = update.phase == "reset" and not waits and target in compared.get(cells.name, ())
            if not spared and not assign.temporary and target not in assign.expr.free_symbols:
                found.add((cells.name, assign.target))
    return found


def flat(operations: tuple[Operation, ...]) -> list[Operation]:
    """Operations in order, a Gather's couplings before it."""
    found: list[Operation] = []
    for op in operations:
        found += [*op.couplings, op] if isinstance(op, Gather) else [op]
    return found


def _read_at_ends(op: Operation) -> set[str]:
    """Cells' variables that a projection's operation reads, as "v_pre" and "v_post"."""
    exprs = [op.value] if isinstance(op, Couple) else [a.expr for a in op.assigns] if isinstance(op, Update) else []
    return {x.name for e in exprs for x in e.free_symbols if x.name.endswith(("_pre", "_post"))}


def reads_target(op: Couple) -> bool:
    """Whether what a coupling adds may depend on the variable that it adds to."""
    return not _read_at_ends(op).isdisjoint((f"{op.target}_pre", f"{op.target}_post"))


def stretches(step: Step) -> dict[int, int]:
    """In which stretch of the step each coupling among its operations adds to its variable, by the coupling's id.

    Between two stretches somebody may read the variable or assign to it, so only what comes within one may be summed beforehand.
    A coupling that reads its own target begins one.
    """
    places: dict[
        str, list[int]
    ] = {}  # of operations on a population's cells, and of those that read "v_pre" or "v_post"
    for at, op in enumerate(step.operations):
        own = () if isinstance(op, Couple) else (op.owner if isinstance(op, Update) else op.population,)
        for name in (*own, *_read_at_ends(op)):
            places.setdefault(name, []).append(at)
    found = {}
    for at, op in enumerate(step.operations):
        if isinstance(op, Couple):
            ends = (op.population, f"{op.target}_pre", f"{op.target}_post")
            found[id(op)] = len({place for name in ends for place in places.get(name, ()) if place <= at})
    return found
