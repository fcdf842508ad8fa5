"""Spikes as a kernel's lists: offsets and channels, row by row; those on their way when a run begins are in the first rows."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
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


def list_before(arrays: Arrays, feed: Feed, name: str, size: int, placed: Callable[[Array], Any]) -> None:
    """Writes a population's spikes before the run into the first rows of its lists and of its raster. placed: an array beside those."""
    past = past_of(feed)
    before = history(feed, name, size).reshape(-1, past, size)
    events = Events.of(before)
    bounds = events.offsets[np.arange(len(before))[:, None] * past + np.arange(past + 1)]
    counts = bounds[:, past] - bounds[:, 0]
    arrays[mangled("offsets", name)][:, : past + 1] = placed(bounds - bounds[:, :1])
    trial = np.repeat(np.arange(len(before)), counts)
    place = np.arange(len(events.channels)) - bounds[trial, 0]
    lists = arrays[mangled("events", name)].reshape(len(before), -1)
    lists[placed(trial), placed(place)] = placed(events.channels)
    raster = arrays.get(mangled("raster", name))
    if raster is not None:
        raster[:, :past] = placed(before)


def listed(
    offsets: Array, channels: Any, places: Array, rows: tuple[int, int], size: int,
    pick: Callable[[Any, Array, Array], Array] | None = None,
) -> Events:  # fmt: skip
    """Events of some rows of a kernel's lists. offsets: [trial, row]. places: where each trial's channels begin. size: of a row.

    pick: see `picked`.
    """
    offsets = offsets[:, rows[0] : rows[1] + 1]
    counts = offsets[:, -1] - offsets[:, 0]
    starts = np.concatenate([[0], np.cumsum(counts)])
    found = (pick or picked)(channels.reshape(-1), places + offsets[:, 0] - starts[:-1], counts)
    begins = (offsets[:, :-1] + (starts[:-1] - offsets[:, 0])[:, None]).ravel()
    return Events((len(counts), rows[1] - rows[0], size), np.append(begins, starts[-1]), found)


def picked(channels: Array, shifts: Array, counts: Array) -> Array:
    """Parts of an array one after another. counts: of the numbers of each. shifts: from a number's place in what is found to its place in the array."""
    return channels[np.repeat(shifts, counts) + np.arange(counts.sum())]


def places_of(lists: Any) -> Array:
    """Where each trial's channels begin. lists: [trial, row, cell]."""
    return np.arange(len(lists)) * prod(lists.shape[1:])
