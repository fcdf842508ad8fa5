"""A network of stochastic cells in which STDP makes assemblies of repeated patterns, and associations of those shown together.

A cell fires in a step with probability 1 - exp(-r dt), r = r0 exp(0.25 u), u what its synapses add up to (rise 2 ms, decay 20 ms, peak 1) and a constant; then it is silent for a
drawn number of steps, which are those after the spike's own. The kernel isn't cut at 100 ms, where it is 0.01 of its peak. Plasticity acts where a spike arrives: the trace of a synapse grows when it has crossed the delay, as published, and nothing happens
to a synapse between its spikes. Within a step a spike that arrives is sent on with the weight as it is, then depresses it, by the target's traces before its own spike of this step; a target's spike then potentiates,
by the synapse's trace with this arrival in it. r1 and r2 of the published rule have one time constant, and are one trace here.
Source: Pokorny, Ison, Rao, Legenstein, Papadimitriou & Maass (2020), Cereb Cortex 30:952; short-term plasticity: Markram, Wang & Tsodyks (1998), PNAS 95:5323; triplets: Pfister & Gerstner (2006), J Neurosci 26:9673.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from neuro.compiler import streams
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.language.units import Quantity, quantity
from neuro.model import (
    Distance,
    Gamma,
    Input,
    LogNormal,
    Network,
    Neuron,
    Normal,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
)
from neuro.protocols import Array

SOURCE = "Pokorny, Ison, Rao, Legenstein, Papadimitriou & Maass (2020), Cereb Cortex 30:952"
RISE, DECAY = 2.0, 20.0  # of a postsynaptic potential, ms
REST = -600.0
REACH = 0.25  # by which the probability of inhibitory connections falls, of the distance between neighbours
USUAL = 5.0  # Hz, at which short-term plasticity leaves a weight what it is
NEVER = quantity(-1e9, "s")
LEARNS = {"A2p": 10.0, "A3p": 10.0, "A2m": 0.5, "A3m": 0.5}
CHANNELS = 200
ACTIVE = 10  # one channel in so many is active in a pattern, and no more than one in so many of those in another one
PATTERNS = ("blue", "green", "red")
COMBINED = "blue + green"


def _gain() -> float:
    """Of a difference of exponentials with a peak of 1."""
    peak = np.log(DECAY / RISE) * RISE * DECAY / (DECAY - RISE)
    return float(1 / (np.exp(-peak / DECAY) - np.exp(-peak / RISE)))


def cell(name: str, silent: float, traces: bool = False) -> Neuron:
    """silent: mean of what is drawn after a spike, in ms, which are steps; the distribution is a gamma of shape 2 rounded to steps, at least 1. traces: o1 and o2, which plastic synapses read."""
    more = "\ndo1/dt = -o1/tau_o1 : 1\ndo2/dt = -o2/tau_o2 : 1" if traces else ""
    return Neuron(
        name,
        "da/dt = -a/tau_r : 1\ndp/dt = -p/tau_f + gain*a*(1/tau_r - 1/tau_f) : 1\nu = p + E_exc + own : 1\n"
        f"r = r0*exp(clip(0.25*u, -700, 20)) : Hz\nwait : 1{more}",
        threshold="rand() < 1 - exp(-r*dt) and wait <= 0",
        reset="wait = 1 + clip(floor(0.5 - silent/2*(log(1 - rand()) + log(1 - rand()))), 1, 1e9)"
        + ("; o1 += 1; o2 += 1" if traces else ""),
        every_step="wait = clip(wait - 1, 0, 1e9)",
        parameters={
            "tau_r": quantity(RISE, "ms"), "tau_f": quantity(DECAY, "ms"), "gain": quantity(_gain(), ""), "r0": "1.238 Hz",
            "E_exc": quantity(REST + 450, ""), "own": "0", "silent": quantity(silent, ""),
            **({"tau_o1": "1000 ms", "tau_o2": "25 ms"} if traces else {}),
        },
        method="exact",
        source=SOURCE,
    )  # fmt: skip


SHORT = "R = 1 + (R - u*R - 1)*exp(-(t - last)/D); u = U + u*(1 - U)*exp(-(t - last)/F)"
DEPRESSES = "r = r*exp(-(t - last)/tau_r); w = clip(w - o1_post*(A2m + A3m*r), 0, w_max); r += 1"
POTENTIATES = "w = clip(w + r*exp(-(t - last)/tau_r)*(A2p + A3p*o2_post), 0, w_max)"


def synapse(name: str, *, short: bool, learns: bool, sign: str = "+") -> Synapse:
    """short: with short-term plasticity, whose steady efficacy at 5 Hz is w; norm is 1/(u* R*). learns: by triplets of spikes, between 0 and w_max. sign: of what is sent.

    Before its first spike a synapse has been silent for so long that u and R are U and 1 then, whatever they were.
    """
    numbers = {n: quantity(v, "") for n, v in LEARNS.items()} if learns else {}
    more = {"tau_r": quantity(25, "ms"), "w_max": quantity(1, "")} if learns else {}
    own = {"U": "0.5", "D": "100 ms", "F": "100 ms", "norm": "1"} if short else {}
    states = [*(("u", "R") if short else ()), *(("r",) if learns else ())]
    return Synapse(
        name,
        "\n".join(["w : 1", "last : second", *(f"{s} : 1" for s in states)]),
        on_pre="; ".join(
            [
                *([SHORT] if short else []),
                f"a_post {sign}= w{'*u*R*norm' * short}",
                *([DEPRESSES] if learns else []),
                "last = t",
            ]
        ),
        on_post=POTENTIATES if learns else "",
        parameters={**own, **numbers, **more},
        initial={"last": NEVER, **({"R": "1"} if short else {})},
        source=SOURCE,
    )


TRIPLETS = synapse("triplet_stdp", short=False, learns=True)
SHORT_TERM = synapse("short_term_at_5_hz", short=True, learns=False)
INHIBITS = synapse("inhibits_at_5_hz", short=True, learns=False, sign="-")
BOTH = synapse("triplet_stdp_short_term", short=True, learns=True)


@dataclass(frozen=True)
class Kind:
    """Of synapses: weights are gamma distributed with a CV of 0.7, delays normal with one of 0.5. U, D, F: mean and standard deviation of gamma distributions; times in ms.

    chance: of a pair; nearby: it falls with distance, and that is its mean. cap: a weight's largest value, of its first one.
    """

    name: str
    pre: str
    post: str
    synapse: Synapse
    weight: float
    delay: float
    chance: float
    nearby: bool = False
    cap: float = 0.0
    U: tuple[float, float] = (0, 0)
    D: tuple[float, float] = (0, 0)
    F: tuple[float, float] = (0, 0)


KINDS = (
    Kind("feed", "x", "E", TRIPLETS, 15, 5, 0.5, cap=2),
    Kind("EE", "E", "E", BOTH, 2.5, 5, 0.5, False, 10, (0.45, 0.17), (144, 67), (0, 0)),
    Kind("EI", "E", "I", SHORT_TERM, 1000, 2, 0.04, True, 0, (0.09, 0.12), (138, 211), (670, 830)),
    Kind("IE", "I", "E", INHIBITS, 1375, 2, 0.05, True, 0, (0.16, 0.10), (45, 21), (376, 253)),
    Kind("II", "I", "I", INHIBITS, 6000, 2, 0.04, True, 0, (0.25, 0.13), (706, 405), (21, 9)),
)
PLASTIC = tuple(k.name for k in KINDS if k.cap)
# What stops STDP, as parameters of a run.
FROZEN: Mapping[str, Array] = {f"{k}.{n}": np.zeros(()) for k in PLASTIC for n in LEARNS}


def steady(U: Array, D: Array, F: Array, rate: float = USUAL) -> tuple[Array, Array]:
    """u* and R* of a presynaptic cell that fires regularly at a rate in Hz. D, F: seconds."""
    u = U / (1 - (1 - U) * np.exp(-1 / (rate * F)))
    kept = np.exp(-1 / (rate * D))
    return u, (1 - kept) / (1 - (1 - u) * kept)


def nearby(here: Array, there: Array, mean: float, itself: bool = False) -> str:
    """min(1, c exp(-d/0.25)) of a distance, c so that its mean is `mean` over pairs of places [cell, axis], of different cells where they are the same population's (itself)."""
    from scipy.optimize import brentq
    from scipy.spatial.distance import cdist

    distance = cdist(here, there) / REACH
    others = distance[~np.eye(len(here), dtype=bool)] if itself else distance.ravel()
    excess = lambda log_c: float(np.exp(np.minimum(log_c - others, 0)).mean() - mean)
    return f"exp({brentq(excess, others.min() - 50, others.max())!r} - d/{REACH})"


