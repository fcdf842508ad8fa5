"""A recorded trial as eligibility rules see it: hidden cells, readout, what the loss says about both.

The readout is the task's output population; all others with synapses onto them are hidden. The learning signal of a hidden
cell is the loss's derivative by its spikes, and by its states and inputs where it sends graded values, directly and through
the readout alone: nothing goes back through the recurrent connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neuro.compiler.evaluation import chain_product, evaluate
from neuro.compiler.lowering import lower
from neuro.compiler.margin_scales import margin_scales
from neuro.compiler.resolve import resolve
from neuro.language.symbolic import derivative, symbol
from neuro.learning.common.regularisation import rate_penalty
from neuro.learning.common.summed_inputs import NoSummedInput, SummedInput, refuse_state, silent, summed_input_of
from neuro.learning.traces.jacobians import Cells, Slope
from neuro.model import Network
from neuro.protocols import Batch, Parameters, Recording, UnsupportedError

Array = npt.NDArray[np.float64]
GAMMA = 0.3


def triangle_slope(network: Network) -> Slope:
    """e-prop's surrogate derivative, for programs that have none: gamma/s max(0, 1 - |margin|/s), s from rest to threshold."""
    scales = margin_scales(lower(network), resolve(network).network)

    def slope(population: str, margin: Array) -> Array:
        s = scales[population]
        return GAMMA / s * np.maximum(0.0, 1 - np.abs(margin) / s)

    return slope


@dataclass
class Signal:
    """What a loss says about a population. spikes: dloss/dspike [batch, time, neuron], None where it has no threshold.

    direct: state after each step, or input in it -> dloss/d(variable), [batch, time, neuron].
    """

    spikes: Array | None
    direct: dict[str, Array] = field(default_factory=dict)

    def copy(self) -> Signal:
        return Signal(
            None if self.spikes is None else self.spikes.copy(), {n: a.copy() for n, a in self.direct.items()}
        )

    def add(self, variable: str, slopes: Array) -> None:
        self.direct[variable] = self.direct[variable] + slopes if variable in self.direct else slopes


@dataclass
class Trial:
    """One run of a program on a batch, with everything that its derivatives need.

    own: population -> what the loss itself says. signals: the same, with what it says through the readout. outputs: variable
    of the readout that synapses reach -> dloss/d(what they bring). slopes: graded projection -> see SummedInput.slopes.
    """

    network: Network
    parameters: Parameters
    recording: Recording
    output: str
    loss: float
    cells: dict[str, Cells]
    activity: dict[str, Array]
    slopes: dict[str, dict[str, Any]]
    summed_inputs: dict[str, SummedInput]
    own: dict[str, Signal] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Populations other than the readout that synapses reach."""
        return tuple(n for n in self.cells if n != self.output)

    @property
    def closed(self) -> bool:
        """True where the readout sends something: then it is part of the recurrence."""
        return sends(self.summed_inputs, self.output)

    def into(self, population: str) -> list[SummedInput]:
        return [s for s in self.summed_inputs.values() if s.population == population]


def fed_inputs(network: Network, rule: str) -> dict[str, SummedInput]:
    """Projection -> its summed input, of all that reach cells. Raises UnsupportedError naming the projection that has none."""
    found = {}
    for population in network.populations:
        if population.neuron.events:
            what = f"population '{population.name}' for rule '{rule}'"
            raise UnsupportedError("any", what, "its cells have events of their own; use rule 'bptt'")
    for synapses in lower(network).synapses:
        try:
            found[synapses.name] = summed_input_of(network, synapses.name)
        except NoSummedInput as error:
            what = f"projection '{synapses.name}' for rule '{rule}'"
            raise UnsupportedError("any", what, f"{error}; use rule 'bptt'") from None
    return found


def sends(found: Mapping[str, SummedInput], population: str) -> bool:
    """True where a projection leaves the population."""
    return any(s.synapses.pre == population for s in found.values())


def check_inputs(network: Network, batch: Batch, rule: str) -> None:
    """Raises UnsupportedError naming an input whose spikes a rule can't see, because the run would draw them itself."""
    for item in network.inputs:
        if item.sends and item.name not in batch.inputs:
            why = f"the batch must bring its spikes: Batch({{'{item.name}': spikes [batch, time, {item.size}], ...}}, targets)"
            raise UnsupportedError("any", f"input '{item.name}' for rule '{rule}'", why)


def check_trial(network: Network, output: str, trained: Sequence[str], rule: str) -> None:
    """Raises UnsupportedError naming what keeps eligibility rules from a network. trained: parameters."""
    found = fed_inputs(network, rule)
    for name in trained:
        if name.removesuffix(".w") not in found:
            raise UnsupportedError("any", f"'{name}' for rule '{rule}'", "it trains weights only; use rule 'bptt'")
    if all(s.population != output for s in found.values()):
        raise UnsupportedError("any", f"output '{output}' for rule '{rule}'", "no projection reaches it")


