"""What a recorded run would cost: synaptic operations, activity, memory, and energy at stated costs an operation.

An operation is effective where a weight that isn't 0 meets an activation that isn't 0: an accumulate (AC) for spikes and
other activations of 0 and 1, a multiply-accumulate (MAC) for graded ones. A graded value that is no product of activation and weight, such as a gap
junction's, is one MAC a synapse and step. What a Poisson drive adds to cells comes from no synapse of the network and is not counted. The counts already hold the rates; nothing
multiplies by them again. Sources: definitions of NeuroBench, Yik et al. (2025), Nat Commun 16:1545; active neurons an
instant: Šíma (2014), Neural Comput 26:953.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro.compiler.evaluation import evaluate
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import initial_state, values
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.compiler.step import Cells, Couple, Gather, Operation, Step, Synapses
from neuro.language.elementary import values_alone
from neuro.language.symbolic import symbol, within_functions
from neuro.model import Network
from neuro.protocols import Inputs, Parameters, Recording

Array = npt.NDArray[Any]
CAVEAT = (
    "operations only: moving weights and states costs more than arithmetic, so this flatters sparse events; against a"
    " quantised network of the same size, spikes win below about 6 % activity (arXiv 2409.08290)"
)


class EnergyError(Exception):
    """A run that doesn't hold what is counted; the message says what to record or give."""


@dataclass(frozen=True)
class Costs:
    """Joules of a 32-bit multiply-accumulate and of an accumulate: 45 nm, as tables of spiking networks use them."""

    mac: float = 4.6e-12
    ac: float = 0.9e-12


@dataclass(frozen=True)
class Widths:
    """Bits of a weight, a state and another parameter."""

    weight: int = 32
    state: int = 32
    parameter: int = 32


@dataclass(frozen=True)
class Operations:
    """Of one projection, all trials and steps. dense: every pair [pre, post] in every step. synapses: weights not 0."""

    dense: int
    macs: int
    acs: int
    pairs: int
    synapses: int


@dataclass(frozen=True)
class Activity:
    """Of one population, all trials and steps; active: its neurons that spike in one step. zeros: activations that are 0.

    spikes: None where it sends graded values.
    """

    size: int
    spikes: int | None
    max_active: int
    mean_active: float
    activations: int
    zeros: int


@dataclass(frozen=True)
class Energy:
    """What `measure` found. samples: trials. dt: seconds. footprint: bytes. updates: of cells; neuron_operations: their arithmetic. parameters: numbers, those that are shared once."""

    samples: int
    steps: int
    dt: float
    projections: Mapping[str, Operations]
    populations: Mapping[str, Activity]
    max_active: int
    mean_active: float
    updates: int
    neuron_operations: int
    parameters: int
    footprint: Mapping[str, float]
    costs: Costs = field(default_factory=Costs)

    def total(self, name: str) -> int:
        """Sum of an `Operations` field over projections."""
        return sum(int(getattr(o, name)) for o in self.projections.values())

    @property
    def joules(self) -> float:
        """Of all effective synaptic operations; updates of cells are not in it."""
        return self.total("macs") * self.costs.mac + self.total("acs") * self.costs.ac

    @property
    def dense_joules(self) -> float:
        """Of the same network with graded activations: every pair, every step, a MAC."""
        return self.total("dense") * self.costs.mac

    def summary(self) -> dict[str, float]:
        """Figures by name; "a sample" is one trial, which is one inference."""
        spiking = [(a.spikes, a.size) for a in self.populations.values() if a.spikes is not None]
        spikes, cells = sum(s for s, _ in spiking), sum(n for _, n in spiking)
        seconds = self.samples * self.steps * self.dt
        activations = sum(a.activations for a in self.populations.values())
        zeros = sum(a.zeros for a in self.populations.values())
        return {
            "synaptic operations a sample, dense": self.total("dense") / self.samples,
            "effective MACs a sample": self.total("macs") / self.samples,
            "effective ACs a sample": self.total("acs") / self.samples,
            "spikes a sample": spikes / self.samples,
            "spikes a second": spikes / seconds,
            "mean rate (Hz)": spikes / cells / seconds if cells else 0.0,
            "max active neurons": self.max_active,
            "mean active neurons": self.mean_active,
            "activation sparsity": zeros / activations if activations else 0.0,
            "connection sparsity": 1 - self.total("synapses") / self.total("pairs") if self.projections else 0.0,
            "membrane updates a sample": self.updates / self.samples,
            "neuron operations a sample": self.neuron_operations / self.samples,
            "parameters": self.parameters,
            "footprint (bytes)": sum(self.footprint.values()),
            "energy a sample (J)": self.joules / self.samples,
            "dense MACs over it": self.dense_joules / self.joules if self.joules else float("inf"),
        }

    def to_data(self) -> dict[str, Any]:
        """Nested mapping for the store."""
        parts = {
            n: {k: {f: x for f, x in asdict(v).items() if x is not None} for k, v in getattr(self, n).items()}
            for n in ("projections", "populations")
        }
        costs = {f"{n} (J)": c for n, c in asdict(self.costs).items()}
        return {"summary": self.summary(), **parts, "footprint": dict(self.footprint), "costs": costs, "caveat": CAVEAT}


