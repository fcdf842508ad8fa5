"""Counter-based random streams: the same numbers on every backend and for every batch split.

A stream is named; its key is a hash of (seed, name), its counter the trial and the block of steps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.laws import law
from neuro.compiler.sharing import PART, mapped, spans
from neuro.language.scope import is_uniform
from neuro.model import Drawn

if TYPE_CHECKING:
    from neuro.model import Input, Network

BLOCK = 256  # steps drawn at once
_CHUNK = PART  # numbers drawn at once for connectivity
_SPARE = 5.0  # standard deviations above the expected pairs of a row for which there is room at first


def key(seed: int, name: str) -> npt.NDArray[np.uint64]:
    """The two words that a stream's numbers depend on, besides their places."""
    return np.frombuffer(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16], dtype=np.uint64)


def generator(seed: int, name: str, trial: int = 0, block: int = 0) -> np.random.Generator:
    """A Philox generator for one (seed, stream, trial, block)."""
    counter = np.array([0, 0, trial, block], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key(seed, name), counter=counter))


def pairs(
    seed: int, name: str, p: float, rows: int, columns: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Row and column of each pair that is drawn, with probability p, in ascending order, block by block.

    Each row has its own place in the stream, and is the same however many rows there are. Numbers are drawn for the gaps
    between pairs, which are geometric, so that time and memory follow the number of pairs.
    """
    expected = columns * p
    room = max(1, min(columns, int(expected + _SPARE * (np.sqrt(expected) + 1))))
    return mapped(partial(_pairs_of, seed, name, p, columns, room), spans(rows if p > 0 else 0, max(1, _CHUNK // room)))


def _pairs_of(
    seed: int, name: str, p: float, columns: int, room: int, rows: slice
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    draw, uniform = generator(seed, name), np.empty((rows.stop - rows.start, room))
    for i in range(len(uniform)):
        _move(draw, rows.start + i)
        draw.random(out=uniform[i])
    places = _places(uniform, p, columns)
    row, n = np.nonzero(places < columns)
    parts = [(row + rows.start, places[row, n])]
    for short in np.flatnonzero(places[:, -1] < columns - 1):  # the row goes on
        parts.append(_rest(draw, rows.start + int(short), p, columns, room))
    return _ordered(parts) if len(parts) > 1 else parts[0]


def _places(uniform: npt.NDArray[np.float64], p: float, columns: int) -> npt.NDArray[np.int64]:
    """Columns of the pairs of each row: sums of geometric gaps."""
    with np.errstate(divide="ignore", over="ignore"):
        gaps = np.minimum(np.log1p(-uniform) / np.log1p(-p), columns)
    return np.cumsum(gaps.astype(np.int64) + 1, axis=-1) - 1


def _rest(
    draw: np.random.Generator, row: int, p: float, columns: int, room: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The pairs of a row beyond those of its first `room` numbers."""
    length = room
    while True:
        length *= 2
        _move(draw, row)
        places = _places(draw.random(length), p, columns)
        if places[-1] >= columns - 1:
            places = places[room:]
            places = places[places < columns]
            return np.full(len(places), row), places


def _ordered(
    parts: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    row, column = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    order = np.lexsort((column, row))
    return row[order], column[order]


def _move(draw: np.random.Generator, trial: int) -> None:
    """To the beginning of a trial's (or row's) part of the stream: what generator(..., trial) gives."""
    state: dict[str, Any] = dict(draw.bit_generator.state)
    state["state"] = {"counter": np.array([0, 0, trial, 0], np.uint64), "key": state["state"]["key"]}
    draw.bit_generator.state = state | {"buffer_pos": 4, "has_uint32": 0}


def _blocks(seed: int, name: str, trial: int, first: int, steps: int, size: int, kind: str) -> npt.NDArray[np.float64]:
    parts = []
    begin = first // BLOCK
    for block in range(begin, -(-(first + steps) // BLOCK)):
        draw = generator(seed, name, trial, block)
        shape = (BLOCK, size)
        parts.append(draw.standard_normal(shape) if kind == "normal" else draw.random(shape))
    skipped = first - begin * BLOCK
    return np.concatenate(parts)[skipped : skipped + steps] if parts else np.zeros((0, size))


def normal(
    seed: int, name: str, trial: int, batch: int, steps: int, size: int, first: int = 0
) -> npt.NDArray[np.float64]:
    """Standard normal numbers [batch, time, neuron] for the trials trial, trial + 1, ... and the steps first, first + 1, ..."""
    return np.stack([_blocks(seed, name, trial + b, first, steps, size, "normal") for b in range(batch)])


def uniform(
    seed: int, name: str, trial: int, batch: int, steps: int, size: int, first: int = 0
) -> npt.NDArray[np.float64]:
    """Numbers from 0 to below 1, as `normal` gives standard normal ones."""
    return np.stack([_blocks(seed, name, trial + b, first, steps, size, "uniform") for b in range(batch)])


def poisson_spikes(
    seed: int, name: str, trial: int, batch: int, steps: int, probability: npt.NDArray[np.float64], first: int = 0
) -> npt.NDArray[np.bool_]:
    """Spikes [batch, time, channel]: at most one per step, each with its channel's probability."""
    size = len(probability)  # trial by trial: its numbers take eight times what its spikes do
    return np.concatenate([uniform(seed, name, trial + b, 1, steps, size, first) < probability for b in range(batch)])


def noise(
    network: Network, population: str, name: str, trial: int, batch: int, first: int, last: int
) -> npt.NDArray[np.float64]:
    """A noise's numbers [batch, time, neuron] of the steps from first to last - 1: standard normal, or uniform in [0, 1) where rand() draws it."""
    size, drawn = network.population(population).size, uniform if is_uniform(name) else normal
    return drawn(network.seed, f"noise/{population}/{name}", trial, batch, last - first, size, first)


def synaptic_stream(projection: str, name: str) -> str:
    """The stream of a number that synapses draw."""
    return f"noise/{projection}/{name}"


def synaptic(
    seed: int, projection: str, name: str, trial: int, batch: int, size: int, first: int, last: int
) -> npt.NDArray[np.float64]:
    """Numbers [batch, time, synapse] that each synapse draws: uniform in [0, 1), or standard normal where randn() draws them.

    A synapse's number follows from its place, the trial and the step alone, so that a kernel can draw one without the others: the uniform
    number at its place in the stream's part for this trial and step, or (Box and Muller's) of the two at twice its place.
    """
    keys, normal_, found = key(seed, synaptic_stream(projection, name)), not is_uniform(name), []
    for b in range(batch):
        for step in range(first, last):
            counter = np.array([0, 0, trial + b, step], np.uint64)
            draw = np.random.Generator(np.random.Philox(key=keys, counter=counter))
            found.append(_normal_of(draw.random((size, 2))) if normal_ else draw.random(size))
    return np.reshape(found, (batch, last - first, size))


def _normal_of(pairs_: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of pairs of uniform numbers, the first of which is taken from above 0."""
    radius = np.sqrt(-2.0 * np.log(1.0 - pairs_[:, 0]))
    return np.asarray(radius * np.cos(2.0 * np.pi * pairs_[:, 1]))


def poisson(network: Network, item: Input, trial: int, batch: int, steps: int, first: int = 0) -> npt.NDArray[np.bool_]:
    """Spikes [batch, time, channel] of a Poisson input that has a rate."""
    assert item.rate is not None
    probability = np.broadcast_to(np.asarray(item.rate.value, dtype=np.float64) * network.dt.value, (item.size,))
    return poisson_spikes(network.seed, f"poisson/{item.name}", trial, batch, steps, probability, first)


def draw(seed: int, name: str, distribution: Drawn, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """SI values of a distribution. The first ones are the same however many there are."""
    return joined(partial(drawn, seed, name, distribution), shape)


def drawn(seed: int, name: str, distribution: Drawn, lengths: Iterable[int]) -> Iterator[npt.NDArray[np.float64]]:
    """The same values, so many at once, one part after another."""
    raw, made = law(distribution)
    random = generator(seed, name)
    return mapped(made, (raw(random, n) for n in lengths))


def joined(
    make: Callable[[Iterable[int]], Iterator[npt.NDArray[np.float64]]], shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """What comes in parts, as one array."""
    found = np.empty(math.prod(shape))
    places = list(spans(found.size))
    for place, part in zip(places, make(s.stop - s.start for s in places), strict=True):
        found[place] = part
    return found.reshape(shape)
