"""Influence of every weight on every hidden cell, with the recurrent Jacobian: RTRL and what is cut out of it.

Influence is [batch, weight, cell]: RTRL keeps all of it, SnAp-n the cells that a weight reaches within n - 1 further steps,
an S-hop rule counts hops on an axis of its own and stops at S. UORO keeps one random vector for it.

Source: Williams & Zipser (1989), Neural Comput 1:270; Menick et al. (2021), ICLR; Liu et al. (2021), PNAS 118:e2111821118;
Tallec & Ollivier (2018), ICLR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.evaluation import chain_product
from neuro.compiler.lowering import lower
from neuro.compiler.step import Gather
from neuro.language.symbolic import symbol
from neuro.learning.common.summed_inputs import SummedInput
from neuro.learning.traces.eligibility import fired, integrated, landed, wide
from neuro.learning.traces.jacobians import Slopes
from neuro.learning.traces.trial import Trial, fed_inputs, sends
from neuro.model import Network
from neuro.protocols import UnsupportedError

Array = npt.NDArray[np.float64]
Variables = dict[str, dict[str, Array]]  # population -> variable -> [batch, weight, cell]
Mask = npt.NDArray[np.bool_]


@dataclass
class Influence:
    """What weights do to cells, [batch, weight, cell]: to states after the last step and before it, inputs, spikes.

    history: spikes of the steps before the last one, newest first.
    """

    states: Variables
    before: Variables = field(default_factory=dict)
    inputs: Variables = field(default_factory=dict)
    spikes: dict[str, Array] = field(default_factory=dict)
    history: list[dict[str, Array]] = field(default_factory=list)

    def sent(self, population: str, late: int) -> Array | None:
        """Spikes of a population, so many steps before the one that goes on."""
        if late == 0:
            return self.spikes.get(population)
        return self.history[late - 1].get(population) if late <= len(self.history) else None


class Recurrence:
    """The cells that influence each other, in the order in which they gather their inputs, and the weights between them.

    These are the hidden ones, and the readout where it sends something. hops: weights that carry influence from cell to cell,
    by projection; their own where left out.
    """

    def __init__(self, trial: Trial, hops: Mapping[str, Array] | None = None) -> None:
        self.trial = trial
        self.signals = trial.own if trial.closed else trial.signals
        among = tuple(trial.cells) if trial.closed else trial.hidden
        gathers = [o.population for o in lower(trial.network).operations if isinstance(o, Gather)]
        self.populations = sorted(among, key=lambda n: gathers.index(n) if n in gathers else len(gathers))
        inner = [s for s in trial.summed_inputs.values() if s.population in among and s.synapses.pre in among]
        self.links = [(s, self._weights(s, hops or {})) for s in inner]
        self.depth = max((s.late for s in inner), default=0)

    def _weights(self, summed: SummedInput, hops: Mapping[str, Array]) -> Array:
        return summed.gain * summed.dense(hops.get(summed.synapses.name, self.trial.parameters[summed.name]))

    def carried(self, population: str, source: Influence, k: int, lands: bool) -> dict[str, Array]:
        """Derivative of what neighbours bring in step k to inputs, or to states that events land on."""
        found: dict[str, Any] = {}
        for summed, weights in self.links:
            if summed.population == population and summed.lands == lands:
                sent = (
                    source.sent(summed.synapses.pre, summed.late)
                    if summed.pre is None
                    else self._graded(summed, source, k)
                )
                if sent is not None:
                    found[summed.variable] = found.get(summed.variable, 0.0) + sent @ weights
        return found

    def _graded(self, summed: SummedInput, source: Influence, k: int) -> Array | None:
        pre, total = summed.synapses.pre, None
        known = {**source.before.get(pre, {}), **source.inputs.get(pre, {})}
        for name, slope in self.trial.slopes[summed.synapses.name].items():
            if name in known:
                part = chain_product(wide(slope[:, k] if np.ndim(slope) == 3 else slope), known[name])
                total = part if total is None else total + part
        return total


class Weights:
    """Trained weights of hidden projections as one axis: projection after projection, [pre, post] row by row."""

    def __init__(self, trial: Trial, trained: Sequence[str]) -> None:
        self.trial = trial
        self.summed_inputs = [trial.summed_inputs[n] for n in trained]
        self.sizes = [s.synapses.ends[0] * s.synapses.ends[1] for s in self.summed_inputs]
        self.size = sum(self.sizes)

    def immediate(self, population: str, k: int) -> dict[str, Array]:
        """What weights bring in step k without any recurrence: input or state -> [batch, weight, cell]."""
        found: dict[str, Array] = {}
        start, cells = 0, self.trial.cells[population]
        for summed, size in zip(self.summed_inputs, self.sizes, strict=True):
            if summed.population == population:
                pre = summed.gain * self.trial.activity[summed.synapses.name][:, k]
                block = np.einsum("bi,jm->bijm", pre, np.eye(summed.synapses.ends[1])).reshape(cells.batch, size, -1)
                whole = found.setdefault(summed.variable, np.zeros((cells.batch, self.size, cells.shape[1])))
                whole[:, start : start + size] += block
            start += size
        return found

    def own(self, population: str) -> npt.NDArray[np.bool_]:
        """[weight, cell]: whether the weight ends on the cell."""
        parts = [
            np.tile(np.eye(s.synapses.ends[1], dtype=bool), (s.synapses.ends[0], 1))
            if s.population == population
            else np.zeros((size, self.trial.cells[population].shape[1]), bool)
            for s, size in zip(self.summed_inputs, self.sizes, strict=True)
        ]
        return np.concatenate(parts)

    def split(self, flat: Array) -> dict[str, Array]:
        """Gradients in each projection's layout."""
        found, start = {}, 0
        for summed, size in zip(self.summed_inputs, self.sizes, strict=True):
            found[f"{summed.synapses.name}.w"] = summed.layout(flat[start : start + size].reshape(summed.synapses.ends))
            start += size
        return found


