"""Random networks with Poisson drives.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neuro import Input, Network, Population, quantity
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.names import POPULATIONS, VARIABLES, Names

_SCALES = {"1": 1.0, "volt": 0.01, "amp": 1e-9, "siemens": 1e-8, "hertz": 100.0}  # of states, SI
_MEANS = (0.02, 0.4, 1.3, 1.3, 6.0, 400.0)  # events a step


def driven(network: Network, dice: Dice) -> Network:
    """With a drive or two into states of its cells; in most cases as it is."""
    targets = [
        (p, e.name) for p in network.populations for e in p.neuron.scope.equations
        if e.name in p.neuron.scope.states and e.unit in _SCALES
    ]  # fmt: skip
    parts: tuple[Any, ...] = (*network.populations, *network.projections, *network.inputs)
    taken = {part.name for part in parts}
    names = Names(dice, tuple(n for n in dict.fromkeys((*POPULATIONS, *VARIABLES)) if n not in taken))
    if not targets or not dice.chance(0.25):
        return network
    chosen = [dice.choose(targets) for _ in range(dice.weighted({1: 3, 2: 1}))]
    drives = tuple(_drive(dice, names.new(), p, v, float(network.dt.value)) for p, v in chosen)
    drives = tuple(_by_law(dice, i, float(network.dt.value)) for i in drives)
    return replace(network, inputs=(*network.inputs, *drives))


def _by_law(dice: Dice, item: Input, dt: float) -> Input:
    """Now and then with as many sources as the binomial law needs."""
    if not dice.chance(0.4):
        return item
    mean = np.asarray(item.rate.value) * item.sources * dt  # type: ignore[union-attr]
    sources = max(item.sources, int(np.ceil(mean.max(initial=0))) + dice.whole(0, 3), 1)
    return replace(item, law="binomial", sources=sources, rate=quantity(mean / sources / dt, "Hz"))


def _drive(dice: Dice, name: str, population: Population, variable: str, dt: float) -> Input:
    """One that moves a state by a part of its scale in a step."""
    unit = next(e.unit for e in population.neuron.scope.equations if e.name == variable)
    mean, sources = dice.choose(_MEANS), dice.choose((1, 1, 7, 100))

    def each(value: float) -> Any:
        return value if dice.chance(0.6) else value * dice.random.uniform(0.0, 1.5, population.size).round(2)

    weight = each(0.2 * _SCALES[unit] / max(mean, 1.0) * dice.number(0.0 if unit == "siemens" else -0.3, 1.0))
    return Input(
        name, population.size, "drive", f"{population.name}.{variable}", sources=sources,
        rate=quantity(each(mean / sources / dt), "Hz"), weight=quantity(weight, unit),
    )  # fmt: skip
