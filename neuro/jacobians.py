"""Derivatives of one population's step, from Step's expressions, along a recorded run.

Within a step: gather I, integrate S -> S', spikes z = H(margin(S')), resets S' -> S''. `Cells` gives, for each step of a
recording, the slopes of S' and S'' and of the spikes; the derivative of a spike is the surrogate's. Assignments are
followed one by one (forward mode), so that no expression grows, whatever the integrator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro import streams
from neuro.evaluation import evaluate
from neuro.lowering import lower
from neuro.model import Network
from neuro.parameters import initial_state
from neuro.protocols import Array, Parameters, Recording
from neuro.receptors import without_receptors
from neuro.step import Assign, Threshold
from neuro.symbolic import symbol

Slope = Callable[[str, Array], Array]  # (population, margin) -> surrogate derivative with respect to the margin
Tangents = dict[str, dict[str, Any]]  # variable -> seed -> d variable / d seed


class Chain:
    """Assignments with the symbolic derivative of each; seeds: what is differentiated by."""

    def __init__(self, assigns: Iterable[Assign], seeds: Iterable[str]) -> None:
        self.seeds = tuple(seeds)
        live = set(self.seeds)
        self.steps: list[tuple[str, sp.Expr, dict[str, sp.Expr]]] = []
        for assign in assigns:
            slopes = {s.name: sp.diff(assign.expr, s) for s in assign.expr.free_symbols if s.name in live}
            slopes = {n: e for n, e in slopes.items() if e != 0}
            live = live | {assign.target} if slopes else live - {assign.target}
            self.steps.append((assign.target, assign.expr, slopes))

    def run(self, lookup: Callable[[str], Any]) -> tuple[dict[str, Any], Tangents]:
        """Values and tangents after the assignments. lookup: values before them."""
        values: dict[str, Any] = {}
        tangents: Tangents = {s: {s: 1.0} for s in self.seeds}

        def now(name: str) -> Any:
            return values[name] if name in values else lookup(name)

        for target, expr, slopes in self.steps:
            found: dict[str, Any] = {}
            for name, slope in slopes.items():
                factor = evaluate(slope, now)
                for seed, tangent in tangents[name].items():
                    found[seed] = found.get(seed, 0.0) + factor * tangent
            values[target] = evaluate(expr, now)
            tangents[target] = found
        return values, tangents

    def depends(self) -> dict[tuple[str, str], set[str]]:
        """(variable, seed) -> names that the derivative depends on; pairs without a derivative are left out."""
        table: dict[str, dict[str, set[str]]] = {s: {s: set()} for s in self.seeds}
        for target, _, slopes in self.steps:
            found: dict[str, set[str]] = {}
            for name, slope in slopes.items():
                own = {s.name for s in slope.free_symbols}
                for seed, names in table[name].items():
                    found[seed] = found.get(seed, set()) | names | own
            table[target] = found
        return {(variable, seed): names for variable, seeds in table.items() for seed, names in seeds.items()}


@dataclass(frozen=True)
class Slopes:
    """Derivatives in one step; arrays broadcast to [batch, neuron].

    state: (S', S or input). fire: S' -> slope of the spike. after: (S'', S') at a fixed spike. jump: S'' -> slope by the
    spike itself. spikes: bool.
    """

    state: Mapping[tuple[str, str], Any]
    fire: Mapping[str, Any]
    after: Mapping[tuple[str, str], Any]
    jump: Mapping[str, Any]


class Cells:
    """One population along a recording that holds all of its states and inputs.

    slope: None where it has no threshold. detach_reset: as in neuro.semantics.
    """

    def __init__(
        self, network: Network, population: str, parameters: Parameters, recording: Recording, slope: Slope | None,
        *, detach_reset: bool = True, trial: int = 0,
    ) -> None:  # fmt: skip
        self.step, merged = lower(network), without_receptors(network)
        self.cells = self.step.population(population)
        self.name, self.states, self.inputs = population, self.cells.states, self.cells.inputs
        self._slope, self.detach_reset = slope, detach_reset
        self.chains = {p: self._chain(p) for p in ("integrate", "every_step", "reset")}
        self.parameters = {n.partition(".")[2]: v for n, v in parameters.items() if n.startswith(f"{population}.")}
        first = {n: initial_state(network)[f"{population}.{n}"] for n in self.states}
        self._traces = {n: recording.traces[f"{population}.{n}"] for n in (*self.states, *self.inputs)}
        some = next(iter(recording.traces.values()))
        self.batch, self.steps = some.shape[0], some.shape[1]
        self.shape = (self.batch, self.cells.size)
        self._first = {n: np.broadcast_to(v, self.shape) for n, v in first.items()}
        self.spikes = recording.spikes.get(population)
        noise = merged.population(population).neuron.scope.noise
        self._noise = {
            n: streams.normal(network.seed, f"noise/{population}/{n}", trial, self.batch, self.steps, self.cells.size)
            for n in noise
        }
        self._threshold = next(
            (o for o in self.step.operations if isinstance(o, Threshold) and o.population == population), None
        )

    def _chain(self, phase: str) -> Chain | None:
        update = self.step.update(self.name, phase)
        seeds = (*self.states, *self.inputs) if phase == "integrate" else self.states
        return None if update is None else Chain(update.assigns, seeds)

    def at(self, k: int) -> Slopes:
        """Derivatives in step k."""
        values = {n: self._traces[n][:, k - 1] if k else self._first[n] for n in self.states}
        values |= {n: self._traces[n][:, k] for n in self.inputs}
        values |= {n: a[:, k] for n, a in self._noise.items()}
        state: dict[tuple[str, str], Any] = {(n, n): 1.0 for n in self.states}
        frozen = self._frozen(k)
        for phase in ("integrate", "every_step"):
            chain = self.chains[phase]
            if chain is None:
                continue
            found, tangents = chain.run(self._lookup(values, k))
            kept = self.cells.frozen if phase == "integrate" and self.cells.refractory else ()
            state = _compose(self.states, state, tangents)
            for name in kept:
                for key in [key for key in state if key[0] == name]:
                    state[key] = np.where(frozen, float(key[1] == name), state[key])
                found[name] = np.where(frozen, values[name], found.get(name, values[name]))
            values |= {n: v for n, v in found.items() if n in values}
        fire = self._fire(values, k, frozen)
        after, jump = self._after(values, k)
        return Slopes(state, fire, after, jump)

    def _lookup(self, values: Mapping[str, Any], k: int) -> Callable[[str], Any]:
        common = {"t": k * self.step.dt, "dt": self.step.dt}
        return lambda name: next(t[name] for t in (values, self.parameters, common) if name in t)

    def _frozen(self, k: int) -> npt.NDArray[np.bool_]:
        if self.spikes is None or self.cells.refractory < 2:
            return np.zeros(self.shape, bool)
        return np.asarray(self.spikes[:, max(0, k - self.cells.refractory + 1) : k].any(axis=1))

    def _fire(self, values: Mapping[str, Any], k: int, frozen: Array) -> dict[str, Any]:
        if self._threshold is None or self._slope is None:
            return {}
        lookup = self._lookup(values, k)
        margin = np.broadcast_to(evaluate(self._threshold.margin, lookup), self.shape)
        psi = np.where(frozen, 0.0, self._slope(self.name, margin))
        slopes = {n: sp.diff(self._threshold.margin, symbol(n)) for n in self.states}
        return {n: psi * evaluate(e, lookup) for n, e in slopes.items() if e != 0}

    def _after(self, values: Mapping[str, Any], k: int) -> tuple[dict[tuple[str, str], Any], dict[str, Any]]:
        after: dict[tuple[str, str], Any] = {(n, n): 1.0 for n in self.states}
        chain, jump = self.chains["reset"], {}
        if chain is None or self.spikes is None:
            return after, {}
        found, tangents = chain.run(self._lookup(values, k))
        spiked = self.spikes[:, k]
        for name in (n for n in self.states if n in found):
            for seed in {*tangents[name], name}:
                at_spike, otherwise = tangents[name].get(seed, 0.0), float(seed == name)
                same = not np.ndim(at_spike) and at_spike == otherwise
                after[name, seed] = otherwise if same else np.where(spiked, at_spike, otherwise)
            if not (self.detach_reset and name in self.cells.membranes):
                jump[name] = found[name] - values[name]
        return after, jump


def _compose(
    states: tuple[str, ...], before: Mapping[tuple[str, str], Any], tangents: Tangents
) -> dict[tuple[str, str], Any]:
    """Slopes of the new states by what `before` is a slope by."""
    found: dict[tuple[str, str], Any] = {}
    for new in states:
        for middle, slope in tangents.get(new, {new: 1.0}).items():
            known = {seed: v for (name, seed), v in before.items() if name == middle}
            for seed, value in (known if middle in states else {middle: 1.0}).items():
                found[new, seed] = found.get((new, seed), 0.0) + slope * value
    return found
