"""The analytic task for perturbation rules: a linear readout of sines and cosines, whose learning curves are known.

Source: Zuege, Klos & Memmesheimer (2023), Phys Rev X 13:021006.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.language.units import quantity
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse
from neuro.options import OptionError, one_of
from neuro.protocols import Batch, Recording, Settings

Array = npt.NDArray[np.float64]

RELAY = Neuron("relay", "r = u : 1\nu : 1", source="no dynamics: what comes in goes out")
READOUT = Neuron("linear_readout", "y = z : 1\nz : 1", source="no dynamics: the sum of what comes in")
WEIGHTED = Synapse("weighted", "w : 1", transmits="w*r_pre", target="z")


def basis(bins: int) -> Array:
    """Orthonormal rows over the bins: constant, sin, cos, sin 2, cos 2, ...; [bins, bins]."""
    t = np.arange(bins) / bins
    rows = [np.full(bins, np.sqrt(1 / bins))]
    for k in range(1, bins // 2 + 1):
        rows += [np.sqrt(2 / bins) * np.sin(2 * np.pi * k * t), np.sqrt(2 / bins) * np.cos(2 * np.pi * k * t)]
    found = np.array(rows[:bins])
    if bins % 2 == 0:  # the last row would be sin(pi n) = 0
        found[-1] = np.sqrt(1 / bins) * np.cos(np.pi * np.arange(bins))
    return found


class Perturbation:
    """A readout learns 0.1 times the sum of its active inputs, from weights 0.

    active: how many of the inputs are basis functions; the others stay silent. per_trial: how many of those one trial draws
    (0: all); an active input has the mean square inputs / per_trial. optimum: error that no weights go below, from a basis
    function that is no input. Loss: half the squared error, summed over outputs, averaged over bins; metric: minus that.
    bins_as: a linear readout has no memory, so its bins may run as steps of one trial, or, faster, as trials of one step.
    """

    name = "perturbation"
    version = 1
    output = "readout"
    readout = ("weights.w",)  # all there is: this task tests estimators, not learning inside
    settings = Settings(
        batch=1,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "wp": {"sigma": 0.004, "learning_rate": 9.96e-4},  # 1/((outputs * active + 2) * 2)
            "np": {"sigma": 0.04, "learning_rate": 9.96e-4},
            "es": {"sigma": 0.004},
        },
    )

    def __init__(
        self, inputs: int = 100, outputs: int = 10, bins: int = 100, active: int = 50, per_trial: int = 0,
        optimum: float = 0.0, trials: int = 1000, bins_as: str = "steps",
    ) -> None:  # fmt: skip
        one_of("bins_as", bins_as, ("steps", "trials"))
        if not 0 <= per_trial <= active <= min(inputs, bins - (optimum > 0)):
            raise OptionError(
                "per_trial, active, inputs, bins: 0 <= per_trial <= active <= inputs, and no more basis functions than bins"
            )
        self.inputs, self.outputs, self.bins, self.active = inputs, outputs, bins, active
        self.per_trial, self.optimum, self.trials, self.bins_as = per_trial or active, optimum, trials, bins_as
        rows = basis(bins)
        self._rows = rows[:active] * np.sqrt(bins * self.strength)
        self._rest = rows[-1] * np.sqrt(bins * 2 * optimum / outputs)

    @property
    def strength(self) -> float:
        """Mean square of an active input, alpha squared."""
        return self.inputs / self.per_trial

    def network(self, seed: int) -> Network:
        """Inputs -> relay cells -> linear readout: no dynamics, only weights."""
        return Network(
            (Population("relay", RELAY, self.inputs), Population("readout", READOUT, self.outputs)),
            (Projection("weights", "relay", "readout", WEIGHTED, quantity(0.0, "1")),),
            (Input("signals", self.inputs, "current", "relay.u"),),
            dt=quantity("1 ms"),
            seed=seed,
            name="perturbation",
        )

    def batch(self, chosen: npt.NDArray[np.int64]) -> Batch:
        """One trial in which these inputs are active."""
        signals = np.zeros((self.bins, self.inputs))
        signals[:, chosen] = self._rows[chosen].T
        target = 0.1 * signals.sum(axis=1) + self._rest
        target = np.repeat(target[:, None], self.outputs, axis=1)
        axis = 0 if self.bins_as == "steps" else 1
        return Batch({"signals": np.expand_dims(signals, axis)}, np.expand_dims(target, axis))

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """An epoch of `trials` trials, one a batch."""
        whole = self.batch(np.arange(self.active))
        for _ in range(self.trials):
            if self.per_trial == self.active:
                yield whole
            else:
                yield self.batch(np.sort(rng.permutation(self.active)[: self.per_trial]))

    def test_batch(self) -> Batch:
        return self.batch(np.arange(self.active))

    def record(self) -> Sequence[str]:
        return ("readout.y",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        y = traces["readout.y"]
        return 0.5 * ((torch.as_tensor(batch.targets).to(y) - y) ** 2).sum(dim=-1).mean()

    def metric(self, recording: Recording, batch: Batch) -> float:
        return -0.5 * float(((batch.targets - recording.traces["readout.y"]) ** 2).sum(axis=-1).mean())

    def perfect(self, batch: Batch) -> Recording:
        return Recording(1e-3, traces={"readout.y": batch.targets})
