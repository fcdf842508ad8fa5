"""When cells fired: the spikes of a population as times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from neuro.events import Rasters
from neuro.language.units import Quantity, unit

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class SpikeTimes:
    """The spikes of one population, ordered by trial, then by time, then by cell.

    trial, step, cell: whole numbers [spike]. dt: seconds; a spike of step k has the time k*dt, as in Brian2 and in the file. trials, steps: of the
    recording. cells: indices of those that were recorded.
    """

    trial: Array
    step: Array
    cell: Array
    dt: float
    trials: int
    steps: int
    cells: Array

    def __len__(self) -> int:
        return len(self.step)

    @property
    def time(self) -> Quantity:
        """Seconds [spike]."""
        return Quantity(self.step * self.dt, unit("second").dimension, "second")

    def to(self, text: str) -> Array:
        """Times [spike] as plain numbers in a unit, such as "ms". Raises UnitError."""
        return cast(Array, self.time.to(text))

    def of(self, trial: int = 0, cell: int | None = None) -> Quantity:
        """Times of one trial, of one cell where one is named. Raises IndexError for what wasn't recorded."""
        if not 0 <= trial < self.trials:
            raise IndexError(f"no trial {trial}; the recording has the trials 0 to {self.trials - 1}")
        if cell is not None and cell not in self.cells:
            raise IndexError(f"no cell {cell} was recorded; {len(self.cells)} were, {_range(self.cells)}")
        return self.time[(self.trial == trial) & (True if cell is None else self.cell == cell)]

    def trains(self, trial: int = 0) -> dict[int, Quantity]:
        """Each recorded cell's times in a trial, silent cells' too. Raises IndexError."""
        times, cells = self.of(trial), self.cell[self.trial == trial]
        order = np.argsort(cells, kind="stable")
        sorted_cells = cells[order]
        first, last = (np.searchsorted(sorted_cells, self.cells, side=side) for side in ("left", "right"))
        return {int(c): times[order[i:j]] for c, i, j in zip(self.cells, first, last, strict=True)}

    def intervals(self) -> Quantity:
        """Times between a cell's spikes in one trial, of all cells and trials [interval]."""
        order = np.lexsort((self.step, self.cell, self.trial))
        trial, cell, step = self.trial[order], self.cell[order], self.step[order]
        same = (np.diff(trial) == 0) & (np.diff(cell) == 0)
        return Quantity(np.diff(step)[same] * self.dt, unit("second").dimension, "second")

    def rates(self) -> Quantity:
        """Mean firing rate of each recorded cell over time and trials [cell]; of no steps, nan."""
        counts = np.bincount(np.searchsorted(np.sort(self.cells), self.cell), minlength=len(self.cells))
        counts = counts[np.argsort(np.argsort(self.cells))]
        rates: Any = counts / (self.trials * self.steps * self.dt or np.nan)
        return Quantity(rates, unit("hertz").dimension, "hertz")


def spike_times(spikes: Mapping[str, Any], name: str, dt: float, chosen: Array | None) -> SpikeTimes:
    """Of a population's raster [trial, time, neuron], or of its events, of which none is made a raster. chosen: cells that are its columns."""
    if isinstance(spikes, Rasters):
        events = spikes.events[name]
        trials, steps, size = events.shape
        row = np.repeat(np.arange(trials * steps), np.diff(events.offsets))
        places: tuple[Array, ...] = (*np.divmod(row, max(steps, 1)), events.channels)
    else:
        raster = np.asarray(spikes[name])
        trials, steps, size = raster.shape
        places = np.nonzero(raster)
    trial, step, column = places
    cells = np.arange(size) if chosen is None else np.asarray(chosen)
    return SpikeTimes(trial, step, cells[column], dt, trials, steps, cells)


def sample_times(every: int, dt: float, samples: int) -> Quantity:
    """When the samples of a trace were taken [sample]: that of step k has the time k*dt, as in Brian2 and in the file."""
    steps = np.arange(1, samples + 1, dtype=np.float64) * every - 1
    return Quantity(steps * dt, unit("second").dimension, "second")


def _range(cells: Array) -> str:
    return f"from {int(np.min(cells))} to {int(np.max(cells))}" if len(cells) else "none"
