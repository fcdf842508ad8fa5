"""scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels, ten classes, as spikes into a feed-forward LIF network.

Data: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (CC BY 4.0), as shipped by scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.events import Events
from neuro.library.lif import lif
from neuro.library.pulse import pulse
from neuro.model import Input, Network, Normal, Population, Projection
from neuro.protocols import Batch, Recording, Settings
from neuro.units import quantity
from tasks.encoders import ENCODERS, latency, poisson, rate

TEST = 360
SPLIT_SEED = 0


@cache
def data() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Training images in [0, 1] and labels, test images and labels; the split is fixed and stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    return tuple(
        train_test_split(images / 16.0, labels, test_size=TEST, random_state=SPLIT_SEED, stratify=labels)[i]
        for i in (0, 2, 1, 3)
    )


class Digits:
    """encoder: latency, rate or poisson. Loss: cross entropy of the output cells' spike counts. Metric: accuracy of the
    largest count, the lowest class among equal ones.
    """

    name = "digits"
    version = 1
    output = "output"
    readout = ("hidden_to_output.w",)
    settings = Settings(
        epochs=30,
        backends={"torch": {"dtype": "float32", "surrogate": "atan"}},
        rules={"bptt": {"learning_rate": 0.03, "scheduler": "cosine"}},
    )

    def __init__(self, encoder: str = "rate", steps: int = 25, hidden: int = 128) -> None:
        if encoder not in ENCODERS:
            raise TypeError(f"there is no encoder '{encoder}'; use one of {', '.join(ENCODERS)}")
        self.encoder, self.steps, self.hidden = encoder, steps, hidden

    def network(self, seed: int) -> Network:
        """64 pixels -> hidden LIF -> 10 output LIF, current pulses, 1 ms."""
        cell = lif.with_parameters(tau_m=quantity("20 ms"))

        def weights(mean: float, std: float) -> Normal:
            return Normal(quantity(mean, "nA"), quantity(std, "nA"))

        return Network(
            (Population("hidden", cell, self.hidden), Population("output", cell, 10)),
            (
                Projection("pixels_to_hidden", "pixels", "hidden", pulse, weights(0.05, 0.3)),
                Projection("hidden_to_output", "hidden", "output", pulse, weights(0.05, 0.3)),
            ),
            (Input("pixels", 64),),
            dt=quantity("1 ms"),
            seed=seed,
            name="digits",
        )

    def encode(self, images: npt.NDArray[np.float64], seed: int, first: int) -> Events:
        """Spikes of [batch, time, pixel]."""
        if self.encoder == "latency":
            return latency(images, self.steps)
        if self.encoder == "rate":
            return rate(images, self.steps, seed=seed, first=first)
        return poisson(images, self.steps, seed=seed, first=first, dt=1e-3, peak=200.0)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        images, labels, _, _ = data()
        order, seed = rng.permutation(len(labels)), int(rng.integers(2**31))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            yield Batch({"pixels": self.encode(images[chosen], seed, start)}, labels[chosen])

    def test_batch(self) -> Batch:
        _, _, images, labels = data()
        return Batch({"pixels": self.encode(images, 10**6, 0)}, labels)

    def record(self) -> Sequence[str]:
        return ()

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        counts = spikes[self.output].sum(dim=1)
        return torch.nn.functional.cross_entropy(counts, torch.as_tensor(batch.targets))

    def metric(self, recording: Recording, batch: Batch) -> float:
        counts = recording.spikes[self.output].sum(axis=1)
        return float((counts.argmax(axis=1) == batch.targets).mean())

    def perfect(self, batch: Batch) -> Recording:
        """The right class fires in every step, the others never."""
        spikes = np.repeat(np.eye(10, dtype=bool)[batch.targets][:, None], self.steps, axis=1)
        return Recording(1e-3, spikes={self.output: spikes})
