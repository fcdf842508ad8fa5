"""Networks that relax to fixed points under held inputs: sources -> additive hidden units <-> additive outputs with a teacher.

An input `x` sets the activities of the sources, which nothing else reaches: they are clamped. An input `target` is what the outputs
should be; it has no effect while output.beta is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.language.units import quantity
from neuro.library.additive import additive
from neuro.model import AllToAll, Input, Network, Neuron, Normal, Population, Projection, Synapse
from neuro.protocols import Batch, Recording

Array = npt.NDArray[np.float64]

source = Neuron("source", "V = s : 1\ns : 1", source="clamped: the activity that the input says")
activity = Synapse("activity", "w : 1", transmits="w*V_pre", target="z", source="Hopfield (1984), PNAS 81:3088")
SHOWN = ("output.V",)


def relaxing_network(
    name: str, inputs: int, hidden: int, outputs: int, *, seed: int, stds: Mapping[str, float]
) -> Network:
    """Time constant 10 ms, steps of 2 ms, biases 0. stds: of the normal weights of `feed` (inputs to hidden), `skip` (inputs to output),
    `loop` (within hidden, no self-connections), `up` and `down` (hidden to output and back); those that aren't named are left out.

    Weights of both directions are drawn one by one: rule 'contrastive' takes their symmetric part, by `attach`.
    """
    ends = {
        "feed": ("inputs", "hidden"),
        "skip": ("inputs", "output"),
        "loop": ("hidden", "hidden"),
        "up": ("hidden", "output"),
        "down": ("output", "hidden"),
    }

    def units(population: str, size: int) -> Population:
        return Population(population, additive, size, parameters={"b": quantity(np.zeros(size), "")})

    def projection(link: str, std: float) -> Projection:
        weights = Normal(quantity(0.0, ""), quantity(std, ""))
        return Projection(link, *ends[link], activity, weights, AllToAll(self_connections=link != "loop"))

    return Network(
        (Population("inputs", source, inputs), units("hidden", hidden), units("output", outputs)),
        tuple(projection(link, std) for link, std in stds.items()),
        (Input("x", inputs, "current", "inputs.s"), Input("target", outputs, "current", "output.d")),
        dt=quantity("2 ms"),
        seed=seed,
        name=name,
    )


def symmetric_stds(units: int, scale: float = 1.5) -> dict[str, float]:
    """Standard deviations so that, of all `units` joined to all, W is the symmetric part of scale*N(0, 1)/sqrt(units).

    Weights from inputs have no other direction with which `attach` would take the mean.
    """
    each = scale / math.sqrt(units)
    return {
        "feed": each / math.sqrt(2),
        "skip": each / math.sqrt(2),
        "loop": each,
        "up": each,
        "down": each,
    }


def held(x: Array, targets: Array, steps: int) -> Batch:
    """A batch whose inputs [batch, input] and targets [batch, output] are held over so many steps."""
    inputs = {n: np.repeat(v[:, None], steps, axis=1) for n, v in (("x", x), ("target", targets))}
    return Batch(inputs, targets)


def settled_error(traces: Mapping[str, Any], targets: Array) -> Any:
    """Half the squared error of the outputs in the last step, summed over them, averaged over trials."""
    import torch

    y = traces[SHOWN[0]][:, -1]
    return 0.5 * ((y - torch.as_tensor(targets).to(y)) ** 2).sum(dim=-1).mean()


def settled_at(targets: Array, steps: int) -> Recording:
    """The recording of a network whose outputs are at their targets [batch, output] all the time."""
    return Recording(2e-3, traces={SHOWN[0]: np.repeat(targets[:, None], steps, axis=1)})


def shown() -> Sequence[str]:
    """What losses of these networks read."""
    return SHOWN
