"""The .ts files of the UCR and UEA archives: a header, then a case a line, its channels apart by colons, their values by commas, the label last.

Format: Bagnall, Dau, Lines and others (2018), arXiv 1811.00075. Of it, cases with a class, without time stamps and missing values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from neuro.options import OptionError
from neuro.protocols import Array
from tasks.files import plain

LONGEST = 2**24  # bytes of a line
LARGEST = 2**30  # bytes of a file; a value takes two of them at least, and eight in memory


class TsError(Exception):
    """What is wrong with a line."""


@dataclass
class Cases:
    """series: one [step, channel] a case. labels: places in classes. classes: names, in the order that the file declares."""

    classes: tuple[str, ...] = ()
    series: list[Array] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    @property
    def channels(self) -> int:
        return int(self.series[0].shape[1])

    def add(self, line: str) -> None:
        """A case of its line."""
        *channels, label = line.split(":")
        if label.strip() not in self.classes:
            raise TsError(f"the label '{label.strip()[:40]}' is none that @classLabel declares")
        rows = [_values(text) for text in channels]
        if len({len(row) for row in rows}) != 1:
            raise TsError(
                f"its channels have {', '.join(str(len(row)) for row in rows) or 'no'} values; give all as many"
            )
        if self.series and len(rows) != self.channels:
            raise TsError(f"{len(rows)} channels, and the first case has {self.channels}")
        self.series.append(np.stack(rows, axis=1))
        self.labels.append(self.classes.index(label.strip()))

    def declare(self, line: str) -> None:
        """What a line of the header says."""
        key, *words = line.split()
        said = key.lower(), *(w.lower() for w in words[:1])
        if said in (("@timestamps", "true"), ("@classlabel", "false"), ("@targetlabel", "true")):
            raise TsError(f"'{line[:40]}': only cases with a class and without time stamps are read")
        if said == ("@classlabel", "true"):
            self.classes = tuple(words[1:])
        if said == ("@data",) and not self.classes:
            raise TsError("no line '@classLabel true ...' before @data says what classes there are")


def read_ts(path: Path) -> Cases:
    """All cases of a file. Raises OptionError, which names file and line."""
    if plain("time series", path).stat().st_size > LARGEST:
        raise OptionError(f"time series: '{path}' has more than {LARGEST >> 20} MB; give a part of it")
    found, begun, number = Cases(), False, 0
    try:
        with path.open("rb") as file:
            for raw in iter(partial(file.readline, LONGEST + 1), b""):
                number += 1
                line = _text(raw)
                if not line or line.startswith("#"):
                    continue
                (found.add if begun else found.declare)(line)
                begun = begun or line.lower() == "@data"
        if not found.series:
            raise TsError("the file ends before a case came after @data")
    except TsError as error:
        raise OptionError(f"'{path}', line {number}: {error}") from None
    return found


def _text(raw: bytes) -> str:
    if len(raw) > LONGEST:
        raise TsError(f"it has more than {LONGEST >> 20} MB")
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise TsError("it is no text in UTF-8") from None


def _values(text: str) -> Array:
    try:
        values = np.array(text.split(","), dtype=np.float64)
    except ValueError:
        raise TsError(f"'{text[:40]}' has what is no number; missing values ('?') are not read") from None
    if not np.isfinite(values).all():
        raise TsError("it has values that aren't finite; missing values are not read")
    return values
