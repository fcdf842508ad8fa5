"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cache_folder(kind: str) -> Path:
    """Where things of a kind are kept that can be made again; nothing can be kept there for a user without a home."""
    home = os.path.expanduser("~")
    base = os.environ.get("XDG_CACHE_HOME") or (os.devnull if home == "~" else f"{home}/.cache")
    return Path(base) / "twinspike" / kind


def replaced(path: Path, write: Callable[[Path], Any]) -> None:
    """Write to a side file, then move it over: readers never meet half a file, whenever the writer dies. Raises OSError."""
    side = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(side)
        with side.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(side, path)
    finally:
        side.unlink(missing_ok=True)


def replaced_text(path: Path, text: str) -> None:
    """The same for text. Raises OSError."""
    replaced(path, lambda side: side.write_text(text, encoding="utf-8"))
