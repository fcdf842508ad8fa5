"""A feed-forward network of cells without memory, taken apart: what reaches it from outside, then a part for each population, from the sums that reach it to what it adds to the next ones' sums.

Run one after the other on a whole batch, the parts compute what the network computes in one step, and whoever runs them can look at a sum over the
batch before the cells read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from neuro.compiler.resolve import resolve
from neuro.export.names import unused
from neuro.language.scope import noise_text
from neuro.model import AllToAll, Input, Network, Neuron, OneToOne, Pairs, Population, Projection
from neuro.protocols import UnsupportedError


@dataclass(frozen=True)
class Part:
    """One population with the projections that leave it. Its inputs are currents; the populations behind it only sum.

    own: "population.variable" of its inputs -> the current into it. sums: those that it adds to.
    """

    network: Network
    population: str
    own: Mapping[str, str]
    sums: tuple[str, ...]


def parts(network: Network) -> tuple[Part, ...]:
    """The parts in the order in which a step computes them. Raises UnsupportedError naming a population or projection that isn't of this kind."""
    network = resolve(network).network
    for population in network.populations:
        _check_cells(population)
    for projection in network.projections:
        _check_projection(projection)
    for given in network.inputs:
        if given.kind != "current":
            raise _refusal(f"input '{given.name}'", "it isn't a current", "make it one, kind='current'")
    return tuple(_part(network, name) for name in _order(network))


def _refusal(what: str, why: str, fix: str) -> UnsupportedError:
    return UnsupportedError("layer by layer", what, f"{why}; {fix}")


def _check_cells(population: Population) -> None:
    scope = population.neuron.scope
    if scope.states or scope.noise or scope.threshold is not None:
        what = scope.states[0] if scope.states else noise_text(scope.noise[0]) if scope.noise else "threshold"
        why = f"its cells have a memory, spikes or noise ('{what}')"
        raise _refusal(f"population '{population.name}'", why, "write what they give as an expression of what they sum")


def _check_projection(p: Projection) -> None:
    scope = p.synapse.scope
    if scope.transmits is None or p.summed != "end" or scope.states or scope.on_pre or scope.on_post or scope.receptor:
        why = "it isn't a graded sum at the end of a step"
        raise _refusal(f"projection '{p.name}'", why, "give its synapse `transmits` alone, and summed='end'")


def _order(network: Network) -> list[str]:
    """Populations, those that send before those that sum; the language allows no loops in sums at the end of a step."""
    waiting, found = [p.name for p in network.populations], list[str]()
    while waiting:
        sources = {p.post for p in network.projections if p.pre in waiting}
        ready = [name for name in waiting if name not in sources]
        found += ready
        waiting = [name for name in waiting if name not in ready]
    return found


def outside(network: Network) -> tuple[Network, tuple[str, ...]]:
    """A network's inputs into populations that only sum them, and those sums, "population.variable". Raises UnsupportedError where there is no input."""
    network = resolve(network).network
    driven = tuple(dict.fromkeys(i.target for i in network.inputs))
    if not driven:
        raise _refusal(f"network '{network.name}'", "nothing reaches it", "give it an input, kind='current'")
    cells = _sums(network, driven)
    name = f"{network.name}, inputs"
    return Network(cells, (), network.inputs, dt=network.dt, seed=network.seed, name=name), driven


def _part(network: Network, name: str) -> Part:
    population = network.population(name)
    leaving = tuple(_alone(network, p) for p in network.projections if p.pre == name)
    sums = tuple(dict.fromkeys(f"{p.post}.{p.synapse.target}" for p in leaving))
    summing, taken = (
        _sums(network, sums),
        {*(p.name for p in network.populations), *(p.name for p in network.projections)},
    )
    own: dict[str, str] = {}
    for v in population.neuron.scope.inputs:
        own[f"{name}.{v}"] = unused(f"into_{v}", {*taken, *own.values()})
    currents = tuple(Input(current, population.size, "current", v) for v, current in own.items())
    whole = Network(
        (population, *summing), leaving, currents, dt=network.dt, seed=network.seed, name=f"{network.name}, {name}"
    )
    return Part(whole, name, own, sums)


def _alone(network: Network, p: Projection) -> Projection:
    """A projection with the same synapses and weights of its own: what it shares them with may lead elsewhere."""
    if not p.shares:
        return p
    holder, connectivity = network.holder(p), p.connectivity
    if not isinstance(connectivity, AllToAll | OneToOne | Pairs):  # drawn by the other one's name
        wires = resolve(network).wires[p.name]
        connectivity = Pairs(wires.pre_index, wires.post_index)
    return replace(
        p, shares="", connectivity=connectivity, weights=holder.weights, sign=holder.sign, bounds=holder.bounds
    )


def _sums(network: Network, names: Sequence[str]) -> tuple[Population, ...]:
    """The populations of these "population.variable", with nothing else."""
    found: dict[str, list[str]] = {}
    for name in names:
        owner, _, variable = name.partition(".")
        found.setdefault(owner, []).append(variable)
    return tuple(_summing(network.population(owner), variables) for owner, variables in found.items())


def _summing(population: Population, names: list[str]) -> Population:
    """Cells that have these inputs and nothing else."""
    dimensions = population.neuron.scope.dimensions
    lines = "\n".join(f"{v} : {dimensions[v]}" for v in names)
    return Population(population.name, Neuron("sums", lines, source="inputs of other cells alone"), population.size)
