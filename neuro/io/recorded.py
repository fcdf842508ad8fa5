"""What the arrays of a recording are: of which cells or synapses, as far as its choices and a network tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from neuro.events import Rasters
from neuro.model import Network
from neuro.protocols import Recording
from neuro.recordings.columns import shape as shape

Array = npt.NDArray[Any]


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


def lead_of(recording: Recording) -> int:
    """Axes before that of time."""
    if recording.end is not None:
        return len(recording.state.lead)
    ranks = [len(shape(a, n)) for a in (recording.spikes, recording.traces) for n in a]
    return max(min(ranks, default=3) - 2, 1)


def layouts(recording: Recording) -> dict[str, tuple[int, ...]]:
    """pre and post of the traces that have both: all synapses of projections of all to all."""
    lead, found = lead_of(recording), {}
    for name in recording.traces:
        sizes = shape(recording.traces, name)
        if len(sizes) == lead + 3 <= 5 and name not in recording.chosen:
            found[name] = sizes[-2:]
    return found


def flattened(recording: Recording) -> Recording:
    """With all traces [..., time, neuron or synapse]."""
    found = layouts(recording)
    if not found:
        return recording
    flat = {
        n: np.reshape(t, (*np.shape(t)[:-2], int(np.prod(found[n])))) if n in found else t
        for n, t in recording.traces.items()
    }
    return replace(recording, traces=flat, end=None if recording.end is None else lambda: recording.state)


@dataclass(frozen=True)
class Owners:
    """Who the names of a recording belong to. network: None where nobody knows it."""

    network: Network | None
    chosen: Mapping[str, Array]

    def synapses(self, name: str, layout: tuple[int, ...] | None) -> bool:
        """Whether a trace is of synapses; without a network its shape and choice must tell."""
        owner = name.partition(".")[0]
        if self.network is not None and any(owner in self.network.parts[k] for k in ("population", "projection")):
            return owner in self.network.parts["projection"]
        return layout is not None or (name in self.chosen and np.ndim(self.chosen[name]) == 2)

    def cells(self, name: str, width: int) -> int:
        """Cells of a trial in the population of a raster or trace with so many columns."""
        if name not in self.chosen:
            return width
        population = None if self.network is None else self.network.parts["population"].get(name.partition(".")[0])
        least = int(np.max(self.chosen[name], initial=-1)) + 1
        return max(least, 0 if population is None else population.size)


def numbered(columns: Array, width: int, chosen: Array | None, cells: int) -> Array:
    """Nodes of the network, cell n of trial b as b*cells + n, from places b*width + column."""
    if chosen is None:
        return columns
    trial, column = np.divmod(columns.astype(np.int64), max(width, 1))
    found: Array = trial * cells + np.asarray(chosen, np.int64)[column]
    return found


def placed(cells: Array, chosen: Array) -> tuple[Array, bool]:
    """Columns of these cells among the chosen ones, and whether all of them were chosen."""
    order = np.argsort(chosen, kind="stable")
    found: Array = order[np.minimum(np.searchsorted(chosen, cells, sorter=order), len(chosen) - 1)]
    return found, bool((chosen[found] == cells).all())


def spike_list(spikes: Mapping[str, Any], name: str, chosen: Array | None, cells: int) -> tuple[Array, Array]:
    """Step and node of each spike of a population, by step and then by node. cells: of all, where some were chosen."""
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
    return step, numbered(node, shape(spikes, name)[-1], chosen, cells).astype(np.uint64)
