"""Packed networks on disk: a bit a weight, the same network back, and a clear error for everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

from backends.native.binary import PackedLayer, PackedNetwork
from backends.native.binary_file import SCHEMA, open_packed, write_packed
from neuro import Input, Network, Population, Projection, library
from neuro.compiler.parameters import parameters, values
from neuro.export.quantisation.calibration import NetworkQuantiser, Scheme, stored_codes
from neuro.export.quantisation.packing import pack
from neuro.export.quantisation.quantisers import sign
from neuro.io.hdf5 import ResultsError
from neuro.io.results import Run, open_run, write_group
from neuro.io.serialisation import to_json
from tests.export.hostile import Break, bytes_at, cut, declared, edit, link, put
from tests.io.test_results import ROOT

FIRST = "layers/0"


def network(*widths: int, seed: int = 0) -> PackedNetwork:
    rng = np.random.default_rng(seed)
    layers = []
    for i, (pre, post) in enumerate(pairwise(widths)):
        thresholds = rng.integers(-30, 30, post) if i < len(widths) - 2 else None
        layers.append(PackedLayer.of(sign(rng.normal(size=(post, pre))), thresholds))
    return PackedNetwork(layers)


def same(a: PackedNetwork, b: PackedNetwork) -> None:
    assert len(a.layers) == len(b.layers)
    for ours, theirs in zip(a.layers, b.layers, strict=True):
        assert ours.length == theirs.length
        np.testing.assert_array_equal(ours.words, theirs.words)
        assert (ours.thresholds is None) == (theirs.thresholds is None)
        if ours.thresholds is not None:
            np.testing.assert_array_equal(ours.thresholds, theirs.thresholds)


# -- round trips and sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(1, 1), (13, 70, 3), (64, 512, 129, 10)])
def test_a_network_comes_back_and_says_the_same(widths: tuple[int, ...], tmp_path: Path) -> None:
    written, path = network(*widths), tmp_path / "net.h5"
    write_packed(path, written)
    found = open_packed(path)
    same(found, written)
    images = np.random.default_rng(1).integers(0, 256, (20, widths[0]), np.uint8)
    np.testing.assert_array_equal(found.run(images), written.run(images))
    assert [p.name for p in tmp_path.iterdir()] == ["net.h5"]


def test_the_bytes_on_disk_are_those_of_pack(tmp_path: Path) -> None:
    """Readable without this package: numpy.unpackbits of a row."""
    written, path = network(13, 70, 3), tmp_path / "net.h5"
    write_packed(path, written)
    with h5py.File(path) as file:
        for i, layer in enumerate(written.layers):
            np.testing.assert_array_equal(file[f"layers/{i}/packed"][()], pack(layer.codes))


def stored(path: Path, name: str) -> int:
    """Bytes that a dataset takes in its file."""
    with h5py.File(path) as file:
        return int(file[name].id.get_storage_size())


def test_packed_weights_are_32_times_smaller_in_their_file(tmp_path: Path) -> None:
    path, floats = tmp_path / "net.h5", tmp_path / "floats.h5"
    written = network(512, 512)
    write_packed(path, written)
    with h5py.File(floats, "w") as file:
        file["w"] = written.layers[0].codes.astype(np.float32)
    assert stored(floats, "w") == 32 * stored(path, "layers/0/packed") > 0
    assert floats.stat().st_size > 25 * path.stat().st_size  # what describes them, a few kilobytes, is the same


def test_packed_weights_are_32_times_smaller_in_a_run_file(tmp_path: Path) -> None:
    """Those of the run's parameters are stored in the same file, and the codes come back."""
    weights = np.random.default_rng(0).normal(size=(512, 512)) * 1e-9
    feed = Projection("feed", "x", "cells", library.get("pulse"), "1 nA")
    model = Network((Population("cells", library.get("lif"), 512),), (feed,), (Input("x", 512),), dt="1 ms")
    given, path = {**values(model), "feed.w": weights}, tmp_path / "run.h5"
    run = Run.create(path, model=to_json(model), semantics={}, config={}, seed=0, metrics=())
    run.finish({n: np.asarray(v, np.float32) for n, v in given.items()}, parameters(model), 1)
    found = NetworkQuantiser(model, Scheme.of({"weights": {"*": {"kind": "binary"}}})).calibrate(given)
    write_group(path, "quantisation", found.to_data())
    assert stored(path, "parameters/1/feed.w") == 32 * stored(path, "quantisation/codes/feed.w/packed") > 0
    codes = stored_codes(open_run(path).group("quantisation")["codes"]["feed.w"])
    np.testing.assert_array_equal(codes, sign(weights))


