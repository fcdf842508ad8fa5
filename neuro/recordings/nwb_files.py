"""A recording as a file of Neurodata Without Borders."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from neuro.registry import needed


def write_nwb(recording: Any, path: str | os.PathLike[str], about: dict[str, Any]) -> Path:
    """Write an NWB file, whole or not at all. Trials follow each other in its time, as its table of trials says.

    /units: a row for each cell with spikes to record, `population` and `cell` beside its times. /acquisition: a TimeSeries for each trace, [time, column] in SI, in whose
    comments stands which cell or synapse each column is. recording: of one parameter set. about: arguments of pynwb.NWBFile instead of ours. Raises MissingPackageError.
    """
    pynwb = needed("to_nwb()", "pynwb")
    given = {
        "session_description": "a simulated network (twinspike)", "identifier": str(uuid4()), "session_start_time": datetime.now(UTC),
    }  # fmt: skip
    file = pynwb.NWBFile(**{**given, **about})
    length = recording.steps * recording.dt
    for trial in range(recording.trials):
        file.add_trial(start_time=trial * length, stop_time=(trial + 1) * length)
    if recording.spikes:
        file.add_unit_column("population", "name of the population")
        file.add_unit_column("cell", "index within the population, from 0")
    for name in recording.spikes:
        found = recording.times(name)
        when = found.to("second") + found.trial * length
        order = np.lexsort((when, found.cell))
        cells, sorted_times = found.cell[order], when[order]
        whole = [[0.0, recording.trials * length]]
        for cell in found.cells:
            first, last = np.searchsorted(cells, cell, "left"), np.searchsorted(cells, cell, "right")
            file.add_unit(population=name, cell=int(cell), spike_times=sorted_times[first:last], obs_intervals=whole)
    for name in recording.traces:
        file.add_acquisition(_series(pynwb, recording, name, length))
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part.nwb")
    try:
        with pynwb.NWBHDF5IO(str(temporary), "w") as stream:
            stream.write(file)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


def _series(pynwb: Any, recording: Any, name: str, length: float) -> Any:
    values, labels = recording.columns(name)
    samples = values.shape[1]
    own = (np.arange(1, samples + 1) * recording.every - 1) * recording.dt
    when = (np.arange(recording.trials)[:, None] * length + own).ravel()
    return pynwb.TimeSeries(
        name=name.replace("/", " of "), data=values.reshape(-1, values.shape[2]), unit=recording.units.get(name, "1"), timestamps=when,
        comments=f"columns: {'; '.join(map(str, labels))}",
    )  # fmt: skip
