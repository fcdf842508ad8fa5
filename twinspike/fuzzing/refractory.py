"""Random networks whose cells are refractory as a text says, and read when they last fired.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from neuro import ModelError, Network, Neuron, Population, quantity
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import Line, blocks, models, with_blocks, with_model
from twinspike.fuzzing.expressions import SCALES
from twinspike.fuzzing.names import VARIABLES

_FLAG = "unless refractory"


def refractory(network: Network, dice: Dice) -> Network:
    """With texts in place of some refractory periods, and spike times in equations and synapses; most networks as they are."""
    if not dice.chance(0.25):
        return network
    dt = float(network.dt.value)
    for model in models(network):
        with suppress(ModelError):  # it breaks a rule: it stays as it is
            if isinstance(model, Neuron) and model.threshold and dice.chance(0.8):
                network = _resting(network, model, dice, dt)
            elif not isinstance(model, Neuron) and model.on_pre and dice.chance(0.6):
                network = with_model(network, model, _paced(model, dice))
    return network


def kicked(network: Network, dice: Dice) -> Network:
    """With statements at the start of a step on what refractory cells keep, where cells know of their spikes."""
    for model in models(network):
        kept = [n for n in model.frozen if model.scope.spike_states] if isinstance(model, Neuron) else []
        lines = [line for line in blocks(model)["equations"] if line.name in kept and _unit(line) in SCALES]
        period = f"{dice.whole(1, 6) * float(network.dt.value)!r} second"
        if lines and dice.chance(0.5):
            line = dice.choose(lines)
            text = f"{line.name} += {dice.number(-0.2, 0.4)}*({SCALES[_unit(line)]})"
            with suppress(ModelError):  # two equal periods
                changed = replace(model, regularly={**model.regularly, period: text})
                network = with_model(network, model, changed)
    return network


def _resting(network: Network, neuron: Neuron, dice: Dice, dt: float) -> Network:
    lines = blocks(neuron)["equations"]
    states = [line for line in lines if line.left.startswith("d")]
    found: Any = neuron
    kind = dice.weighted({"parameter": 3, "time": 3, "drawn": 1, "condition": 3, "constant": 2})
    name = next(n for n in VARIABLES if n not in neuron.scope.dimensions)
    if states and dice.chance(0.6):
        found = with_blocks(found, {"equations": _flagged(lines, neuron.method, dice)})
    if kind == "parameter":
        own = {**found.parameters, name: quantity(dice.number(0.5, 5) * dt, "s")}
        found = replace(found, refractory=name, parameters=own)
    elif kind in ("time", "condition") and states:
        state = dice.choose(states)
        level = f"{state.name}/({SCALES[_unit(state)]})"
        time = f"{dice.whole(1, 4)}*dt*(1.03 + tanh({level}))"
        found = replace(found, refractory=time if kind == "time" else f"{level} > {dice.number(-0.3, 0.5)}")
    elif kind == "drawn":
        found = replace(found, refractory="dt + 4*dt*rand()")
    if dice.chance(0.5) or kind == "constant":
        found = _asking(found, dice)
    network = with_model(network, neuron, found)
    if kind == "parameter" and dice.chance(0.6):
        network = replace(network, populations=tuple(_each(p, found, name, dice, dt) for p in network.populations))
    return network


def _flagged(lines: list[Line], method: str, dice: Dice) -> list[Line]:
    """States that a refractory cell keeps: any of them by Euler's methods, all of them by the others."""
    some = method in ("euler", "exponential_euler")
    return [
        replace(line, tail=f"{line.tail.partition(' (')[0]} ({_FLAG})")
        if line.left.startswith("d") and (not some or dice.chance(0.6)) else line
        for line in lines
    ]  # fmt: skip


def _asking(neuron: Neuron, dice: Dice) -> Any:
    """With a text that reads what a cell knows of its spikes."""
    found, since = blocks(neuron), f"(t - lastspike)/({dice.number(3, 9)}*dt)"
    kind = dice.choose(("rate", "factor", "threshold", "reset", "subexpression"))
    places = [n for n, line in enumerate(found["equations"]) if line.left.startswith("d")]
    if kind == "threshold":
        text = found["threshold"][0].text
        return replace(neuron, threshold=f"({text}) and {dice.choose((f'{since} > 0.41', 'not_refractory'))}")
    if kind == "reset" and found["reset"]:
        line = found["reset"][0]
        return with_blocks(
            neuron, {"reset": [replace(line, text=f"({line.text})*(1 - 0.3*exp(-{since}))"), *found["reset"][1:]]}
        )
    if kind == "subexpression" and places:
        line = found["equations"][dice.choose(places)]
        return replace(
            neuron, every_step=f"{neuron.every_step}\n{line.name} *= 1 - 0.1*int(not not_refractory)".strip()
        )
    place = dice.choose(places)
    line = found["equations"][place]
    if kind == "factor" or neuron.method == "exact":
        text = f"({line.text})*(1 - 0.4*int(not_refractory))"
    else:
        text = f"{line.text} + 0.2*({SCALES[_unit(line)]})*exp(-{since})/(8*dt)"
    found["equations"][place] = replace(line, text=text)
    return with_blocks(neuron, {"equations": found["equations"]})


def _paced(synapse: Any, dice: Dice) -> Any:
    """A synapse whose events act by when a cell fired last."""
    lines = blocks(synapse)["on_pre"]
    end = dice.choose(("pre", "post"))
    factor = dice.choose((f"(1 - 0.5*exp(-(t - lastspike_{end})/(6*dt)))", f"(0.5 + 0.5*int(not_refractory_{end}))"))
    place = dice.whole(0, len(lines) - 1)
    lines[place] = replace(lines[place], text=f"({lines[place].text})*{factor}")
    return with_blocks(synapse, {"on_pre": lines})


def _each(population: Population, neuron: Neuron, name: str, dice: Dice, dt: float) -> Population:
    """Cells with refractory periods of their own."""
    if population.neuron is not neuron:
        return population
    times = quantity(dice.random.uniform(0.5, 5, population.size).round(2) * dt, "s")
    return replace(population, parameters={**population.parameters, name: times})


def _unit(line: Line) -> str:
    return line.tail.removeprefix(" : ").partition(" ")[0]
