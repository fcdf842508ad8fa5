"""Receptors move into the postsynaptic neuron: network with receptors -> equal network without.

A receptor's variables and parameters get the synapse's name as a suffix (`g` of synapse `ampa` becomes `g_ampa`),
or the projection's where two different synapses of one name meet in a cell. An input `I` that receptors add to
becomes the sum `I = I_in + ...`; what drove `I` then drives `I_in`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from neuro.model import Input, Network, Neuron, Population, Projection, Synapse
from neuro.units import Quantity

_CACHE_SIZE = 64


def rename(text: str, names: Mapping[str, str]) -> str:
    """Replace whole identifiers."""
    return re.sub(r"\b[A-Za-z_]\w*\b", lambda m: names.get(m[0], m[0]), text)


@dataclass
class _Merged:
    lines: list[str] = field(default_factory=list)
    added: dict[str, list[str]] = field(default_factory=dict)  # input -> expressions
    parameters: dict[str, Quantity] = field(default_factory=dict)
    initial: dict[str, object] = field(default_factory=dict)
    suffixes: dict[str, str] = field(default_factory=dict)  # projection -> suffix
    synapses: dict[str, Synapse] = field(default_factory=dict)  # suffix -> synapse

    def add(self, projection: Projection, neuron: Neuron) -> None:
        synapse = with_own_parameters(projection)
        suffix = synapse.name if self.synapses.get(synapse.name, synapse) == synapse else projection.name
        self.suffixes[projection.name] = suffix
        if suffix in self.synapses:
            return
        self.synapses[suffix] = synapse
        scope, inputs = synapse.scope, set(neuron.scope.inputs)
        own = {e.name for e in scope.receptor if e.name not in inputs}
        used = scope.receptor_parameters
        names = {n: f"{n}_{suffix}" for n in own | used}
        self.parameters |= {names[n]: synapse.parameters[n] for n in sorted(used)}
        self.initial |= {names[n]: v for n, v in synapse.initial.items() if n in own}
        for equation in scope.receptor:
            if equation.name in inputs and equation.expression is not None:
                self.added.setdefault(equation.name, []).append(rename(equation.expression.text, names))
            else:
                self.lines.append(rename(equation.source.text, names | _state_names(names)))


def with_own_parameters(projection: Projection) -> Synapse:
    """The synapse with what the projection gives for its receptor; one of other values is another receptor."""
    used = projection.synapse.scope.receptor_parameters
    given = {n: v for n, v in projection.parameters.items() if n in used}
    return (
        replace(projection.synapse, parameters={**projection.synapse.parameters, **given})
        if given
        else projection.synapse
    )


def _state_names(names: Mapping[str, str]) -> dict[str, str]:
    """`dg` in `dg/dt` is one identifier to the renamer."""
    return {f"d{old}": f"d{new}" for old, new in names.items()}


def _neuron(neuron: Neuron, merged: _Merged) -> Neuron:
    lines = []
    for equation in neuron.scope.equations:
        if equation.name in merged.added:
            total = " + ".join([f"{equation.name}_in", *(f"({e})" for e in merged.added[equation.name])])
            lines += [f"{equation.name} = {total} : {equation.unit}", f"{equation.name}_in : {equation.unit}"]
        else:
            lines.append(equation.source.text)
    return replace(
        neuron,
        equations="\n".join([*lines, *merged.lines]),
        parameters={**neuron.parameters, **merged.parameters},
        initial={**neuron.initial, **merged.initial},
    )


def _synapse(projection: Projection, merged: _Merged) -> Synapse:
    synapse = projection.synapse
    suffix = merged.suffixes.get(projection.name)
    names = {f"{name}_post": f"{name}_in_post" for name in merged.added}
    if suffix is not None:
        names |= {
            f"{e.name}_post": f"{e.name}_{suffix}_post" for e in synapse.scope.receptor if e.name not in merged.added
        }
    target = f"{synapse.target}_in" if synapse.target in merged.added else synapse.target
    return replace(
        synapse,
        receptor="",
        target=target,
        on_pre=rename(synapse.on_pre, names),
        on_post=rename(synapse.on_post, names),
        every_step=rename(synapse.every_step, names),
        initial={n: v for n, v in synapse.initial.items() if n in synapse.scope.states},
    )


def without_receptors(network: Network) -> Network:
    """The network that backends compile. Cached by identity."""
    if not any(p.synapse.receptor for p in network.projections):
        return network
    return _by_identity(_Key(network))


@dataclass(frozen=True, eq=False)
class _Key:
    """Networks hold dicts and arrays, so they are cached by identity."""

    network: Network

    def __hash__(self) -> int:
        return id(self.network)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.network is self.network


@lru_cache(maxsize=_CACHE_SIZE)
def _by_identity(key: _Key) -> Network:
    network = key.network
    merged = {p.name: _Merged() for p in network.populations}
    neurons = {p.name: p.neuron for p in network.populations}
    for projection in network.projections:
        if projection.synapse.receptor:
            merged[projection.post].add(projection, neurons[projection.post])
    populations: list[Population] = [replace(p, neuron=_neuron(p.neuron, merged[p.name])) for p in network.populations]
    projections = [replace(p, synapse=_synapse(p, merged[p.post])) for p in network.projections]
    inputs: list[Input] = []
    for item in network.inputs:
        population, _, variable = item.target.partition(".")
        moved = item.target and variable in merged[population].added
        inputs.append(replace(item, target=f"{item.target}_in") if moved else item)
    return replace(network, populations=tuple(populations), projections=tuple(projections), inputs=tuple(inputs))
