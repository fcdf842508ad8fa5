"""Many run files as one: each run a group that is laid out as its file was, and a table with a row for each.

Run files are read with what reads them everywhere, block by block, and stay as they are. The one file appears whole or not at all, so nobody writes to what
another one reads.

/table/COLUMN [run], kind "run", "setting" or "metric" (attributes `kind`; of /table, `columns`: their order). Texts where not all are numbers, lists and tables as
JSON; NaN and "" where a run has none. A setting that is called as one of the run's columns is "setting NAME" there. /runs/NAME: a run without its recordings and what was measured of it; `open_member` reads it as a run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.io import checkpoints, run_header
from neuro.io.files import replaced
from neuro.io.hdf5 import Contents, Hdf5Error, ResultsError, check_place, opened, writing
from neuro.io.results import Reader

SCHEMA = "twinspike-merged-1"
OWN = ("task", "backend", "rule", "seed")  # settings that stand in every table
COMPLETE, INCOMPLETE, DAMAGED, MISSING = "complete", "incomplete", "damaged", "missing"
_ENTRY = np.dtype([("step", "<i8"), ("value", "<f8")])  # of a metric
_NONE = (float("nan"), float("nan"), float("nan"))
_BLOCK = 2**22  # bytes that are copied at once
_BESIDE = 2**26  # bytes that a run may give beside its own size: nothing in it is packed


@dataclass
class Row:
    """One run of the table. settings: None for those that differ between the runs. status: of its file, unless the caller says more. metrics: name -> final,
    least and largest value."""

    name: str
    path: Path
    settings: Mapping[str, Any] | None = None
    status: str = ""
    error: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: dict[str, tuple[float, float, float]] = field(default_factory=dict)


def merge(
    out: str | os.PathLike[str], rows: Sequence[Row], *, partial: bool = False, parameters: bool = True, overwrite: bool = False
) -> list[Row]:  # fmt: skip
    """Write these runs to one file. Returns the rows as they stand in its table.

    partial: runs that are incomplete, damaged or missing are taken as far as they go, and marked; otherwise they are refused. parameters: those of the runs
    too. overwrite: in the place of a merged file, and of no other. Raises ResultsError.
    """
    target, found = Path(out), list(rows)
    _check(target, found, overwrite)
    refused: list[Row] = []

    def write(side: Path) -> None:
        with h5py.File(side, "w", libver=("v110", "v110"), locking=False) as file:
            file.attrs.update({"schema": SCHEMA, "versions": json.dumps(run_header.versions())})
            runs = file.create_group("runs")
            for row in found:
                _take(runs, row, parameters)
                if row.status != COMPLETE and not partial:
                    refused.append(row)
            if not refused:
                _write_table(file, found, target.parent)
        if refused:
            raise ResultsError(_refusal(refused))

    with writing(target):
        replaced(target, write)
    return found


def open_member(path: str | os.PathLike[str], name: str, limit: int | None = None) -> Reader:
    """One run of a merged file, as `open_run` opens a run's own. Raises ResultsError."""
    return Reader(Path(path), limit, f"runs/{name}")


def read_table(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any] | list[str]]:
    """Column -> numbers or texts, one for each run. Raises ResultsError."""
    with opened(Path(path)) as contents:
        if (schema := contents.attribute(contents.file, "schema", "")) != SCHEMA:
            raise ResultsError(f"'{path}' is no merged file (schema '{schema}', expected '{SCHEMA}')")
        group = contents.member(contents.file, "table", h5py.Group)
        order = json.loads(contents.text(group, "columns"))
        return {name: _column(contents, group, name) for name in order}


