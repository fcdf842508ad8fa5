"""Data from a file -> Network. Every key and type is checked before an object is made; nothing is evaluated."""

from __future__ import annotations

import json
import reprlib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, NoReturn, cast

from neuro import composition, library, model
from neuro.checks.common import plain
from neuro.language import units
from neuro.language.arrays import ArrayError, decode
from neuro.language.equations import ModelError, suggestion

_DEPTH = 8  # files within files
_PARTS = 2000  # in all: files that hold others several times grow without bound
_TABLES: dict[str, type] = {"neurons": model.Neuron, "synapses": model.Synapse}
_CONNECTIVITY = (
    *(model.AllToAll, model.OneToOne, model.Probability, model.Pairs),
    *(model.Distance, model.FixedTotal, model.FixedInDegree, model.FixedOutDegree),
)
_DISTRIBUTIONS = (model.Normal, model.Uniform, model.LogNormal, model.Gamma)
_COMPOSED = {"parts", "bind"}

Read = Callable[[Any, str], Any]


def broken(where: str, message: str, fix: str) -> NoReturn:
    raise ModelError([plain(where, message, fix)])


def parse(text: str, ending: str, where: str) -> Any:
    """JSON or TOML text as data. Raises ModelError."""
    try:
        if ending == ".toml":
            return tomllib.loads(text)
        return json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        broken(where, f"this is not {ending[1:].upper()} ({error})", "correct the text")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [k for k, _ in pairs]
        twice = next(k for k in keys if keys.count(k) > 1)
        raise ValueError(f"the key '{twice}' stands twice in one object")
    return found


def load(path: Path) -> Any:
    """A file's data. Raises ModelError; OSError where the file can't be read."""
    where = f"file '{path.name}'"
    if path.suffix not in (".json", ".toml"):
        broken(where, f"the ending '{path.suffix}' is unknown", "use .toml or .json")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        broken(where, f"this is not UTF-8 text ({error.reason})", "save it as UTF-8")
    return parse(text, path.suffix, where)