def run_trial(
    program: Any, parameters: Parameters, batch: Batch, task: Any, feedback: Mapping[str, Array], *,
    target_rate: float = 0.0, rate_strength: float = 0.0, detach_reset: bool | None = None, trial: int = 0,
) -> Trial:  # fmt: skip
    """Run, differentiate the loss by what was recorded, and bring it back through the readout.

    feedback: projection into the readout -> weights [pre, post] that carry signals back; its own weights where left out.
    detach_reset: None for what the program does. Raises UnsupportedError, before the run, naming what doesn't fit.
    """
    network, step = program.network, lower(program.network)
    refuse_state(batch, "eprop")
    found = fed_inputs(network, "eprop")
    inputs = silent(network, batch.inputs)
    fed = [c.name for c in step.cells if any(s.population == c.name for s in found.values())]
    names = [f"{p}.{v}" for p in fed for v in (*step.population(p).states, *step.population(p).inputs)]
    names += [t for s in found.values() for t in s.traces(network)]
    recording = program.run(parameters, inputs, tuple(dict.fromkeys([*task.record(), *names])), trial=trial)
    loss, spikes, traces = _loss(task, batch, recording, network, target_rate, rate_strength)
    activity = {n: s.activity(network, parameters, inputs, recording) for n, s in found.items()}
    slope = getattr(program, "slope", None) or triangle_slope(network)
    detach = program.semantics.detach_reset is not False if detach_reset is None else detach_reset
    cells = {
        p: Cells(network, p, parameters, recording, slope if step.population(p).spikes else None, detach_reset=detach,
                 trial=trial, landed=_landed(found, p, activity, parameters))
        for p in fed
    }  # fmt: skip
    slopes = {n: s.slopes(network, parameters, recording) for n, s in found.items() if s.pre is not None}
    made = Trial(network, parameters, recording, task.output, loss, cells, activity, slopes, found)
    for name in fed:
        zeros = np.zeros((cells[name].batch, cells[name].steps, cells[name].shape[1]))
        made.own[name] = Signal(None if cells[name].spikes is None else zeros + spikes.get(name, 0.0))
        made.own[name].direct = _direct(made, traces, name)
    made.outputs = adjoint(cells[task.output], made.own[task.output])
    made.signals = _through_the_readout(made, feedback)
    return made


def _landed(
    found: Mapping[str, SummedInput], population: str, activity: Mapping[str, Array], parameters: Parameters
) -> dict[str, Array]:
    """State -> sum of the events that reach it directly, [batch, time, neuron]."""
    total: dict[str, Any] = {}
    for name, summed in found.items():
        if summed.population == population and summed.lands:
            sums = summed.change(activity[name], parameters[summed.name])
            total[summed.variable] = total.get(summed.variable, 0.0) + sums
    return total


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


def _direct(trial: Trial, traces: Mapping[str, Array], population: str) -> dict[str, Array]:
    """dloss/d(states and inputs) of a population from dloss/d(its traces): subexpressions put in."""
    cells = trial.cells[population]
    found = Signal(None)
    for name, direct in traces.items():
        owner, _, variable = name.partition(".")
        if owner != population or not np.any(direct):
            continue
        expr = cells.cells.inlined.get(variable, symbol(variable))
        for s in (*cells.states, *cells.inputs):
            slope = derivative(expr, symbol(s))
            if slope != 0:
                found.add(s, chain_product(evaluate(slope, cells.after), direct))
    return found.direct


def adjoint(cells: Cells, signal: Signal) -> dict[str, Array]:
    """dloss/dinput, and by events that land on states, [batch, time, neuron], of one population by itself, backwards."""
    shape = (cells.batch, cells.steps, cells.shape[1])
    found = {n: np.zeros(shape) for n in (*cells.states, *cells.inputs)}
    later: dict[str, Any] = dict.fromkeys(cells.states, 0.0)
    for k in reversed(range(cells.steps)):
        slopes = cells.at(k)
        direct = {n: a[:, k] for n, a in signal.direct.items()}
        after = {n: later[n] + direct.get(n, 0.0) for n in cells.states}
        fired = sum((chain_product(j, after[n]) for n, j in slopes.jump.items()), start=0.0)
        fired = fired + (signal.spikes[:, k] if signal.spikes is not None else 0.0)
        landed = {n: _sum(slopes.after, after, n) for n in (*cells.states, *cells.inputs)}
        before = {n: landed[n] + chain_product(slopes.fire.get(n, 0.0), fired) for n in (*cells.states, *cells.inputs)}
        moved = {n: before[n] for n in cells.states}
        for n in cells.states:
            found[n][:, k] = slopes.open.get(n, 1.0) * landed[n]
        for i in cells.inputs:
            found[i][:, k] = direct.get(i, 0.0) + before[i] + _sum(slopes.state, moved, i)
        later = {n: _sum(slopes.state, moved, n) for n in cells.states}
    return found


def _sum(slopes: Mapping[tuple[str, str], Any], values: Mapping[str, Any], by: str) -> Any:
    return sum((chain_product(s, values[n]) for (n, seed), s in slopes.items() if seed == by), start=0.0)


def _through_the_readout(trial: Trial, feedback: Mapping[str, Array]) -> dict[str, Signal]:
    """What the loss says about each population, through the readout as well."""
    found = {n: s.copy() for n, s in trial.own.items()}
    for summed in trial.into(trial.output):
        source = summed.synapses.pre
        if source not in trial.hidden:
            continue
        weights = feedback.get(summed.synapses.name, trial.parameters[summed.name])
        back = summed.gain * trial.outputs[summed.variable] @ summed.dense(weights).T
        signal, steps = found[source], back.shape[1]
        if summed.pre is None and signal.spikes is not None:
            signal.spikes[:, : max(steps - summed.late, 0)] += back[:, summed.late :]
            continue
        for name, slope in trial.slopes[summed.synapses.name].items():
            by, cells = chain_product(slope, back), trial.cells[source]
            signal.add(name, _earlier(by) if name in cells.states else by)
    return found


def _earlier(values: Array) -> Array:
    """[batch, time, n] one step earlier: what acts on a step is the state after the one before."""
    return np.concatenate([values[:, 1:], np.zeros_like(values[:, :1])], axis=1)
