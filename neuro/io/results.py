"""The HDF5 store: one file a run, readable while it is written (SWMR), safe against a kill at any moment.

The file of a run in progress may be cut off anywhere, so what resumption needs is not in it: a checkpoint is a side file,
replaced atomically and recognised by a checksum, with the whole metrics history. Resuming builds the run file anew from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.compiler.parameters import Parameter
from neuro.display.runs import run_html
from neuro.io import checkpoints, run_header, sonata
from neuro.io.appending import append_recording as append_recording
from neuro.io.checkpoints import checkpoint_path as checkpoint_path
from neuro.io.hdf5 import Contents, Hdf5Error, InUseError, LayoutError, alone, exists, linked, opened, writing
from neuro.io.hdf5 import ResultsError as ResultsError
from neuro.io.run_header import FinishedError as FinishedError
from neuro.io.run_header import versions as versions
from neuro.io.serialisation import network_in
from neuro.io.state_file import open_state as open_state
from neuro.io.state_file import write_state as write_state
from neuro.protocols import Recording

Array = npt.NDArray[Any]

_KEPT = "checkpoint"  # where a complete run keeps its last one
_UNFINISHED = "unfinished"  # where a group stands until it is whole
_DEPTH = 16  # groups within groups
_LOOKS = 10  # at the end of a recording that grows


class Run:
    """A run that is being written. Use `Run.create` or `Run.resume`, then log, checkpoint, finish."""

    def __init__(
        self, path: Path, header: Mapping[str, Any], history: dict[str, list[tuple[int, float]]], first: Callable[[], None]
    ) -> None:  # fmt: skip
        """first: what is to be done before the file that is there goes, once nobody else can write it."""
        self.path, self.header, self.history = path, dict(header), history
        self._alone, self._file = self._begin(first)

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
        header = run_header.new(model, semantics, config, seed)
        side = checkpoint_path(target)  # of the run that is replaced, which must not be taken for this one's
        return Run(target, header, {name: [] for name in metrics}, lambda: side.unlink(missing_ok=True))

    @staticmethod
    def stopped(path: str | os.PathLike[str]) -> tuple[bool, checkpoints.Saved]:
        """Whether a run is complete, and the header, metrics and state that `resume` goes on from. Nothing is written. Raises ResultsError."""
        target, side = Path(path), checkpoint_path(Path(path))
        if not target.exists() and not side.exists():
            raise ResultsError(f"there is no run '{target}' to resume")
        done = _is_complete(target)
        return done, checkpoints.of(open_run(target).kept(), target) if done else checkpoints.read(side)

    @staticmethod
    def resume(
        path: str | os.PathLike[str], changed: Mapping[str, Any] | None = None, metrics: Sequence[str] = ()
    ) -> tuple[Run, dict[str, Array]]:
        """Continue a run from its last checkpoint: metrics after it are dropped. Returns the run and the saved state.

        metrics: that it logs from here on, besides those that it has. changed: settings that are others from here on, such as more epochs; with them a complete run goes on too, and what was measured of it is dropped.
        """
        target = Path(path)
        if not changed and _is_complete(target):
            raise finished(target)
        _, (header, history, state) = Run.stopped(target)
        header["config"] |= changed or {}
        history |= {name: [] for name in metrics if name not in history}

        def keep() -> None:
            if changed:  # all that the new file takes lies beside it
                checkpoints.write(checkpoint_path(target), header, history, state)

        return Run(target, header, history, keep), state

    def _begin(self, first: Callable[[], None]) -> tuple[IO[bytes], h5py.File]:
        """The right to write, and a fresh file with everything so far; every dataset exists before SWMR begins."""
        with writing(self.path), ExitStack() as stack:
            held = stack.enter_context(alone(self.path))
            first()
            file = h5py.File(self.path, "w", libver="latest", locking=False)
            stack.pop_all()
        run_header.write(file, self.header)
        for name, rows in self.history.items():
            kind = np.dtype([("step", "<i8"), ("value", "<f8")])
            data = np.array(rows, dtype=kind)
            file.create_dataset(f"metrics/{name}", data=data, maxshape=(None,), chunks=(1024,))
        file.flush()
        file.swmr_mode = True
        return held, file

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
        checkpoints.write(checkpoint_path(self.path), self.header, self.history, state)

    def finish(
        self, parameters: Mapping[str, Array], declared: Mapping[str, Parameter], step: int,
        groups: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        """Write the parameters (SI) before the first and after the last update, and mark the run complete.

        groups: what else the run leaves, as for write_group. The last checkpoint goes into the file, so that the run can be made longer.
        """
        self._file.close()
        side = checkpoint_path(self.path)
        with _append(self.path, complete=False) as file:
            snapshots = {0: {n: p.value for n, p in declared.items()}, step: parameters}
            for update, values in snapshots.items():
                group = file.create_group(f"parameters/{update}")
                for name, value in values.items():
                    data = group.create_dataset(name, data=value)
                    data.attrs.update({"unit": declared[name].unit, "axes": ", ".join(declared[name].axes)})
            file["parameters"].attrs["final"] = step
            for name, data in (groups or {}).items():
                _write_whole(file, name, data)
            if side.exists():
                file[_KEPT] = np.frombuffer(side.read_bytes(), np.uint8)
            file.attrs["complete"] = True
        side.unlink(missing_ok=True)
        self._alone.close()

    def close(self) -> None:
        """Leave the file as it stands: readable, and not complete, so that `resume` goes on with it."""
        self._file.close()
        self._alone.close()

    def discard(self) -> None:
        """Close, and remove the files of a run of which nothing has come."""
        self.close()
        for path in (self.path, checkpoint_path(self.path)):
            path.unlink(missing_ok=True)


def finished(path: Path) -> FinishedError:
    """The error of a run that has no more to do."""
    return FinishedError(f"run '{path}' is complete; there is nothing to resume")


def _is_complete(path: Path) -> bool:
    try:
        return bool(open_run(path).complete)
    except ResultsError:  # cut off anywhere
        return False


@contextmanager
def _append(path: Path, complete: bool = True) -> Iterator[h5py.File]:
    """A run file to add to. complete: only where nobody else writes it any more."""
    if not path.exists():
        raise ResultsError(
            f"there is no run file '{path}'; create one first: run = neuro.io.results.Run.create('{path}',"
            " model=neuro.io.serialisation.to_json(network), semantics=program.semantics.to_data(), config={}, seed=0, metrics=());"
            " run.finish(neuro.compiler.parameters.values(network), neuro.compiler.parameters.parameters(network), 0)"
        )
    try:
        with alone(path, wait=True) if complete else nullcontext():
            if complete and not open_run(path).complete:
                raise ResultsError(
                    f"run '{path}' is not complete; finish it with train.py --resume, or append_recording(path, resume=True)"
                )
            with h5py.File(path, "r+", locking=False) as file:
                yield file
    except InUseError as error:
        raise ResultsError(str(error)) from None
    except (LayoutError, Hdf5Error, OSError, RuntimeError, ValueError, TypeError) as error:
        raise ResultsError(f"can't write '{path}': {error}") from None


class Reader:
    """A run file, read. Opened for each access, so that a run in progress shows what it has by then.

    Links are not followed, and sizes are checked before anything is allocated. limit: bytes of what one access reads;
    left out, it grows with the file (neuro.io.hdf5.allowance). within: the group of a run in a file of several (neuro.io.merging).
    """

    def __init__(self, path: Path, limit: int | None = None, within: str = "") -> None:
        self.path, self.limit, self.within = path, limit, within
        with self._open() as contents:
            head = run_header.read(contents)
        self.schema, self.complete, self.seed, self.created = (
            head[n] for n in ("schema", "complete", "seed", "created")
        )
        self.versions: dict[str, str] = head["versions"]
        self.config: dict[str, Any] = head["config"]
        self.semantics: dict[str, Any] = head["semantics"]
        self.model: str = head["model"]

    def _open(self) -> AbstractContextManager[Contents]:
        return opened(self.path, self.limit, self.within)

    def _repr_html_(self) -> str:
        return run_html(self)

    def metrics(self) -> dict[str, Array]:
        """name -> [entry, 2] of step and value."""
        with self._open() as contents:
            group = contents.find(contents.file, "metrics", h5py.Group)
            rows = {n: contents.array(group, n, "V", "pairs of step and value") for n in group or ()}
            return {n: np.stack([d["step"], d["value"]], axis=1).astype(float) for n, d in rows.items()}

    def parameters(self) -> dict[str, Array]:
        """Trained parameters, SI. Raises ResultsError while the run is not complete."""
        if not self.complete:
            raise ResultsError(f"run '{self.path}' is not complete; finish it with train.py --resume")
        with self._open() as contents:
            return run_header.final_parameters(contents)

    def snapshots(self) -> tuple[dict[str, Array], dict[str, Array], dict[str, str]]:
        """Parameters before the first and after the last update, SI, and their units. Raises ResultsError while the run is not complete."""
        if not self.complete:
            raise ResultsError(f"run '{self.path}' is not complete; finish it with train.py --resume")
        with self._open() as contents:
            return run_header.first_and_last(contents)

    def kept(self) -> bytes:
        """The last checkpoint of a complete run. Raises ResultsError where there is none, as in files of older versions."""
        with self._open() as contents:
            if contents.find(contents.file, _KEPT, h5py.Dataset) is None:
                raise ResultsError(
                    f"run '{self.path}' is complete and keeps no checkpoint to go on from; start another run"
                )
            return contents.array(contents.file, _KEPT, "u").tobytes()

    def group(self, name: str) -> dict[str, Any]:
        """A group that write_group wrote, as nested mappings."""
        with self._open() as contents:
            group = contents.find(contents.file, name, h5py.Group)
            if group is None or not contents.attribute(group, "whole", False):
                raise ResultsError(f"'{self.path}' holds no '{name}'")
            return _tree(contents, group)

    def contents(self) -> list[tuple[str, str, str]]:
        """(path, shape and type, attributes) of every dataset; of a link, that it is not followed."""
        found: list[tuple[str, str, str]] = []
        with self._open() as contents:
            links: dict[str, Any] = {}
            contents.file.visititems_links(links.__setitem__)
            for name, link in links.items():
                if not isinstance(link, h5py.HardLink):
                    found.append((name, linked(link), "not followed"))
                elif isinstance(item := contents.file[name], h5py.Dataset):
                    attrs = ", ".join(f"{k}={contents.attribute(item, k)}" for k in item.attrs)
                    found.append((name, f"{item.dtype} {item.shape}", attrs))
        return found

    def recording(self, first: int = 0, last: int | None = None, *, limit: int = sonata.LIMIT) -> Recording:
        """What write_recording wrote, or append_recording by now; of the steps from first to last - 1 nothing else is read.

        A part that ends before the recording does has no state and no final values. limit: bytes of all rasters. Raises
        ResultsError where there is none.
        """
        for _ in range(_LOOKS):
            with suppress(sonata.MovedOn), self._open() as contents:
                found = sonata.read(contents, limit, first, last)
                if found is None:
                    raise ResultsError(f"'{self.path}' holds no recording")
                return found
        raise ResultsError(f"'{self.path}' is damaged: its last state is not the one that was written last")


def open_run(path: str | os.PathLike[str], limit: int | None = None) -> Reader:
    """Open a run file for reading, also while it is written. limit: see Reader. Raises ResultsError."""
    return Reader(Path(path), limit)


def write_recording(path: str | os.PathLike[str], recording: Recording, units: Mapping[str, str]) -> None:
    """Add a recording to a complete run in the place of the one it has, in the layout of neuro.io.sonata, with its state if it has one.

    units: name of a trace -> its unit. Raises ResultsError; then the file holds what it held.
    """
    with _append(Path(path)) as file:
        network = network_in(Contents(file).text(file, "model/network"))
        _swap(file, sonata.GROUPS, lambda group: sonata.write(group, recording, units, network))


def write_group(path: str | os.PathLike[str], name: str, data: Mapping[str, Any]) -> None:
    """Add or replace a group of nested mappings of numbers, texts and arrays; it is there whole or not at all."""
    with _append(Path(path)) as file:
        _write_whole(file, name, data)


def _write_whole(file: h5py.File, name: str, data: Mapping[str, Any]) -> None:
    def write(root: h5py.Group) -> None:
        group = root.create_group(name)
        _write_tree(group, data)
        group.attrs["whole"] = True

    _swap(file, (name,), write)


def _swap(file: h5py.File, names: Sequence[str], write: Callable[[h5py.Group], None]) -> None:
    """Write groups of these names apart, then put them in the place of those that are there."""
    contents = Contents(file)
    for name in names:
        contents.find(file, name)  # no link on the way may lead out
    if exists(file, _UNFINISHED):
        del file[_UNFINISHED]
    side = file.create_group(_UNFINISHED)
    try:
        write(side)
        file.flush()
        for name in names:
            if contents.find(file, name) is not None:
                del file[name]
            if contents.find(side, name) is not None:
                file.move(f"{_UNFINISHED}/{name}", name)
    finally:
        del file[_UNFINISHED]


def _write_tree(group: h5py.Group, data: Mapping[str, Any]) -> None:
    for key, value in data.items():
        if isinstance(value, Mapping):
            _write_tree(group.create_group(key), value)
        else:
            group[key] = value


def _tree(contents: Contents, group: h5py.Group, depth: int = 0) -> dict[str, Any]:
    if depth == _DEPTH:
        raise Hdf5Error(str(group.name), f"groups nested deeper than {_DEPTH}")
    found: dict[str, Any] = {}
    for key in group:
        item = contents.member(group, key)
        if isinstance(item, h5py.Group):
            found[key] = _tree(contents, item, depth + 1)
        elif item.dtype.kind in "OS":
            found[key] = contents.text(group, key)
        else:
            value = contents.array(group, key)
            found[key] = value.item() if value.ndim == 0 else value
    return found
