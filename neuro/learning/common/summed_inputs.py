"""Where weights act: the sums they are factors of, the presynaptic activity they multiply, noise on summed inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro.compiler.evaluation import evaluate
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import initial_state
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.step import Couple, Gather, Synapses
from neuro.language.symbolic import derivative, symbol, within_functions
from neuro.learning.common.parametrisation import Parametrisation
from neuro.model import Input, Network
from neuro.protocols import Batch, Inputs, Parameters, Recording, UnsupportedError

Array = npt.NDArray[np.float64]


class NoSummedInput(Exception):
    """A projection's weights aren't plain factors of one sum; the text says why."""


@dataclass(frozen=True)
class SummedInput:
    """A projection and the sum that its weights are factors of.

    variable: of the population: an input, or a state that events reach directly (`lands`), after the threshold and before the
    reset. pre: presynaptic activity as an expression of states, inputs and parameters of the cells; None for spikes, which
    arrive `late` steps after they were sent. gain: change of the sum for activity 1 and a weight larger by 1, SI.
    """

    synapses: Synapses
    population: str
    variable: str
    pre: sp.Expr | None
    late: int
    gain: float
    lands: bool = False

    @property
    def name(self) -> str:
        return f"{self.synapses.name}.w"

    @property
    def noise(self) -> str:
        """The input that `attach` adds to the summed input."""
        return f"noise_into_{self.population}_{self.variable}"

    def traces(self, network: Network) -> tuple[str, ...]:
        """What a run must record for `activity`."""
        if self.pre is None:
            return ()
        return tuple(f"{self.synapses.pre}.{n}" for n in self._variables(network))

    def _variables(self, network: Network) -> list[str]:
        """States and inputs of the presynaptic cells that the activity depends on."""
        scope = resolve(network).network.population(self.synapses.pre).neuron.scope
        names = {s.name for s in self.pre.free_symbols} if self.pre is not None else set()
        return [n for n in (*scope.states, *scope.inputs) if n in names]

    def activity(self, network: Network, parameters: Parameters, inputs: Inputs, found: Recording) -> Array:
        """Presynaptic activity [batch, time, pre] as it entered each step."""
        source = self.synapses.pre
        if self.pre is None:
            spikes = np.asarray(inputs[source] if source in inputs else found.spikes[source], dtype=np.float64)
            return _later(spikes, np.zeros((self.late, spikes.shape[2])))
        value = evaluate(self.pre, self._lookup(network, parameters, found))
        lead = next(iter({**found.traces, **found.spikes}.values())).shape[:2]
        return np.array(np.broadcast_to(value, (*lead, self.synapses.ends[0])), dtype=np.float64)

    def slopes(self, network: Network, parameters: Parameters, found: Recording) -> dict[str, Any]:
        """Derivative of graded activity by the presynaptic states before each step and inputs in it, by name."""
        assert self.pre is not None
        lookup = self._lookup(network, parameters, found)
        derivatives = {n: derivative(self.pre, symbol(n)) for n in self._variables(network)}
        return {n: evaluate(e, lookup) for n, e in derivatives.items() if e != 0}

    def _lookup(self, network: Network, parameters: Parameters, found: Recording) -> Callable[[str], Any]:
        """Values as they entered each step; sums are formed from the states before it."""
        source, dt = self.synapses.pre, lower(network).dt
        first = initial_state(network)
        steps = next(iter({**found.traces, **found.spikes}.values())).shape[1]
        values: dict[str, Any] = {"dt": dt, "t": np.arange(steps)[:, None] * dt}
        for name in self._variables(network):
            key = f"{source}.{name}"
            values[name] = _later(found.traces[key], first[key][None]) if key in first else found.traces[key]
        return lambda n: values[n] if n in values else parameters[n if "." in n else f"{source}.{n}"]

    def change(self, activity: Array, weights: Array) -> Array:
        """What weights in their layout add to the summed input, [batch, time, post]."""
        if self.synapses.kind == "dense":
            return np.asarray(self.gain * activity @ weights)
        found = np.zeros((*activity.shape[:-1], self.synapses.ends[1]))
        where: Any = (..., self.synapses.post_index)
        np.add.at(found, where, activity[..., self.synapses.pre_index] * weights)
        return self.gain * found

    def credit(self, activity: Array, noise: Array) -> Array:
        """Noise [batch, time, post] times activity, summed over trials and time, in the weights' layout."""
        if self.synapses.kind == "dense":
            pre, post = activity.shape[2], noise.shape[2]
            return np.asarray(self.gain * activity.reshape(-1, pre).T @ noise.reshape(-1, post))
        product = activity[..., self.synapses.pre_index] * noise[..., self.synapses.post_index]
        return np.asarray(self.gain * product.sum(axis=(0, 1)))

    def dense(self, weights: Array) -> Array:
        """Weights [pre, post] from their layout."""
        if self.synapses.kind == "dense":
            return weights if self.synapses.mask is None else weights * self.synapses.mask
        found = np.zeros(self.synapses.ends)
        np.add.at(found, (self.synapses.pre_index, self.synapses.post_index), weights)
        return found

    def layout(self, matrix: Array) -> Array:
        """Weights in their layout from [pre, post]; 0 where there is no synapse."""
        if self.synapses.kind == "dense":
            return matrix if self.synapses.mask is None else matrix * self.synapses.mask
        return np.asarray(matrix[self.synapses.pre_index, self.synapses.post_index])

    def active(self, activity: Array) -> Array:
        """1.0 for synapses whose presynaptic cell did anything, in the weights' layout."""
        found = (activity != 0).any(axis=(0, 1)).astype(float)
        if self.synapses.kind == "dense":
            return np.asarray(np.broadcast_to(found[:, None], self.synapses.shape))
        return np.asarray(found[self.synapses.pre_index])


