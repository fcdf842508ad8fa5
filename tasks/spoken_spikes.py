"""Words as the spikes of an ear's fibres, into adaptive spiking recurrent cells.

fsdd: the Free Spoken Digit Dataset (see tasks.spoken_digits) through tasks.cochlea, its official split. shd, ssc: Heidelberg's digits (8,156 and 2,264) and Google's commands (75,466,
9,981 and 20,382), Cramer and others (2022), CC BY 4.0, 700 channels; numbers as compneuro.net lists them. n-tidigits: Anumula and others (2018), CC BY-SA 4.0, 64 channels; of 8,623 and
8,700 recordings the single digits alone. Network and 250 steps of 4 ms: Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from neuro.events import Events
from neuro.options import OptionError, counts, one_of
from neuro.protocols import Array
from tasks.adaptive_srnn import Layer
from tasks.buckets import check_buckets
from tasks.cochlea import FIBRES, fibres
from tasks.event_files import Spikes, cut, read_lists, read_named
from tasks.files import File
from tasks.sequences import Examples, Sequences, check_layers, check_share
from tasks.spoken_digits import FSDD, OFFICIAL, RATE, SpokenDigits, sounds


def _heidelberg(name: str, what: str) -> File:
    return File(f"{name}.h5", what, f"https://compneuro.net/datasets/{name}.h5.gz, unpacked", "CC BY 4.0")


@dataclass(frozen=True)
class Source:
    """channels, classes. files: by part (train, valid, test). numbers: recordings of each part that were published."""

    channels: int
    classes: int
    files: Mapping[str, File]
    numbers: Mapping[str, int]


_TIDIGITS = File(
    "n-tidigits.hdf5", "N-TIDIGITS18", "https://sensors.ini.uzh.ch/databases.html", "CC BY-SA 4.0"
)  # fmt: skip
SOURCES = {
    "fsdd": Source(FIBRES, 10, {"all": FSDD}, {}),
    "shd": Source(
        700, 20, {p: _heidelberg(f"shd_{p}", f"{p} recordings of SHD") for p in ("train", "test")}, {"train": 8156, "test": 2264}
    ),
    "ssc": Source(
        700, 35, {p: _heidelberg(f"ssc_{p}", f"{p} recordings of SSC") for p in ("train", "valid", "test")}, {"train": 75466, "valid": 9981, "test": 20382}
    ),
    "n-tidigits": Source(64, 11, dict.fromkeys(("train", "test"), _TIDIGITS), {"train": 8623, "test": 8700}),
}  # fmt: skip


@cache
def heard() -> tuple[list[Spikes], Array, Array]:
    """FSDD's recordings as spikes, their digits, and which are the official test's. Takes the better part of a minute. Raises OptionError."""
    found = sounds()
    return fibres(found.waves, RATE), found.digit, np.flatnonzero(found.index < OFFICIAL)


class SpokenSpikes(Sequences):
    """Loss and metric: see tasks.sequences.

    source: fsdd, shd, ssc or n-tidigits. folder: where its files are, in place of the usual one. counted: whether a file must have as many recordings as the published one. steps, of
    `dt_ms` milliseconds: of a recording, at most; several spikes of a channel in one are one. hidden: cells of each layer. adaptation: whether thresholds rise. recurrent: whether the cells of a layer reach each other. valid: share of the training recordings
    that says when to stop, drawn once and for all; ssc has its own. buckets: see tasks.sequences. Raises OptionError; ResultsError for what is no HDF5 file of that layout.
    """

    name = "spoken-spikes"
    version = 1
    kind = "spikes"
    sources = tuple(dict.fromkeys(file for source in SOURCES.values() for file in source.files.values()))
    settings = replace(SpokenDigits.settings, epochs=20)

    def __init__(
        self, source: str = "fsdd", folder: str = "", counted: bool = True, steps: int = 250, dt_ms: float = 4.0, hidden: Sequence[int] = (128, 128),
        adaptation: bool = True, recurrent: bool = True, valid: float = 0.1, buckets: int = 0,
    ) -> None:  # fmt: skip
        one_of("source", source, SOURCES)
        counts(steps=steps)
        check_layers(hidden)
        check_share(valid)
        check_buckets(buckets)
        if not 0 < dt_ms < 1000:
            raise OptionError(f"dt_ms={dt_ms}; give the milliseconds of a step")
        self.source, self.folder, self.counted = source, folder, counted
        self.channels, self.classes = SOURCES[source].channels, SOURCES[source].classes
        self.steps, self.dt, self.valid, self.buckets = steps, dt_ms / 1000, valid, buckets
        beta = 1.8 if adaptation else 0.0
        self.layers = [Layer(n, recurrent, beta=beta, tau_m=(20.0, 5.0), tau_adp=(150.0, 10.0)) for n in hidden]

    def examples(self) -> Examples:
        if self.source == "fsdd":
            spikes, digits, test = heard()
            return Examples(spikes, digits, np.setdiff1d(np.arange(len(digits)), test), test)
        return Examples.of(*(self._part(part) for part in SOURCES[self.source].files))

    def _part(self, part: str) -> tuple[list[Spikes], Array]:
        source = SOURCES[self.source]
        file = source.files[part]
        path = (replace(file, name=str(Path(self.folder).absolute() / file.name)) if self.folder else file).found()
        number = source.numbers[part] if self.counted else 0
        if self.source == "n-tidigits":
            return read_named(path, part, self.channels, number)
        return read_lists(path, self.channels, self.classes, number)

    def length(self, sequence: Spikes) -> int:
        (times,), _ = cut([sequence], self.steps * self.dt)
        return int(times.max(initial=0.0) / self.dt + 1e-6) + 1

    def shown(self, chosen: Array, steps: int, rng: np.random.Generator) -> Array | Events:
        times, channels = cut([self.data.sequences[k] for k in chosen], self.steps * self.dt)
        return Events.from_times(times, channels, (len(chosen), steps, self.channels), self.dt)
