"""Random networks integrated otherwise: noise that depends on states, implicitly, with couplings at every stage, or not at all.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from neuro import ModelError, Network, Neuron, lower
from neuro.language.scope import STAGED
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import Line, blocks, models, substituted, with_blocks, with_model
from twinspike.fuzzing.expressions import SCALES


def integrated(network: Network, dice: Dice) -> Network:
    """The network, some of it by another integrator."""
    for model in models(network):
        with suppress(ModelError):  # it breaks a rule: it stays as it is
            if isinstance(model, Neuron) and model.scope.white_noise:
                if dice.chance(0.5):
                    network = with_model(network, model, _multiplied(model))
            elif isinstance(model, Neuron) and model.scope.inputs and not model.threshold and dice.chance(0.6):
                units = with_model(network, model, stateless(model))
                lower(units)  # refuses loops
                network = units
            elif model.method in STAGED and dice.chance(0.06):
                network = with_model(network, model, replace(model, method="rosenbrock"))
    return staged(network, dice)


def _multiplied(neuron: Neuron) -> Neuron:
    """Noise that its own state makes stronger."""
    lines = blocks(neuron)["equations"]
    for place, line in enumerate(lines):
        if line.text and line.left.startswith("d"):
            scale = SCALES[_unit(line)]
            table = {xi: f"{xi}*(1 + 0.3*tanh({line.name}/({scale})))" for xi in neuron.scope.white_noise}
            lines[place] = replace(line, text=substituted(line.text, table))
    return with_blocks(neuron, {"equations": lines}, method="heun")  # type: ignore[no-any-return]


def diagonal(network: Network, dice: Dice) -> Network:
    """Half of the cells whose noise is made stronger by a method that takes one noise for each equation."""
    for model in models(network):
        if model.method == "heun" and dice.chance(0.5):
            with suppress(ModelError):  # two of its equations have one noise
                network = with_model(network, model, replace(model, method="milstein"))
    return network


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
        found = replace(found, couplings="stages")
        lower(found)  # refuses loops of cells that are left without states
        return found
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


def stateless(neuron: Neuron) -> Neuron:
    """A unit in place of a cell: its first state follows its inputs at once, the others are gone."""
    lines = blocks(neuron)["equations"]
    inputs = [line for line in lines if line.name in neuron.scope.inputs]
    first, kept = next(line for line in lines if line.left.startswith("d")), list(inputs)
    terms = [f"{line.name}/({SCALES[_unit(line)]})" for line in inputs]
    text = f"({SCALES[_unit(first)]})*tanh(0.3 + {' + '.join(terms)})"
    kept.append(replace(first, left=f"{first.name} = ", text=text, tail=f" : {_unit(first)}"))
    return with_blocks(neuron, {"equations": kept, "every_step": []}, initial={}, method="euler")  # type: ignore[no-any-return]


def _unit(line: Line) -> str:
    return line.tail.removeprefix(" : ").partition(" ")[0]
