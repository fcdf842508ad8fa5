"""Small networks, one per feature that a backend may lack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neuro import (
    AllToAll,
    Distance,
    FixedInDegree,
    FixedTotal,
    Gamma,
    Input,
    Network,
    Neuron,
    Normal,
    OneToOne,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
    quantity,
)

LIF = Neuron(
    "lif",
    "dv/dt = (E_L - v + R*I)/tau_m : volt (unless refractory)\nI : amp",
    threshold="v > v_th",
    reset="v = E_L",
    parameters={"E_L": "-70 mV", "R": "100 Mohm", "tau_m": "10 ms", "v_th": "-50 mV"},
    initial={"v": "-70 mV"},
    method="exact",
)
REFRACTORY_LIF = replace(LIF, name="refractory_lif", refractory=quantity("3 ms"))
LEAKY = Neuron(
    "leaky", "dv/dt = (-v + R*I)/tau_m : volt\nI : amp", parameters={"R": "100 Mohm", "tau_m": "20 ms"}, method="exact"
)
NOISY = Neuron(
    "noisy",
    "dv/dt = (E_L - v + R*I)/tau_m + sigma*sqrt(2/tau_m)*xi : volt\nI : amp",
    threshold="v > v_th",
    reset="v = E_L",
    parameters={**LIF.parameters, "sigma": "8 mV"},
    initial={"v": "-70 mV"},
)
RATE = Neuron("rate", "dx/dt = (-x + tanh(z))/tau : 1\nz : 1", parameters={"tau": "10 ms"}, method="euler")

PULSE = Synapse("pulse", "w : amp", on_pre="I_post += w")
DELTA = Synapse("delta", "w : volt", on_pre="v_post += w")
AMPA = Synapse(
    "ampa",
    "w : siemens",
    on_pre="g_post += w",
    receptor="dg/dt = -g/tau : siemens\nI = g*(E - v) : amp",
    parameters={"tau": "5 ms", "E": "0 mV"},
)
GRADED = Synapse("graded", "w : 1", transmits="w*x_pre", target="z")
STDP = Synapse(
    "stdp",
    "w : volt\ndx/dt = -x/tau : 1\ndy/dt = -y/tau : 1",
    on_pre="v_post += w\nx += 1\nw = clip(w - 0.2*mV*y, 0*mV, 20*mV)",
    on_post="y += 1\nw = clip(w + 0.2*mV*x, 0*mV, 20*mV)",
    parameters={"tau": "20 ms"},
    method="exact",
)

_INDEX = np.random.default_rng(5)


def _two(
    name: str, neuron: Neuron = LIF, synapse: Synapse = PULSE, weights: object = None, **options: object
) -> Network:
    """7 input channels -> 5 cells."""
    weights = Normal(quantity("1.2 nA"), quantity("0.4 nA")) if weights is None else weights
    projection = Projection("feed", "x", "cells", synapse, weights, **options)  # type: ignore[arg-type]
    return Network((Population("cells", neuron, 5),), (projection,), (Input("x", 7),), dt="1 ms", seed=3, name=name)


def _recurrent(name: str, **options: object) -> Network:
    base = _two(name)
    loop = Projection("loop", "cells", "cells", PULSE, Normal(quantity("0 nA"), quantity("1 nA")), **options)  # type: ignore[arg-type]
    return Network(base.populations, (*base.projections, loop), base.inputs, dt="1 ms", seed=3, name=name)


def _by_distance() -> Network:
    base = _two("distance")
    cells = replace(base.populations[0], positions=np.arange(10.0).reshape(5, 2) / 5)
    near = Distance("1.2*exp(-d)", self_connections=False)
    loop = Projection("loop", "cells", "cells", PULSE, Normal("0 nA", "1 nA"), near, delay="2 ms")  # type: ignore[arg-type]
    return replace(base, populations=(cells,), projections=(*base.projections, loop))


def _readout() -> Network:
    base = _two("readout")
    out = Projection("out", "cells", "leaky", PULSE, Normal(quantity("0 nA"), quantity("1 nA")))
    cells = (*base.populations, Population("leaky", LEAKY, 3))
    return Network(cells, (*base.projections, out), base.inputs, dt="1 ms", seed=3, name="readout")


def _graded() -> Network:
    cells = Population("rate", RATE, 4, initial={"x": Normal(quantity("0"), quantity("0.5"))})
    loop = Projection("loop", "rate", "rate", GRADED, Normal(quantity("0"), quantity("1.5")), AllToAll(False))
    return Network((cells,), (loop,), (Input("x", 4, "current", "rate.z"),), dt="1 ms", seed=3, name="graded")


def _reversing() -> Network:
    """A graded value that is a product of the presynaptic state, a weight and the distance from a reversal potential."""
    synapse = replace(GRADED, name="reversing", transmits="w*tanh(x_pre)*(E - x_post)", parameters={"E": 0.8})
    base = _graded()
    loop = Projection("loop", "rate", "rate", synapse, Normal(quantity("0"), quantity("1.5")))
    return Network(base.populations, (loop,), base.inputs, dt="1 ms", seed=3, name="graded reversal")


def _learning_loop() -> Network:
    """Plastic weights among cells, none from a cell to itself, and one current that all cells share."""
    loop = Projection("loop", "cells", "cells", STDP, "6 mV", AllToAll(False), delay="2 ms")
    inputs = (Input("x", 1, "current", "cells.I"),)
    start = quantity([-70.0, -65.0, -60.0, -55.0, -52.0], "mV")
    taus = quantity([5.0, 8.0, 10.0, 15.0, 30.0], "ms")  # R: the drive is noise of about 1 A
    cells = Population("cells", LIF, 5, {"tau_m": taus, "R": "0.3 ohm"}, initial={"v": start})
    return Network((cells,), (loop,), inputs, dt="1 ms", seed=3, name="plastic loop")


def _driven() -> Network:
    """Poisson drives into a receptor's state, and into one that refractory cells keep, each cell with a rate and a weight of its own."""
    psc = Synapse(
        "psc", "w : amp", on_pre="s_post += w", receptor="ds/dt = -s/tau : amp\nI = s : amp", parameters={"tau": "2 ms"}
    )
    base = _two("driven", REFRACTORY_LIF, psc)
    rates, weights = quantity([5, 0, 20, 80, 300], "Hz"), quantity([2, 1, -1, 3, 0.5], "mV")
    drives = (
        Input("background", 5, "drive", "cells.s_psc", rate="2 kHz", weight="0.05 nA"),
        Input("kicks", 5, "drive", "cells.v", rates, weights, sources=10),
    )
    return replace(base, inputs=(*base.inputs, *drives))


