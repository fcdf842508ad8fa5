"""Recordings that no package brings: where they are looked for, and what to do where they are missing."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
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
    """name: in the folder. what: it holds. source: where to get it, and its licence. sha256: of the whole file."""

    name: str
    what: str
    source: str
    sha256: str

    @property
    def path(self) -> Path:
        return Path(os.environ.get(FOLDER) or "data") / self.name

    def found(self) -> Path:
        """Where it is. Raises OptionError where it is missing, or is another file."""
        path = self.path
        if not path.is_file():
            raise OptionError(
                f"there is no file '{path}' ({self.what}); get it: {self.source}; the folder is what {FOLDER} says, or data/"
            )
        if _sum(path, path.stat().st_mtime_ns) != self.sha256:
            raise OptionError(
                f"'{path}' is not the {self.what} that this task is defined on (SHA-256 {self.sha256[:12]}...); get it: {self.source}"
            )
        return path


@cache
def _sum(path: Path, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