class Reader:
    """Reads one network. folder: where its `file` entries are looked up; without one they are refused.

    above: the reader of the network that this one is a part of.
    """

    def __init__(self, data: Any, schema: int, folder: Path | None = None, above: Reader | None = None) -> None:
        self.data = _table(data, "network", "a network is an object with populations")
        self.schema, self.folder = schema, folder
        self.depth: int = above.depth + 1 if above else 0
        self.parts: list[str] = above.parts if above else []
        if self.data.get("schema", schema) != schema:
            broken("network", f"schema {self.data['schema']!r} is unknown", f"this version reads schema {schema}")
        self.tables = {key: _table(self.data.get(key, {}), key) for key in _TABLES}
        self.made: dict[tuple[str, str], Any] = {}

    def network(self) -> model.Network:
        own = {k: v for k, v in self.data.items() if k not in ("schema", *_TABLES)}
        if _COMPOSED & set(own):
            return self.composed(own)
        return cast(model.Network, self.build(model.Network, own, "network"))

    def build(self, cls: type, data: Any, where: str, base: Any = None) -> Any:
        """An object from its fields; `base` gives those left out."""
        entries = dict(_table(data, where, f"a {cls.__name__} is an object"))
        kind = entries.pop("type", cls.__name__)
        if kind != cls.__name__:
            broken(where, *_unknown(f"there is no type '{kind}' here", str(kind), [cls.__name__]))
        known = {f.name: f for f in fields(cls)}
        _check_keys(entries, known, where, f"a {cls.__name__}")
        values = {k: self.read(cls, k)(v, f"{where}, {k}") for k, v in entries.items()}
        if base is not None:
            maps = {k: {**getattr(base, k), **v} for k, v in values.items() if isinstance(v, Mapping)}
            return replace(base, **{**values, **maps})
        for name, field in known.items():
            if name not in values and field.default is MISSING and field.default_factory is MISSING:
                broken(where, f"a {cls.__name__} needs '{name}'", "add it")
        return cls(**values)

    def read(self, cls: type, key: str) -> Read:
        """How a field is read."""
        readers: dict[str, Read] = {
            "parameters": _each(self.value), "initial": _each(self.value), "weights": _optional(self.value), "rate": _optional(_quantity),
            "weight": _optional(_quantity), "sources": _whole, "regularly": _each(_words), "events": _each(_words), "on_event": _each(_words), "delays": _each(_quantity),
            "delay": self.value, "refractory": _quantity_or_text, "dt": _quantity, "mean": _quantity, "std": _quantity,
            "low": _optional(_quantity), "high": _optional(_quantity), "size": _whole, "seed": _whole, "sign": _optional(_words), "p": _real,
            "positions": _optional(_quantity), "cutoff": _optional(_quantity), "period": _optional(_quantity),
            "n": _whole, "k": _whole, "multapses": _flag, "self_connections": _flag, "frozen": _flag, "connectivity": self.connectivity,
            "populations": self.items(model.Population), "projections": self.items(model.Projection),
            "inputs": self.items(model.Input), "neuron": self.shared("neurons"), "synapse": self.shared("synapses"),
        }  # fmt: skip
        if key == "bounds":
            return _each(_bounds) if cls is model.Neuron else _bounds
        if cls is model.Pairs:
            return _indices
        return readers.get(key, _words)

    def items(self, cls: type) -> Read:
        """A list of parts, or a table of parts by name."""

        def read(data: Any, where: str) -> tuple[Any, ...]:
            if isinstance(data, Mapping):
                data = [{"name": k, **_table(v, f"{where} '{k}'")} for k, v in data.items()]
            if not isinstance(data, list):
                broken(where, f"{_short(data)} is not a list", f"give a list of {where.rpartition(' ')[2]}")
            return tuple(self.build(cls, part, f"{where} {_label(part, i)}") for i, part in enumerate(data))

        return read

    def shared(self, table: str) -> Read:
        """A neuron or synapse: a name from the file or the library, or its fields in place."""
        cls = _TABLES[table]

        def read(data: Any, where: str) -> Any:
            if not isinstance(data, str):
                return self.part(cls, data, where, "")
            if data not in self.tables[table]:
                return self.from_library(cls, data, where)
            if (table, data) not in self.made:
                place = f"{table} '{data}'"
                self.made[table, data] = self.part(cls, self.tables[table][data], place, data)
            return self.made[table, data]

        return read

    def part(self, cls: type, data: Any, where: str, name: str) -> Any:
        entries = dict(_table(data, where, f"a {cls.__name__} is an object, or a name"))
        base = self.from_library(cls, _words(entries.pop("library"), where), where) if "library" in entries else None
        if name and base is None:
            entries.setdefault("name", name)
        return self.build(cls, entries, where, base)

    def from_library(self, cls: type, name: str, where: str) -> Any:
        own = self.tables["neurons" if cls is model.Neuron else "synapses"]
        known = library.neurons() if cls is model.Neuron else library.synapses()
        if name not in known:
            what = cls.__name__.lower()
            broken(where, *_unknown(f"there is no {what} '{name}'", name, [*own, *known]))
        return library.get(name)

    def value(self, data: Any, where: str) -> Any:
        """A quantity or a distribution."""
        if isinstance(data, Mapping) and "type" in data:
            return self.build(_class(data, _DISTRIBUTIONS, where), data, where)
        return _quantity(data, where)

    def connectivity(self, data: Any, where: str) -> Any:
        table = _table({"type": data} if isinstance(data, str) else data, where)
        return self.build(_class(table, _CONNECTIVITY, where), table, where)

    def composed(self, own: dict[str, Any]) -> model.Network:
        _check_keys(
            own, {"type", "name", "seed", "dt", "projections", "inputs", *_COMPOSED}, "network", "a composition"
        )
        parts = {
            n: self.network_part(part, f"parts '{n}'")
            for n, part in _table(own.get("parts", {}), "network, parts").items()
        }
        bind = _each(_words)(own.get("bind", {}), "network, bind")
        read = {k: self.read(model.Network, k)(own[k], f"network, {k}") for k in own if k in ("name", "seed")}
        connections, inputs = (
            self.read(model.Network, k)(own.get(k, []), f"network, {k}") for k in ("projections", "inputs")
        )
        return composition.compose(parts, connections, bind=bind, inputs=inputs, **read)

    def network_part(self, data: Any, where: str) -> composition.Part:
        entries = dict(_table(data, where))
        ports = _each(_words)(entries.pop("ports"), f"{where}, ports") if "ports" in entries else None
        frozen = _flag(entries.pop("frozen"), f"{where}, frozen") if "frozen" in entries else None
        if self.depth == _DEPTH:
            broken(where, f"parts within parts, more than {_DEPTH} levels", "a file must not hold itself")
        self.parts.append(where)
        if len(self.parts) > _PARTS:
            broken(where, f"more than {_PARTS} parts in all", "files that hold files must stay few")
        parameters = None
        if "run" in entries:
            _check_keys(entries, {"run"}, where, "a part from a run")
            inner, folder, parameters = self.trained(_words(entries["run"], where), where)
        elif "file" in entries:
            _check_keys(entries, {"file"}, where, "a part from a file")
            path = self.path(_words(entries["file"], where), where)
            inner, folder = load(path), cast("Path | None", path.parent)
        else:
            above: dict[str, Any] = {k: {**self.tables[k], **_table(entries.get(k, {}), where)} for k in _TABLES}
            clock = {"dt": self.data["dt"]} if "dt" in self.data else {}
            inner, folder = {**clock, **entries, **above}, self.folder
        return composition.Part(Reader(inner, self.schema, folder, self).network(), ports, parameters, frozen)

    def trained(self, name: str, where: str) -> tuple[Any, None, Mapping[str, Any]]:
        """A run's network, which names no files, and its trained parameters."""
        from neuro.io.hdf5 import ResultsError  # HDF5 is loaded where a run is read
        from neuro.io.run_header import trained

        try:
            model, parameters = trained(self.path(name, where))
        except ResultsError as error:
            broken(where, str(error), "name a complete run of train.py")
        return parse(model, ".json", where), None, parameters

    def path(self, name: str, where: str) -> Path:
        """A file in this file's folder or below it."""
        if self.folder is None:
            broken(where, "data that comes from no file can't name files", "put the part in place, or use read_network")
        found, there = self.folder, False
        with suppress(ValueError, OSError):  # of what no file could be called
            found = (self.folder / name).resolve()
            there = found.is_relative_to(self.folder) and found.is_file()
        if not there:
            broken(where, f"there is no file '{name}' in the folder of this one", "correct the name")
        return found


