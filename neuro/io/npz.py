"""npz files as plain arrays: declared sizes are checked before anything is allocated, nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_FORMAT: Any = np.lib.format  # without types


class NpzError(Exception):
    """What must not be read. name: the array; why: the reason."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{name}: {why}")


def read_npz(source: Path | IO[bytes], limit: int) -> dict[str, Array]:
    """Name -> array. limit: bytes of all arrays. Raises NpzError; OSError where the file can't be opened."""
    try:
        with zipfile.ZipFile(source) as archive:
            return _arrays(archive, limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise NpzError("zip", f"not an npz file ({error})") from None


def _arrays(archive: zipfile.ZipFile, limit: int) -> dict[str, Array]:
    found, total = {}, 0
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in found:
            raise NpzError(name, "two arrays have this name")
        total += info.file_size
        if total > limit:
            raise NpzError(name, f"its {info.file_size} bytes take the arrays past {limit}")
        with archive.open(info) as file:
            try:
                if _FORMAT.read_magic(file) != (1, 0):
                    raise NpzError(name, "an array of another version than 1.0")
                shape, _, dtype = _FORMAT.read_array_header_1_0(file)
                held = info.file_size - file.tell()
            except (ValueError, EOFError) as error:
                raise NpzError(name, f"not an array ({error})") from None
        if dtype.hasobject:
            raise NpzError(name, "it holds objects, which are not read")
        if any(type(n) is not int or n < 0 for n in shape):
            raise NpzError(name, f"the shape {shape} is none")
        size = dtype.itemsize * prod(shape)
        if size != held:
            raise NpzError(name, f"the shape {shape} declares {size} bytes of {held}")
        with archive.open(info) as file:
            found[name] = _FORMAT.read_array(file, allow_pickle=False)
    return found
