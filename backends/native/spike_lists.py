"""Spikes as a kernel's lists: offsets and channels, row by row; those on their way when a run begins are in the first rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed
from backends.native.layout import Arrays
from neuro.events import Events
from neuro.language.mangling import mangled

Array = npt.NDArray[Any]


def past_of(feed: Feed) -> int:
    """Steps before a run whose spikes may be on their way: the longest delay, 0 for a run that starts anew."""
    return 0 if feed.state is None else max((s.shape[-2] for s in feed.state.spikes.values()), default=0)


def history(feed: Feed, source: str, size: int) -> Array:
    """A source's spikes in those steps: bool [*lead, step, neuron], none where they can't arrive any more."""
    found = np.zeros((*feed.lead, past_of(feed), size), np.bool_)
    given = None if feed.state is None else feed.state.spikes.get(source)
    if given is not None:
        found[..., found.shape[-2] - given.shape[-2] :, :] = given
    return found


def input_lists(feed: Feed, name: str, events: Events) -> tuple[Array, Array]:
    """Offsets and channels of an input's events, with those before the run; a parameter set may have others than the rest."""
    if not past_of(feed):
        return events.offsets, events.channels
    before = history(feed, name, events.shape[2])
    if feed.population is None or (before == before[:1]).all():
        found = Events.following(Events.of(before if feed.population is None else before[0]), events)
        return found.offsets, found.channels
    sets = [Events.following(Events.of(of_set), events) for of_set in before]
    channels = np.zeros((len(sets), max(len(e.channels) for e in sets)), np.int32)
    for row, own in zip(channels, sets, strict=True):
        row[: len(own.channels)] = own.channels
    return np.stack([e.offsets for e in sets]), channels


@dataclass(frozen=True)
class Lists:
    """A population's spikes as a kernel keeps them. offsets: [trial, row + 1]. events: [trial, row, cell], as far as a trial's list goes."""

    offsets: Array
    events: Array
    size: int

    def between(self, first: int, last: int) -> Events:
        """Of all trials, in the rows from first to last - 1."""
        places = np.arange(len(self.offsets)) * self.events[0].size
        return listed(self.offsets, self.events, places, (first, last), self.size)

    def fired(self, row: int) -> Array:
        """Of one row of the first trial: bool [cell]."""
        found = np.zeros(self.size, np.bool_)
        found[self.events.reshape(-1)[self.offsets[0, row] : self.offsets[0, row + 1]]] = True
        return found

    def begin(self, before: Array) -> None:
        """Writes the first rows: bool [trial, row, cell]."""
        past, events = before.shape[1], Events.of(before)
        bounds = events.offsets[np.arange(len(before))[:, None] * past + np.arange(past + 1)]
        self.offsets[:, : past + 1] = bounds - bounds[:, :1]
        trial = np.repeat(np.arange(len(before)), self.offsets[:, past])
        place = np.arange(len(events.channels)) - bounds[trial, 0]
        self.events.reshape(len(before), -1)[trial, place] = events.channels


@dataclass(frozen=True)
class Bits:
    """The same, a bit a cell. words: [trial, row, word]; bit i%32 of word i/32 is cell i."""

    words: Array
    size: int

    def _raster(self, words: Array) -> Array:
        octets = words.astype("<i4").view(np.uint8)
        return np.unpackbits(octets, axis=-1, count=self.size, bitorder="little").view(np.bool_)

    def between(self, first: int, last: int) -> Events:
        return Events.of(self._raster(self.words[:, first:last]))

    def fired(self, row: int) -> Array:
        return self._raster(self.words[0, row])

    def begin(self, before: Array) -> None:
        octets = np.packbits(before, axis=-1, bitorder="little")
        wide = np.zeros((*before.shape[:2], 4 * self.words.shape[2]), np.uint8)
        wide[..., : octets.shape[2]] = octets
        self.words[:, : before.shape[1]] = wide.view("<i4")


def kept(arrays: Arrays, name: str, size: int) -> Lists | Bits:
    """A population's spikes in a run's arrays."""
    if mangled("words", name) in arrays:
        return Bits(arrays[mangled("words", name)], size)
    return Lists(arrays[mangled("offsets", name)], arrays[mangled("events", name)], size)


def list_before(arrays: Arrays, feed: Feed, name: str, size: int) -> None:
    """Writes a population's spikes before the run into the first rows of what is kept of them."""
    past = past_of(feed)
    before = history(feed, name, size).reshape(-1, past, size)
    kept(arrays, name, size).begin(before)
    raster = arrays.get(mangled("raster", name))
    if raster is not None:
        raster[:, :past] = before


def listed(offsets: Array, channels: Array, places: Array, rows: tuple[int, int], size: int) -> Events:
    """Events of some rows of a kernel's lists. offsets: [trial, row]. places: where each trial's channels begin. size: of a row."""
    offsets = offsets[:, rows[0] : rows[1] + 1]
    counts = offsets[:, -1] - offsets[:, 0]
    starts = np.concatenate([[0], np.cumsum(counts)])
    shifts = places + offsets[:, 0] - starts[:-1]
    found = channels.reshape(-1)[np.repeat(shifts, counts) + np.arange(starts[-1])]
    begins = (offsets[:, :-1] + (starts[:-1] - offsets[:, 0])[:, None]).ravel()
    return Events((len(counts), rows[1] - rows[0], size), np.append(begins, starts[-1]), found)
