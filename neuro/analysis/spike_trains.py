"""How alike two rasters are: coincidence, van Rossum and Victor-Purpura distance, firing rates.

A raster is a bool array [batch, time, neuron]; a pair is the train of one (trial, neuron) in both rasters.
The distances are elephant's; pairs of identical trains have the distance 0 by definition and never reach it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.registry import needed_by

Raster = npt.NDArray[np.bool_]
Steps = npt.NDArray[np.intp]

MS_PER_SECOND = 1e3  # elephant loses digits on times in seconds


class RasterError(Exception):
    """A raster, step or time scale that these measures can't use; the message says which and what would fit."""


@dataclass(frozen=True)
class Coincidence:
    """Shared spikes over the union of the spikes of two rasters, in [0, 1]; 1.0 when both are empty.

    same: shared means the same step. adjacent: shared means at most one step apart, each spike used once.
    shared, shared_adjacent: numbers of such pairs of spikes. spikes: their numbers in the two rasters.
    """

    same: float
    adjacent: float
    shared: int
    shared_adjacent: int
    spikes: tuple[int, int]


@dataclass(frozen=True)
class Distance:
    """A distance averaged over (trial, neuron) pairs.

    mean: over all `pairs`, identical ones counting 0; nan when pairs differ and none was computed. maximum: the
    largest distance computed. pairs: batch * neurons. differing: pairs whose trains differ. computed: those of them
    that went into the mean; fewer than `differing` only when the caller set a limit, and then `mean` is
    an estimate from evenly spaced pairs (`exact` is False).
    """

    mean: float
    maximum: float
    pairs: int
    differing: int
    computed: int

    @property
    def exact(self) -> bool:
        """Whether it was computed for every pair that differs."""
        return self.computed == self.differing

    @property
    def mean_differing(self) -> float:
        """Mean over the differing pairs alone; 0.0 when there are none."""
        return self.mean * self.pairs / self.differing if self.differing else 0.0


@dataclass(frozen=True)
class RateSummary:
    """Firing rates in Hz over neurons, each averaged over trials and time. silent: fraction without any spike."""

    minimum: float
    median: float
    maximum: float
    mean: float
    silent: float


def coincidence(a: npt.ArrayLike, b: npt.ArrayLike) -> Coincidence:
    """Fraction of the spikes in the union of two rasters that occur in both.

    a, b: bool [batch, time, neuron]. Two empty rasters coincide by definition (1.0). With `n` shared spikes the
    fraction is n / (spikes in a + spikes in b - n). For the adjacent figure spikes at most one step apart
    are matched one to one, earliest first, which matches as many as possible.
    Raises RasterError. Source: Jaccard 1912, New Phytologist 11:37-50 (same step); the window follows
    Kistler, Gerstner & van Hemmen 1997, Neural Computation 9:1015-1045, without their correction for chance.
    """
    first, second = _rasters(a, b)
    count = int(np.count_nonzero(first)), int(np.count_nonzero(second))
    same = int(np.count_nonzero(first & second))
    trials, neurons = np.nonzero(np.any(first != second, axis=1))
    left, right = first[trials, :, neurons], second[trials, :, neurons]  # [pair, time]
    adjacent = same - int(np.count_nonzero(left & right)) + _matches(left, right)

    def fraction(shared: int) -> float:
        union = sum(count) - shared
        return shared / union if union else 1.0

    return Coincidence(fraction(same), fraction(adjacent), same, adjacent, count)


def _matches(left: Raster, right: Raster) -> int:
    """Largest one-to-one matching of spikes at most one step apart, summed over rows of [pair, time]."""
    waiting_left = np.zeros(left.shape[0], dtype=np.bool_)
    waiting_right = waiting_left
    matched = 0
    for step in range(left.shape[1]):
        here_left, here_right = left[:, step], right[:, step]
        late_right, late_left = waiting_left & here_right, waiting_right & here_left
        here_left, here_right = here_left & ~late_left, here_right & ~late_right
        both = here_left & here_right
        matched += int(np.count_nonzero(late_right) + np.count_nonzero(late_left) + np.count_nonzero(both))
        waiting_left, waiting_right = here_left & ~both, here_right & ~both
    return matched