def needed(network: Network) -> tuple[str, ...]:
    """Traces that `measure` reads besides spikes: what graded projections send."""
    step, found = _counted(network), []
    for couple in _couplings(step):
        if couple.when == "always":
            pre = step.projection(couple.projection).pre
            found += [f"{pre}.{n}" for n in _variables(couple, _sender(step, couple.projection))]
    return tuple(dict.fromkeys(found))


def _counted(network: Network) -> Step:
    """The step whose operations are counted. Raises EnergyError."""
    step = lower(network)
    struck = {c.name for c in step.cells if c.spikes} | {c.population for c in _couplings(step) if c.when == "pre"}
    for projection in network.projections:
        if projection.summed == "turn":
            why = "it sends what its sources are when the target is integrated, which no recording holds; use summed='start'"
            raise EnergyError(f"projection '{projection.name}': {why}")
        if projection.summed == "end" and projection.pre in struck:
            why = f"it sends what '{projection.pre}' is before spikes act on it, which no recording holds; use summed='start'"
            raise EnergyError(f"projection '{projection.name}': {why}")
    if step.staged:
        raise EnergyError(f"population '{step.staged[0]}': sums at every stage aren't counted; use couplings='step'")
    return step


def measure(
    network: Network, recording: Recording, inputs: Inputs, parameters: Parameters | None = None, *,
    costs: Costs | None = None, widths: Widths | None = None,
) -> Energy:  # fmt: skip
    """Count a recorded run of any backend. Operations are counted in the step in which a spike arrives, while the run lasts.

    inputs: the arrays that the run got, Poisson inputs too. parameters: those it ran with (default: the network's). Plastic
    weights count as they were given. Raises EnergyError naming the input or trace that is missing.
    """
    run = _Run(
        _counted(network),
        network,
        recording,
        inputs,
        values(network, parameters),
        _extent(recording, inputs),
    )
    samples, steps = run.extent
    active = sum((r.sum(axis=2) for r in recording.spikes.values()), start=np.zeros(run.extent, np.int64))
    updates = {c.name: samples * steps * c.size for c in run.step.cells if c.states}
    arithmetic = sum(n * operations_an_update(run.step, run.step.population(name)) for name, n in updates.items())
    return Energy(
        samples, steps, recording.dt,
        projections={s.name: _operations(run, s) for s in run.step.synapses},
        populations=_populations(run),
        max_active=int(active.max(initial=0)),
        mean_active=float(active.mean()) if active.size else 0.0,
        updates=sum(updates.values()),
        neuron_operations=arithmetic,
        parameters=sum(math.prod(p.shape) for p in declared_parameters(network).values() if not p.shares),
        footprint=_footprint(run.step, network, widths or Widths()),
        costs=costs or Costs(),
    )  # fmt: skip


@dataclass(frozen=True)
class _Run:
    """What is counted. extent: trials and steps."""

    step: Step
    network: Network
    recording: Recording
    inputs: Inputs
    numbers: Parameters
    extent: tuple[int, int]


