"""A PackedNetwork in an HDF5 file: a bit for each weight, in numpy's order of packbits, the same on every machine.

The file has the attributes schema, layers (how many) and checksum (crc32 of what they hold); layers/0 and so on have the attribute length
(inputs), packed uint8 [outputs, ceil(length/8)], and, all but the last, thresholds int32 [outputs].
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import h5py
import numpy as np

from backends.native.binary import PackedLayer, PackedNetwork, words_of
from neuro.export.quantisation.packing import Bytes
from neuro.export.quantisation.quantisers import QuantiseError
from neuro.io.files import replaced
from neuro.io.hdf5 import Contents, Hdf5Error, ResultsError, check_place, opened, writing
from neuro.language.foreign import shown

SCHEMA = "twinspike-packed-1"


def write_packed(path: str | os.PathLike[str], network: PackedNetwork) -> None:
    """Store a network, in the place of the file of one that is there: whole, or the old one stays. Raises ResultsError."""
    target = Path(path)
    if not isinstance(network, PackedNetwork):
        raise ResultsError(f"the network is {shown(network)}; give write_packed(path, PackedNetwork(layers))")
    check_place(target, SCHEMA, "no file of packed layers")
    with writing(target):
        replaced(target, lambda side: _fill(side, network))


def open_packed(path: str | os.PathLike[str], *, limit: int | None = None) -> PackedNetwork:
    """The network that write_packed stored. limit: bytes of all arrays; left out, it grows with the file (neuro.io.hdf5.allowance).

    Raises ResultsError.
    """
    with opened(Path(path), limit) as contents:
        schema = contents.attribute(contents.file, "schema", "")
        if not isinstance(schema, str) or schema != SCHEMA:
            raise ResultsError(f"'{path}' is no file of packed layers (schema {shown(schema)}, expected '{SCHEMA}')")
        layers = [_read(contents, f"layers/{i}") for i in range(_whole(contents, contents.file, "layers"))]
        try:
            network = PackedNetwork(layers)
        except QuantiseError as error:
            raise Hdf5Error("layers", str(error)) from None
        if _checksum(network) != _whole(contents, contents.file, "checksum"):
            raise Hdf5Error("checksum", "it is another; the file was damaged after it was written")
        return network


def _fill(side: Path, network: PackedNetwork) -> None:
    with h5py.File(side, "w", locking=False) as file:
        file.attrs.update({"schema": SCHEMA, "layers": len(network.layers), "checksum": _checksum(network)})
        for i, layer in enumerate(network.layers):
            group = file.create_group(f"layers/{i}")
            group.attrs["length"] = layer.length
            group.create_dataset("packed", data=_packed(layer)).attrs["axes"] = "output, byte"
            if layer.thresholds is not None:
                group.create_dataset("thresholds", data=layer.thresholds.astype("<i4")).attrs["axes"] = "output"


def _read(contents: Contents, name: str) -> PackedLayer:
    """Sizes are compared before the words are made. Raises Hdf5Error."""
    group = contents.member(contents.file, name, h5py.Group)
    length = _whole(contents, group, "length")
    packed = contents.array(contents.file, f"{name}/packed", "u", "bytes")
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-length // 8):
        wanted = f"uint8 [outputs, {-(-length // 8)}]"
        raise Hdf5Error(
            f"{name}/packed", f"{packed.dtype} {packed.shape} where {wanted} belongs, bits of {length} inputs"
        )
    thresholds = None
    if contents.find(group, "thresholds") is not None:
        thresholds = contents.array(contents.file, f"{name}/thresholds", "i", "whole numbers")
    try:
        return PackedLayer(words_of(packed), length, thresholds)
    except QuantiseError as error:
        raise Hdf5Error(name, str(error)) from None


def _packed(layer: PackedLayer) -> Bytes:
    """The bytes of a layer's words that hold weights."""
    return np.ascontiguousarray(layer.words).view(np.uint8)[:, : -(-layer.length // 8)]


def _checksum(network: PackedNetwork) -> int:
    found = 0
    for layer in network.layers:
        found = zlib.crc32(_packed(layer).tobytes(), zlib.crc32(str(layer.length).encode(), found))
        if layer.thresholds is not None:
            found = zlib.crc32(layer.thresholds.astype("<i4").tobytes(), found)
    return found


def _whole(contents: Contents, item: h5py.Group, name: str) -> int:
    value = contents.attribute(item, name)
    if not isinstance(value, np.integer) or value < 0:
        at = f"{str(item.name).strip('/')}/{name}".strip("/")
        raise Hdf5Error(at, f"{shown(value)} where a whole number belongs")
    return int(value)
