"""Random networks whose graded synapses hear events late: the delay is that of the events, graded values have none.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from dataclasses import replace

from neuro import Network, Projection, Quantity
from twinspike.fuzzing.dice import Dice


def delayed(network: Network, dice: Dice) -> Network:
    """With a delay in about half of the projections that transmit both."""

    def late(item: Projection) -> Projection:
        both = item.synapse.scope.transmits is not None and item.synapse.scope.on_pre
        if not both or not dice.chance(0.5):
            return item
        dt = network.dt
        return replace(item, delay=Quantity(dice.whole(1, 4) * float(dt.value), dt.dimension, dt.unit))

    return replace(network, projections=tuple(map(late, network.projections)))
