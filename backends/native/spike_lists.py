"""Spikes as a kernel's lists: offsets and channels, row by row; those on their way when a run begins are in the first rows."""

from __future__ import annotations

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


def list_before(arrays: Arrays, feed: Feed, name: str, size: int) -> None:
    """Writes a population's spikes before the run into the first rows of its lists and of its raster."""
    past = past_of(feed)
    before = history(feed, name, size).reshape(-1, past, size)
    events = Events.of(before)
    bounds = events.offsets[np.arange(len(before))[:, None] * past + np.arange(past + 1)]
    rows = arrays[mangled("offsets", name)]
    rows[:, : past + 1] = bounds - bounds[:, :1]
    trial = np.repeat(np.arange(len(before)), rows[:, past])
    place = np.arange(len(events.channels)) - bounds[trial, 0]
    arrays[mangled("events", name)].reshape(len(before), -1)[trial, place] = events.channels
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


def packed(spikes: Array) -> Array:
    """bool [..., cell] as bits: int32 [..., word], of which bit i % 32 of word i / 32 is cell i."""
    octets = np.packbits(spikes, axis=-1, bitorder="little")
    whole = np.zeros((*spikes.shape[:-1], -(-spikes.shape[-1] // 32) * 4), np.uint8)
    whole[..., : octets.shape[-1]] = octets
    return whole.view("<i4").astype(np.int32)
