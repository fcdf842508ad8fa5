"""A recording as notebooks show it."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro.display import svg
from neuro.display.html import block, table
from neuro.display.labels import in_usual

MOST = 4  # pictures of each kind
_CURVES = 3  # in one picture


def html_of(recording: Any) -> str:
    """A Recording: what it holds, the rasters and traces of its first trial. Of several parameter sets, what it holds."""
    if recording.several_sets:
        rows: list[tuple[Any, ...]] = [
            (n, str(np.shape(a)), recording.units.get(n, "?")) for n, a in recording.traces.items()
        ]
        title = "recording of several parameter sets; recording.of_set(0) is what the first gave"
        return block(title, table(("trace", "shape", "unit"), rows))
    spikes = {name: recording.times(name) for name in recording.spikes}
    traces = {name: recording.columns(name) for name in recording.traces}
    rows = [(n, len(t.cells), len(t), _mean(t.rates().to("Hz"))) for n, t in spikes.items()]
    parts = [_raster(name, times) for name, times in spikes.items() if len(times) and times.trials]
    parts = parts[:MOST] + [_curves(recording, name, *traces[name]) for name in list(traces)[:MOST]]
    return block(
        f"recording: {recording.trials} trials of {recording.steps} steps of {recording.dt * 1e3:g} ms",
        table(("population", "cells", "spikes", "mean rate (Hz)"), rows),
        table(
            ("trace", "trials x samples x columns", "unit", "least", "largest"),
            [_row(recording, n, v) for n, (v, _) in traces.items()],
        ),
        *(f"<div>{part}</div>" for part in parts),
    )


def _row(recording: Any, name: str, values: Any) -> tuple[Any, ...]:
    shown, unit = in_usual(values, recording.units.get(name))
    least, largest = (float(f(shown)) if shown.size else float("nan") for f in (np.min, np.max))
    return name, " x ".join(map(str, values.shape)), unit, least, largest


def _mean(values: Any) -> float:
    return float(np.mean(values)) if np.size(values) else float("nan")


def _raster(name: str, times: Any) -> str:
    first = times.trial == 0
    place = {int(cell): row for row, cell in enumerate(times.cells)}
    rows = [place[int(cell)] for cell in times.cell[first]]
    end = times.steps * times.dt * 1e3
    return svg.raster(times.to("ms")[first], rows, len(times.cells), end, "time (ms)", "cell", f"{name}, trial 0")


def _curves(recording: Any, name: str, values: Any, labels: list[Any]) -> str:
    if not len(values):
        return ""
    time = recording.sample_times(name).to("ms")
    shown, unit = in_usual(values[0], recording.units.get(name))
    series = {str(label): (time, shown[:, i]) for i, label in enumerate(labels[:_CURVES])}
    return svg.lines(series, "time (ms)", f"{name} ({unit})", f"{name}, trial 0")
