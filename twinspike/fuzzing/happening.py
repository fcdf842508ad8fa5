"""Random networks whose cells have events of their own beside their spikes.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from neuro import ModelError, Network, Neuron, Synapse, lower
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import blocks, models, with_blocks, with_model
from twinspike.fuzzing.expressions import SCALES
from twinspike.fuzzing.names import VARIABLES, Names


def happening(network: Network, dice: Dice) -> Network:
    """With events in some of its neurons, which some of its synapses read; most networks as they are."""
    if not dice.chance(0.22):
        return network
    for model in models(network):
        if isinstance(model, Neuron) and dice.chance(0.7):
            network = _changed(network, model, _eventful(model, dice))
    for model in models(network):
        if isinstance(model, Synapse) and dice.chance(0.4):
            network = _changed(network, model, _reading(network, model, dice))
    return network


def _changed(network: Network, model: Any, new: Any) -> Network:
    with suppress(ModelError):  # a rule keeps it from this
        found = with_model(network, model, new())
        lower(found)
        return found
    return network


def _eventful(neuron: Neuron, dice: Dice) -> Any:
    """One to three events over the cells' variables, most of them with statements."""
    scope = neuron.scope
    names = Names(dice, tuple(n for n in VARIABLES if n not in scope.dimensions))
    sizes = {e.name: SCALES[e.unit] for e in scope.equations if e.unit in SCALES and e.unit != "second"}
    read = [f"{n}/({size})" for n, size in sizes.items() if n not in scope.parameters] + ["sin(t/ms)"]
    kept = [n for n in sizes if n in scope.states and n not in scope.formed]
    counter, more = names.new(), list[str]()
    events, on_event = dict[str, str](), dict[str, str]()
    for _ in range(dice.weighted({1: 3, 2: 2, 3: 1})):
        name = names.new()
        first = f"{dice.choose(read)} {dice.choose(('>', '<', '>='))} {dice.number(-0.5, 0.8)}{dice.choose(('', '', ' + 0.3*rand()'))}"
        second = f"{dice.choose(read)} > {dice.number(-0.8, 0.3)}" + (
            " and not_refractory" if neuron.threshold and dice.chance(0.3) else ""
        )
        events[name] = dice.choose((first, first, f"{first} and {second}", f"{second} or {first}", f"not ({first})"))
        lines = [
            f"{counter} += {dice.number(0.1, 0.6)}",
            f"{counter} = 0.5*{counter} - 0.2*rand()",
            f"{counter} *= 0.7",
        ]
        for state in kept:
            size = sizes[state]
            lines.append(f"{state} = 0.6*{state} + {dice.number(-0.3, 0.3)}*{size}*tanh({counter})")
            lines.append(f"{state} = clip({state} + {dice.number(-0.2, 0.2)}*{size}, -3*{size}, 3*{size})")
        chosen = dice.some(lines, dice.weighted({0: 1, 1: 3, 2: 2, 3: 1}))
        if chosen:
            on_event[name] = "\n".join([*chosen, f"{counter} = clip({counter}, -2, 2)"])
        if dice.chance(0.3):
            more.append(f"{counter} = 0.9*{counter} + 0.2*{name}")
    equations = f"{neuron.equations}\n{counter} : 1"
    every = "\n".join([x for x in (neuron.every_step, *more) if x] or [f"{counter} *= 0.95"])
    return lambda: replace(neuron, equations=equations, every_step=every, events=events, on_event=on_event)


def _reading(network: Network, synapse: Synapse, dice: Dice) -> Any:
    """One of its statements times what follows an event of the cells that hear it."""
    ends = [network.population(p.post).neuron for p in network.projections if p.synapse is synapse]
    known = sorted({f"{name}_post" for neuron in ends for name in neuron.events})
    lines = blocks(synapse)["on_pre"]
    if not known or not lines:
        return lambda: synapse
    place = dice.whole(0, len(lines) - 1)
    lines[place] = replace(lines[place], text=f"({lines[place].text})*(0.5 + {dice.choose(known)})")
    return lambda: with_blocks(synapse, {"on_pre": lines})
