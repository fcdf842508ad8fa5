"""A Recording in an HDF5 file: /spikes and /report as SONATA's readers take them, /traces, /chosen, /final and /state to
the last bit.

SONATA knows no trials. Every trial, of every parameter set, is a copy of the network whose cells are nodes of its own: cell n
of N in trial b is node b*N + n, in trial b of B of parameter set p node (p*B + b)*N + n. Of a single trial, nodes are cells.
What is of step k has the time k*dt, as in Brian2. A report holds one variable, in single precision: that of population "c"
is called "c", or "c.v" and "c.u" where several are recorded. Chosen cells are the nodes that they are in the network; variables
of synapses are in /traces alone, those of all to all in one row, whose `layout` is pre and post. /chosen holds which cells or synapses
were recorded, by name of a trace or population. Source: SONATA developer guide, Dai et al. (2020), PLoS Comput
Biol 16:e1007696.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.io import commits, state_file
from neuro.io.commits import NAME as PARTS
from neuro.io.commits import PLACES, Commit
from neuro.io.hdf5 import Contents, Hdf5Error, LayoutError
from neuro.io.recorded import Owners, dtype, flattened, frames, layouts, numbered, placed, shape, spike_list
from neuro.model import Network
from neuro.protocols import Recording
from neuro.state import State

Array = npt.NDArray[Any]

GROUPS = ("spikes", "report", "traces", "chosen", "final", *PLACES, PARTS)
LIMIT = 2**33  # bytes of rasters: silence takes none in the file
MOST_CELLS = 2**40  # of a population
_CHUNK = 2**20  # bytes
_LEAD = ("set, trial, time", "trial, time")
Make = Callable[[h5py.Group, str, Array, int], h5py.Dataset]  # of a group, a name, values and their axis of time


class MovedOn(Exception):
    """Two more parts were written while somebody read the end of a recording: look again."""


def write(root: h5py.Group, recording: Recording, units: Mapping[str, str], network: Network | None = None) -> None:
    """Write a recording below root, /state where there is one.

    units: name of a trace -> unit; where left out what the recording says, or 1. network: whose cells and synapses they are. Raises LayoutError.
    """
    for name in recording.spikes:
        if dtype(recording.spikes, name) != np.bool_:
            raise LayoutError(f"spikes of '{name}' are {dtype(recording.spikes, name)}; a raster is of booleans")
    with_reports = any(np.size(trace) for trace in recording.traces.values())
    lay_out(root, recording, units, network, _at_once, with_reports)  # SONATA's readers know no report without frames
    if recording.end is not None:
        if flaw := _misfit(recording.state, recording):
            raise LayoutError(f"the state has {flaw}")
        state_file.write(root.create_group("state"), recording.state, network)


def lay_out(
    root: h5py.Group, recording: Recording, units: Mapping[str, str], network: Network | None, make: Make, with_reports: bool
) -> None:  # fmt: skip
    """All groups but the state's. make: makes a dataset whose length depends on that of the recording. Raises LayoutError."""
    of, pairs, recording = Owners(network, recording.chosen), layouts(recording), flattened(recording)
    spikes = root.create_group("spikes")
    spikes.attrs.update({"dt": recording.dt, "every": recording.every})
    for name in recording.spikes:
        group = spikes.create_group(name)
        sizes = _checked(f"spikes of '{name}'", recording.spikes, name, recording.chosen.get(name))
        step, node = spike_list(recording.spikes, name, recording.chosen.get(name), of.cells(name, sizes[-1]))
        group.attrs["shape"] = np.array(sizes)
        if name in recording.chosen:
            group.attrs["cells"] = of.cells(name, sizes[-1])
        order = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
        group.attrs.create("sorting", 2, dtype=order)
        make(group, "timestamps", times(step, recording.dt), 0).attrs["units"] = "ms"
        make(group, "node_ids", node, 0)
    called = reports(recording.traces)
    for name in recording.traces:
        owner, _, variable = name.partition(".")
        sizes = _checked(f"trace '{name}'", recording.traces, name, recording.chosen.get(name))
        synapses = of.synapses(name, pairs.get(name))
        values, unit = np.asarray(recording.traces[name]), units.get(name, recording.units.get(name, "1"))
        data = make(root.require_group(f"traces/{owner}"), variable, values, -2)
        axes = f"{_LEAD[values.ndim == 3]}, {'synapse' if synapses else 'neuron'}"
        data.attrs.update({"unit": unit, "axes": axes, "dt": recording.dt * recording.every})
        if name in pairs:
            data.attrs["layout"] = np.array(pairs[name])
        if with_reports and not synapses:
            columns = np.arange(int(np.prod([*sizes[:-2], sizes[-1]])))
            nodes = numbered(columns, sizes[-1], recording.chosen.get(name), of.cells(name, sizes[-1]))
            _report(root.create_group(f"report/{called[name]}"), frames(values), nodes, unit, recording, make)
    for name, places in recording.chosen.items():
        root.create_dataset(f"chosen/{name}", data=places)
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
            if shape(arrays, name)[: len(state.lead)] != tuple(state.lead):
                return f"lead = {tuple(state.lead)}, the recording's '{name}' the shape {shape(arrays, name)}"
    return ""


def _checked(what: str, arrays: Mapping[str, Any], name: str, chosen: Any) -> tuple[int, ...]:
    found = shape(arrays, name)
    if len(found) not in (3, 4):
        raise LayoutError(f"{what} has the shape {found}; it is [trial, time, neuron], of parameter sets [set, ...]")
    if chosen is not None and len(chosen) != found[-1]:
        raise LayoutError(f"{what} has the shape {found}, and {len(chosen)} were chosen")
    return found