# -- whole or not at all ------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import backends.native.binary_file, neuro.io.files
from tests.backends.native.test_binary_file import network
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
match sys.argv[2]:
    case "half":
        backends.native.binary_file._packed = lambda layer, real=backends.native.binary_file._packed: die() if layer.length == 70 and len(sys.argv) > 3 else (sys.argv.append(""), real(layer))[1]
    case "synced":
        neuro.io.files.os.replace = die
backends.native.binary_file.write_packed(sys.argv[1], network(13, 70, 3, seed=1))
"""


@pytest.mark.parametrize("moment", ["half", "synced"])
def test_a_killed_write_leaves_the_old_network(moment: str, tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    write_packed(path, network(13, 70, 3))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), moment], cwd=ROOT, check=False)
    assert killed.returncode == -9
    same(open_packed(path), network(13, 70, 3))
    write_packed(path, network(13, 70, 3, seed=1))
    same(open_packed(path), network(13, 70, 3, seed=1))


def test_only_a_packed_network_is_written_over_or_written(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    for path in (text, tmp_path):
        with pytest.raises(
            ResultsError, match="is there and is no file of packed layers; delete it, or choose another name"
        ):
            write_packed(path, network(3, 2))
    assert text.read_text() == "hello"
    with pytest.raises(ResultsError, match="the network is a 'PackedLayer' object; give write_packed"):
        write_packed(tmp_path / "net.h5", network(3, 2).layers[0])  # type: ignore[arg-type]
    with pytest.raises(ResultsError, match="there is no file"):
        open_packed(tmp_path / "none.h5")
    with pytest.raises(ResultsError, match="can't write"):
        write_packed(tmp_path / "none" / "net.h5", network(3, 2))


# -- hostile files ------------------------------------------------------------------------------------------------


def attribute(item: str, name: str, value: object) -> Break:
    return edit(lambda file: file[item].attrs.__setitem__(name, value))


def bomb(file: h5py.File) -> None:
    """32 MB of zeros in 32 kB of the file."""
    del file[f"{FIRST}/packed"]
    data = file.create_dataset(f"{FIRST}/packed", (2**24, 2), "u1", chunks=(2**24, 2), compression="gzip")
    data[...] = 0


BROKEN: dict[str, tuple[Break, str]] = {
    "empty": (lambda p: p.write_bytes(b""), "not a readable HDF5 file"),
    "text": (lambda p: p.write_text("hello"), "not a readable HDF5 file"),
    "half": (cut(0.5), "not a readable HDF5 file"),
    "a folder": (lambda p: (p.unlink(), os.mkdir(p)), "there is no file"),
    "noise at the beginning": (bytes_at(0.0), "not a readable HDF5 file"),
    "another schema": (attribute("/", "schema", "twinspike-state-1"), f"no file of packed layers .*expected '{SCHEMA}'"),
    "no schema": (edit(lambda f: f.attrs.__delitem__("schema")), "no file of packed layers"),
    "a schema of two": (edit(lambda f: f.attrs.__setitem__("schema", [SCHEMA, SCHEMA])), "no file of packed layers"),
    "no count": (edit(lambda f: f.attrs.__delitem__("layers")), "layers: None where a whole number belongs"),
    "a negative count": (attribute("/", "layers", -1), "layers: .* where a whole number belongs"),
    "no layers": (attribute("/", "layers", 0), "layers: there are none"),
    "fewer layers": (attribute("/", "layers", 1), "layer 0: it has thresholds"),
    "more layers than there are": (attribute("/", "layers", 2**62), "layers/2: it is missing"),
    "a layer without weights": (put(f"{FIRST}/packed", None), "layers/0/packed: it is missing"),
    "weights of floats": (put(f"{FIRST}/packed", np.zeros((70, 2))), "layers/0/packed: float64 where bytes belong"),
    "weights of words": (put(f"{FIRST}/packed", np.zeros((70, 2), np.uint64)), r"uint64 \(70, 2\) where uint8 \[outputs, 2\] belongs"),
    "weights of one axis": (put(f"{FIRST}/packed", np.zeros(140, np.uint8)), r"uint8 \(140,\) where uint8"),
    "weights of another width": (put(f"{FIRST}/packed", np.zeros((70, 3), np.uint8)), r"uint8 \(70, 3\) where uint8 \[outputs, 2\]"),
    "no outputs": (put(f"{FIRST}/packed", np.zeros((0, 2), np.uint8)), "layers/0: words: "),
    "pad bits": (put(f"{FIRST}/packed", np.full((70, 2), 255, np.uint8)), "layers/0: words: bits beyond the 13 inputs"),
    "another number of cells": (put(f"{FIRST}/packed", np.zeros((9, 2), np.uint8)), "layers/0: thresholds: .*each of 9 outputs"),
    "other weights": (put(f"{FIRST}/packed", np.zeros((70, 2), np.uint8)), "checksum: it is another"),
    "no length": (edit(lambda f: f[FIRST].attrs.__delitem__("length")), "layers/0/length: None where a whole number"),
    "a length of text": (attribute(FIRST, "length", "13"), "layers/0/length: '13' where a whole number"),
    "a length of nothing": (attribute(FIRST, "length", 0), r"layers/0/packed: uint8 \(70, 2\) where uint8 \[outputs, 0\]"),
    "another length": (attribute(FIRST, "length", 17), r"where uint8 \[outputs, 3\]"),
    "a length within the byte": (attribute(FIRST, "length", 16), "checksum: it is another"),
    "a length of many numbers": (attribute(FIRST, "length", np.zeros(100)), r"attribute 'length': the shape \(100,\)"),
    "the largest length": (attribute(FIRST, "length", np.uint64(2**64 - 1)), r"where uint8 \[outputs, 2305843009213693952\]"),
    "layers that don't fit": (attribute("layers/1", "length", 71), "layers: layer 1: 71 inputs; layer 0 has 70"),
    "thresholds of floats": (put(f"{FIRST}/thresholds", np.zeros(70)), "layers/0/thresholds: float64 where whole numbers"),
    "thresholds missing": (put(f"{FIRST}/thresholds", None), "layers: layer 0: it has no thresholds"),
    "a last layer with thresholds": (put("layers/1/thresholds", np.zeros(3, "i4")), "layers: layer 1: it has thresholds"),
    "other thresholds": (put(f"{FIRST}/thresholds", np.full(70, 99, "i4")), "checksum: it is another"),
    "another checksum": (attribute("/", "checksum", 0), "checksum: it is another"),
    "a layer that is a dataset": (put("layers/1", 3), "layers/1: a dataset, not a group"),
    "huge declared": (declared(f"{FIRST}/packed", (2**40, 2), "u1"), "layers/0/packed: the shape .* declares .* bytes"),
    "a bomb": (edit(bomb), "layers/0/packed: .* past"),
    "a link to another file": (link(f"{FIRST}/packed", h5py.ExternalLink("/etc/passwd", "/")), "packed: a link to"),
    "a layer in another file": (link(FIRST, h5py.ExternalLink("other.h5", "/layers/0")), "layers/0: a link to"),
    "a dangling link": (link(f"{FIRST}/thresholds", h5py.SoftLink("/nowhere")), "thresholds: a link to"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    damage, message = BROKEN[name]
    path = tmp_path / "net.h5"
    write_packed(path, network(13, 70, 3))
    open_packed(path)  # it is good before
    damage(path)
    with pytest.raises(ResultsError, match=message) as error:
        open_packed(path, limit=2**20)
    assert str(path) in str(error.value)


def test_a_limit_on_all_arrays(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    write_packed(path, network(13, 70, 3))
    with pytest.raises(ResultsError, match=r"layers/0/packed: .* past 100 bytes"):
        open_packed(path, limit=100)


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes_give_an_error_or_the_same_network(seed: int, tmp_path: Path) -> None:
    """Any byte may be wrong: it decides about nothing, or it is found."""
    path, written = tmp_path / "net.h5", network(200, 300, 10)
    write_packed(path, written)
    data, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in random.integers(0, len(data), 3):
        data[place] ^= 1 << random.integers(8)
    path.write_bytes(bytes(data))
    try:
        same(open_packed(path), written)
    except ResultsError as error:
        assert str(path) in str(error)
