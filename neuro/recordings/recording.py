"""What a run gave, as arrays; with times and units, and in the forms of other packages, on request."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuro.display.recordings import html_of
from neuro.language.units import Quantity, unit
from neuro.recordings.columns import columns, shape
from neuro.recordings.spike_times import SpikeTimes, sample_times, spike_times
from neuro.state import State

if TYPE_CHECKING:
    from neuro.recordings.pandas_tables import Tables

Array = npt.NDArray[Any]


class RunError(Exception):
    """A run got arrays that don't fit the network, or left the finite numbers."""


@dataclass(frozen=True)
class Recording:
    """What one run gave.

    A run of a population of parameter sets adds its axis before all others.

    dt: seconds. spikes: population -> bool [batch, time, neuron]. traces: "population.variable" -> SI values
    [batch, time, neuron], "projection.variable" -> [batch, time, pre, post] or [batch, time, synapse], read at the end
    of every `every`-th step: steps every-1, 2*every-1, ... final: parameters
    that the run itself changed (plastic weights), "projection.variable" -> SI values [batch, pre, post] or
    [batch, synapse]. end: gives the state after the last step; it is computed when somebody asks for `state`.
    chosen: of what not all was recorded, name of a trace or population -> indices of the cells or synapses that were,
    int [chosen], or of a dense projection's synapses pairs (pre, post) [chosen, 2]; `chosen` is the only axis after time then.
    units: name of a trace -> its SI unit; empty where nobody said them.
    """

    dt: float
    spikes: Mapping[str, Array] = field(default_factory=dict)
    traces: Mapping[str, Array] = field(default_factory=dict)
    every: int = 1
    final: Mapping[str, Array] = field(default_factory=dict)
    end: Callable[[], State] | None = field(default=None, repr=False, compare=False)
    chosen: Mapping[str, Array] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def state(self) -> State:
        """After the last step: what the next run goes on with. Raises RunError where nobody kept it, such as in a file of an older run."""
        if self.end is None:
            raise RunError("this recording has no state to go on with: it doesn't come from a run")
        return self.end()

    def __getstate__(self) -> dict[str, Any]:
        """Pickled with its state, which is computed now."""
        return vars(self) if self.end is None else vars(self) | {"end": partial(replace, self.state)}

    def of_set(self, p: int) -> Recording:
        """What parameter set p of a population gave."""
        spikes, traces, final = ({n: a[p] for n, a in d.items()} for d in (self.spikes, self.traces, self.final))
        end = None if self.end is None else lambda: self.state.of_set(p)
        return Recording(self.dt, spikes, traces, self.every, final, end, self.chosen, self.units)

    def spike_count(self) -> int:
        """Spikes of all recorded populations, all trials together."""
        return int(sum(int(np.sum(raster)) for raster in self.spikes.values()))

    @property
    def several_sets(self) -> bool:
        """Whether an axis of parameter sets lies before all others."""
        ranks = [len(shape(arrays, name)) for arrays in (self.spikes, self.traces) for name in arrays]
        return min(ranks, default=3) > 3

    @property
    def trials(self) -> int:
        """How many there are of a parameter set."""
        arrays = self.spikes or self.traces
        return int(shape(arrays, next(iter(arrays)))[self.several_sets]) if arrays else 0

    @property
    def steps(self) -> int:
        """Of the clock: those that spikes have, or as many as the samples of traces stand for."""
        if self.spikes:
            return int(shape(self.spikes, next(iter(self.spikes)))[-2])
        return max((np.shape(t)[1 + self.several_sets] for t in self.traces.values()), default=0) * self.every

    def times(self, population: str) -> SpikeTimes:
        """When a population fired: `times("E").to("ms")` [spike], `.trial` and `.cell` beside it, `.of(trial=0, cell=3)` with units.

        Raises RunError.
        """
        self._check("spikes", population)
        return spike_times(self.spikes, population, self.dt, self.chosen.get(population))

    def trace(self, name: str, unit_text: str = "") -> Any:
        """A trace with its unit, a Quantity shaped as in `traces`; in a unit that is named ("mV"), as an array of plain numbers.

        Raises RunError, UnitError.
        """
        self._check("traces", name)
        if name not in self.units:
            raise RunError(f"nobody said which unit '{name}' has; its SI values are recording.traces['{name}']")
        one = unit(self.units[name])
        found = Quantity(np.asarray(self.traces[name], np.float64), one.dimension, one.unit)
        return found.to(unit_text) if unit_text else found

    def sample_times(self, name: str) -> Quantity:
        """When a trace was read, seconds [sample]; what is of step k has the time k*dt. Raises RunError."""
        self._check("traces", name)
        return sample_times(self.every, self.dt, self.traces[name].shape[1])

    def columns(self, name: str) -> tuple[Array, list[int | str]]:
        """A trace as [trial, time, column], SI, and which cell or synapse each column is: its number, or "pre, post" where synapses have both. Raises RunError."""
        self._check("traces", name)
        return columns(self, name)

    def _check(self, kind: str, name: str) -> None:
        """Raises RunError where nothing of that name was recorded, or by several parameter sets."""
        held = getattr(self, kind)
        if name not in held:
            what = "raster" if kind == "spikes" else "trace"
            raise RunError(f"no {what} '{name}' was recorded; the recording has {', '.join(held) or 'none'}")
        if self.several_sets:
            raise RunError("this recording is of several parameter sets; choose one: recording.of_set(0)")

    def to_neo(self) -> Any:
        """A neo.Block: a segment for each trial, with spike trains and analog signals. Raises RunError, MissingPackageError."""
        from neuro.recordings.neo_blocks import block_of

        return block_of(self)

    def to_pandas(self) -> Tables:
        """Two tables, `spikes` and `traces` (neuro.recordings.pandas_tables.Tables). Raises RunError, MissingPackageError (extra `pandas`)."""
        from neuro.recordings.pandas_tables import tables_of

        return tables_of(self)

    def to_nwb(self, path: str | os.PathLike[str], **about: Any) -> Path:
        """Write an NWB file, its trials one after another; returns the path. about: arguments of pynwb.NWBFile, such as session_description.

        Raises RunError, MissingPackageError (extra `nwb`).
        """
        from neuro.recordings.nwb_files import write_nwb

        return write_nwb(self, path, about)

    def _repr_html_(self) -> str:
        return html_of(self)
