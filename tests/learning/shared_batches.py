"""A task whose batches don't divide evenly: sequences of unequal lengths into noisy cells, with spikes that nobody gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

import backends
from neuro import Input, Network, Neuron, Normal, Population, Projection, library, quantity
from neuro.compiler.parameters import values
from neuro.learning.common.processes import here
from neuro.protocols import Array, Batch, Recording, Settings

EXAMPLES, STEPS = 7, 24
LENGTHS = np.array([24, 3, 17, 9, 24, 0, 6])  # of one nothing counts


def normal(mean: float, std: float) -> Normal:
    return Normal(quantity(mean, "nA"), quantity(std, "nA"))


class Ragged:
    """Spikes -> noisy LIF, recurrent -> a leaky readout that follows targets step by step. Loss: mean squared error of the steps that count. drawn: whether
    some spikes come from the network's own Poisson input."""

    name, version, output, readout, settings = "ragged", 1, "output", ("out.w",), Settings()

    def __init__(self, drawn: bool = True, noise: bool = True) -> None:
        self.drawn, self.noise = drawn, noise

    def network(self, seed: int) -> Network:
        lif, pulse = library.get("lif"), library.get("pulse")
        if self.noise:
            text = lif.equations.replace("/tau_m : volt", "/tau_m + 2*mV*xi/tau_m**0.5 : volt")
            assert text != lif.equations
            lif = Neuron("noisy", text, threshold=lif.threshold, reset=lif.reset, parameters=dict(lif.parameters), initial=dict(lif.initial), refractory=lif.refractory, method="euler")  # fmt: skip
        background = (Input("background", 3, "poisson", rate=quantity("100 Hz")),) if self.drawn else ()
        more = (Projection("more", "background", "hidden", pulse, normal(1.0, 1.0)),) if self.drawn else ()
        return Network(
            (Population("hidden", lif, 6), Population("output", library.get("leaky_integrator"), 2)),
            (
                Projection("feed", "x", "hidden", pulse, normal(3.0, 3.0)),
                Projection("loop", "hidden", "hidden", pulse, normal(0.5, 1.0)),
                Projection("out", "hidden", "output", pulse, normal(0.0, 0.5)),
                *more,
            ),
            (Input("x", 5), *background),
            dt="1 ms",
            seed=seed,
        )

    def batch(self, examples: int = EXAMPLES, follows: bool | None = None, draw: int = 3) -> Batch:
        random = np.random.default_rng(draw)
        x, y = random.random((examples, STEPS, 5)) < 0.3, 1e-2 * random.standard_normal((examples, STEPS, 2))
        return Batch({"x": x}, y, np.arange(STEPS) < np.resize(LENGTHS, examples)[:, None], follows=follows)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        return [self.batch(batch, draw=int(rng.integers(1000))) for _ in range(4)]

    def test_batch(self) -> Batch:
        return self.batch()

    def record(self) -> Sequence[str]:
        return ("output.v",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        v = traces["output.v"]
        errors = 1e4 * (v - torch.as_tensor(batch.targets).to(v)) ** 2
        return errors[torch.as_tensor(np.asarray(batch.mask))].mean()

    def weight(self, batch: Batch) -> float:
        return float(np.count_nonzero(batch.mask))

    def metric(self, recording: Recording, batch: Batch) -> float:
        return -float(((recording.traces["output.v"] - batch.targets) ** 2).mean())


def program_of(task: Ragged, backend: str) -> Any:
    options = {} if backend == "reference" else {"surrogate": "triangle"}
    return backends.get(backend).compile(task.network(2), **options)


def gradient(rule: Any, program: Any, task: Any, batch: Batch | None = None) -> dict[str, Array]:
    found: dict[str, Array] = rule.gradient(program, dict(values(program.network)), batch or task.batch(), task)
    return found


def curve(rule: Any, program: Any, task: Any, updates: int) -> tuple[Array, dict[str, Array]]:
    """Losses of so many updates, and the parameters after them."""
    parameters: Any = dict(values(program.network))
    state, losses = rule.init(program), []
    for k in range(updates):
        parameters, state, metrics = rule.step(program, parameters, state, task.batch(draw=k % 3), task)
        losses.append(metrics["loss"])
    here().check_same(rule.save(state))
    return np.array(losses), parameters
