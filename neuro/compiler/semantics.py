"""The semantics record: every convention that two simulators can silently disagree on. Stored with each file.

A backend or exporter honours each field or refuses it by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from neuro.compiler.resolve import delay_range, resolve, steps_of
from neuro.language.linear import held_within_step
from neuro.language.symbolic import comparison

if TYPE_CHECKING:
    from neuro.language.scope import NeuronScope
    from neuro.model import Network, Population

RNG = "philox4x64 keyed by sha256(seed:stream), counter (trial, block of 256 steps)"


@dataclass(frozen=True)
class CellSemantics:
    """One population. threshold: ">", ">=", "logic" (comparisons joined by and, or, not) or "" (no spikes). reset: "none", "value", "subtract" or "statements".

    refractory: steps, or the text that says how long or on which condition. frozen: variables kept while refractory. held: variables of which exponential_euler takes a part that isn't linear in
    them at its old value, as Brian2 does.
    """

    integrator: str
    threshold: str
    reset: str
    reset_text: str
    refractory: int | str = 0
    frozen: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class Semantics:
    """All conventions of one compiled network. dt: seconds. delays: projection, and "projection.pathway" of those that have
    their own -> (shortest, longest), steps."""

    dt: float
    dtype: str
    cells: Mapping[str, CellSemantics]
    delays: Mapping[str, tuple[int, int]]
    order: str = "gather, integrate, every_step, threshold, on_pre, on_post, reset, record"
    starting: str = "constant over dt: formed first in a step; regularly: at the start of steps 0, n, 2n, ..., before sums are formed; cells by period, then synapses"
    reset_timing: str = "same step, after arrivals"
    delay_convention: str = "axonal: a spike of step k arrives in step k + delay, after the thresholds of that step"
    input_convention: str = (
        "events of step k drive the integration of step k + 1; currents and graded sums of step k that of step k"
    )
    drive_convention: str = "the counts of step k act in step k, after its thresholds and before on_pre; a refractory cell doesn't take what it keeps"
    binomial: tuple[str, ...] = ()  # drives whose counts have that law; the others have Poisson's
    products: str = ""  # to which products with weights round what they multiply; "": dtype
    couplings: str = "step"  # graded sums are held for a step, or formed at every of an integrator's "stages"
    # projections whose graded sums are formed between every_step of cells and of synapses
    summed_at_end: tuple[str, ...] = ()
    summed_at_turn: tuple[str, ...] = ()  # those whose sums are formed right before the target is integrated
    integrated_at_end: tuple[str, ...] = ()  # those whose equations are integrated after every_step of cells
    surrogate: str = ""
    surrogate_scale: Mapping[str, float] = field(default_factory=dict)
    detach_reset: bool | None = (
        None  # of membranes (neuro.compiler.step.Cells); what a spike adds to other states keeps its gradient
    )
    detached: tuple[str, ...] = ()  # projections that carry no gradient back
    feedback: tuple[str, ...] = ()  # projections that carry it back through weights of their own
    rng: str = RNG
    clock: str = "t = k*dt, formed in float64, then rounded to dtype"
    kinks: str = (
        "at a tie the first argument of min and max takes the whole slope; clip(x, a, b) = min(max(x, a), b); relu(x) = max(0, x); "
        "abs has slope 0 at 0; floor, ceil, sign, int and comparisons have slope 0; x % y has slope 1 in x; x**p has slope 0 in p "
        "where x <= 0; straight_through(x, y) has the value of x and the slope of y"
    )
    words: str = (
        "a condition is 0 or 1; a // b = floor(a/b); int(x) cuts towards 0; timestep(t, dt) = int((t + 0.001*dt)/dt); ==, != and all of these "
        "have slope 0; i and j count cells from 0 on"
    )
    noise: str = "euler: additive, Euler-Maruyama; heun: read as Stratonovich's, each noise by itself"
    refractory_text: str = (
        "formed at the start of a step from the values there, inputs of the step included: a time counts whole steps since lastspike, a "
        "condition keeps a cell refractory while it holds; lastspike and not_refractory have no slope"
    )
    diagonal_noise: str = (
        "milstein: read as Stratonovich's, one noise in one equation, its factor's slope from a step of drift and noise"
    )
    random: str = "rand(): from 0 to below 1, one number for each place in the text, cell and step"
    poisson: str = (
        "poisson(x): the least count whose cumulative probability is above a uniform number; 0 where x <= 0; slope 0"
    )
    normal: str = "randn(): standard normal, from streams as rand() has them"
    synaptic: str = (
        "what a synapse draws: one number for each place in the text, synapse and step, be it used or not; counter (trial, step), the "
        "synapse's place in its layout; randn() by Box and Muller from two uniform ones"
    )
    events: str = (
        "asked after the thresholds and what spikes note, refractory or not, of the state there; their statements after all resets, events by name, "
        "refractory cells too; whether one happens has no slope"
    )
    shared: Mapping[str, str] = field(default_factory=dict)  # projection -> the one whose weights it has, and learns
    untrained: tuple[str, ...] = ()  # populations and projections that no rule trains
    # synapses whose equations are solved from event to event, exactly; their variables are those of the last event
    event_driven: tuple[str, ...] = ()
    plastic_weights: str = "within bounds and of their sign after every statement and integration step that assigns w"

    def to_data(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Semantics:
        """Inverse of to_data. Raises KeyError or TypeError on other data."""
        cells = {
            n: CellSemantics(**{**c, "frozen": tuple(c["frozen"]), "held": tuple(c.get("held", ()))})
            for n, c in data["cells"].items()
        }
        delays = {n: (int(low), int(high)) for n, (low, high) in data["delays"].items()}
        places = ("summed_at_end", "summed_at_turn", "integrated_at_end")
        listed = (*places, "detached", "feedback", "untrained", "binomial", "event_driven")
        tuples = {n: tuple(data.get(n, ())) for n in listed}
        return Semantics(**{**data, "cells": cells, "delays": delays, **tuples})

    def differences(self, other: Semantics) -> tuple[str, ...]:
        """Names of the fields that differ, "field" or "field[name]"; those of training and precision are not counted."""
        ignored = {"dtype", "products", "surrogate", "surrogate_scale", "detach_reset", "detached", "feedback"}
        ignored |= {"shared", "untrained"}
        found = []
        for name, mine in vars(self).items():
            theirs = getattr(other, name)
            if name in ignored or mine == theirs:
                continue
            if isinstance(mine, Mapping):
                keys = sorted({*mine, *theirs})
                found += [f"{name}[{k}]" for k in keys if mine.get(k) != theirs.get(k)]
            else:
                found.append(name)
        return tuple(found)

    def for_training(
        self, surrogate: str, scale: Mapping[str, float], detach_reset: bool, detached: tuple[str, ...] = (),
        feedback: tuple[str, ...] = (),
    ) -> Semantics:  # fmt: skip
        """The record with the conventions of a program that gives gradients. scale: population -> the surrogate's unit. detached, feedback: names of projections."""
        return replace(
            self, surrogate=surrogate, surrogate_scale=dict(scale), detach_reset=detach_reset, detached=detached,
            feedback=feedback,
        )  # fmt: skip


