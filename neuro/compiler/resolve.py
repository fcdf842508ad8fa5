"""A network as it is computed with: receptors in their cells, synapses drawn, times in steps, formulas over what is kept.

A network is resolved once, then only read. Numbers of parameters and states are drawn by `neuro.compiler.parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from neuro import checks
from neuro.caching import per_object
from neuro.compiler import streams
from neuro.compiler.formulas import CellFormulas, SynapseFormulas, cell_formulas, synapse_formulas
from neuro.compiler.receptors import without_receptors
from neuro.compiler.wiring import IntArray, Listed, Steps, Wiring
from neuro.language.units import Quantity
from neuro.model import AllToAll, Network, OneToOne, Pairs, Probability, Projection


@dataclass(frozen=True)
class Resolved:
    """network: with receptors merged into the cells, which everything below is of."""

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
            refractory = steps_of(population.neuron.refractory, self.network.dt)
            frozen = f", {', '.join(population.neuron.frozen)} kept for {refractory} steps" if refractory else ""
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
    return Resolved(without_receptors(network))


@per_object
def _wires(network: Network) -> dict[str, Wiring]:
    checks.enforce(checks.memory(network))
    return {p.name: _wiring(network, p) for p in network.projections}


def _wiring(network: Network, projection: Projection) -> Wiring:
    pre = network.source_size(projection.pre)
    post = network.population(projection.post).size
    item = projection.connectivity
    loops = item.self_connections if isinstance(item, AllToAll | Probability) else True
    without_loops = not loops and projection.pre == projection.post
    match item:
        case AllToAll():
            return Wiring("dense", (pre, post), mask=~np.eye(pre, dtype=bool) if without_loops else None)
        case OneToOne():
            index = np.arange(pre)
            return Wiring("one_to_one", (pre,), Listed(pre, lambda: (index, index)))
        case Probability() | Pairs():
            name = f"connectivity/{projection.name}"
            return Wiring.sparse(pre, partial(_ends, item, network.seed, name, pre, post, without_loops))


def _ends(
    item: Probability | Pairs, seed: int, name: str, pre: int, post: int, without_loops: bool
) -> tuple[IntArray, IntArray]:
    """Sources and targets of a projection's synapses. It holds no network, so that whoever keeps it keeps none alive."""
    if isinstance(item, Pairs):
        return item.pre, item.post
    rows, columns = streams.pairs(seed, name, float(item.p), pre, post)
    if without_loops:
        others = rows != columns
        rows, columns = rows[others], columns[others]
    return rows, columns


@per_object
def _delays(network: Network) -> dict[str, int | Steps]:
    wires = _wires(network)
    return {p.name: _delay(p, network.dt, wires[p.name].shape) for p in network.projections}


def _delay(projection: Projection, dt: Quantity, shape: tuple[int, ...]) -> int | Steps:
    """One number, or as many as there are synapses, in as few bytes as hold the longest."""
    steps = steps_of(projection.delay, dt)
    if not steps.size or (steps == steps.flat[0]).all():
        return int(steps.flat[0]) if steps.size else 0
    least = next(t for t in (np.uint8, np.uint16, np.int64) if steps.max() <= np.iinfo(t).max)
    return np.broadcast_to(steps, shape).astype(least)


@per_object
def _cells(network: Network) -> dict[str, CellFormulas]:
    return {p.name: cell_formulas(p) for p in network.populations}


@per_object
def _synapses(network: Network) -> dict[str, SynapseFormulas]:
    return {p.name: synapse_formulas(network, p) for p in network.projections}


def steps_of(quantity: Quantity, dt: Quantity) -> npt.NDArray[np.int64]:
    """Whole steps of a time that has been checked to be a multiple of dt."""
    return np.round(np.asarray(quantity.value) / dt.value).astype(np.int64)
