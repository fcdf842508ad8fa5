"""Random networks that integer targets and NIR hold: chains of (recurrent) leaky layers."""

from __future__ import annotations

from typing import Any

from neuro import AllToAll, Input, Network, Neuron, Population, Projection, library, quantity
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.names import Names


def chain(dice: Dice, names: Names, seed: int) -> Network:
    """One input, one or two layers, each perhaps recurrent."""
    currents = dice.chance(0.5)
    neuron = library.get("cuba_lif" if currents else "lif")
    synapse = library.get("current_jump" if currents else "pulse")
    if dice.chance(0.4):
        neuron = _subtracting(neuron)
    source = Input(names.new(), dice.whole(2, 6))
    populations: list[Population] = []
    projections: list[Projection] = []
    before: Any = source
    for _ in range(dice.whole(1, 2)):
        tau = f"{dice.number(3, 20)!r} ms"
        cells = Population(names.new(), neuron, dice.whole(1, 6), {"tau_m": tau})
        pairs = [(before, cells), *([(cells, cells)] if dice.chance(0.4) else [])]
        for pre, post in pairs:
            low, high = (0.2, 2.5) if pre is not post else (-1, 0.5)
            weights = quantity(dice.random.uniform(low, high, (pre.size, post.size)).round(3), "nA")
            projections.append(Projection(names.new(), pre.name, post.name, synapse, weights, AllToAll()))
        populations.append(cells)
        before = cells
    return Network(tuple(populations), tuple(projections), (source,), dt="1 ms", seed=seed, name=f"chain_{seed}")


def _subtracting(neuron: Neuron) -> Neuron:
    from dataclasses import replace

    return replace(neuron, name=f"{neuron.name}_s", reset="v -= v_th - E_L")
