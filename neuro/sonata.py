"""A Recording in an HDF5 file: /spikes and /report as SONATA's readers take them, /traces, /final and /state to the last bit.

SONATA knows no trials. Every trial, of every parameter set, is a copy of the network whose cells are nodes of its own: cell n
of N in trial b is node b*N + n, in trial b of B of parameter set p node (p*B + b)*N + n. Of a single trial, nodes are cells.
What is of step k has the time k*dt, as in Brian2. A report holds one variable, in single precision: that of population "c"
is called "c", or "c.v" and "c.u" where several are recorded. Source: SONATA developer guide, Dai et al. (2020), PLoS Comput
Biol 16:e1007696.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro import state_file
from neuro.hdf5 import Contents, Hdf5Error, LayoutError
from neuro.model import Network
from neuro.protocols import Recording
from neuro.state import State

Array = npt.NDArray[Any]

GROUPS = ("spikes", "report", "traces", "final", "state")
LIMIT = 2**33  # bytes of rasters: silence takes none in the file
_CHUNK = 2**20  # bytes
_AXES = ("set, trial, time, neuron", "trial, time, neuron")


def write(root: h5py.Group, recording: Recording, units: Mapping[str, str], network: Network | None = None) -> None:
    """Write GROUPS below root, /state where there is one.

    units: "population.variable" -> unit, 1 where left out. network: whose units and axes the state gets. Raises LayoutError.
    """
    spikes = root.create_group("spikes")
    spikes.attrs.update({"dt": recording.dt, "every": recording.every})
    for name, raster in recording.spikes.items():
        if np.asarray(raster).dtype != np.bool_:
            raise LayoutError(f"spikes of '{name}' are {np.asarray(raster).dtype}; a raster is of booleans")
        _write_spikes(spikes.create_group(name), _shaped(f"spikes of '{name}'", raster), recording.dt)
    shared = Counter(name.partition(".")[0] for name in recording.traces)
    for name, trace in recording.traces.items():
        owner, _, variable = name.partition(".")
        values, unit = _shaped(f"trace '{name}'", trace), units.get(name, "1")
        data = root.create_dataset(f"traces/{owner}/{variable}", data=values, chunks=_chunks(values))
        axes = _AXES[0] if values.ndim == 4 else _AXES[1]
        data.attrs.update({"unit": unit, "axes": axes, "dt": recording.dt * recording.every})
        if values.size:  # SONATA's readers know no report without frames
            report = root.create_group(f"report/{owner if shared[owner] == 1 else name}")
            _write_report(report, values, unit, recording)
    for name, value in recording.final.items():
        root.create_dataset(f"final/{name}", data=value)
    if recording.end is not None:
        if flaw := _misfit(recording.state, recording):
            raise LayoutError(f"the state has {flaw}")
        state_file.write(root.create_group("state"), recording.state, network)


def _misfit(state: State, recording: Recording) -> str:
    """What a recording and the state at its end contradict each other in, "" where in nothing."""
    if state.dt != recording.dt:
        return f"dt = {state.dt} s, the recording {recording.dt} s"
    for name, array in (*recording.spikes.items(), *recording.traces.items()):
        if np.shape(array)[:-2] != tuple(state.lead):
            return f"lead = {tuple(state.lead)}, the recording's '{name}' the shape {np.shape(array)}"
    return ""


def _shaped(what: str, array: Any) -> Array:
    found = np.asarray(array)
    if found.ndim not in (3, 4):
        raise LayoutError(
            f"{what} has the shape {found.shape}; it is [trial, time, neuron], of parameter sets [set, ...]"
        )
    return found


def _flat(array: Array) -> Array:
    """[time, node]."""
    moved = np.moveaxis(array, -2, 0)
    return moved.reshape(len(moved), int(np.prod(moved.shape[1:])))


def _write_spikes(group: h5py.Group, raster: Array, dt: float) -> None:
    step, node = np.nonzero(_flat(raster))
    group.attrs["shape"] = raster.shape
    order = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
    group.attrs.create("sorting", 2, dtype=order)
    group.create_dataset("timestamps", data=step * dt * 1e3).attrs["units"] = "ms"
    group.create_dataset("node_ids", data=node.astype(np.uint64))


def _write_report(group: h5py.Group, values: Array, unit: str, recording: Recording) -> None:
    with np.errstate(over="ignore"):
        frames = _flat(values).astype(np.float32)
    samples, nodes = frames.shape
    group.create_dataset("data", data=frames, chunks=_chunks(frames)).attrs["units"] = unit
    mapping = group.create_group("mapping")
    mapping.create_dataset("node_ids", data=np.arange(nodes, dtype=np.uint64)).attrs.create("sorted", 1, dtype=np.uint8)
    mapping["index_pointers"] = np.arange(nodes + 1, dtype=np.uint64)
    mapping["element_ids"] = np.zeros(nodes, np.uint32)
    dt = recording.dt * 1e3
    start, every = (recording.every - 1) * dt, recording.every * dt
    mapping.create_dataset("time", data=[start, start + samples * every, every]).attrs["units"] = "ms"


def _chunks(values: Array) -> tuple[int, ...] | None:
    """Along time; None where there is nothing to divide."""
    if not values.size:
        return None
    size = values.shape[-1] * values.itemsize
    return (*(1 for _ in values.shape[:-2]), int(np.clip(_CHUNK // size, 1, values.shape[-2])), values.shape[-1])


def read(contents: Contents, limit: int = LIMIT) -> Recording | None:
    """Inverse of write, None where there is no recording. limit: bytes of all rasters. Raises Hdf5Error."""
    file = contents.file
    spikes = contents.find(file, "spikes", h5py.Group)
    if spikes is None:
        return None
    dt, every = (contents.attribute(spikes, name) for name in ("dt", "every"))
    if not _number(dt, np.floating) or not 0 < dt < np.inf or not _number(every, np.integer) or every < 1:
        raise Hdf5Error("spikes", f"dt = {dt!r} and every = {every!r} are no clock")
    rasters: dict[str, Array] = {}
    for name in spikes:
        raster = _read_spikes(contents, contents.member(spikes, name, h5py.Group), float(dt), limit)
        limit -= raster.nbytes
        rasters[name] = raster
    traces: dict[str, Array] = {}
    owners = contents.find(file, "traces", h5py.Group)
    for owner in owners or ():
        group = contents.member(owners, owner, h5py.Group)
        traces |= {f"{owner}.{variable}": contents.array(group, variable) for variable in group}
    final = contents.find(file, "final", h5py.Group)
    ends = {name: contents.array(final, name) for name in final or ()}
    found = Recording(float(dt), rasters, traces, int(every), ends)
    group = contents.find(file, "state", h5py.Group)
    if group is None:
        return found
    state = state_file.read(contents, group)
    if flaw := _misfit(state, found):
        raise Hdf5Error("state", flaw)
    return replace(found, end=lambda: state)


def _read_spikes(contents: Contents, group: h5py.Group, dt: float, limit: int) -> Array:
    name = str(group.name)
    shape = np.asarray(contents.attribute(group, "shape", ()))
    if shape.dtype.kind not in "iu" or shape.shape not in ((3,), (4,)) or (shape < 0).any():
        raise Hdf5Error(name, f"{shape.tolist()} is no shape of a raster")
    sizes = [int(n) for n in shape]
    if int(np.prod(sizes, dtype=object)) > limit:
        raise Hdf5Error(name, f"a raster of the shape {sizes} is past {limit} bytes; if it is yours, raise `limit`")
    steps, nodes = sizes[-2], int(np.prod([*sizes[:-2], sizes[-1]]))
    times, ids = contents.array(group, "timestamps", "f"), contents.array(group, "node_ids", "iu")
    if times.ndim != 1 or times.shape != ids.shape:
        raise Hdf5Error(name, f"{times.shape} times and {ids.shape} nodes don't fit each other")
    with np.errstate(all="ignore"):
        step = np.rint(times / (dt * 1e3))
        inside = (step >= 0) & (step < steps) & (ids >= 0) & (ids < nodes)
    if not inside.all():
        raise Hdf5Error(name, f"spikes outside of {steps} steps and {nodes} nodes")
    raster = np.zeros(sizes, bool)
    if raster.size:
        trial, cell = np.divmod(ids.astype(np.int64), sizes[-1])
        raster.reshape(-1, steps, sizes[-1])[trial, step.astype(np.int64), cell] = True
    return raster


def _number(value: Any, kind: type) -> bool:
    return isinstance(value, kind)