def gamma(
    mean: float, deviation: float, unit: str = "", low: float | None = None, high: float | None = None
) -> Gamma | Quantity:
    """A gamma distribution, clipped; its lower end where it has no mean."""
    if not mean:
        return quantity(low or 0.0, unit)
    first, last = (None if end is None else quantity(end, unit) for end in (low, high))
    return Gamma(quantity(mean, unit), quantity(deviation, unit), first, last)


@dataclass(frozen=True)
class Circuit:
    """The network and its patterns. excitability, scale: gamma_exc and gamma_w. sites: of the grid, by axis; inhibitory: cells on as many of them, drawn; channels: of the input.

    prompt: plastic synapses have a delay of 1 ms, so that plasticity acts nearly when a spike is emitted.
    """

    excitability: float = 0.9
    scale: float = 1.0
    seed: int = 0
    sites: tuple[int, int, int] = (6, 6, 15)
    inhibitory: int = 108
    channels: int = CHANNELS
    prompt: bool = False

    def _random(self, what: str, row: int = 0) -> np.random.Generator:
        return streams.generator(self.seed, f"associations/{what}", row)

    @cached_property
    def places(self) -> dict[str, Array]:
        """Population -> [cell, axis]."""
        grid = np.stack(np.meshgrid(*map(np.arange, self.sites), indexing="ij"), axis=-1).reshape(-1, 3)
        order = self._random("sites").permutation(len(grid))
        return {"I": grid[np.sort(order[: self.inhibitory])], "E": grid[np.sort(order[self.inhibitory :])]}

    @cached_property
    def network(self) -> Network:
        """Input x, populations E and I, projections of KINDS."""
        places = {n: quantity(p, "") for n, p in self.places.items()}
        mean = math.exp(2.64 + 0.23**2 / 2)
        own = LogNormal(quantity(mean, ""), quantity(mean * math.sqrt(math.expm1(0.23**2)), ""))
        excitable = {"E_exc": quantity(REST + 300 * self.excitability, ""), "own": own}
        populations = (
            Population(
                "E", cell("plastic_escape", 10, traces=True), len(self.places["E"]), excitable, positions=places["E"]
            ),
            Population("I", cell("escape", 3), len(self.places["I"]), positions=places["I"]),
        )
        projections = tuple(self._projection(kind) for kind in KINDS)
        drawn = Network(
            populations, projections, (Input("x", self.channels),), quantity(1, "ms"), self.seed, "associations"
        )
        return replace(drawn, projections=tuple(_listed(p, k, drawn) for p, k in zip(projections, KINDS, strict=True)))

    def _projection(self, kind: Kind) -> Projection:
        mean = kind.weight * (self.scale if kind.cap else 1)
        values = {
            "U": gamma(*kind.U, low=0.001, high=0.999), "D": gamma(*kind.D, "ms", 0.1, 5000), "F": gamma(*kind.F, "ms", 0.1, 5000),
        }  # fmt: skip
        delay = Normal(quantity(kind.delay, "ms"), quantity(kind.delay / 2, "ms"), low="1 ms")
        return Projection(
            kind.name, kind.pre, kind.post, kind.synapse, gamma(mean, 0.7 * mean), self._connectivity(kind),
            quantity(1, "ms") if kind.cap and self.prompt else delay, parameters=values if kind.D[0] else {},
        )  # fmt: skip

    def _connectivity(self, kind: Kind) -> Distance | Probability:
        if not kind.nearby:
            return Probability(kind.chance, self_connections=False)
        profile = nearby(self.places[kind.pre], self.places[kind.post], kind.chance, kind.pre == kind.post)
        return Distance(profile, self_connections=False)

    @cached_property
    def patterns(self) -> dict[str, Array]:
        """Pattern -> its active channels, bool [channel]: 20 of 200, no more than 2 of which another one has; the combined one has those of blue and green."""
        random, found, active = self._random("patterns"), list[Array](), self.channels // ACTIVE
        while len(found) < len(PATTERNS):
            new = np.zeros(self.channels, bool)
            new[random.choice(self.channels, active, replace=False)] = True
            if all((new & other).sum() <= active // ACTIVE for other in found):
                found.append(new)
        named = dict(zip(PATTERNS, found, strict=True))
        return {**named, COMBINED: named["blue"] | named["green"]}


def _listed(projection: Projection, kind: Kind, network: Network) -> Projection:
    """With the parameters that follow from what is drawn: caps from first weights, norms from U, D and F. They are one for each synapse, so the pairs are listed; other numbers are drawn as before."""
    drawn = {
        n.removeprefix(f"{kind.name}."): p for n, p in parameters(network).items() if n.startswith(f"{kind.name}.")
    }
    found = dict(projection.parameters)
    if kind.cap:
        found["w_max"] = quantity(kind.cap * drawn["w"].value, "")
    if kind.D[0]:
        found["norm"] = quantity(1 / np.multiply(*steady(drawn["U"].value, drawn["D"].value, drawn["F"].value)), "")
    pairs = Pairs(*resolve(network).wires[kind.name].indices)
    return replace(projection, connectivity=pairs, parameters=found)
