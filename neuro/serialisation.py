"""Network <-> JSON, bit for bit, and networks from TOML or JSON files. Loading reads data and runs checks, nothing else."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuro import checks, model
from neuro.arrays import ArrayError, decode, encode
from neuro.equations import ModelError, suggestion
from neuro.units import Quantity, UnitError, to_data

SCHEMA = 1
_TYPES = {
    c.__name__: c
    for c in (
        model.Neuron, model.Synapse, model.Population, model.Projection, model.Input, model.Network, model.Normal,
        model.Uniform, model.AllToAll, model.OneToOne, model.Probability, model.Pairs,
    )
}  # fmt: skip


def to_json(network: model.Network) -> str:
    """Canonical JSON: the same text for equal networks."""
    return json.dumps({"schema": SCHEMA, **_encode(network)}, sort_keys=True, separators=(",", ":"))


def content_hash(network: model.Network) -> str:
    """sha256 of the canonical JSON."""
    return hashlib.sha256(to_json(network).encode()).hexdigest()


def from_json(text: str) -> model.Network:
    """Inverse of to_json. Raises ModelError naming what is wrong."""
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _fail("network", f"this is not JSON ({error})", "pass what to_json gave") from None
    return _network(data)


def read_network(path: str | Path) -> model.Network:
    """A network from a .toml or .json file written by hand or by to_json. Neurons and synapses may be library names.

    Raises ModelError; OSError where the file can't be read.
    """
    source = Path(path)
    if source.suffix == ".json":
        return from_json(source.read_text(encoding="utf-8"))
    if source.suffix != ".toml":
        raise _fail(f"file '{source}'", f"the ending '{source.suffix}' is unknown", "use .toml or .json")
    try:
        return _network(tomllib.loads(source.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise _fail(f"file '{source}'", f"this is not TOML ({error})", "correct the line") from None


def _network(data: Any) -> model.Network:
    if not isinstance(data, Mapping):
        raise _fail("network", "a network is an object with populations", "pass what to_json gave")
    schema = data.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise _fail("network", f"schema {schema!r} is unknown", f"this version reads schema {SCHEMA}")
    rest = {k: v for k, v in data.items() if k != "schema"}
    try:
        found = _decode({"type": "Network", **rest}, "network")
    except (ArrayError, UnitError, TypeError, ValueError) as error:
        raise _fail("network", str(error), "correct the file") from None
    if not isinstance(found, model.Network):
        raise _fail("network", f"this is a {type(found).__name__}", "pass a whole network")
    return found


def _fail(where: str, message: str, fix: str) -> ModelError:
    return ModelError([checks.common.plain(where, message, fix)])


def _encode(item: Any) -> Any:
    if isinstance(item, Quantity):
        return to_data(item)
    if is_dataclass(item):
        return {"type": type(item).__name__, **{f.name: _encode(getattr(item, f.name)) for f in fields(item)}}
    if isinstance(item, Mapping):
        return {key: _encode(value) for key, value in item.items()}
    if isinstance(item, tuple | list):
        return [_encode(value) for value in item]
    return encode(item) if isinstance(item, np.ndarray) else item


_PARTS = {
    "populations": "Population", "projections": "Projection", "inputs": "Input", "neuron": "Neuron", "synapse": "Synapse",
}  # fmt: skip


def _decode(data: Any, where: str, expected: str = "") -> Any:
    if isinstance(data, list):
        return tuple(_decode(item, where, expected) for item in data)
    if isinstance(data, str) and expected in ("Neuron", "Synapse"):
        from neuro import library

        return library.get(data)
    if not isinstance(data, Mapping):
        return data
    kind = data.get("type", expected)
    if not kind:
        plain = {"si", "unit"} == set(data)
        return dict(data) if plain else {key: _decode(value, f"{where}, {key}") for key, value in data.items()}
    if kind not in _TYPES:
        raise _fail(where, f"there is no type '{kind}'", suggestion(str(kind), _TYPES) or f"known: {', '.join(_TYPES)}")
    cls = _TYPES[kind]
    known = {f.name for f in fields(cls)}
    values = {}
    for key, value in data.items():
        if key == "type":
            continue
        inside = f"{where}, {key}"
        if key not in known:
            raise _fail(where, f"a {kind} has no '{key}'", suggestion(key, known) or f"it has: {', '.join(sorted(known))}")
        values[key] = decode(value, "int64") if kind == "Pairs" else _decode(value, inside, _PARTS.get(key, ""))
    missing = [f.name for f in fields(cls) if f.name not in values and not _has_default(f)]
    if missing:
        raise _fail(where, f"a {kind} needs '{missing[0]}'", "add it")
    return cls(**values)


def _has_default(item: Any) -> bool:
    from dataclasses import MISSING

    return item.default is not MISSING or item.default_factory is not MISSING
