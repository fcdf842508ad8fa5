"""Recordings that no package brings: where they are looked for, and what to do where they are missing."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from neuro.options import OptionError

FOLDER = "TWINSPIKE_DATA"  # environment variable: the folder of such files; data/ where it isn't set


def plain(option: str, path: Path, want: str = "") -> Path:
    """A file that is neither a folder nor a device, which may have no end. Raises OptionError."""
    if not path.is_file():
        why = "is no plain file" if path.exists() else "can't be read (No such file or directory)"
        raise OptionError(f"{option}: {path} {why}{want and '; '}{want}")
    return path


@dataclass(frozen=True)
class File:
    """name: in the folder. what: it holds. source: the command or address that it comes from. sha256: of the whole file, empty where it has none that is known.
    installed: folders that packages put it in, absolute or within a Python package; they come after the folder."""

    name: str
    what: str
    source: str
    licence: str
    sha256: str = ""
    installed: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it is; where it would be, if it is missing."""
        own = Path(os.environ.get(FOLDER) or "data") / self.name
        others = [f / own.name for place in self.installed if (f := _folder(place))]
        return next((p for p in (own, *others) if p.exists()), own)

    @property
    def state(self) -> str:
        """found, missing or wrong checksum."""
        if not self.path.is_file():
            return "missing"
        return "found" if self._same() else "wrong checksum"

    def found(self) -> Path:
        """Where it is. Raises OptionError where it is missing, or is another file."""
        path = self.path
        get = f"get it: {self.source} ({self.licence})"
        if not path.is_file():
            raise OptionError(
                f"there is no file '{path}' ({self.what}); {get}; the folder is what {FOLDER} says, or data/"
            )
        if not self._same():
            raise OptionError(
                f"'{path}' is not the {self.what} that this task is defined on (SHA-256 {self.sha256[:12]}...); {get}"
            )
        return path

    def _same(self) -> bool:
        return not self.sha256 or _sum(self.path, self.path.stat().st_mtime_ns) == self.sha256


def _folder(place: str) -> Path | None:
    """A Python package's folder is found without importing the package."""
    package, _, rest = place.partition("/")
    if not package:
        return Path(place)
    found = find_spec(package)
    return Path(found.origin).parent / rest if found and found.origin else None


@cache
def _sum(path: Path, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
