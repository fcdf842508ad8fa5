"""Images that are shown for some steps, as currents or by rate, to one layer of spiking cells.

Data: see tasks.image_files. Constant currents into the first layer, whose weights are learnt: Rueckauer and others (2017), Front Neurosci 11:682. Cells and surrogate: tasks.adaptive_srnn.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from neuro.events import Events
from neuro.options import counts, one_of
from neuro.protocols import Array, Settings
from tasks.adaptive_srnn import BACKENDS, CONSTANTS, Layer
from tasks.image_files import CLASSES, FILES, PIXELS, images
from tasks.sequences import Examples, Sequences, check_share

ENCODERS = ("current", "rate")


class Images(Sequences):
    """Loss and metric: see tasks.sequences; a readout's mean over the steps.

    source: fashion-mnist, mnist5000 or digits. encoder: current, the same in each step, with mean 0 and deviation 1 over all pixels of training; rate, a spike in each step with the
    probability of the pixel, new ones in each epoch. hidden: cells, without adaptation unless asked for. valid: share of the training images that says when to stop.
    """

    name = "images"
    version = 1
    classes = CLASSES
    sources = FILES
    settings = Settings(
        epochs=20, batch=100,
        backends=BACKENDS,
        rules={"bptt": {"trainable": ("*.w", "*.bias", *CONSTANTS), "learning_rate": 3e-3, "learning_rates": {"*.tau_*": 0.02}, "scheduler": "cosine"}},
    )  # fmt: skip

    def __init__(
        self, source: str = "fashion-mnist", encoder: str = "current", steps: int = 8, hidden: int = 512, adaptation: bool = False, valid: float = 0.0
    ) -> None:  # fmt: skip
        one_of("source", source, PIXELS)
        one_of("encoder", encoder, ENCODERS)
        counts(steps=steps, hidden=hidden)
        check_share(valid)
        self.source, self.encoder, self.steps, self.valid = source, encoder, steps, valid
        self.kind, self.channels = "spikes" if encoder == "rate" else "current", PIXELS[source]
        self.layers = [
            Layer(hidden, False, beta=1.8 if adaptation else 0.0, b0=1.0, tau_m=(4.0, 1.0), tau_adp=(20.0, 5.0))
        ]

    def examples(self) -> Examples:
        first, labels, second, answers = images(self.source)
        return Examples.of((first, labels), (second, answers))

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Mean and deviation of the pixels of training."""
        first, _, _, _ = images(self.source)
        return float(first.mean()), float(first.std())

    def length(self, sequence: Array) -> int:
        return self.steps

    def shown(self, chosen: Array, steps: int, rng: np.random.Generator) -> Array | Events:
        pixels = np.stack([self.data.sequences[k] for k in chosen])
        if self.encoder == "rate":
            fired = [rng.random((steps, self.channels), np.float32) < image for image in pixels]
            return Events.of(np.stack(fired))
        mean, deviation = self.scale
        current = (pixels - np.float32(mean)) / np.float32(deviation)
        return np.broadcast_to(current[:, None], (len(chosen), steps, self.channels))
