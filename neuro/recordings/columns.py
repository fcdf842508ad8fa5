"""Shapes of what was recorded, and traces as columns: one for each cell or synapse, with its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.events import Rasters

Array = npt.NDArray[Any]


def shape(arrays: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Of a raster or trace; lists of spikes need not become rasters for it."""
    if isinstance(arrays, Rasters):
        return (*arrays.lead, *arrays.events[name].shape[1:])
    return np.shape(arrays[name])


def columns(recording: Any, name: str) -> tuple[Array, list[int | str]]:
    """A trace as [trial, time, column] in SI, and which cell or synapse each column is: its number, or "pre, post" where synapses have both."""
    values = np.asarray(recording.traces[name])
    chosen = recording.chosen.get(name)
    if chosen is not None:
        places = np.asarray(chosen)
        return values, [_pair(p) if places.ndim == 2 else int(p) for p in places]
    if values.ndim == 4:
        pairs = [_pair(p) for p in np.ndindex(*values.shape[2:])]
        return values.reshape(*values.shape[:2], len(pairs)), list(pairs)
    return values, list(range(values.shape[2]))


def _pair(place: Any) -> str:
    return ", ".join(str(int(n)) for n in place)