def _later(values: Array, before: Array) -> Array:
    """[batch, time, n] moved to later steps, after `before` [steps, n]."""
    first = np.broadcast_to(before, (len(values), *before.shape))
    return np.asarray(np.concatenate([first, values], axis=1)[:, : values.shape[1]])


def summed_inputs(network: Network, trainable: Sequence[str]) -> tuple[SummedInput, ...]:
    """One for each trainable weight. Raises UnsupportedError where it isn't a factor of a sum into an input."""
    found = []
    for name in Parametrisation.of(declared_parameters(network), trainable).names:
        owner, _, variable = name.partition(".")
        try:
            if variable != "w":
                raise NoSummedInput("only weights of projections have a summed input")
            summed = summed_input_of(network, owner)
            if summed.lands:
                raise NoSummedInput(f"it changes '{summed.variable}' itself, not an input that noise can be added to")
        except NoSummedInput as error:
            what = f"a perturbation of the summed input of '{name}'"
            raise UnsupportedError("any", what, f"{error}; use rule 'wp'") from None
        found.append(summed)
    return tuple(found)


def summed_input_of(network: Network, projection: str) -> SummedInput:
    """Where a projection's weights act. Raises NoSummedInput."""
    step = lower(network)
    graded = {c: g.population for g in step.operations if isinstance(g, Gather) for c in g.couplings}
    couples = [*graded, *(o for o in step.operations if isinstance(o, Couple))]
    own = [c for c in couples if c.projection == projection]
    if projection in {c.projection for c in graded} and step.staged:
        raise NoSummedInput("what it sends is summed at every stage of a step (couplings='stages')")
    if network.projection(projection).summed == "end":
        raise NoSummedInput("what it sends is summed at the end of a step (summed='end')")
    if network.projection(projection).summed == "turn":
        raise NoSummedInput("what it sends is summed when its target is integrated (summed='turn')")
    if len(own) != 1:
        raise NoSummedInput("only weights of projections that add to one variable have a sum of their own")
    couple, synapses, factors = own[0], step.projection(projection), own[0].factors
    if {symbol(n) for n in synapses.noise} & couple.value.free_symbols:
        raise NoSummedInput("its synapses draw a random number for what they add")
    if couple.late is not None or factors is None or factors.post.free_symbols or not isinstance(synapses.delay, int):
        raise NoSummedInput("its value must be a product of weight and presynaptic activity, with one delay")
    slope = sp.diff(factors.synapse * factors.post, symbol("w"))
    straight = not slope.free_symbols and slope != 0 and symbol("w") not in within_functions(factors.synapse)
    if not straight or "w" in synapses.states or factors.synapse.coeff(symbol("w"), 0) != 0:
        raise NoSummedInput("its value must be a constant weight times numbers and presynaptic activity")
    if couple.when == "always" and couple not in graded:
        raise NoSummedInput("what 'every_step' adds isn't gathered with the other sums")
    lands = couple.target not in step.population(couple.population).inputs
    if couple.when == "pre" and not factors.pre.free_symbols:
        late, gain = synapses.delay + (not lands), float(slope * factors.pre)
        return SummedInput(synapses, couple.population, couple.target, None, late, gain, lands)
    if couple.when != "always":
        raise NoSummedInput("what a spike brings changes from spike to spike")
    cell = {s: symbol(s.name.removesuffix("_pre")) for s in factors.pre.free_symbols if s.name.endswith("_pre")}
    own_names = {s: symbol(f"{projection}.{s.name}") for s in factors.pre.free_symbols if s not in cell}
    kept = {symbol(n): symbol(n) for n in ("t", "dt")}
    inlined = {symbol(n): e for n, e in step.population(synapses.pre).inlined.items()}
    pre = factors.pre.xreplace({**cell, **own_names, **kept}).xreplace(inlined)
    return SummedInput(synapses, couple.population, couple.target, pre, 0, float(slope))


