"""NIR files as plain data. Sizes, types and filters are checked before an array is read; no other file is followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.export import ForeignFileError

Array = npt.NDArray[Any]

LIMIT = 2**31  # bytes of all arrays
_NODES = 2000
_EDGES = 50_000
_DEPTH = 8  # graphs within graphs
_TEXT = 2**24  # characters of a metadata entry
_RATIO = 1100  # deflate packs at most 1032 to 1
_SMALL = 2**16  # bytes that may be declared without being stored
_FILTERS = {1, 2, 3, 4, 32000}  # deflate, shuffle, fletcher32, szip, lzf: built in, nothing is loaded for them

# Kind -> arrays that a node must have, and those that it may have.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": (("shape",), ()),
    "Linear": (("weight",), ()),
    "Affine": (("weight", "bias"), ()),
    "Scale": (("scale",), ()),
    "Delay": (("delay",), ()),
    "Flatten": (("start_dim", "end_dim"), ("input_type",)),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
}
_WHOLE = {"shape", "start_dim", "end_dim", "input_type"}


@dataclass(frozen=True)
class Node:
    """fields: finite numbers. nodes, edges: of a graph within the graph. metadata: its texts."""

    kind: str
    fields: Mapping[str, Array] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    edges: tuple[tuple[str, str], ...] = ()


def read_file(path: str | Path, limit: int = LIMIT) -> Node:
    """The graph in a file. limit: bytes of all its arrays. Raises ForeignFileError; OSError where it can't be opened."""
    source = Path(path)
    with _opened(source) as file:
        try:
            return _Reader(source.name, limit).root(file)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
            raise ForeignFileError(f"file '{source.name}'", "HDF5", f"it is damaged ({error})") from None


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    with path.open("rb"):  # a missing file or a folder is said by the system
        pass
    try:
        file = h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        why = f"not a whole HDF5 file ({error})"
        raise ForeignFileError(f"file '{path.name}'", "HDF5", why) from None
    with file:
        yield file


class _Reader:
    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = f"file '{name}'", limit
        self.bytes = self.count = 0

    def root(self, file: h5py.File) -> Node:
        group = self.member(file, "node", self.name, h5py.Group)
        node = self.node(group, self.name, 0)
        if node.kind != "NIRGraph":
            raise ForeignFileError(self.name, "type", f"a {node.kind} stands alone; a graph was expected")
        return node

    def node(self, group: h5py.Group, where: str, depth: int) -> Node:
        if depth > _DEPTH:
            raise ForeignFileError(where, "nodes", f"graphs nested deeper than {_DEPTH}")
        kind = self.text(group, "type", where)
        metadata = self.metadata(group, where)
        if kind == "NIRGraph":
            parts = self.member(group, "nodes", where, h5py.Group)
            self.count += len(parts)
            if self.count > _NODES:
                raise ForeignFileError(where, "nodes", f"more than {_NODES} nodes")
            prefix = "" if depth == 0 else f"{where.split(chr(39))[1]}."
            nodes = {
                name: self.node(self.member(parts, name, where, h5py.Group), f"node '{prefix}{name}'", depth + 1)
                for name in parts
            }
            return Node(kind, {}, metadata, nodes, self.edges(group, where, nodes))
        if kind not in KINDS:
            raise ForeignFileError(where, "type", f"'{kind}'; known: {', '.join((*KINDS, 'NIRGraph'))}")
        needed, possible = KINDS[kind]
        fields = {name: self.array(group, name, where) for name in needed}
        fields |= {name: self.array(group, name, where) for name in possible if name in group}
        return Node(kind, fields, metadata)

    def member(self, group: Any, name: str, where: str, kind: type) -> Any:
        """An item of this file; links into other files are not followed."""
        link = group.get(name, getlink=True)
        if link is None:
            raise ForeignFileError(where, name, "it is missing")
        if not isinstance(link, h5py.HardLink):
            raise ForeignFileError(where, name, f"a link to '{link.path}'; a file must hold its own data")
        item = group[name]
        if not isinstance(item, kind):
            raise ForeignFileError(where, name, f"a {type(item).__name__.lower()}, not a {kind.__name__.lower()}")
        return item

    def data(self, group: h5py.Group, name: str, where: str, width: int | None = None) -> Any:
        """A dataset whose declared size is plausible; its bytes are counted."""
        item = self.member(group, name, where, h5py.Dataset)
        if item.shape is None:
            raise ForeignFileError(where, name, "it is empty")
        if item.is_virtual or item.external:
            raise ForeignFileError(where, name, "its data are in other files")
        plist = item.id.get_create_plist()
        for i in range(plist.get_nfilters()):
            code = plist.get_filter(i)[0]
            if code not in _FILTERS:
                raise ForeignFileError(where, name, f"packed with the unknown filter {code}; use gzip")
        size = int(np.prod([int(n) for n in item.shape], dtype=object)) * (width or item.dtype.itemsize)
        stored = item.id.get_storage_size()
        if size > _SMALL and size > _RATIO * stored:
            why = f"the shape {item.shape} declares {size} bytes, the file holds {stored}"
            raise ForeignFileError(where, name, why)
        self.bytes += size
        if self.bytes > self.limit:
            why = f"the shape {item.shape} takes the arrays past {self.limit} bytes"
            raise ForeignFileError(where, name, why)
        return item

    def array(self, group: h5py.Group, name: str, where: str) -> Array:
        item = self.data(group, name, where)
        if item.dtype.kind not in ("iu" if name in _WHOLE else "iuf"):
            wanted = "whole numbers" if name in _WHOLE else "numbers"
            raise ForeignFileError(where, name, f"{item.dtype} where {wanted} belong")
        value = np.asarray(item[()])
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ForeignFileError(where, name, "not finite everywhere")
        return value

    def text(self, group: h5py.Group, name: str, where: str) -> str:
        item = self.data(group, name, where)
        if item.shape != () or item.dtype.kind not in "OS":
            raise ForeignFileError(where, name, f"{item.dtype} {item.shape} where a text belongs")
        value = item[()]
        try:
            return value.decode("utf-8") if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError:
            raise ForeignFileError(where, name, "not UTF-8 text") from None

    def metadata(self, group: h5py.Group, where: str) -> dict[str, str]:
        """The texts among the metadata; everything else there means nothing to us."""
        if "metadata" not in group:
            return {}
        found = {}
        items = self.member(group, "metadata", where, h5py.Group)
        for name in items:
            item = items.get(name)
            if isinstance(item, h5py.Dataset) and item.shape == () and item.dtype.kind in "OS":
                value = self.text(items, name, where)
                if len(value) > _TEXT:
                    raise ForeignFileError(where, f"metadata '{name}'", f"more than {_TEXT} characters")
                found[name] = value
        return found

    def edges(self, group: h5py.Group, where: str, nodes: Mapping[str, Node]) -> tuple[tuple[str, str], ...]:
        item = self.data(group, "edges", where)
        if item.ndim != 2 or item.shape[1] != 2 or item.dtype.kind not in "OS":
            if item.size == 0:
                return ()
            raise ForeignFileError(where, "edges", f"{item.dtype} {item.shape} where pairs of names belong")
        if len(item) > _EDGES:
            raise ForeignFileError(where, "edges", f"{len(item)} of them")
        found = []
        for pair in item[()]:
            names = tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in pair)
            for name in names:
                if name not in nodes:
                    raise ForeignFileError(where, "edges", f"'{names[0]}' -> '{names[1]}': there is no node '{name}'")
            found.append((names[0], names[1]))
        return tuple(found)
