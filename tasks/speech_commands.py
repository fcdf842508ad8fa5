"""Spoken commands: one-second recordings of 35 words, as mel bands into adaptive spiking recurrent cells.

Data: Speech Commands, version 2 (Warden 2018, arXiv 1804.03209; CC BY 4.0), 105,829 recordings at 16 kHz; validation and test are those of its lists, background noise is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuro.options import OptionError, counts
from neuro.protocols import Settings
from tasks.adaptive_srnn import BACKENDS, CONSTANTS, Layer
from tasks.buckets import check_buckets
from tasks.files import File
from tasks.sequences import Currents, Examples, check_layers
from tasks.sounds import log_mel
from tasks.wav_files import WavFolder

VALID, TEST = "validation_list.txt", "testing_list.txt"
COMMANDS = File(
    f"speech_commands_v0.02/{TEST}", "Speech Commands, version 2, beside the folders of its words",
    "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz, unpacked into a folder of that name", "CC BY 4.0",
)  # fmt: skip
RATE = 16000
WORDS, RECORDINGS = 35, 105_829


class SpeechCommands(Currents):
    """Loss and metric: see tasks.sequences.

    folder: where the words' folders are, in place of the usual one. words: some of them, all where it is empty. counted: whether there must be as many words and recordings as the
    published ones. channels: mel bands. frames: of 10 ms, at most. hidden: cells of each recurrent adaptive layer. buckets: see tasks.sequences. All is read and transformed when it is first asked for: some
    minutes and 2 GB for the whole. Raises OptionError.
    """

    name = "speech-commands"
    version = 1
    valid = 0.0  # its own list
    sources = (COMMANDS,)
    settings = Settings(
        epochs=20, batch=128,
        backends=BACKENDS,
        rules={"bptt": {"trainable": ("*.w", "*.bias", *CONSTANTS), "learning_rate": 3e-3, "learning_rates": {"*.tau_*": 0.1}, "scheduler": "cosine"}},
    )  # fmt: skip

    def __init__(
        self, folder: str = "", words: Sequence[str] = (), counted: bool = True, hidden: Sequence[int] = (256, 256), channels: int = 40, frames: int = 100,
        adaptation: bool = True, buckets: int = 0,
    ) -> None:  # fmt: skip
        counts(channels=channels, frames=frames)
        check_layers(hidden)
        check_buckets(buckets)
        self.folder, self.words, self.counted = folder, tuple(words), counted
        self.channels, self.steps, self.classes, self.buckets = channels, frames, len(words) or WORDS, buckets
        beta = 1.8 if adaptation else 0.0
        self.layers = [Layer(n, beta=beta, tau_m=(20.0, 5.0), tau_adp=(100.0, 20.0)) for n in hidden]

    def examples(self) -> Examples:
        whole = WavFolder.of(Path(self.folder) if self.folder else COMMANDS.found().parent)
        if self.counted and (len(whole.words), len(whole.files)) != (WORDS, RECORDINGS):
            raise OptionError(
                f"'{whole.folder}' has {len(whole.words)} words and {len(whole.files)} recordings, the published set {WORDS} and {RECORDINGS}; "
                "get it again, or give counted=False"
            )
        used = whole.only(self.words) if self.words else whole
        if len(used.words) != self.classes:
            raise OptionError(
                f"'{whole.folder}' has {len(used.words)} words, not {self.classes}; name those that are meant: words=[...]"
            )
        valid, test = used.listed(VALID), used.listed(TEST)
        features = [
            log_mel(used.wave(f, RATE), RATE, self.channels, highest=RATE / 2).astype(np.float32) for f in used.files
        ]
        sides = (np.flatnonzero(side) for side in (~valid & ~test, test, valid))
        return Examples(features, used.labels, *sides)
