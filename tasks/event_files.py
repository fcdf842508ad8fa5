"""Recordings of spikes in HDF5 files: the layouts of SHD and SSC, and of N-TIDIGITS18.

SHD, SSC: Cramer, Stradmann, Schemmel & Zenke (2022), IEEE TNNLS 33:2744; spikes/times (seconds) and spikes/units, a list each for every recording, labels. N-TIDIGITS18: Anumula, Neil,
Delbruck & Liu (2018), Front Neurosci 12:23; {train,test}_labels name the recordings, {train,test}_timestamps (seconds) and _addresses have an array for each name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuro.io.hdf5 import Contents, Hdf5Error, opened
from neuro.options import OptionError
from neuro.protocols import Array

Spikes = tuple[Array, Array]  # times, seconds, and channels [event]
DIGITS = {
    "z": 0,
    **{str(k): k for k in range(1, 10)},
    "o": 10,
}  # as the names of N-TIDIGITS18 spell them: two words for 0
_HEAP = 2  # bytes of lists for each byte of a file, which keeps them unpacked
_SMALL = 2**20


def read_lists(path: Path, channels: int, classes: int, number: int = 0) -> tuple[list[Spikes], Array]:
    """Spikes and labels [recording] of a file laid out as SHD and SSC are. number: of recordings that it must have, 0 for any. Raises OptionError, ResultsError."""
    size = path.stat().st_size if path.is_file() else 0
    with opened(path, _HEAP * size + _SMALL) as contents:
        labels = contents.array(contents.file, "labels", "iu", "labels")
        times, units = (_lists(contents, f"spikes/{n}", kinds) for n, kinds in (("times", "f"), ("units", "iu")))
    if labels.ndim != 1 or not len(labels) == len(times) == len(units):
        raise OptionError(f"'{path}' has {len(times)} lists of times, {len(units)} of units, and labels {labels.shape}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise OptionError(f"'{path}' has labels from {labels.min()} to {labels.max()}; they are 0 to {classes - 1}")
    _check_number(path, len(labels), number)
    return [_spikes(path, k, *pair, channels) for k, pair in enumerate(zip(times, units, strict=True))], labels.astype(
        np.int64
    )


def read_named(path: Path, part: str, channels: int, number: int = 0) -> tuple[list[Spikes], Array]:
    """The same of the single digits of a file laid out as N-TIDIGITS18 is. part: train or test. number: of recordings with those of several digits."""
    with opened(path) as contents:
        file = contents.file
        names = [
            n.decode("utf-8") if isinstance(n, bytes) else str(n)
            for n in contents.rows(contents.dataset(file, f"{part}_labels"))
        ]
        _check_number(path, len(names), number)
        single = [n for n in names if len(n.rpartition("-")[2]) == 1]
        if wrong := [n for n in single if n[-1] not in DIGITS]:
            raise OptionError(f"'{path}', {part}_labels: '{wrong[0]}' ends in no digit; they are {', '.join(DIGITS)}")
        found = [
            _spikes(path, n, contents.array(file, f"{part}_timestamps/{n}", "f"), contents.array(file, f"{part}_addresses/{n}", "iuf"), channels) for n in single
        ]  # fmt: skip
    return found, np.array([DIGITS[n[-1]] for n in single], np.int64)


def _lists(contents: Contents, name: str, kinds: str) -> list[Array]:
    """Lists of unequal lengths; all that is read counts against the file's limit."""
    import h5py

    item = contents.dataset(contents.file, name)
    kind = h5py.check_vlen_dtype(item.dtype)
    if kind is None or kind.kind not in kinds or item.ndim != 1:
        raise Hdf5Error(name, f"{item.dtype} {item.shape} where lists of numbers belong")
    found, total = list[Array](), 0
    for row in contents.rows(item):
        total += row.nbytes
        if total > contents.limit:
            raise Hdf5Error(
                name, f"its lists take more than {contents.limit} bytes, the limit for a file of {contents.size}"
            )
        found.append(row)
    return found


def _check_number(path: Path, found: int, number: int) -> None:
    if number and found != number:
        raise OptionError(
            f"'{path}' has {found} recordings, the published file {number}; get it again, or give counted=False"
        )


def _spikes(path: Path, recording: int | str, times: Array, units: Array, channels: int) -> Spikes:
    where = f"'{path}', recording {recording}"
    if times.ndim != 1 or times.shape != units.shape:
        raise OptionError(f"{where}: {times.shape} times and {units.shape} channels")
    if not len(times):
        return times, units.astype(np.uint16)
    if not (np.isfinite(times).all() and times.min() >= 0):
        raise OptionError(f"{where}: times that are negative or no numbers")
    if not (0 <= units.min() <= units.max() < channels and (units % 1 == 0).all()):
        raise OptionError(f"{where}: channels from {units.min()} to {units.max()}; they are 0 to {channels - 1}")
    return times, units.astype(np.uint16)


def cut(spikes: Sequence[Spikes], seconds: float) -> tuple[list[Array], list[Array]]:
    """Times and channels of what comes before so many seconds."""
    kept = [np.asarray(times, np.float64) < seconds for times, _ in spikes]
    pairs = list(zip(spikes, kept, strict=True))
    return [np.asarray(s[0], np.float64)[k] for s, k in pairs], [s[1][k] for s, k in pairs]
