"""Recordings of event cameras and silicon cochleas, as the package tonic reads them, with a network of one's own.

tonic (GPL-3, extra `events`) is a client that nobody needs: it reads its data sets, cuts recordings into slices (`tonic.SlicedDataset`), and counts events in frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from neuro.events import Events
from neuro.model import Network
from neuro.options import OptionError
from neuro.registry import needed_by
from tasks.arrays import Arrays, from_arrays


def from_tonic(
    dataset: Iterable[tuple[Any, Any]], network: Network, *, time_window: float, sensor_size: Sequence[int] = (), **options: Any
) -> Arrays:  # fmt: skip
    """A task of a tonic data set, sliced or not: pairs of events (fields t, x, p, and y of a camera) and a label. time_window: microseconds of a step, from a recording's first event on.
    sensor_size: x, y, p; the data set's own unless given. Channels are [p, y, x], the last one fastest; several events of one in a step are one spike; shorter recordings are filled up
    with nothing and masked. options: see tasks.from_arrays. Raises OptionError, MissingPackageError."""
    with needed_by("from_tonic"):
        frame = import_module("tonic.transforms").ToFrame
    size = (
        tuple(sensor_size)
        or getattr(dataset, "sensor_size", None)
        or getattr(getattr(dataset, "dataset", None), "sensor_size", None)
    )
    if size is None or len(size) != 3:
        raise OptionError(f"sensor_size={size}; give x, y and p of the sensor")
    if not 0 < time_window < np.inf:
        raise OptionError(f"time_window={time_window}; give the microseconds of a step")
    found, labels = list[Events](), list[Any]()
    for events, label in dataset:
        ends = (
            {"start_time": events["t"][0], "end_time": events["t"][-1] + 1} if len(events) else {}
        )  # its own end leaves an event at it out
        frames = frame(sensor_size=size, time_window=time_window, include_incomplete=True, **ends)
        counted = np.asarray(frames(events.copy()))  # it writes into what it is given
        found.append(Events.of(counted.reshape(1, len(counted), -1) > 0))
        labels.append(label)
    if not found:
        raise OptionError("the data set has no recordings")
    lengths = np.array([e.shape[1] for e in found])
    steps = int(lengths.max())
    joined = Events.joined([_longer(e, steps) for e in found])
    mask = None if (lengths == steps).all() else np.arange(steps) < lengths[:, None]
    return from_arrays(joined, np.array(labels), network, mask=mask, **options)


def _longer(events: Events, steps: int) -> Events:
    """The same, filled up with steps without events."""
    batch, time, size = events.shape
    return Events((batch, steps, size), np.pad(events.offsets, (0, steps - time), "edge"), events.channels)
