"""Eligibility recursions for any model, from the symbolic derivatives of its step.

M = dS/dw is carried forward: M' = (dS'/dS) M + (dS'/dI) pre, e = surrogate * (dmargin/dS') M', then events that land on states
add theirs, and M'' = (dS''/dS') M' + jump e; dloss/dw = sum over steps of signal * e, and of direct * M''. Scope says which part
of the recurrent Jacobian M sees: "none" (e-prop, RFLO), "diagonal" (SnAp-1), a number of hops, or "full" (RTRL).

Source: Bellec et al. (2020), Nat Commun 11:3625; Murray (2019), eLife 8:e43299; Menick et al. (2021), ICLR; Williams & Zipser
(1989), Neural Comput 1:270; Liu et al. (2021), PNAS 118:e2111821118 (hops).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.evaluation import chain_product
from neuro.learning.common.summed_inputs import SummedInput
from neuro.learning.traces.jacobians import Cells, Slopes
from neuro.learning.traces.trial import Trial, adjoint

Array = npt.NDArray[np.float64]
Scope = str | int  # "none", "diagonal", "full", or a number of hops


def by_adjoint(trial: Trial, trained: Sequence[str]) -> dict[str, Array]:
    """Scope "none", backwards: the adjoint of the graph without recurrent connections. trained: projections."""
    found: dict[str, Array] = {}
    for population in {trial.summed_inputs[n].population for n in trained}:
        slopes = _input_slopes(trial, population)
        for summed in trial.into(population):
            name = summed.synapses.name
            if name in trained:
                found[f"{name}.w"] = _masked(summed, summed.credit(trial.activity[name], slopes[summed.variable]))
    return found


def _input_slopes(trial: Trial, population: str) -> Mapping[str, Array]:
    if population == trial.output:
        return trial.outputs
    return adjoint(trial.cells[population], trial.signals[population])


def _masked(summed: SummedInput, gradient: Array) -> Array:
    return gradient if summed.synapses.mask is None else gradient * summed.synapses.mask


# -- one trace a synapse -----------------------------------------------------------------------------------


def by_traces(trial: Trial, trained: Sequence[str]) -> dict[str, Array]:
    """Scope "none", forwards: one trace a synapse and state, or one a presynaptic cell where they are equal."""
    found = {}
    for name in trained:
        summed = trial.summed_inputs[name]
        if summed.population == trial.output:
            found[f"{name}.w"] = _masked(summed, summed.credit(trial.activity[name], trial.outputs[summed.variable]))
        else:
            found[f"{name}.w"] = _of_traces(trial, summed)
    return found


def _of_traces(trial: Trial, summed: SummedInput) -> Array:
    cells, signal = trial.cells[summed.population], trial.signals[summed.population]
    total = np.zeros(summed.synapses.ends)
    for k, e, traces in eligibility(cells, summed, trial.activity[summed.synapses.name]):
        parts = [(signal.spikes, e)] if signal.spikes is not None else []
        parts += [(slope, traces[n]) for n, slope in signal.direct.items() if n in traces]
        for slope, trace in parts:
            total += np.einsum("bj,bij->ij", slope[:, k], np.broadcast_to(trace, (cells.batch, *total.shape)))
    return summed.layout(total)


def eligibility(cells: Cells, summed: SummedInput, activity: Array) -> Iterator[tuple[int, Array, dict[str, Array]]]:
    """Step, e [batch, pre, post], and the traces of states after the step and of the input, one step after another.

    Memory: one array [batch, pre, post] a state, or [batch, pre, 1] where no slope differs between the postsynaptic cells,
    whatever the number of steps.
    """
    traces = {n: np.zeros((cells.batch, activity.shape[2], 1)) for n in cells.states}
    for k in range(cells.steps):
        slopes = cells.at(k)
        pre = {summed.variable: summed.gain * activity[:, k, :, None]}
        moved = integrated(slopes, traces, {} if summed.lands else pre, cells.states)
        e = fired(slopes, moved)
        traces = landed(slopes, moved, e, pre if summed.lands else {}, traces)
        yield k, e, traces if summed.lands else {**pre, **traces}


def integrated(
    slopes: Slopes, traces: Mapping[str, Array], driven: Mapping[str, Array], states: Sequence[str]
) -> dict[str, Any]:
    """Traces of new states, and of the inputs that are driven: input -> dI/dw. Arrays [batch, any, post]."""
    moved: dict[str, Any] = dict.fromkeys(states, 0.0)
    for (new, old), slope in slopes.state.items():
        source = traces[old] if old in traces else driven.get(old)
        if source is not None:
            moved[new] = moved[new] + chain_product(wide(slope), source)
    return {**moved, **driven}


def fired(slopes: Slopes, moved: Mapping[str, Any]) -> Any:
    """e: the spikes' derivative, 0.0 where nothing moves the margin."""
    return np.asarray(sum((chain_product(wide(f), moved[n]) for n, f in slopes.fire.items() if n in moved), start=0.0))


def landed(
    slopes: Slopes, moved: Mapping[str, Any], e: Any, brought: Mapping[str, Array], traces: Mapping[str, Array]
) -> dict[str, Array]:
    """Traces after events and resets, at least as wide as `traces`. brought: state -> derivative of the events onto it."""
    moved = {**moved, **{n: moved[n] + wide(slopes.open.get(n, 1.0)) * v for n, v in brought.items()}}
    found: dict[str, Any] = dict.fromkeys(traces, 0.0)
    for (new, old), slope in slopes.after.items():
        found[new] = found[new] + chain_product(wide(slope), moved.get(old, 0.0))
    for name, jump in slopes.jump.items():
        found[name] = found[name] + chain_product(wide(jump), e)
    return {n: np.broadcast_to(v, np.broadcast_shapes(np.shape(v), traces[n].shape)) for n, v in found.items()}


def wide(slope: Any) -> Any:
    """[batch, post] -> [batch, 1, post]."""
    return np.asarray(slope)[:, None] if np.ndim(slope) == 2 else slope