def _class(table: Mapping[str, Any], classes: Iterable[type], where: str) -> type:
    known = {c.__name__: c for c in classes}
    kind = str(table.get("type"))
    if kind not in known:
        broken(where, *_unknown(f"there is no type '{kind}' here", kind, list(known)))
    return known[kind]


def _unknown(message: str, name: str, known: list[str]) -> tuple[str, str]:
    return message, suggestion(name, known) or f"known: {', '.join(sorted(known))}"


def _check_keys(entries: Mapping[str, Any], known: Iterable[str], where: str, what: str) -> None:
    for key in entries:
        if key not in known:
            broken(where, *_unknown(f"{what} has no '{key}'", key, list(known)))


def _short(data: Any) -> str:
    return reprlib.repr(data)


def _label(part: Any, index: int) -> str:
    name = part.get("name") if isinstance(part, Mapping) else None
    return f"'{name}'" if isinstance(name, str) else str(index)


def _table(data: Any, where: str, message: str = "") -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        broken(where, message or f"{_short(data)} is not an object", "give keys and values")
    return data


def _words(data: Any, where: str) -> str:
    if not isinstance(data, str):
        broken(where, f"{_short(data)} is not text", "put it in quotes")
    return data


def _whole(data: Any, where: str) -> int:
    if type(data) is not int:
        broken(where, f"{_short(data)} is not a whole number", "give one without quotes, point or unit")
    return data


def _real(data: Any, where: str) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float):
        broken(where, f"{_short(data)} is not a number", "give one without quotes or unit")
    return data


def _flag(data: Any, where: str) -> bool:
    if not isinstance(data, bool):
        broken(where, f"{_short(data)} is not true or false", "give true or false")
    return data


def _quantity(data: Any, where: str) -> units.Quantity:
    """ "20 ms", a plain number, {values, unit}, or what to_data gave: {si, unit}."""
    try:
        if isinstance(data, Mapping) and set(data) == {"values", "unit"}:
            return units.quantity(decode(data["values"]), str(data["unit"]))
        if isinstance(data, bool) or not isinstance(data, str | int | float | Mapping):
            broken(where, f"{_short(data)} is not a quantity", "write '20 ms', or {values = [1, 2], unit = 'ms'}")
        return units.from_data(data)
    except (units.UnitError, ArrayError, OverflowError) as error:
        broken(where, str(error), "write a number and a unit, like '20 ms'")


def _quantity_or_text(data: Any, where: str) -> Any:
    """A quantity, or an expression as it stands."""
    return data if isinstance(data, str) and not units.is_quantity(data) else _quantity(data, where)


def _bounds(data: Any, where: str) -> tuple[Any, Any]:
    """[low, high] with null for an open side, or {low, high} with one left out."""
    if isinstance(data, Mapping):
        _check_keys(data, ("low", "high"), where, "a pair of bounds")
        data = [data.get("low"), data.get("high")]
    if not isinstance(data, list) or len(data) != 2:
        broken(where, f"{_short(data)} is no pair of bounds", "write {low = '1 ms', high = '50 ms'}")
    low, high = (_optional(_quantity)(bound, where) for bound in data)
    return low, high


def _indices(data: Any, where: str) -> Any:
    try:
        return decode(data, "int64")
    except ArrayError as error:
        broken(where, str(error), "give a list of indices")


def _optional(read: Read) -> Read:
    return lambda data, where: None if data is None else read(data, where)


def _each(read: Read) -> Read:
    return lambda data, where: {k: read(v, f"{where} '{k}'") for k, v in _table(data, where).items()}