def named(paths: Sequence[Path]) -> list[Row]:
    """A row for each run file, by its name; by its folders too where names are the same. Raises ResultsError."""
    whole = [p.resolve() for p in paths]
    for path in whole:
        if whole.count(path) > 1:
            raise ResultsError(f"'{path}' is given twice; name each run once")
    stems = [p.stem for p in whole]
    if len(set(stems)) < len(stems):
        above = Path(os.path.commonpath([p.parent for p in whole]))
        stems = ["-".join(p.relative_to(above).with_suffix("").parts) for p in whole]
    return [Row(name, path) for name, path in zip(stems, paths, strict=True)]


def _check(target: Path, rows: Sequence[Row], overwrite: bool) -> None:
    if target.resolve() in [row.path.resolve() for row in rows]:
        raise ResultsError(f"'{target}' is one of the runs; choose another name for what is made of them")
    if target.exists() and not overwrite:
        raise ResultsError(f"'{target}' exists; replace it with --overwrite, or choose another name")
    check_place(target, SCHEMA, "no merged file")
    names = [row.name for row in rows]
    for row in rows:
        if names.count(row.name) > 1:
            raise ResultsError(f"two runs are called '{row.name}'; rename a file")
        if row.name in ("", ".") or "/" in row.name:
            raise ResultsError(f"'{row.path}': no run of a file can be called '{row.name}'; rename it")


def _refusal(rows: Sequence[Row]) -> str:
    said = "; ".join(f"'{row.path}' is {row.status}" + (f" ({row.error})" if row.error else "") for row in rows)
    return f"{said}. Finish what is incomplete with train.py --resume, or take all as far as they go with --partial"


# -- runs ---------------------------------------------------------------------------------------------------------


def _take(runs: h5py.Group, row: Row, parameters: bool) -> None:
    """Copy a run, or what there is of it, and say in its row what that is."""
    if not row.path.exists() and not checkpoints.checkpoint_path(row.path).exists():
        row.status = row.status or MISSING
        return
    try:
        complete = _copied(runs.create_group(row.name), row, parameters)
        row.status = COMPLETE if complete else row.status or INCOMPLETE
    except ResultsError as error:
        del runs[row.name]
        row.metrics.clear()
        if _of_checkpoint(runs, row):
            row.status = row.status or INCOMPLETE
        else:
            row.status, row.error = row.status or DAMAGED, row.error or str(error)


def _copied(group: h5py.Group, row: Row, parameters: bool) -> bool:
    with opened(row.path, _BESIDE + row.path.stat().st_size if row.path.exists() else None) as contents:
        header = run_header.read(contents)
        if not isinstance(header["config"], dict):
            raise Hdf5Error("config", f"{type(header['config']).__name__} where settings belong")
        run_header.write(group, header)
        metrics = contents.find(contents.file, "metrics", h5py.Group)
        for name in metrics if metrics is not None else ():
            _copy(contents, metrics, name, group.require_group("metrics"), _ENTRY)
            row.metrics[name] = _summary(group[f"metrics/{name}"])
        if parameters and header["complete"]:
            _copy_parameters(contents, group.create_group("parameters"))
        group.attrs["complete"] = header["complete"]
    row.config = header["config"]
    return bool(header["complete"])


def _copy_parameters(contents: Contents, group: h5py.Group) -> None:
    snapshots = contents.member(contents.file, "parameters", h5py.Group)
    group.attrs["final"] = int(contents.attribute(snapshots, "final"))
    for update in snapshots:
        values = contents.member(snapshots, update, h5py.Group)
        copy = group.create_group(update)
        for name in values:
            _copy(contents, values, name, copy)
            for key in ("unit", "axes"):
                copy[name].attrs[key] = str(contents.attribute(values[name], key, ""))


