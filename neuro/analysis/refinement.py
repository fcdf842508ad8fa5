"""The same network on a finer clock: how much of a result depends on the discretisation?

An event into an input variable acts for one step, so it carries the charge weight * dt: on a clock `factor` times finer
its weight grows by `factor`. Currents are held, events come at the end of what was their step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import sympy as sp

from neuro.compiler.lowering import lower
from neuro.compiler.resolve import resolve
from neuro.compiler.step import Couple
from neuro.language.symbolic import symbol
from neuro.language.units import Quantity
from neuro.model import Network, Population
from neuro.protocols import Array, Inputs, Parameters


class RefinementError(Exception):
    """A network whose events can't be carried to a finer clock; names the projection."""


def finer(network: Network, factor: int, method: str = "rk4") -> Network:
    """The network with dt / factor; differential equations by `method`, noisy ones by euler.

    Raises RefinementError for a factor below 1, ModelError where the network doesn't fit the finer clock.
    """
    if factor < 1:
        raise RefinementError(f"the clock can't be refined by {factor}; use a whole number from 1 on")
    dt = Quantity(network.dt.value / factor, network.dt.dimension, network.dt.unit)
    populations = tuple(replace(p, neuron=replace(p.neuron, method=_method(p, method))) for p in network.populations)
    return replace(network, populations=populations, dt=dt)


def _method(population: Population, method: str) -> str:
    return "euler" if population.neuron.scope.white_noise else method


def charges(network: Network) -> frozenset[str]:
    """Weights ("projection.w") whose events act on an input for one step.

    Raises RefinementError where what an event carries is not proportional to the weight.
    """
    step = lower(network)
    found = set()
    for op in step.operations:
        if isinstance(op, Couple) and op.when != "always" and op.target in step.population(op.population).inputs:
            w = symbol("w")
            if sp.expand(op.value - w * sp.diff(op.value, w)) != 0:
                raise RefinementError(f"projection '{op.projection}': {op.value} is not proportional to the weight")
            found.add(f"{op.projection}.w")
    return frozenset(found)


def finer_parameters(network: Network, values: Parameters, factor: int) -> dict[str, Array]:
    """Parameter values for the finer clock: same charges."""
    scaled = charges(network)
    return {name: np.asarray(v) * factor if name in scaled else np.asarray(v) for name, v in values.items()}


def finer_inputs(network: Network, inputs: Inputs, factor: int) -> dict[str, Array]:
    """Input arrays [batch, time * factor, channel] for the finer clock."""
    kinds: Mapping[str, str] = {i.name: i.kind for i in resolve(network).network.inputs}
    found: dict[str, Array] = {}
    for name, value in inputs.items():
        if kinds[name] == "current":
            found[name] = np.repeat(value, factor, axis=1)
            continue
        batch, steps, channels = np.shape(value)
        fine = np.zeros(
            (batch, steps, factor, channels), np.asarray(value).dtype if kinds[name] == "drive" else np.bool_
        )
        fine[:, :, -1] = value
        found[name] = fine.reshape(batch, steps * factor, channels)
    return found
