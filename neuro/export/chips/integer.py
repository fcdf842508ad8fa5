"""Integer networks: chains of layers whose numbers are whole, and the Network that computes with them.

A target's module gives a Neuron whose statements are the target's arithmetic. Its states are whole numbers below 2^53,
so float64 holds them exactly and every backend that runs the statements in double precision gives the chip's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export import ExportError
from neuro.export.chips.dequantised import Held
from neuro.export.layers import Layer
from neuro.export.names import unused
from neuro.export.profile import Integers, Profile
from neuro.language.units import quantity
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse

IntArray = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]

_ROUNDED = 1e-12

arrival = Synapse("arrival", "w : 1", on_pre="a_post += w")


@dataclass(frozen=True)
class IntegerLayer:
    """One population. feed: weights [pre, post]; loop: [this, this] or None. cells: parameter -> one number per cell.

    whole: these are the network's own numbers, which were whole; see `whole_layer`.
    """

    name: str
    feed: IntArray
    loop: IntArray | None = None
    cells: Mapping[str, IntArray] = field(default_factory=dict)
    whole: bool = False

    @property
    def size(self) -> int:
        return int(self.feed.shape[1])

    @property
    def weights(self) -> IntArray:
        """All weights into the layer [pre and this, this]."""
        return self.feed if self.loop is None else np.vstack([self.feed, self.loop])


@dataclass(frozen=True)
class IntegerChain:
    """source: the spike input. dt: seconds."""

    name: str
    source: str
    layers: tuple[IntegerLayer, ...]
    dt: float

    @property
    def inputs(self) -> int:
        return int(self.layers[0].feed.shape[0])


def scales_of(layers: Sequence[Layer], held: Mapping[str, Held]) -> dict[str, float]:
    """Of "population.v": SI value of a threshold code's 1, on the voltage's scale; the mean over cells."""
    return {
        f"{layer.name}.v": float(np.mean(layer.numbers.gain * layer.numbers.threshold / held[layer.name].threshold))
        for layer in layers
    }


# -- numbers that are whole already -------------------------------------------------------------------------------


def whole_layer(layer: Layer, profile: Profile) -> IntegerLayer | None:
    """A layer that computes in whole numbers as it is, with its own weights and `v_th`; None where it isn't one.

    Such cells have no memory, and whole weights that the profile holds: nothing is left to quantise. Their v is whole, and passes
    a threshold where it passes the whole number below (that number itself, where rounding left the threshold just under it). What
    no sum reaches is as good as the largest sum.
    """
    numbers = layer.numbers
    if numbers.beta.any() or (numbers.alpha is not None and numbers.alpha.any()):
        return None
    own = layer.feed if layer.loop is None else np.vstack([layer.feed, layer.loop])
    ranges = (profile.weight,) if profile.mixed_weight is None or not mixed(own) else profile.mixed_weight
    if all(held is None or outside(own, held).any() for held in ranges):
        return None
    loop = None if layer.loop is None else layer.loop.astype(np.int64)
    found = IntegerLayer(layer.name, layer.feed.astype(np.int64), loop, whole=True)
    threshold = np.floor(np.minimum(numbers.threshold * (1 + _ROUNDED), largest_sum(found)))
    return replace(found, cells={"v_th": threshold.astype(np.int64)})


def threshold_of(codes: IntegerLayer, layer: Layer) -> Array:
    """What the codes of a threshold stand for [cell], where the code 1 of a weight is 1: of whole numbers the layer's own."""
    return layer.numbers.threshold if codes.whole else codes.cells["v_th"].astype(np.float64)


def largest_sum(layer: IntegerLayer) -> IntArray:
    """Bound of |sum of weights| that arrives at each cell in one step, whatever fires."""
    plus, minus = (np.maximum(sign * layer.weights, 0).sum(axis=0) for sign in (1, -1))
    return np.asarray(np.maximum(plus, minus))


# -- as a network -------------------------------------------------------------------------------------------------


def network_of(chain: IntegerChain, neurons: Callable[[IntegerLayer], Neuron]) -> Network:
    """The network of a chain: populations and input keep their names, parameters are the chain's numbers."""
    populations, projections = [], []
    source, taken = chain.source, {chain.source, *(x.name for x in chain.layers)}
    for layer in chain.layers:
        numbers = {n: quantity(v) for n, v in layer.cells.items()}
        populations.append(Population(layer.name, neurons(layer), layer.size, numbers))
        for pre, weights in ((source, layer.feed), (layer.name, layer.loop)):
            if weights is not None:
                name = between(pre, layer.name, taken)
                projections.append(Projection(name, pre, layer.name, arrival, quantity(weights)))
        source = layer.name
    inputs = (Input(chain.source, chain.inputs),)
    return Network(tuple(populations), tuple(projections), inputs, dt=quantity(chain.dt, "s"), name=chain.name)


def between(pre: str, post: str, taken: set[str]) -> str:
    """A legal name for a projection, which is added to those that are taken: "pre_to_post" where that is free."""
    found = unused(f"{pre}_to_{post}", taken)
    taken.add(found)
    return found


# -- limits -------------------------------------------------------------------------------------------------------


def check_chain(layers: Sequence[IntegerLayer]) -> None:
    """Raises ExportError where a layer's arrays don't fit each other, or aren't whole numbers."""
    before: int | None = None
    for layer in layers:
        where = f"population '{layer.name}'"
        arrays = {"feed": layer.feed, **({} if layer.loop is None else {"loop": layer.loop}), **layer.cells}
        for name, values in arrays.items():
            if not np.issubdtype(values.dtype, np.integer):
                raise ExportError(where, name, f"its numbers are {values.dtype}; this format holds integers")
        if layer.feed.ndim != 2 or (before is not None and layer.feed.shape[0] != before):
            raise ExportError(
                where, "feed", f"its shape is {layer.feed.shape}; [{before or 'inputs'}, cells] is needed"
            )
        if layer.loop is not None and layer.loop.shape != (layer.size, layer.size):
            raise ExportError(where, "loop", f"its shape is {layer.loop.shape}; {(layer.size, layer.size)} is needed")
        for name, values in layer.cells.items():
            if values.shape != (layer.size,):
                raise ExportError(where, name, f"its shape is {values.shape}; {(layer.size,)} is needed")
        before = layer.size


def check_range(where: str, field: str, values: Any, allowed: Integers | None) -> None:
    """Raises ExportError naming the first number that isn't allowed."""
    if allowed is None:
        return
    wrong = np.asarray(values)[outside(values, allowed)]
    if wrong.size:
        raise ExportError(where, field, f"{wrong.flat[0]} is none of {allowed}")


def outside(values: Any, allowed: Integers) -> npt.NDArray[np.bool_]:
    """Where values are none of the allowed integers."""
    values = np.asarray(values)
    return np.asarray((values < allowed.low) | (values > allowed.high) | ((values - allowed.low) % allowed.step != 0))


def mixed(weights: Any) -> bool:
    """Both signs occur."""
    return bool(np.min(weights, initial=0) < 0 < np.max(weights, initial=0))
