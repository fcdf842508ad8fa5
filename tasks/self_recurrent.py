"""Spiking networks whose cells hear themselves and layers before the last one, with membranes that are trained (ScSr-SNN with backpropagated intrinsic plasticity).

What reaches a cell is filtered, a, and integrated, u; every cell has a tau_m and an R of its own. In steps of dt by Euler's method that is the published
u[t] = (1 - 1/tau_m) u[t-1] + R a[t], a[t] = (1 - 1/tau_s) a[t-1] + (sum of w s[t])/tau_s, a spike where u > 1, and then u = 0, with an R of R dt. The filter
stands at the cell that hears: it is linear and the same everywhere, so it may as well stand at each sender, as it is published. Spikes reach the next layer a step later; those that
skip a layer are delayed as long as the layer takes, so that a network answers late by its layers (`lag`), and is the published one otherwise.
With backward="spike times" (TSSL-BP) a spike's slope is 1/(what u grew by in its step), of the time it falls in, up to 8; a cell without a spike has that of a sigmoid 0.2 wide, if what it
sent is nearly forgotten, and none otherwise. It stands in the threshold's text, whose value is u. Such networks are compiled with detach_reset=True: through the reset the published code carries a
1/tau_m of what the network's own derivative would, which is steep enough to explode. The rest is the network's own, where that code drops what reaches a
cell's later spikes through a membrane that hasn't fired for long.
Source: Zhang & Li (2021), Neural Comput 33:1886; equations of the cell, and TSSL-BP: Zhang & Li (2020), NeurIPS 33, arXiv 2002.10085.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neuro.compiler import streams
from neuro.language.units import quantity
from neuro.model import Input, Network, Neuron, OneToOne, Population, Projection, Synapse
from neuro.options import OptionError, one_of
from neuro.protocols import Array

SOURCE = "Zhang & Li (2021), Neural Comput 33:1886"
INTRINSIC = ("*.tau_m", "*.R")
KEPT = 0.7  # of what was sent, a step later
SKIPPING = 0.3  # first weights that skip a layer over others
BACKWARDS = ("surrogate", "spike times")
STEEPEST, WIDTH = 8.0, 0.2  # of the slope by spike times; of a cell without a spike
spike = Synapse(
    "filtered_spike", "w : 1", on_pre="a_post += share*w", parameters={"share": quantity(1 - KEPT, "")}, source=SOURCE
)
tunes = Neuron(
    "self_tuning",
    """
    u : 1
    a : 1
    rate : 1
    s : 1
    tau : 1
    R : 1
    y = clip(rate, 0.01, 1) : 1
    X = V/(exp((1/y - t_ref)/tau) - 1) : 1
    dR = int(rate > 0.01)*eta*(2*y*tau*V - X - V - tau*V*y**2/mean)/(R*X) + int(rate <= 0.01)*silent : 1
    dtau = int(rate > 0.01)*eta*(2*t_ref*y - 1 - (t_ref*y**2 - y)/mean)/tau - int(rate <= 0.01)*silent : 1
    """,
    every_step="""
    rate = rate + (s - rate)/window
    s = 0
    R = clip(R + dR, R_least, R_most)
    tau = clip(tau + dtau, tau_least, tau_most)
    u = u + (R*a - u)/tau
    a = kept*a
    """,
    threshold="u > V",
    reset="u = 0; s = 1",
    parameters={
        "kept": quantity(KEPT, ""), "V": "20", "t_ref": "0", "mean": "0.2", "eta": "5", "silent": "0.5", "window": "64",
        "R_least": "32", "R_most": "512", "tau_least": "32", "tau_most": "512",
    },
    source="Zhang & Li (2019), Front Neurosci 13:31 (SpiKL-IP): R and tau, in steps, until firing rates are exponentially distributed",
)  # fmt: skip


def cell(dt: float, backward: str = "surrogate") -> Neuron:
    """Of networks with steps of dt milliseconds, below which no tau_m may be. backward: of BACKWARDS; "spike times" is compiled with surrogate="straight_through_estimator"."""
    plain = Neuron(
        "self_recurrent",
        "du/dt = -u/tau_m + R*a : 1\nda/dt = -a/tau_s : 1",
        threshold="u > 1",
        reset="u = 0",
        parameters={
            "tau_m": quantity(16 * dt, "ms"),
            "R": quantity(500 / dt, "Hz"),
            "tau_s": quantity(dt / (1 - KEPT), "ms"),
        },
        bounds={"tau_m": (quantity(dt, "ms"), None), "R": (quantity(0, "Hz"), None)},
        method="euler",
        source=SOURCE,
    )
    if backward == "surrogate":
        return plain
    return replace(
        plain,
        name="self_recurrent_timed",
        equations=f"""
        {plain.equations}
        before : 1
        grew : 1
        sent : 1
        near = (u - 1)/width : 1
        fires = int(u > 1)/clip(grew, 1/steepest, 1e9) : 1
        silent = int(u <= 1)*int(sent < share/4)*sigmoid(near)*sigmoid(-near)/width : 1
        """,
        every_step="grew = u - before; before = u; sent = kept*sent",
        threshold="straight_through(u, u*straight_through(fires + silent, 0)) > 1",
        reset="u = 0; before = 0; sent = sent + share",
        parameters={
            **plain.parameters,
            **{
                n: quantity(v, "")
                for n, v in (("kept", KEPT), ("share", 1 - KEPT), ("steepest", STEEPEST), ("width", WIDTH))
            },
        },
    )


def network(
    name: str, inputs: int, hidden: Sequence[int], outputs: int, *, self_recurrent: bool = True, skip: bool = True, dt: float = 1.0, seed: int = 0,
    backward: str = "surrogate",
) -> Network:  # fmt: skip
    """Input x -> hidden layers -> output cells, which are counted. dt: milliseconds of a step.

    self_recurrent: each hidden cell hears itself, through one weight that begins at 0. skip: layers hear the one before the last, the second one the input, the output the
    layer before the last hidden one. First weights are normal with the variance 2/(cells that send), those that skip 0.3 times that; the same
    with and without the others. backward: of BACKWARDS. Raises OptionError.
    """
    one_of("backward", backward, BACKWARDS)
    if not hidden:
        raise OptionError("a network of spiking layers needs one; give hidden=[64, 64]")

    def drawn(what: str, pre: int, post: int, factor: float = 1.0) -> Array:
        random = streams.generator(seed, f"{name}/{what}")
        return np.asarray(factor * np.sqrt(2 / pre) * random.normal(0, 1, (pre, post)))

    populations, projections = list[Population](), list[Projection]()
    layers = [("x", inputs), *((f"layer{k}", n) for k, n in enumerate(hidden)), ("output", outputs)]
    for k, (own, size) in enumerate(layers[1:]):
        populations.append(
            Population(
                own,
                cell(dt, backward),
                size,
                {"tau_m": quantity(np.full(size, 16 * dt), "ms"), "R": quantity(np.full(size, 500 / dt), "Hz")},
            )
        )
        below, before = layers[k]
        projections.append(Projection(f"feed{k}", below, own, spike, drawn(f"feed{k}", before, size)))
        if self_recurrent and own != "output":
            projections.append(Projection(f"self{k}", own, own, spike, np.zeros(size), connectivity=OneToOne()))
        if skip and k:
            far, many = layers[k - 1]
            weights = drawn(f"skip{k}", many, size, SKIPPING)
            projections.append(Projection(f"skip{k}", far, own, spike, weights, delay=quantity(dt, "ms")))
    return Network(
        tuple(populations), tuple(projections), (Input("x", inputs),), dt=quantity(dt, "ms"), seed=seed, name=name
    )


def lag(hidden: Sequence[int]) -> int:
    """Steps by which the output answers late."""
    return len(hidden) + 1
