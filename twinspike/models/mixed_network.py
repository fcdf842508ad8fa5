"""100 cells of four kinds that share conductance synapses, delays, refractoriness and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neuro import Input, Network, Neuron, Population, Probability, Projection, Synapse, Uniform, library, quantity

DT = "0.1 ms"
MEMBRANE = "dv/dt = (g_L*(E_L - v) + I)/C + sigma*xi/sqrt(tau) : volt (unless refractory)\nI : amp"
CELL = Neuron(
    "noisy_lif",
    MEMBRANE,
    threshold="v > v_th",
    reset="v = E_L",
    parameters={
        "C": "200 pF", "g_L": "10 nS", "E_L": "-65 mV", "v_th": "-50 mV", "sigma": "1 mV", "tau": "20 ms",
    },
    initial={"v": "-60 mV"},
    refractory="2 ms",
)  # fmt: skip
ADAPTING = Neuron(
    "noisy_alif",
    MEMBRANE.replace("+ I)", "+ I - b)") + "\ndb/dt = -b/tau_b : amp",
    threshold="v > v_th",
    reset="v = E_L\nb += 20*pA",
    parameters={**CELL.parameters, "tau_b": "100 ms"},
    initial=CELL.initial,
    refractory="2 ms",
)


def conductance(name: str, reversal: str, tau: str) -> Synapse:
    """Exponential conductance with its own reversal potential and time constant."""
    synapse: Synapse = library.get("exponential_conductance")
    return replace(
        synapse, name=name, parameters={**synapse.parameters, "E_syn": quantity(reversal), "tau_syn": quantity(tau)}
    )


def delays(pre: int, post: int, seed: int) -> object:
    """0 to 3 ms on the grid, one per synapse."""
    return quantity(np.random.default_rng(seed).integers(0, 31, (pre, post)) * 0.1, "ms")


def mixed_network(seed: int = 11) -> Network:
    """40 LIF, 30 adaptive LIF, 20 inhibitory LIF and 10 AdEx cells, driven by Poisson input."""
    sizes = {"excitatory": 40, "adapting": 30, "inhibitory": 20, "adex": 10}
    neurons = {"excitatory": CELL, "adapting": ADAPTING, "inhibitory": CELL, "adex": library.get("adex")}
    populations = tuple(Population(n, neurons[n], size) for n, size in sizes.items())
    ampa, gaba = conductance("ampa", "0 mV", "5 ms"), conductance("gaba", "-80 mV", "10 ms")
    projections = [
        Projection(f"drive_{post}", "drive", post, ampa, "2.5 nS", Probability(0.3), delay="0.5 ms") for post in sizes
    ]
    for i, pre in enumerate(sizes):
        inhibitory = pre == "inhibitory"
        weights = Uniform(quantity("1 nS"), quantity("8 nS" if inhibitory else "2 nS"))
        for j, post in enumerate(sizes):
            projections.append(
                Projection(
                    f"{pre}_to_{post}",
                    pre,
                    post,
                    gaba if inhibitory else ampa,
                    weights,
                    delay=delays(sizes[pre], sizes[post], 10 * i + j),
                )
            )
    source = Input("drive", 50, "poisson", rate=quantity("80 Hz"))
    return Network(populations, tuple(projections), (source,), dt=quantity(DT), seed=seed, name="mixed")
