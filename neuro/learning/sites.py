"""Where trainable weights act: the summed inputs they feed, the presynaptic activity they multiply, noise on those inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro.learning.parametrisation import Parametrisation
from neuro.lowering import lower
from neuro.model import Input, Network
from neuro.parameters import initial_state
from neuro.parameters import parameters as declared_parameters
from neuro.protocols import Inputs, Parameters, Recording, UnsupportedError
from neuro.receptors import without_receptors
from neuro.step import Assign, Couple, Gather, Operation, Step, Synapses, composed
from neuro.symbolic import symbol

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Site:
    """A trainable projection and the summed input that it feeds.

    pre: presynaptic activity as an expression of states, inputs and parameters of the cells; None for spikes, which arrive
    `late` steps after they were sent. gain: change of the summed input for activity 1 and a weight larger by 1, SI.
    """

    synapses: Synapses
    population: str
    variable: str
    pre: sp.Expr | None
    late: int
    gain: float

    @property
    def name(self) -> str:
        return f"{self.synapses.name}.w"

    @property
    def noise(self) -> str:
        """The input that `attach` adds to the summed input."""
        return f"noise_into_{self.population}_{self.variable}"

    def traces(self, network: Network) -> tuple[str, ...]:
        """What a run must record for `activity`."""
        scope = None if self.pre is None else without_receptors(network).population(self.synapses.pre).neuron.scope
        if scope is None or self.pre is None:
            return ()
        variables = {*scope.states, *scope.inputs} & {s.name for s in self.pre.free_symbols}
        return tuple(f"{self.synapses.pre}.{name}" for name in sorted(variables))

    def activity(self, network: Network, parameters: Parameters, inputs: Inputs, found: Recording) -> Array:
        """Presynaptic activity [batch, time, pre] as it entered each step."""
        source = self.synapses.pre
        if self.pre is None:
            spikes = np.asarray(inputs[source] if source in inputs else found.spikes[source], dtype=np.float64)
            return _later(spikes, np.zeros((self.late, spikes.shape[2])))
        scope = without_receptors(network).population(source).neuron.scope
        values: dict[str, Any] = {}
        for s in self.pre.free_symbols:
            key = s.name if "." in s.name else f"{source}.{s.name}"
            if s.name in scope.states:  # sums are formed from the states before the step
                values[s.name] = _later(found.traces[key], initial_state(network)[key][None])
            else:
                values[s.name] = found.traces[key] if key in found.traces else parameters[key]
        names = tuple(sorted(values))
        return np.asarray(_function(self.pre, names)(*(values[n] for n in names)), dtype=np.float64)

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
        found[self.synapses.pre_index, self.synapses.post_index] = weights
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


@lru_cache(maxsize=64)
def _function(expr: sp.Expr, names: tuple[str, ...]) -> Callable[..., Any]:
    return sp.lambdify([symbol(n) for n in names], expr, modules="numpy")  # type: ignore[no-any-return]


def _later(values: Array, before: Array) -> Array:
    """[batch, time, n] moved to later steps, after `before` [steps, n]."""
    first = np.broadcast_to(before, (len(values), *before.shape))
    return np.asarray(np.concatenate([first, values], axis=1)[:, : values.shape[1]])


def sites(network: Network, trainable: Sequence[str]) -> tuple[Site, ...]:
    """One for each trainable weight. Raises UnsupportedError where it isn't a factor of a sum into an input."""
    step = lower(network)
    couples = [c for o in step.operations for c in _couples(o)]
    found = []
    for name in Parametrisation.of(declared_parameters(network), trainable).names:
        owner, _, variable = name.partition(".")
        own = [c for c in couples if c.projection == owner]
        if variable != "w" or len(own) != 1:
            raise _refusal(name, "only weights of projections that add to one variable have a summed input")
        found.append(_site(step, own[0], name))
    return tuple(found)


def _couples(operation: Operation) -> tuple[Couple, ...]:
    if isinstance(operation, Couple):
        return (operation,)
    return operation.couplings if isinstance(operation, Gather) else ()


def _site(step: Step, couple: Couple, name: str) -> Site:
    synapses, factors = step.projection(couple.projection), couple.factors
    if couple.target not in step.population(couple.population).inputs:
        raise _refusal(name, f"it changes '{couple.target}' itself, not an input that noise can be added to")
    if factors is None or factors.post.free_symbols or not isinstance(synapses.delay, int):
        raise _refusal(name, "its value must be a product of weight and presynaptic activity, with one delay")
    slope = sp.diff(factors.synapse * factors.post, symbol("w"))
    if slope.free_symbols or "w" in synapses.states:
        raise _refusal(name, "its value must be linear in a constant weight")
    if couple.when == "pre" and not factors.pre.free_symbols:
        gain = float(slope * factors.pre)
        return Site(synapses, couple.population, couple.target, None, synapses.delay + 1, gain)
    if couple.when != "always":
        raise _refusal(name, "what a spike brings changes from spike to spike")
    inlined = composed(tuple(Assign(n, e) for n, e in step.population(synapses.pre).subexpressions))
    cell = {s: symbol(s.name.removesuffix("_pre")) for s in factors.pre.free_symbols if s.name.endswith("_pre")}
    own = {s: symbol(f"{synapses.name}.{s.name}") for s in factors.pre.free_symbols if s not in cell}
    pre = factors.pre.xreplace({**cell, **own}).xreplace({symbol(n): e for n, e in inlined.items()})
    return Site(synapses, couple.population, couple.target, pre, 0, float(slope))


def _refusal(name: str, why: str) -> UnsupportedError:
    return UnsupportedError("any", f"a perturbation of the summed input of '{name}'", f"{why}; use rule 'wp'")


def attach(network: Network, trainable: Sequence[str]) -> Network:
    """The network with one more current input for each summed input that trainable weights feed; zeros change nothing."""
    added = {}
    for site in sites(network, trainable):
        size = network.population(site.population).size
        added[site.noise] = Input(site.noise, size, "current", f"{site.population}.{site.variable}")
    return replace(network, inputs=(*network.inputs, *added.values()))


def silent(network: Network, inputs: Inputs) -> Mapping[str, Any]:
    """Inputs with zeros for the currents that are missing: those that a rule attached."""
    batch, steps = next(iter(inputs.values())).shape[:2]
    missing = [i for i in network.inputs if i.kind == "current" and i.name not in inputs]
    return {**inputs, **{i.name: np.zeros((batch, steps, i.size)) for i in missing}}
