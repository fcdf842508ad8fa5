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

from neuro import Network, Neuron, Population, Recording, open_state
from neuro.io.results import ResultsError, checkpoint_path, open_run, write_group, write_recording
from neuro.io.serialisation import content_hash
from neuro.io.state_file import SCHEMA, write
from neuro.state import State
from tests.export.hostile import HUGE, Break, declared, edit, link, pickled, put, zipped
from tests.io.test_results import begin, complete

SECRET = h5py.ExternalLink("secret.h5", "/secret")
SOFT = h5py.SoftLink("/config")
RASTER = np.zeros((2, 5, 4), bool)
RASTER[:, 1:, 2] = True  # eight spikes
STATE = State(
    1e-3, 5, (2,), 0, {"c.v": np.ones((2, 4)), "j.w": np.ones((2, 3, 4))}, {"c.I": np.ones((2, 4))}, {"c": np.ones((2, 4), int)},
    {"c": RASTER[:, -3:]},
)  # fmt: skip
RECORDING = Recording(
    1e-3, {"c": RASTER}, {"c.v": np.ones(RASTER.shape)}, 1, {"j.w": np.ones((2, 3))}, end=lambda: STATE
)


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


def virtual(name: str) -> Break:
    def change(file: h5py.File) -> None:
        del file[name]
        layout = h5py.VirtualLayout((2, 5, 4), "f8")
        layout[:] = h5py.VirtualSource("secret.h5", "secret/feed.w", (2, 5, 4))
        file.create_virtual_dataset(name, layout)

    return edit(change)


def external(name: str) -> Break:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, (3,), "u1", external=[("secret.h5", 0, 3)])

    return edit(change)


def objects(name: str) -> Break:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, (2,), h5py.vlen_dtype(np.uint8))[0] = np.ones(2, np.uint8)

    return edit(change)


def without(name: str, key: str = "") -> Break:
    """A group, dataset or attribute less."""
    return edit(lambda file: file[name].attrs.__delitem__(key) if key else file.__delitem__(name))


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
    "a virtual dataset": (virtual("traces/c/v"), "v: its data are in other files"),
    "bytes of another file": (external("traces/c/v"), "v: its data are in other files"),
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
    "objects": (objects("traces/c/v"), "object where numbers belong"),
    "config is no JSON": (put("config", "{"), "is damaged"),
    "config nested deeply": (put("config", "[" * 100_000), "is damaged"),
    "config of numbers": (put("config", np.ones(3)), "config: .* where a text belongs"),
    "the last update is nowhere": (attribute("parameters", "final", "../model"), "it is missing|not a group"),
}  # fmt: skip


def other_trials(file: h5py.File) -> None:
    del file["state"]
    write(file.create_group("state"), State(1e-3, 5, (3,)))


