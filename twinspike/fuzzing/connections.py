"""Random networks whose synapses are drawn otherwise: fixed numbers of them, delays and weights from other distributions.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from neuro import (
    Distance,
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    Gamma,
    LogNormal,
    ModelError,
    Network,
    Normal,
    Projection,
    quantity,
)
from neuro.compiler.parameters import parameters
from neuro.language.units import Quantity
from neuro.model import Connectivity
from twinspike.fuzzing.dice import Dice


def connected(network: Network, dice: Dice) -> Network:
    """Some of the projections with fixed numbers of synapses, weights and delays that are drawn."""
    network = _placed(network, dice) if dice.chance(0.4) else network
    for n, p in enumerate(network.projections):
        if not dice.chance(0.35):
            continue
        with suppress(ModelError):  # it breaks a rule: it stays as it is
            made = _rewired(network, p, dice) if dice.chance(0.7) else _redrawn(p, dice)
            others = network.projections
            found = replace(network, projections=(*others[:n], made, *others[n + 1 :]))
            parameters(found)  # what is drawn keeps its bounds
            network = found
    return network


def _placed(network: Network, dice: Dice) -> Network:
    """The cells in a space of one to three axes."""
    axes, unit = dice.whole(1, 3), dice.choose(("1", "um"))
    populations = tuple(
        replace(p, positions=quantity(dice.random.uniform(-1, 2, (p.size, axes)).round(3), unit))
        for p in network.populations
    )
    return replace(network, populations=populations)


def _rewired(network: Network, p: Projection, dice: Dice) -> Projection:
    """Other synapses. Values that were given one by one become one, or are drawn."""
    ends = [network.parts["population or input"][end] for end in (p.pre, p.post)]
    places = [getattr(end, "positions", None) for end in ends]
    connectivity = _fixed(network, p, dice) if None in places or dice.chance(0.3) else _near(p, places[0], dice)
    tables: dict[str, Any] = {t: {k: _one(v) for k, v in getattr(p, t).items()} for t in ("parameters", "initial")}
    weights = p.weights
    if weights is not None and (not isinstance(weights, Quantity) or weights.shape):
        weights = around(weights, dice, p.sign)
    bare = replace(p, connectivity=connectivity, weights=weights, delay=_one(p.delay), **tables)
    return _redrawn(bare, dice) if dice.chance(0.5) else bare


def _fixed(network: Network, p: Projection, dice: Dice) -> Connectivity:
    pre, post = network.source_size(p.pre), network.population(p.post).size
    loops = not (p.pre == p.post and dice.chance(0.5))
    itself, multapses = p.pre == p.post and not loops, dice.chance(0.6)
    kind: Any = dice.choose((FixedTotal, FixedInDegree, FixedOutDegree))
    most = {FixedTotal: pre * (post - itself), FixedInDegree: pre - itself, FixedOutDegree: post - itself}[kind]
    count = dice.whole(0, 3 * most if multapses else most)
    found: Connectivity = kind(min(count, 12), multapses, loops)
    return found


def _near(p: Projection, places: Any, dice: Dice) -> Connectivity:
    scale = "1" if places.unit == "1" else "(1*umetre)"
    profile = dice.choose(("0.9*exp(-d/S)", "1.5*exp(-(d/S)**2)", "int(d < 1.2*S)", "clip(1 - d/(2*S), 0, 1)")).replace(
        "S", scale
    )
    cutoff = quantity(dice.number(0.8, 2.5), places.unit) if dice.chance(0.5) else None
    periods = {
        "none": None, "one": quantity(3.0, places.unit), "each": quantity(dice.random.choice([2.5, np.inf], places.shape[1]), places.unit)
    }  # fmt: skip
    return Distance(profile, cutoff, periods[dice.choose(tuple(periods))], not (p.pre == p.post and dice.chance(0.5)))


def _redrawn(p: Projection, dice: Dice) -> Projection:
    """Weights, delays and plastic parameters from a distribution."""
    fields: dict[str, Any] = {}
    if p.weights is not None and dice.chance(0.6):
        fields["weights"] = around(p.weights, dice, p.sign)
    if p.synapse.scope.on_pre and not p.synapse.transmits and dice.chance(0.7):
        fields["delay"] = around(quantity(dice.number(0.5, 3), "ms"), dice, "+")
    scope, known = p.synapse.scope, {**p.synapse.parameters, **p.parameters}
    own = [n for n in scope.parameters if n not in scope.receptor_parameters and dice.chance(0.3)]
    fields["parameters"] = {**p.parameters, **{n: _near_one(known[n], dice) for n in own}}
    return replace(p, **fields)


def _near_one(value: Any, dice: Dice) -> Any:
    """A plastic parameter that varies a little; any other than a positive number as it is."""
    if not isinstance(value, Quantity) or value.shape or not value.value > 0:
        return value
    spread = Quantity(0.1 * float(value.value), value.dimension, value.unit)
    return dice.choose((Gamma, LogNormal))(
        value, spread, high=Quantity(3 * float(value.value), value.dimension, value.unit)
    )


def _one(value: Any) -> Any:
    if isinstance(value, Quantity) and value.shape:
        return Quantity(float(np.ravel(value.value)[0]) if np.size(value.value) else 0.0, value.dimension, value.unit)
    return value


def around(value: Any, dice: Dice, sign: str | None) -> Any:
    """A distribution about as large as the value."""
    first = value if isinstance(value, Quantity) else next(iter(vars(value).values()))
    size = abs(float(np.mean(np.abs(first.value)))) if np.size(first.value) else 0.0

    def amount(factor: float) -> Quantity:
        return Quantity(factor * size, first.dimension, first.unit)

    if sign == "-":
        return Normal(amount(-1), amount(0.6), amount(-1.5), amount(0))
    kinds: dict[str, Any] = {
        "clip": lambda: Normal(amount(1), amount(0.8), amount(0), amount(1.4)),
        "above": lambda: Normal(amount(1), amount(0.8), low=amount(0.25)),
        "redraw": lambda: Normal(amount(1), amount(0.8), amount(0.2), amount(1.4), "redraw"),
        "lognormal": lambda: LogNormal(amount(1), amount(0.5), high=amount(1.5)),
        "gamma": lambda: Gamma(amount(1), amount(0.7), high=amount(1.5)),
        "lognormal again": lambda: LogNormal(amount(1), amount(0.5), amount(0.3), amount(1.5), "redraw"),
        "gamma again": lambda: Gamma(amount(1), amount(0.7), amount(0.3), amount(1.5), "redraw"),
    }
    return kinds[dice.choose(tuple(kinds))]()
