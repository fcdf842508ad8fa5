"""Eligibility recursions for any model, from the symbolic derivatives of its step.

M = dS/dw is carried forward: M' = (dS'/dS) M + (dS'/dI) pre, e = surrogate * (dmargin/dS') M', M'' = (dS''/dS') M' + jump e;
dloss/dw = sum over steps of signal * e. Scope says which part of the recurrent Jacobian M sees: "none" (e-prop, RFLO),
"diagonal" (SnAp-1), a number of hops, or "full" (RTRL).

Source: Bellec et al. (2020), Nat Commun 11:3625; Murray (2019), eLife 8:e43299; Menick et al. (2021), ICLR; Williams & Zipser
(1989), Neural Comput 1:270; Liu et al. (2021), PNAS 118:e2111821118 (hops).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.jacobians import Cells, Slopes
from neuro.learning.sites import Site
from neuro.learning.trial import Trial, adjoint

Array = npt.NDArray[np.float64]
Scope = str | int  # "none", "diagonal", "full", or a number of hops


def by_adjoint(trial: Trial, trained: Sequence[str]) -> dict[str, Array]:
    """Scope "none", backwards: the adjoint of the graph without recurrent connections. trained: projections."""
    found: dict[str, Array] = {}
    for population in {trial.sites[n].population for n in trained}:
        slopes = _input_slopes(trial, population)
        for site in trial.into(population):
            name = site.synapses.name
            if name in trained:
                found[f"{name}.w"] = _masked(site, site.credit(trial.activity[name], slopes[site.variable]))
    return found


def _input_slopes(trial: Trial, population: str) -> Mapping[str, Array]:
    if population == trial.output:
        return trial.outputs
    return adjoint(trial.cells[population], trial.signals.get(population), _direct(trial, population))


def _direct(trial: Trial, population: str) -> dict[str, Array]:
    """dloss/dstate of cells that send graded values."""
    found: dict[str, Array] = {}
    if population in trial.graded:
        site = next(s for s in trial.into(trial.output) if s.synapses.pre == population)
        cells, signal = trial.cells[population], trial.graded[population]
        for k in range(cells.steps):
            for name, slope in trial.sent(site, k).items():
                found.setdefault(name, np.zeros_like(signal))[:, k] = signal[:, k] * slope
    return found


def _masked(site: Site, gradient: Array) -> Array:
    return gradient if site.synapses.mask is None else gradient * site.synapses.mask


# -- one trace a synapse -----------------------------------------------------------------------------------


def by_traces(trial: Trial, trained: Sequence[str]) -> dict[str, Array]:
    """Scope "none", forwards: one trace a synapse and state, or one a presynaptic cell where `collapses`."""
    found = {}
    for name in trained:
        site = trial.sites[name]
        if site.population == trial.output:
            found[f"{name}.w"] = _masked(site, site.credit(trial.activity[name], trial.outputs[site.variable]))
        else:
            found[f"{name}.w"] = _of_traces(trial, site)
    return found


def _of_traces(trial: Trial, site: Site) -> Array:
    cells = trial.cells[site.population]
    direct, signal = _direct(trial, site.population), trial.signals.get(site.population)
    total = np.zeros(site.synapses.ends)
    for k, e, traces in eligibility(cells, site, trial.activity[site.synapses.name]):
        if signal is not None:
            total += np.einsum("bj,bij->ij", signal[:, k], np.broadcast_to(e, (*e.shape[:2], total.shape[1])))
        for name, slope in direct.items():
            total += np.einsum(
                "bj,bij->ij", slope[:, k], np.broadcast_to(traces[name], (*traces[name].shape[:2], total.shape[1]))
            )
    return site.layout(total)


def eligibility(cells: Cells, site: Site, activity: Array) -> Iterator[tuple[int, Array, dict[str, Array]]]:
    """Step, e [batch, pre, post], and the traces after the step, one step after another.

    Memory: one array [batch, pre, post] a state, or [batch, pre, 1] where `collapses`, whatever the number of steps.
    """
    width = 1 if collapses(cells) else cells.shape[1]
    traces = {n: np.zeros((cells.batch, activity.shape[2], width)) for n in cells.states}
    for k in range(cells.steps):
        slopes = cells.at(k)
        pre = site.gain * activity[:, k, :, None]
        e, traces = advance(slopes, traces, {site.variable: pre}, cells.states)
        yield k, e, traces


def advance(
    slopes: Slopes, traces: Mapping[str, Array], driven: Mapping[str, Array], states: Sequence[str]
) -> tuple[Array, dict[str, Array]]:
    """One step of the recursion for arrays [batch, any, post]: e, and the new traces. driven: input -> dI/dw."""
    moved: dict[str, Any] = dict.fromkeys(states, 0.0)
    for (new, old), slope in slopes.state.items():
        source = traces[old] if old in traces else driven.get(old)
        if source is not None:
            moved[new] = moved[new] + wide(slope) * source
    e: Any = sum((wide(f) * moved[n] for n, f in slopes.fire.items()), start=0.0)
    found: dict[str, Any] = dict.fromkeys(states, 0.0)
    for (new, old), slope in slopes.after.items():
        found[new] = found[new] + wide(slope) * moved[old]
    for name, jump in slopes.jump.items():
        found[name] = found[name] + wide(jump) * e
    some = next(iter(traces.values()))
    return np.asarray(e), {
        n: np.broadcast_to(v, np.broadcast_shapes(np.shape(v), some.shape)) for n, v in found.items()
    }


def wide(slope: Any) -> Any:
    """[batch, post] -> [batch, 1, post]."""
    return np.asarray(slope)[:, None] if np.ndim(slope) == 2 else slope


def collapses(cells: Cells) -> bool:
    """True where traces don't depend on the postsynaptic cell: then one a presynaptic cell does for all of its synapses."""
    shared = {n for n, v in cells.parameters.items() if not np.ndim(v)} | {"dt"}
    if cells.cells.refractory and cells.cells.frozen:
        return False
    for phase in ("integrate", "every_step"):
        chain = cells.chains[phase]
        if chain is not None:
            states = set(cells.states)
            depends = {k: v for k, v in chain.depends().items() if k[0] in states}
            if any(not names <= shared for names in depends.values()):
                return False
    chain = cells.chains["reset"]
    return chain is None or all(
        slopes == {target: 1} and cells.detach_reset and target in cells.cells.membranes
        for target, _, slopes in chain.steps
    )