def _copy(contents: Contents, source: h5py.Group, name: str, target: h5py.Group, entry: Any = None) -> None:
    """An array of numbers, or of these entries, block by block; as long as it is now, for more may come meanwhile."""
    item = contents.member(source, name, h5py.Dataset)
    if item.ndim == 0:
        target[name] = contents.array(source, name)
        return
    if entry is not None and (item.dtype.names != entry.names or item.ndim != 1):
        raise Hdf5Error(name, f"{item.dtype} {item.shape} where pairs of step and value belong")
    shape, width = item.shape, item.dtype.itemsize * int(np.prod(item.shape[1:], dtype=object))
    step = max(1, _BLOCK // max(1, width))
    for first in range(0, max(1, shape[0]), step):
        last = min(first + step, shape[0])
        values = contents.span(source, name, first, last, kinds="biuf" if entry is None else "V")
        data = target.require_dataset(name, shape, entry or item.dtype)  # after the first block was found sound
        data[first:last] = values if entry is None else values.astype(entry)


def _of_checkpoint(runs: h5py.Group, row: Row) -> bool:
    """A run whose file was cut off, as far as its last checkpoint knows it."""
    try:
        header, history, _ = checkpoints.read(checkpoints.checkpoint_path(row.path))
    except ResultsError:
        return False
    group = runs.create_group(row.name)
    run_header.write(group, header)
    for name, entries in history.items():
        group[f"metrics/{name}"] = np.array(entries, _ENTRY)
        row.metrics[name] = _summary(group[f"metrics/{name}"])
    row.config = header["config"]
    return True


def _summary(data: h5py.Dataset) -> tuple[float, float, float]:
    """Final, least and largest value; NaN where there is none that is a number."""
    values = data["value"]
    known = values[~np.isnan(values)]
    if not len(known):
        return _NONE
    return float(values[-1]), float(known.min()), float(known.max())


# -- the table ----------------------------------------------------------------------------------------------------


def _write_table(file: h5py.File, rows: Sequence[Row], folder: Path) -> None:
    """folder: of the file, which paths begin at."""
    table = file.create_group("table")
    paths = [os.path.relpath(row.path, folder) for row in rows]
    columns: list[tuple[str, str, list[Any]]] = [("name", "run", [row.name for row in rows]), ("path", "run", paths)]
    columns += [(name, "run", [getattr(row, name) for row in rows]) for name in ("status", "error")]
    taken = {name for name, *_ in columns} | {"columns"}
    columns += [(f"setting {n}" if n in taken else n, "setting", values) for n, values in _settings(rows).items()]
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        summaries = [row.metrics.get(name, _NONE) for row in rows]
        columns += [
            (f"{kind} {name}", "metric", [s[k] for s in summaries])
            for k, kind in enumerate(("final", "least", "largest"))
        ]
    for name, kind, values in columns:
        table[name] = _array(values)
        table[name].attrs["kind"] = kind
    table["columns"] = json.dumps([name for name, *_ in columns])


def _settings(rows: Sequence[Row]) -> dict[str, list[Any]]:
    flat = [dict(_flat(row.config)) if row.settings is None else dict(row.settings) for row in rows]
    names = list(dict.fromkeys(name for found in flat for name in found))
    if any(row.settings is None for row in rows):
        differ = [n for n in names if len({json.dumps(found.get(n), sort_keys=True) for found in flat}) > 1]
        names = [*(n for n in OWN if n in names), *(n for n in differ if n not in (*OWN, "command"))]
    return {name: [found.get(name) for found in flat] for name in names}


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _array(values: list[Any]) -> npt.NDArray[Any]:
    kinds = {type(v) for v in values}
    if kinds == {int}:
        return np.array(values, np.int64)
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        return np.array([np.nan if v is None else v for v in values], np.float64)
    texts = ["" if v is None else v if isinstance(v, str) else json.dumps(v) for v in values]
    return np.array(texts, dtype=h5py.string_dtype())


def _column(contents: Contents, group: h5py.Group, name: str) -> npt.NDArray[Any] | list[str]:
    item = contents.dataset(group, name)
    if h5py.check_string_dtype(item.dtype) is None:
        return contents.array(group, name)
    return [row.decode("utf-8") if isinstance(row, bytes) else str(row) for row in contents.rows(item)]
