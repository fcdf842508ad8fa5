"""A recording as pandas' tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from neuro.recordings.spike_times import sample_times
from neuro.registry import needed


class Tables(NamedTuple):
    """spikes: a row for each, with `population`, `trial`, `cell` and `time`. traces: rows by `trial` and `time`, columns by `trace` and `cell` (of synapses: number, or
    "pre, post"). Times are seconds and values SI; `traces.attrs["units"]` says of what, by name of a trace.
    """

    spikes: Any
    traces: Any


def tables_of(recording: Any) -> Tables:
    """Both tables. recording: of one parameter set. Raises MissingPackageError."""
    pandas = needed("to_pandas()", "pandas")
    rows: dict[str, list[Any]] = {"population": [], "trial": [], "cell": [], "time": []}
    for name in recording.spikes:
        found = recording.times(name)
        parts = (np.full(len(found), name, dtype=object), found.trial, found.cell, found.to("second"))
        for column, part in zip(rows.values(), parts, strict=True):
            column.append(part)
    empty = {"population": object, "trial": int, "cell": int, "time": float}
    spikes = pandas.DataFrame(
        {n: np.concatenate(parts) if parts else np.zeros(0, empty[n]) for n, parts in rows.items()}
    )
    spikes.attrs["units"] = {"time": "second"}
    return Tables(spikes, _traces(pandas, recording))


def _traces(pandas: Any, recording: Any) -> Any:
    blocks: list[Any] = []
    labels: list[tuple[str, int | str]] = []
    samples = 0
    for name in recording.traces:
        values, own = recording.columns(name)
        samples = values.shape[1]
        blocks.append(values.reshape(-1, values.shape[2]))
        labels += [(name, label) for label in own]
    times = sample_times(recording.every, recording.dt, samples).to("second")
    rows = pandas.MultiIndex.from_product(
        [range(recording.trials if recording.traces else 0), times], names=["trial", "time"]
    )
    held = pandas.MultiIndex.from_tuples(labels, names=["trace", "cell"])
    table = pandas.DataFrame(np.concatenate(blocks, axis=1) if blocks else None, index=rows, columns=held)
    table.attrs["units"] = {name: recording.units.get(name, "1") for name in recording.traces}
    return table
