"""Tangents of a step: what small changes of a network's state become, one operation of a Step after another, along a recorded run.

The values that slopes are taken at are formed anew in each step from the recorded state before it, so that nothing drifts away
from the run, whichever backend made it. A spike passes a tangent on through a surrogate's slope, where one is given.
Arrays are numpy's, or those of a library that an Arithmetic says how to use: then what follows can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from neuro.compiler.linearised import Linearised, ago, waiting
from neuro.compiler.step import Assign, Cells, Couple, Gather, Synapses, Threshold, Update
from neuro.compiler.trajectory import plus, spread, wide


class Tangents(Linearised):
    """The tangent map of each step of a trajectory."""

    def advance(self, k: int, directions: Any) -> Any:
        """Tangents after step k from those before it, [batch, size, direction]. k: from `start` on."""
        moment = _Moment(self, k, self.split(directions))
        with np.errstate(all="ignore"):
            for op in self.step.operations:
                match op:
                    case Gather():
                        moment.gather(op)
                    case Update():
                        moment.update(op)
                    case Threshold():
                        moment.threshold(op)
                    case Couple():
                        moment.couple(op)
        return self.joined(moment.carried())


class _Moment:
    """One step under way. values, tangents: "owner.variable" -> array; what has no tangent isn't there. fired: of spikes in this step."""

    def __init__(self, whole: Linearised, k: int, carried: Mapping[str, Any]) -> None:
        self.whole, self.step, self.a = whole, whole.step, whole.arithmetic
        self.trajectory, self.k = whole.trajectory, k
        self.lead = (self.trajectory.shape[0],)
        self.directions = next(iter(carried.values())).shape[-1]
        states = [f"{c.name}.{n}" for c in self.step.cells for n in c.states]
        states += [f"{s.name}.{n}" for s in self.step.synapses for n in s.states]
        self.values: dict[str, Any] = {n: self.trajectory.traces[n][:, k - 1] for n in states}
        self.tangents: dict[str, Any] = dict(carried)
        self.fired: dict[str, Any] = {}
        self.passed: set[str] = set()  # populations whose thresholds are behind us

    def carried(self) -> dict[str, Any]:
        """What the next step begins with."""
        on_their_way = {
            ago(source, d): self._sent(source, d - 1) for source, n in self.whole.late.items() for d in range(1, n + 1)
        }
        found = {n: on_their_way[n] if n in on_their_way else self.tangents.get(n) for n in self.whole.blocks}
        return {
            n: self._full(0.0 if t is None else t, (*self.lead, *self.whole.blocks[n], self.directions))
            for n, t in found.items()
        }

    # -- expressions ---------------------------------------------------------------------------------------

    def _of(self, owner: str, name: str) -> Any:
        key = f"{owner}.{name}"
        for table in (self.values, self.trajectory.parameters):
            if key in table:
                return table[key]
        if key in self.trajectory.noise:
            return self.trajectory.noise[key][:, self.k]
        return {"dt": self.step.dt, "t": (self.trajectory.first + self.k) * self.step.dt}[name]

    def _evaluated(self, expr: sp.Expr, owner: str) -> tuple[Any, Any]:
        """Value and tangent of a formula of a population or a projection."""
        synapses = self.whole.synapses.get(owner)

        def value(name: str) -> Any:
            end = _end(synapses, name)
            if end is None or synapses is None:
                return self._of(owner, name)
            found = self._of(getattr(synapses, end), name.removesuffix(f"_{end}"))
            return spread(synapses, end, found, 1) if np.ndim(found) else found

        def tangent(name: str) -> Any:
            end = _end(synapses, name)
            if end is None or synapses is None:
                return self.tangents.get(f"{owner}.{name}")
            found = self.tangents.get(f"{getattr(synapses, end)}.{name.removesuffix(f'_{end}')}")
            return None if found is None else spread(synapses, end, found, 2)

        return self._dual(expr, value, tangent)

    def _dual(self, expr: sp.Expr, value: Callable[[str], Any], tangent: Callable[[str], Any]) -> tuple[Any, Any]:
        moved = {n: found for n in self.whole.names(expr) if (found := tangent(n)) is not None}
        formula = self.whole.formula(expr, tuple(moved))
        found, *slopes = formula.function(*map(value, formula.names))
        parts = [(wide(slope), moved[name]) for name, slope in zip(formula.by, slopes, strict=True)]
        if not parts:
            return found, None
        total = sum(slope * t for slope, t in parts[1:]) + parts[0][0] * parts[0][1]
        if not self.a.finite(total):  # a slope may be infinite where nothing moves
            total = sum(self.a.product(*part) for part in parts)
        return found, total

    # -- operations ----------------------------------------------------------------------------------------

    def gather(self, op: Gather) -> None:
        cells = self.step.population(op.population)
        values: dict[str, Any] = {}
        moved = {n: self.tangents.pop(waiting(op.population, n), None) for n in op.variables}
        for coupling in op.couplings:
            value, tangent = self._total(coupling)
            values[coupling.target] = values.get(coupling.target, 0.0) + value
            moved[coupling.target] = plus(moved[coupling.target], tangent)
        for name in op.variables:
            key = f"{op.population}.{name}"
            recorded = name in cells.inputs
            self._set(key, self.trajectory.traces[key][:, self.k] if recorded else values[name], moved[name])
            if key in self.whole.held:  # a recorded input holds what came at the first stage, too
                held = self.whole.held[key]
                self.values[held] = self.values[held] - values[name]

    def update(self, op: Update) -> None:
        if op.phase == "reset" and self.whole.resets == "ignored":
            return
        if (self.trajectory.first + self.k) % op.every:
            return
        gate, fired = self._acting(op)
        kept = self._refractory(self.step.population(op.owner)) if op.frozen else None
        for assign in op.assigns:
            key, (new, moved) = f"{op.owner}.{assign.target}", self._evaluated(assign.expr, op.owner)
            if assign.temporary:
                self._set(key, new, moved)
                continue
            if key not in self.values:  # a stage's variable
                self._set(key, self._full(new, self._cells(op.owner)), self._whole(moved, self._cells(op.owner)))
                continue
            old, before = self.values[key], self.tangents.get(key)
            if gate is not None:
                moved = self._chosen(gate, self._whole(moved, old.shape), before)
                if fired is not None and self._jumps(op, assign):
                    moved = plus(moved, self.a.product(wide(new - old), fired))
                new = self.a.where(gate, new, old)
            if kept is not None and assign.target in op.frozen:
                new, moved = self.a.where(kept, old, new), self._chosen(kept, before, self._whole(moved, old.shape))
            self._set(key, self._full(new, old.shape), self._whole(moved, old.shape))
        for assign in op.assigns:
            if assign.temporary:
                self._set(f"{op.owner}.{assign.target}", None, None)

    def _jumps(self, op: Update, assign: Assign) -> bool:
        """Whether what a spike makes of a variable has a slope by that spike."""
        if op.detached:
            return False
        if op.phase != "reset" or self.whole.resets == "attached":
            return True
        return assign.target not in self.step.population(op.owner).membranes

    def threshold(self, op: Threshold) -> None:
        slope, cells = self.whole.surrogate.get(op.population), self.step.population(op.population)
        if slope is not None:
            margin, moved = self._evaluated(op.margin, op.population)
            if moved is not None:
                psi = self._full(self._dual(slope, lambda name: margin, lambda name: None)[0], self._cells(cells.name))
                psi = self.a.where(self._refractory(cells), 0.0, psi)
                self.fired[op.population] = self.a.product(wide(psi), moved)
        self.passed.add(op.population)

    def couple(self, op: Couple) -> None:
        key, cells = f"{op.population}.{op.target}", self.step.population(op.population)
        value, moved = self._total(op)
        if op.target in cells.inputs:
            key = waiting(op.population, op.target)
            self._set_tangent(key, plus(self.tangents.get(key), moved))
            return
        if op.target in cells.frozen:
            kept = self._refractory(cells)
            value, moved = self.a.where(kept, 0.0, value), self._chosen(kept, None, moved)
        self._set(key, self.values[key] + value, plus(self.tangents.get(key), moved))

    # -- sums over synapses --------------------------------------------------------------------------------

    def _total(self, op: Couple) -> tuple[Any, Any]:
        """What a coupling sums into each cell [batch, post], and its tangent."""
        synapses, size = self.step.projection(op.projection), self.step.population(op.population).size
        if (
            synapses.kind == "dense"
            and op.factors
            and op.when != "post"
            and isinstance(synapses.delay, int)
            and op.late is None
        ):
            changing = (f"{synapses.name}.{name}" for name in self.whole.names(op.factors.synapse))
            if not any(name in self.tangents for name in changing):
                return self._product(op, synapses)
        shape = (*self.lead, *synapses.shape)
        sent, moved = self._evaluated(op.value, op.projection)
        gate, fired = self._passing(synapses, op)
        sent, moved = self._full(sent, shape), self._whole(moved, shape)
        moved = self._chosen(gate, moved, None)
        if fired is not None:
            moved = plus(moved, self.a.product(wide(sent), fired))
        sent = self.a.where(gate, sent, 0.0)
        if synapses.kind == "dense":
            return sent.sum(-2), None if moved is None else moved.sum(-3)
        return (None if a is None else self.a.added(a, synapses.post_index, size) for a in (sent, moved))  # type: ignore[return-value]

    def _product(self, op: Couple, synapses: Synapses) -> tuple[Any, Any]:
        """The same as post * (pre @ matrix), where the value splits, all delays are equal and the matrix has no tangent."""
        assert op.factors is not None
        pre, moved = self._end_factor(op.factors.pre, synapses, "pre")
        post, lifted = self._end_factor(op.factors.post, synapses, "post")
        if op.when == "pre":
            arrived, fired = self._arrived(synapses.pre, synapses.delay), self._sent(synapses.pre, synapses.delay)
            moved = self._chosen(arrived, moved, None)
            moved = plus(moved, None if fired is None else self.a.product(wide(pre), fired))
            pre = self.a.where(arrived, pre, 0.0)
        matrix = self._full(
            self._dual(op.factors.synapse, lambda n: self._of(op.projection, n), lambda n: None)[0], synapses.shape
        )
        if synapses.mask is not None:
            matrix = self.a.where(self.a.array(synapses.mask), matrix, 0.0)
        total = (pre[:, None, :] @ matrix)[:, 0]
        found = None if moved is None else self.a.product(wide(post), matrix.swapaxes(-1, -2) @ moved)
        return post * total, plus(found, None if lifted is None else self.a.product(wide(total), lifted))

    def _end_factor(self, expr: sp.Expr, synapses: Synapses, side: str) -> tuple[Any, Any]:
        """One end's factor [batch, cell], and its tangent."""
        owner, suffix = getattr(synapses, side), f"_{side}"
        shape = (*self.lead, synapses.ends[0 if side == "pre" else 1])

        def value(name: str) -> Any:
            return (
                self._of(owner, name.removesuffix(suffix)) if name.endswith(suffix) else self._of(synapses.name, name)
            )

        def tangent(name: str) -> Any:
            return self.tangents.get(f"{owner}.{name.removesuffix(suffix)}") if name.endswith(suffix) else None

        found, moved = self._dual(expr, value, tangent)
        return self._full(found, shape), self._whole(moved, shape)

    # -- spikes --------------------------------------------------------------------------------------------

    def _acting(self, op: Update) -> tuple[Any, Any]:
        """Where an update acts, None for everywhere, and the tangent of the spikes that make it act."""
        if op.when == "spikes":
            return self.trajectory.spikes[op.owner][:, self.k], self.fired.get(op.owner)
        synapses = self.whole.synapses.get(op.owner)
        return (None, None) if synapses is None else self._passing(synapses, op)

    def _passing(self, synapses: Synapses, op: Couple | Update) -> tuple[Any, Any]:
        """Which synapses there are (always), a spike reaches (pre), or whose target fired (post); and the tangent of those spikes."""
        there = self.a.array(np.ones((), bool) if synapses.mask is None else synapses.mask)
        delay = synapses.delay if op.late is None else op.late
        if op.when == "always":
            return there, None
        if op.when == "post":
            gate, moved = self._arrived(synapses.post, op.late or 0), self._sent(synapses.post, op.late or 0)
            end = "post"
        elif isinstance(delay, int):
            gate, moved = self._arrived(synapses.pre, delay), self._sent(synapses.pre, delay)
            end = "pre"
        else:
            return self._passing_late(synapses, there)
        moved = None if moved is None else self._chosen(there, spread(synapses, end, moved, 2), None)
        return spread(synapses, end, gate, 1) & there, moved

    def _passing_late(self, synapses: Synapses, there: Any) -> tuple[Any, Any]:
        """The same where each synapse has a delay of its own."""
        pre = np.arange(synapses.shape[0])[:, None] if synapses.kind == "dense" else synapses.pre_index
        gate, moved = (
            self.trajectory.spikes[synapses.pre][:, self.k - np.asarray(synapses.delay, np.int64), pre] & there,
            None,
        )
        for d in synapses.delays:
            sent = self._sent(synapses.pre, d)
            if sent is not None:
                chosen = self.a.array(synapses.delay == d) & there
                moved = plus(moved, self._chosen(chosen, spread(synapses, "pre", sent, 2), None))
        return gate, moved

    def _arrived(self, source: str, late: Any) -> Any:
        return self.trajectory.spikes[source][:, self.k - late]

    def _sent(self, source: str, late: Any) -> Any:
        """Tangent of the spikes of so many steps ago."""
        return self.tangents.get(ago(source, late)) if late else self.fired.get(source)

    def _refractory(self, cells: Cells) -> Any:
        """Cells in their refractory period: once thresholds are passed, those that fire in this step as well."""
        last = self.k + (cells.name in self.passed)
        if last <= self.k - cells.refractory + 1:
            return self.a.array(np.zeros(self._cells(cells.name), bool))
        return self.trajectory.spikes[cells.name][:, self.k - cells.refractory + 1 : last].any(1)

    # -- arrays --------------------------------------------------------------------------------------------

    def _set(self, key: str, value: Any, tangent: Any) -> None:
        self.values[key] = value
        self._set_tangent(key, tangent)

    def _set_tangent(self, key: str, tangent: Any) -> None:
        if tangent is None:
            self.tangents.pop(key, None)
        else:
            self.tangents[key] = tangent

    def _cells(self, population: str) -> tuple[int, ...]:
        return (*self.lead, self.step.population(population).size)

    def _full(self, value: Any, shape: tuple[int, ...]) -> Any:
        return self.a.broadcast_to(self.a.array(value), shape)

    def _whole(self, tangent: Any, shape: tuple[int, ...]) -> Any:
        return None if tangent is None else self.a.broadcast_to(tangent, (*shape, self.directions))

    def _chosen(self, gate: Any, one: Any, other: Any) -> Any:
        """Tangents `one` where the gate is open, else `other`; None is none at all."""
        if one is None and other is None:
            return None
        return self.a.where(gate[..., None], 0.0 if one is None else one, 0.0 if other is None else other)


def _end(synapses: Synapses | None, name: str) -> str | None:
    """Which end's variable a projection's formula means: "pre", "post", or None for its own."""
    return None if synapses is None else next((end for end in ("pre", "post") if name.endswith(f"_{end}")), None)
