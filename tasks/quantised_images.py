"""Images into a perceptron whose weights and activities are a few bits: classification by squared hinge.

Data: see tasks.image_files. Network: tasks.quantised_networks. Source: Hubara, Courbariaux, Soudry, El-Yaniv & Bengio (2018), JMLR 18(187).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from neuro.model import Network
from neuro.options import OptionError, counts, one_of
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.image_files import CLASSES, FILES, PIXELS, images
from tasks.quantised_networks import perceptron

HIDDEN = (512, 512, 512)
BRIGHTEST = 255


class QuantisedImages:
    """Loss: mean of max(0, 1 - t u)^2 over outputs, t = 1 for the right class and -1 for the others; metric: accuracy of the largest u.

    source: mnist5000, fashion-mnist or digits. hidden: cells of each layer. bits: of their activities, 1 for signs, 0 for relu. largest: initial weights are uniform up to it; 0: Glorot's. The bits
    of weights are the rule's: quantise={"weights": {"*": {"kind": "binary", "fit": "unit"}}}.
    """

    name = "quantised-images"
    version = 1
    output = "output"
    readout = ("feed_4.w", "output.gamma", "output.beta")
    sources = FILES
    settings = Settings(
        epochs=25, batch=100,
        backends={"torch": {"dtype": "float32"}},
        rules={"layerwise": {
            "trainable": ("*.w", "*.gamma", "*.beta"), "quantise": {"weights": {"*": {"kind": "binary", "fit": "unit"}}},
            "learning_rate": 3e-3, "by_fan": True, "scheduler": "cosine",
        }},
    )  # fmt: skip

    def __init__(
        self, source: str = "mnist5000", hidden: Sequence[int] = HIDDEN, bits: int = 1, largest: float = 1.0
    ) -> None:
        one_of("source", source, PIXELS)
        if not hidden:
            raise OptionError("hidden=(); give the cells of at least one layer")
        counts(**{f"hidden[{k}]": n for k, n in enumerate(hidden)})
        if not 0 <= bits <= 16 or not 0 <= largest < float("inf"):
            raise OptionError(f"bits={bits}, largest={largest}; give 0 to 16 bits, and a largest weight of 0 or more")
        self.source, self.bits, self.largest = source, bits, largest
        self.sizes = (PIXELS[source], *hidden, CLASSES)
        self.readout = (f"feed_{len(hidden) + 1}.w", "output.gamma", "output.beta")

    def network(self, seed: int) -> Network:
        return perceptron("quantised_images", self.sizes, self.bits, self.largest, seed)

    @cached_property
    def data(self) -> tuple[Array, Array, Array, Array]:
        """Pixels uint8 [image, pixel] and labels of training and test."""
        first, labels, second, answers = images(self.source)
        return _bytes(first), labels, _bytes(second), answers

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        pixels, labels, _, _ = self.data
        order = rng.permutation(len(labels))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            yield shown(pixels[chosen], labels[chosen])

    def test_batch(self) -> Batch:
        _, _, pixels, labels = self.data
        return shown(pixels, labels)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.u",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        u = traces[f"{self.output}.u"][:, -1]
        signs = torch.as_tensor(2.0 * np.eye(CLASSES)[batch.targets] - 1).to(u)
        return (torch.clamp(1 - signs * u, min=0) ** 2).mean()

    def metric(self, recording: Recording, batch: Batch) -> float:
        found = recording.traces[f"{self.output}.u"][:, -1].argmax(axis=1)
        return float((found == batch.targets).mean())

    def perfect(self, batch: Batch) -> Recording:
        u = 2.0 * np.eye(CLASSES)[batch.targets] - 1
        return Recording(1e-3, traces={f"{self.output}.u": u[:, None]})


def shown(pixels: Array, labels: Array) -> Batch:
    """One step of (2 p - 255)/255 for bytes p [image, pixel]: from -1 to 1."""
    return Batch({"pixels": ((2.0 * pixels - BRIGHTEST) / BRIGHTEST)[:, None]}, labels)


def _bytes(pixels: Array) -> Array:
    return np.rint(BRIGHTEST * np.asarray(pixels, np.float64)).astype(np.uint8)