def _shared() -> Network:
    """A window of two steps over the same channels, by one set of weights and synapses."""
    base = _two("shared", connectivity=Probability(0.6))
    late = Projection("late", "x", "cells", PULSE, connectivity=Probability(0.6), delay="2 ms", shares="feed")
    return replace(base, projections=(*base.projections, late))


def _regular() -> Network:
    """Cells and synapses that change at the start of every second, third and fifth step."""
    cells = replace(
        LIF, name="regular", equations=f"{LIF.equations}\nn : 1\nrest : volt", reset="v = E_L; n += 1",
        regularly={"5 ms": "rest = -3*mV*n; n = 0", "2 ms": "v += 0.2*rest + 0.5*mV*rand()"},
    )  # fmt: skip
    changing = Synapse(
        "changing", "w : amp\na : 1", on_pre="I_post += w*a; a = 0.4", regularly={"3 ms": "a += 0.3*(1.5 - a)"}
    )
    return _two("regularly", cells, changing)


def _releasing() -> Network:
    """Synapses that release by chance, and whose weights change by chance at either end's spike."""
    synapse = Synapse(
        "releasing", "w : volt\nu : 1", on_pre="v_post += w*int(rand() < 0.7)*(1 + 0.2*randn()); u += 0.2*rand()",
        on_post="w = clip(w + 0.4*mV*(rand() - 0.5)*u, 0*mV, 20*mV)", every_step="u *= 0.8 + 0.1*rand()",
    )  # fmt: skip
    return _two("releasing", synapse=synapse, weights="9 mV", connectivity=Probability(0.8), delay="2 ms")


def _eventful() -> Network:
    """Cells with events of their own: an early one that lifts the threshold's variable, a late one that changes an input's."""
    cells = replace(
        LIF, name="eventful", equations=f"{LIF.equations}\nn : 1", refractory=quantity("2 ms"), reset="v = E_L; n += 1",
        every_step="n *= 0.98", events={"near": "v > -60*mV and not (n > 2)", "tired": "n > 1.5 + 0.5*rand()"},
        on_event={"near": "v += 0.3*mV; n += 0.01", "tired": "v -= 2*mV; n = 0.5*n*tired"},
    )  # fmt: skip
    return _two("events", cells)


