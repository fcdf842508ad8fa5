"""A recorded trial as eligibility rules see it: hidden cells, readout, what the loss says about both.

The readout is the task's output population; all others with an input are hidden. The learning signal of a hidden cell is
the loss's derivative by its spikes (or by the graded value it sends) through the readout alone: nothing goes back through
the recurrent connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp
import torch

from neuro.evaluation import evaluate, margin_scales
from neuro.jacobians import Cells, Slope
from neuro.learning.regularisation import rate_penalty
from neuro.learning.sites import Site, silent, sites
from neuro.lowering import lower
from neuro.model import Network
from neuro.protocols import Batch, Parameters, Recording
from neuro.receptors import without_receptors
from neuro.step import Assign, composed
from neuro.symbolic import symbol

Array = npt.NDArray[np.float64]
GAMMA = 0.3


def triangle_slope(network: Network) -> Slope:
    """e-prop's surrogate derivative, for programs that have none: gamma/s max(0, 1 - |margin|/s), s from rest to threshold."""
    scales = margin_scales(lower(network), without_receptors(network))

    def slope(population: str, margin: Array) -> Array:
        s = scales[population]
        return GAMMA / s * np.maximum(0.0, 1 - np.abs(margin) / s)

    return slope


@dataclass
class Trial:
    """One run of a program on a batch, with everything that its derivatives need.

    signals: hidden population -> dloss/dspike [batch, time, neuron]; graded: hidden population -> dloss/dsent value after
    each step. outputs: input of the readout -> dloss/dinput.
    """

    network: Network
    parameters: Parameters
    inputs: Mapping[str, Any]
    recording: Recording
    output: str
    loss: float
    cells: dict[str, Cells]
    activity: dict[str, Array]
    sites: dict[str, Site]
    signals: dict[str, Array] = field(default_factory=dict)
    graded: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Populations that feed the readout or each other, and are fed."""
        return tuple(n for n in self.cells if n != self.output)

    def into(self, population: str) -> list[Site]:
        return [s for s in self.sites.values() if s.population == population]

    def sent(self, site: Site, k: int) -> dict[str, Any]:
        """Slope of a graded site's value by the states of its cells after step k."""
        assert site.pre is not None
        cells = self.cells[site.synapses.pre]
        values = {n: self.recording.traces[f"{cells.name}.{n}"][:, k] for n in cells.states}
        values |= {n.partition(".")[2]: v for n, v in self.parameters.items() if n.startswith(f"{cells.name}.")}
        slopes = {n: sp.diff(site.pre, symbol(n)) for n in cells.states}
        return {n: evaluate(e, values.__getitem__) for n, e in slopes.items() if e != 0}


def run_trial(
    program: Any, parameters: Parameters, batch: Batch, task: Any, feedback: Mapping[str, Array], *,
    target_rate: float = 0.0, rate_strength: float = 0.0, detach_reset: bool | None = None, trial: int = 0,
) -> Trial:  # fmt: skip
    """Run, differentiate the loss by what was recorded, and bring it back through the readout.

    feedback: projection into the readout -> weights [pre, post] that carry signals back; its own weights where left out.
    detach_reset: None for what the program does.
    """
    network, step = program.network, lower(program.network)
    inputs = silent(network, batch.inputs)
    fed = [c.name for c in step.cells if any(s.post == c.name for s in step.synapses)]
    names = [f"{p}.{v}" for p in fed for v in (*step.population(p).states, *step.population(p).inputs)]
    found = {s.synapses.name: s for s in sites(network, [f"{s.name}.w" for s in step.synapses if s.post in fed])}
    names += [t for s in found.values() for t in s.traces(network)]
    recording = program.run(parameters, inputs, tuple(dict.fromkeys([*task.record(), *names])), trial=trial)
    loss, spikes, traces = _loss(task, batch, recording, network, target_rate, rate_strength)
    slope = getattr(program, "slope", None) or triangle_slope(network)
    detach = program.semantics.detach_reset is not False if detach_reset is None else detach_reset
    cells = {
        p: Cells(network, p, parameters, recording, slope if step.population(p).spikes else None, detach_reset=detach,
                 trial=trial)
        for p in fed
    }  # fmt: skip
    activity = {n: s.activity(network, parameters, inputs, recording) for n, s in found.items()}
    made = Trial(network, parameters, inputs, recording, task.output, loss, cells, activity, found)
    made.outputs = adjoint(cells[task.output], spikes.get(task.output), _states(made, traces, task.output))
    _signals(made, spikes, feedback)
    return made


