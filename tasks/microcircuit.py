"""A square millimetre of early sensory cortex, at full density or smaller: 77,169 cells and 299 million synapses.

Sizes, connection probabilities, cells and drive of Potjans & Diesmann (2014), Cereb Cortex 24:785, doi:10.1093/cercor/bhs358. A projection has a total
number of synapses, drawn with repeats; weights and delays are drawn for each synapse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from neuro.language.units import quantity
from neuro.model import FixedTotal, Input, Network, Neuron, Normal, Population, Projection, Synapse
from neuro.options import OptionError

SOURCE = "Potjans & Diesmann (2014), Cereb Cortex 24:785"
POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = (20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948)
EXTERNAL = (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100)  # sources of 8 Hz that each cell hears
FIRST = ((-68.28, 5.36), (-63.16, 4.57), (-63.33, 4.74), (-63.45, 4.94), (-63.11, 4.94), (-61.66, 4.55), (-66.72, 5.46), (-61.43, 4.48))  # mV: mean, deviation  # fmt: skip
RATES = (0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829)  # Hz, of the full model
PROBABILITIES = np.array([  # [target, source]
    [.1009, .1689, .0437, .0818, .0323, 0, .0076, 0],
    [.1346, .1371, .0316, .0515, .0755, 0, .0042, 0],
    [.0077, .0059, .0497, .135, .0067, .0003, .0453, 0],
    [.0691, .0029, .0794, .1597, .0033, 0, .1057, 0],
    [.1004, .0622, .0505, .0057, .0831, .3726, .0204, 0],
    [.0548, .0269, .0257, .0022, .06, .3158, .0086, 0],
    [.0156, .0066, .0211, .0166, .0572, .0197, .0396, .2252],
    [.0364, .001, .0034, .0005, .0277, .008, .0658, .1443],
])  # fmt: skip
TAU_M, TAU_SYN, CAPACITY, PSP, RATE = 10.0, 0.5, 250.0, 0.15, 8.0  # ms, ms, pF, mV, Hz
INHIBITION, DEVIATION = -4.0, 0.1  # weights of inhibition over those of excitation; relative deviation
DELAYS = {"E": (1.5, 0.75), "I": (0.75, 0.375)}  # ms, of what a source sends: mean, deviation
DT = 0.1  # ms

cell = Neuron(
    "microcircuit_cell",
    "dv/dt = (E_L - v)/tau_m + (I + drive)/C : volt (unless refractory)\ndI/dt = -I/tau_syn : amp",
    threshold="v > v_th",
    reset="v = v_reset",
    parameters={
        "E_L": "-65 mV", "tau_m": quantity(TAU_M, "ms"), "C": quantity(CAPACITY, "pF"), "tau_syn": quantity(TAU_SYN, "ms"), "drive": "0 pA",
        "v_th": "-50 mV", "v_reset": "-65 mV",
    },
    refractory="2 ms",
    method="exact",
    source=SOURCE,
)  # fmt: skip
current = Synapse("microcircuit_synapse", "w : amp", on_pre="I_post += w", source=SOURCE)


def weight() -> float:
    """pA of a synaptic current that moves a resting cell by 0.15 mV: 87.8."""
    ratio = TAU_M / TAU_SYN
    peak = ratio ** (-1 / (ratio - 1)) - ratio ** (-ratio / (ratio - 1))
    return float(PSP * CAPACITY * (TAU_M - TAU_SYN) / (TAU_M * TAU_SYN) / peak)


def synapses(target: int, source: int) -> int:
    """Of a projection at full density."""
    p = PROBABILITIES[target, source]
    return round(math.log1p(-p) / math.log1p(-1 / (SIZES[target] * SIZES[source]))) if p else 0


def network(scale: float = 1.0, *, constant: bool = False, seed: int = 0) -> Network:
    """The network with scale times as many cells in every population, connected with the same probabilities.

    Cells of a smaller network hear fewer others: in-degrees, the drives' too, are scale times as large, weights grow by 1/sqrt(scale), which keeps the variance of what they
    hear, and a constant current replaces the mean that is lost, from the rates of the full model (van Albada et al. 2015, PLoS Comput Biol 11:e1004490). The third moment grows by
    1/sqrt(scale), so rates fall, most where they are low: at 0.1 L23E has half of the full model's.
    constant: every drive as its mean current, no Poisson trains. Raises OptionError.
    """
    if not 0 < scale <= 1 or min(round(scale * n) for n in SIZES) < 1:
        raise OptionError(f"scale={scale}; give a share of the full network from {1 / min(SIZES):.2g} to 1")
    sizes = [round(scale * n) for n in SIZES]
    populations = [
        Population(
            name, cell, size, {"drive": quantity(missing(target, scale, constant), "pA")},
            {"v": Normal(quantity(mean, "mV"), quantity(deviation, "mV"))},
        )
        for target, (name, size, (mean, deviation)) in enumerate(zip(POPULATIONS, sizes, FIRST, strict=True))
    ]  # fmt: skip
    drives = [
        Input(
            f"background_{name}", size, "drive", f"{name}.I", quantity(RATE, "Hz"), quantity(weight() / math.sqrt(scale), "pA"),
            max(1, round(scale * sources)),
        )
        for name, size, sources in zip(POPULATIONS, sizes, EXTERNAL, strict=True)
    ]  # fmt: skip
    return Network(
        tuple(populations), tuple(_projections(scale)), () if constant else tuple(drives), dt=quantity(DT, "ms"), seed=seed, name="microcircuit"
    )  # fmt: skip


def _projections(scale: float) -> Iterator[Projection]:
    for target, to in enumerate(POPULATIONS):
        for source, of in enumerate(POPULATIONS):
            number = round(synapses(target, source) * scale**2)
            if not number:
                continue
            mean = sent(target, source) / math.sqrt(scale)
            spread, zero = DEVIATION * abs(mean), quantity(0, "pA")
            low, high = (zero, None) if mean > 0 else (None, zero)
            late, jitter = DELAYS[of[-1]]
            yield Projection(
                f"{of}_{to}", of, to, current, Normal(quantity(mean, "pA"), quantity(spread, "pA"), low, high), FixedTotal(number),
                Normal(quantity(late, "ms"), quantity(jitter, "ms"), low=quantity(DT, "ms"), outside="redraw"),
            )  # fmt: skip


def sent(target: int, source: int) -> float:
    """Mean weight at full density, pA; twice as large from L4E to L23E."""
    if POPULATIONS[source].endswith("I"):
        return INHIBITION * weight()
    return weight() * (2 if (POPULATIONS[target], POPULATIONS[source]) == ("L23E", "L4E") else 1)


def missing(target: int, scale: float, constant: bool) -> float:
    """Mean current, pA, that a cell of a smaller network doesn't hear, and that of its drive where it has none."""
    recurrent = sum(synapses(target, k) / SIZES[target] * sent(target, k) * rate for k, rate in enumerate(RATES))
    external, lost = EXTERNAL[target] * weight() * RATE, 1 - math.sqrt(scale)
    return TAU_SYN * 1e-3 * (lost * recurrent + (1 if constant else lost) * external)
