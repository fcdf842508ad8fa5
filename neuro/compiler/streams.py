"""Counter-based random streams: the same numbers on every backend and for every batch split.

A stream is named; its key is a hash of (seed, name), its counter the trial and the block of steps.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.special

from neuro.language.scope import is_uniform
from neuro.model import Drawn, LogNormal, Normal, Uniform

if TYPE_CHECKING:
    from neuro.model import Input, Network

BLOCK = 256  # steps drawn at once
_CHUNK = 2**20  # numbers drawn at once for connectivity
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
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of each pair that is drawn, with probability p, in ascending order.

    Each row has its own place in the stream, and is the same however many rows there are. Numbers are drawn for the gaps
    between pairs, which are geometric, so that time and memory follow the number of pairs.
    """
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    expected = columns * p
    room = max(1, min(columns, int(expected + _SPARE * (np.sqrt(expected) + 1))))
    chunk = max(1, _CHUNK // room)
    draw = generator(seed, name)
    for first in range(0, rows if p > 0 else 0, chunk):
        number = min(chunk, rows - first)
        uniform = np.empty((number, room))
        for i in range(number):
            _move(draw, first + i)
            draw.random(out=uniform[i])
        places = _places(uniform, p, columns)
        row, n = np.nonzero(places < columns)
        parts = [(row + first, places[row, n])]
        for short in np.flatnonzero(places[:, -1] < columns - 1):  # the row goes on
            parts.append(_rest(draw, first + int(short), p, columns, room))
        found += [_ordered(parts)] if len(parts) > 1 else parts
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


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
    """A noise's numbers [batch, time, neuron] of the steps from first to last - 1: standard normal, or uniform in [0, 1) where it is rand()."""
    size, drawn = network.population(population).size, uniform if is_uniform(name) else normal
    return drawn(network.seed, f"noise/{population}/{name}", trial, batch, last - first, size, first)


def poisson(network: Network, item: Input, trial: int, batch: int, steps: int, first: int = 0) -> npt.NDArray[np.bool_]:
    """Spikes [batch, time, channel] of a Poisson input that has a rate."""
    assert item.rate is not None
    probability = np.broadcast_to(np.asarray(item.rate.value, dtype=np.float64) * network.dt.value, (item.size,))
    return poisson_spikes(network.seed, f"poisson/{item.name}", trial, batch, steps, probability, first)


def draw(seed: int, name: str, distribution: Drawn, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """SI values of a distribution. The first ones are the same however many there are."""
    random = generator(seed, name)
    match distribution:
        case Uniform(low=low, high=high):
            found = np.asarray(random.random(shape))
            found *= high.value - low.value
            found += low.value
            return found
        case Normal(outside="redraw"):
            return _between(random, distribution, shape)
        case Normal(mean=mean, std=std):
            found = np.asarray(random.standard_normal(shape))
            found *= std.value
            found += mean.value
        case LogNormal(mean=mean, std=std):
            variance = np.log1p((std.value / mean.value) ** 2)
            found = mean.value * np.exp(np.sqrt(variance) * random.standard_normal(shape) - variance / 2)
        case _:
            mean, std = distribution.mean, distribution.std
            found = std.value / mean.value * std.value * random.standard_gamma((mean.value / std.value) ** 2, shape)
    return _clipped(np.asarray(found), distribution)


def _clipped(values: npt.NDArray[np.float64], distribution: Any) -> npt.NDArray[np.float64]:
    low, high = (None if end is None else end.value for end in (distribution.low, distribution.high))
    return values if low is None and high is None else np.clip(values, low, high, out=values)


def _between(random: np.random.Generator, item: Normal, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """A normal distribution between its limits, by the inverse of its distribution function."""
    if not item.std.value:
        return np.full(shape, float(item.mean.value))
    low, high = (
        limit if end is None else float((end.value - item.mean.value) / item.std.value)
        for end, limit in ((item.low, -np.inf), (item.high, np.inf))
    )
    side = -1.0 if low > 0 else 1.0  # the share below a limit is precise where it is small
    first, last = sorted((scipy.special.ndtr(side * low), scipy.special.ndtr(side * high)))
    found = np.asarray(random.random(shape))
    found *= last - first
    found += first
    scipy.special.ndtri(found, out=found)
    found *= side * item.std.value
    found += item.mean.value
    return _clipped(found, item)