def _loss(
    task: Any, batch: Batch, recording: Recording, network: Network, target: float, strength: float
) -> tuple[float, dict[str, Array], dict[str, Array]]:
    """Loss, and its derivatives by spikes and traces."""
    spikes = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in recording.spikes.items()}
    traces = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in recording.traces.items()}
    loss = task.loss(spikes, traces, batch)
    total = loss + strength * rate_penalty(spikes, recording.dt, target) if strength else loss
    leaves = [*spikes.values(), *traces.values()]
    slopes = torch.autograd.grad(total, leaves, allow_unused=True)
    arrays = [None if g is None else g.numpy() for g in slopes]
    by_spikes = {n: g for n, g in zip(spikes, arrays) if g is not None}
    by_traces = {n: g for n, g in zip(traces, arrays[len(spikes) :]) if g is not None}
    return float(loss.detach()), by_spikes, by_traces


def _states(trial: Trial, traces: Mapping[str, Array], population: str) -> dict[str, Array]:
    """dloss/d(states and inputs) of a population from dloss/d(its traces): subexpressions put in."""
    cells, step = trial.cells[population], lower(trial.network)
    inlined = composed(tuple(Assign(n, e) for n, e in step.population(population).subexpressions))
    found: dict[str, Array] = {}
    for name, direct in traces.items():
        owner, _, variable = name.partition(".")
        if owner != population or not np.any(direct):
            continue
        expr = inlined.get(variable, symbol(variable))
        values = {n: trial.recording.traces[f"{owner}.{n}"] for n in (*cells.states, *cells.inputs)}
        values |= {n.partition(".")[2]: v for n, v in trial.parameters.items() if n.startswith(f"{owner}.")}
        for s in (*cells.states, *cells.inputs):
            slope = sp.diff(expr, symbol(s))
            if slope != 0:
                found[s] = found.get(s, 0.0) + direct * evaluate(slope, values.__getitem__)
    return found


def adjoint(cells: Cells, spikes: Array | None, direct: Mapping[str, Array]) -> dict[str, Array]:
    """dloss/dinput [batch, time, neuron] of one population by itself, backwards in time.

    spikes: dloss/dspike. direct: dloss/d(state after a step) and dloss/dinput.
    """
    shape = (cells.batch, cells.steps, cells.shape[1])
    found = {i: np.zeros(shape) + direct.get(i, 0.0) for i in cells.inputs}
    later: dict[str, Any] = dict.fromkeys(cells.states, 0.0)
    for k in reversed(range(cells.steps)):
        slopes = cells.at(k)
        after = {n: later[n] + (direct[n][:, k] if n in direct else 0.0) for n in cells.states}
        fired = (spikes[:, k] if spikes is not None else 0.0) + sum(j * after[n] for n, j in slopes.jump.items())
        before = {n: _sum(slopes.after, after, n) + slopes.fire.get(n, 0.0) * fired for n in cells.states}
        for i in cells.inputs:
            found[i][:, k] += _sum(slopes.state, before, i)
        later = {n: _sum(slopes.state, before, n) for n in cells.states}
    return found


def _sum(slopes: Mapping[tuple[str, str], Any], values: Mapping[str, Any], by: str) -> Any:
    return sum((s * values[n] for (n, seed), s in slopes.items() if seed == by), start=0.0)


def _signals(trial: Trial, spikes: Mapping[str, Array], feedback: Mapping[str, Array]) -> None:
    """Fill in what the readout and the loss say about hidden cells."""
    for name in trial.hidden:
        shape = (trial.cells[name].batch, trial.cells[name].steps, trial.cells[name].shape[1])
        if trial.cells[name].spikes is not None:
            trial.signals[name] = np.zeros(shape) + spikes.get(name, 0.0)
        else:
            trial.graded[name] = np.zeros(shape)
    for site in trial.into(trial.output):
        source = site.synapses.pre
        if source not in trial.cells:
            continue
        weights = feedback.get(site.synapses.name, trial.parameters[f"{site.synapses.name}.w"])
        back = site.gain * trial.outputs[site.variable] @ site.dense(weights).T
        late = site.late if site.pre is None else 1
        table = trial.signals if site.pre is None else trial.graded
        table[source][:, : back.shape[1] - late] += back[:, late:]
