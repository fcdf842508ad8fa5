"""Random networks in which synapses are integrated after cells, and follow what these have become.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from neuro import ModelError, Network, Projection, Synapse
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import Line, blocks, with_blocks
from twinspike.fuzzing.modulation import accepted, bounded


def following(network: Network, dice: Dice) -> Network:
    """With some of its synapses integrated at the end of a step."""
    for number, projection in enumerate(network.projections):
        if moving(projection.synapse) and dice.chance(0.4):
            changed = list(network.projections)
            changed[number] = _late(network, projection, dice)
            network = accepted(network, {"projections": tuple(changed)})
    return network


def moving(synapse: Synapse) -> list[str]:
    """Variables that are integrated in each step."""
    return [e.name for e in synapse.scope.of_kind("differential") if e not in synapse.scope.event_driven]


def _late(network: Network, projection: Projection, dice: Dice) -> Projection:
    """Most follow a state of one of their cells; where that breaks a rule, they are late alone."""
    ends: dict[str, Any] = {"_post": projection.post, "_pre": projection.pre}
    neurons = {p.name: p.neuron for p in network.populations}
    suffix = dice.choose([s for s, name in ends.items() if name in neurons])
    pull = f"{dice.number(0.05, 0.4)}*{bounded(dice, neurons[ends[suffix]], suffix)}"
    synapse = projection.synapse
    lines = [_pulled(line, moving(synapse), pull) for line in blocks(synapse)["equations"]]
    method = synapse.method if dice.chance(0.5) else "euler"
    if dice.chance(0.8):
        with suppress(ModelError):
            synapse = with_blocks(synapse, {"equations": lines}, method=method)
            return replace(projection, synapse=synapse, integrated="end")
    return replace(projection, integrated="end")


def _pulled(line: Line, names: list[str], pull: str) -> Line:
    if line.name not in names or not line.left.startswith("d") or " : 1" not in line.tail:
        return line
    return replace(line, text=f"{line.text} + {pull}/(5*ms)")
