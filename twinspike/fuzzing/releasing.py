"""Random networks whose synapses draw numbers: release by chance, noise of plasticity.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from neuro import ModelError, Network, Synapse, lower
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import Line, blocks, models, with_blocks, with_model

# Factors of what a statement says, about 1. P: a share. C: a number about 1.
_FACTORS = (
    "int(rand() < P)", "(rand() < P)", "(1 + 0.3*randn())", "(0.5 + rand())", "0.5*poisson(2*C)", "(0.7 + 0.1*poisson(C)*rand())",
    "(0.8 + 0.3*(rand() < P) - 0.2*rand())",
)  # fmt: skip
_DRAWING = ("on_pre", "on_post", "every_step")


def releasing(network: Network, dice: Dice) -> Network:
    """With such factors in some statements of synapses; most networks as they are."""
    if not dice.chance(0.25):
        return network
    for model in models(network):
        if isinstance(model, Synapse) and dice.chance(0.7):
            with suppress(ModelError):  # a rule keeps the statement from it
                found = with_model(network, model, _drawing(model, dice))
                lower(found)
                network = found
    return network


def _drawing(synapse: Synapse, dice: Dice) -> Any:
    changed = {
        name: [_times(line, dice) for line in lines]
        for name, lines in blocks(synapse).items()
        if name in _DRAWING or name.startswith("regularly")
    }
    return with_blocks(synapse, changed)


def _times(line: Line, dice: Dice) -> Line:
    if not line.text or not dice.chance(0.6):
        return line
    factor = dice.choose(_FACTORS).replace("P", str(dice.number(0.3, 0.9))).replace("C", str(dice.number(0.5, 1.5)))
    return replace(line, text=f"({line.text})*{factor}")
