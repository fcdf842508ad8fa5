"""The head of a run file: what ran, with which seed and versions. Every run file begins with it, and says whether it is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py

from neuro.io.hdf5 import Array, Contents, ResultsError, opened

SCHEMA = "twinspike-run-2"
_PACKAGES = ("twinspike", "numpy", "torch", "brian2", "snntorch", "h5py", "sympy")


class FinishedError(Exception):
    """A run that is complete was asked to resume."""


def versions() -> dict[str, str]:
    """Versions of what computes."""
    import platform

    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def new(model: str, semantics: Mapping[str, Any], config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Of a run that begins now. model: the network as JSON text."""
    return {
        "schema": SCHEMA, "created": datetime.now(UTC).isoformat(timespec="seconds"), "seed": seed, "versions": versions(),
        "model": model, "hash": hashlib.sha256(model.encode()).hexdigest(), "semantics": dict(semantics),
        "config": dict(config),
    }  # fmt: skip


def write(file: h5py.Group, header: Mapping[str, Any]) -> None:
    """Begin an empty file, or a group that is laid out like one, with it."""
    file.attrs.update({k: header[k] for k in ("schema", "created", "seed")})
    file.attrs["versions"] = json.dumps(header["versions"])
    file.attrs.create("complete", False)
    file["model/network"] = header["model"]
    file["model"].attrs["hash"] = header["hash"]
    file["model/semantics"] = json.dumps(header["semantics"])
    file["config"] = json.dumps(header["config"])


def read(contents: Contents) -> dict[str, Any]:
    """Inverse of write, and `complete`. Raises ResultsError for a file of another schema."""
    file = contents.file
    schema = str(contents.attribute(file, "schema", ""))
    if schema != SCHEMA:
        raise ResultsError(other_schema(file.file.filename, schema))
    found: dict[str, Any] = {"schema": schema, "complete": bool(contents.attribute(file, "complete"))}
    found |= {"seed": int(contents.attribute(file, "seed")), "created": str(contents.attribute(file, "created"))}
    found["versions"] = json.loads(contents.attribute(file, "versions"))
    found["config"] = json.loads(contents.text(file, "config"))
    found["model"] = model = contents.text(file, "model/network")
    found["semantics"] = json.loads(contents.text(file, "model/semantics"))
    return found | {"hash": hashlib.sha256(model.encode()).hexdigest()}


def final_parameters(contents: Contents) -> dict[str, Array]:
    """Trained parameters, SI, of a run that is complete."""
    group = contents.member(contents.file, "parameters", h5py.Group)
    last = contents.member(group, str(contents.attribute(group, "final")), h5py.Group)
    return {n: contents.array(last, n) for n in last}


def first_and_last(contents: Contents) -> tuple[dict[str, Array], dict[str, Array], dict[str, str]]:
    """Parameters of a complete run before its first and after its last update, SI, and their units."""
    group = contents.member(contents.file, "parameters", h5py.Group)
    first = contents.member(group, "0", h5py.Group)
    units = {n: str(contents.attribute(first[n], "unit", "1")) for n in first}
    return {n: contents.array(first, n) for n in first}, final_parameters(contents), units


def trained(path: Path) -> tuple[str, dict[str, Array]]:
    """The network of a complete run as JSON text, and its trained parameters, SI. Raises ResultsError."""
    with opened(path) as contents:
        head = read(contents)
        if not head["complete"]:
            raise ResultsError(f"run '{path.name}' is not complete; finish it with train.py --resume")
        return head["model"], final_parameters(contents)


def other_schema(path: Any, schema: str) -> str:
    """What to say of a file of another schema."""
    return (
        f"'{path}' is not a run file of this version (schema '{schema}', expected '{SCHEMA}');"
        " its attribute 'versions' says what wrote it: read it with that version, or train again"
    )