def reachable(recurrence: Recurrence, weights: Weights, n: int) -> dict[str, Mask]:
    """SnAp-n's mask, population -> [weight, cell]: cells that a weight reaches in at most n - 1 connections."""
    found = {p: weights.own(p) for p in recurrence.populations}
    for _ in range(n - 1):
        new = {p: m.copy() for p, m in found.items()}
        for summed, w in recurrence.links:
            new[summed.population] |= (found[summed.synapses.pre].astype(float) @ (w != 0)) > 0
        found = new
    return found


def by_influence(
    trial: Trial, trained: Sequence[str], *, snap: int | None = None, hops: int | None = None,
    hop_weights: Mapping[str, Array] | None = None, smooth: bool = False,
) -> dict[str, Array]:  # fmt: skip
    """Gradients of weights onto the cells of the recurrence. snap: SnAp-n. hops: at most so many. Neither: RTRL.

    hop_weights: see Recurrence. smooth: on the way from cell to cell, a cell's slope by its input is the mean over cells and
    steps (ModProp; Liu et al., 2022, NeurIPS 35); a weight's own cell keeps its exact slope.
    """
    weights, recurrence = Weights(trial, trained), Recurrence(trial, hop_weights)
    masks = {} if snap is None else reachable(recurrence, weights, snap)
    means = {p: _mean_slopes(trial, p) for p in recurrence.populations} if smooth else {}
    layers = [_nothing(recurrence, weights.size) for _ in range(1 if hops is None else hops + 1)]
    total = np.zeros(weights.size)
    for k in range(next(iter(trial.cells.values())).steps):
        slopes = {p: trial.cells[p].at(k) for p in recurrence.populations}
        for i, layer in enumerate(layers):
            source = layer if hops is None else layers[i - 1] if i else None
            _step(recurrence, weights if i == 0 else None, slopes, layer, source, k, masks, means)
            total += np.einsum("bp->p", _credit(recurrence, layer, k))
    return weights.split(total)


def _nothing(recurrence: Recurrence, size: int) -> Influence:
    """No influence yet, of `size` weights."""
    cells = {p: recurrence.trial.cells[p] for p in recurrence.populations}
    return Influence({p: {n: np.zeros((c.batch, size, c.shape[1])) for n in c.states} for p, c in cells.items()})


