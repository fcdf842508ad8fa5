"""Inputs and the rasters that a target must fire, for whoever flashes the chip: npz of plain arrays, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.semantics import Semantics
from neuro.export import ForeignFileError
from neuro.io.files import replaced
from neuro.io.hdf5 import allowance
from neuro.io.npz import NpzError, read_npz

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Fixture:
    """inputs, rasters: name -> spikes a step, whole numbers [trial, time, channel or neuron].

    latency: population -> steps by which its raster here is later than on the target. dt: seconds. semantics: the record
    of what fired the rasters.
    """

    target: str
    dt: float
    inputs: Mapping[str, Array]
    rasters: Mapping[str, Array]
    latency: Mapping[str, int]
    semantics: Mapping[str, Any]


def write_fixture(path: Path, fixture: Fixture) -> None:
    """Write at once or not at all. Raises OSError."""
    about: dict[str, Any] = {"target": fixture.target, "dt": fixture.dt, "latency": dict(fixture.latency)}
    about["semantics"] = dict(fixture.semantics)
    arrays: dict[str, Any] = {f"input:{n}": np.asarray(v, np.uint8) for n, v in fixture.inputs.items()}
    arrays |= {f"raster:{n}": np.asarray(v, np.uint8) for n, v in fixture.rasters.items()}

    def write(side: Path) -> None:
        with side.open("wb") as file:
            np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)

    replaced(path, write)


def read_fixture(path: str | Path, limit: int | None = None) -> Fixture:
    """Inverse of write_fixture. limit: bytes of all arrays; left out, it grows with the file (neuro.io.hdf5.allowance).

    Raises ForeignFileError naming the array; OSError.
    """
    where = f"file '{Path(path).name}'"
    try:
        arrays = read_npz(Path(path), allowance(Path(path)) if limit is None else limit)
    except NpzError as error:
        raise ForeignFileError(where, error.name, error.why) from None
    about = _about(arrays.pop("about", None), where)
    inputs = {n.removeprefix("input:"): _spikes(v, n, where) for n, v in arrays.items() if n.startswith("input:")}
    rasters = {n.removeprefix("raster:"): _spikes(v, n, where) for n, v in arrays.items() if n.startswith("raster:")}
    first = next(iter(inputs.values()), None)
    for name, value in rasters.items():
        if first is not None and value.shape[:2] != first.shape[:2]:
            why = f"{value.shape[:2]} trials and steps, the input has {first.shape[:2]}"
            raise ForeignFileError(where, f"raster:{name}", why)
    return Fixture(about["target"], about["dt"], inputs, rasters, about["latency"], about["semantics"])


def _spikes(value: Array, name: str, where: str) -> Array:
    if value.dtype.kind not in "biu":
        raise ForeignFileError(where, name, f"{value.dtype} where whole numbers belong")
    if value.ndim != 3:
        raise ForeignFileError(where, name, f"the shape {value.shape}; it is [trial, time, channel]")
    return value


def _about(value: Array | None, where: str) -> dict[str, Any]:
    if value is None:
        raise ForeignFileError(where, "about", "it is missing")
    try:
        data = json.loads(str(value[()]))
        latency = {str(n): int(v) for n, v in data["latency"].items()}
        record = Semantics.from_data(data["semantics"]).to_data()
        return {"target": str(data["target"]), "dt": float(data["dt"]), "latency": latency, "semantics": record}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ForeignFileError(where, "about", f"not the description of a fixture ({error!r})") from None
