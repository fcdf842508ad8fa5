"""Isolated words of TI46, as mel bands into adaptive spiking recurrent cells.

Data: TI 46-Word (LDC93S9, a licence of the LDC): 16 speakers, 46 words, at 12.5 kHz, as plain WAV files (the discs have SPHERE files, which sph2pipe or sox convert). Names say all, as the
corpus' readme has it: two characters each for word, speaker, session ("se" for training, "s1" to "s8" for the test) and take, in whatever folders. All speakers are on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuro.options import OptionError, counts
from neuro.protocols import Settings
from tasks.adaptive_srnn import BACKENDS, CONSTANTS, Layer
from tasks.buckets import check_buckets
from tasks.sequences import Currents, Examples, check_layers, check_share
from tasks.sounds import log_mel
from tasks.wav_files import read_wav, within

RATE = 12500
DIGITS = tuple(f"0{k}" for k in range(10))
_NAME = re.compile(r"(\w\w)([fm]\d)(se|s\d)\w\w\.wav", re.IGNORECASE)
_SOURCE = "it is the LDC's LDC93S9 (https://catalog.ldc.upenn.edu/LDC93S9), converted to WAV"


class Ti46(Currents):
    """Loss and metric: see tasks.sequences.

    folder: with the recordings, at any depth. words: their codes, "00" to "09" for the digits, "0A" to "0Z" for letters, "GO" and so on. channels: mel bands. frames: of 10 ms, at most.
    hidden: cells of each recurrent adaptive layer. valid: share of the training recordings that says when to stop. buckets: see tasks.sequences. How many recordings there must be isn't checked. Raises OptionError.
    """

    name = "ti46"
    version = 1
    settings = Settings(
        epochs=30, batch=64,
        backends=BACKENDS,
        rules={"bptt": {"trainable": ("*.w", "*.bias", *CONSTANTS), "learning_rate": 3e-3, "learning_rates": {"*.tau_*": 0.1}}},
    )  # fmt: skip

    def __init__(
        self, folder: str = "ti46", words: Sequence[str] = DIGITS, hidden: Sequence[int] = (128,), channels: int = 40, frames: int = 100, adaptation: bool = True,
        valid: float = 0.1, buckets: int = 0,
    ) -> None:  # fmt: skip
        counts(channels=channels, frames=frames, words=len(words))
        check_layers(hidden)
        check_share(valid)
        check_buckets(buckets)
        self.folder, self.words = Path(folder), tuple(word.upper() for word in words)
        self.channels, self.steps, self.classes = channels, frames, len(words)
        self.valid, self.buckets = valid, buckets
        beta = 1.8 if adaptation else 0.0
        self.layers = [Layer(n, beta=beta, tau_m=(20.0, 5.0), tau_adp=(100.0, 20.0)) for n in hidden]

    def examples(self) -> Examples:
        if not self.folder.is_dir():
            raise OptionError(
                f"there is no folder '{self.folder}' of TI46's recordings; {_SOURCE}; folder says where it is"
            )
        named = [(path, match) for path in sorted(self.folder.rglob("*.*")) if (match := _NAME.fullmatch(path.name))]
        used = [(path, match) for path, match in named if match[1].upper() in self.words]
        labels = np.array([self.words.index(match[1].upper()) for _, match in used], np.int64)
        training = np.array([match[3].lower() == "se" for _, match in used], bool)
        for k, word in enumerate(self.words):
            if not (training[labels == k].any() and (~training[labels == k]).any()):
                raise OptionError(
                    f"'{self.folder}' has no recordings of '{word}' for training, or none for the test; {_SOURCE}"
                )
        features = [
            log_mel(read_wav(within(self.folder, path), RATE), RATE, self.channels, highest=RATE / 2)
            for path, _ in used
        ]
        return Examples(features, labels, np.flatnonzero(training), np.flatnonzero(~training))