def van_rossum(
    a: npt.ArrayLike, b: npt.ArrayLike, dt: float, *, tau: Any = "10 ms", max_pairs: int | None = None
) -> Distance:
    """Van Rossum distance, averaged over (trial, neuron) pairs, computed by elephant.

    a, b: bool [batch, time, neuron]. dt: length of a step in seconds. tau: time constant of the exponential filter, a
    quantity such as "10 ms". max_pairs: compute at most so many differing pairs, evenly spaced (default: all).
    Dimensionless; normalised so that one spike against none is 1, hence sqrt(2 (1 - exp(-|t - t'|/tau))) for
    two single spikes. Raises RasterError. Source: van Rossum 2001, Neural Computation 13:751-763;
    Houghton & Kreuz 2012, Network 23:48-58 (algorithm).
    """
    first, second = _rasters(a, b)
    milliseconds = _scale("tau", tau, "second") * MS_PER_SECOND
    step = _step(dt) * MS_PER_SECOND

    def distance() -> Callable[[Steps, Steps], float]:
        with needed_by("van_rossum"):
            import quantities as pq
            from elephant.spike_train_dissimilarity import van_rossum_distance

        filter_time = milliseconds * pq.ms

        def measure(x: Steps, y: Steps) -> float:
            with warnings.catch_warnings():  # squares of -1e-16, clipped to 0 by elephant
                warnings.filterwarnings("ignore", message="van_rossum_distance: very small negative")
                return float(van_rossum_distance([x * step * pq.ms, y * step * pq.ms], filter_time, sort=False)[0, 1])

        return measure

    return _average(first, second, distance, max_pairs)


def victor_purpura(
    a: npt.ArrayLike, b: npt.ArrayLike, dt: float, *, cost: Any = "100 Hz", max_pairs: int | None = None
) -> Distance:
    """Victor-Purpura distance, averaged over (trial, neuron) pairs, computed by elephant.

    The least cost of turning one train into the other: 1 for each spike inserted or deleted, `cost` * |t - t'| for
    one shifted. a, b: bool [batch, time, neuron]. dt: length of a step in seconds. cost: a rate such as "100 Hz"; at
    100 Hz two spikes further apart than 20 ms count as unrelated. max_pairs: as in `van_rossum`.
    Dimensionless. Raises RasterError. Source: Victor & Purpura 1996, Journal of Neurophysiology 76:1310-1326.
    """
    first, second = _rasters(a, b)
    per_millisecond = _scale("cost", cost, "hertz") / MS_PER_SECOND
    step = _step(dt) * MS_PER_SECOND

    def distance() -> Callable[[Steps, Steps], float]:
        with needed_by("victor_purpura"):
            import quantities as pq
            from elephant.spike_train_dissimilarity import victor_purpura_distance

        rate = per_millisecond / pq.ms

        def measure(x: Steps, y: Steps) -> float:
            return float(victor_purpura_distance([x * step * pq.ms, y * step * pq.ms], rate, sort=False)[0, 1])

        return measure

    return _average(first, second, distance, max_pairs)


def rates(raster: npt.ArrayLike, dt: float) -> RateSummary:
    """Firing rates of a raster.

    raster: bool [batch, time, neuron], none of the axes empty. dt: length of a step in seconds. Returns Hz.
    Raises RasterError.
    """
    spikes = _raster(raster)
    if not spikes.size:
        raise RasterError(f"an empty raster {spikes.shape} has no firing rate; record at least one step of one neuron")
    rate = np.count_nonzero(spikes, axis=(0, 1)) / (spikes.shape[0] * spikes.shape[1] * _step(dt))
    return RateSummary(
        float(rate.min()), float(np.median(rate)), float(rate.max()), float(rate.mean()), float(np.mean(rate == 0))
    )


def interval_cv(raster: npt.ArrayLike) -> float:
    """Irregularity: standard deviation over mean of the intervals between a cell's spikes, averaged over (trial, neuron) pairs with at least two intervals.

    raster: bool [batch, time, neuron]. 1 for a Poisson process, 0 for a clock; nan where no cell fires three times. Dimensionless. Raises RasterError.

    A window that holds few intervals of a cell biases it downwards: a Poisson process of two intervals gives 0.5 on average, since the long ones don't fit in. Compare it with
    the same numbers of spikes at random times. Source: elephant.statistics.cv of each train.
    """
    spikes = _raster(raster)
    trials, neurons, steps = np.nonzero(np.moveaxis(spikes, 2, 1))  # in the order of pairs, then of time
    pair, gaps = trials * spikes.shape[2] + neurons, np.diff(steps).astype(float)
    same = np.diff(pair) == 0
    owner, gaps = np.unique(pair[1:][same], return_inverse=True)[1], gaps[same]
    number = np.bincount(owner)
    mean = np.bincount(owner, gaps) / np.maximum(number, 1)
    variance = np.bincount(owner, (gaps - mean[owner]) ** 2) / np.maximum(number, 1)
    several = number >= 2
    return float(np.mean(np.sqrt(variance[several]) / mean[several])) if several.any() else math.nan


