"""Images pixel by pixel: 64 or 784 steps in the order of the image, or in one order drawn at random for all images.

Data: see tasks.image_files. Le, Jaitly & Hinton (2015), arXiv 1504.00941, for the permuted form; windows of pixels as in Yin, Corradi & Bohte (2021), Nat
Mach Intell 3:905.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neuro.compiler import streams
from neuro.model import Network
from neuro.options import OptionError, counts, one_of
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.adaptive_srnn import BACKENDS, CONSTANTS, Layer, lag, network
from tasks.image_files import CLASSES, FILES, PIXELS, images
from tasks.sequences import check_share, kept_back

SCALES = {
    "digits": (0.3, 0.38),
    "mnist5000": (0.13, 0.31),
    "fashion-mnist": (0.29, 0.35),
}  # mean and deviation of the pixels, about: what a current is counted from, and its unit


class SequentialDigits:
    """Loss: cross entropy of the readout's mean over the image. Metric: accuracy of the largest mean.

    source: digits, mnist5000 or fashion-mnist. permuted: whether the pixels come in an order drawn at random, one for all. window: pixels that are shown at once; each step shows one that is new. hidden: cells of each
    recurrent adaptive layer; adaptation: whether their thresholds rise. Pixels are currents with mean 0 and deviation 1, 0 before the first and after the last. valid: share of the training images that says when to stop.
    """

    name = "sequential-digits"
    version = 1
    sources = FILES
    output = "output"
    readout = ("readout.w", "output.bias")
    settings = Settings(
        epochs=60, batch=64,
        backends=BACKENDS,
        rules={"bptt": {"trainable": ("*.w", "*.bias", *CONSTANTS), "learning_rate": 1e-2, "learning_rates": {"*.tau_*": 0.1}}},
    )  # fmt: skip

    def __init__(
        self, permuted: bool = True, window: int = 4, hidden: Sequence[int] = (64,), adaptation: bool = True, source: str = "digits",
        valid: float = 0.0,
    ) -> None:  # fmt: skip
        one_of("source", source, PIXELS)
        check_share(valid)
        counts(window=window, **{f"hidden[{k}]": n for k, n in enumerate(hidden)})
        self.source, self.pixels = source, PIXELS[source]
        if window > self.pixels or not hidden:
            raise OptionError(
                f"window={window}, hidden={hidden!r}; give at most {self.pixels} pixels, and at least one layer"
            )
        self.permuted, self.window, self.hidden, self.adaptation = permuted, window, tuple(hidden), adaptation
        self.valid = valid

    @property
    def layers(self) -> list[Layer]:
        """The recurrent layers: cells, adaptation and time constants, ms."""
        beta = 1.8 if self.adaptation else 0.0
        return [Layer(n, beta=beta, tau_m=(20.0, 5.0), tau_adp=(200.0, 25.0)) for n in self.hidden]

    def network(self, seed: int) -> Network:
        """Currents -> recurrent adaptive cells -> a leaky readout for each digit."""
        return network(self.name, self.window, self.layers, CLASSES, kind="current", seed=seed)

    def shown(self, pixels: Array) -> Array:
        """Currents [image, step, pixel of the window]: pixels up to this step's; before the first there is nothing."""
        if self.permuted:
            pixels = pixels[:, streams.generator(0, f"{self.name}/order").permutation(self.pixels)]
        late = lag(self.layers, "current")
        mean, deviation = SCALES[self.source]
        padded = np.pad((pixels - mean) / deviation, [(0, 0), (self.window - 1, late)])
        return np.lib.stride_tricks.sliding_window_view(padded, self.window, axis=1)

    def _batch(self, shown: Array, labels: Array) -> Batch:
        late = lag(self.layers, "current")
        counted = np.broadcast_to(np.arange(self.pixels + late) >= late, (len(shown), self.pixels + late))
        return Batch({"x": self.shown(shown)}, labels, counted)

    @property
    def sides(self) -> tuple[Array, Array]:
        """Indices of the training images to learn, and of those for validation."""
        return kept_back(np.arange(len(images(self.source)[1])), self.valid)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        pixels, labels, _, _ = images(self.source)
        order = rng.permutation(self.sides[0])
        for first in range(0, len(order), batch):
            chosen = order[first : first + batch]
            yield self._batch(pixels[chosen], labels[chosen])

    def valid_batch(self) -> Batch | None:
        pixels, labels, _, _ = images(self.source)
        chosen = self.sides[1]
        return self._batch(pixels[chosen], labels[chosen]) if len(chosen) else None

    def test_batch(self) -> Batch:
        return self._batch(*images(self.source)[2:])

    def record(self) -> Sequence[str]:
        return (f"{self.output}.m",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        scores = self._mean(traces)
        return torch.nn.functional.cross_entropy(scores, torch.as_tensor(batch.targets).to(scores.device))

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float((self._mean(recording.traces).argmax(axis=1) == batch.targets).mean())

    def _mean(self, traces: Mapping[str, Any]) -> Any:
        """Of the readout over the image's steps."""
        return traces[f"{self.output}.m"][:, lag(self.layers, "current") :].mean(1)

    def perfect(self, batch: Batch) -> Recording:
        """The right output is large in every step."""
        m = np.repeat(20.0 * np.eye(CLASSES)[batch.targets][:, None], np.asarray(batch.mask).shape[1], axis=1)
        return Recording(1e-3, traces={f"{self.output}.m": m})
