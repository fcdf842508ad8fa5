"""Derivatives of one population's step, from Step's expressions, along a recorded run.

Within a step: gather I, integrate S -> S', spikes z = H(margin(S', I)), events land on S', resets S' -> S''. `Cells` gives,
for each step of a recording, the slopes of S' and S'' and of the spikes; the derivative of a spike is the surrogate's.
Assignments are followed one by one (forward mode), so that no expression grows, whatever the integrator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro.compiler import streams
from neuro.compiler.evaluation import chain_product, evaluate
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import initial_state
from neuro.compiler.resolve import resolve
from neuro.compiler.step import Assign, Threshold
from neuro.language.symbolic import derivative, symbol
from neuro.model import Network
from neuro.protocols import Array, Parameters, Recording

Slope = Callable[[str, Array], Array]  # (population, margin) -> surrogate derivative with respect to the margin
Tangents = dict[str, dict[str, Any]]  # variable -> seed -> d variable / d seed
SPIKE = "a spike"  # the seed of a cell's own spike; no variable has a space in its name


class Chain:
    """Assignments with the symbolic derivative of each.

    seeds: what is differentiated by. conditional: targets that some cells may keep as they are.
    """

    def __init__(self, assigns: Iterable[Assign], seeds: Iterable[str], conditional: Collection[str] = ()) -> None:
        self.seeds, live = tuple(seeds), set(seeds)
        self.steps: list[tuple[str, sp.Expr, dict[str, sp.Expr]]] = []
        for assign in assigns:
            slopes = {s.name: derivative(assign.expr, s) for s in assign.expr.free_symbols if s.name in live}
            slopes = {n: e for n, e in slopes.items() if e != 0}
            kept = slopes or assign.target in conditional
            live = live | {assign.target} if kept else live - {assign.target}
            self.steps.append((assign.target, assign.expr, slopes))

    def run(
        self, lookup: Callable[[str], Any], held: Mapping[str, Array] | None = None, jumps: Collection[str] = ()
    ) -> tuple[dict[str, Any], Tangents]:
        """Values and tangents after the assignments. lookup: values before them. held: target -> cells that keep it.

        jumps: targets that also change by how many cells are held: their slope by SPIKE is what the assignment adds.
        """
        values: dict[str, Any] = {}
        tangents: Tangents = {s: {s: 1.0} for s in self.seeds}

        def now(name: str) -> Any:
            return values[name] if name in values else lookup(name)

        for target, expr, slopes in self.steps:
            found: dict[str, Any] = {}
            for name, slope in slopes.items():
                factor = evaluate(slope, now)
                for seed, tangent in tangents.get(name, {}).items():
                    found[seed] = found.get(seed, 0.0) + chain_product(factor, tangent)
            value = evaluate(expr, now)
            if held and target in held:
                old, kept = now(target), tangents.get(target, {})
                found = {s: _where(held[target], kept.get(s, 0.0), found.get(s, 0.0)) for s in {**kept, **found}}
                if target in jumps:
                    found[SPIKE] = found.get(SPIKE, 0.0) + (value - old)
                value = np.where(held[target], old, value)
            values[target], tangents[target] = value, found
        return values, tangents


@dataclass(frozen=True)
class Slopes:
    """Derivatives in one step; arrays broadcast to [batch, neuron].

    state: (S', S or input). fire: S' or input -> slope of the spike. after: (S'', S' or input) at a fixed spike.
    jump: S'' -> slope by the spike itself. open: states that take events in some cells only -> 1.0 there.
    """

    state: Mapping[tuple[str, str], Any]
    fire: Mapping[str, Any]
    after: Mapping[tuple[str, str], Any]
    jump: Mapping[str, Any]
    open: Mapping[str, Any]


class Cells:
    """One population along a recording that holds all of its states and inputs.

    slope: None where it has no threshold. detach_reset: as in neuro.compiler.semantics. landed: state -> sum of the events that reach
    it in each step, whether the cell takes them or not.
    """

    def __init__(
        self, network: Network, population: str, parameters: Parameters, recording: Recording, slope: Slope | None,
        *, detach_reset: bool = True, trial: int = 0, landed: Mapping[str, Array] | None = None,
    ) -> None:  # fmt: skip
        self._landed = landed or {}
        self.step, merged = lower(network), resolve(network).network
        self.cells = self.step.population(population)
        self.name, self.states, self.inputs = population, self.cells.states, self.cells.inputs
        self._slope, self.detach_reset = slope, detach_reset
        self.chains = {p: self._chain(p) for p in ("integrate", "every_step", "spike", "reset")}
        seeds = (*self.states, *self.inputs)
        self.starting = [(u.every, Chain(u.assigns, seeds, ())) for u in self.step.starting(population)]
        self.parameters = {n.partition(".")[2]: v for n, v in parameters.items() if n.startswith(f"{population}.")}
        first = {n: initial_state(network)[f"{population}.{n}"] for n in self.states}
        self._traces = {n: recording.traces[f"{population}.{n}"] for n in (*self.states, *self.inputs)}
        some = next(iter(recording.traces.values()))
        self.batch, self.steps = some.shape[0], some.shape[1]
        self.shape = (self.batch, self.cells.size)
        self._first = {n: np.broadcast_to(v, self.shape) for n, v in first.items()}
        self.spikes = recording.spikes.get(population)
        noise = merged.population(population).neuron.scope.noise
        self._noise = {n: streams.noise(merged, population, n, trial, self.batch, 0, self.steps) for n in noise}
        threshold = (o for o in self.step.operations if isinstance(o, Threshold) and o.population == population)
        self._margin = next((o.margin for o in threshold), None)
        slopes = (
            {}
            if self._margin is None
            else {n: derivative(self._margin, symbol(n)) for n in (*self.states, *self.inputs)}
        )
        self._margin_slopes = {n: e for n, e in slopes.items() if e != 0}

    def _chain(self, phase: str) -> Chain | None:
        update = self.step.update(self.name, phase)
        seeds = (*self.states, *self.inputs)
        conditional = self.states if phase == "reset" else self.cells.frozen
        return None if update is None else Chain(update.assigns, seeds, conditional)

    def at(self, k: int) -> Slopes:
        """Derivatives in step k; infinite where a function's slope is."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._at(k)

    def _at(self, k: int) -> Slopes:
        values = {n: self._traces[n][:, k - 1] if k else self._first[n] for n in self.states}
        values |= {n: self._traces[n][:, k] for n in self.inputs}
        values |= {n: a[:, k] for n, a in self._noise.items()}
        state: dict[tuple[str, str], Any] = {(n, n): 1.0 for n in self.states}
        refractory = self._refractory(k)
        held = dict.fromkeys(self.cells.frozen, refractory) if self.cells.refractory else {}
        starting = [chain for every, chain in self.starting if k % every == 0]
        for chain in (*starting, self.chains["integrate"], self.chains["every_step"]):
            if chain is not None:
                found, tangents = chain.run(self._lookup(values, k), held)
                state = _compose(self.states, state, tangents)
                values |= {n: v for n, v in found.items() if n in values}
        fire = self._fire(values, k, refractory)
        taking = {}
        if held and self.spikes is not None:
            taking = dict.fromkeys(self.cells.frozen, np.where(refractory | self.spikes[:, k], 0.0, 1.0))
        values |= {n: values[n] + a[:, k] * taking.get(n, 1.0) for n, a in self._landed.items()}
        remembered = self.chains["spike"]
        if remembered is not None and self.spikes is not None:
            values |= remembered.run(self._lookup(values, k), dict.fromkeys(self.states, ~self.spikes[:, k]))[0]
        after, jump = self._after(values, k)
        return Slopes(state, fire, after, jump, taking)

    def _lookup(self, values: Mapping[str, Any], k: int) -> Callable[[str], Any]:
        common = {"t": k * self.step.dt, "dt": self.step.dt}
        return lambda name: next(t[name] for t in (values, self.parameters, common) if name in t)

    def after(self, name: str) -> Any:
        """A state after all steps, an input in them, [batch, time, neuron], or a parameter."""
        common = {"t": np.arange(self.steps)[:, None] * self.step.dt, "dt": self.step.dt}
        return next(t[name] for t in (self._traces, self.parameters, common) if name in t)

    def _refractory(self, k: int) -> npt.NDArray[np.bool_]:
        if self.spikes is None or self.cells.refractory < 2:
            return np.zeros(self.shape, bool)
        return np.asarray(self.spikes[:, max(0, k - self.cells.refractory + 1) : k].any(axis=1))

    def _fire(self, values: Mapping[str, Any], k: int, refractory: Array) -> dict[str, Any]:
        if self._margin is None or self._slope is None:
            return {}
        lookup = self._lookup(values, k)
        margin = np.broadcast_to(evaluate(self._margin, lookup), self.shape)
        psi = np.where(refractory, 0.0, self._slope(self.name, margin))
        return {n: chain_product(evaluate(e, lookup), psi) for n, e in self._margin_slopes.items()}

    def _after(self, values: Mapping[str, Any], k: int) -> tuple[dict[tuple[str, str], Any], dict[str, Any]]:
        after: dict[tuple[str, str], Any] = {(n, n): 1.0 for n in self.states}
        chain, jump = self.chains["reset"], {}
        if chain is None or self.spikes is None:
            return after, {}
        held = dict.fromkeys(self.states, ~self.spikes[:, k])
        jumps = [n for n in self.states if not (self.detach_reset and n in self.cells.membranes)]
        found, tangents = chain.run(self._lookup(values, k), held, jumps)
        for name in (n for n in self.states if n in found):
            del after[name, name]
            after |= {(name, seed): slope for seed, slope in tangents[name].items() if seed != SPIKE}
            if SPIKE in tangents[name]:
                jump[name] = tangents[name][SPIKE]
        return after, jump


def _where(condition: Array, one: Any, other: Any) -> Any:
    """np.where, but a number where both are the same number."""
    return one if not np.ndim(one) and not np.ndim(other) and one == other else np.where(condition, one, other)


def _compose(
    states: tuple[str, ...], before: Mapping[tuple[str, str], Any], tangents: Tangents
) -> dict[tuple[str, str], Any]:
    """Slopes of the new states by what `before` is a slope by."""
    found: dict[tuple[str, str], Any] = {}
    for new in states:
        for middle, slope in tangents.get(new, {new: 1.0}).items():
            known = {seed: v for (name, seed), v in before.items() if name == middle}
            for seed, value in (known if middle in states else {middle: 1.0}).items():
                found[new, seed] = found.get((new, seed), 0.0) + chain_product(slope, value)
    return found
