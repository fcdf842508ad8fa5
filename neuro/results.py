"""The HDF5 store: one file a run, readable while it is written (SWMR), safe against a kill at any moment.

The file of a run in progress may be cut off anywhere, so what resumption needs is not in it: a checkpoint is a side file,
replaced atomically and recognised by a checksum, with the whole metrics history. Resuming builds the run file anew from it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.parameters import Parameter
from neuro.protocols import Recording

Array = npt.NDArray[Any]

SCHEMA = "twinspike-run-1"
_PACKAGES = ("twinspike", "numpy", "torch", "brian2", "snntorch", "h5py", "sympy")


class ResultsError(Exception):
    """A run file that is missing, damaged, foreign, in the way, or can't be written; the message names it and the fix."""


def versions() -> dict[str, str]:
    """Versions of what computes."""
    import platform

    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def checkpoint_path(path: Path) -> Path:
    return path.with_name(path.name + ".checkpoint")


class Run:
    """A run that is being written. Use `Run.create` or `Run.resume`, then log, checkpoint, finish."""

    def __init__(self, path: Path, header: Mapping[str, Any], history: dict[str, list[tuple[int, float]]]) -> None:
        self.path, self.header, self.history = path, dict(header), history
        self._file = self._begin()

    @staticmethod
    def create(
        path: str | os.PathLike[str], *, model: str, semantics: Mapping[str, Any], config: Mapping[str, Any], seed: int,
        metrics: Sequence[str], overwrite: bool = False,
    ) -> Run:  # fmt: skip
        """Begin a run file. model: the network as JSON text. Raises ResultsError where a file is in the way."""
        target = Path(path)
        if target.exists() and not overwrite:
            raise ResultsError(
                f"'{target}' exists; continue it with --resume, replace it with --overwrite, or choose another name"
            )
        with suppress(FileNotFoundError):
            checkpoint_path(target).unlink()
        header = {
            "schema": SCHEMA, "created": datetime.now(UTC).isoformat(timespec="seconds"), "seed": seed, "versions": versions(),
            "model": model, "hash": hashlib.sha256(model.encode()).hexdigest(), "semantics": dict(semantics),
            "config": dict(config),
        }  # fmt: skip
        return Run(target, header, {name: [] for name in metrics})

    @staticmethod
    def resume(path: str | os.PathLike[str]) -> tuple[Run, dict[str, Array]]:
        """Continue a run from its last checkpoint: metrics after it are dropped. Returns the run and the saved state."""
        target = Path(path)
        if not target.exists() and not checkpoint_path(target).exists():
            raise ResultsError(f"there is no run '{target}' to resume")
        with suppress(ResultsError):
            if open_run(target).complete:
                raise FinishedError(f"run '{target}' is complete; there is nothing to resume")
        header, history, state = _read_checkpoint(checkpoint_path(target))
        return Run(target, header, history), state

    def _begin(self) -> h5py.File:
        """A fresh file with everything so far; every dataset exists before SWMR begins."""
        try:
            file = h5py.File(self.path, "w", libver="latest", locking=False)
        except OSError as error:
            raise ResultsError(
                f"can't write '{self.path}': {os.strerror(error.errno) if error.errno else error}"
            ) from None
        file.attrs.update({k: self.header[k] for k in ("schema", "created", "seed")})
        file.attrs["versions"] = json.dumps(self.header["versions"])
        file.attrs.create("complete", False)
        file["model/network"] = self.header["model"]
        file["model"].attrs["hash"] = self.header["hash"]
        file["model/semantics"] = json.dumps(self.header["semantics"])
        file["config"] = json.dumps(self.header["config"])
        for name, rows in self.history.items():
            kind = np.dtype([("step", "<i8"), ("value", "<f8")])
            data = np.array(rows, dtype=kind)
            file.create_dataset(f"metrics/{name}", data=data, maxshape=(None,), chunks=(1024,))
        file.flush()
        file.swmr_mode = True
        return file

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append metrics, at once readable by others."""
        for name, value in values.items():
            if name not in self.history:
                raise ResultsError(f"metric '{name}' was not declared; known: {', '.join(self.history)}")
            self.history[name].append((step, float(value)))
            data = self._file[f"metrics/{name}"]
            data.resize(len(data) + 1, axis=0)
            data[-1] = (step, float(value))
            data.flush()

    def checkpoint(self, state: Mapping[str, Array]) -> None:
        """Save all that exact resumption needs; the last complete checkpoint survives a kill at any moment."""
        body = io.BytesIO()
        arrays = {f"state:{n}": np.asarray(v) for n, v in state.items()}
        arrays |= {f"metric:{n}": np.array(rows, dtype=np.float64).reshape(-1, 2) for n, rows in self.history.items()}
        np.savez(body, header=np.array(json.dumps(self.header)), **arrays)  # type: ignore[arg-type]
        data = body.getvalue()
        side = checkpoint_path(self.path)
        temporary = side.with_name(side.name + ".new")
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(side)

    def finish(
        self, parameters: Mapping[str, Array], declared: Mapping[str, Parameter], step: int,
        groups: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        """Write the parameters (SI) before the first and after the last update, and mark the run complete.

        groups: what else the run leaves, as for write_group.
        """
        self._file.close()
        with _append(self.path) as file:
            snapshots = {0: {n: p.value for n, p in declared.items()}, step: parameters}
            for update, values in snapshots.items():
                for name, value in values.items():
                    data = file.create_dataset(f"parameters/{update}/{name}", data=value)
                    data.attrs.update({"unit": declared[name].unit, "axes": ", ".join(declared[name].axes)})
            file["parameters/final"] = h5py.SoftLink(f"/parameters/{step}")
            for name, data in (groups or {}).items():
                _write_whole(file, name, data)
            file.attrs["complete"] = True
        with suppress(FileNotFoundError):
            checkpoint_path(self.path).unlink()

    def close(self) -> None:
        self._file.close()


class FinishedError(Exception):
    """A run that is complete was asked to resume."""


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]], dict[str, Array]]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ResultsError(
            f"there is no checkpoint '{path}'; the run stopped before its first one, start it again"
        ) from None
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        raise ResultsError(f"checkpoint '{path}' is damaged; start the run again")
    with np.load(io.BytesIO(raw[32:]), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    history = {
        n.removeprefix("metric:"): [(int(s), float(v)) for s, v in rows]
        for n, rows in arrays.items()
        if n.startswith("metric:")
    }
    state = {n.removeprefix("state:"): v for n, v in arrays.items() if n.startswith("state:")}
    return json.loads(str(arrays["header"])), history, state


def _append(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r+", locking=False)
    except OSError as error:
        raise ResultsError(f"can't write '{path}': {error}") from None


class Reader:
    """A run file, read. Opened for each access, so that a run in progress shows what it has by then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            self.schema = str(file.attrs.get("schema", ""))
            if self.schema != SCHEMA:
                raise ResultsError(
                    f"'{path}' is not a run file of this version (schema '{self.schema}', expected '{SCHEMA}')"
                )
            self.complete = bool(file.attrs["complete"])
            self.seed, self.created = int(file.attrs["seed"]), str(file.attrs["created"])
            self.versions: dict[str, str] = json.loads(file.attrs["versions"])
            self.config: dict[str, Any] = json.loads(file["config"][()])
            self.model = file["model/network"][()].decode()
            self.semantics: dict[str, Any] = json.loads(file["model/semantics"][()])

    def _open(self) -> h5py.File:
        if not self.path.is_file():
            raise ResultsError(f"there is no file '{self.path}'")
        try:
            try:
                return h5py.File(self.path, "r", locking=False)
            except OSError as error:
                if "already open" not in str(error):  # SWMR would search a truncated file for a long time
                    raise
                return h5py.File(self.path, "r", libver="latest", swmr=True, locking=False)
        except (OSError, RuntimeError, KeyError) as error:
            raise ResultsError(
                f"'{self.path}' is not a readable HDF5 file (truncated, or another format): {error}"
            ) from None

    def metrics(self) -> dict[str, Array]:
        """name -> [entry, 2] of step and value."""
        with self._open() as file:
            return {n: np.stack([d["step"], d["value"]], axis=1).astype(float) for n, d in file["metrics"].items()}

    def parameters(self) -> dict[str, Array]:
        """Trained parameters, SI. Raises ResultsError while the run is not complete."""
        if not self.complete:
            raise ResultsError(f"run '{self.path}' is not complete; finish it with train.py --resume")
        with self._open() as file:
            return {n: d[()] for n, d in file["parameters/final"].items()}

    def group(self, name: str) -> dict[str, Any]:
        """A group that write_group wrote, as nested mappings."""
        with self._open() as file:
            if name not in file or not file[name].attrs.get("whole", False):
                raise ResultsError(f"'{self.path}' holds no '{name}'")
            return _tree(file[name])

    def contents(self) -> list[tuple[str, str, str]]:
        """(path, shape and type, attributes) of every dataset."""
        found: list[tuple[str, str, str]] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                attrs = ", ".join(f"{k}={v}" for k, v in item.attrs.items())
                found.append((name, f"{item.dtype} {item.shape}", attrs))

        with self._open() as file:
            file.visititems(visit)
        return found

    def recording(self) -> Recording:
        """Spikes and traces that write_recording wrote. Raises ResultsError where there are none."""
        with self._open() as file:
            if "spikes" not in file:
                raise ResultsError(f"'{self.path}' holds no spikes")
            dt, spikes = float(file["spikes"].attrs["dt"]), {}
            for name, group in file["spikes"].items():
                raster = np.zeros(tuple(group.attrs["shape"]), bool)
                step = np.round(group["timestamps"][()] / (dt * 1e3)).astype(int)
                raster[group["trial"][()], step, group["node_ids"][()].astype(int)] = True
                spikes[name] = raster
            report = file.get("report", {})
            traces = {f"{p}.{v}": d[()] for p, g in report.items() for v, d in g.items()}
            return Recording(dt, spikes, traces)


