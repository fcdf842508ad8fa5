"""Spoken digits: 3,000 recordings of six speakers, as mel bands into adaptive spiking recurrent cells.

Data: Free Spoken Digit Dataset (Z. Jackson and others, CC BY-SA 4.0), 8 kHz, ten digits by six speakers, fifty of each. The official split has the first five
of each for the test, so that every speaker is on both sides; `held_out` keeps one speaker for the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from neuro.io.npz import read_npz
from neuro.model import Network
from neuro.options import OptionError, counts, one_of
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.adaptive_srnn import BACKENDS, CONSTANTS, Layer, lag, network
from tasks.files import File
from tasks.sounds import log_mel

FSDD = File(
    "fsdd.npz", "Free Spoken Digit Dataset as one npz (audio, offset, digit, speaker, index)", "https://github.com/Jakobovski/free-spoken-digit-dataset (CC BY-SA 4.0)",
    "1a0d577c69419a0267a3947054b2d67d73433c902c363e3ffc8e3d3ffd5b0875",
)  # fmt: skip
RATE, CLASSES = 8000.0, 10
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
LARGEST = 2**28  # bytes of the arrays
OFFICIAL = 5  # recordings of each speaker and digit in the official test


@dataclass(frozen=True)
class Recordings:
    """features: one [frame, channel] each. digit, speaker, index: [recording]; index within speaker and digit."""

    features: tuple[Array, ...]
    digit: Array
    speaker: Array
    index: Array


@cache
def recordings(channels: int) -> Recordings:
    """All of them, as logarithms of mel bands every 10 ms. Raises OptionError."""
    found = read_npz(FSDD.found(), LARGEST)
    begin, end = found["offset"][:-1], found["offset"][1:]
    sounds = (found["audio"][a:b].astype(np.float64) for a, b in zip(begin, end, strict=True))
    features = tuple(log_mel(sound, RATE, channels) for sound in sounds)
    return Recordings(features, found["digit"].astype(np.int64), found["speaker"], found["index"])


class SpokenDigits:
    """Loss: cross entropy of the readout's mean over a recording. Metric: accuracy of the largest mean.

    hidden: cells of each recurrent layer. channels: mel bands, as currents, each with mean 0 and deviation 1 over training. frames: of 10 ms, at most; shorter recordings
    are filled up with zeros and read until they end. adaptation: whether thresholds rise. held_out: a speaker who is kept for the test, instead of the official split.
    valid: share of the training recordings that says when to stop, drawn once and for all. A layer answers a step after the one before it.
    """

    name = "spoken-digits"
    version = 1
    output = "output"
    readout = ("readout.w", "output.bias")
    settings = Settings(
        epochs=30, batch=64,
        backends=BACKENDS,
        rules={
            "bptt": {
                "trainable": ("*.w", "*.bias", *CONSTANTS), "learning_rate": 3e-3, "learning_rates": {"*.tau_*": 0.1},
                "scheduler": "step", "schedule_options": {"step_size": 420, "gamma": 0.5},
            },
        },
    )  # fmt: skip

    def __init__(
        self, hidden: Sequence[int] = (128,), channels: int = 40, frames: int = 100, adaptation: bool = True, recurrent: bool = True, held_out: str = "",
        valid: float = 0.1,
    ) -> None:  # fmt: skip
        counts(channels=channels, frames=frames, **{f"hidden[{k}]": n for k, n in enumerate(hidden)})
        one_of("held_out", held_out, ("", *SPEAKERS))
        if not hidden or not 0 <= valid < 1:
            raise OptionError(
                f"hidden={hidden!r}, valid={valid}; give at least one layer, and a share from 0 to below 1"
            )
        self.hidden, self.channels, self.frames, self.valid = tuple(hidden), channels, frames, valid
        self.adaptation, self.recurrent, self.held_out = adaptation, recurrent, held_out

    @property
    def layers(self) -> list[Layer]:
        beta = 1.8 if self.adaptation else 0.0
        return [Layer(n, self.recurrent, beta=beta, tau_m=(20.0, 5.0), tau_adp=(100.0, 20.0)) for n in self.hidden]

    @property
    def lag(self) -> int:
        """Steps by which the readout answers late."""
        return lag(self.layers, "current")

    def network(self, seed: int) -> Network:
        """Currents -> recurrent adaptive cells -> a leaky readout for each digit."""
        return network(self.name, self.channels, self.layers, CLASSES, kind="current", seed=seed)

    @cached_property
    def sides(self) -> tuple[Array, Array, Array]:
        """Indices of the recordings for training, validation and test."""
        whole = recordings(self.channels)
        tested = whole.speaker == self.held_out if self.held_out else whole.index < OFFICIAL
        order = np.random.default_rng(0).permutation(np.flatnonzero(~tested))
        kept = round(self.valid * len(order))
        return np.sort(order[kept:]), np.sort(order[:kept]), np.flatnonzero(tested)

    @cached_property
    def scale(self) -> tuple[Array, Array]:
        """Mean and deviation of each channel over the training recordings."""
        every = np.concatenate([recordings(self.channels).features[k] for k in self.sides[0]])
        return every.mean(axis=0), every.std(axis=0)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        order = rng.permutation(self.sides[0])
        for first in range(0, len(order), batch):
            yield self._batch(order[first : first + batch])

    def valid_batch(self) -> Batch | None:
        return self._batch(self.sides[1]) if len(self.sides[1]) else None

    def test_batch(self) -> Batch:
        return self._batch(self.sides[2])

    def _batch(self, chosen: Array) -> Batch:
        whole, (mean, deviation) = recordings(self.channels), self.scale
        x = np.zeros((len(chosen), self.frames + self.lag, self.channels))
        counted = np.zeros(x.shape[:2], bool)
        for row, k in enumerate(chosen):
            cut = whole.features[k][: self.frames]
            x[row, : len(cut)] = (cut - mean) / deviation
            counted[row, self.lag : self.lag + len(cut)] = True
        return Batch({"x": x}, whole.digit[chosen], counted)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.m",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        m = traces[f"{self.output}.m"]
        counted = torch.as_tensor(np.array(batch.mask), dtype=m.dtype)[..., None]
        return torch.nn.functional.cross_entropy((m * counted).sum(1) / counted.sum(1), torch.as_tensor(batch.targets))

    def metric(self, recording: Recording, batch: Batch) -> float:
        counted = np.asarray(batch.mask)[..., None]
        mean = (recording.traces[f"{self.output}.m"] * counted).sum(axis=1)
        return float((mean.argmax(axis=1) == batch.targets).mean())

    def perfect(self, batch: Batch) -> Recording:
        """The right output is large in every step."""
        m = np.repeat(20.0 * np.eye(CLASSES)[batch.targets][:, None], np.asarray(batch.mask).shape[1], axis=1)
        return Recording(1e-3, traces={f"{self.output}.m": m})