def synchrony(raster: npt.ArrayLike, steps: int) -> float:
    """Variance over mean of the number of spikes of all cells in bins of so many steps; 1 where cells fire independently, as Poisson processes do.

    raster: bool [batch, time, neuron]; what is left of time after the last whole bin isn't counted. nan where nothing fires. Dimensionless. Raises RasterError.
    """
    spikes = _raster(raster)
    bins = spikes.shape[1] // steps if steps > 0 else 0
    if not bins:
        raise RasterError(f"bins of {steps} steps don't fit into {spikes.shape[1]}; give from 1 to as many")
    counts = spikes[:, : bins * steps].reshape(len(spikes), bins, -1).sum(axis=2)
    return float(counts.var() / counts.mean()) if counts.any() else math.nan


def _average(
    a: Raster, b: Raster, distance: Callable[[], Callable[[Steps, Steps], float]], max_pairs: int | None
) -> Distance:
    """Mean over pairs. `distance` imports elephant, so it's called only when a pair differs; equal pairs share work."""
    if max_pairs is not None and max_pairs < 0:
        raise RasterError(f"max_pairs is {max_pairs}; give a number of pairs from 0 on, or None for all")
    pairs = a.shape[0] * a.shape[2]
    trials, neurons = np.nonzero(np.any(a != b, axis=1))
    differing = len(trials)
    if not differing:
        return Distance(0.0, 0.0, pairs, 0, 0)
    if max_pairs is not None and max_pairs < differing:
        chosen = np.arange(max_pairs) * differing // max(max_pairs, 1)
        trials, neurons = trials[chosen], neurons[chosen]
    computed = len(trials)
    if not computed:
        return Distance(math.nan, math.nan, pairs, differing, 0)
    measure = distance()
    known: dict[tuple[bytes, bytes], float] = {}
    values = np.empty(computed)
    for index, (trial, neuron) in enumerate(zip(trials, neurons, strict=True)):
        x, y = np.flatnonzero(a[trial, :, neuron]), np.flatnonzero(b[trial, :, neuron])
        key = x.tobytes(), y.tobytes()
        if key not in known:
            known[key] = measure(x, y)
        values[index] = known[key]
    return Distance(float(values.mean() * (differing / pairs)), float(values.max()), pairs, differing, computed)


def _raster(raster: npt.ArrayLike) -> Raster:
    array = np.asarray(raster)
    if array.ndim != 3:
        raise RasterError(f"a raster has the axes [batch, time, neuron]; this array has the shape {array.shape}")
    if array.dtype != np.bool_:
        raise RasterError(f"a raster holds booleans, this array {array.dtype}; pass for example `array > 0`")
    return array


def _rasters(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Raster, Raster]:
    first, second = _raster(a), _raster(b)
    if first.shape != second.shape:
        raise RasterError(f"the rasters have different shapes, {first.shape} and {second.shape}")
    return first, second


def _step(dt: float) -> float:
    if not (math.isfinite(dt) and dt > 0):
        raise RasterError(f"dt is {dt!r}; give the length of a step in seconds, a positive number")
    return float(dt)


def _scale(name: str, value: Any, unit_name: str) -> float:
    """SI value of a positive quantity of the given unit's dimension."""
    from neuro.language.units import UnitError, quantity, unit

    example = {"second": "10 ms", "hertz": "100 Hz"}[unit_name]
    try:
        found = quantity(value)
    except UnitError as error:
        raise RasterError(f"{name}: {error}") from None
    scalar = found.value
    if found.dimension != unit(unit_name).dimension or not isinstance(scalar, float):
        raise RasterError(f"{name} is {value!r}; write a quantity in {unit_name} such as {example!r}")
    if not (math.isfinite(scalar) and scalar > 0):
        raise RasterError(f"{name} is {value!r}; it must be positive and finite, such as {example!r}")
    return scalar
