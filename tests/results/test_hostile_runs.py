"""Broken and hostile run files: an error that names the item, at once; no other file is read, written or run."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neuro import Recording
from neuro.results import ResultsError, checkpoint_path, open_run, write_group, write_recording
from tests.export.hostile import HUGE, Break, declared, edit, link, pickled, put, zipped
from tests.results.test_results import begin, complete

SECRET = h5py.ExternalLink("secret.h5", "/secret")
SOFT = h5py.SoftLink("/config")
RASTER = np.zeros((2, 5, 4), bool)
RASTER[:, 1:, 2] = True  # eight spikes
RECORDING = Recording(1e-3, {"c": RASTER}, {"c.v": np.ones(RASTER.shape)}, 1, {"j.w": np.ones((2, 3))})


def whole(folder: Path) -> Path:
    """A good run, beside a file that nothing may read."""
    path = complete(folder / "run.h5")
    write_recording(path, RECORDING, {})
    write_group(path, "comparison", {"pairs": {"torch": {"identical": True}}, "text": "x"})
    with h5py.File(folder / "secret.h5", "w") as file:
        file.create_group("secret")["feed.w"] = np.arange(3.0)
    return path


def everything(path: Path) -> None:
    reader = open_run(path)
    reader.metrics()
    reader.parameters()
    reader.recording()
    reader.group("comparison")


def bomb(name: str) -> Break:
    def change(file: h5py.File) -> None:
        del file[name]
        data = file.create_dataset(name, (2**15, 2**11), "f8", chunks=(2**10, 2**11), compression="gzip")
        for row in range(0, 2**15, 2**10):
            data.id.write_direct_chunk((row, 0), zlib.compress(bytes(2**24), 9))

    return edit(change)


def attribute(name: str, key: str, value: Any) -> Break:
    return edit(lambda file: file[name].attrs.__setitem__(key, value))


def virtual(file: h5py.File) -> None:
    del file["traces/c/v"]
    layout = h5py.VirtualLayout((2, 5, 4), "f8")
    layout[:] = h5py.VirtualSource("secret.h5", "secret/feed.w", (2, 5, 4))
    file.create_virtual_dataset("traces/c/v", layout)


def external(file: h5py.File) -> None:
    del file["traces/c/v"]
    file.create_dataset("traces/c/v", (3,), "u1", external=[("secret.h5", 0, 3)])


def objects(file: h5py.File) -> None:
    del file["traces/c/v"]
    file.create_dataset("traces/c/v", (2,), h5py.vlen_dtype(np.uint8))[0] = np.ones(2, np.uint8)


def loop(file: h5py.File) -> None:
    file["comparison/pairs/self"] = file["comparison"]


HOSTILE: dict[str, tuple[Break, str]] = {
    "the network elsewhere": (link("model", SECRET), "model/network: a link to '/secret' in 'secret.h5'"),
    "the config elsewhere": (link("config", SECRET), "config: a link to '/secret' in 'secret.h5'"),
    "metrics elsewhere": (link("metrics", SECRET), "metrics: a link to"),
    "a metric elsewhere": (link("metrics/loss", h5py.ExternalLink("secret.h5", "/secret/feed.w")), "loss: a link to"),
    "parameters elsewhere": (link("parameters", SECRET), "parameters: a link to"),
    "last parameters elsewhere": (link("parameters/1", SECRET), "1: a link to"),
    "a parameter elsewhere": (link("parameters/1/feed.w", h5py.ExternalLink("secret.h5", "/secret/feed.w")), "feed.w: a link to"),
    "a parameter within": (link("parameters/1/feed.w", h5py.SoftLink("/parameters/0/feed.w")), "feed.w: a link to"),
    "spikes elsewhere": (link("spikes", SECRET), "spikes: a link to"),
    "a train elsewhere": (link("spikes/c", SECRET), "c: a link to"),
    "times elsewhere": (link("spikes/c/timestamps", SECRET), "timestamps: a link to"),
    "a trace elsewhere": (link("traces/c/v", SECRET), "v: a link to"),
    "traces elsewhere": (link("traces/c", SECRET), "c: a link to"),
    "final values elsewhere": (link("final", SECRET), "final: a link to"),
    "a comparison elsewhere": (link("comparison", SECRET), "comparison: a link to"),
    "part of a comparison elsewhere": (link("comparison/pairs", SECRET), "pairs: a link to"),
    "a dangling link": (link("comparison/text", h5py.SoftLink("/nowhere")), "text: a link to '/nowhere'"),
    "a virtual dataset": (edit(virtual), "v: its data are in other files"),
    "bytes of another file": (edit(external), "v: its data are in other files"),
    "a group in itself": (edit(loop), "nested deeper than"),
    "terabytes declared": (declared("parameters/1/feed.w", (2**20, 2**20), "f8"), "declares .* bytes, the file holds 0"),
    "spikes declared": (declared("spikes/c/timestamps", (2**40,), "f8"), "declares .* bytes, the file holds 0"),
    "a metric declared": (declared("metrics/loss", (2**40,), "f8"), "loss"),
    "a packed bomb": (bomb("parameters/1/feed.w"), "feed.w: .* takes the arrays past .* raise `limit`"),
    "a packed trace": (bomb("traces/c/v"), "v: .* takes the arrays past"),
    "a raster of petabytes": (attribute("spikes/c", "shape", [2**20, 2**20, 2**20]), "is past .* bytes; .* raise `limit`"),
    "a raster of minus one": (attribute("spikes/c", "shape", [-1, 5, 4]), "no shape of a raster"),
    "a raster of text": (attribute("spikes/c", "shape", "wide"), "no shape of a raster"),
    "spikes outside": (attribute("spikes/c", "shape", [1, 1, 1]), "spikes outside of 1 steps and 1 nodes"),
    "spikes of NaN": (put("spikes/c/timestamps", np.full(8, np.nan)), "spikes outside of 5 steps and 8 nodes"),
    "negative nodes": (put("spikes/c/node_ids", np.full(8, -1)), "spikes outside of 5 steps and 8 nodes"),
    "no clock": (attribute("spikes", "dt", 0.0), "are no clock"),
    "a clock of NaN": (attribute("spikes", "dt", np.nan), "are no clock"),
    "a clock of text": (attribute("spikes", "every", "often"), "are no clock"),
    "a long attribute": (attribute("spikes/c", "shape", np.ones(1000, int)), "attribute 'shape': the shape"),
    "objects": (edit(objects), "object where numbers belong"),
    "config is no JSON": (put("config", "{"), "is damaged"),
    "config nested deeply": (put("config", "[" * 100_000), "is damaged"),
    "config of numbers": (put("config", np.ones(3)), "config: .* where a text belongs"),
    "the last update is nowhere": (attribute("parameters", "final", "../model"), "it is missing|not a group"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    damage, message = HOSTILE[name]
    path = whole(tmp_path)
    everything(path)  # it is good before
    damage(path)
    start = time.perf_counter()
    with pytest.raises(ResultsError, match=message):
        everything(path)
    assert time.perf_counter() - start < 5


WRITES: dict[str, Callable[[Path], Any]] = {
    "export": lambda path: write_group(path, "export/nir", {"a": 1}),
    "spikes": lambda path: write_recording(path, RECORDING, {}),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("target", [SECRET, SOFT])
def test_nothing_is_written_through_a_link(name: str, target: Any, tmp_path: Path) -> None:
    path = complete(tmp_path / "run.h5")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file.create_group("secret")
    before = (tmp_path / "secret.h5").read_bytes()
    edit(lambda file: file.__setitem__(name, target))(path)
    with pytest.raises(ResultsError, match="a link to"):
        WRITES[name](path)
    assert (tmp_path / "secret.h5").read_bytes() == before


def test_inspection_names_links_and_does_not_follow_them(tmp_path: Path) -> None:
    path = whole(tmp_path)
    link("comparison", SECRET)(path)
    rows = open_run(path).contents()
    assert ("comparison", "a link to '/secret' in 'secret.h5'", "not followed") in rows
    assert not any("secret/feed.w" in row[0] for row in rows)


@pytest.mark.parametrize(
    "damage",
    [zipped(header=pickled()), zipped(header=HUGE), zipped(header=b"hello"), lambda path: path.write_bytes(b"hello")],
)
def test_a_checkpoint_is_never_unpickled(damage: Break, tmp_path: Path) -> None:
    import hashlib

    from neuro.results import Run

    run = begin(tmp_path / "run.h5")
    run.close()
    side = checkpoint_path(tmp_path / "run.h5")
    damage(side)
    data = side.read_bytes()
    side.write_bytes(hashlib.sha256(data).digest() + data)
    with pytest.raises(ResultsError, match="is damaged"):
        Run.resume(tmp_path / "run.h5")


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_give_an_error_or_a_recording(seed: int, tmp_path: Path) -> None:
    path = whole(tmp_path)
    data, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in random.integers(0, len(data), 20):
        data[place] = random.integers(256)
    path.write_bytes(bytes(data))
    try:
        everything(path)
        open_run(path).contents()
    except ResultsError as error:
        assert "run.h5" in str(error)