def _extent(recording: Recording, inputs: Inputs) -> tuple[int, int]:
    if recording.every != 1 and recording.traces:
        raise EnergyError(f"traces of every {recording.every} steps; record every step (every=1)")
    for name in recording.chosen:
        raise EnergyError(f"only some of '{name}' were recorded; record all: record=['population.variable']")
    for found in (*recording.spikes.values(), *inputs.values(), *recording.traces.values()):
        return int(found.shape[0]), int(found.shape[1])
    raise EnergyError("the run holds neither spikes nor inputs nor traces; record something")


# -- synapses -----------------------------------------------------------------------------------------------------


def _couplings(step: Step) -> list[Couple]:
    def inside(operation: Operation) -> tuple[Couple, ...]:
        match operation:
            case Gather():
                return operation.couplings
            case Couple():
                return (operation,)
            case _:
                return ()

    return [c for o in step.operations for c in inside(o) if c.when != "post"]


def _operations(run: _Run, synapses: Synapses) -> Operations:
    weights = np.asarray(run.numbers[f"{synapses.name}.w"]) if synapses.weight else np.ones(synapses.shape)
    exists = np.broadcast_to(weights != 0, synapses.shape)
    if synapses.mask is not None:
        exists = exists & synapses.mask
    pairs = synapses.ends[0] * synapses.ends[1]
    macs = acs = dense = 0
    for couple in (c for c in _couplings(run.step) if c.projection == synapses.name):
        if couple.when == "always":
            activation = _sent(run, couple)
            plain = couple.factors is not None and bool(np.isin(activation, (0, 1)).all())
        else:
            if couple.late is not None:
                raise EnergyError(
                    f"projection '{synapses.name}' has pathways with delays of their own; count a network with one"
                )
            activation = _events(run, synapses.pre)
            plain = couple.factors is not None and couple.factors.pre == 1 and couple.factors.post == 1
            plain = plain and not {symbol(n) for n in synapses.noise} & couple.value.free_symbols
        dense += activation.shape[0] * activation.shape[1] * pairs
        count = _meetings(synapses, exists, activation != 0)
        acs, macs = (acs + count, macs) if plain else (acs, macs + count)
    return Operations(dense, macs, acs, pairs, int(exists.sum()))


def _meetings(synapses: Synapses, exists: Array, active: Array) -> int:
    """How often an activation [batch, time, pre] reaches a synapse within the run."""
    steps, pre = active.shape[1], synapses.pre_index.reshape(synapses.shape)
    delay = np.broadcast_to(synapses.delay, synapses.shape)
    total = 0
    for d in np.unique(delay):
        fan_out = np.bincount(pre[exists & (delay == d)], minlength=synapses.ends[0])
        total += int(active[:, : max(0, steps - int(d))].sum(axis=(0, 1)) @ fan_out)
    return total


def _events(run: _Run, source: str) -> Array:
    if source in run.recording.spikes:
        return run.recording.spikes[source]
    if source not in run.inputs:
        raise EnergyError(f"the spikes of input '{source}' are missing; give the arrays that the run got")
    return np.asarray(run.inputs[source])


def _sender(step: Step, projection: str) -> Cells:
    return step.population(step.projection(projection).pre)


def _activation(couple: Couple) -> sp.Expr:
    """What a graded projection sends, of the sender's variables and "projection.parameter"; 1 where its value is no product."""
    if couple.factors is None:
        return sp.Integer(1)
    names = {s: s.name for s in couple.factors.pre.free_symbols}
    own = {n: n.removesuffix("_pre") if n.endswith("_pre") else f"{couple.projection}.{n}" for n in names.values()}
    return couple.factors.pre.xreplace({s: symbol(own[n]) for s, n in names.items()})


def _variables(couple: Couple, cells: Cells) -> list[str]:
    """What changes in what is sent."""
    return [n for n in (*cells.states, *cells.inputs) if symbol(n) in _activation(couple).free_symbols]


