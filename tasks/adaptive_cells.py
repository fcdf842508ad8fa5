"""LIF cells with an adaptive threshold in e-prop's form: no units, threshold and reset relative to rest 0.

v(t) = alpha v(t-1) + zeta input(t) - v_th z(t-1) and a(t) = rho a(t-1) + z(t-1): a jump at the spike decays once before the
next step, so the reset is v_th/alpha and 1/rho. Source: Bellec et al. (2020), Nat Commun 11:3625.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neuro.language.units import Quantity, quantity
from neuro.model import AllToAll, Input, Network, Neuron, Normal, Population, Projection, Synapse

pulse = Synapse("plain_pulse", "w : 1", on_pre="I_post += w", source="a spike is an input of the next step")
readout = Neuron(
    "plain_readout", "dy/dt = (-y + I)/tau : 1\nI : 1", parameters={"tau": "20 ms"}, method="exact", source="leaky integrator"
)  # fmt: skip


def cell(
    *,
    dt: float,
    tau_m: float,
    v_th: float,
    normalised: bool,
    tau_a: float = 0.2,
    refractory: int = 0,
    operator: str = ">",
) -> Neuron:
    """A neuron for steps of dt. Times in seconds, refractory in steps. normalised: zeta = 1 - alpha, else 1."""
    alpha, rho = math.exp(-dt / tau_m), math.exp(-dt / tau_a)
    return Neuron(
        "eprop_cell",
        "dv/dt = (-v + gain*I)/tau_m : 1\nda/dt = -a/tau_a : 1\nI : 1",
        threshold=f"v {operator} v_th + beta*a",
        reset="v -= v_th/alpha\na += 1/rho",
        parameters={
            "tau_m": quantity(tau_m, "s"),
            "tau_a": quantity(tau_a, "s"),
            "v_th": quantity(v_th, ""),
            "beta": quantity(0.0, ""),
            "alpha": quantity(alpha, ""),
            "rho": quantity(rho, ""),
            "gain": quantity(1.0 if normalised else 1 / (1 - alpha), ""),
        },
        refractory=quantity(refractory * dt, "s"),
        method="exact",
        source="Bellec et al. (2020), Nat Commun 11:3625",
    )


def network(
    name: str, inputs: int, cells: Neuron, betas: Any, outputs: int, tau_out: float, *, dt: float, seed: int
) -> Network:
    """Inputs -> recurrent cells (one for each of `betas`) -> leaky readouts; weights N(0, 1/sqrt(fan-in))."""
    size = len(betas)

    def weights(fan_in: int) -> Normal:
        return Normal(quantity(0.0, ""), quantity(1 / math.sqrt(fan_in), ""))

    values: dict[str, Quantity] = {"beta": quantity(np.asarray(betas, dtype=float), "")}
    return Network(
        (
            Population("hidden", cells, size, values),
            Population("output", readout.with_parameters(tau=quantity(tau_out, "s")), outputs),
        ),
        (
            Projection("feed", "x", "hidden", pulse, weights(inputs)),
            Projection("loop", "hidden", "hidden", pulse, weights(size), AllToAll(False)),
            Projection("readout", "hidden", "output", pulse, weights(size)),
        ),
        (Input("x", inputs),),
        dt=quantity(dt, "s"),
        seed=seed,
        name=name,
    )