def _step(
    recurrence: Recurrence, weights: Weights | None, slopes: Mapping[str, Slopes], layer: Influence,
    source: Influence | None, k: int, masks: Mapping[str, Mask], means: Mapping[str, Mapping[tuple[str, str], float]],
) -> None:  # fmt: skip
    """Move `layer` by one step. weights: None where there is no immediate influence. source: whose influence the connections
    carry on; `layer` itself for RTRL. means: see by_influence.
    """
    trial = recurrence.trial
    layer.history = [layer.spikes, *layer.history][: recurrence.depth]
    layer.before, layer.inputs, layer.spikes, layer.states = layer.states, {}, {}, {}
    at_once, moved = {}, {}
    for p in recurrence.populations:
        at_once[p] = weights.immediate(p, k) if weights is not None else {}
        cells, mask = trial.cells[p], masks.get(p)
        driven = {n: v for n, v in at_once[p].items() if n in cells.inputs}
        carried = recurrence.carried(p, source, k, lands=False) if source is not None else {}
        if mask is not None:
            driven, carried = ({n: v * mask for n, v in d.items()} for d in (driven, carried))
        layer.inputs[p] = {n: np.asarray(driven.get(n, 0.0) + carried.get(n, 0.0)) for n in {*driven, *carried}}
        if p in means and carried:
            even = replace(slopes[p], state={**slopes[p].state, **means[p]})
            other = integrated(even, {}, carried, cells.states)
            own = integrated(slopes[p], layer.before[p], driven, cells.states)
            moved[p] = {n: own.get(n, 0.0) + other.get(n, 0.0) for n in {**own, **other}}
        else:
            moved[p] = integrated(slopes[p], layer.before[p], layer.inputs[p], cells.states)
        if cells.spikes is not None:
            e = fired(slopes[p], moved[p])
            layer.spikes |= {p: e} if e.ndim else {}
    for p in recurrence.populations:
        cells, mask = trial.cells[p], masks.get(p)
        carried = recurrence.carried(p, source, k, lands=True) if source is not None else {}
        own = {n: v for n, v in at_once[p].items() if n in cells.states}
        brought = {n: own.get(n, 0.0) + carried.get(n, 0.0) for n in {*own, *carried}}
        found = landed(slopes[p], moved[p], layer.spikes.get(p, 0.0), brought, layer.before[p])
        layer.states[p] = found if mask is None else {n: v * mask for n, v in found.items()}


def _mean_slopes(trial: Trial, population: str) -> dict[tuple[str, str], float]:
    """Slopes of new states by inputs, each one number: its mean over trials, cells and steps."""
    cells = trial.cells[population]
    found: dict[tuple[str, str], list[float]] = {}
    for k in range(cells.steps):
        for (new, old), slope in cells.at(k).state.items():
            if old in cells.inputs:
                found.setdefault((new, old), []).append(float(np.mean(slope)))
    return {key: float(np.mean(values)) for key, values in found.items()}


def _credit(recurrence: Recurrence, layer: Influence, k: int) -> Array:
    """Signals of step k times influence, summed over cells: [batch, weight]."""
    total = np.zeros((1, 1))
    for p in recurrence.populations:
        signal, known = recurrence.signals[p], {**layer.states[p], **layer.inputs[p]}
        parts = [(a, known[n]) for n, a in signal.direct.items() if n in known]
        if signal.spikes is not None and p in layer.spikes:
            parts.append((signal.spikes, layer.spikes[p]))
        for slope, v in parts:
            total = total + np.einsum("bj,bpj->bp", slope[:, k], v)
    return total


