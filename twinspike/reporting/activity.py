"""What cells did: rasters, traces, rates and intervals of the recording that a run file holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from twinspike.reporting import figures
from twinspike.reporting.page import Page, heading, note

POPULATIONS, TRACES, CURVES = 5, 6, 5
BINS = 200  # of a rate over time


def add_activity(page: Page, recording: Any, trial: int, divergence: float | None) -> None:
    """Sections `Activity` and `Rates`. trial: the one that is shown. divergence: time (ms) of the first difference that a comparison found in it."""
    from neuro.display.svg import COLOURS

    plots: list[Any] = []
    end = recording.steps * recording.dt * 1e3
    names = list(recording.spikes)[:POPULATIONS]
    for index, name in enumerate(names):
        times = recording.times(name)
        here = times.trial == trial
        place = {int(cell): row for row, cell in enumerate(times.cells)}
        rows = [place[int(cell)] for cell in times.cell[here]]
        plots.append(
            figures.raster(
                times.to("ms")[here], rows, len(times.cells), end, title=f"spikes of {name}",
                colour=COLOURS[index % len(COLOURS)], **_shared(plots),
            )
        )  # fmt: skip
    plots += [made for name in list(recording.traces)[:TRACES] if (made := _trace(recording, name, trial, plots))]
    if divergence is not None:
        for plot in plots:
            figures.marked(plot, divergence)
    mark = "" if divergence is None else "Dashed: where the comparison found the first difference. "
    left = max(0, len(recording.spikes) - POPULATIONS), max(0, len(recording.traces) - TRACES)
    page.add(
        "Activity",
        note(
            f"Trial {trial} of {recording.trials}; drag over a stretch to zoom, all plots follow. {mark}{_left_out(*left)}"
        ),
        page.place(figures.together(plots)) if plots else "",
    )
    if names:
        _add_rates(page, recording, names)


def _shared(plots: list[Any]) -> dict[str, Any]:
    """The range of the first plot, which the others follow."""
    return {"x_range": plots[0].x_range} if plots else {}


def _left_out(populations: int, traces: int) -> str:
    parts = [f"{n} {what}" for n, what in ((populations, "populations"), (traces, "traces")) if n]
    return f"Not shown: {' and '.join(parts)}." if parts else ""


def _trace(recording: Any, name: str, trial: int, plots: list[Any]) -> Any:
    from neuro.display.labels import in_usual

    values, labels = recording.columns(name)
    if trial >= len(values) or not values.size:
        return None
    shown, unit = in_usual(values[trial], recording.units.get(name))
    held = recording.spikes.get(name.rpartition(".")[0])
    order: Any = range(len(labels))
    if held is not None and np.shape(held)[2] == len(labels):
        order = np.argsort(-np.count_nonzero(np.asarray(held)[trial], axis=0), kind="stable")
    time = recording.sample_times(name).to("ms")
    series = {str(labels[column]): (time, shown[:, column]) for column in sorted(list(order)[:CURVES])}
    return figures.curves(series, "time (ms)", f"{name.rpartition('.')[2]} ({unit})", title=name, **_shared(plots))


def _add_rates(page: Page, recording: Any, names: list[str]) -> None:
    """Rates over time, their distribution over cells, intervals."""
    from neuro.display.html import table
    from neuro.plot import binned_rates

    size = max(1, recording.steps // BINS)
    over_time = {name: binned_rates(recording, name, size) for name in names}
    width = size * recording.dt * 1e3
    found = {name: recording.times(name) for name in names}
    rows = [
        (n, len(t.cells), len(t), _mean(t.rates().to("Hz")), _share(t.rates().to("Hz") == 0), _irregular(recording, n))
        for n, t in found.items()
    ]
    plots = [
        figures.curves(
            over_time, "time (ms)", "firing rate (Hz)", title=f"mean over cells and trials, bins of {width:g} ms"
        )
    ]
    plots.append(
        figures.histogram(
            {n: t.rates().to("Hz") for n, t in found.items()}, "firing rate (Hz)", "cells", title="rates of cells"
        )
    )
    plots.append(
        figures.histogram({n: t.intervals().to("ms") for n, t in found.items()}, "interval between spikes (ms)", "intervals", title="intervals between a cell's spikes")
    )  # fmt: skip
    page.add(
        "Rates and intervals",
        table(("population", "cells", "spikes", "mean rate (Hz)", "silent cells", "CV of intervals"), rows),
        heading("All trials"),
        page.place(figures.together([plot for plot in plots if plot is not None])),
    )


def _mean(values: Any) -> float:
    return float(np.mean(values)) if np.size(values) else float("nan")


def _share(values: Any) -> str:
    return f"{100 * _mean(values):.1f} %"


def _irregular(recording: Any, name: str) -> float:
    from neuro.analysis.spike_trains import interval_cv

    return interval_cv(np.asarray(recording.spikes[name], bool))