def attach(network: Network, trainable: Sequence[str]) -> Network:
    """The network with one more current input for each summed input that trainable weights feed; zeros change nothing."""
    added: dict[str, Input] = {}
    taken = {i.name for i in network.inputs}
    for summed in summed_inputs(network, trainable):
        size, target = network.population(summed.population).size, f"{summed.population}.{summed.variable}"
        if (
            summed.noise in taken
            or added.get(summed.noise, Input(summed.noise, size, "current", target)).target != target
        ):
            why = f"its input for the noise would be '{summed.noise}', a name that the network has; rename that"
            raise UnsupportedError("any", f"a perturbation of the summed input of '{summed.name}'", why)
        added[summed.noise] = Input(summed.noise, size, "current", target)
    return replace(network, inputs=(*network.inputs, *added.values()))


def refuse_parts(batch: Batch, rule: str) -> None:
    """Raises UnsupportedError where a batch is a part of longer trials."""
    if batch.follows is not None:
        why = "it carries no state from one batch into the next; use rule 'bptt'"
        raise UnsupportedError("any", f"a batch that is a part of longer trials for rule '{rule}'", why)


def refuse_state(batch: Batch, rule: str) -> None:
    """Raises UnsupportedError where a batch brings a state: what cells sent before the first step is read from the network's initial one."""
    refuse_parts(batch, rule)
    if batch.state is not None:
        why = "it takes trials that begin with the network's initial state; use rule 'bptt' or 'es'"
        raise UnsupportedError("any", f"a batch with a state for rule '{rule}'", why)


def silent(network: Network, inputs: Inputs) -> Mapping[str, Any]:
    """Inputs with zeros for the currents that are missing: those that a rule attached."""
    batch, steps = next(iter(inputs.values())).shape[:2]
    missing = [i for i in network.inputs if i.kind == "current" and i.name not in inputs]
    return {**inputs, **{i.name: np.zeros((batch, steps, i.size)) for i in missing}}
