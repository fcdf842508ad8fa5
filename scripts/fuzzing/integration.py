"""Random networks integrated otherwise: noise that depends on states, implicitly, or with couplings at every stage.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from fuzzing.dice import Dice
from fuzzing.editing import blocks, models, substituted, with_blocks, with_model
from fuzzing.expressions import SCALES
from neuro import ModelError, Network, Neuron
from neuro.language.scope import STAGED


def integrated(network: Network, dice: Dice) -> Network:
    """The network, some of it by another integrator."""
    for model in models(network):
        with suppress(ModelError):  # it breaks a rule: it stays as it is
            if isinstance(model, Neuron) and model.scope.noise:
                if dice.chance(0.5):
                    network = with_model(network, model, _multiplied(model))
            elif model.method in STAGED and dice.chance(0.06):
                network = with_model(network, model, replace(model, method="rosenbrock"))
    return staged(network, dice)


def _multiplied(neuron: Neuron) -> Neuron:
    """Noise that its own state makes stronger."""
    lines = blocks(neuron)["equations"]
    for place, line in enumerate(lines):
        unit = line.tail.removeprefix(" : ").partition(" ")[0]
        if line.text and line.left.startswith("d") and unit in SCALES:
            table = {xi: f"{xi}*(1 + 0.3*tanh({line.name}/({SCALES[unit]})))" for xi in neuron.scope.noise}
            lines[place] = replace(line, text=substituted(line.text, table))
    return with_blocks(neuron, {"equations": lines}, method="heun")  # type: ignore[no-any-return]


def staged(network: Network, dice: Dice) -> Network:
    """Half of the networks with graded synapses whose cells can be integrated together; any other as it is."""
    graded = [p for p in network.projections if p.synapse.scope.transmits is not None]
    if not graded or not dice.chance(0.5):
        return network
    plain, method = dice.chance(0.5), dice.choose(STAGED)
    with suppress(ModelError):
        found = continuous(network) if plain else network
        joined = {end for p in graded for end in (p.pre, p.post)}
        neurons = {id(p.neuron): p.neuron for p in found.populations if p.name in joined}
        for neuron in neurons.values():
            unfrozen = replace(neuron, method=method, equations=neuron.equations.replace("(unless refractory)", ""))
            found = with_model(found, neuron, unfrozen)
        return replace(found, couplings="stages")
    return network


def continuous(network: Network) -> Network:
    """Only differential equations, graded synapses and currents: what one system of equations says whole."""
    projections = tuple(p for p in network.projections if p.synapse.scope.transmits is not None)
    inputs = tuple(i for i in network.inputs if i.kind == "current")
    found = replace(network, projections=projections, inputs=inputs)
    for neuron in models(found):
        if isinstance(neuron, Neuron):
            states = {e.name for e in neuron.scope.of_kind("differential")}
            initial = {n: v for n, v in neuron.initial.items() if n in states}
            found = with_model(
                found,
                neuron,
                replace(neuron, threshold="", reset="", every_step="", refractory="0 ms", initial=initial),
            )
    return found
