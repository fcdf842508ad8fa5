"""Checkpoints: all that a run needs to go on, one file beside the run's, replaced as a whole and recognised by a checksum."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.io.hdf5 import ResultsError
from neuro.io.npz import NpzError, read_npz
from neuro.io.run_header import SCHEMA, other_schema

Array = npt.NDArray[Any]
Saved = tuple[dict[str, Any], dict[str, list[tuple[int, float]]], dict[str, Array]]  # header, history, state


def checkpoint_path(path: Path) -> Path:
    return path.with_name(path.name + ".checkpoint")


def write(
    path: Path, header: Mapping[str, Any], history: Mapping[str, list[tuple[int, float]]], state: Mapping[str, Array]
) -> None:
    """In the place of the one that is there, whole or not at all."""
    body = io.BytesIO()
    arrays = {f"state:{n}": np.asarray(v) for n, v in state.items()}
    arrays |= {f"metric:{n}": np.array(rows, dtype=np.float64).reshape(-1, 2) for n, rows in history.items()}
    np.savez(body, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]
    data = body.getvalue()
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(hashlib.sha256(data).digest() + data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path) -> Saved:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ResultsError(
            f"there is no checkpoint '{path}'; the run stopped before its first one, start it again"
        ) from None
    return of(raw, path)


def of(raw: bytes, path: Path) -> Saved:
    """path: of the file that it came from."""
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        raise ResultsError(f"checkpoint '{path}' is damaged; start the run again")
    try:
        arrays = read_npz(io.BytesIO(raw[32:]), len(raw))  # nothing in it is packed
    except NpzError as error:
        raise ResultsError(f"checkpoint '{path}' is damaged ({error}); start the run again") from None
    history = {
        n.removeprefix("metric:"): [(int(s), float(v)) for s, v in rows]
        for n, rows in arrays.items()
        if n.startswith("metric:")
    }
    state = {n.removeprefix("state:"): v for n, v in arrays.items() if n.startswith("state:")}
    header = json.loads(str(arrays["header"]))
    if header["schema"] != SCHEMA:
        raise ResultsError(other_schema(path, header["schema"]))
    return header, history, state
