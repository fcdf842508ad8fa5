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
from neuro.io.hdf5 import Contents, Hdf5Error, exists

Array = npt.NDArray[Any]

_NODES = 2000
_EDGES = 50_000
_DEPTH = 8  # graphs within graphs
_TEXT = 2**24  # characters of a metadata entry
_NAME = 80  # characters of a name in an error

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


def read_file(path: str | Path, limit: int | None = None) -> Node:
    """The graph in a file. limit: bytes of all its arrays; left out, it grows with the file (neuro.io.hdf5.allowance).

    Raises ForeignFileError; OSError where it can't be opened.
    """
    source = Path(path)
    with _opened(source) as file:
        try:
            return _Reader(source.name, Contents(file, limit)).root(file)
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


@contextmanager
def _at(where: str, field: str = "") -> Iterator[None]:
    """What must not be read, with the node where it stands."""
    try:
        yield
    except Hdf5Error as error:
        raise ForeignFileError(where, field or error.name, error.why) from None


class _Reader:
    def __init__(self, name: str, contents: Contents) -> None:
        self.name, self.contents = f"file '{name}'", contents
        self.count = 0

    def root(self, file: h5py.File) -> Node:
        node = self.node(self.group(file, "node", self.name), self.name, 0)
        if node.kind != "NIRGraph":
            raise ForeignFileError(self.name, "type", f"a {node.kind} stands alone; a graph was expected")
        return node

    def group(self, group: h5py.Group, name: str, where: str) -> h5py.Group:
        with _at(where):
            found: h5py.Group = self.contents.member(group, name, h5py.Group)
            return found

    def node(self, group: h5py.Group, where: str, depth: int) -> Node:
        if depth > _DEPTH:
            raise ForeignFileError(where, "nodes", f"graphs nested deeper than {_DEPTH}")
        with _at(where):
            kind = self.contents.text(group, "type")
        metadata = self.metadata(group, where)
        if kind == "NIRGraph":
            parts = self.group(group, "nodes", where)
            self.count += len(parts)
            if self.count > _NODES:
                raise ForeignFileError(where, "nodes", f"more than {_NODES} nodes")
            prefix = "" if depth == 0 else where.removeprefix("node '")[:-1] + "."
            nodes = {
                name: self.node(self.group(parts, name, where), f"node '{prefix}{name}'", depth + 1) for name in parts
            }
            return Node(kind, {}, metadata, nodes, self.edges(group, where, nodes))
        if kind not in KINDS:
            raise ForeignFileError(where, "type", f"'{_short(kind)}'; known: {', '.join((*KINDS, 'NIRGraph'))}")
        needed, possible = KINDS[kind]
        fields = {
            name: self.array(group, name, where)
            for name in (*needed, *possible)
            if name in needed or exists(group, name)
        }
        return Node(kind, fields, metadata)

    def array(self, group: h5py.Group, name: str, where: str) -> Array:
        kinds, wanted = ("iu", "whole numbers") if name in _WHOLE else ("iuf", "numbers")
        with _at(where):
            value = self.contents.array(group, name, kinds, wanted)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ForeignFileError(where, name, "not finite everywhere")
        return value

    def metadata(self, group: h5py.Group, where: str) -> dict[str, str]:
        """The texts among the metadata; everything else there means nothing to us."""
        if not exists(group, "metadata"):
            return {}
        found = {}
        items = self.group(group, "metadata", where)
        for name in items:
            with _at(where, f"metadata '{name}'"):
                item = self.contents.member(items, name)
                if not isinstance(item, h5py.Dataset) or item.shape != () or not h5py.check_string_dtype(item.dtype):
                    continue
                found[name] = self.contents.text(items, name)
            if len(found[name]) > _TEXT:
                raise ForeignFileError(where, f"metadata '{name}'", f"more than {_TEXT} characters")
        return found

    def edges(self, group: h5py.Group, where: str, nodes: Mapping[str, Node]) -> tuple[tuple[str, str], ...]:
        with _at(where):
            item = self.contents.dataset(group, "edges")
        if item.ndim != 2 or item.shape[1] != 2 or not h5py.check_string_dtype(item.dtype):
            if item.size == 0:
                return ()
            raise ForeignFileError(where, "edges", f"{item.dtype} {item.shape} where pairs of names belong")
        if len(item) > _EDGES:
            raise ForeignFileError(where, "edges", f"{len(item)} of them")
        known, found = {name: name for name in nodes}, []
        for pair in self.contents.rows(item):
            names = tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in pair)
            for name in names:
                if name not in known:
                    pair_text = " -> ".join(f"'{_short(n)}'" for n in names)
                    raise ForeignFileError(where, "edges", f"{pair_text}: there is no node '{_short(name)}'")
            found.append((known[names[0]], known[names[1]]))
        return tuple(found)


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[:_NAME]}..."
