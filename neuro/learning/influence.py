"""Influence of every weight on every hidden cell, with the recurrent Jacobian: RTRL and what is cut out of it.

M[state] is [batch, weight, cell]: RTRL keeps all of it, SnAp-n the cells that a weight reaches within n - 1 further steps,
an S-hop rule counts hops on an axis of its own and stops at S. UORO keeps one random vector for it.

Source: Williams & Zipser (1989), Neural Comput 1:270; Menick et al. (2021), ICLR; Liu et al. (2021), PNAS 118:e2111821118;
Tallec & Ollivier (2018), ICLR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.jacobians import Slopes
from neuro.learning.eligibility import advance, wide
from neuro.learning.sites import Site
from neuro.learning.trial import Trial
from neuro.protocols import UnsupportedError

Array = npt.NDArray[np.float64]
State = dict[str, dict[str, Array]]  # population -> state -> [batch, weight, cell]


class Recurrence:
    """The hidden cells of a trial and the weights between them.

    hops: weights that carry influence from cell to cell, by projection; their own where left out.
    """

    def __init__(self, trial: Trial, hops: Mapping[str, Array] | None = None) -> None:
        self.trial, self.hidden = trial, trial.hidden
        inner = [s for s in trial.sites.values() if s.population in self.hidden and s.synapses.pre in self.hidden]
        self.links = [(s, self._weights(s, hops or {})) for s in inner]
        self.depth = max((s.late for s in inner if s.pre is None), default=1)

    def _weights(self, site: Site, hops: Mapping[str, Array]) -> Array:
        name = site.synapses.name
        return site.gain * site.dense(hops.get(name, self.trial.parameters[f"{name}.w"]))

    def driven(
        self, population: str, sent: Sequence[Mapping[str, Array]], graded: Mapping[str, Array]
    ) -> dict[str, Array]:
        """dI/dw of a population from what its neighbours sent: spikes' influence of the last steps, newest first."""
        found: dict[str, Any] = {}
        for site, weights in self.links:
            if site.population == population:
                source = site.synapses.pre
                z = (
                    graded.get(source)
                    if site.pre is not None
                    else (sent[site.late - 1].get(source) if len(sent) >= site.late else None)
                )
                if z is not None:
                    found[site.variable] = found.get(site.variable, 0.0) + z @ weights
        return found

    def sent_values(self, state: State, k: int) -> dict[str, Array]:
        """Influence on the graded values that cells send after step k."""
        found: dict[str, Any] = {}
        for name in self.hidden:
            if name in self.trial.graded:
                site = next(s for s in self.trial.sites.values() if s.synapses.pre == name)
                found[name] = sum(wide(slope) * state[name][n] for n, slope in self.trial.sent(site, k).items())
        return found


class Weights:
    """Trained weights of hidden projections as one axis: projection after projection, [pre, post] row by row."""

    def __init__(self, trial: Trial, trained: Sequence[str]) -> None:
        self.trial = trial
        self.sites = [trial.sites[n] for n in trained if trial.sites[n].population in trial.hidden]
        self.sizes = [s.synapses.ends[0] * s.synapses.ends[1] for s in self.sites]
        self.size = sum(self.sizes)

    def immediate(self, population: str, k: int) -> dict[str, Array]:
        """dI/dw in step k without any recurrence: input -> [batch, weight, cell]."""
        found: dict[str, Array] = {}
        start, cells = 0, self.trial.cells[population]
        for site, size in zip(self.sites, self.sizes, strict=True):
            if site.population == population:
                pre = site.gain * self.trial.activity[site.synapses.name][:, k]
                block = np.einsum("bi,jm->bijm", pre, np.eye(site.synapses.ends[1])).reshape(cells.batch, size, -1)
                whole = found.setdefault(site.variable, np.zeros((cells.batch, self.size, cells.shape[1])))
                whole[:, start : start + size] += block
            start += size
        return found

    def own(self, population: str) -> npt.NDArray[np.bool_]:
        """[weight, cell]: whether the weight ends on the cell."""
        parts = [
            np.tile(np.eye(s.synapses.ends[1], dtype=bool), (s.synapses.ends[0], 1))
            if s.population == population
            else np.zeros((size, self.trial.cells[population].shape[1]), bool)
            for s, size in zip(self.sites, self.sizes, strict=True)
        ]
        return np.concatenate(parts)

    def split(self, flat: Array) -> dict[str, Array]:
        """Gradients in each projection's layout."""
        found, start = {}, 0
        for site, size in zip(self.sites, self.sizes, strict=True):
            found[f"{site.synapses.name}.w"] = site.layout(flat[start : start + size].reshape(site.synapses.ends))
            start += size
        return found


