"""One Morris-Lecar neuron and one trainable number, its current: keep the output off, or spike so many times.

The losses of both tasks are steps or nearly steps of that current, so a gradient says little or nothing, and a smoothed one does. Two
regions of the current keep the output off: rest, and depolarisation block.

Source: Hazelden et al. (2023), arXiv:2311.10869; its first experiment is the task that keeps the output off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from neuro.language.units import quantity
from neuro.library.morris_lecar import PRESETS, morris_lecar
from neuro.library.morris_lecar_trapezoid import morris_lecar_trapezoid
from neuro.model import Input, Network, Normal, Population, Projection, Synapse
from neuro.options import OptionError
from neuro.protocols import Batch, Recording, Settings
from tasks.rate_networks import linear
from tasks.synthetic import SameBatch

DT = 1e-4  # s
DENSITY = 1e-2  # amp/meter**2 in 1 uA/cm**2
CURRENT = Synapse("current", "w : amp/meter**2", transmits="w*x_pre", target="I", source="a constant current")


def crossings(v: Any, level: float = 0.0) -> Any:
    """Upward crossings of a level by v [..., step, cell], arrays or tensors: counts [..., cell]. A blocked cell has none."""
    return ((v[..., :-1, :] <= level) & (v[..., 1:, :] > level)).sum(-2)


class _SingleNeuron(SameBatch):
    """What both tasks share: the parameter "drive.w" is the current, and every trial is the same."""

    name: str
    version = 1
    output = "cells"
    readout = ("drive.w",)  # all there is
    updates = 50
    steps: int
    trace: str

    def build(self, cells: Population, current: float, seed: int) -> Network:
        """A unit that is always 1 -> the current, in uA/cm**2 -> the neuron."""
        drive = Projection("drive", "one", "cells", CURRENT, quantity(current * DENSITY, "amp/meter**2"))
        inputs = (Input("x", 1, "current", "one.z"),)
        one = Population("one", linear, 1)
        return Network((one, cells), (drive,), inputs, dt=quantity(DT, "second"), seed=seed, name=self.name)

    def batch(self) -> Batch:
        return Batch({"x": np.ones((1, self.steps, 1))}, np.zeros(1))

    def record(self) -> Sequence[str]:
        return (self.trace,)


class TurnOff(_SingleNeuron):
    """Keep the output sigmoid(100 (v - 20 mV)/mV) off for `horizon` ms, from a current of 50 uA/cm**2.

    The neuron is twenty times as fast as the preset a2 (C = 1 uF/cm**2); leak potential and start are drawn once from the seed. Loss: mean
    output in samples of 1 ms. Metric: the share of the time that the output is off.
    """

    name = "turn-off"
    trace = "cells.off"
    settings = Settings(
        batch=1,
        rules={"es": {"samples": 50, "sigma": 0.2, "optimiser": "sgd", "learning_rate": 0.05, "shaping": "none"}},
    )

    def __init__(self, horizon: int = 500) -> None:
        if horizon < 1:
            raise OptionError(f"horizon={horizon}: at least 1 ms")
        self.sample = round(1e-3 / DT)
        self.steps = horizon * self.sample

    def network(self, seed: int) -> Network:
        text = morris_lecar.equations + "\noff = 1 - sigmoid((v - v_half)/v_slope) : 1"
        own = {"C": "1 ufarad/cm**2", "v_half": "20 mV", "v_slope": "0.01 mV"}
        rest = {n: value for n, value in morris_lecar.parameters.items() if n != "v_th"}
        cell = replace(
            morris_lecar, name="fast_morris_lecar", equations=text, threshold="", refractory=quantity("0 ms"),
            parameters={**rest, **PRESETS["a2"], **own},
        )  # fmt: skip
        start = {"v": _normal(-40.0, 5.0, "mV"), "n": _normal(0.5, 0.1, "")}
        return self.build(Population("cells", cell, 1, {"E_L": _normal(-55.0, 2.5, "mV")}, start), 50.0, seed)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        return 1 - self._off(traces)

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float(self._off(recording.traces))

    def _off(self, traces: Mapping[str, Any]) -> Any:
        return traces[self.trace][:, self.sample - 1 :: self.sample].mean()

    def perfect(self, batch: Batch) -> Recording:
        return Recording(DT, traces={self.trace: np.ones((1, self.steps, 1))})


class SpikeCount(_SingleNeuron):
    """Spike `target` times within `seconds`, from a current of `current` uA/cm**2; preset a2.

    Loss: squared difference from the target, whole numbers, so that its gradient is 0 wherever it exists. Metric: minus the difference.
    """

    name = "spike-count"
    trace = "cells.v"
    settings = Settings(
        batch=1, rules={"es": {"samples": 16, "sigma": 0.05, "learning_rate": 0.02, "shaping": "standardised"}}
    )

    def __init__(self, target: int = 20, current: float = 45.0, seconds: float = 1.0) -> None:
        if target < 0 or seconds <= 0:
            raise OptionError(f"target={target}, seconds={seconds}: no fewer than 0 spikes, in more than 0 s")
        self.target, self.current, self.steps = target, current, round(seconds / DT)

    def network(self, seed: int) -> Network:
        cells = Population("cells", morris_lecar_trapezoid, 1, initial={"v": "-20 mV", "n": "0.014173"})
        return self.build(cells, self.current, seed)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        return ((crossings(traces[self.trace]).double() - self.target) ** 2).mean()

    def metric(self, recording: Recording, batch: Batch) -> float:
        return -float(np.abs(crossings(recording.traces[self.trace]) - self.target).mean())

    def perfect(self, batch: Batch) -> Recording:
        """So many steps in which v is above 0, none beside another."""
        v = np.full((1, self.steps, 1), -20e-3)
        v[:, 2 * np.arange(self.target) + 1] = 20e-3
        return Recording(DT, traces={self.trace: v})


def _normal(mean: float, std: float, unit: str) -> Normal:
    return Normal(quantity(mean, unit), quantity(std, unit))
