"""A State in an HDF5 file, to the last bit: the group /state of a run file, or a file of its own.

The group has the attributes dt (seconds), step, lead and trial, and the groups variables, sums, refractory and spikes with one
dataset an array, named as in State. Attributes of a dataset: unit, in SI, and axes, where the network is known that they
come from. A file of its own has the attributes schema, network (a name) and hash (neuro.io.serialisation.content_hash).
"""

from __future__ import annotations

import os
import reprlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neuro.compiler.recordable import units_of as units_of
from neuro.compiler.resolve import resolve
from neuro.io.files import replaced
from neuro.io.hdf5 import Contents, Hdf5Error, LayoutError, ResultsError, check_place, opened, writing
from neuro.io.serialisation import content_hash
from neuro.language.foreign import shown
from neuro.model import AllToAll, Network
from neuro.state import PARTS, State

Array = npt.NDArray[Any]

SCHEMA = "twinspike-state-1"
_COUNT = 2**53  # the largest step and trial
# part -> numpy's letters of its types, those in words, axes behind lead
_HOLDS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "variables": ("f", "floating-point numbers", (1, 2)),
    "sums": ("f", "floating-point numbers", (1,)),
    "refractory": ("iu", "whole numbers", (1,)),
    "spikes": ("b", "booleans", (2,)),
}


# -- a group ------------------------------------------------------------------------------------------------------


def write(group: h5py.Group, state: State, network: Network | None = None) -> None:
    """Write a state into an empty group. network: whose units and axes its arrays get. Raises LayoutError."""
    parts = _plain(state)
    known = {} if network is None else described(network)
    group.attrs.update({"dt": float(state.dt), "step": np.int64(state.step), "trial": int(state.trial)})
    group.attrs["lead"] = np.asarray(state.lead, np.int64)
    for part, arrays in parts.items():
        below = group.create_group(part)
        for name, array in arrays.items():
            data = below.create_dataset(name, data=array)
            if f"{part}/{name}" in known:
                unit, axes = known[f"{part}/{name}"]
                before = ("set", "trial") if len(state.lead) == 2 else ("trial",)
                data.attrs.update({"unit": unit, "axes": ", ".join((*before, *axes))})


def rewrite(group: h5py.Group, state: State) -> None:
    """Put a state in the place of another with the same names, shapes and types. Raises LayoutError where it is none such."""
    for part, arrays in _plain(state).items():
        held = group[part]
        if set(held) != set(arrays):
            raise LayoutError(f"the state's {part} are {_listed(arrays)}; the file holds {_listed(held)}")
        for name, array in arrays.items():
            data = held[name]
            if (data.shape, data.dtype) != (array.shape, array.dtype):
                raise LayoutError(
                    f"the state's {part}['{name}'] is {array.dtype} {array.shape}; the file holds {data.dtype} {data.shape}"
                )
            data[...] = array
    group.attrs.modify("step", np.int64(state.step))


def checksum(state: State) -> int:
    """Of a state's step and arrays, to the last bit."""
    found = zlib.crc32(str(state.step).encode())
    for part, arrays in _plain(state).items():
        for name in sorted(arrays):
            found = zlib.crc32(
                np.ascontiguousarray(arrays[name]).tobytes(), zlib.crc32(f"{part}/{name}".encode(), found)
            )
    return found


def read(contents: Contents, group: h5py.Group) -> State:
    """Inverse of write. Raises Hdf5Error."""
    dt = contents.attribute(group, "dt")
    if not isinstance(dt, np.floating) or not 0 < dt < np.inf:
        raise Hdf5Error(_at(group, "dt"), f"{_said(dt)} is no time step in seconds")
    step, trial = (_count(contents, group, name) for name in ("step", "trial"))
    lead = _lead(contents, group)
    parts: dict[str, dict[str, Array]] = {}
    for part, (kinds, wanted, _) in _HOLDS.items():
        arrays = contents.member(group, part, h5py.Group)
        parts[part] = {name: contents.array(group, f"{part}/{name}", kinds, wanted) for name in arrays}
        for name, array in parts[part].items():
            if flaw := _flaw(part, array, lead):
                raise Hdf5Error(_at(group, f"{part}/{name}"), flaw)
    return State(float(dt), step, lead, trial, **parts)


def described(network: Network) -> dict[str, tuple[str, tuple[str, ...]]]:
    """ "part/name" -> SI unit and axes behind those of trials, of what a network's state may hold."""
    network = resolve(network).network
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for population in network.populations:
        name, cells = population.name, population.neuron.scope
        for part, names in (("variables", cells.states), ("sums", cells.inputs)):
            found |= {f"{part}/{name}.{n}": (str(cells.dimensions[n]), ("neuron",)) for n in names}
        found[f"refractory/{name}"] = "1", ("neuron",)
    for projection in network.projections:
        name, synapse = projection.name, projection.synapse.scope
        axes = ("pre", "post") if isinstance(projection.connectivity, AllToAll) else ("synapse",)
        found |= {f"variables/{name}.{n}": (str(synapse.dimensions[n]), axes) for n in synapse.states}
    for name in (*(p.name for p in network.populations), *(i.name for i in network.inputs)):
        found[f"spikes/{name}"] = "1", ("step", "neuron")
    return found