def reachable(recurrence: Recurrence, weights: Weights, n: int) -> dict[str, npt.NDArray[np.bool_]]:
    """SnAp-n's mask, population -> [weight, cell]: cells that a weight reaches in at most n - 1 connections."""
    found = {p: weights.own(p) for p in recurrence.hidden}
    for _ in range(n - 1):
        new = {p: m.copy() for p, m in found.items()}
        for site, w in recurrence.links:
            new[site.population] |= (found[site.synapses.pre].astype(float) @ (w != 0)) > 0
        found = new
    return found


def by_influence(
    trial: Trial, trained: Sequence[str], *, snap: int | None = None, hops: int | None = None,
    hop_weights: Mapping[str, Array] | None = None, smooth: bool = False,
) -> dict[str, Array]:  # fmt: skip
    """Gradients of hidden weights. snap: SnAp-n. hops: at most so many. Neither: RTRL.

    hop_weights: see Recurrence. smooth: on the way from cell to cell, a cell's slope by its input is the mean over cells and
    steps (ModProp; Liu et al., 2022, NeurIPS 35); a weight's own cell keeps its exact slope.
    """
    weights, recurrence = Weights(trial, trained), Recurrence(trial, hop_weights)
    masks = None if snap is None else reachable(recurrence, weights, snap)
    layers = 1 if hops is None else hops + 1
    cells = trial.cells
    batch = next(iter(cells.values())).batch
    total = np.zeros(weights.size)
    means = {p: _mean_slopes(trial, p) for p in trial.hidden} if smooth else {}

    def empty(p: str) -> dict[str, Array]:
        return {n: np.zeros((batch, weights.size, cells[p].shape[1])) for n in cells[p].states}

    state: list[State] = [{p: empty(p) for p in trial.hidden} for _ in range(layers)]
    history: list[list[dict[str, Array]]] = [[] for _ in range(layers)]
    graded: list[dict[str, Array]] = [{} for _ in range(layers)]
    for k in range(next(iter(cells.values())).steps):
        slopes = {p: cells[p].at(k) for p in trial.hidden}
        new_state, fresh = [], []
        for layer in range(layers):
            source = layer if hops is None else layer - 1
            moved, e = _step(trial, recurrence, weights if layer == 0 else None, slopes, state[layer],
                             (history[source], graded[source]) if source >= 0 else ([], {}), k, means)  # fmt: skip
            if masks is not None:
                moved = {p: {n: v * masks[p] for n, v in s.items()} for p, s in moved.items()}
                e = {p: v * masks[p] for p, v in e.items()}
            new_state.append(moved)
            fresh.append(e)
        state = new_state
        for layer in range(layers):
            history[layer] = [fresh[layer], *history[layer][: recurrence.depth - 1]]
            graded[layer] = recurrence.sent_values(state[layer], k)
            total += _credit(trial, fresh[layer], graded[layer], k)
    return weights.split(total)


def _step(
    trial: Trial, recurrence: Recurrence, weights: Weights | None, slopes: Mapping[str, Slopes], state: State,
    sent: tuple[Sequence[Mapping[str, Array]], Mapping[str, Array]], k: int,
    means: Mapping[str, Mapping[tuple[str, str], float]],
) -> tuple[State, dict[str, Array]]:  # fmt: skip
    """One step of M for all hidden cells. weights: None where there is no immediate influence. means: see by_influence."""
    moved: State = {}
    fired: dict[str, Array] = {}
    for p in trial.hidden:
        cells, carried = trial.cells[p], recurrence.driven(p, *sent)
        driven = weights.immediate(p, k) if weights is not None else {}
        if p not in means:
            driven = {n: np.asarray(driven.get(n, 0.0) + carried.get(n, 0.0)) for n in {*driven, *carried}}
        e, moved[p] = advance(slopes[p], state[p], driven, cells.states)
        if p in means and carried:
            even = replace(slopes[p], state={**slopes[p].state, **means[p]})
            e_carried, more = advance(even, {n: np.zeros_like(v) for n, v in state[p].items()}, carried, cells.states)
            e, moved[p] = e + e_carried, {n: v + more[n] for n, v in moved[p].items()}
        if trial.cells[p].spikes is not None:
            fired[p] = e
    return moved, fired