def by_uoro(trial: Trial, trained: Sequence[str], random: np.random.Generator) -> dict[str, Array]:
    """One unbiased draw: M is kept as the product of a vector over cells and one over weights, mixed by random signs.

    Raises UnsupportedError where influence reaches other cells within a step, or later than in the next one.
    """
    weights, recurrence = Weights(trial, trained), Recurrence(trial)
    check_next_step(trial.network, trial.output)
    _check_signals(recurrence)
    cells = trial.cells
    a = _nothing(recurrence, 1)
    along = np.zeros((next(iter(cells.values())).batch, weights.size))
    total = np.zeros(weights.size)
    for k in range(next(iter(cells.values())).steps):
        slopes = {p: cells[p].at(k) for p in recurrence.populations}
        _step(recurrence, None, slopes, a, a, k, {}, {})
        signs = _signs(a.states, a.spikes, random)
        new = _immediate(trial, weights, slopes, signs, k)
        size = [np.sqrt(_squares(v)) for v in (_flat(a.states, a.spikes), along)]
        mixed = [np.sqrt(_squares(v)) for v in (_flat(*signs), new)]
        rho = [np.sqrt((y + 1e-12) / (x + 1e-12)) for x, y in ((size[0], size[1]), (mixed[0], mixed[1]))]
        along = along / rho[0][:, None] + new / rho[1][:, None]
        weigh = [r[:, None, None] for r in rho]
        a.states = {p: {n: weigh[0] * v + weigh[1] * signs[0][p][n] for n, v in s.items()} for p, s in a.states.items()}
        a.spikes = {p: weigh[0] * v + weigh[1] * signs[1][p] for p, v in a.spikes.items()}
        total += np.einsum("b,bp->p", _credit(recurrence, a, k)[:, 0], along)
    return weights.split(total)


def check_next_step(network: Network, output: str) -> None:
    """Raises UnsupportedError naming a connection between cells that is felt within the step, or later than in the next."""
    found = fed_inputs(network, "uoro")
    among = {s.population for s in found.values()} - ({output} if not sends(found, output) else set())
    for name, summed in found.items():
        if summed.synapses.pre in among and summed.population in among:
            cells = lower(network).population(summed.synapses.pre)
            graded_at_once = summed.pre is not None and any(symbol(n) in summed.pre.free_symbols for n in cells.inputs)
            if graded_at_once or (summed.pre is None and summed.late != 1):
                why = "what it carries must reach cells in the next step, neither within the step nor later; use rule 'rtrl'"
                raise UnsupportedError("any", f"projection '{name}' for rule 'uoro'", why)


def _check_signals(recurrence: Recurrence) -> None:
    for p in recurrence.populations:
        read = [n for n in recurrence.signals[p].direct if n in recurrence.trial.cells[p].inputs]
        if read:
            why = f"the loss depends on its input '{read[0]}', not only on states and spikes; use rule 'rtrl'"
            raise UnsupportedError("any", f"population '{p}' for rule 'uoro'", why)


def _signs(
    states: Variables, spikes: Mapping[str, Array], random: np.random.Generator
) -> tuple[Variables, dict[str, Array]]:
    """A random sign for each state and each spike of each cell."""

    def draw(like: Array) -> Array:
        return np.where(random.integers(0, 2, like.shape) > 0, 1.0, -1.0)

    return {p: {n: draw(v) for n, v in s.items()} for p, s in states.items()}, {p: draw(v) for p, v in spikes.items()}


def _immediate(
    trial: Trial, weights: Weights, slopes: Mapping[str, Slopes], signs: tuple[Variables, dict[str, Array]], k: int
) -> Array:
    """The signs' product with the immediate influence on states and spikes, [batch, weight]."""
    parts = []
    for summed in weights.summed_inputs:
        p, cells = summed.population, trial.cells[summed.population]
        nothing = {n: np.zeros((cells.batch, 1, cells.shape[1])) for n in cells.states}
        one = {summed.variable: np.ones((1, 1, 1))}
        moved = integrated(slopes[p], nothing, {} if summed.lands else one, cells.states)
        e = fired(slopes[p], moved)
        after = landed(slopes[p], moved, e, one if summed.lands else {}, nothing)
        answer = sum(v * signs[0][p][n] for n, v in after.items()) + (e * signs[1][p] if p in signs[1] else 0.0)
        pre = summed.gain * trial.activity[summed.synapses.name][:, k]
        parts.append((pre[:, :, None] * answer).reshape(cells.batch, -1))
    return np.concatenate(parts, axis=1)


def _flat(states: Variables, spikes: Mapping[str, Array]) -> Array:
    parts = [v for s in states.values() for v in s.values()] + list(spikes.values())
    return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)


def _squares(values: Array) -> Array:
    found: Array = np.einsum("bi,bi->b", values, values)
    return found
