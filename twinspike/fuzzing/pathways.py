"""Random networks whose spikes do several things, each after a delay of its own, and where on_post has one.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from neuro import ModelError, Network, Projection, Synapse, quantity
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import blocks, models, with_blocks, with_model

_LABELS = ("up", "down", "third")


def pathways(network: Network, dice: Dice) -> Network:
    """With labels before statements of on_pre, and delays of these and of on_post; most networks as they are."""
    if not dice.chance(0.2):
        return network
    for model in models(network):
        if isinstance(model, Synapse) and model.on_pre and dice.chance(0.7):
            with suppress(ModelError):  # it breaks a rule: it stays as it is
                network = with_model(network, model, _labelled(model, dice))
    with suppress(ModelError):
        return replace(network, projections=tuple(_delayed(p, network, dice) for p in network.projections))
    return network


def _labelled(synapse: Synapse, dice: Dice) -> Any:
    """Some statements are put into one to three pathways, in any order."""
    known = ("", *_LABELS[: dice.whole(1, 3)])
    lines = []
    for line in blocks(synapse)["on_pre"]:
        label = dice.choose(known)
        lines.append(replace(line, left=f"{label}: {line.left}") if label and ": " not in line.left else line)
    return with_blocks(synapse, {"on_pre": lines})


def _delayed(projection: Projection, network: Network, dice: Dice) -> Projection:
    """Up to four steps for each pathway, 0 where nothing is said."""
    scope = projection.synapse.scope
    names = [label for label in scope.pathways if label] + (["post"] if scope.on_post else [])
    steps = {name: dice.whole(0, 4) for name in names if dice.chance(0.8)}
    return replace(projection, delays={n: quantity(k * float(network.dt.value), "s") for n, k in steps.items()})