def _mean_slopes(trial: Trial, population: str) -> dict[tuple[str, str], float]:
    """Slopes of new states by inputs, each one number: its mean over trials, cells and steps."""
    cells = trial.cells[population]
    found: dict[tuple[str, str], list[float]] = {}
    for k in range(cells.steps):
        for (new, old), slope in cells.at(k).state.items():
            if old in cells.inputs:
                found.setdefault((new, old), []).append(float(np.mean(slope)))
    return {key: float(np.mean(values)) for key, values in found.items()}


def _credit(trial: Trial, fired: Mapping[str, Array], graded: Mapping[str, Array], k: int) -> Array:
    """Signals of step k times influence, summed over batch and cells: [weight]."""
    parts = [np.einsum("bj,bpj->p", trial.signals[p][:, k], e) for p, e in fired.items()]
    parts += [np.einsum("bj,bpj->p", trial.graded[p][:, k], v) for p, v in graded.items()]
    return np.asarray(sum(parts))


def by_uoro(trial: Trial, trained: Sequence[str], random: np.random.Generator) -> dict[str, Array]:
    """One unbiased draw: M is kept as the product of a vector over cells and one over weights, mixed by random signs."""
    weights, recurrence = Weights(trial, trained), Recurrence(trial)
    if recurrence.depth > 1:
        raise UnsupportedError("any", "rule 'uoro'", "it needs recurrent connections without delay")
    cells = trial.cells
    batch = next(iter(cells.values())).batch
    a: State = {p: {n: np.zeros((batch, 1, cells[p].shape[1])) for n in cells[p].states} for p in trial.hidden}
    sent: dict[str, Array] = {}
    graded: dict[str, Array] = {}
    along = np.zeros((batch, weights.size))
    total = np.zeros(weights.size)
    for k in range(next(iter(cells.values())).steps):
        slopes = {p: cells[p].at(k) for p in trial.hidden}
        carried, fired = _step(trial, recurrence, None, slopes, a, ([sent] if sent else [], graded), k, {})
        signs = _signs(carried, fired, random)
        new = _immediate(trial, weights, slopes, signs, k)
        size = [np.sqrt(_squares(v)) for v in (_flat(carried, fired), along)]
        mixed = [np.sqrt(_squares(v)) for v in (_flat(*signs), new)]
        rho = [np.sqrt((y + 1e-12) / (x + 1e-12)) for x, y in ((size[0], size[1]), (mixed[0], mixed[1]))]
        along = along / rho[0][:, None] + new / rho[1][:, None]
        weigh = [r[:, None, None] for r in rho]
        a = {p: {n: weigh[0] * v + weigh[1] * signs[0][p][n] for n, v in s.items()} for p, s in carried.items()}
        sent = {p: weigh[0] * v + weigh[1] * signs[1][p] for p, v in fired.items()}
        graded = recurrence.sent_values(a, k)
        pull = sum(np.einsum("bj,bpj->b", trial.signals[p][:, k], v) for p, v in sent.items())
        pull = pull + sum(np.einsum("bj,bpj->b", trial.graded[p][:, k], v) for p, v in graded.items())
        total += np.einsum("b,bp->p", np.asarray(pull), along)
    return weights.split(total)


def _signs(state: State, fired: Mapping[str, Array], random: np.random.Generator) -> tuple[State, dict[str, Array]]:
    """A random sign for each state and each spike of each cell."""

    def draw(like: Array) -> Array:
        return np.where(random.integers(0, 2, like.shape) > 0, 1.0, -1.0)

    return {p: {n: draw(v) for n, v in s.items()} for p, s in state.items()}, {p: draw(v) for p, v in fired.items()}


def _immediate(
    trial: Trial, weights: Weights, slopes: Mapping[str, Slopes], signs: tuple[State, dict[str, Array]], k: int
) -> Array:
    """The signs' product with the immediate influence on states and spikes, [batch, weight]."""
    parts = []
    for site in weights.sites:
        p, cells = site.population, trial.cells[site.population]
        nothing = {n: np.zeros((cells.batch, 1, cells.shape[1])) for n in cells.states}
        e, after = advance(slopes[p], nothing, {site.variable: np.ones((1, 1, 1))}, cells.states)
        answer = sum(v * signs[0][p][n] for n, v in after.items()) + (e * signs[1][p] if p in signs[1] else 0.0)
        pre = site.gain * trial.activity[site.synapses.name][:, k]
        parts.append((pre[:, :, None] * answer).reshape(cells.batch, -1))
    return np.concatenate(parts, axis=1)


def _flat(state: State, fired: Mapping[str, Array]) -> Array:
    parts = [v for s in state.values() for v in s.values()] + list(fired.values())
    return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)


def _squares(values: Array) -> Array:
    found: Array = np.einsum("bi,bi->b", values, values)
    return found
