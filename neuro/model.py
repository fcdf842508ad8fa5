"""A model is data: neurons, synapses, populations, projections, inputs, networks. All frozen, all checked.

Every object is checked when it is made: a definition that breaks a rule raises ModelError, which lists each
problem with the user's text, a caret and the fix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from neuro import checks
from neuro.caching import per_object
from neuro.connectivity import AllToAll as AllToAll
from neuro.connectivity import Connectivity as Connectivity
from neuro.connectivity import Distance as Distance
from neuro.connectivity import FixedInDegree as FixedInDegree
from neuro.connectivity import FixedOutDegree as FixedOutDegree
from neuro.connectivity import FixedTotal as FixedTotal
from neuro.connectivity import IntArray as IntArray
from neuro.connectivity import OneToOne as OneToOne
from neuro.connectivity import Pairs as Pairs
from neuro.connectivity import Probability as Probability
from neuro.display.networks import ShownNetwork
from neuro.distributions import Drawn as Drawn
from neuro.distributions import Gamma as Gamma
from neuro.distributions import LogNormal as LogNormal
from neuro.distributions import Normal as Normal
from neuro.distributions import Uniform as Uniform
from neuro.fields import (
    as_tuple,
    convert,
    convert_given,
    convert_size,
    convert_table,
    convert_unless_text,
    converted,
    converted_bounds,
    default,
    hash_of_fields,
    later,
    put,
)
from neuro.language.equations import labelled
from neuro.language.own_events import as_items
from neuro.language.scope import SYNONYMS, NeuronScope, SynapseScope, neuron_scope, synapse_scope
from neuro.language.units import Dimension, Quantity

if TYPE_CHECKING:
    from neuro.fields import Converted

Value = Quantity | Drawn


@dataclass(frozen=True)
class Neuron:
    """A point neuron as text.

    equations: Brian2's syntax, one per line. threshold: a condition such as "v > v_th". reset, every_step:
    statements, run in order. parameters: name -> quantity. initial: state -> quantity or distribution (0 when
    left out). bounds: parameter -> (low, high), either may be None; training keeps within them. refractory: a time; or text, evaluated
    at each step from the values at its start: an expression in seconds, how long a cell stays refractory after a spike, or a condition, on which
    it does. `lastspike` and `not_refractory` may stand in every text of a neuron with a threshold.
    method: euler, exponential_euler, exact (Brian2's linear and independent too), rk2, rk4, heun and milstein (noise read as Stratonovich's) or rosenbrock (stiff equations).
    source: citation. regularly: period -> statements at the start of a step, before its sums are formed: of the first step, then once a period
    (Brian2's run_regularly); the shortest period first. events: name -> condition, asked in every step after the thresholds; its name is a condition in
    every text: whether it happened when last asked. on_event: name -> statements where it happened, after all resets, in the order of the names.
    """

    name: str
    equations: str = ""
    threshold: str = ""
    reset: str = ""
    every_step: str = ""
    parameters: Converted[Mapping[str, Quantity]] = default({})
    initial: Converted[Mapping[str, Value]] = default({})
    bounds: Converted[Mapping[str, tuple[Quantity | None, Quantity | None]]] = default({})
    refractory: Converted[Quantity | str] = default("0 ms")
    method: str = "euler"
    source: str = ""
    regularly: Mapping[str, str] = later({})
    events: Mapping[str, str] = later({})
    on_event: Mapping[str, str] = later({})

    def __post_init__(self) -> None:
        checks.types(self)
        put(self, "method", SYNONYMS.get(self.method, self.method))
        convert_table(self, "parameters", quantities_only=True)
        convert_table(self, "initial")
        convert_unless_text(self, "refractory")
        put(self, "bounds", {name: converted_bounds(pair) for name, pair in self.bounds.items()})
        checks.enforce(checks.neuron(self))

    __hash__ = hash_of_fields

    @property
    def scope(self) -> NeuronScope:
        """What the names in its text mean."""
        return _neuron_scope(self)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Variables that a refractory cell keeps; none where there is no refractory period."""
        return self.scope.frozen_when_refractory if self.scope.spike_states or self.period else ()

    @property
    def period(self) -> float:
        """Seconds for which a cell is refractory after each spike; 0 where a text says how long."""
        return 0.0 if isinstance(self.refractory, str) else float(self.refractory.value)

    def with_parameters(self, **parameters: Any) -> Neuron:
        """The same neuron with other parameter values."""
        return replace(self, parameters={**self.parameters, **parameters})


class MergedNeuron(Neuron):
    """A neuron that holds its receptors, under generated names too."""


@dataclass(frozen=True)
class Synapse:
    """A synapse as text. `w` is the weight; declare it ("w : amp"). `x_pre`, `x_post` are the cells' variables.

    equations: per-synapse state. on_pre, on_post: statements run when a spike arrives or the target fires. Statements of on_pre may have a
    label before them ("down: I_post -= w", or {"down": "I_post -= w"}): a pathway, which has a delay of its own in the projection.
    transmits: a graded value, summed into the postsynaptic variable `target` each step. every_step: per-synapse
    updates. receptor: equations that live once in each postsynaptic cell; a line "I = expr : amp" for one of its
    inputs adds to that input. regularly: as of a neuron, after those of all neurons; it assigns the synapse's own variables.
    """

    name: str
    equations: str = ""
    on_pre: Converted[str] = default("")
    on_post: str = ""
    every_step: str = ""
    transmits: str = ""
    target: str = ""
    receptor: str = ""
    parameters: Converted[Mapping[str, Quantity]] = default({})
    initial: Converted[Mapping[str, Value]] = default({})
    method: str = "euler"
    source: str = ""
    regularly: Mapping[str, str] = later({})

    def __post_init__(self) -> None:
        if isinstance(self.on_pre, Mapping):
            put(self, "on_pre", labelled(self.on_pre))
        checks.types(self)
        put(self, "method", SYNONYMS.get(self.method, self.method))
        convert_table(self, "parameters", quantities_only=True)
        convert_table(self, "initial")
        checks.enforce(checks.synapse(self))

    __hash__ = hash_of_fields

    @property
    def scope(self) -> SynapseScope:
        """What the names in its text mean."""
        return _synapse_scope(self)


class MergedSynapse(Synapse):
    """A synapse whose text and parameters hold generated names too."""


@dataclass(frozen=True)
class Population:
    """`size` neurons. parameters, initial: values for this population, scalars or arrays of length `size`.

    positions: [size, axes] of one to three axes, lengths or plain numbers in a unit of your own, for Distance connectivity.
    frozen: no rule trains its parameters.
    """

    name: str
    neuron: Neuron
    size: int
    parameters: Converted[Mapping[str, Value]] = default({})
    initial: Converted[Mapping[str, Value]] = default({})
    positions: Converted[Quantity | None] = later(None)
    frozen: bool = later(False)

    def __post_init__(self) -> None:
        checks.types(self)
        convert_table(self, "parameters")
        convert_table(self, "initial")
        convert_size(self, "size")
        convert_given(self, "positions")
        checks.enforce(checks.population(self))

    __hash__ = hash_of_fields

    def values(self) -> dict[str, Value]:
        """Parameter -> value: the neuron's, and over them the population's own."""
        return {**self.neuron.parameters, **self.parameters}

    def initial_values(self) -> dict[str, Value]:
        """State -> initial value: the neuron's, and over them the population's own."""
        return {**self.neuron.initial, **self.initial}


@dataclass(frozen=True)
class Projection:
    """Synapses from one population (or spike input) to another.

    weights: quantity or distribution: a scalar, [pre, post] for all-to-all, or one per synapse otherwise. delay: a scalar, one
    per synapse, or a distribution, whose numbers are rounded to steps, those below 0 to 0 (axonal: spike k of the source arrives at
    step k + delay/dt). delays: of labelled pathways of on_pre, and of on_post as "post"; one time each, 0 where nothing is said; they may be given
    in `delay` too: {"pre": those of statements without a label, "down": "1 ms", "post": "2 ms"}. sign: "+" or "-" (Dale).
    bounds: (low, high) of the weights. parameters, initial: as for populations, one per synapse. summed: of graded values, whether
    they are summed at the "start" of a step, from the states there, or at its "end", from the new ones: for readouts that answer
    in the same step, and for modulators that synapses read there; or at the target's "turn" to be integrated, which comes in the order of
    the network's populations: from the new states of those before it and the old ones of those behind (Brian2's linked variables). integrated: the synapses' equations, at the "start" of a step, from
    what cells are there, or at its "end", after cells have been integrated and before what is summed there: as Brian2 does where it comes to the synapses last. shares: projection whose weights it has, those that are drawn for that one
    and every number that it learns; both have the same synapses, and it has no weights, sign or bounds of its own. frozen: no rule trains its
    weights and parameters.
    """

    name: str
    pre: str
    post: str
    synapse: Synapse
    weights: Converted[Value | None] = default(None)
    connectivity: Connectivity = field(default_factory=AllToAll)
    delay: Converted[Value] = default("0 ms")
    sign: Literal["+", "-"] | None = None
    bounds: Converted[tuple[Quantity | None, Quantity | None]] = default((None, None))
    parameters: Converted[Mapping[str, Value]] = default({})
    initial: Converted[Mapping[str, Value]] = default({})
    summed: Literal["start", "turn", "end"] = "start"
    shares: str = later("")
    frozen: bool = later(False)
    delays: Converted[Mapping[str, Quantity]] = later({})
    integrated: Literal["start", "end"] = later("start")

    def __post_init__(self) -> None:
        checks.types(self)
        if isinstance(self.delay, Mapping) and set(self.delay) != {"si", "unit"}:
            put(self, "delays", {**self.delays, **{n: v for n, v in self.delay.items() if n != "pre"}})
            put(self, "delay", self.delay.get("pre", "0 ms"))
        convert_table(self, "delays", quantities_only=True)
        if self.weights is not None:
            put(self, "weights", converted(self.weights, f"projection '{self.name}', weights"))
        put(self, "delay", converted(self.delay, f"projection '{self.name}', delay"))
        put(self, "bounds", converted_bounds(self.bounds))
        convert_table(self, "parameters")
        convert_table(self, "initial")
        checks.enforce(checks.projection(self))

    __hash__ = hash_of_fields


@dataclass(frozen=True)
class Input:
    """What comes from outside. kind: "spikes" and "poisson" are sources of projections, "current" drives
    `target` ("population.variable", whose unit it has). rate: of each Poisson channel, scalar or array.

    "drive": each cell hears `sources` Poisson sources of this rate, of its own; each of their events adds `weight` to its state `target` (a
    receptor's too: "cells.g_ampa"). rate, weight: scalars or one per cell; the weight is the parameter "population.weight__NAME" too. A
    step's count has Poisson's law with mean sources*rate*dt, exactly that of a sum of Poisson sources, as NEST's poisson_generator draws
    it; or, with law="binomial", that of sources each of which has one event with probability rate*dt, as Brian2's PoissonInput means it. A
    run may be given the counts, [batch, time, cell]."""

    name: str
    size: int
    kind: Literal["spikes", "poisson", "current", "drive"] = "spikes"
    target: str = ""
    rate: Converted[Quantity | None] = default(None)
    weight: Converted[Quantity | None] = default(None)
    sources: int = 1
    law: Literal["poisson", "binomial"] = later("poisson")

    def __post_init__(self) -> None:
        checks.types(self)
        convert(self, *(name for name in ("rate", "weight") if getattr(self, name) is not None))
        convert_size(self, "size", "sources")
        checks.enforce(checks.input_(self))

    @property
    def sends(self) -> bool:
        """Whether it is a source of projections."""
        return self.kind in ("spikes", "poisson")

    @property
    def drawn(self) -> bool:
        """Whether a run draws it from the network's seed where nobody gives it."""
        return self.kind in ("poisson", "drive")


@dataclass(frozen=True)
class Network(ShownNetwork):
    """Populations, projections and inputs under one clock. seed: of connectivity, distributions, noise, Poisson.

    couplings: what graded synapses send is held for a "step", or evaluated at each of the integrator's "stages" (rk2, rk4), so
    that the cells they join are one system of equations.
    """

    populations: tuple[Population, ...]
    projections: Converted[tuple[Projection, ...]] = default(())
    inputs: Converted[tuple[Input, ...]] = default(())
    dt: Converted[Quantity] = default("0.1 ms")
    seed: int = 0
    name: str = "network"
    couplings: Literal["step", "stages"] = "step"

    def __post_init__(self) -> None:
        for name in ("populations", "projections", "inputs"):
            put(self, name, as_tuple(getattr(self, name)))
        checks.types(self)
        convert(self, "dt")
        checks.enforce(checks.network(self))

    __hash__ = hash_of_fields

    def __str__(self) -> str:
        staged = ", couplings at every stage" if self.couplings == "stages" else ""
        lines = [f"network {self.name}: dt = {self.dt}, seed {self.seed}{staged}"]
        lines += [
            f"population {p.name}: {p.size} x {p.neuron.name}{', frozen' if p.frozen else ''}" for p in self.populations
        ]
        lines += [
            f"projection {p.name}: {p.pre} -> {p.post}, {p.synapse.name}, {type(p.connectivity).__name__}"
            + {"end": ", summed at the end of a step", "turn": ", summed at the target's turn"}.get(p.summed, "")
            + (", integrated after cells" if p.integrated == "end" else "")
            + (f", weights of {p.shares}" if p.shares else "")
            + (", frozen" if p.frozen else "")
            for p in self.projections
        ]
        into = {i.name: f" into {i.target}, {i.sources} x {i.rate}" for i in self.inputs if i.kind == "drive"}
        lines += [f"input {i.name}: {i.size} x {i.kind}{into.get(i.name, '')}" for i in self.inputs]
        return "\n".join(lines) + "\n"

    @cached_property
    def parts(self) -> dict[str, dict[str, Any]]:
        """Kind (\"population\", \"projection\", \"input\", \"population or input\") -> name -> part."""
        kinds: dict[str, tuple[Any, ...]] = {
            "population": self.populations, "projection": self.projections, "input": self.inputs,
            "population or input": (*self.populations, *self.inputs),
        }  # fmt: skip
        return {kind: {part.name: part for part in reversed(parts)} for kind, parts in kinds.items()}

    @property
    def late_inputs(self) -> Mapping[str, frozenset[str]]:
        """Population -> its inputs that are summed at the end of a step."""
        return _inputs_summed(self)["end"]

    @property
    def turn_inputs(self) -> Mapping[str, frozenset[str]]:
        """Population -> its inputs that are summed at its turn to be integrated."""
        return _inputs_summed(self)["turn"]

    def _part(self, kind: str, name: str) -> Any:
        if name not in self.parts[kind]:
            checks.unknown_name(name, self.parts[kind], kind)
        return self.parts[kind][name]

    def population(self, name: str) -> Population:
        """The population of that name. Raises ModelError with a suggestion."""
        return self._part("population", name)  # type: ignore[no-any-return]

    def projection(self, name: str) -> Projection:
        """The projection of that name. Raises ModelError with a suggestion."""
        return self._part("projection", name)  # type: ignore[no-any-return]

    def input(self, name: str) -> Input:
        """The input of that name. Raises ModelError with a suggestion."""
        return self._part("input", name)  # type: ignore[no-any-return]

    def holder(self, projection: Projection) -> Projection:
        """The projection whose weights this one has: itself, or the one that it shares them with."""
        return self.projection(projection.shares) if projection.shares else projection

    def source_size(self, name: str) -> int:
        """Number of cells or channels of a projection's source."""
        return int(self._part("population or input", name).size)


@per_object
def _inputs_summed(network: Network) -> dict[str, dict[str, frozenset[str]]]:
    """Place in a step -> population -> inputs."""
    found: dict[str, dict[str, set[str]]] = {
        place: {p.name: set() for p in network.populations} for place in ("turn", "end")
    }
    for p in network.projections:
        if p.summed in found and p.post in found[p.summed]:
            found[p.summed][p.post].add(p.synapse.target)
    return {place: {n: frozenset(inputs) for n, inputs in table.items()} for place, table in found.items()}


@per_object
def _neuron_scope(neuron: Neuron) -> NeuronScope:
    refractory = neuron.refractory if isinstance(neuron.refractory, str) else ""
    texts = (neuron.name, neuron.equations, neuron.threshold, neuron.reset, neuron.every_step, refractory)
    events = (as_items(neuron.events), as_items(neuron.on_event))
    return neuron_scope(*texts, _dimensions(neuron.parameters), tuple(neuron.regularly.items()), *events)


@per_object
def _synapse_scope(synapse: Synapse) -> SynapseScope:
    s = synapse
    texts = (s.name, s.equations, s.receptor, s.on_pre, s.on_post, s.every_step, s.transmits)
    return synapse_scope(*texts, _dimensions(s.parameters), tuple(s.regularly.items()))


def _dimensions(parameters: Mapping[str, Quantity]) -> tuple[tuple[str, Dimension], ...]:
    return tuple((name, value.dimension) for name, value in parameters.items())


def field_names(item: Any) -> tuple[str, ...]:
    """Names of a definition's fields, in order."""
    return tuple(f.name for f in fields(item))
