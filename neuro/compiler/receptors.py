"""Receptors and the weights of drives move into the cells: network with receptors -> equal network without.

A receptor's variables and parameters get the synapse's name as a suffix (`g` of synapse `ampa` becomes `g_ampa`), or the
projection's where two different synapses of one name meet in a cell. Where that name is taken they get a mangled one, so that
a name of the user's changes nothing. An input `I` that receptors add to becomes the sum of a mangled input and of what they
add; what drove `I` then drives that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from neuro import checks
from neuro.caching import per_object
from neuro.compiler.drives import weight_of
from neuro.compiler.rewriting import line, merged, rename, statements
from neuro.language.mangling import mangled
from neuro.language.units import Quantity
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse


def input_beside_receptors(name: str) -> str:
    """The input that takes what arrives at an input besides the receptors' part."""
    return mangled("in", name)


class _Merged:
    """The receptors of one population: what they add to its neuron, and how their names are called there."""

    def __init__(self, neuron: Neuron) -> None:
        self.neuron = neuron
        self.taken = set(neuron.scope.dimensions)
        self.lines: list[str] = []
        self.added: dict[str, list[str]] = {}  # input -> expressions
        self.parameters: dict[str, Quantity] = {}
        self.initial: dict[str, object] = {}
        self.receptors: dict[str, tuple[Synapse, dict[str, str]]] = {}  # suffix -> synapse, names
        self.suffixes: dict[str, str] = {}  # projection -> suffix

    def add(self, projection: Projection) -> None:
        synapse = with_own_parameters(projection)
        suffix = next((s for s, (known, _) in self.receptors.items() if known == synapse), None)
        if suffix is not None:
            self.suffixes[projection.name] = suffix
            return
        candidates = (synapse.name, projection.name, mangled(synapse.name, projection.name))
        suffix = self.suffixes[projection.name] = next(c for c in candidates if c not in self.receptors)
        scope, inputs = synapse.scope, set(self.neuron.scope.inputs)
        own = {e.name for e in scope.receptor if e.name not in inputs}
        used = scope.receptor_parameters
        names = {n: self._name(n, suffix) for n in sorted(own | used)}
        self.receptors[suffix] = synapse, names
        self.parameters |= {names[n]: synapse.parameters[n] for n in sorted(used)}
        self.initial |= {names[n]: v for n, v in synapse.initial.items() if n in own}
        for equation in scope.receptor:
            if equation.name in inputs and equation.expression is not None:
                self.added.setdefault(equation.name, []).append(rename(equation.expression.text, names))
            else:
                self.lines.append(line(equation, names))

    def _name(self, name: str, suffix: str) -> str:
        readable = f"{name}_{suffix}"
        free = readable not in self.taken and "__" not in readable and not readable.endswith(("_pre", "_post"))
        found = readable if free else mangled(suffix, name)
        self.taken.add(found)
        return found

    def drive(self, item: Input) -> None:
        """A drive's weight is a parameter of the cells."""
        assert item.weight is not None
        self.parameters[weight_of(item.name)] = item.weight

    def merge(self) -> Neuron:
        if not self.receptors and not self.parameters:
            return self.neuron
        lines = []
        for equation in self.neuron.scope.equations:
            if equation.name in self.added:
                beside = input_beside_receptors(equation.name)
                total = " + ".join([beside, *(f"({e})" for e in self.added[equation.name])])
                lines += [f"{equation.name} = {total} : {equation.unit}", f"{beside} : {equation.unit}"]
            else:
                lines.append(equation.source.text)
        return merged(
            self.neuron,
            equations="\n".join([*lines, *self.lines]),
            parameters={**self.neuron.parameters, **self.parameters},
            initial={**self.neuron.initial, **self.initial},
        )

    def synapse(self, projection: Projection) -> Synapse:
        """A projection's synapse without its receptor."""
        synapse = projection.synapse
        names: Mapping[str, str] = {}
        if projection.name in self.suffixes:
            names = self.receptors[self.suffixes[projection.name]][1]
        own = {f"{e.name}_post": f"{names[e.name]}_post" for e in synapse.scope.receptor if e.name in names}
        targets = own | {f"{n}_post": f"{input_beside_receptors(n)}_post" for n in self.added}
        scope = synapse.scope
        blocks: dict[str, Any] = {
            b: statements(getattr(scope, b), targets, own) for b in ("on_pre", "on_post", "every_step")
        }
        blocks["regularly"] = {r.text: statements(r.statements, targets, own) for r in scope.regularly}
        return replace(
            synapse,
            receptor="",
            target=input_beside_receptors(synapse.target) if synapse.target in self.added else synapse.target,
            initial={n: v for n, v in synapse.initial.items() if n in scope.states},
            **blocks,
        )


def with_own_parameters(projection: Projection) -> Synapse:
    """The synapse with what the projection gives for its receptor; one of other values is another receptor."""
    synapse, used = projection.synapse, projection.synapse.scope.receptor_parameters
    given = {n: v for n, v in projection.parameters.items() if n in used}
    return replace(synapse, parameters={**synapse.parameters, **given}) if given else synapse


def without_receptors(network: Network) -> Network:
    """The network that backends compile. Computed once for each network. Raises ModelError where it is none."""
    checks.part(network, "Network", "the network to compile or lower")
    merges = any(p.synapse.receptor for p in network.projections) or any(_comes(i, network) for i in network.inputs)
    return _without(network) if merges else network


def _comes(item: Input, network: Network) -> bool:
    """Whether it is a drive whose weight isn't in the cells yet."""
    name = item.target.partition(".")[0]
    return item.kind == "drive" and weight_of(item.name) not in network.population(name).neuron.parameters


@per_object
def _merged(network: Network) -> Mapping[str, _Merged]:
    """By population."""
    merged = {p.name: _Merged(p.neuron) for p in network.populations}
    for projection in network.projections:
        if projection.synapse.receptor:
            merged[projection.post].add(projection)
    for item in network.inputs:
        if item.kind == "drive":
            merged[item.target.partition(".")[0]].drive(item)
    return merged


def receptor_names(network: Network) -> dict[str, list[tuple[Projection, str]]]:
    """ "population.name" of what receptors bring into the cells -> the projections that have it, and its name in their synapse."""
    found: dict[str, list[tuple[Projection, str]]] = {}
    for p in network.projections:
        if p.synapse.receptor:
            merged = _merged(network)[p.post]
            for name, own in merged.receptors[merged.suffixes[p.name]][1].items():
                found.setdefault(f"{p.post}.{own}", []).append((p, name))
    return found


@per_object
def _without(network: Network) -> Network:
    merged = _merged(network)
    populations: list[Population] = [replace(p, neuron=merged[p.name].merge()) for p in network.populations]
    for item in (i for i in network.inputs if i.kind == "drive"):
        name, _, variable = item.target.partition(".")
        states = next(p for p in populations if p.name == name).neuron.scope.states
        if variable not in states:  # what a receptor's states are called is known now
            checks.unknown_name(variable, states, "state", f"input '{item.name}', target '{item.target}'")
    projections = [replace(p, synapse=merged[p.post].synapse(p)) for p in network.projections]
    inputs: list[Input] = []
    for item in network.inputs:
        population, _, variable = item.target.partition(".")
        moved = item.kind == "current" and variable in merged[population].added
        inputs.append(replace(item, target=f"{population}.{input_beside_receptors(variable)}") if moved else item)
    return replace(network, populations=tuple(populations), projections=tuple(projections), inputs=tuple(inputs))