V, W, S = "state/variables/c.v", "state/variables/j.w", "state/spikes/c"
STATES: dict[str, tuple[Break, str]] = {
    "elsewhere": (link("state", SECRET), "state: a link to '/secret' in 'secret.h5'"),
    "a part elsewhere": (link("state/sums", SECRET), "sums: a link to"),
    "a variable elsewhere": (link(V, h5py.ExternalLink("secret.h5", "/secret/feed.w")), "variables/c.v: a link to"),
    "a variable within": (link(V, h5py.SoftLink("/state/sums/c.I")), "variables/c.v: a link to '/state/sums/c.I'"),
    "a dangling link": (link(S, h5py.SoftLink("/nowhere")), "spikes/c: a link to '/nowhere'"),
    "virtual": (virtual(V), "variables/c.v: its data are in other files"),
    "bytes of another file": (external(V), "variables/c.v: its data are in other files"),
    "terabytes declared": (declared(W, (2, 2**20, 2**20), "f8"), "j.w: .* declares .* bytes, the file holds 0"),
    "spikes declared": (declared(S, (2, 2**40, 4), "?"), "spikes/c: .* declares .* bytes, the file holds 0"),
    "a packed bomb": (bomb(W), "variables/j.w: .* takes the arrays past .* raise `limit`"),
    "of text": (put(V, "high"), "variables/c.v: object where floating-point numbers belong"),
    "of objects": (objects(V), "variables/c.v: object where floating-point numbers belong"),
    "of integers": (put(V, np.ones((2, 4), int)), "variables/c.v: int64 where floating-point numbers belong"),
    "of complex numbers": (put("state/sums/c.I", np.ones((2, 4), complex)), "sums/c.I: complex128 where floating"),
    "itself in it": (edit(lambda file: file.__setitem__("state/sums/c.g", file["state"])), "sums/c.g: a group, not a dataset"),
    "an array for a part": (put("state/sums", np.ones(3)), "sums: a dataset, not a group"),
    "of nothing": (put(V, h5py.Empty("f8")), "variables/c.v: it is empty"),
    "of NaN": (put(V, np.full((2, 4), np.nan)), "state/variables/c.v: not finite"),
    "of inf": (put("state/sums/c.I", np.full((2, 4), np.inf)), "state/sums/c.I: not finite"),
    "half steps": (put("state/refractory/c", np.full((2, 4), 0.5)), "refractory/c: float64 where whole numbers belong"),
    "negative steps": (put("state/refractory/c", np.full((2, 4), -1)), "state/refractory/c: negative steps"),
    "half spikes": (put(S, np.full((2, 3, 4), 0.5)), "spikes/c: float64 where booleans belong"),
    "neither true nor false": (edit(lambda file: file[S].id.write(h5py.h5s.ALL, h5py.h5s.ALL, np.full((2, 3, 4), 7, "i1"), file[S].id.get_type())),
        "state/spikes/c: bytes that are neither true nor false"),
    "spikes of one step": (put(S, np.ones((2, 4), bool)), r"state/spikes/c: the shape \(2, 4\); it begins with lead"),
    "of other trials": (put(V, np.ones((3, 4))), r"state/variables/c.v: the shape \(3, 4\); it begins with lead, \(2,\)"),
    "no cells": (put(V, np.ones(2)), r"state/variables/c.v: the shape \(2,\)"),
    "five axes": (put(W, np.ones((2, 3, 4, 1, 1))), "state/variables/j.w: the shape"),
    "wrong lead": (attribute("state", "lead", [3]), r"state/variables/c.v: the shape \(2, 4\); it begins with lead, \(3,\)"),
    "sets that are none": (attribute("state", "lead", [2, 4]), "the shape .*; it begins with lead"),
    "lead of petabytes": (attribute("state", "lead", [2**60, 2**60]), "the shape .*; it begins with lead"),
    "lead of text": (attribute("state", "lead", "two"), "state/lead: 'two' is no number of trials"),
    "lead of fractions": (attribute("state", "lead", [2.0]), "state/lead: .* is no number of trials"),
    "lead of minus two": (attribute("state", "lead", [-2]), "state/lead: .* is no number of trials"),
    "a long lead": (attribute("state", "lead", np.ones(1000, int)), "attribute 'lead': the shape"),
    "no lead": (without("state", "lead"), "state/lead: .* is no number of trials"),
    "a clock of NaN": (attribute("state", "dt", np.nan), "state/dt: nan is no time step"),
    "a clock of text": (attribute("state", "dt", "fast"), "state/dt: 'fast' is no time step"),
    "no clock": (without("state", "dt"), "state/dt: None is no time step"),
    "before the beginning": (attribute("state", "step", -1), "state/step: -1 is no whole number"),
    "half a step": (attribute("state", "step", 0.5), "state/step: 0.5 is no whole number"),
    "no step": (without("state", "step"), "state/step: None is no whole number"),
    "a far trial": (attribute("state", "trial", 2**60), "state/trial: .* is no whole number from 0 to"),
    **{f"no {part}": (without(f"state/{part}"), f"{part}: it is missing") for part in ("variables", "sums", "refractory", "spikes")},
}  # fmt: skip
HOSTILE |= {f"a state: {name}": case for name, case in STATES.items()}
HOSTILE |= {
    "a state of another clock": (attribute("state", "dt", 2e-3), "state: dt = 0.002 s, the recording 0.001 s"),
    "a state of other trials": (
        edit(other_trials),
        "state: lead = .3,., the recording's 'c' the shape",
    ),
}


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


NETWORK = Network([Population("c", Neuron("n", "dv/dt = -v/(10*ms) : 1"), 4)], dt="1 ms")


def alone(folder: Path) -> Path:
    """A good state in a file of its own, beside a file that nothing may read."""
    path = folder / "state.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"schema": SCHEMA, "network": "", "hash": content_hash(NETWORK)})
        write(file.create_group("state"), STATE)
    with h5py.File(folder / "secret.h5", "w") as file:
        file.create_group("secret")["feed.w"] = np.arange(3.0)
    return path


@pytest.mark.parametrize("name", STATES)
def test_a_state_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    damage, message = STATES[name]
    path = alone(tmp_path)
    assert open_state(path, NETWORK).differences(STATE) == {}
    damage(path)
    start = time.perf_counter()
    with pytest.raises(ResultsError, match=f"state.h5.*{message}"):
        open_state(path, NETWORK)
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

    from neuro.io.results import Run

    run = begin(tmp_path / "run.h5")
    run.close()
    side = checkpoint_path(tmp_path / "run.h5")
    damage(side)
    data = side.read_bytes()
    side.write_bytes(hashlib.sha256(data).digest() + data)
    with pytest.raises(ResultsError, match="is damaged"):
        Run.resume(tmp_path / "run.h5")


def scramble(path: Path, seed: int) -> None:
    """20 bytes become others."""
    data, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in random.integers(0, len(data), 20):
        data[place] = random.integers(256)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_give_an_error_or_a_recording(seed: int, tmp_path: Path) -> None:
    path = whole(tmp_path)
    scramble(path, seed)
    try:
        everything(path)
        open_run(path).contents()
    except ResultsError as error:
        assert "run.h5" in str(error)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_give_an_error_or_a_state(seed: int, tmp_path: Path) -> None:
    path = alone(tmp_path)
    scramble(path, seed)
    try:
        assert isinstance(open_state(path, NETWORK), State)
    except ResultsError as error:
        assert "state.h5" in str(error)
