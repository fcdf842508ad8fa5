"""Spoken digits: 3,000 recordings of six speakers, as mel bands into adaptive spiking recurrent cells.

Data: Free Spoken Digit Dataset (Z. Jackson and others, CC BY-SA 4.0), 8 kHz, ten digits by six speakers, fifty of each. The official split has the first five
of each for the test, so that every speaker is on both sides; `held_out` keeps one speaker for the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from neuro.io.npz import read_npz
from neuro.options import counts, one_of
from neuro.protocols import Array, Settings
from tasks.adaptive_srnn import BACKENDS, CONSTANTS, Layer
from tasks.buckets import check_buckets
from tasks.files import File
from tasks.sequences import Currents, Examples, check_layers, check_share
from tasks.sounds import log_mel

FSDD = File(
    "fsdd.npz", "Free Spoken Digit Dataset as one npz (audio, offset, digit, speaker, index)", "https://github.com/Jakobovski/free-spoken-digit-dataset", "CC BY-SA 4.0",
    "1a0d577c69419a0267a3947054b2d67d73433c902c363e3ffc8e3d3ffd5b0875",
)  # fmt: skip
RATE, CLASSES = 8000.0, 10
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
LARGEST = 2**28  # bytes of the arrays
OFFICIAL = 5  # recordings of each speaker and digit in the official test


@dataclass(frozen=True)
class Sounds:
    """waves: int16 [sample] each. digit, speaker, index: [recording]; index within speaker and digit."""

    waves: tuple[Array, ...]
    digit: Array
    speaker: Array
    index: Array


@dataclass(frozen=True)
class Recordings:
    """features: one [frame, channel] each. digit, speaker, index: see Sounds."""

    features: tuple[Array, ...]
    digit: Array
    speaker: Array
    index: Array


@cache
def sounds() -> Sounds:
    """All recordings. Raises OptionError."""
    found = read_npz(FSDD.found(), LARGEST)
    begin, end = found["offset"][:-1], found["offset"][1:]
    waves = tuple(found["audio"][a:b] for a, b in zip(begin, end, strict=True))
    return Sounds(waves, found["digit"].astype(np.int64), found["speaker"], found["index"])


@cache
def recordings(channels: int) -> Recordings:
    """All of them, as logarithms of mel bands every 10 ms. Raises OptionError."""
    found = sounds()
    features = tuple(log_mel(wave.astype(np.float64), RATE, channels) for wave in found.waves)
    return Recordings(features, found.digit, found.speaker, found.index)


class SpokenDigits(Currents):
    """Loss and metric: see tasks.sequences.

    hidden: cells of each recurrent layer. channels: mel bands, as currents, each with mean 0 and deviation 1 over training. frames: of 10 ms, at most; shorter recordings
    are filled up with zeros and read until they end. adaptation: whether thresholds rise. held_out: a speaker who is kept for the test, instead of the official split.
    valid: share of the training recordings that says when to stop, drawn once and for all. buckets: see tasks.sequences. A layer answers a step after the one before it.
    """

    name = "spoken-digits"
    version = 1
    classes = CLASSES
    sources = (FSDD,)
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
        valid: float = 0.1, buckets: int = 0,
    ) -> None:  # fmt: skip
        counts(channels=channels, frames=frames)
        check_layers(hidden)
        check_share(valid)
        check_buckets(buckets)
        one_of("held_out", held_out, ("", *SPEAKERS))
        self.hidden, self.channels, self.steps, self.held_out = tuple(hidden), channels, frames, held_out
        self.valid, self.buckets = valid, buckets
        beta = 1.8 if adaptation else 0.0
        self.layers = [Layer(n, recurrent, beta=beta, tau_m=(20.0, 5.0), tau_adp=(100.0, 20.0)) for n in hidden]

    def examples(self) -> Examples:
        whole = recordings(self.channels)
        tested = whole.speaker == self.held_out if self.held_out else whole.index < OFFICIAL
        return Examples(whole.features, whole.digit, np.flatnonzero(~tested), np.flatnonzero(tested))
