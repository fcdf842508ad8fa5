"""Equations that Brian2 solves from event to event: its formula divides by their rate, and says nothing where that is 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.exact import DegenerateError
from backends.brian.names import Names
from backends.brian.plan import pairs
from neuro.compiler.evaluation import evaluate
from neuro.compiler.integrators import matrix_of
from neuro.compiler.resolve import resolve
from neuro.model import Network, Projection

Array = npt.NDArray[Any]
Columns = Mapping[str, Mapping[str, Array]]

_SLOWEST = 1e-6  # of a rate, in 1/dt: below it the formula has lost ten digits


def check_rates(names: Names, columns: Columns) -> None:
    """columns: initial values and parameters by owner and Brian2's name. Raises DegenerateError where a formula is wrong with these."""
    network = names.network
    for projection in network.projections:
        for name, rate in _divisors(network, projection):
            where, scope = f"projection '{projection.name}', d{name}/dt", projection.synapse.scope
            moving = sorted({s.name for s in rate.free_symbols} & set(scope.states))
            if moving:
                raise DegenerateError(
                    f"the rate depends on {moving[0]}, which changes during a run, and its formula divides by it", where
                )
            found = np.abs(evaluate(rate, lambda n, p=projection: _of_synapses(names, p, n, columns)))  # type: ignore[misc]
            if not np.all(found * float(network.dt.value) > _SLOWEST):
                raise DegenerateError(f"its formula divides by the rate, which is {np.min(found):g}/s", where)


def _divisors(network: Network, projection: Projection) -> Iterator[tuple[str, Any]]:
    """Variables whose equations have a constant, and their rates."""
    system = resolve(network).synapses[projection.name].events
    matrix, constants = matrix_of(system)
    for name in system.states:
        if constants[name] != 0 and (name, name) in matrix:
            yield name, matrix[name, name]


def _of_synapses(names: Names, projection: Projection, name: str, columns: Columns) -> Array:
    """A parameter of the projection or of its cells, for every synapse, trial after trial."""
    network = names.network
    pre, post, _ = pairs(network, projection)
    for owner, suffix, cells in ((projection.pre, "_pre", pre), (projection.post, "_post", post)):
        if name.endswith(suffix):
            held = columns[owner][names[owner][name.removesuffix(suffix)]]
            return held.reshape(-1, network.population(owner).size)[:, cells].ravel()
    return columns[projection.name][names[projection.name][name]]
