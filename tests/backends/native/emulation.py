"""CUDA's text on the CPU: what the tests of it share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from backends.common.structure import Backward
from backends.native.cuda import Cuda
from backends.native.dialect import Written
from backends.native.program import NativeProgram
from neuro import FixedInDegree, Input, Network, Population, Projection, Recording
from tests.backends.networks import LIF, PULSE, drive

STEPS, BATCH = 120, 2


def compiled(network: Network, dialect: Cuda, dtype: str = "float64") -> NativeProgram:
    return NativeProgram(network, dtype, 1, "fast_sigmoid", Backward(), dialect)


def record(network: Network) -> list[str]:
    cells = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    return cells + [f"{p.name}.{v}" for p in network.projections for v in p.synapse.scope.states]


def run(program: Any, network: Network, **options: Any) -> Recording:
    given = {
        "inputs": drive(network, batch=BATCH, steps=STEPS),
        "record": record(network),
        "steps": STEPS,
        "batch": BATCH,
    }
    found: Recording = program.run(**(given | options))
    return found


def same(a: Recording, b: Recording) -> bool:
    """Whether all bits are equal, those of the states that they leave among them."""
    pairs = [
        (a.spikes, b.spikes),
        (a.traces, b.traces),
        (a.state.variables, b.state.variables),
        (a.state.sums, b.state.sums),
    ]
    return all(np.array_equal(x[n], y[n], equal_nan=x[n].dtype.kind == "f") for x, y in pairs for n in x)


def gradients(program: Any, network: Network, batch: int = BATCH) -> dict[str, Any]:
    """Of a random linear function of everything, for every parameter."""
    random = np.random.default_rng(5)

    def loss(signals: Any) -> Any:
        parts = {**signals.spikes, **signals.traces}
        weights = {
            n: torch.as_tensor(random.normal(size=parts[n].shape), device=parts[n].device) for n in sorted(parts)
        }
        sizes = {n: float(parts[n].detach().abs().max()) or 1.0 for n in parts}
        return sum((parts[n] * w / sizes[n]).sum() for n, w in weights.items())

    found: dict[str, Any] = program.value_and_grad(
        loss, {}, drive(network, batch=batch, steps=40), list(program.declared), record(network), steps=40, batch=batch
    )[1]
    return found


@dataclass(frozen=True)
class Planted(Cuda):
    """Leaves something out. what: of the text; in its place comes another."""

    what: str = ""
    instead: str = ""

    def prelude(self, *args: Any) -> str:
        return self._spoilt(super().prelude(*args))

    def function(self, *args: Any, **options: Any) -> Written:
        whole = super().function(*args, **options)
        return replace(whole, text=self._spoilt(whole.text))

    def _spoilt(self, text: str) -> str:
        return text.replace(self.what, self.instead)


def wide(cells: int = 150) -> Network:
    """More cells than threads of a block of 64, all of which fire now and then."""
    population = Population("cells", LIF, cells)
    loop = Projection("loop", "cells", "cells", PULSE, "40 pA", FixedInDegree(5))
    return Network(
        (population,), (loop,), (Input("current", cells, "current", target="cells.I"),), dt="1 ms", name="wide"
    )
