"""A network as it is computed with: receptors in their cells, synapses drawn, times in steps, formulas over what is kept.

A network is resolved once, then only read. Numbers of parameters and states are drawn by `neuro.compiler.parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro import checks
from neuro.caching import per_object
from neuro.compiler import streams
from neuro.compiler.connecting import wiring
from neuro.compiler.formulas import CellFormulas, SynapseFormulas, cell_formulas, synapse_formulas
from neuro.compiler.indices import with_indices
from neuro.compiler.receptors import without_receptors
from neuro.compiler.refractory import asked
from neuro.compiler.sharing import spans
from neuro.compiler.wiring import Steps, Wiring
from neuro.language.units import Quantity
from neuro.model import Drawn, Network, Neuron, Projection


@dataclass(frozen=True)
class Resolved:
    """network: with receptors merged into the cells and indices as parameters, which everything below is of."""

    network: Network

    @property
    def wires(self) -> Mapping[str, Wiring]:
        """Projection -> its synapses; the same for the same seed and name. Raises ModelError where they fit no memory."""
        return _wires(self.network)

    @property
    def delays(self) -> Mapping[str, int | Steps]:
        """Projection -> steps: one number, or one per synapse in the shape of its wiring where they differ."""
        return _delays(self.network)

    @property
    def cells(self) -> Mapping[str, CellFormulas]:
        """Population -> its formulas. Raises ModelError where numbers alone give none."""
        return _cells(self.network)

    @property
    def synapses(self) -> Mapping[str, SynapseFormulas]:
        """Projection -> its formulas. Raises ModelError where numbers alone give none."""
        return _synapses(self.network)

    def __str__(self) -> str:
        return "\n".join([*self._cell_lines(), *self._synapse_lines()]) + "\n"

    def _cell_lines(self) -> list[str]:
        lines = []
        for population in self.network.populations:
            kept, refractory = ", ".join(population.neuron.frozen), counted(population.neuron, self.network.dt)
            frozen = f", {kept} kept for {refractory} steps" if refractory else ""
            frozen = f", {kept} kept while refractory" if population.neuron.scope.spike_states and kept else frozen
            lines.append(f"population {population.name}[{population.size}]: {population.neuron.method}{frozen}")
            lines += [f"    {line}" for line in self.cells[population.name].lines()]
        return lines

    def _synapse_lines(self) -> list[str]:
        lines = []
        for p in self.network.projections:
            wires, delay = self.wires[p.name], self.delays[p.name]
            steps = str(delay) if np.ndim(delay) == 0 else f"{np.min(delay)}..{np.max(delay)}"
            count = f"{np.prod(wires.shape) if wires.mask is None else wires.mask.sum()} synapses"
            lines.append(f"projection {p.name}: {p.pre} -> {p.post}, {wires.kind}, {count}, delay {steps} steps")
            lines += [f"    {line}" for line in self.synapses[p.name].lines()]
        return lines


def resolve(network: Network) -> Resolved:
    """Everything is computed when it is first asked for, once for each network. Raises ModelError where it is none."""
    return Resolved(with_indices(asked(without_receptors(network))))


@per_object
def _wires(network: Network) -> dict[str, Wiring]:
    checks.enforce(checks.memory(network))
    return {p.name: wiring(network, p) for p in network.projections}


@per_object
def _delays(network: Network) -> dict[str, int | Steps]:
    wires = _wires(network)
    return {p.name: _delay(network, p, wires[p.name].shape) for p in network.projections}


def _delay(network: Network, projection: Projection, shape: tuple[int, ...]) -> int | Steps:
    """One number, or as many as there are synapses, in as few bytes as hold the longest."""
    given = projection.delay
    steps = (
        _narrow(steps_of(given, network.dt))
        if isinstance(given, Quantity)
        else _drawn(network, projection, given, shape)
    )
    if not steps.size or (steps == steps.flat[0]).all():
        return int(steps.flat[0]) if steps.size else 0
    return np.broadcast_to(steps, shape).copy() if steps.shape != shape else steps


def _drawn(network: Network, projection: Projection, given: Drawn, shape: tuple[int, ...]) -> Steps:
    """Delays from a distribution, rounded to steps. Raises ModelError where one is no number of steps."""
    places = list(spans(math.prod(shape)))
    found: Steps = np.empty(math.prod(shape), np.uint8)
    drawn = streams.drawn(network.seed, f"delay/{projection.name}", given, (s.stop - s.start for s in places))
    for place, times in zip(places, drawn, strict=True):
        times /= network.dt.value
        np.maximum(np.rint(times, out=times), 0, out=times)
        checks.enforce(checks.delays_drawn(times, projection, network.dt))
        steps = _narrow(times)
        found = found.astype(max(found.dtype, steps.dtype), copy=False)
        found[place] = steps
    return found.reshape(shape)


def _narrow(steps: npt.NDArray[Any]) -> Steps:
    """Whole numbers in as few bytes as hold the largest."""
    most = steps.max(initial=0)
    return steps.astype(next(t for t in (np.uint8, np.uint16, np.int64) if most <= np.iinfo(t).max))


@per_object
def _cells(network: Network) -> dict[str, CellFormulas]:
    return {p.name: cell_formulas(network, p) for p in network.populations}


@per_object
def _synapses(network: Network) -> dict[str, SynapseFormulas]:
    return {p.name: synapse_formulas(network, p) for p in network.projections}


def delay_range(network: Network, projection: Projection) -> tuple[int, int]:
    """Least and greatest delay in steps, 0 where there is no synapse; drawn where it is a distribution."""
    given = projection.delay
    steps = steps_of(given, network.dt) if isinstance(given, Quantity) else _delays(network)[projection.name]
    return (int(np.min(steps)), int(np.max(steps))) if np.size(steps) else (0, 0)


def late(network: Network, projection: Projection, pathway: str) -> int | None:
    """Steps from a spike to what a labelled pathway, or "post", does; None where that is the synapses' delay, or at once."""
    steps = int(steps_of(projection.delays[pathway], network.dt)) if pathway in projection.delays else 0
    if pathway == "post":
        return steps or None
    own = _delays(network)[projection.name] if pathway else None
    return None if not pathway or (isinstance(own, int) and own == steps) else steps


def remembered(network: Network) -> dict[str, int]:
    """Population or input -> steps over which something still waits for its spikes; those alone whose spikes do anything."""
    found: dict[str, int] = {}
    for p in network.projections:
        scope = p.synapse.scope
        if scope.on_pre:
            own = [late(network, p, label) or 0 for label in scope.pathways]
            found[p.pre] = max(found.get(p.pre, 0), delay_range(network, p)[1], *own)
        if scope.on_post and (behind := late(network, p, "post")):
            found[p.post] = max(found.get(p.post, 0), behind)
    return found


def counted(neuron: Neuron, dt: Quantity) -> int:
    """Steps of a refractory period that backends count; 0 where there is none, or the cells know when they are refractory."""
    fixed = isinstance(neuron.refractory, Quantity) and not neuron.scope.spike_states
    return int(steps_of(neuron.refractory, dt)) if fixed else 0  # type: ignore[arg-type]


def steps_of(quantity: Quantity, dt: Quantity) -> npt.NDArray[np.int64]:
    """Whole steps of a time that has been checked to be a multiple of dt."""
    return np.round(np.asarray(quantity.value) / dt.value).astype(np.int64)
