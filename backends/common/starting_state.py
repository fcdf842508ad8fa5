"""The state that a run begins with: what belongs into it for a network, and whether what somebody gives is that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backends.common.values import known, named, whole
from neuro.caching import per_object
from neuro.compiler.parameters import initial_state
from neuro.compiler.resolve import counted, remembered, resolve
from neuro.language.foreign import shown
from neuro.model import Network
from neuro.protocols import RunError
from neuro.state import PARTS, State


@dataclass(frozen=True)
class Layout:
    """Shapes of a network's state, by part and name, without the axes of trials. refractory: population -> steps of a whole period."""

    dt: float
    variables: Mapping[str, tuple[int, ...]]
    sums: Mapping[str, tuple[int, ...]]
    refractory: Mapping[str, tuple[int, ...]]
    spikes: Mapping[str, tuple[int, ...]]
    periods: Mapping[str, int]


@per_object
def layout(network: Network) -> Layout:
    """What the state of this network holds."""
    network = resolve(network).network
    variables = {n: v.shape for n, v in initial_state(network).items()}
    sums, past = {}, remembered(network)
    for p in network.projections:
        scope, cells = p.synapse.scope, network.population(p.post)
        if "w" in scope.states:
            variables[f"{p.name}.w"] = resolve(network).wires[p.name].shape
        for statement in scope.statements:
            name = statement.target.removesuffix("_post")
            if statement.target != name and name in cells.neuron.scope.inputs:
                sums[f"{p.post}.{name}"] = (cells.size,)
    periods = {p.name: counted(p.neuron, network.dt) for p in network.populations if p.neuron.threshold}
    periods = {n: steps for n, steps in periods.items() if steps}
    return Layout(
        float(network.dt.value), variables, sums, {n: (network.population(n).size,) for n in periods},
        {n: (steps, network.source_size(n)) for n, steps in past.items() if steps}, periods,
    )  # fmt: skip


def check_state(network: Network, state: Any, batch: int | None, population: int | None) -> State:
    """The state with the axes of this run before all others. Raises RunError naming what doesn't fit.

    A state without an axis for parameter sets serves every set of a population.
    """
    if not isinstance(state, State):
        raise RunError(f"state is {shown(state)}; give the state of a recording: run(state=recording.state, ...)")
    wanted = layout(network)
    if state.dt != wanted.dt:
        raise RunError(f"the state is of a network with dt = {state.dt:g} s; this one's is {wanted.dt:g} s")
    whole("the state's step", state.step, 0)
    whole("the state's trial", state.trial, 0)
    if state.lead[-1:] != (batch if batch is not None else state.lead[-1],):
        raise RunError(f"the state is of {state.lead[-1]} trials; the run has {batch}")
    if len(state.lead) == 2 and state.lead[0] != population:
        raise RunError(f"the state is of {state.lead[0]} parameter sets; the run has {population or 'no such axis'}")
    for part in PARTS:
        for name in getattr(state, part):
            known(name, getattr(wanted, part), f"part of the state's {part}")
        for name, shape in getattr(wanted, part).items():
            if name not in getattr(state, part):
                raise RunError(f"the state has no {part}['{name}'], which network '{network.name or 'unnamed'}' needs")
            found = np.shape(getattr(state, part)[name])
            if found != (*state.lead, *shape):
                raise RunError(f"the state's {part}['{name}'] has the shape {found}; it is {(*state.lead, *shape)}")
    _check_values(state, wanted.periods)
    if population is None or len(state.lead) == 2:
        return state
    return replace(state.each(lambda array: _repeated(array, population)), lead=(population, *state.lead))


def last_spikes(before: State | None, source: str, recent: Any, lead: tuple[int, ...], steps: int) -> Any:
    """A source's spikes in the last steps of a run, bool [*lead, step, neuron]; where the run was shorter, older ones from before it.

    recent: bool [..., step, neuron], those of the run, or its last. before: the state that it began with.
    """
    found = np.zeros((*lead, steps, recent.shape[-1]), np.bool_)
    new = min(steps, recent.shape[-2])
    found[..., steps - new :, :] = recent[..., recent.shape[-2] - new :, :]
    if new < steps and before is not None:
        found[..., : steps - new, :] = before.spikes[source][..., new:, :]
    return found


def refuse_weights(state: State | None, given: Mapping[str, Any] | None) -> None:
    """Raises RunError for plastic weights that somebody gives beside a state, which holds them."""
    for name in named(given, "parameters"):
        if state is not None and name in state.variables:
            raise RunError(
                f"parameters give '{name}', which is part of the state; leave it out, or put it into the state: "
                f"state.with_variables({{'{name}': array}})"
            )


def _repeated(array: Any, population: int) -> Any:
    return (
        array.expand(population, *array.shape)
        if hasattr(array, "expand")
        else np.broadcast_to(array, (population, *np.shape(array)))
    )


def _check_values(state: State, periods: Mapping[str, int]) -> None:
    plain = state.numpy()
    for part in ("variables", "sums"):
        for name, array in getattr(plain, part).items():
            if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
                raise RunError(f"the state's {part}['{name}'] must hold finite SI numbers")
    for name, array in plain.refractory.items():
        if not np.issubdtype(array.dtype, np.integer) or (array < 0).any() or (array > periods[name]).any():
            raise RunError(
                f"the state's refractory['{name}'] must hold whole numbers of steps from 0 to {periods[name]}"
            )
    for name, array in plain.spikes.items():
        if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():  # 0.0 and 1.0 where they hold a graph
            raise RunError(f"the state's spikes['{name}'] must hold booleans")