def open_run(path: str | os.PathLike[str]) -> Reader:
    """Open a run file for reading, also while it is written. Raises ResultsError."""
    try:
        return Reader(Path(path))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ResultsError(f"'{path}' is damaged: {error}") from None


def write_recording(path: str | os.PathLike[str], recording: Recording, units: Mapping[str, str]) -> None:
    """Add spikes in SONATA's layout (ms, sorted by time) and traces [trial, time, neuron] to a complete run."""
    with _append(Path(path)) as file:
        for name in ("spikes", "report"):
            if name in file:
                del file[name]
        root = file.create_group("spikes")
        root.attrs["dt"] = recording.dt
        for name, raster in recording.spikes.items():
            trial, step, cell = np.nonzero(raster)
            order = np.argsort(step, kind="stable")
            group = root.create_group(name)
            group.attrs["shape"] = raster.shape
            group.attrs.create(
                "sorting", 2, dtype=h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
            )
            stamps = group.create_dataset("timestamps", data=step[order] * recording.dt * 1e3)
            stamps.attrs["units"] = "ms"
            group.create_dataset("node_ids", data=cell[order].astype(np.uint64))
            group.create_dataset("trial", data=trial[order].astype(np.int64))
        for name, trace in recording.traces.items():
            owner, _, variable = name.partition(".")
            chunks = (1, min(trace.shape[1], 1024), trace.shape[2])
            data = file.create_dataset(f"report/{owner}/{variable}", data=trace, chunks=chunks)
            data.attrs.update(
                {"unit": units.get(name, "1"), "axes": "trial, time, neuron", "dt": recording.dt * recording.every}
            )


def write_group(path: str | os.PathLike[str], name: str, data: Mapping[str, Any]) -> None:
    """Add or replace a group of nested mappings of numbers, texts and arrays; whole only when its last write is done."""
    with _append(Path(path)) as file:
        _write_whole(file, name, data)


def _write_whole(file: h5py.File, name: str, data: Mapping[str, Any]) -> None:
    if name in file:
        del file[name]
    group = file.create_group(name)
    _write_tree(group, data)
    file.flush()
    group.attrs["whole"] = True


def _write_tree(group: h5py.Group, data: Mapping[str, Any]) -> None:
    for key, value in data.items():
        if isinstance(value, Mapping):
            _write_tree(group.create_group(key), value)
        else:
            group[key] = value


def _tree(group: h5py.Group) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in group.items():
        if isinstance(item, h5py.Group):
            found[key] = _tree(item)
        else:
            value = item[()]
            found[key] = value.decode() if isinstance(value, bytes) else value.item() if np.ndim(value) == 0 else value
    return found
