"""A Recording in an HDF5 file: /spikes and /report as SONATA's readers take them, /traces, /final and /state to the last bit.

SONATA knows no trials. Every trial, of every parameter set, is a copy of the network whose cells are nodes of its own: cell n
of N in trial b is node b*N + n, in trial b of B of parameter set p node (p*B + b)*N + n. Of a single trial, nodes are cells.
What is of step k has the time k*dt, as in Brian2. A report holds one variable, in single precision: that of population "c"
is called "c", or "c.v" and "c.u" where several are recorded. Source: SONATA developer guide, Dai et al. (2020), PLoS Comput
Biol 16:e1007696.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt

from neuro import commits, state_file
from neuro.commits import NAME as PARTS
from neuro.commits import PLACES, Commit
from neuro.events import Rasters
from neuro.hdf5 import Contents, Hdf5Error, LayoutError
from neuro.model import Network
from neuro.protocols import Recording
from neuro.state import State

Array = npt.NDArray[Any]

GROUPS = ("spikes", "report", "traces", "final", *PLACES, PARTS)
LIMIT = 2**33  # bytes of rasters: silence takes none in the file
_CHUNK = 2**20  # bytes
_AXES = ("set, trial, time, neuron", "trial, time, neuron")
Make = Callable[[h5py.Group, str, Array, int], h5py.Dataset]  # of a group, a name, values and their axis of time


class MovedOn(Exception):
    """Two more parts were written while somebody read the end of a recording: look again."""


def write(root: h5py.Group, recording: Recording, units: Mapping[str, str], network: Network | None = None) -> None:
    """Write a recording below root, /state where there is one.

    units: "population.variable" -> unit, 1 where left out. network: whose units and axes the state gets. Raises LayoutError.
    """
    for name in recording.spikes:
        if dtype(recording.spikes, name) != np.bool_:
            raise LayoutError(f"spikes of '{name}' are {dtype(recording.spikes, name)}; a raster is of booleans")
    frames = any(np.size(trace) for trace in recording.traces.values())
    lay_out(root, recording, units, _at_once, frames)  # SONATA's readers know no report without frames
    if recording.end is not None:
        if flaw := _misfit(recording.state, recording):
            raise LayoutError(f"the state has {flaw}")
        state_file.write(root.create_group("state"), recording.state, network)


def lay_out(root: h5py.Group, recording: Recording, units: Mapping[str, str], make: Make, with_reports: bool) -> None:
    """All groups but the state's. make: makes a dataset whose length depends on that of the recording. Raises LayoutError."""
    spikes = root.create_group("spikes")
    spikes.attrs.update({"dt": recording.dt, "every": recording.every})
    for name in recording.spikes:
        group = spikes.create_group(name)
        sizes = _checked(f"spikes of '{name}'", recording.spikes, name)
        step, node = spike_list(recording.spikes, name)
        group.attrs["shape"] = np.array(sizes)
        order = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
        group.attrs.create("sorting", 2, dtype=order)
        make(group, "timestamps", times(step, recording.dt), 0).attrs["units"] = "ms"
        make(group, "node_ids", node, 0)
    called = reports(recording.traces)
    for name in recording.traces:
        owner, _, variable = name.partition(".")
        _checked(f"trace '{name}'", recording.traces, name)
        values, unit = np.asarray(recording.traces[name]), units.get(name, "1")
        data = make(root.require_group(f"traces/{owner}"), variable, values, -2)
        axes = _AXES[0] if values.ndim == 4 else _AXES[1]
        data.attrs.update({"unit": unit, "axes": axes, "dt": recording.dt * recording.every})
        if with_reports:
            _report(root.create_group(f"report/{called[name]}"), frames(values), unit, recording, make)
    for name, value in recording.final.items():
        root.create_dataset(f"final/{name}", data=value)


def _at_once(group: h5py.Group, name: str, values: Array, axis: int) -> h5py.Dataset:
    return group.create_dataset(name, data=values, chunks=_chunks(values) if values.ndim > 1 else None)


