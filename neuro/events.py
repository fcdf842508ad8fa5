"""Spikes as lists of events: which channels fired, step by step. No [batch, time, channel] array need exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class EventsError(Exception):
    """Lists of events that don't fit together."""


@dataclass(frozen=True, eq=False)
class Events:
    """shape: batch, time, channel. offsets: int64 [batch*time + 1], where each step's events begin. channels: int32.

    Fits wherever a boolean array [batch, time, channel] does: numpy makes one of it when asked. Raises EventsError.
    """

    shape: tuple[int, int, int]
    offsets: npt.NDArray[np.int64]
    channels: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        batch, time, size = self.shape
        inside = self.offsets.shape == (batch * time + 1,) and self.offsets[0] == 0
        if not inside or self.offsets[-1] != len(self.channels) or (np.diff(self.offsets) < 0).any():
            raise EventsError(
                f"offsets {self.offsets.shape} don't divide {len(self.channels)} events among {batch} x {time} steps"
            )
        if len(self.channels) and not 0 <= self.channels.min() <= self.channels.max() < size:
            raise EventsError(f"events in channels outside of 0 ... {size - 1}")
        begins = np.zeros(len(self.channels) + 1, bool)
        begins[self.offsets] = True
        if ((self.channels[1:] <= self.channels[:-1]) & ~begins[1:-1]).any():
            raise EventsError("the channels of a step must ascend, and each may fire once")

    @staticmethod
    def of(spikes: Any) -> Events:
        """Events of an array [batch, time, channel] of spikes."""
        if isinstance(spikes, Events):
            return spikes
        array = np.asarray(spikes)
        batch, time, size = array.shape
        offsets = np.zeros(batch * time + 1, np.int64)
        np.cumsum(np.count_nonzero(array, axis=2).ravel(), out=offsets[1:])
        channels = np.empty(offsets[-1], np.int32)
        for trial, raster in enumerate(array):  # one by one: places in the whole array are eight bytes each
            channels[offsets[trial * time] : offsets[(trial + 1) * time]] = np.flatnonzero(raster) % size
        return Events((batch, time, size), offsets, channels)

    @staticmethod
    def from_times(times: Sequence[Any], channels: Sequence[Any], shape: tuple[int, int, int], dt: float) -> Events:
        """Events of every trial's times, seconds, and channels: [batch] arrays [event], in any order. dt: seconds of a step.

        Step k holds the times from k dt up to (k + 1) dt; one that is less than a millionth of a step before a boundary counts as at it, as k*dt often is by
        rounding, and one of few digits (float32, float16) where the boundary is rounded to it. Several events of one channel in one step are one spike. Raises EventsError on what lies outside of shape.
        """
        batch, time, size = shape
        if not len(times) == len(channels) == batch:
            raise EventsError(f"times of {len(times)} trials and channels of {len(channels)}, for a batch of {batch}")
        if not 0 < dt < np.inf:
            raise EventsError(f"dt={dt}; give the seconds of a step")
        places = [np.zeros(0, np.int64)]
        for trial, (when, where) in enumerate(zip(times, channels, strict=True)):
            step, channel = _placed(f"trial {trial}", np.ravel(when), np.ravel(where), shape, dt)
            places.append((trial * time + step) * size + channel)
        found = np.unique(np.concatenate(places))
        offsets = np.searchsorted(found, np.arange(batch * time + 1) * size).astype(np.int64)
        return Events(shape, offsets, (found % size).astype(np.int32))

    @staticmethod
    def joined(parts: Sequence[Events]) -> Events:
        """Trials one after another."""
        starts = np.cumsum([0, *(len(p.channels) for p in parts)])
        offsets = [p.offsets[:-1] + start for p, start in zip(parts, starts[:-1], strict=True)]
        batch, (_, time, size) = sum(len(p) for p in parts), parts[0].shape
        channels = np.concatenate([p.channels for p in parts])
        return Events((batch, time, size), np.concatenate([*offsets, starts[-1:]]), channels)

    @staticmethod
    def following(*parts: Events) -> Events:
        """The same trials' steps, part after part."""
        batch, _, size = parts[0].shape
        counts = [np.diff(e.offsets).reshape(batch, e.shape[1]) for e in parts]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts, axis=1))]).astype(np.int64)
        trials = [
            e.channels[e.offsets[b * e.shape[1]] : e.offsets[(b + 1) * e.shape[1]]]
            for b in range(batch) for e in parts
        ]  # fmt: skip
        return Events((batch, sum(e.shape[1] for e in parts), size), offsets, np.concatenate(trials))

    def between(self, first: int, last: int) -> Events:
        """All trials' steps from first to last - 1."""
        return self._chosen(np.arange(self.shape[0]), first, last)

    def last(self, steps: int) -> Events:
        """The last steps of all trials."""
        return self.between(self.shape[1] - steps, self.shape[1])

    def of_channels(self, channels: npt.NDArray[np.int64]) -> Events:
        """Those of some channels, which are counted in the given order."""
        batch, time, size = self.shape
        place = np.full(size, -1)
        place[channels] = np.arange(len(channels))
        rows, found = np.repeat(np.arange(batch * time), np.diff(self.offsets)), place[self.channels]
        rows, found = rows[found >= 0], found[found >= 0]
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=batch * time))]).astype(np.int64)
        order = np.lexsort((found, rows))
        return Events((batch, time, len(channels)), offsets, found[order].astype(np.int32))

    @property
    def ndim(self) -> int:
        """Axes: batch, time, channel."""
        return 3

    def __len__(self) -> int:
        return self.shape[0]

    def sum(self) -> int:
        """Number of events."""
        return len(self.channels)

    def __getitem__(self, trials: Any) -> Events:
        """Some trials: a slice, or indices."""
        return self._chosen(np.arange(self.shape[0])[trials], 0, self.shape[1])

    def _chosen(self, trials: npt.NDArray[np.int64], first: int, last: int) -> Events:
        """Those trials' steps from first to last - 1."""
        _, time, size = self.shape
        starts = (trials[:, None] * time + np.arange(first, last)).ravel()
        counts = self.offsets[starts + 1] - self.offsets[starts]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        index = np.repeat(self.offsets[starts] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Events((len(trials), last - first, size), offsets, self.channels[index])

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        """bool [batch, time, channel]."""
        batch, time, size = self.shape
        rows = np.repeat(np.arange(batch * time), np.diff(self.offsets))
        found = np.zeros((batch * time, size), np.bool_ if dtype is None else dtype)
        found[rows, self.channels] = 1
        return found.reshape(self.shape)


def _placed(
    trial: str, times: Array, channels: Array, shape: tuple[int, int, int], dt: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Steps and channels of a trial's events."""
    _, time, size = shape
    if len(times) != len(channels):
        raise EventsError(f"{trial}: {len(times)} times and {len(channels)} channels")
    if not len(times):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if channels.dtype.kind not in "iu" or channels.min() < 0 or channels.max() >= size:
        raise EventsError(f"{trial}: channels must be whole numbers from 0 to {size - 1}")
    if times.dtype.kind not in "biuf":
        raise EventsError(f"{trial}: times of {times.dtype}; give numbers, in seconds")
    rounding = np.abs(np.spacing(times)).astype(np.float64) / 2 if times.dtype.kind == "f" else 0.0
    step = np.floor(times / np.float64(dt) + np.maximum(1e-6, 1.000001 * rounding / dt))
    outside = ~((step >= 0) & (step < time))  # also what is no number
    if outside.any():
        when, end = times[outside][0], time * dt
        raise EventsError(
            f"{trial}: an event at {when:g} s, and it has {time} steps, {end:g} s; leave it out, or give more steps"
        )
    return step.astype(np.int64), channels.astype(np.int64)


class Rasters(Mapping[str, Array]):
    """Spikes of populations as boolean arrays [*lead, time, neuron], each made of its events when somebody asks.

    events: population -> Events of all trials, those of a population of parameter sets one set after another.
    """

    def __init__(self, events: Mapping[str, Events], lead: tuple[int, ...]) -> None:
        self.events, self.lead = events, lead
        self._made: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._made:
            events = self.events[name]
            self._made[name] = np.asarray(events).reshape(*self.lead, *events.shape[1:])
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        """Mapping's own would make the array."""
        return name in self.events

    def __iter__(self) -> Iterator[str]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)
