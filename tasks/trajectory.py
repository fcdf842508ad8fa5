"""Trajectory: logistic rate units without input move two of them along a closed curve. Source: Pearlmutter (1989), Neural Comput 1:263."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.language.units import quantity
from neuro.library.rate_sigmoid import rate_sigmoid
from neuro.model import Input, Network, Population, Projection, Uniform
from neuro.options import OptionError, one_of
from neuro.protocols import Batch, Recording, Settings
from tasks.counting import frames
from tasks.rate_networks import graded

Array = npt.NDArray[Any]
UNIT = 10  # ms, the unit of time of the publication
DT = 1  # ms
PERIOD = 16 * UNIT // DT  # steps
FROM = 4 * UNIT // DT  # steps after which the error counts
FINE = 16  # points of the curve a step, between which a distance is measured
HIDDEN = {"circle": 4, "eight": 10}
UPDATES = {"circle": 2000, "eight": 6000}


def curve(name: str, phase: Array) -> Array:
    """Points [..., 2] at these phases, in radians, within the range of a logistic unit."""
    if name == "circle":
        return 0.5 + 0.3 * np.stack([np.cos(phase), np.sin(phase)], axis=-1)
    return 0.5 + np.stack([0.35 * np.sin(phase), 0.21 * np.sin(2 * phase)], axis=-1)


def distances(name: str, points: Array) -> tuple[float, float]:
    """How far a run [time, 2] is from the curve: mean distance of its points to the curve, and the largest one of the curve's
    points to the run, which tells whether the run passes by all of the curve.
    """
    from scipy.spatial.distance import cdist

    found = cdist(points, curve(name, 2 * np.pi * np.arange(PERIOD * FINE) / (PERIOD * FINE)))
    return float(found.min(axis=1).mean()), float(found.min(axis=0).max())


class Trajectory:
    """Loss: half the squared error of both outputs, mean over the steps that count (E/T of the publication); metric: minus the
    mean distance to the curve. Trained on two periods but for the first 40 ms, tested on the last 3 of 20.

    which: "circle" or "eight". hidden: units besides the two outputs; 4 and 10 when left out. One unit of the publication's time
    is 10 ms. The outputs begin on the curve, hidden units at 0.5. The control trains the biases alone.
    """

    name = "trajectory"
    version = 1
    output = "units"
    readout = ("units.b",)

    def __init__(self, which: str = "circle", hidden: int | None = None, updates: int = 100) -> None:
        one_of("which", which, HIDDEN)
        if hidden is not None and hidden < 0:
            raise OptionError(f"hidden={hidden}; give 0 or more units")
        self.which, self.updates = which, updates
        self.hidden = HIDDEN[which] if hidden is None else hidden
        rates = {"learning_rate": 0.05, "learning_rates": {"units.tau": 0.025}, "logarithmic": ("units.tau",)}
        rule = {**rates, "trainable": ("loop.w", "units.b", "units.tau")}
        self.settings = Settings(
            epochs=UPDATES[which] // updates, batch=1, backends={"torch": {"dtype": "float64"}}, rules={"bptt": rule}
        )

    def network(self, seed: int) -> Network:
        """All units reach all, themselves included; weights and biases are U(-1, 1), time constants 10 ms, from 5 to 100 ms."""
        size, one = 2 + self.hidden, Uniform(quantity(-1.0, ""), quantity(1.0, ""))
        cell = replace(rate_sigmoid, bounds={"tau": (quantity(UNIT / 2, "ms"), quantity(10 * UNIT, "ms"))})
        first = np.full(size, 0.5)
        first[:2] = curve(self.which, np.zeros(()))
        units = Population(
            "units", cell, size, parameters={"tau": quantity(np.full(size, float(UNIT)), "ms"), "b": one},
            initial={"x": quantity(first, "")},
        )  # fmt: skip
        return Network(
            (units,), (Projection("loop", "units", "units", graded, one),), (Input("I", size, "current", "units.I"),),
            dt=quantity(DT, "ms"), seed=seed, name=self.name,
        )  # fmt: skip

    def batch(self, periods: int, first: int) -> Batch:
        """One trial of so many periods; steps from `first` on count."""
        steps = periods * PERIOD
        target = curve(self.which, 2 * np.pi * np.arange(1, steps + 1) / PERIOD)  # a step's end is recorded
        return Batch({"I": np.zeros((1, steps, 2 + self.hidden))}, target[None], np.arange(steps)[None] >= first)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """An epoch: the one trial, `updates` times."""
        for _ in range(self.updates):
            yield self.batch(2, FROM - 1)

    def test_batch(self) -> Batch:
        return self.batch(20, 17 * PERIOD)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.x",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        x = traces[f"{self.output}.x"][..., :2]
        squares = (x - torch.as_tensor(batch.targets).to(x)).square().sum(-1)
        return 0.5 * squares[torch.as_tensor(batch.mask).to(x.device)].mean()

    def weight(self, batch: Batch) -> float:
        return frames(batch)

    def metric(self, recording: Recording, batch: Batch) -> float:
        return -distances(self.which, recording.traces[f"{self.output}.x"][..., :2][batch.mask])[0]

    def perfect(self, batch: Batch) -> Recording:
        return Recording(DT * 1e-3, traces={f"{self.output}.x": batch.targets})
