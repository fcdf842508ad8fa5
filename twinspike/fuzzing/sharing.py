"""Random networks in which projections share weights, and parts are frozen.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from neuro import ModelError, Network, Population, Projection, quantity
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.names import POPULATIONS, VARIABLES, Names


def shared(network: Network, dice: Dice) -> Network:
    """With a projection or two that have another's weights, and frozen parts; in most cases as it is."""
    parts: tuple[Any, ...] = (*network.populations, *network.projections, *network.inputs)
    taken = {part.name for part in parts}
    names = Names(dice, tuple(n for n in dict.fromkeys((*POPULATIONS, *VARIABLES)) if n not in taken))
    if dice.chance(0.25):
        for _ in range(dice.weighted({1: 3, 2: 1})):
            with suppress(ModelError):  # its ends may be others that don't fit
                network = _with_another(network, dice, names)
    return _frozen(network, dice) if dice.chance(0.15) else network


def _with_another(network: Network, dice: Dice, names: Names) -> Network:
    """With one more projection of the same weights, between the same cells or such as are like them."""
    known = [p for p in network.projections if p.weights is not None and not p.synapse.scope.plastic]
    if not known:
        return network
    holder = dice.choose(known)
    pre, post = (_alike(network, end, dice) for end in (holder.pre, holder.post))
    delay = holder.delay
    if holder.synapse.scope.on_pre and dice.chance(0.5):
        delay = quantity(dice.whole(0, 4) * float(network.dt.value), "s")
    again = replace(
        holder, name=names.new(), pre=pre, post=post, weights=None, sign=None, bounds=(None, None), shares=holder.name,
        delay=delay,
    )  # fmt: skip
    place = dice.whole(0, len(network.projections))
    projections = list[Projection](network.projections)
    projections.insert(place, again)
    return replace(network, projections=tuple(projections))


def _alike(network: Network, name: str, dice: Dice) -> str:
    """A population of the same neuron and size, or an input of the same kind and size."""
    own: Any = network.parts["population or input"][name]

    def fits(other: Any) -> bool:
        if isinstance(own, Population):
            return isinstance(other, Population) and (other.neuron, other.size) == (own.neuron, own.size)
        return not isinstance(other, Population) and (other.kind, other.size) == (own.kind, own.size)

    found: str = dice.choose([n for n, p in network.parts["population or input"].items() if fits(p)])
    return found


def _frozen(network: Network, dice: Dice) -> Network:
    """With frozen populations and projections; those with the same weights together."""
    kept = {n: dice.chance(0.5) for kind in ("population", "projection") for n in network.parts[kind]}
    populations = tuple(replace(p, frozen=kept[p.name]) for p in network.populations)
    projections = tuple(replace(p, frozen=kept[p.shares or p.name]) for p in network.projections)
    return replace(network, populations=populations, projections=projections)
