"""Broken and hostile files, each with the words that its error must have."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuro import Input, Network, Population, Projection, library, quantity
from neuro.export.nir.common import export_nir

Break = Callable[[Path], Any]
LAYER, FEED = "node/nodes/n02_lif_cells", "node/nodes/n01_fc_cells"
LOOP = f"{LAYER}/nodes/lif"


def whole(path: Path) -> Path:
    """A good file of 4 channels and 3 recurrent cells."""
    lif, pulse = library.get("lif"), library.get("pulse")
    weights = quantity(np.random.default_rng(0).normal(1, 1, (4, 3)), "nA")
    projections = (
        Projection("feed", "x", "cells", pulse, weights),
        Projection("loop", "cells", "cells", pulse, "0.1 nA"),
    )
    export_nir(Network((Population("cells", lif, 3),), projections, (Input("x", 4),), dt="1 ms"), None, path)
    return path


def edit(change: Callable[[h5py.File], Any]) -> Break:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return apply


def put(name: str, value: Any, **options: Any) -> Break:
    """Another dataset in the place of one."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        if value is not None:
            file.create_dataset(name, data=value, **options)

    return edit(change)


def declared(name: str, shape: tuple[int, ...], dtype: str = "f4", **options: Any) -> Break:
    """A size without bytes behind it."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, shape=shape, dtype=dtype, chunks=True, **options)

    return edit(change)


def link(name: str, target: Any) -> Break:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = target

    return edit(change)


def record(change: Callable[[dict[str, Any]], Any]) -> Break:
    def apply(file: h5py.File) -> None:
        data = json.loads(file["node/metadata/record"][()])
        change(data)
        del file["node/metadata/record"]
        file["node/metadata/record"] = json.dumps(data)

    return edit(apply)


def cut(part: float) -> Break:
    return lambda path: os.truncate(path, int(part * path.stat().st_size))


def bytes_at(part: float, count: int = 512) -> Break:
    def apply(path: Path) -> None:
        data = bytearray(path.read_bytes())
        start = int(part * len(data))
        data[start : start + count] = np.random.default_rng(1).bytes(min(count, len(data) - start))
        path.write_bytes(bytes(data))

    return apply


def nested(file: h5py.File) -> None:
    """A graph that holds itself."""
    file["node/nodes/n03_self"] = file["node"]


def many_nodes(file: h5py.File) -> None:
    kind = file["node/nodes/output/type"]
    shape = file["node/nodes/output/shape"]
    for i in range(2001):
        group = file.create_group(f"node/nodes/x{i}")
        group["type"], group["shape"] = kind, shape


def edges(pairs: list[tuple[str, str]]) -> Break:
    return put("node/edges", np.array(pairs, dtype=object), dtype=h5py.string_dtype())


def weight_loop(file: h5py.File) -> None:
    for name in ("a", "b"):
        group = file.create_group(f"node/nodes/{name}")
        group["type"], group["weight"] = "Linear", np.eye(3)
    del file["node/edges"]
    pairs = [("input", "n01_fc_cells"), ("n01_fc_cells", "a"), ("a", "b"), ("b", "a"), ("b", "n02_lif_cells"),
             ("n02_lif_cells", "output")]  # fmt: skip
    file.create_dataset("node/edges", data=np.array(pairs, dtype=object), dtype=h5py.string_dtype())


def two_cells(file: h5py.File) -> None:
    """Two layers that feed each other."""
    file.copy(LAYER, "node/nodes/z")
    group = file.create_group("node/nodes/back")
    group["type"], group["weight"] = "Linear", np.eye(3)
    pairs = [("input", "n01_fc_cells"), ("n01_fc_cells", "n02_lif_cells"), ("n02_lif_cells", "back"), ("back", "z"),
             ("z", "n02_lif_cells"), ("n02_lif_cells", "output")]  # fmt: skip
    del file["node/edges"]
    file.create_dataset("node/edges", data=np.array(pairs, dtype=object), dtype=h5py.string_dtype())


def wide_product(file: h5py.File) -> None:
    """Two thin matrices whose product has a billion numbers."""
    size = 2**15
    for name, shape in (("b", (size, 1)), ("c", (1, size)), ("c2", (3, size))):
        group = file.create_group(f"node/nodes/{name}")
        group["type"], group["weight"] = "Linear", np.ones(shape, np.float32)
    del file["node/nodes/input/shape"]
    file["node/nodes/input/shape"] = np.array([size])
    del file["node/edges"]
    pairs = [("input", "c"), ("c", "b"), ("b", "c2"), ("c2", "n02_lif_cells"), ("n02_lif_cells", "output")]
    file.create_dataset("node/edges", data=np.array(pairs, dtype=object), dtype=h5py.string_dtype())


def lone(file: h5py.File) -> None:
    del file["node/nodes"]
    file.create_group("node/nodes")
    del file["node/edges"]
    file["node/edges"] = np.zeros((0, 2), "S1")


def virtual(file: h5py.File) -> None:
    del file[f"{FEED}/weight"]
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (3, 4))
    file.create_virtual_dataset(f"{FEED}/weight", layout)


def bomb(file: h5py.File) -> None:
    """Half a gigabyte of zeros in half a megabyte."""
    put_into(file, f"{FEED}/weight", shape=(2**15, 2**12), dtype="f4", chunks=(2**10, 2**12), compression="gzip")
    chunk = zlib.compress(bytes(2**24), 9)
    for row in range(0, 2**15, 2**10):
        file[f"{FEED}/weight"].id.write_direct_chunk((row, 0), chunk)


def wide_chunk(file: h5py.File) -> None:
    """Twelve numbers in a chunk of an eighth of a gigabyte, which is unpacked whole."""
    options = {"maxshape": (None, None), "dtype": "f4", "chunks": (2**12, 2**13), "compression": "gzip"}
    put_into(file, f"{FEED}/weight", shape=(3, 4), **options)
    file[f"{FEED}/weight"].id.write_direct_chunk((0, 0), zlib.compress(bytes(2**27), 9))


def put_into(file: h5py.File, name: str, **options: Any) -> None:
    del file[name]
    file.create_dataset(name, **options)


def long_names(file: h5py.File) -> None:
    """A hundred thousand names of edges that are one long text."""
    del file["node/edges"]
    text = "x" * 2**22
    edges = file.create_dataset("node/edges", (50_000, 2), h5py.string_dtype(), chunks=(50_000, 2))
    edges[0] = [text, text]
    raw = edges.id.read_direct_chunk((0, 0))[1]
    edges.id.write_direct_chunk((0, 0), raw[:32] * 50_000)


def many_links(file: h5py.File) -> None:
    """One matrix of four megabytes under five hundred names."""
    file.create_dataset("big", data=np.ones((2**10, 2**10), np.float32))
    for i in range(500):
        group = file.create_group(f"node/nodes/x{i}")
        group["type"], group["weight"] = "Linear", file["big"]


NAN = np.array([1.0, np.nan, 1.0])
NIR: dict[str, tuple[Break, str]] = {
    "empty": (lambda p: p.write_bytes(b""), "not a whole HDF5 file"),
    "text": (lambda p: p.write_text("hello"), "not a whole HDF5 file"),
    "pickle": (lambda p: p.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR."), "not a whole HDF5 file"),
    "cut at 1 %": (cut(0.01), "not a whole HDF5 file"),
    "cut at 30 %": (cut(0.3), "not a whole HDF5 file"),
    "cut at 60 %": (cut(0.6), "not a whole HDF5 file"),
    "cut at 99 %": (cut(0.99), "not a whole HDF5 file"),
    "noise at the start": (bytes_at(0.0), "not a whole HDF5 file"),
    "noise at 5 %": (bytes_at(0.05), "can't read"),
    "no node": (edit(lambda f: f.__delitem__("node")), "node: it is missing"),
    "no type": (put(f"{FEED}/type", None), "node 'n01_fc_cells', type: it is missing"),
    "no edges": (put("node/edges", None), "edges: it is missing"),
    "no nodes": (edit(lambda f: f.__delitem__("node/nodes")), "nodes: it is missing"),
    "no weight": (put(f"{FEED}/weight", None), "node 'n01_fc_cells', weight: it is missing"),
    "no neurons": (edit(lone), "there are no neurons"),
    "unknown node": (put(f"{FEED}/type", "Quantum"), "node 'n01_fc_cells', type: 'Quantum'; known"),
    "a convolution": (put(f"{FEED}/type", "Conv2d"), "node 'n01_fc_cells', type: 'Conv2d'"),
    "type is a number": (put(f"{FEED}/type", 7), "node 'n01_fc_cells', type: int64 .* where a text belongs"),
    "type is not UTF-8": (put(f"{FEED}/type", np.bytes_(b"\xff\xfe")), "type: not UTF-8"),
    "no graph": (put("node/type", "Linear"), "weight: it is missing"),
    "weight is text": (put(f"{FEED}/weight", "many"), "node 'n01_fc_cells', weight: .* where numbers belong"),
    "weight is complex": (put(f"{FEED}/weight", np.ones((3, 4), complex)), "weight: complex128 where numbers belong"),
    "weight is a compound": (put(f"{FEED}/weight", np.zeros(3, [("a", "f4")])), "where numbers belong"),
    "weight is a group": (link(f"{FEED}/weight", h5py.SoftLink("/node/edges")), "weight: a link to"),
    "weight of NaN": (put(f"{FEED}/weight", np.full((3, 4), np.nan)), "weight: not finite"),
    "weight of inf": (put(f"{FEED}/weight", np.full((3, 4), np.inf)), "weight: not finite"),
    "weight of one axis": (put(f"{FEED}/weight", np.ones(12)), "weight: the shape"),
    "weight of three axes": (put(f"{FEED}/weight", np.ones((3, 4, 1))), "weight: the shape"),
    "weight too narrow": (put(f"{FEED}/weight", np.ones((3, 2))), "weight: the shape"),
    "weight for more cells": (put(f"{FEED}/weight", np.ones((5, 4))), "3 cells get 5 values"),
    "weight without values": (put(f"{FEED}/weight", h5py.Empty("f4")), "weight: it is empty"),
    "terabytes declared": (declared(f"{FEED}/weight", (2**20, 2**20)), "declares .* bytes, the file holds 0"),
    "exabytes declared": (declared(f"{FEED}/weight", (2**31, 2**31)), "declares .* bytes, the file holds 0"),
    "declared and packed": (declared(f"{FEED}/weight", (2**20, 2**16), compression="gzip"), "the file holds 0"),
    "many edges declared": (declared("node/edges", (2**40, 2), "S8"), "the file holds 0"),
    "a huge input": (put("node/nodes/input/shape", np.array([2**62])), "no shape of an input"),
    "an input of fractions": (put("node/nodes/input/shape", np.array([4.5])), "where whole numbers belong"),
    "an input of a gigabyte": (put("node/nodes/input/shape", np.array([2**27])), "no shape of an input"),
    "a product of gigabytes": (edit(wide_product), "node 'b', weight: the product of"),
    "edges without end": (put("node/edges", np.full((60_000, 2), b"input", "S8")), "edges: 60000 of them"),
    "a negative input": (put("node/nodes/input/shape", np.array([-4])), "no shape of an input"),
    "an input without axes": (put("node/nodes/input/shape", np.zeros(0, int)), "no shape of an input"),
    "tau of NaN": (put(f"{LOOP}/tau", NAN), "node 'n02_lif_cells.lif', tau: not finite"),
    "tau of zero": (put(f"{LOOP}/tau", np.zeros(3)), "tau: time constants must be positive"),
    "negative tau": (put(f"{LOOP}/tau", -np.ones(3)), "tau: time constants must be positive"),
    "tau below the step": (put(f"{LOOP}/tau", np.full(3, 1e-9)), "tau: .* shorter than"),
    "tau as text": (put(f"{LOOP}/tau", "10 ms"), "where numbers belong"),
    "negative r": (put(f"{LOOP}/r", -np.ones(3)), "r: it must be positive"),
    "arrays of other lengths": (put(f"{LOOP}/v_leak", np.zeros(2)), "shape: its arrays don't fit"),
    "an edge to nowhere": (edges([("input", "nobody")]), "there is no node 'nobody'"),
    "edges of three": (put("node/edges", np.zeros((2, 3), "S4")), "pairs of names belong"),
    "edges of numbers": (put("node/edges", np.zeros((2, 2))), "pairs of names belong"),
    "a loop of weights": (edit(weight_loop), "edges: a loop without a neuron"),
    "a loop through two layers": (edit(two_cells), "edges: a loop through several neurons"),
    "a graph in itself": (edit(nested), "graphs nested deeper"),
    "thousands of nodes": (edit(many_nodes), "more than 2000 nodes"),
    "a link to another file": (link(f"{FEED}/weight", h5py.ExternalLink("/etc/passwd", "/")), "weight: a link to"),
    "a dangling link": (link(f"{FEED}/weight", h5py.SoftLink("/nowhere")), "weight: a link to"),
    "a link within the file": (link(f"{FEED}/weight", h5py.SoftLink(f"/{LOOP}/tau")), "weight: a link to"),
    "a node in another file": (link(FEED, h5py.ExternalLink("other.nir", "/node")), "n01_fc_cells: a link to '/node' in 'other.nir'"),
    "all nodes in another file": (link("node/nodes", h5py.ExternalLink("other.nir", "/node/nodes")), "nodes: a link to"),
    "the graph in another file": (link("node", h5py.ExternalLink("other.nir", "/node")), "node: a link to"),
    "metadata in another file": (link("node/metadata/record", h5py.ExternalLink("other.nir", "/x")), "record': a link to"),
    "an optional field in another file": (link(f"{LOOP}/v_threshold", h5py.ExternalLink("other.nir", "/x")), "v_threshold: a link"),
    "a packed bomb": (edit(bomb), "weight: .* takes the arrays past .*store it unpacked or raise `limit`"),
    "a chunk of gigabytes": (edit(wide_chunk), "weight: a chunk of .* takes the arrays past"),
    "a long name in every edge": (edit(long_names), "there is no node 'x"),
    "one matrix under many names": (edit(many_links), "weight: .* takes the arrays past"),
    "a virtual dataset": (edit(virtual), "weight: its data are in other files"),
    "an unknown profile": (record(lambda d: d.update(profile="other")), "metadata 'record': damaged"),
    "a record without semantics": (record(lambda d: d.pop("semantics")), "metadata 'record': damaged"),
    "a record of lists": (put("node/metadata/record", "[1, 2]"), "metadata 'record': damaged"),
    "a record nested deeply": (put("node/metadata/record", "[" * 100_000), "metadata 'record': damaged"),
    "a clock of NaN": (record(lambda d: d["semantics"].update(dt=float("nan"))), "metadata 'record': dt"),
    "a clock of text": (record(lambda d: d["semantics"].update(dt="fast")), "metadata 'record'"),
}  # fmt: skip


# -- fixtures -----------------------------------------------------------------------------------------------------


def zipped(**members: bytes) -> Break:
    def apply(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(f"{name}.npy", data)

    return apply


def saved(**arrays: Any) -> Break:
    def apply(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    return apply


def header(text: str) -> bytes:
    """An .npy file that declares more than it holds."""
    body = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def pickled() -> bytes:
    body = io.BytesIO()
    np.save(body, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return body.getvalue()


SPIKES = np.zeros((2, 5, 4), np.uint8)
HUGE = header("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 1024, 1024), }")
RECORD = {"dt": 1e-3, "dtype": "float64", "cells": {}, "delays": {}}
META = np.array(json.dumps({"target": "x", "latency": {}, "dt": 1e-3, "semantics": RECORD}))
FIXTURE: dict[str, tuple[Break, str]] = {
    "empty": (lambda p: p.write_bytes(b""), "not an npz file"),
    "text": (lambda p: p.write_text("hello"), "not an npz file"),
    "half": (cut(0.5), "not an npz file"),
    "pickles": (zipped(**{"input:x": pickled(), "about": pickled()}), "it holds objects"),
    "huge declared": (zipped(**{"input:x": HUGE}), "declares"),
    "a member that is no array": (zipped(about=b"hello"), "not an array"),
    "no description": (saved(**{"input:x": SPIKES}), "about: it is missing"),
    "spikes of fractions": (saved(about=META, **{"input:x": SPIKES + 0.5}), "input:x: float64 where whole numbers belong"),
    "spikes of two axes": (saved(about=META, **{"input:x": SPIKES[0]}), r"input:x: the shape \(5, 4\)"),
    "rasters of other length": (saved(about=META, **{"input:x": SPIKES, "raster:y": SPIKES[:, :3]}), "raster:y: .* trials and steps"),
    "a description that is no JSON": (saved(about=np.array("{")), "about: not the description"),
    "a description of a list": (saved(about=np.array("[]")), "about: not the description"),
}  # fmt: skip