def networks() -> dict[str, Network]:
    """Feature -> network. Inputs are `x` (spikes, or currents for "graded")."""
    delays = quantity(np.tile([0.0, 1.0, 2.0, 5.0, 3.0], (7, 1)), "ms")
    pairs = Pairs(_INDEX.integers(0, 7, 20), np.repeat(np.arange(5), 4))
    rate = Input("x", 7, "poisson", rate="200 Hz")
    poisson = _two("poisson")
    lately = Normal(quantity("2 ms"), quantity("1.5 ms"))
    clipped = Normal(quantity("8 mV"), quantity("4 mV"), low=quantity("0 mV"))
    strong = Normal(quantity("30 nS"), quantity("5 nS"))
    found = [
        _two("feed-forward"),
        _recurrent("recurrent"),
        _recurrent("no self-connections", connectivity=AllToAll(False)),
        _by_distance(),
        _readout(),
        _two("delta", synapse=DELTA, weights="9 mV"),
        _two("conductance", synapse=AMPA, neuron=replace(LIF, method="exponential_euler"), weights=strong),
        _two("delay", delay="3 ms"),
        _two("heterogeneous delays", delay=delays),
        _two("refractory", REFRACTORY_LIF),
        _two("refractory delta", REFRACTORY_LIF, DELTA, "9 mV"),
        _subtracting(),
        tie(">="),
        _two("noise", NOISY),
        _two("sparse", connectivity=Probability(0.5)),
        _two("pairs", connectivity=pairs, delay=quantity(np.arange(20.0) % 4, "ms")),
        _two(
            "multapses", connectivity=FixedTotal(25), weights=Gamma(quantity("1.6 nA"), quantity("1 nA")), delay=lately
        ),
        _two("fixed in-degree", synapse=STDP, connectivity=FixedInDegree(4), weights=clipped, delay=lately),
        _two("plastic", synapse=STDP, weights="8 mV"),
        _graded(),
        _reversing(),
        _learning_loop(),
        Network(poisson.populations, poisson.projections, (rate,), dt="1 ms", seed=3, name="poisson"),
        _heterogeneous(),
        _one_to_one(),
        _driven(),
        _shared(),
        _regular(),
        _releasing(),
        _eventful(),
        _following(),
    ]
    return {n.name: n for n in found}


def _following() -> Network:
    """Graded synapses of a loop that follow what their cells have become in the same step."""
    base = _two("following")
    text = "w : amp\ndy/dt = (tanh((v_pre - v_post)/(10*mV)) - y)/tau_s : 1"
    follows = Synapse("follows", text, transmits="w*y", target="I", parameters={"tau_s": "6 ms"}, method="rk2")
    loop = Projection("loop", "cells", "cells", follows, "0.2 nA", integrated="end")
    return replace(base, projections=(*base.projections, loop))


def _subtracting() -> Network:
    """Cells that keep what is above the threshold, are frozen while refractory, and take pulses into v also when they fire."""
    cells = replace(REFRACTORY_LIF, name="subtracting", reset="v -= v_th\nv += E_L")
    base = _two("subtracting reset", cells, DELTA, "9 mV")
    loop = Projection("loop", "cells", "cells", DELTA, Normal(quantity("4 mV"), quantity("3 mV")))
    return Network(base.populations, (*base.projections, loop), base.inputs, dt="1 ms", seed=3, name=base.name)


def tie(operator: str) -> Network:
    """Every input spike brings the membrane to exactly its threshold: 0.5 V, halved once by tau = 2 dt."""
    neuron = Neuron(
        "tie",
        "dv/dt = -v/tau : volt",
        threshold=f"v {operator} v_th",
        reset="v = 0*volt",
        parameters={"tau": "2 ms", "v_th": "0.25 V"},
    )
    return _two("inclusive threshold" if operator == ">=" else "strict threshold", neuron, DELTA, "0.5 V")


def _heterogeneous() -> Network:
    base = _two("heterogeneous")
    taus = Population("cells", LIF, 5, {"tau_m": quantity([5.0, 8.0, 10.0, 15.0, 30.0], "ms")})
    return Network((taus,), base.projections, base.inputs, dt="1 ms", seed=3, name="heterogeneous")


def _one_to_one() -> Network:
    base = _two("one-to-one")
    link = Projection("link", "cells", "second", PULSE, "2.5 nA", OneToOne(), delay="1 ms")
    cells = (*base.populations, Population("second", LIF, 5))
    return Network(cells, (*base.projections, link), base.inputs, dt="1 ms", seed=3, name="one-to-one")


def drive(network: Network, *, batch: int = 2, steps: int = 300, seed: int = 1) -> dict[str, np.ndarray]:
    """Inputs that make the network fire."""
    random = np.random.default_rng(seed)
    given = {}
    for item in network.inputs:
        if item.kind == "spikes":
            given[item.name] = random.random((batch, steps, item.size)) < 0.2
        elif item.kind == "current":
            given[item.name] = random.normal(size=(batch, steps, item.size))
    return given
