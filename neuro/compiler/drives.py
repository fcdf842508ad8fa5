"""Drives: how many events of a cell's sources fall into a step, drawn by inversion of one uniform number.

The cumulative probabilities are sums and products in float64, in one order, so that every backend and every machine has the same
table, and the same counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.caching import per_object
from neuro.checks.common import plain
from neuro.compiler import streams
from neuro.language.equations import ModelError
from neuro.language.mangling import mangled
from neuro.model import Input, Network

Reals = npt.NDArray[np.float64]
_REACH = 40.0  # standard deviations, and events, within which probabilities are summed
_RESOLUTION = 2.0**-54  # below half of the least uniform number that isn't 0
_LARGEST = 2**25  # entries of all tables of one drive


def weight_of(drive: str) -> str:
    """What the cells call a drive's weight, a parameter of theirs."""
    return mangled("weight", drive)


def count_of(drive: str) -> str:
    """What they call its count of a step."""
    return mangled("count", drive)


def stream_of(drive: str) -> str:
    """The random stream of its uniform numbers."""
    return f"drive/{drive}"


def cumulative(mean: float) -> tuple[int, Reals]:
    """The least count that is drawn, and P(count <= it), P(count <= it + 1), ... up to 1, of Poisson's law with this mean."""
    reach, mode = _REACH * (np.sqrt(mean) + 1), int(mean)
    least, most = max(0, int(mean - reach)), int(mean + reach)
    below = np.arange(mode, least, -1.0) / mean if mean else np.zeros(0)
    above = mean / np.arange(mode + 1.0, most + 1)
    return _summed(least, below, above)


def binomial(mean: float, sources: int) -> tuple[int, Reals]:
    """The same of the law of a sum of so many sources that have one event or none."""
    p = min(mean / sources, 1.0)
    reach, mode = _REACH * (np.sqrt(mean * (1 - p)) + 1), min(int(mean + p), sources)
    least, most = max(0, int(mean - reach)), min(int(mean + reach), sources)
    fewer, more = np.arange(mode, least, -1.0), np.arange(mode + 1.0, most + 1)
    below = fewer / (sources - fewer + 1) * ((1 - p) / p) if mean else np.zeros(0)
    above = (sources - more + 1) / more * (p / (1 - p)) if p < 1 else np.zeros(0)
    return _summed(least, below, above)


def _summed(least: int, below: npt.NDArray[Any], above: npt.NDArray[Any]) -> tuple[int, Reals]:
    """From the ratios of neighbouring probabilities, from the mode downwards and upwards."""
    sums = np.cumsum(np.concatenate([np.cumprod(below)[::-1], [1.0], np.cumprod(above)]))
    found = sums / sums[-1]
    first, last = np.searchsorted(found, (_RESOLUTION, 1.0))
    return least + int(first), found[first : last + 1]


@dataclass(frozen=True, eq=False)
class Law:
    """A drive's counts. means: of a step, each once. cell: which of them is a cell's; None where all have one. sources: of the binomial
    law; None for Poisson's.
    """

    means: Reals
    cell: npt.NDArray[np.intp] | None
    sources: int | None = None

    @cached_property
    def tables(self) -> tuple[tuple[int, Reals], ...]:
        """Of each mean: see `cumulative`."""
        if self.sources is None:
            return tuple(cumulative(float(mean)) for mean in self.means)
        return tuple(binomial(float(mean), self.sources) for mean in self.means)

    def counts(self, uniform: Reals) -> Reals:
        """Whole numbers in the place of uniform ones [..., cell]."""
        if self.cell is None:
            ((least, table),) = self.tables
            return least + np.searchsorted(table, uniform, side="right").astype(np.float64)
        found = np.empty_like(uniform)
        order = np.argsort(self.cell, kind="stable")
        ends = np.searchsorted(self.cell[order], np.arange(len(self.means) + 1))
        for (least, table), begin, end in zip(self.tables, ends[:-1], ends[1:], strict=True):
            cells = order[begin:end]
            found[..., cells] = least + np.searchsorted(table, uniform[..., cells], side="right")
        return found


def laws(network: Network) -> dict[str, Law]:
    """Those of a network's drives, by name; computed once. Raises ModelError where the cells have too many different ones."""
    return _laws(network)


@per_object
def _laws(network: Network) -> dict[str, Law]:
    return {i.name: _law(i, float(network.dt.value)) for i in network.inputs if i.kind == "drive"}


def _law(item: Input, dt: float) -> Law:
    mean = np.asarray(item.rate.value if item.rate is not None else 0.0, np.float64) * item.sources * dt
    means, cell = np.unique(mean, return_inverse=True)
    if float(np.sum(20 * (np.sqrt(means) + 1))) > _LARGEST:
        message = f"{len(means)} different rates, of up to {means[-1]:g} events a step, need tables of gigabytes"
        raise ModelError([plain(f"input '{item.name}', rate", message, "give fewer different rates, or lower ones")])
    sources = item.sources if item.law == "binomial" else None
    return Law(means, cell.reshape(-1) if len(means) > 1 else None, sources)


def counts(network: Network, drive: str, trial: int, batch: int, steps: int, first: int = 0) -> Reals:
    """Counts [batch, time, cell] for the trials trial, trial + 1, ... and the steps first, first + 1, ..."""
    size = network.input(drive).size
    return laws(network)[drive].counts(
        streams.uniform(network.seed, stream_of(drive), trial, batch, steps, size, first)
    )