def semantics(network: Network, dtype: str = "float64") -> Semantics:
    """The record of a network as its text defines it."""
    network = resolve(network).network
    cells = {p.name: _cell(network, p) for p in network.populations}
    delays = {p.name: delay_range(network, p) for p in network.projections}
    for p in network.projections:
        for name, steps in ((n, int(steps_of(d, network.dt))) for n, d in p.delays.items()):
            delays[f"{p.name}.{name}"] = (steps, steps)
    late = tuple(p.name for p in network.projections if p.summed == "end")
    return Semantics(
        float(network.dt.value), dtype, cells, delays, couplings=network.couplings, summed_at_end=late,
        binomial=tuple(i.name for i in network.inputs if i.law == "binomial"),
        summed_at_turn=tuple(p.name for p in network.projections if p.summed == "turn"),
        integrated_at_end=tuple(p.name for p in network.projections if p.integrated == "end"),
        shared={p.name: p.shares for p in network.projections if p.shares},
        event_driven=tuple(p.name for p in network.projections if p.synapse.scope.event_driven),
        untrained=(
            *(p.name for p in network.populations if p.frozen), *(p.name for p in network.projections if p.frozen)
        ),
    )  # fmt: skip


def _cell(network: Network, population: Population) -> CellSemantics:
    neuron, scope = population.neuron, population.neuron.scope
    threshold = "" if scope.threshold is None else comparison(scope.threshold)
    given = neuron.refractory
    refractory = given if isinstance(given, str) else int(steps_of(given, network.dt))
    held = held_within_step(scope) if neuron.method == "exponential_euler" else ()
    return CellSemantics(neuron.method, threshold, reset_kind(scope), neuron.reset, refractory, neuron.frozen, held)


def reset_kind(scope: NeuronScope) -> str:
    """ "value" is `v = const`, "subtract" is `v -= const`; anything longer is "statements"."""
    if not scope.reset:
        return "none"
    if len(scope.reset) == 1:
        statement = scope.reset[0]
        if set(statement.expression.names) <= set(scope.parameters):
            return {"=": "value", "-=": "subtract"}.get(statement.op, "statements")
    return "statements"
