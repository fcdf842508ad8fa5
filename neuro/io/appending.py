"""A long recording, written while it is made: others can read it at any moment, and it outlives whoever writes it.

What is at the path is whole from the moment it is there: a file is made beside, with its first part, SWMR is begun, and it is
moved into place. Nothing is added then but entries along time. Whoever goes on after a kill copies what was whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import h5py

from neuro.compiler.semantics import semantics as semantics_of
from neuro.io import commits, run_header, sonata, state_file
from neuro.io.growing import Growing, copied
from neuro.io.hdf5 import Contents, ResultsError, alone, opened, writing
from neuro.io.serialisation import content_hash, network_in, to_json
from neuro.language.foreign import shown
from neuro.model import Network
from neuro.protocols import Recording
from neuro.state import State

_VERSIONS = ("v110", "v110")  # the first HDF5 with SWMR: the oldest readers that there can be
_BESIDE = 2**26  # bytes that going on with a file may read beside its own size


class RecordingFile:
    """A recording that grows in a run file: see append_recording. A context manager; left without an error, it is complete.

    state: what the next part goes on from; None for the initial state of the network.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], held: IO[bytes]) -> None:
        self.path, self.header, self._held = path, header, held
        self.network = network_in(header["model"])
        self.state: State | None = None
        self._file: h5py.File | None = None
        self._grown: Growing | None = None
        self._last: Recording | None = None

    @property
    def steps(self) -> int:
        """Recorded by now."""
        return 0 if self._grown is None else self._grown.commit.steps

    def append(self, part: Recording) -> None:
        """Add the steps that follow, such as a part of `program.stream`. When this returns they are in the file for all to read.

        Raises ResultsError for a part that doesn't follow what is there, and where the file can't be written.
        """
        if not isinstance(part, Recording):
            raise ResultsError(
                f"a part is {shown(part)}; give a Recording: file.append(program.run(..., state=file.state))"
            )
        end = Recording(part.dt, every=part.every, final=part.final, end=lambda state=part.state: state)  # type: ignore[misc]
        with self._writing():
            if self._grown is None:
                self._place(lambda file: self._first(file, part))
            else:
                self._grown.append(part)
        self.state, self._last = end.state, end

    def _first(self, file: h5py.File, part: Recording) -> Growing:
        with_reports = part.state.step - (0 if self.state is None else self.state.step) >= part.every
        Growing.create(file, part, self.network, with_reports)
        grown = Growing(file, part, 0 if self.state is None else self.state.step)
        grown.append(part)
        return grown

    def finish(self) -> None:
        """Mark the recording complete, and close the file. Raises ResultsError."""
        with self._writing() as file:
            if self._grown is not None and self._last is not None:
                self._grown.finish(self._last)
            file.attrs.modify("complete", True)
            file.flush()
        self.close()

    def close(self) -> None:
        """Close the file as it is; append_recording(path, resume=True) goes on with it."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._held.close()

    def begin(self, state: State | None) -> None:
        """Put a file without a recording into place. state: what the recording will begin with."""

        def fill(file: h5py.File) -> None:
            if state is not None:
                state_file.write(file.create_group(commits.PLACES[0]), state, self.network)

        self.state = state
        with self._writing(begun=False):
            self._place(fill)

    def go_on(self, contents: Contents) -> None:
        """Put a file into place that has what is whole in this one."""
        spikes = contents.find(contents.file, "spikes", h5py.Group)
        commit = None if spikes is None else commits.last(contents, tuple(spikes))
        if commit is None:
            group = contents.find(contents.file, commits.PLACES[0], h5py.Group)
            return self.begin(None if group is None else state_file.read(contents, group))
        every = int(contents.attribute(spikes, "every"))
        like = sonata.read(contents, first=commit.steps // every * every, last=commit.steps)
        assert like is not None

        def fill(file: h5py.File) -> Growing:
            Growing.create(file, like, self.network, commit.steps >= every)
            return copied(contents, file, like, commit)

        with self._writing(begun=False):
            self._place(fill)
        self.state, self._last = like.state, like

    def _place(self, fill: Callable[[h5py.File], Growing | None]) -> None:
        """A file that `fill` completes, in the place of the one that is there; it stays open, and its lock is held."""
        side = self.path.with_name(f"{self.path.name}.new")
        held, file = alone(side), h5py.File(side, "w", libver=_VERSIONS, locking=False)
        try:
            run_header.write(file, self.header)
            grown = fill(file)
            file.flush()
            file.swmr_mode = True
            os.replace(side, self.path)
        except BaseException:
            file.close()
            side.unlink(missing_ok=True)
            held.close()
            raise
        self.close()
        self._held, self._file, self._grown = held, file, grown

    @contextmanager
    def _writing(self, begun: bool = True) -> Iterator[h5py.File]:
        if begun and self._file is None:
            raise ResultsError(
                f"the recording in '{self.path}' is closed; go on with append_recording(path, resume=True)"
            )
        with writing(self.path):
            yield self._file

    def __enter__(self) -> RecordingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._file is not None:
            self.finish()
        self.close()


def append_recording(
    path: str | os.PathLike[str], network: Network | None = None, *, state: State | None = None, resume: bool = False,
    overwrite: bool = False, semantics: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None,
) -> RecordingFile:  # fmt: skip
    """Begin a run file that holds a recording, or go on with it, part by part; memory follows the parts.

        with append_recording("run.h5", network) as file:
            for part in program.stream(steps=10_000_000, chunk=10_000):
                file.append(part)

    Others read what is there by then: open_run(path).recording(). After a kill, append_recording(path, resume=True) has the
    last whole part's `state`, and `steps`: program.stream(state=file.state, steps=10_000_000 - file.steps, chunk=10_000).

    state: what the recording begins with, where that isn't the initial state. semantics: the program's
    (program.semantics.to_data()); config: what else belongs to the run. Of a file that is resumed both stay, and a network that is
    given must be its own. Raises ResultsError, FinishedError.
    """
    target = Path(path)
    if resume and not target.exists():
        raise ResultsError(f"there is no recording '{target}' to resume")
    with writing(target):
        held = alone(target)
    try:
        if resume:
            return _resumed(target, network, state, held)
        if target.stat().st_size and not overwrite:
            raise ResultsError(
                f"'{target}' exists; continue it with resume=True, replace it with overwrite=True, or choose another name"
            )
        if not isinstance(network, Network):
            raise ResultsError(
                f"the network is {shown(network)}; give the one that runs: append_recording(path, network)"
            )
        semantics = semantics_of(network, "float64").to_data() if semantics is None else semantics
        file = RecordingFile(target, run_header.new(to_json(network), semantics, config or {}, network.seed), held)
        file.begin(state)
    except BaseException:
        held.close()
        if not target.stat().st_size:
            target.unlink()
        raise
    return file


def _resumed(path: Path, network: Network | None, state: State | None, held: IO[bytes]) -> RecordingFile:
    if state is not None:
        raise ResultsError(f"'{path}' has the state that it goes on from; leave state out")
    if not path.stat().st_size:
        raise ResultsError(f"'{path}' is empty: its recording had not begun; leave resume out")
    with opened(path, _BESIDE + 2 * path.stat().st_size) as contents:
        header = run_header.read(contents)
        if header["complete"]:
            raise run_header.FinishedError(f"recording '{path}' is complete; there is nothing to resume")
        if contents.find(contents.file, "metrics") is not None:
            raise ResultsError(f"'{path}' is the file of a training run; continue it with train.py --resume")
        own = network_in(header["model"])
        if network is not None and (own is None or content_hash(network) != content_hash(own)):
            raise ResultsError(
                f"'{path}' is a recording of another network, '{own.name if own else ''}', than '{network.name or 'unnamed'}'; "
                "leave the network out, or choose another name"
            )
        file = RecordingFile(path, header, held)
        try:
            file.go_on(contents)
        except sonata.MovedOn:
            raise ResultsError(f"'{path}' is damaged: its last state is not the one that was written last") from None
    return file
