"""HDF5 files as plain data: no link out of a group is followed, sizes are checked before anything is allocated."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LIMIT = 2**31  # bytes of all arrays, whatever the file's size
RATIO = 100  # bytes of arrays for each byte of the file
_FREE = 2**26  # bytes that a file of any size may give
_SMALL = 2**16  # bytes that may be declared without being stored
_PACKED = 1100  # deflate packs at most 1032 to 1
_FILTERS = {1, 2, 3, 4, 32000}  # deflate, shuffle, fletcher32, szip, lzf: built in, nothing is loaded for them
WAIT = 10.0  # seconds for whoever else adds to a file
_AGAIN = 0.02  # seconds between two looks whether a file is free
_LOOK = 0.1  # seconds in which whoever only looks has looked
_ATTRIBUTE = 64  # entries of an attribute


class Hdf5Error(Exception):
    """What must not be read. name: the item; why: the reason."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{name}: {why}")


class InUseError(Exception):
    """A file that somebody is writing."""


class LayoutError(Exception):
    """What the layout of a file doesn't hold; the message names the population, variable or part."""


class ResultsError(Exception):
    """A file that is missing, damaged, foreign, in the way, or can't be written; the message names it and the fix."""


@contextmanager
def opened(path: Path, limit: int | None = None, within: str = "") -> Iterator[Contents]:
    """A file to read, also while it is written. limit: see Contents. within: a group that is read like a file of its own. Raises ResultsError, also for
    what reading it raises."""
    if not path.is_file():
        raise ResultsError(f"there is no file '{path}'")
    try:
        file = _open(path)
    except (OSError, RuntimeError, KeyError) as error:
        raise ResultsError(f"'{path}' is not a readable HDF5 file (truncated, or another format): {error}") from None
    with file:
        try:
            contents = Contents(file, limit)
            if within:
                contents.file = contents.member(file, within, h5py.Group)
            yield contents
        except Hdf5Error as error:
            raise ResultsError(f"can't read '{path}', {error}") from None
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
            raise ResultsError(f"'{path}' is damaged: {error}") from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whoever writes the file there. Raises ResultsError for what that raises."""
    try:
        yield
    except InUseError as error:
        raise ResultsError(str(error)) from None
    except (LayoutError, OSError, RuntimeError, ValueError, TypeError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise ResultsError(f"can't write '{path}': {why}") from None


def check_place(path: Path, schema: str, what: str) -> None:
    """Raises ResultsError unless the place is free, or that of a file with this schema. what: what another file is, such as "no state file"."""
    if not path.exists():
        return
    try:
        with opened(path) as contents:
            found = contents.attribute(contents.file, "schema", "")
    except ResultsError as error:
        found = str(error)
    if not isinstance(found, str) or found != schema:
        raise ResultsError(f"'{path}' is there and is {what}; delete it, or choose another name")


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "already open" not in str(error):  # SWMR would search a truncated file for a long time
            raise
        return h5py.File(path, "r", libver="latest", swmr=True, locking=False)


def allowance(path: Path) -> int:
    """Bytes that the arrays of a file may take where its reader sets no limit: they grow with the file, up to LIMIT."""
    return min(LIMIT, _FREE + RATIO * path.stat().st_size)


class Contents:
    """An open file. limit: bytes of all that is read of it, counted as often as it is read."""

    def __init__(self, file: h5py.File, limit: int | None = None) -> None:
        self.file: h5py.Group = file
        self.size = Path(file.filename).stat().st_size
        self.limit = allowance(Path(file.filename)) if limit is None else limit
        self.bytes = 0

    def find(self, group: h5py.Group, name: str, kind: type = object) -> Any:
        """The item at a path below a group, None where there is none. Raises Hdf5Error for links and other kinds."""
        item: Any = group
        for part in name.split("/"):
            if not isinstance(item, h5py.Group):
                raise Hdf5Error(name, f"{_kind(type(item))}, not a group")
            try:
                link = item.get(part, getlink=True)
            except TypeError:  # kinds of links that a program registers itself
                raise Hdf5Error(name, "a link of unknown kind; a file must hold its own data") from None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise Hdf5Error(name, f"{linked(link)}; a file must hold its own data")
            item = item[part]
        if not isinstance(item, kind):
            raise Hdf5Error(name, f"{_kind(type(item))}, not {_kind(kind)}")
        return item

    def member(self, group: h5py.Group, name: str, kind: type = object) -> Any:
        """The same, but it must be there."""
        item = self.find(group, name, kind)
        if item is None:
            raise Hdf5Error(name, "it is missing")
        return item

    def dataset(self, group: h5py.Group, name: str) -> h5py.Dataset:
        """A dataset that holds its own bytes, as many as it declares; they are counted."""
        item = self._sound(group, name)
        self._count_of(name, item, item.shape)
        return item

    def _sound(self, group: h5py.Group, name: str) -> h5py.Dataset:
        item = self.member(group, name, h5py.Dataset)
        if item.shape is None:
            raise Hdf5Error(name, "it is empty")
        if item.is_virtual or item.external:
            raise Hdf5Error(name, "its data are in other files")
        plist = item.id.get_create_plist()
        for i in range(plist.get_nfilters()):
            code = plist.get_filter(i)[0]
            if code not in _FILTERS:
                raise Hdf5Error(name, f"packed with the unknown filter {code}; use gzip")
        size, stored = _bytes(item.shape, item.dtype), item.id.get_storage_size()
        if size > _SMALL and size > _PACKED * stored:
            raise Hdf5Error(name, f"the shape {item.shape} declares {size} bytes, the file holds {stored}")
        return item

    def _count_of(self, name: str, item: h5py.Dataset, shape: tuple[int, ...]) -> None:
        """What reading so much of a dataset takes: a chunk is unpacked whole, however little of it is read."""
        size, chunk = _bytes(shape, item.dtype), _bytes(item.chunks or (), item.dtype)
        self._count(name, max(size, chunk), f"the shape {shape}" if size >= chunk else f"a chunk of {item.chunks}")

    def array(self, group: h5py.Group, name: str, kinds: str = "biuf", wanted: str = "numbers") -> Array:
        """Numbers. kinds: numpy's letters of the types that may come."""
        item = self.dataset(group, name)
        if item.dtype.kind not in kinds:
            raise Hdf5Error(name, f"{item.dtype} where {wanted} belong")
        return np.asarray(item[()])

    def span(self, group: h5py.Group, name: str, first: int, last: int, axis: int = 0, kinds: str = "biuf") -> Array:
        """Numbers from first to last - 1 along an axis; no others are read or counted."""
        item = self._sound(group, name)
        if item.dtype.kind not in kinds:
            raise Hdf5Error(name, f"{item.dtype} where numbers belong")
        if item.ndim < max(axis + 1, -axis) or not 0 <= first <= last <= item.shape[axis]:
            raise Hdf5Error(name, f"entries from {first} to {last} of an array of the shape {item.shape}")
        where = [slice(None)] * item.ndim
        where[axis] = slice(first, last)
        self._count_of(name, item, tuple(len(range(*s.indices(n))) for s, n in zip(where, item.shape, strict=True)))
        return np.asarray(item[tuple(where)])

    def text(self, group: h5py.Group, name: str) -> str:
        """One text."""
        item = self.dataset(group, name)
        if item.shape != () or h5py.check_string_dtype(item.dtype) is None:
            raise Hdf5Error(name, f"{item.dtype} {item.shape} where a text belongs")
        value = item[()]
        self._count(name, len(value), "its text")
        try:
            return value.decode("utf-8") if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError:
            raise Hdf5Error(name, "not UTF-8 text") from None

    def rows(self, item: h5py.Dataset) -> Iterator[Any]:
        """The rows of a dataset of texts, a few at a time: a thousand rows may name one long text of the file."""
        step = max(1, _FREE // (self.size * max(1, int(np.prod(item.shape[1:])))))
        for start in range(0, len(item), step):
            yield from item[start : start + step]

    def attribute(self, item: Any, name: str, default: Any = None) -> Any:
        """A short attribute."""
        if name not in item.attrs:
            return default
        found = item.attrs.get_id(name)
        if found.shape is None or np.prod(found.shape, dtype=object) > _ATTRIBUTE:
            raise Hdf5Error(f"attribute '{name}'", f"the shape {found.shape}")
        return item.attrs[name]

    def _count(self, name: str, size: int, what: str) -> None:
        self.bytes += size
        if self.bytes > self.limit:
            raise Hdf5Error(
                name,
                f"{what} takes the arrays past {self.limit} bytes, the limit for a file of {self.size};"
                " if it is yours, store it unpacked or raise `limit`",
            )


def alone(path: Path, wait: bool = False) -> IO[bytes]:
    """The right to write a file (made where there is none), until what this gives is closed or the process ends.

    wait: a while for whoever has it now, not just until somebody has looked whether it is in use. Raises InUseError, OSError.
    """
    last = time.monotonic() + (WAIT if wait else _LOOK)
    while True:
        file = path.open("ab")
        try:
            from fcntl import LOCK_EX, LOCK_NB, flock

            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            file.close()
            if time.monotonic() >= last:
                raise InUseError(
                    f"'{path}' is being written by another run; wait until it ends, or choose another name"
                ) from None
            time.sleep(_AGAIN)
        except (ImportError, OSError):  # no locks in this system, or in the file's
            return file
        else:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
            file.close()  # another file has come to its place meanwhile


def in_use(path: Path) -> bool | None:
    """Whether somebody has the right to write a file that is there; None where the system has no locks. Raises OSError."""
    with path.open("rb") as file:
        try:
            from fcntl import LOCK_NB, LOCK_SH, flock

            flock(file, LOCK_SH | LOCK_NB)
        except BlockingIOError:
            return True
        except (ImportError, OSError):
            return None
    return False


def exists(group: h5py.Group, name: str) -> bool:
    """Whether a group has this entry, whatever a link of that name leads to."""
    return group.get(name, getlink=True) is not None


def linked(link: Any) -> str:
    """Where a link that is not followed leads."""
    return f"a link to '{link.path}'" + (f" in '{link.filename}'" if isinstance(link, h5py.ExternalLink) else "")


def _bytes(shape: tuple[int, ...], dtype: Any) -> int:
    return int(np.prod([int(n) for n in shape], dtype=object)) * int(dtype.itemsize)


def _kind(kind: type) -> str:
    return f"a {kind.__name__.lower()}"
