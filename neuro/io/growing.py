"""A recording in an HDF5 file that is appended to part by part, in the layout of neuro.io.sonata.

All datasets are made of the first part and are empty then, so that SWMR can begin; after that nothing is added but entries
along time, the two places of the state, and rows of neuro.io.commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.io import commits, sonata, state_file
from neuro.io.commits import Commit
from neuro.io.hdf5 import Contents, LayoutError
from neuro.io.recorded import dtype, flattened, frames, shape, spike_list
from neuro.model import Network
from neuro.protocols import Recording
from neuro.state import State

Array = npt.NDArray[Any]

_CHUNK = 2**20  # bytes of traces
_EVENTS = 2**14  # spikes a chunk
_BLOCK = 2**24  # bytes that are copied at once


class Growing:
    """The recording of an open file. commit: what is whole. begin: step of the state that the recording begins with."""

    def __init__(self, file: h5py.File, like: Recording, begin: int) -> None:
        self.file, self.like, self.begin = file, emptied(flattened(like)), begin
        self.commit = Commit(0, 0, dict.fromkeys(like.spikes, 0), 0)

    @staticmethod
    def create(file: h5py.File, like: Recording, network: Network | None, reports: bool) -> None:
        """Everything that a recording like this one needs, still empty. Raises LayoutError."""
        units = {} if network is None else state_file.units_of(network)
        sonata.lay_out(file, like, units, network, _extendable, reports)
        for place in commits.PLACES:
            state_file.write(file.create_group(place), like.state, network)
        commits.create(file, tuple(like.spikes))

    def append(self, part: Recording) -> None:
        """Add a part. Raises LayoutError for one that doesn't follow what is there; then the recording stays what it was."""
        part = flattened(part)
        steps = self._fitting(part)
        counts = dict(self.commit.counts)
        for name in part.spikes:
            group, at = self.file[f"spikes/{name}"], counts[name]
            step, node = spike_list(part.spikes, name, part.chosen.get(name), int(group.attrs.get("cells", 0)))
            _put(group["timestamps"], at, sonata.times(self.commit.steps + step, part.dt))
            _put(group["node_ids"], at, node)
            counts[name] = at + len(step)
        at = self.commit.steps // part.every
        for name, report in sonata.reports(part.traces).items():
            values = np.asarray(part.traces[name])
            _put(self.file[f"traces/{name.replace('.', '/', 1)}"], at, values, -2)
            if f"report/{report}" in self.file:
                _put(self.file[f"report/{report}/data"], at, frames(values))
        self.write(part.state, self.commit.steps + steps, counts)

    def write(self, state: State, steps: int, counts: Mapping[str, int]) -> None:
        """The state and the row that make a part count."""
        commit = Commit(steps, state_file.checksum(state), counts, self.commit.rows + 1)
        state_file.rewrite(self.file[commit.place], state)
        self.file.flush()
        commits.append(self.file, commit)
        self.file.flush()
        self.commit = commit

    def _fitting(self, part: Recording) -> int:
        """Steps of a part that follows."""
        done, every = self.commit.steps, self.like.every
        steps = part.state.step - self.begin - done
        if (part.dt, part.every) != (self.like.dt, every):
            raise LayoutError(
                f"the part has dt={part.dt}, every={part.every}; the file dt={self.like.dt}, every={every}"
            )
        if done % every:
            raise LayoutError(
                f"no part follows after {done} steps with every={every}: only the last one may end between frames"
            )
        for name in {**part.chosen, **self.like.chosen}:
            given, held = (np.asarray(r.chosen.get(name, -1)) for r in (part, self.like))
            if not np.array_equal(given, held):
                raise LayoutError(f"the part holds other cells or synapses of '{name}' than the file")
        for what, each in (("spikes", 1), ("traces", every)):
            ours, given = getattr(self.like, what), getattr(part, what)
            if set(ours) != set(given):
                raise LayoutError(f"the part has {what} of {sorted(given)}, the file of {sorted(ours)}")
            for name in given:
                _check_alike(f"{what} of '{name}'", *((dtype(a, name), shape(a, name)) for a in (given, ours)))
                if shape(given, name)[-2] != max(steps, 0) // each:
                    raise LayoutError(
                        f"the part's {what} of '{name}' have the shape {shape(given, name)}; the file ends at step "
                        f"{self.begin + done}, and the part's state is of step {part.state.step}"
                    )
        if unknown := set(part.final) - set(part.state.variables):
            raise LayoutError(f"the final values of {sorted(unknown)} are no part of the state")
        return steps

    def finish(self, end: Recording) -> None:
        """Write what a recording knows of its end, so that it is laid out like one that was written at once. end: the last part."""
        commit, like = self.commit, self.like
        if commit.place != commits.PLACES[0]:
            self.write(end.state, commit.steps, commit.counts)
        for name, value in end.final.items():
            self.file[f"final/{name}"][...] = value
        for name, raster in like.spikes.items():
            sizes = np.array([*raster.shape[:-2], commit.steps, raster.shape[-1]])
            self.file[f"spikes/{name}"].attrs.modify("shape", sizes)
        for report in sonata.reports(like.traces).values():
            if f"report/{report}" in self.file:
                self.file[f"report/{report}/mapping/time"][...] = sonata.clock(like, commit.steps // like.every)
        self.file.flush()


def emptied(recording: Recording) -> Recording:
    """What one like it must have: names, types and shapes, without steps."""

    def empty(arrays: Mapping[str, Any]) -> dict[str, Array]:
        sizes = {n: shape(arrays, n) for n in arrays}
        return {n: np.zeros((*s[:-2], 0, s[-1]), dtype(arrays, n)) for n, s in sizes.items()}

    return Recording(
        recording.dt, empty(recording.spikes), empty(recording.traces), recording.every, chosen=recording.chosen
    )


def _check_alike(what: str, given: tuple[Any, tuple[int, ...]], held: tuple[Any, tuple[int, ...]]) -> None:
    """Types, and shapes but for the time. Raises LayoutError."""
    ours, theirs = ((dtype, sizes[:-2], sizes[-1]) for dtype, sizes in (given, held))
    if ours != theirs:
        raise LayoutError(f"the part's {what} are {given[0]} {given[1]}; the file holds {held[0]} {held[1]}")


def copied(contents: Contents, file: h5py.File, like: Recording, commit: Commit) -> Growing:
    """Put the whole parts of one file into another that was created for them, as one part."""
    for name, count in commit.counts.items():
        for column in ("timestamps", "node_ids"):
            _copy(contents, file, f"spikes/{name}/{column}", count, 0)
    frames = commit.steps // like.every
    for name, report in sonata.reports(like.traces).items():
        _copy(contents, file, f"traces/{name.replace('.', '/', 1)}", frames, -2)
        if f"report/{report}" in file:
            _copy(contents, file, f"report/{report}/data", frames, 0)
    grown = Growing(file, like, like.state.step - commit.steps)
    grown.write(like.state, commit.steps, commit.counts)
    return grown


def _copy(contents: Contents, file: h5py.File, name: str, length: int, axis: int) -> None:
    data = file[name]
    width = data.dtype.itemsize * int(np.prod([n for i, n in enumerate(data.shape) if i != axis % data.ndim]))
    block = max(1, _BLOCK // width)
    for first in range(0, length, block):
        last = min(first + block, length)
        _put(data, first, contents.span(contents.file, name, first, last, axis), axis)


def _put(data: h5py.Dataset, at: int, values: Array, axis: int = 0) -> None:
    """Entries from `at` on along an axis, with room made for them."""
    end = at + values.shape[axis]
    if data.shape[axis] < end:
        data.resize(end, axis=axis % data.ndim)
    where = [slice(None)] * data.ndim
    where[axis] = slice(at, end)
    if values.size:
        data[tuple(where)] = values


def _extendable(group: h5py.Group, name: str, values: Array, axis: int) -> h5py.Dataset:
    """A dataset like these values, without entries along time yet."""
    shape, axis = list(values.shape), axis % values.ndim
    room = list[int | None](shape)
    shape[axis], room[axis] = 0, None
    chunk = [max(1, n) for n in values.shape]
    chunk[axis] = _EVENTS if values.ndim == 1 else 1
    if values.ndim > 1:
        chunk[axis] = max(1, _CHUNK // (int(np.prod(chunk)) * values.itemsize))
    return group.create_dataset(name, tuple(shape), values.dtype, maxshape=tuple(room), chunks=tuple(chunk))
