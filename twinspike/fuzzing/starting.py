"""Random networks whose cells and synapses change at the start of every n-th step.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from neuro import ModelError, Network, Neuron, Population, Projection
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.expressions import SCALES
from twinspike.fuzzing.names import VARIABLES, Names

_STEPS = (1, 2, 3, 5, 7)  # of a period


def starting(network: Network, dice: Dice) -> Network:
    """With statements at the start of a step in a population or a projection or two; in most cases as it is."""
    if not dice.chance(0.25):
        return network
    for _ in range(dice.weighted({1: 3, 2: 2})):
        with suppress(ModelError):  # what shares its weights has none that change
            network = _synapses(network, dice) if network.projections and dice.chance(0.4) else _cells(network, dice)
    return network


def _cells(network: Network, dice: Dice) -> Network:
    chosen: Population = dice.choose(network.populations)
    neuron: Neuron = chosen.neuron
    scope = neuron.scope
    names = Names(dice, tuple(n for n in VARIABLES if n not in scope.dimensions))
    name, held = names.new(), names.new()
    free = [
        (e.name, SCALES[e.unit])
        for e in scope.equations
        if e.unit in SCALES and e.name in scope.states and e.name not in neuron.frozen
    ]
    lines = [f"{name} = 0.5*{name} + {dice.number(-0.5, 0.5)}", f"{name} += {dice.number(0.05, 0.3)}*(rand() - 0.5)"]
    lines += [f"{name} = sin(t/ms)*{dice.number(0.1, 1)}", f"{name} = {dice.number(0.1, 0.5)}*randn()"]
    lines += [
        f"{name} = 0.1*poisson({dice.number(0.5, 8)})",
        f"{name} += 0.05*poisson({dice.number(0.5, 5)}*abs({name})) - 0.1",
    ]
    for state, scale in free:
        lines.append(f"{name} = 0.6*{name} + 0.4*tanh({state}/({scale}))")
        lines.append(f"{state} = clip({state} + {dice.number(-0.3, 0.3)}*{scale}*tanh({name}), -3*{scale}, 3*{scale})")
    chosen_lines, more = [*dice.some(lines, dice.whole(1, 3)), f"{name} = clip({name}, -2, 2)"], f"{name} : 1"
    if dice.chance(0.5):
        read = [f"{name}", "cos(t/ms)", *(f"tanh({state}/({scale}))" for state, scale in free)]
        drawn = dice.choose(("", f" + {dice.number(0.1, 0.3)}*randn()", f" - {dice.number(0.1, 0.5)}*rand()"))
        more += f"\n{held} = {dice.number(-0.9, 0.9)}*{dice.choose(read)}{drawn} : 1 (constant over dt)"
        chosen_lines.append(f"{name} += 0.3*{held}")
    blocks = _blocks(network, dice, chosen_lines)
    changed = replace(neuron, equations=f"{neuron.equations}\n{more}", regularly=blocks)
    return replace(
        network, populations=tuple(replace(p, neuron=changed) if p is chosen else p for p in network.populations)
    )


def _synapses(network: Network, dice: Dice) -> Network:
    chosen: Projection = dice.choose(network.projections)
    synapse, post = chosen.synapse, network.population(chosen.post).neuron
    scope = synapse.scope
    read = [
        f"tanh({e.name}_post/({SCALES[e.unit]}))"
        for e in post.scope.equations
        if e.unit in SCALES and e.name in post.scope.states
    ]
    target = dice.choose([f"{dice.number(-0.3, 0.6)}", *read])
    held, equations = Names(dice, tuple(n for n in VARIABLES if n not in scope.dimensions)).new(), synapse.equations
    if dice.chance(0.4):
        equations, target = f"{equations}\n{held} = 0.9*{target} : 1 (constant over dt)", f"({target} - {held})"
    declared = {e.name for e in scope.equations if e.kind != "held"} - {"w"}
    lines = [
        f"{n} = 0.8*{n} + 0.2*{target}" for n in scope.states if n in declared and scope.dimensions[n].dimensionless
    ]
    lines += [f"w = {dice.number(0.8, 0.99)}*w"] if scope.has_weight and (scope.plastic or not lines) else []
    changed = replace(synapse, equations=equations, regularly=_blocks(network, dice, lines)) if lines else synapse
    return replace(
        network, projections=tuple(replace(p, synapse=changed) if p is chosen else p for p in network.projections)
    )


def _blocks(network: Network, dice: Dice, lines: list[str]) -> dict[str, str]:
    """Lines under one period, or under two."""
    periods = dice.some(_STEPS, dice.weighted({1: 2, 2: 1}))
    texts = [f"{steps * float(network.dt.value)!r} s" for steps in periods]
    parts = [lines] if len(texts) == 1 else [lines[::2], lines[1::2]]
    return {text: "\n".join(part) for text, part in zip(texts, parts, strict=True) if part}
