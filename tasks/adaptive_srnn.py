"""Adaptive spiking recurrent networks: time constants of membrane and threshold are trained, one of each for every cell.

Steps are the unit of time. In step t, with what was sent in step t-1 (I, its own spike s among it): b = r b + (1 - r) s, theta = b0 + beta b,
u = a u + (1 - a) I - theta s, and a spike where u >= theta; a = exp(-1/tau_m), r = exp(-1/tau_adp). The reset takes away the threshold of this step.
Source: Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905. There a layer's spikes reach the next one within the step; here
each layer answers one step after the one before it, so that targets are shifted by as many (`lag`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuro.compiler import streams
from neuro.language.units import quantity
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse
from neuro.options import OptionError, one_of
from neuro.protocols import Array
from tasks.self_modifying import given

SOURCE = "Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905"
SHORTEST = 0.1  # steps: the least time constant that training can reach
CONSTANTS = ("*.tau_m", "*.tau_adp")
BACKENDS = {  # options of those that give gradients: the published surrogate in its own unit, and nothing detached
    "torch": {"dtype": "float32", "surrogate": "multi_gaussian", "surrogate_scale": 1.0, "detach_reset": False}
}
_STEADY = {"tau_m": "20", "b0": "0.01", "bias": "0"}
adaptive = Neuron(
    "adaptive_srnn",
    "b : 1\nu : 1\ns : 1\nI : 1\ntheta = b0 + beta*b : 1",
    every_step="""
    b = exp(-1/tau_adp)*b + (1 - exp(-1/tau_adp))*s
    u = exp(-1/tau_m)*u + (1 - exp(-1/tau_m))*(I + bias) - theta*s
    s = 0
    """,
    threshold="u >= theta",
    reset="s = 1",
    parameters={**_STEADY, "tau_adp": "150", "beta": "1.8"},
    bounds={n: (quantity(SHORTEST, ""), None) for n in ("tau_m", "tau_adp")},
    source=SOURCE,
)
integrator = Neuron(
    "leaky_readout",
    "m : 1\nI : 1",
    every_step="m = exp(-1/tau_m)*m + (1 - exp(-1/tau_m))*(I + bias)",
    parameters={"tau_m": "20", "bias": "0"},
    bounds={"tau_m": (quantity(SHORTEST, ""), None)},
    source=SOURCE,
)
spike = Synapse("spike", "w : 1", on_pre="I_post += w", source="a weighted spike")
enters = Synapse("enters", "w : 1", transmits="w*y_pre", target="I", source="a weighted sum")
KINDS = ("spikes", "current")


@dataclass(frozen=True)
class Layer:
    """size: cells. recurrent: whether they reach each other. beta: strength of the adaptation, 0 for none. b0: threshold at rest.
    tau_m, tau_adp: mean and standard deviation of the first time constants, steps."""

    size: int
    recurrent: bool = True
    beta: float = 1.8
    b0: float = 0.01
    tau_m: tuple[float, float] = (20.0, 5.0)
    tau_adp: tuple[float, float] = (150.0, 10.0)


def network(
    name: str,
    inputs: int,
    layers: Sequence[Layer],
    outputs: int,
    *,
    kind: str = "spikes",
    readout: str = "leaky",
    tau_out: float = 20.0,
    seed: int = 0,
) -> Network:
    """Input x -> layers -> readout. kind: of the input, spikes or currents, which enter within their step. readout: "leaky", its variable m; "adaptive", cells that spike, read as u or as spikes.

    Weights are Xavier-uniform, recurrent ones orthogonal, biases 0. Raises OptionError.
    """
    one_of("readout", readout, ("leaky", "adaptive"))
    if not layers:
        raise OptionError("an adaptive network needs a layer; give layers=[Layer(36)]")
    random = streams.generator(seed, f"{name}/weights")
    one_of("kind", kind, KINDS)
    populations, projections, below, size = list[Population](), list[Projection](), "x", inputs
    if kind == "current":
        populations, below = [Population("given", given, inputs)], "given"
    for k, layer in enumerate(layers):
        own = f"layer{k}"
        populations.append(_population(own, layer, random))
        arrives = enters if below == "given" else spike
        projections.append(Projection(f"feed{k}", below, own, arrives, _xavier(random, size, layer.size)))
        if layer.recurrent:
            projections.append(Projection(f"loop{k}", own, own, spike, _orthogonal(random, layer.size)))
        below, size = own, layer.size
    if readout == "leaky":
        populations.append(
            Population("output", integrator, outputs, {"tau_m": np.full(outputs, tau_out), "bias": np.zeros(outputs)})
        )
    else:
        last = layers[-1]
        populations.append(
            _population("output", Layer(outputs, False, last.beta, last.b0, (tau_out, 0.0), (100.0, 0.0)), random)
        )
    projections.append(Projection("readout", below, "output", spike, _xavier(random, size, outputs)))
    shown = Input("x", inputs, "current", "given.I") if kind == "current" else Input("x", inputs)
    return Network(tuple(populations), tuple(projections), (shown,), dt="1 ms", seed=seed, name=name)


def lag(layers: Sequence[Layer], kind: str = "spikes") -> int:
    """Steps by which the readout answers late."""
    return len(layers) + (kind == "spikes")


def _population(name: str, layer: Layer, random: np.random.Generator) -> Population:
    """Cells with time constants, first potentials U(0, b0) and biases of their own."""

    def drawn(mean: float, spread: float) -> Array:
        return np.maximum(random.normal(mean, spread, layer.size), SHORTEST)

    own = {"tau_m": drawn(*layer.tau_m), "tau_adp": drawn(*layer.tau_adp), "bias": np.zeros(layer.size)}
    return Population(
        name, adaptive, layer.size, {**own, "beta": quantity(layer.beta, ""), "b0": quantity(layer.b0, "")},
        initial={"u": layer.b0 * random.random(layer.size), "b": quantity(layer.b0, "")},
    )  # fmt: skip


def _xavier(random: np.random.Generator, before: int, after: int) -> Array:
    bound = np.sqrt(6 / (before + after))
    return random.uniform(-bound, bound, (before, after))


def _orthogonal(random: np.random.Generator, size: int) -> Array:
    """Uniform over the orthogonal matrices."""
    q, r = np.linalg.qr(random.normal(0, 1, (size, size)))
    return np.asarray(q * np.sign(np.diag(r)))