def _sent(run: _Run, couple: Couple) -> Array:
    """Graded activation [batch, time, pre] as it enters each step: of the states before it, or after it where it is summed at its end."""
    cells, late = _sender(run.step, couple.projection), run.network.projection(couple.projection).summed == "end"
    found: dict[str, Any] = {}
    for name in _variables(couple, cells):
        key = f"{cells.name}.{name}"
        if key not in run.recording.traces:
            raise EnergyError(f"trace '{key}' is missing, which '{couple.projection}' sends; record it")
        found[name] = run.recording.traces[key]
        if name in cells.states and not late:
            first = np.broadcast_to(initial_state(run.network)[key], (run.extent[0], 1, cells.size))
            found[name] = np.concatenate([first, found[name][:, :-1]], axis=1)
    expr = _activation(couple)
    for name in {s.name for s in expr.free_symbols} - set(found):
        found[name] = run.numbers[name if "." in name else f"{cells.name}.{name}"]
    return np.broadcast_to(evaluate(expr, found.__getitem__), (*run.extent, cells.size))


# -- cells --------------------------------------------------------------------------------------------------------


def _populations(run: _Run) -> dict[str, Activity]:
    """Those that send spikes or graded values."""
    graded = {_sender(run.step, c.projection).name: c for c in _couplings(run.step) if c.when == "always"}
    found = {}
    for cells in run.step.cells:
        if cells.name in run.recording.spikes:
            raster = np.asarray(run.recording.spikes[cells.name], bool)
            active, spikes = raster.sum(axis=2), int(raster.sum())
            mean = float(active.mean()) if active.size else 0.0
            found[cells.name] = Activity(
                cells.size, spikes, int(active.max(initial=0)), mean, raster.size, raster.size - spikes
            )
        elif cells.name in graded:
            sent = _sent(run, graded[cells.name])
            found[cells.name] = Activity(cells.size, None, 0, 0.0, sent.size, int((sent == 0).sum()))
    return found


def operations_an_update(step: Step, cells: Cells) -> int:
    """Arithmetic operations that move a cell's states by one step, constants computed before (a leaky integrator: 4)."""
    update, total = step.update(cells.name, "integrate"), 0
    variables = {symbol(n) for n in (*cells.states, *cells.inputs, *cells.noise, "t")}
    for assign in update.assigns if update is not None else ():
        if assign.expr.free_symbols & variables:
            total += _arithmetic(assign.expr, variables)
            variables.add(symbol(assign.target))
    return total


def _arithmetic(expr: sp.Expr, variables: set[sp.Symbol]) -> int:
    expr = values_alone(expr)
    slopes = [sp.diff(expr, x) for x in expr.free_symbols & variables]
    if within_functions(expr) & variables or any(s.free_symbols & variables for s in slopes):
        return int(sp.count_ops(_hoisted(expr, variables)))
    rest = expr.xreplace(dict.fromkeys(variables, sp.Integer(0)))
    terms = len(slopes) + int(sp.simplify(rest) != 0)
    return len([s for s in slopes if sp.simplify(s) not in (1, -1)]) + max(0, terms - 1)


def _hoisted(expr: sp.Expr, variables: set[sp.Symbol]) -> sp.Expr:
    """Constant subexpressions as symbols."""
    if not expr.free_symbols & variables:
        return expr if expr.is_number else sp.Dummy()
    if not expr.args:
        return expr
    fixed = [a for a in expr.args if not a.free_symbols & variables]
    moving = [_hoisted(a, variables) for a in expr.args if a.free_symbols & variables]
    if isinstance(expr, sp.Add | sp.Mul):
        return expr.func(*([_hoisted(expr.func(*fixed), variables)] if fixed else []), *moving)
    return expr.func(*(_hoisted(a, variables) for a in expr.args))


def _footprint(step: Step, network: Network, widths: Widths) -> dict[str, float]:
    """Bytes: weights of the synapses that exist, other parameters, states of cells and synapses."""
    weights = {
        f"{s.name}.w": int(np.prod(s.shape)) if s.mask is None else int(s.mask.sum()) for s in step.synapses if s.weight
    }
    others = sum(int(np.size(v)) for n, v in values(network).items() if n not in weights)
    states = sum(int(np.size(v)) for v in initial_state(network).values())
    bits = {
        "weights": sum(weights.values()) * widths.weight,
        "parameters": others * widths.parameter,
        "states": states * widths.state,
    }
    return {name: count / 8 for name, count in bits.items()}