def _plain(state: State) -> dict[str, dict[str, Array]]:
    """Arrays by part and name. Raises LayoutError for what would not come back as it is."""
    plain = state.numpy()
    parts: dict[str, dict[str, Array]] = {part: dict(getattr(plain, part)) for part in PARTS}
    for name, array in parts["spikes"].items():
        if np.isin(array, (0, 1)).all():  # 0.0 and 1.0 where they held a graph
            parts["spikes"][name] = array.astype(bool)
    for part, arrays in parts.items():
        for name, array in arrays.items():
            if not isinstance(name, str) or "/" in name or name in ("", "."):
                raise LayoutError(f"the state's {part} have the name {shown(name)}; it is 'population.variable'")
            if flaw := _flaw(part, array, tuple(state.lead)):
                raise LayoutError(f"the state's {part}['{name}']: {flaw}")
    return parts


def _flaw(part: str, array: Array, lead: tuple[int, ...]) -> str:
    """What an array of a state can't be, "" where all is well."""
    kinds, wanted, axes = _HOLDS[part]
    if array.dtype.kind not in kinds:
        return f"{array.dtype} where {wanted} belong"
    if array.shape[: len(lead)] != lead or array.ndim - len(lead) not in axes:
        behind = " or ".join(map(str, axes))
        return f"the shape {array.shape}; it begins with lead, {lead}, and has {behind} axes behind it"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "not finite"
    if array.dtype.kind == "i" and (array < 0).any():
        return "negative steps"
    if array.dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        return "bytes that are neither true nor false"
    return ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _at(group: h5py.Group, name: str) -> str:
    return f"{str(group.name).strip('/')}/{name}"


def _said(value: Any) -> str:
    return reprlib.repr(value.tolist() if isinstance(value, np.generic | np.ndarray) else value)


def _count(contents: Contents, group: h5py.Group, name: str) -> int:
    value = contents.attribute(group, name)
    if not isinstance(value, np.integer) or not 0 <= value <= _COUNT:
        raise Hdf5Error(_at(group, name), f"{_said(value)} is no whole number from 0 to {_COUNT}")
    return int(value)


def _lead(contents: Contents, group: h5py.Group) -> tuple[int, ...]:
    value = np.asarray(contents.attribute(group, "lead", ()))
    if value.dtype.kind not in "iu" or value.shape not in ((1,), (2,)) or (value < 0).any():
        raise Hdf5Error(_at(group, "lead"), f"{_said(value)} is no number of trials, or numbers of sets and of trials")
    return tuple(int(n) for n in value)


# -- a file of its own --------------------------------------------------------------------------------------------


def write_state(path: str | os.PathLike[str], state: State, network: Network) -> None:
    """Store a state of this network, in the place of the state file that is there: whole, or the old one stays.

    Raises ResultsError, also where another kind of file is in the way.
    """
    target = Path(path)
    if not isinstance(state, State):
        raise ResultsError(f"the state is {shown(state)}; give write_state(path, recording.state, network)")
    _check_names(state, network)
    check_place(target, SCHEMA, "no state file")
    with writing(target):
        replaced(target, lambda side: _fill(side, state, network))


def open_state(
    path: str | os.PathLike[str], network: Network, *, any_network: bool = False, limit: int | None = None
) -> State:
    """The state that write_state stored of this network.

    any_network: also that of another one, such as a network whose parameters have changed since; a run still refuses
    names and shapes that don't fit it. limit: bytes of all arrays; left out, it grows with the file
    (neuro.io.hdf5.allowance). Raises ResultsError.
    """
    with opened(Path(path), limit) as contents:
        schema = str(contents.attribute(contents.file, "schema", ""))
        if schema != SCHEMA:
            run = f"neuro.io.results.open_run('{path}').recording().state"
            fix = f"it is {run}" if schema.startswith("twinspike-run") else "write it again with neuro.write_state"
            raise ResultsError(f"'{path}' is no state file (schema '{schema}', expected '{SCHEMA}'); {fix}")
        if not any_network:
            _check_network(contents, network)
        return read(contents, contents.member(contents.file, "state", h5py.Group))


def _check_network(contents: Contents, network: Network) -> None:
    name, stored = (str(contents.attribute(contents.file, key, "")) for key in ("network", "hash"))
    ours = content_hash(network)
    if stored != ours:
        raise ResultsError(
            f"'{contents.file.filename}' holds a state of {_called(name, stored)}, not of {_called(network.name, ours)};"
            " give the network that it was written with, or take it nevertheless:"
            " open_state(path, network, any_network=True)"
        )


def _fill(side: Path, state: State, network: Network) -> None:
    with h5py.File(side, "w", locking=False) as file:
        file.attrs.update({"schema": SCHEMA, "network": network.name, "hash": content_hash(network)})
        write(file.create_group("state"), state, network)


def _check_names(state: State, network: Network) -> None:
    known = described(network)
    held: Mapping[str, Any] = {f"{part}/{name}": None for part in PARTS for name in getattr(state, part)}
    if unknown := [name for name in held if name not in known]:
        part, _, name = unknown[0].partition("/")
        raise ResultsError(
            f"the state has {part}['{name}'], which network '{network.name or 'unnamed'}' doesn't have;"
            " give the network that ran"
        )


def _called(name: str, digest: str) -> str:
    return f"network '{name or 'unnamed'}' ({digest[:12] or 'without hash'})"