def times(step: Array, dt: float) -> Array:
    """Milliseconds."""
    found: Array = step * dt * 1e3
    return found


def reports(traces: Iterable[str]) -> dict[str, str]:
    """Trace -> its report."""
    names = tuple(traces)
    shared = Counter(name.partition(".")[0] for name in names)
    return {n: n if shared[n.partition(".")[0]] > 1 else n.partition(".")[0] for n in names}


def _report(
    group: h5py.Group, values: Array, nodes: Array, unit: str, recording: Recording, make: Make
) -> None:  # fmt: skip
    samples, columns = values.shape
    make(group, "data", values, 0).attrs["units"] = unit
    mapping = group.create_group("mapping")
    ascending = bool((np.diff(nodes) > 0).all())
    mapping.create_dataset("node_ids", data=nodes.astype(np.uint64)).attrs.create("sorted", ascending, dtype=np.uint8)
    mapping["index_pointers"] = np.arange(columns + 1, dtype=np.uint64)
    mapping["element_ids"] = np.zeros(columns, np.uint32)
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
    chosen = _read_chosen(contents)
    rasters: dict[str, Array] = {}
    for name in spikes:
        raster = _read_spikes(contents, contents.member(spikes, name, h5py.Group), asked, limit, chosen.get(name))
        limit -= raster.nbytes
        rasters[name] = raster
    traces: dict[str, Array] = {}
    units: dict[str, str] = {}
    owners = contents.find(file, "traces", h5py.Group)
    for owner in owners or ():
        group = contents.member(owners, owner, h5py.Group)
        traces |= {f"{owner}.{variable}": _read_trace(contents, group, variable, asked) for variable in group}
        units |= {f"{owner}.{variable}": str(contents.attribute(group[variable], "unit", "1")) for variable in group}
    final = contents.find(file, "final", h5py.Group) if asked.ends else None
    if asked.commit is not None and state is not None:  # /final is written when a recording is complete
        ends = {name: state.variables[name] for name in final or () if name in state.variables}
    else:
        ends = {name: contents.array(final, name) for name in final or ()}
    for name, places in chosen.items():
        array = rasters.get(name, traces.get(name))
        if array is None or array.shape[-1:] != places.shape[:1]:
            raise Hdf5Error("chosen", f"{len(places)} of '{name}' don't fit what was recorded of it")
    found = Recording(asked.dt, rasters, traces, asked.every, ends, None, chosen, units)
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
        found = contents.array(group, name)
    else:
        _trace_shape(contents, group, name)
        found = contents.span(group, name, asked.first // asked.every, asked.last // asked.every, -2)
    layout = contents.attribute(group[name], "layout")
    if layout is None:
        return found
    sizes = np.asarray(layout)
    if sizes.dtype.kind not in "iu" or sizes.shape != (2,) or (sizes < 0).any() or not found.ndim:
        raise Hdf5Error(name, f"{sizes.tolist()} is no layout of synapses")
    if int(np.prod(sizes, dtype=object)) != found.shape[-1]:
        raise Hdf5Error(name, f"{found.shape[-1]} synapses where the layout has {sizes.tolist()}")
    return found.reshape(*found.shape[:-1], *(int(n) for n in sizes))


def _read_chosen(contents: Contents) -> dict[str, Array]:
    """Which cells or synapses were recorded, by name."""
    group = contents.find(contents.file, "chosen", h5py.Group)
    found = {}
    for name in group or ():
        places = contents.array(group, name, "iu")
        if (places.ndim != 1 and (places.ndim != 2 or places.shape[1] != 2)) or (places < 0).any():
            raise Hdf5Error("chosen", f"{places.shape} numbers of '{name}' are no indices of cells or synapses")
        found[name] = places
    return found


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


def _read_spikes(contents: Contents, group: h5py.Group, asked: _Asked, limit: int, chosen: Array | None) -> Array:
    name, sizes = str(group.name), _raster_shape(contents, group)
    if asked.commit is not None or not asked.whole:
        sizes[-2] = asked.last - asked.first
    if int(np.prod(sizes, dtype=object)) > limit:
        raise Hdf5Error(
            name,
            f"a raster of the shape {sizes} is past {limit} bytes; if it is yours, raise `limit`, or read recording(first, last)",
        )
    cells = sizes[-1] if chosen is None else contents.attribute(group, "cells")
    if not isinstance(cells, np.integer | int) or not 0 <= int(cells) <= MOST_CELLS:
        raise Hdf5Error(name, f"cells = {cells!r} is no number of cells")
    if chosen is not None and (chosen.shape != (sizes[-1],) or (chosen >= cells).any()):
        raise Hdf5Error(name, f"{sizes[-1]} columns of {cells} cells don't fit those that were chosen")
    steps, nodes = sizes[-2], int(np.prod(sizes[:-2])) * int(cells)
    times, ids = _events(contents, group, asked)
    with np.errstate(all="ignore"):
        step = np.rint(times / (asked.dt * 1e3)) - asked.first
        inside = (step >= 0) & (step < steps) & (ids >= 0) & (ids < nodes)
    if not inside.all():
        raise Hdf5Error(name, f"spikes outside of {steps} steps and {nodes} nodes")
    raster = np.zeros(sizes, bool)
    if raster.size:
        trial, column = np.divmod(ids.astype(np.int64), int(cells))
        if chosen is not None:
            column, all_chosen = placed(column, chosen.astype(np.int64))
            if not all_chosen:
                raise Hdf5Error(name, "spikes of cells that were not chosen")
        raster.reshape(-1, steps, sizes[-1])[trial, step.astype(np.int64), column] = True
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
