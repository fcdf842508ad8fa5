"""`i`, `j`, `N`, `N_pre`, `N_post` become parameters under generated names: numbers of cells, one each, and how many there are.

No rule trains them (`neuro.compiler.parameters`). A synapse reads the number of a cell as the cell's own parameter, so that it costs as much as there are cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from neuro.caching import per_object
from neuro.compiler.rewriting import Names, line, merged, merged_synapse, rename, statements
from neuro.language.scope import index_name
from neuro.language.units import Quantity
from neuro.model import Network, Neuron, Population, Projection, Synapse

_ENDS = {"i": "_pre", "j": "_post"}  # of a synapse's indices those that cells hold


def with_indices(network: Network) -> Network:
    """The network whose text reads parameters in their place; itself where no text reads one."""
    read = any(p.neuron.scope.indices for p in network.populations) or any(
        p.synapse.scope.indices for p in network.projections
    )
    return _with_indices(network) if read else network


@per_object
def _with_indices(network: Network) -> Network:
    asked: dict[str, set[str]] = {p.name: set(p.neuron.scope.indices) for p in network.populations}
    for p in network.projections:
        for end in (end for name, end in (("i", p.pre), ("j", p.post)) if name in p.synapse.scope.indices):
            asked[end].add("i")
    return replace(
        network,
        populations=tuple(_population(p, asked[p.name]) for p in network.populations),
        projections=tuple(_projection(network, p) for p in network.projections),
    )


def _population(item: Population, asked: Iterable[str]) -> Population:
    values = {"i": Quantity(np.arange(item.size, dtype=np.float64)), "N": Quantity(float(item.size))}
    values = {index_name(n): values[n] for n in sorted(asked)}
    if not values:
        return item
    neuron = _neuron(item.neuron, {n: index_name(n) for n in item.neuron.scope.indices}, values)
    return replace(item, neuron=neuron, parameters={**item.parameters, **values})


def _neuron(neuron: Neuron, names: Names, values: Mapping[str, Quantity]) -> Neuron:
    scope, own = neuron.scope, dict[str, str]()
    return merged(
        neuron,
        equations="\n".join(line(e, names, own) for e in scope.equations),
        threshold=rename(neuron.threshold, names),
        refractory=rename(neuron.refractory, names) if isinstance(neuron.refractory, str) else neuron.refractory,
        reset=statements(scope.reset, own, names),
        every_step=statements(scope.every_step, own, names),
        regularly={r.text: statements(r.statements, own, names) for r in scope.regularly},
        events={e.name: rename(e.condition.text, names) for e in scope.events},
        on_event={e.name: statements(e.statements, own, names) for e in scope.events if e.statements},
        parameters={**neuron.parameters, **dict.fromkeys(values, Quantity(0.0))},
    )


def _projection(network: Network, item: Projection) -> Projection:
    scope = item.synapse.scope
    names = {n: f"{index_name('i')}{_ENDS[n]}" for n in scope.indices if n in _ENDS}
    sizes = {"N_pre": network.source_size(item.pre), "N_post": network.population(item.post).size}
    counts = {n: Quantity(float(sizes[n])) for n in scope.indices if n in sizes and not _declared(network, item, n)}
    if not names and not counts:
        return item
    return replace(
        item,
        synapse=_synapse(item.synapse, names | {n: index_name(n) for n in counts}, map(index_name, counts)),
        parameters={**item.parameters, **{index_name(n): value for n, value in counts.items()}},
    )


def _declared(network: Network, item: Projection, name: str) -> bool:
    """Whether a cell has a variable of its own of this name."""
    variable, _, end = name.partition("_")
    population = network.parts["population"].get(item.pre if end == "pre" else item.post)
    return population is not None and variable in population.neuron.scope.dimensions


def _synapse(synapse: Synapse, names: Names, counts: Iterable[str]) -> Synapse:
    scope, own = synapse.scope, dict[str, str]()
    return merged_synapse(
        synapse,
        equations="\n".join(line(e, names, own) for e in scope.equations),
        **{b: statements(getattr(scope, b), own, names) for b in ("on_pre", "on_post", "every_step")},
        regularly={r.text: statements(r.statements, own, names) for r in scope.regularly},
        transmits=rename(synapse.transmits, names),
        parameters={**synapse.parameters, **dict.fromkeys(counts, Quantity(0.0))},
    )
