"""A network's step as its tangents see it: what is carried from step to step, and each formula with its slopes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import sympy as sp

from neuro.compiler.step import Couple, Step, Update
from neuro.compiler.trajectory import Arithmetic, Trajectory
from neuro.language.symbolic import derivative, symbol

Resets = Literal["detached", "attached", "ignored"]
MARGIN = symbol("margin")


@dataclass(frozen=True)
class Formula:
    """An expression with its slopes by those variables that carry a tangent.

    function: of the values of `names`, gives the value and then a slope for each of `by`.
    """

    function: Callable[..., Any]
    names: tuple[str, ...]
    by: tuple[str, ...]


class Linearised:
    """What the tangent map of a step needs to know, whichever step of a trajectory it is.

    surrogate: population -> slope of its spikes as an expression of MARGIN, SI; a population without one passes nothing on.
    resets: "detached", as gradients have it by default: what a reset adds to a membrane has no slope by the spike; "attached": it has;
    "ignored": a reset changes no tangent at all.
    """

    def __init__(
        self, step: Step, trajectory: Trajectory, surrogate: Mapping[str, sp.Expr] | None = None, *,
        resets: Resets = "detached", arithmetic: Arithmetic | None = None,
    ) -> None:  # fmt: skip
        self.step, self.trajectory, self.resets = step, trajectory, resets
        self.surrogate = surrogate or {}
        self.arithmetic = arithmetic or Arithmetic()
        self.synapses = {s.name: s for s in step.synapses}
        self._names: dict[sp.Expr, tuple[str, ...]] = {}
        self._formulas: dict[tuple[sp.Expr, tuple[str, ...]], Formula] = {}

    @cached_property
    def blocks(self) -> dict[str, tuple[int, ...]]:
        """What a step hands to the next one, name -> shape: states, "owner.input (waiting)", "source (1 ago)" for spikes on their way."""
        found: dict[str, tuple[int, ...]] = {}
        for cells in self.step.cells:
            found |= {f"{cells.name}.{n}": (cells.size,) for n in cells.states}
        for synapses in self.step.synapses:
            found |= {f"{synapses.name}.{n}": tuple(synapses.shape) for n in synapses.states}
        for op in self.step.operations:
            if isinstance(op, Couple) and op.target in self.step.population(op.population).inputs:
                found[waiting(op.population, op.target)] = (self.step.population(op.population).size,)
        for source, steps in self.late.items():
            found |= {ago(source, d): (self.step.population(source).size,) for d in range(1, steps + 1)}
        return found

    @cached_property
    def late(self) -> dict[str, int]:
        """Population whose spikes have slopes and are sent -> the longest delay with which they arrive."""
        found: dict[str, int] = {}
        for s in self.step.synapses:
            if s.pre in self.surrogate:
                found[s.pre] = max(found.get(s.pre, 0), s.longest)
            if s.post in self.surrogate and s.behind:
                found[s.post] = max(found.get(s.post, 0), s.behind)
        return found

    @cached_property
    def start(self) -> int:
        """The first step of the trajectory before which everything is recorded that it depends on."""
        return max(
            (1, *(max(s.longest, s.behind) for s in self.step.synapses), *(c.refractory for c in self.step.cells))
        )

    @cached_property
    def held(self) -> dict[str, str]:
        """What is gathered at the first stage of an integrator -> the input that it is added to in the end."""
        found = {}
        for op in self.step.operations:
            if isinstance(op, Update) and op.phase == "stage":
                inputs = self.step.population(op.owner).inputs
                for assign in op.assigns:
                    if assign.target in inputs:
                        (stage,) = (s.name for s in assign.expr.free_symbols if s.name != assign.target)
                        found[f"{op.owner}.{stage}"] = f"{op.owner}.{assign.target}"
        return found

    @property
    def size(self) -> int:
        """Entries of all blocks together."""
        return sum(math.prod(shape) for shape in self.blocks.values())

    def split(self, directions: Any) -> dict[str, Any]:
        """[batch, size, ...] as blocks [batch, *shape, ...]."""
        found, place, lead = {}, 0, directions.shape[0]
        for name, shape in self.blocks.items():
            size = math.prod(shape)
            found[name] = directions[:, place : place + size].reshape(lead, *shape, *directions.shape[2:])
            place += size
        return found

    def joined(self, blocks: Mapping[str, Any]) -> Any:
        """Inverse of `split`."""
        parts = [
            blocks[n].reshape(blocks[n].shape[0], math.prod(shape), *blocks[n].shape[1 + len(shape) :])
            for n, shape in self.blocks.items()
        ]
        return self.arithmetic.concatenate(parts, 1)

    def names(self, expr: sp.Expr) -> tuple[str, ...]:
        """The variables of an expression."""
        if expr not in self._names:
            self._names[expr] = tuple(sorted(s.name for s in expr.free_symbols))
        return self._names[expr]

    def formula(self, expr: sp.Expr, live: tuple[str, ...]) -> Formula:
        """live: those of its variables that carry a tangent."""
        if (expr, live) not in self._formulas:
            slopes = {n: e for n in live if (e := derivative(expr, symbol(n))) != 0}
            names = self.names(expr)
            self._formulas[expr, live] = Formula(
                self.arithmetic.compiled(sp.Tuple(expr, *slopes.values()), names), names, tuple(slopes)
            )
        return self._formulas[expr, live]


def waiting(population: str, name: str) -> str:
    """The block of what events have added to an input since it was last read."""
    return f"{population}.{name} (waiting)"


def ago(source: str, steps: int) -> str:
    """The block of the spikes of so many steps ago."""
    return f"{source} ({steps} ago)"
