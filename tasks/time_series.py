"""Time series of the UCR and UEA archives, as currents into adaptive spiking recurrent cells.

Data: JapaneseVowels (Kudo, Toyama & Shimbo 1999; 270 and 370 utterances of nine speakers, 12 channels, 7 to 29 steps), PLAID (Gao and others 2014; currents of 537 and 537
appliances of 11 kinds, 100 to 1,344 steps), or two .ts files of one's own. Training and test are the archive's. Licence: the archive's (timeseriesclassification.com), which
names none for a set; the packages that bring them are BSD-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuro.options import OptionError, counts, one_of
from neuro.protocols import Array, Settings
from tasks.adaptive_srnn import BACKENDS, CONSTANTS, Layer
from tasks.buckets import check_buckets
from tasks.files import File
from tasks.sequences import Currents, Examples, check_layers, check_share
from tasks.ts_files import Cases, read_ts

_ARCHIVE = "UCR/UEA archive, timeseriesclassification.com (no licence named)"


def _files(name: str, package: str, train: str, test: str, *installed: str) -> tuple[File, File]:
    sums = {"TRAIN": train, "TEST": test}
    first, second = (
        File(f"{name}_{part}.ts", f"{part.lower()} cases of {name}", f"pip install --no-deps {package}", _ARCHIVE, sums[part], installed) for part in sums
    )  # fmt: skip
    return first, second


SETS = {
    "JapaneseVowels": _files(
        "JapaneseVowels", "aeon==1.6.0",
        "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd", "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
        "aeon/datasets/data/JapaneseVowels", "sktime/datasets/data/JapaneseVowels",
    ),
    "PLAID": _files(
        "PLAID", "sktime==1.2.0",
        "40deb3bc6bd1e1aa0e6db6e6bfd3cecc4a23bf57f6a6d6ab90fb75e4a2c72344", "aa6da0dc1461e8d374e068a940ce37d1b0bb1a9844596d818920c8af696d656d",
        "sktime/datasets/data/PLAID",
    ),
}  # fmt: skip


class TimeSeries(Currents):
    """Loss and metric: see tasks.sequences.

    data: which set. train, test: paths of .ts files of one's own in its place. hidden: cells of each recurrent adaptive layer. steps: of a series, at most; 0 for as many as the
    longest has, of training and test. Channels have mean 0 and deviation 1 over training, and are 0 after a series' end. buckets: see tasks.sequences. Raises OptionError.
    """

    name = "time-series"
    version = 1
    sources = tuple(file for files in SETS.values() for file in files)
    settings = Settings(
        epochs=30, batch=32,
        backends=BACKENDS,
        rules={"bptt": {"trainable": ("*.w", "*.bias", *CONSTANTS), "learning_rate": 1e-2, "learning_rates": {"*.tau_*": 0.1}}},
    )  # fmt: skip

    def __init__(
        self, data: str = "JapaneseVowels", train: str = "", test: str = "", hidden: Sequence[int] = (64,), steps: int = 0, adaptation: bool = True,
        valid: float = 0.1, buckets: int = 0,
    ) -> None:  # fmt: skip
        one_of("data", data, SETS)
        check_layers(hidden)
        check_share(valid)
        check_buckets(buckets)
        if steps:
            counts(steps=steps)
        if bool(train) != bool(test):
            raise OptionError("train and test belong together; give the paths of both .ts files")
        paths = [Path(train), Path(test)] if train else [file.found() for file in SETS[data]]
        first, second = (read_ts(path) for path in paths)
        self.channels, self.classes, self.valid, self.buckets = first.channels, len(first.classes), valid, buckets
        self.read = Examples.of(
            (first.series, np.array(first.labels)), (second.series, _labels(second, first, paths[1]))
        )
        self.steps = steps or max(len(s) for s in self.read.sequences)
        beta = 1.8 if adaptation else 0.0
        self.layers = [Layer(n, beta=beta, tau_m=(20.0, 5.0), tau_adp=(100.0, 20.0)) for n in hidden]

    def examples(self) -> Examples:
        return self.read


def _labels(cases: Cases, other: Cases, path: Path) -> Array:
    """By the classes of the other file, which may stand in another order. Raises OptionError."""
    if cases.channels != other.channels or {*cases.classes} != {*other.classes}:
        raise OptionError(
            f"'{path}' has {cases.channels} channels and the classes {', '.join(cases.classes)}; "
            f"those for training have {other.channels} and {', '.join(other.classes)}"
        )
    return np.array([other.classes.index(cases.classes[k]) for k in cases.labels])
