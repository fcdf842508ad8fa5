"""Network <-> JSON, bit for bit, and networks from TOML or JSON files. Loading reads data and runs checks, nothing else.

A file may name its neurons and synapses under `neurons` and `synapses`, take them from the library, or hold `parts`:
networks, written in place or in other files, that are joined as `neuro.composition` does.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuro.checks import ModelWarning
from neuro.io.network_reader import Reader, load, parse
from neuro.language import units
from neuro.language.arrays import encode
from neuro.language.equations import ModelError
from neuro.language.units import Quantity
from neuro.model import Network, Neuron, Synapse

SCHEMA = 1


def to_data(network: Network) -> dict[str, Any]:
    """The network as lists, dicts, texts and numbers; equal neurons and synapses are stored once."""
    return _Writer(units.to_data).network(network)


def to_json(network: Network) -> str:
    """to_data as JSON text, keys sorted."""
    return _text(to_data(network))


def content_hash(network: Network) -> str:
    """sha256 of the canonical JSON in SI units: the same for "20 ms" and "0.02 s", and for any order of keys."""
    return hashlib.sha256(_text(_Writer(_in_si).network(network)).encode()).hexdigest()


def from_data(data: Any) -> Network:
    """Inverse of to_data. Raises ModelError naming what is wrong."""
    return Reader(data, SCHEMA).network()


def from_json(text: str) -> Network:
    """Inverse of to_json. Raises ModelError naming what is wrong."""
    return from_data(parse(text, ".json", "network"))


def network_in(model: str) -> Network | None:
    """The network of a run's JSON text; None where it is none of this version."""
    with warnings.catch_warnings(), suppress(ModelError):
        warnings.simplefilter("ignore", ModelWarning)  # whoever made it has read them
        return from_json(model)
    return None


def read_network(path: str | Path) -> Network:
    """A network from a .toml or .json file written by hand or by to_json. Neurons and synapses may be library names, parts may be
    networks in other files (`file`) or trained ones (`run`), in the folder of this one or below.

    Raises ModelError; OSError where the file can't be read.
    """
    source = Path(path)
    return Reader(load(source), SCHEMA, source.resolve().parent).network()


def _text(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _in_si(item: Quantity) -> Any:
    value = np.asarray(item.value, dtype=np.float64) + 0.0  # one zero: -0.0 equals 0.0
    return {"si": encode(value) if item.shape else float(value), "unit": str(item.dimension)}


class _Writer:
    def __init__(self, quantity: Callable[[Quantity], Any]) -> None:
        self.quantity = quantity
        self.shared: dict[type, dict[str, Any]] = {Neuron: {}, Synapse: {}}

    def network(self, network: Network) -> dict[str, Any]:
        body = self.fields(network)
        return {"schema": SCHEMA, "neurons": self.shared[Neuron], "synapses": self.shared[Synapse], **body}

    def encode(self, item: Any) -> Any:
        if isinstance(item, Quantity):
            return self.quantity(item)
        if isinstance(item, Neuron | Synapse):
            return self.once(item)
        if is_dataclass(item):
            return {"type": type(item).__name__, **self.fields(item)}
        if isinstance(item, Mapping):
            return {key: self.encode(value) for key, value in item.items()}
        if isinstance(item, tuple):
            return [self.encode(value) for value in item]
        return encode(item) if isinstance(item, np.ndarray) else item

    def fields(self, item: Any) -> dict[str, Any]:
        """Without those that came later and have their default: files, and hashes, stay what they were."""
        given = {f.name: getattr(item, f.name) for f in fields(item)}
        absent = {f.name for f in fields(item) if "later" in f.metadata and given[f.name] == f.metadata["later"]}
        return {name: self.encode(value) for name, value in given.items() if name not in absent}

    def once(self, item: Neuron | Synapse) -> str:
        """The key under which this neuron or synapse is stored: its name, with a number where two differ."""
        data, table = self.fields(item), self.shared[type(item)]
        key, number = item.name, 1
        while key in table and _text(table[key]) != _text(data):
            number += 1
            key = f"{item.name}_{number}"
        table[key] = data
        return key