def _misfit(state: State, recording: Recording) -> str:
    """What a recording and the state at its end contradict each other in, "" where in nothing."""
    if state.dt != recording.dt:
        return f"dt = {state.dt} s, the recording {recording.dt} s"
    for arrays in (recording.spikes, recording.traces):
        for name in arrays:
            if shape(arrays, name)[:-2] != tuple(state.lead):
                return f"lead = {tuple(state.lead)}, the recording's '{name}' the shape {shape(arrays, name)}"
    return ""


def _checked(what: str, arrays: Mapping[str, Any], name: str) -> tuple[int, ...]:
    found = shape(arrays, name)
    if len(found) not in (3, 4):
        raise LayoutError(f"{what} has the shape {found}; it is [trial, time, neuron], of parameter sets [set, ...]")
    return found


def shape(arrays: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Of a raster or trace; lists of spikes need not become rasters for it."""
    if isinstance(arrays, Rasters):
        return (*arrays.lead, *arrays.events[name].shape[1:])
    return np.shape(arrays[name])


def dtype(arrays: Mapping[str, Any], name: str) -> Any:
    return np.dtype(bool) if isinstance(arrays, Rasters) else np.asarray(arrays[name]).dtype


def frames(array: Array) -> Array:
    """Values of a report, [time, node] in single precision."""
    with np.errstate(over="ignore"):
        return _flat(array).astype(np.float32)


def _flat(array: Array) -> Array:
    """[time, node]."""
    moved = np.moveaxis(array, -2, 0)
    return moved.reshape(len(moved), int(np.prod(moved.shape[1:])))


def spike_list(spikes: Mapping[str, Any], name: str) -> tuple[Array, Array]:
    """Step and node of each spike of a population, by step and then by node."""
    if not isinstance(spikes, Rasters):
        step, node = cast(tuple[Array, Array], np.nonzero(_flat(np.asarray(spikes[name]))))
    else:
        events = spikes.events[name]
        trials, time, size = events.shape
        row = np.repeat(np.arange(trials * time), np.diff(events.offsets))
        trial, step = np.divmod(row, max(time, 1))
        node = trial * size + events.channels
        if trials > 1:
            order = np.argsort(step, kind="stable")
            step, node = step[order], node[order]
    return step, node.astype(np.uint64)


def times(step: Array, dt: float) -> Array:
    """Milliseconds."""
    found: Array = step * dt * 1e3
    return found


def reports(traces: Iterable[str]) -> dict[str, str]:
    """Trace -> its report."""
    names = tuple(traces)
    shared = Counter(name.partition(".")[0] for name in names)
    return {n: n if shared[n.partition(".")[0]] > 1 else n.partition(".")[0] for n in names}


def _report(group: h5py.Group, values: Array, unit: str, recording: Recording, make: Make) -> None:
    samples, nodes = values.shape
    make(group, "data", values, 0).attrs["units"] = unit
    mapping = group.create_group("mapping")
    mapping.create_dataset("node_ids", data=np.arange(nodes, dtype=np.uint64)).attrs.create("sorted", 1, dtype=np.uint8)
    mapping["index_pointers"] = np.arange(nodes + 1, dtype=np.uint64)
    mapping["element_ids"] = np.zeros(nodes, np.uint32)
    mapping.create_dataset("time", data=clock(recording, samples)).attrs["units"] = "ms"


def clock(recording: Recording, samples: int) -> list[float]:
    """Begin, end and step of a report, milliseconds."""
    dt = recording.dt * 1e3
    start, every = (recording.every - 1) * dt, recording.every * dt
    return [start, start + samples * every, every]


def _chunks(values: Array) -> tuple[int, ...] | None:
    """Along time; None where there is nothing to divide."""
    if not values.size:
        return None
    size = values.shape[-1] * values.itemsize
    return (*(1 for _ in values.shape[:-2]), int(np.clip(_CHUNK // size, 1, values.shape[-2])), values.shape[-1])


@dataclass(frozen=True)
class _Asked:
    """Steps from first to last - 1 of a recording of so many; all of them: whole. commit: of one that was appended."""

    dt: float
    every: int
    first: int
    last: int
    steps: int
    commit: Commit | None

    @property
    def whole(self) -> bool:
        return (self.first, self.last) == (0, self.steps)

    @property
    def ends(self) -> bool:
        """Whether it reaches to where the state is."""
        return self.last == self.steps


def read(contents: Contents, limit: int = LIMIT, first: int = 0, last: int | None = None) -> Recording | None:
    """Inverse of write, None where there is no recording. limit: bytes of all rasters.

    first, last: only the steps from first to last - 1. Raises Hdf5Error; MovedOn where the file grows too fast.
    """
    file = contents.file
    spikes = contents.find(file, "spikes", h5py.Group)
    if spikes is None:
        return None
    asked = _asked(contents, spikes, first, last)
    state = _read_state(contents, asked) if asked.ends else None  # first, before a writer comes back to its place
    rasters: dict[str, Array] = {}
    for name in spikes:
        raster = _read_spikes(contents, contents.member(spikes, name, h5py.Group), asked, limit)
        limit -= raster.nbytes
        rasters[name] = raster
    traces: dict[str, Array] = {}
    owners = contents.find(file, "traces", h5py.Group)
    for owner in owners or ():
        group = contents.member(owners, owner, h5py.Group)
        traces |= {f"{owner}.{variable}": _read_trace(contents, group, variable, asked) for variable in group}
    final = contents.find(file, "final", h5py.Group) if asked.ends else None
    if asked.commit is not None and state is not None:  # /final is written when a recording is complete
        ends = {name: state.variables[name] for name in final or () if name in state.variables}
    else:
        ends = {name: contents.array(final, name) for name in final or ()}
    found = Recording(asked.dt, rasters, traces, asked.every, ends)
    if state is None:
        return found
    if flaw := _misfit(state, found):
        raise Hdf5Error("state", flaw)
    return replace(found, end=lambda: state)


def _asked(contents: Contents, spikes: h5py.Group, first: int, last: int | None) -> _Asked:
    dt, every = (contents.attribute(spikes, name) for name in ("dt", "every"))
    if not _number(dt, np.floating) or not 0 < dt < np.inf or not _number(every, np.integer) or every < 1:
        raise Hdf5Error("spikes", f"dt = {dt!r} and every = {every!r} are no clock")
    commit = commits.last(contents, tuple(spikes))
    if commit is not None:
        steps = commit.steps
    else:
        sizes = [_raster_shape(contents, contents.member(spikes, name, h5py.Group))[-2] for name in spikes]
        steps = min(sizes) if sizes else _frames(contents) * int(every)
    last = steps if last is None else last
    if not 0 <= first <= last <= steps:
        raise Hdf5Error("spikes", f"the recording has {steps} steps, not those from {first} to {last}")
    if first % every:
        raise Hdf5Error(
            "spikes", f"steps from {first} of a recording with every={every}; begin at {first // every * every}"
        )
    return _Asked(float(dt), int(every), first, last, steps, commit)


def _frames(contents: Contents) -> int:
    """Of a recording without spikes."""
    owners = contents.find(contents.file, "traces", h5py.Group)
    for owner in owners or ():
        group = contents.member(owners, owner, h5py.Group)
        for name in group:
            return _trace_shape(contents, group, name)[-2]
    return 0


def _read_state(contents: Contents, asked: _Asked) -> State | None:
    place = PLACES[0] if asked.commit is None else asked.commit.place
    group = contents.find(contents.file, place, h5py.Group)
    if group is None:
        return None
    if asked.commit is None:
        return state_file.read(contents, group)
    try:
        state = state_file.read(contents, group)
    except Hdf5Error:
        raise MovedOn from None
    if state_file.checksum(state) != asked.commit.check:
        raise MovedOn
    return state


def _read_trace(contents: Contents, group: h5py.Group, name: str, asked: _Asked) -> Array:
    if asked.whole and asked.commit is None:
        return contents.array(group, name)
    _trace_shape(contents, group, name)
    return contents.span(group, name, asked.first // asked.every, asked.last // asked.every, -2)


def _trace_shape(contents: Contents, group: h5py.Group, name: str) -> tuple[int, ...]:
    shape: tuple[int, ...] = contents.member(group, name, h5py.Dataset).shape or ()
    if len(shape) not in (3, 4):
        raise Hdf5Error(name, f"{shape} is no shape of a trace")
    return shape


def _raster_shape(contents: Contents, group: h5py.Group) -> list[int]:
    shape = np.asarray(contents.attribute(group, "shape", ()))
    if shape.dtype.kind not in "iu" or shape.shape not in ((3,), (4,)) or (shape < 0).any():
        raise Hdf5Error(str(group.name), f"{shape.tolist()} is no shape of a raster")
    return [int(n) for n in shape]


class _Steps(Sequence[int]):
    """Steps of spikes, read one by one, to be searched."""

    def __init__(self, item: h5py.Dataset, length: int, dt: float) -> None:
        self.item, self.length, self.dt = item, length, dt

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, at: Any) -> Any:
        return int(np.rint(float(self.item[at]) / (self.dt * 1e3)))


def _read_spikes(contents: Contents, group: h5py.Group, asked: _Asked, limit: int) -> Array:
    name, sizes = str(group.name), _raster_shape(contents, group)
    if asked.commit is not None or not asked.whole:
        sizes[-2] = asked.last - asked.first
    if int(np.prod(sizes, dtype=object)) > limit:
        raise Hdf5Error(
            name,
            f"a raster of the shape {sizes} is past {limit} bytes; if it is yours, raise `limit`, or read recording(first, last)",
        )
    steps, nodes = sizes[-2], int(np.prod([*sizes[:-2], sizes[-1]]))
    times, ids = _events(contents, group, asked)
    with np.errstate(all="ignore"):
        step = np.rint(times / (asked.dt * 1e3)) - asked.first
        inside = (step >= 0) & (step < steps) & (ids >= 0) & (ids < nodes)
    if not inside.all():
        raise Hdf5Error(name, f"spikes outside of {steps} steps and {nodes} nodes")
    raster = np.zeros(sizes, bool)
    if raster.size:
        trial, cell = np.divmod(ids.astype(np.int64), sizes[-1])
        raster.reshape(-1, steps, sizes[-1])[trial, step.astype(np.int64), cell] = True
    return raster


def _events(contents: Contents, group: h5py.Group, asked: _Asked) -> tuple[Array, Array]:
    """Times and nodes of the spikes in the steps that are asked for."""
    name, length = str(group.name), None
    if asked.commit is not None:
        length = asked.commit.counts[name.rpartition("/")[2]]
    if asked.whole and length is None:
        times, ids = contents.array(group, "timestamps", "f"), contents.array(group, "node_ids", "iu")
    else:
        first, last = _bounds(contents, group, asked, length)
        times = contents.span(group, "timestamps", first, last, kinds="f")
        ids = contents.span(group, "node_ids", first, last, kinds="iu")
    if times.ndim != 1 or times.shape != ids.shape:
        raise Hdf5Error(name, f"{times.shape} times and {ids.shape} nodes don't fit each other")
    return times, ids


def _bounds(contents: Contents, group: h5py.Group, asked: _Asked, length: int | None) -> tuple[int, int]:
    """Where the spikes of these steps are. length: of what there is; all of it where None."""
    contents.span(group, "timestamps", 0, 0)  # may it be read
    item = group["timestamps"]
    length = len(item) if length is None else length
    if length > len(item):
        raise Hdf5Error(str(group.name), f"{len(item)} spikes, where its parts have {length}")
    if asked.whole:
        return 0, length
    steps = _Steps(item, length, asked.dt)
    try:
        return bisect_left(steps, asked.first), bisect_left(steps, asked.last)
    except (ValueError, OverflowError):
        raise Hdf5Error(str(group.name), "times that are no numbers") from None


def _number(value: Any, kind: type) -> bool:
    return isinstance(value, kind)
