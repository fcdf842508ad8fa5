"""What a run of a network can record, and in which units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neuro.caching import per_object
from neuro.compiler.resolve import resolve
from neuro.model import Network


@per_object
def units_of(network: Network) -> dict[str, str]:
    """ "population.variable" and "projection.variable" -> SI unit, of what a run can record."""
    merged = resolve(network).network
    scopes: dict[str, Any] = {p.name: p.neuron.scope for p in merged.populations}
    scopes |= {p.name: p.synapse.scope for p in merged.projections}
    return {
        f"{owner}.{n}": str(dimension) for owner, scope in scopes.items() for n, dimension in scope.dimensions.items()
    }


def units_among(network: Network, names: Iterable[str]) -> dict[str, str]:
    """Those of these names that have one."""
    units = units_of(network)
    return {name: units[name] for name in names if name in units}
