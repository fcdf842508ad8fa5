"""scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels, ten classes, as spikes into a LIF network.

Data: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (CC BY 4.0), as shipped by scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.encoders import ENCODERS, latency, poisson, rate
from neuro.events import Events
from neuro.language.units import quantity
from neuro.library.cuba_lif import cuba_lif
from neuro.library.current_jump import current_jump
from neuro.library.lif import lif
from neuro.library.pulse import pulse
from neuro.model import Input, Network, Normal, Population, Projection
from neuro.options import one_of
from neuro.protocols import Batch, Recording, Settings
from tasks.sequences import check_share, kept_back

# Time constants of cuba_lif whose steps take exactly 1/16 and 1/4 away, as chips with bit shifts do.
CELLS = {
    "lif": (lif.with_parameters(tau_m=quantity("20 ms")), pulse, 1.0),
    "cuba_lif": (
        cuba_lif.with_parameters(tau_m=quantity(-1 / log(15 / 16), "ms"), tau_syn=quantity(-1 / log(3 / 4), "ms")),
        current_jump,
        0.25,
    ),
}
RESETS = {"zero": "v = v_reset", "subtract": "v -= v_th - E_L"}
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

    For chips with other cells or fewer lines: neuron is lif or cuba_lif; recurrent hidden cells; reset to zero or by
    subtraction (subtract); 64 pixels or 16, means of four; the first `classes` digits only. valid: share of the training images that says when to stop.
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

    def __init__(
        self,
        encoder: str = "rate",
        steps: int = 25,
        hidden: int = 128,
        neuron: str = "lif",
        recurrent: bool = False,
        reset: str = "zero",
        pixels: int = 64,
        classes: int = 10,
        valid: float = 0.0,
    ) -> None:
        choices = {"encoder": (encoder, ENCODERS), "neuron": (neuron, CELLS), "reset": (reset, RESETS),
                   "pixels": (pixels, (16, 64)), "classes": (classes, range(2, 11))}  # fmt: skip
        for option, (given, known) in choices.items():
            one_of(option, given, known)
        check_share(valid)
        self.valid = valid
        self.encoder, self.steps, self.hidden = encoder, steps, hidden
        self.neuron, self.recurrent, self.reset, self.pixels, self.classes = neuron, recurrent, reset, pixels, classes

    def network(self, seed: int) -> Network:
        """Pixels -> hidden cells -> one output cell a class, current pulses or synaptic currents, 1 ms."""
        cell, synapse, scale = CELLS[self.neuron]
        cell = replace(cell, reset=RESETS[self.reset])

        def weights(mean: float, std: float) -> Normal:
            return Normal(quantity(scale * mean, "nA"), quantity(scale * std, "nA"))

        projections = [
            Projection("pixels_to_hidden", "pixels", "hidden", synapse, weights(0.05, 0.3)),
            Projection("hidden_to_output", "hidden", "output", synapse, weights(0.05, 0.3)),
        ]
        if self.recurrent:
            projections.append(Projection("hidden_to_hidden", "hidden", "hidden", synapse, weights(0.0, 0.1)))
        return Network(
            (Population("hidden", cell, self.hidden), Population("output", cell, self.classes)),
            tuple(projections),
            (Input("pixels", self.pixels),),
            dt=quantity("1 ms"),
            seed=seed,
            name="digits",
        )

    def data(
        self,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Images [image, pixel] and labels, of training and of test, of the classes and with the pixels asked for."""
        found: list[Any] = []
        for images, labels in (data()[:2], data()[2:]):
            kept = labels < self.classes
            chosen = images[kept]
            if self.pixels == 16:
                chosen = chosen.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
            found += [chosen, labels[kept]]
        return tuple(found)

    def encode(self, images: npt.NDArray[np.float64], seed: int, first: int) -> Events:
        """Spikes of [batch, time, pixel]."""
        if self.encoder == "latency":
            return latency(images, self.steps)
        if self.encoder == "rate":
            return rate(images, self.steps, seed=seed, first=first)
        return poisson(images, self.steps, seed=seed, first=first, dt=1e-3, peak=200.0)

    @property
    def sides(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Indices of the training images to learn, and of those for validation."""
        return kept_back(np.arange(len(self.data()[1])), self.valid)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        images, labels, _, _ = self.data()
        order, seed = rng.permutation(self.sides[0]), int(rng.integers(2**31))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            yield Batch({"pixels": self.encode(images[chosen], seed, start)}, labels[chosen])

    def valid_batch(self) -> Batch | None:
        images, labels, _, _ = self.data()
        chosen = self.sides[1]
        return Batch({"pixels": self.encode(images[chosen], 10**6 + 1, 0)}, labels[chosen]) if len(chosen) else None

    def test_batch(self) -> Batch:
        _, _, images, labels = self.data()
        return Batch({"pixels": self.encode(images, 10**6, 0)}, labels)

    def record(self) -> Sequence[str]:
        return ()

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        counts = spikes[self.output].sum(dim=1)
        return torch.nn.functional.cross_entropy(counts, torch.as_tensor(batch.targets).to(counts.device))

    def metric(self, recording: Recording, batch: Batch) -> float:
        counts = recording.spikes[self.output].sum(axis=1)
        return float((counts.argmax(axis=1) == batch.targets).mean())

    def perfect(self, batch: Batch) -> Recording:
        """The right class fires in every step, the others never."""
        spikes = np.repeat(np.eye(self.classes, dtype=bool)[batch.targets][:, None], self.steps, axis=1)
        return Recording(1e-3, spikes={self.output: spikes})
