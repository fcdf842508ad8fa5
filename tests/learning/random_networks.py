"""Random small networks for learning rules: cells spiking or not, graded and event synapses mixed, names that tempt generators.

A network comes with a task whose loss reads spikes and traces of all populations, and with a batch. What a network holds is
counted by kind, so that a test can say what it has seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import torch

from neuro import (
    AllToAll,
    Input,
    Network,
    Neuron,
    OneToOne,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
    quantity,
)
from neuro.compiler.lowering import lower
from neuro.compiler.rewriting import rename
from neuro.language.equations import ModelError
from neuro.protocols import Batch

POOL = [
    *"ESQkqbcdfghlmnoprsuvxyz", "left", "zeros", "e_", "p_", "w2", "a1", "ee", "eps", "signal", "credit", "arrived", "out0", "gate", "margin", "state",
    "total", "Abs", "beta", "gamma", "lam", "theta", "zeta", "sigma", "tau", "alpha", "mu", "nu", "rho", "phi",
]  # fmt: skip
INPUT, STEPS = 4, 30


class Loss:
    """A weighted sum of everything that was recorded, and of its square."""

    def __init__(self, output: str, traces: tuple[str, ...], seed: int) -> None:
        self.output, self.traces, self.seed = output, traces, seed

    def record(self) -> tuple[str, ...]:
        return self.traces

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        total: Any = 0.0
        chosen = [traces[n] for n in self.traces] + [spikes[n] for n in sorted(spikes)]
        for i, values in enumerate(chosen):
            weights = np.random.default_rng([self.seed, i]).normal(size=tuple(values.shape))
            total = total + (torch.as_tensor(weights) * (values + values**2 / 2)).mean()
        return total


@dataclass
class Sample:
    """A network, what to learn on it, and the kinds of things in it. spoiled: what no trace can follow, by projection."""

    network: Network
    task: Loss
    batch: Batch
    kinds: Counter[str] = field(default_factory=Counter)
    spoiled: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Cell:
    """kind: spiking, graded or algebraic. into: input. gain: parameter. onto: states that events may reach. sends: graded values."""

    kind: str
    into: str
    gain: str
    onto: str
    sends: tuple[str, ...]
    neuron: Neuron
    traces: tuple[str, ...]


class _Maker:
    def __init__(self, *seed: int) -> None:
        self.random, self.kinds = np.random.default_rng(seed), Counter[str]()
        self.names = [str(n) for n in self.random.permutation(POOL)]
        self.spoiled: list[str] = []

    def name(self) -> str:
        return self.names.pop() if self.names else f"x_{self.random.integers(10**9)}"

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def one_of(self, *choices: str, what: str = "") -> str:
        found = str(self.random.choice(choices))
        self.kinds[f"{what} {found}".strip()] += 1
        return found

    # -- cells ---------------------------------------------------------------------------------------------

    def cell(self, kind: str) -> _Cell:
        into, v, sub = self.name(), self.name(), self.name()
        if kind == "algebraic":
            text = f"{v} = tanh({into}) : 1\n{into} : 1"
            return _Cell(kind, into, "", "", (v,), Neuron(self.name(), text), (v, into))
        g, slow, gain, time = self.name(), self.name(), self.name(), self.name()
        method = self.one_of("euler", "exponential_euler", "rk2", "rk4", "exact", what="method")
        linear = method in ("exact", "exponential_euler")
        flags = [" (unless refractory)" if self.chance(0.5) else "" for _ in range(3)]
        if method in ("exact", "rk2", "rk4"):
            flags = [flags[0]] * 3  # a follower of a frozen variable must freeze as well
        drive = f"{gain}*{into}" if linear or self.chance(0.5) else f"{gain}*tanh({into} + 0.3*{v}) + 0.2*{into}"
        lines = [
            f"d{v}/dt = ({sub} + {g} - {v} - 0.3*{slow})/{time} : 1{flags[0]}",
            f"d{g}/dt = -{g}/(7*ms) : 1{flags[1]}",
            f"d{slow}/dt = (0.1*{v if not linear else g} - {slow})/(31*ms) : 1{flags[2]}",
            f"{sub} = {drive} : 1",
            f"{into} : 1",
        ]
        states, options = (v, g, slow), {}
        every = ""
        if self.chance(0.3):
            trail = self.name()
            lines.append(f"{trail} : 1" + flags[0])
            every = f"{trail} = 0.8*{trail} + 0.2*{v}"
            states = (*states, trail)
            self.kinds["every_step"] += 1
        if kind == "spiking":
            options = self.threshold(v, g, slow, into)
            self.kinds["unless refractory"] += bool(flags[0] and "refractory" in options)
        neuron = Neuron(
            self.name(), "\n".join(str(n) for n in self.random.permutation(lines)), every_step=every, method=method,
            parameters={gain: quantity(1.3, ""), time: quantity("9 ms")}, **options,
        )  # fmt: skip
        graded = (f"tanh({v}_pre)", f"{sub}_pre", f"{v}_pre*{gain}_pre", f"clip({states[-1]}_pre, -0.4, 0.6)")
        return _Cell(kind, into, gain, g, graded, neuron, (*states, sub, into))

    def threshold(self, v: str, g: str, slow: str, into: str) -> dict[str, Any]:
        condition = self.one_of("v > 0.5", "v >= 0.5", "v > 0.5 + slow", "v + 0.2*g > 0.5", "v + 0.1*I > 0.5")
        reset = self.one_of(
            "v = 0", "v -= 0.5", "v = 0.2*v", "v = 0\nslow += 0.3", "v -= 0.5\ng = 0.5*g + 0.1*v", "v = slow\nslow = v + 0.2",
            "slow += 0.2", what="reset",
        )  # fmt: skip
        table = {"v": v, "g": g, "slow": slow, "I": into}
        found: dict[str, Any] = {"threshold": rename(condition, table), "reset": rename(reset, table)}
        if self.chance(0.6):
            found["refractory"] = f"{self.random.integers(1, 5)} ms"
            self.kinds["refractory"] += 1
        return found

    # -- synapses ------------------------------------------------------------------------------------------

    def projection(self, pre: str, post: str, sizes: Mapping[str, int], cells: Mapping[str, _Cell]) -> Projection:
        name, target = self.name(), cells[post]
        spikes = pre not in cells or cells[pre].kind == "spiking"
        graded = pre in cells and (not spikes or self.chance(0.5))
        connectivity, shape = self.connectivity(sizes[pre], sizes[post], pre == post)
        weights = self.random.normal(0.15 if pre in cells else 0.5, 0.4, shape)
        options: dict[str, Any] = {}
        if not graded and self.chance(0.6):
            options["delay"] = f"{self.random.integers(1, 5)} ms"
            self.kinds["delay"] += 1
        bad = self.chance(0.03) and pre in cells
        synapse = self.graded(cells[pre], target) if graded else self.event(target)
        if bad:
            synapse, options = self.beyond(cells[pre], target, graded), {}
            self.spoiled.append(name)
        self.kinds[f"{'graded' if graded else 'event'} from {cells[pre].kind if pre in cells else 'input'}"] += 1
        return Projection(name, pre, post, synapse, quantity(weights, ""), connectivity, **options)

    def graded(self, source: _Cell, target: _Cell) -> Synapse:
        sends = str(self.random.choice(source.sends))
        value = sends if "_pre" in sends else f"{sends}_pre"
        if self.chance(0.2) and source.kind != "algebraic":
            value = f"({value} + 0.2*cos(t/(5*ms)))"
        return Synapse(self.name(), "w : 1", transmits=f"0.7*w*{value}", target=target.into)

    def event(self, target: _Cell) -> Synapse:
        how = self.one_of("input", "state", "receptor", what="event to") if target.onto else "input"
        if how == "receptor":
            g, own = self.name(), self.name()
            text = f"d{g}/dt = -{g}/{own} : 1\n{target.into} = 0.5*{g} : 1"
            return Synapse(
                self.name(), "w : 1", on_pre=f"{g}_post += w", receptor=text, parameters={own: quantity("6 ms")}
            )
        variable = target.into if how == "input" else target.onto
        return Synapse(self.name(), "w : 1", on_pre=f"{variable}_post += 1.5*w")

    def beyond(self, source: _Cell, target: _Cell, graded: bool) -> Synapse:
        value = source.sends[0] if "_pre" in source.sends[0] else f"{source.sends[0]}_pre"
        if graded:
            text = f"w*({value} - {target.traces[0]}_post)"
            return Synapse(self.name(), "w : 1", transmits=text, target=target.into)
        text = str(self.random.choice([f"w*{value}", "tanh(w)"]))
        return Synapse(self.name(), "w : 1", on_pre=f"{target.into}_post += {text}")

    def connectivity(self, pre: int, post: int, own: bool) -> tuple[Any, Any]:
        how = self.one_of("all", "others", "one to one", "pairs", "sparse", what="wires")
        if how == "one to one" and pre == post:
            return OneToOne(), (pre,)
        if how == "pairs":
            index = self.random.choice(pre * post, size=max(2, pre * post // 2), replace=False)
            return Pairs(index // post, index % post), (len(index),)
        if how == "sparse":
            return Probability(0.7), ()
        return AllToAll(not (how == "others" and own)), (pre, post)


def sample(seed: int) -> Sample:
    """The network of a seed; the same whenever it is asked for. Draws again where graded values form a loop within a step."""
    for attempt in count():
        found = _sample(seed, attempt)
        with suppress(ModelError):
            lower(found.network)
            return found
    raise AssertionError


def _sample(seed: int, attempt: int) -> Sample:
    make = _Maker(seed, attempt)
    random, source = make.random, make.name()
    hidden = [make.name() for _ in range(random.integers(1, 4))]
    output = make.name()
    kinds = {n: make.one_of("spiking", "spiking", "graded", "algebraic", what="hidden") for n in hidden}
    kinds[output] = make.one_of("graded", "graded", "spiking", what="output")
    cells = {n: make.cell(kind) for n, kind in kinds.items()}
    sizes = {source: INPUT, **{n: int(random.integers(2, 4)) for n in cells}}
    ends = [(source, hidden[0]), *zip(hidden, [*hidden[1:], output], strict=True)]
    extra = [(a, b) for a in [source, *hidden] for b in [*hidden, output]] + [(output, hidden[0]), (output, output)]
    chosen = random.permutation(len(extra))[: random.integers(0, 5)]
    ends += [extra[i] for i in chosen]
    make.kinds["closed loop"] += any(a == output for a, _ in ends)
    projections = tuple(make.projection(a, b, sizes, cells) for a, b in ends)
    populations = tuple(_population(make, n, cells[n], sizes[n]) for n in random.permutation(list(cells)))
    drive = make.name()
    network = Network(
        populations, projections,
        (Input(source, INPUT), Input(drive, sizes[hidden[-1]], "current", f"{hidden[-1]}.{cells[hidden[-1]].into}")),
        dt="1 ms", seed=seed,
    )  # fmt: skip
    read = [f"{n}.{random.choice(c.traces)}" for n, c in cells.items() if n == output or make.chance(0.3)]
    inputs = {
        source: random.random((2, STEPS, INPUT)) < 0.3,
        drive: random.normal(0.4, 0.3, (2, STEPS, sizes[hidden[-1]])),
    }
    return Sample(network, Loss(output, tuple(read), seed), Batch(inputs, np.zeros(2)), make.kinds, make.spoiled)


def _population(make: _Maker, name: str, cell: _Cell, size: int) -> Population:
    if cell.kind == "algebraic":
        return Population(name, cell.neuron, size)
    many = {cell.gain: quantity(make.random.uniform(0.8, 1.6, size), "")} if make.chance(0.5) else {}
    make.kinds["heterogeneous"] += bool(many)
    return Population(
        name, cell.neuron, size, many, {cell.traces[0]: quantity(make.random.uniform(-0.2, 0.3, size), "")}
    )
