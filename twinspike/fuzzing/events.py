"""Random networks in which equations of synapses are solved from event to event.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from neuro import ModelError, Network, Neuron
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import Line, blocks, models, with_blocks, with_model


def event_driven(network: Network, dice: Dice) -> Network:
    """With some of its synapses' equations flagged so, where the rules let them be."""
    for model in models(network):
        lines = blocks(model)["equations"]
        places = [n for n, line in enumerate(lines) if line.left.startswith(f"d{line.name}/dt")]
        if isinstance(model, Neuron) or not places or not dice.chance(0.4):
            continue
        chosen = places if dice.chance(0.7) else dice.some(places, 1)
        with suppress(ModelError):  # something reads it at every step
            flagged = [_flagged(line, dice) if n in chosen else line for n, line in enumerate(lines)]
            network = with_model(network, model, with_blocks(model, {"equations": flagged}))
    return network


def _flagged(line: Line, dice: Dice) -> Line:
    """Now and then one that moves towards something else than before."""
    text = (
        f"({line.text}) + {dice.number(0.1, 0.4)}*{dice.choose(('10', '30'))}*Hz"
        if dice.chance(0.3) and line.tail == " : 1"
        else line.text
    )
    return replace(line, text=text, tail=f"{line.tail} (event-driven)")
