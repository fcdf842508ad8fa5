"""The page about many runs: the table of a merged file, how results depend on each setting, and curves of the best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from twinspike import cli
from twinspike.reporting import figures
from twinspike.reporting.page import Page, heading, note

SETTINGS, BEST = 12, 6
_ROWS = 300
_MARKS = 10  # values of a setting, up to which each has its mark on the axis
_DECADES = 20  # largest over least of a setting's values, from where on its axis is logarithmic


def page_of(path: Path, metric: str = "", least: bool = False) -> Page:
    """metric: that runs are ordered by; default test accuracy, else the first. least: whether less of it is better. Raises ResultsError, UserError."""
    from neuro.display.html import escape, table
    from neuro.io.merging import read_table

    columns = {name: list(values) for name, values in read_table(path).items()}
    metrics = [name.removeprefix("final ") for name in columns if name.startswith("final ")]
    chosen = _metric(metric, metrics)
    page = Page(f"{path.name}: {len(next(iter(columns.values()), []))} runs")
    results = np.asarray(columns.get(f"final {chosen}", []), np.float64)
    page.lead = (
        f"<p>Ordered by the last {escape(chosen)}, {'least' if least else 'largest'} first.</p>" if chosen else ""
    )
    order = sorted(range(len(results)), key=lambda i: (math.isnan(results[i]), results[i] if least else -results[i]))
    order = order or list(range(len(next(iter(columns.values()), []))))
    shown = _shown(columns, metrics, chosen)
    rows = [[_plain(columns[name][i]) for name in shown] for i in order]
    page.add("Runs", f'<div class="wide">{table(shown, rows, most=_ROWS)}</div>')
    if chosen:
        _add_settings(page, columns, shown, results, chosen)
        _add_curves(page, path, columns, order, chosen)
    return page


def _metric(wanted: str, metrics: list[str]) -> str:
    from neuro.options import hint

    if wanted and wanted not in metrics:
        raise cli.UserError(f"--metric {wanted}: the table has no such metric; {hint(wanted, metrics)}")
    return wanted or ("test_accuracy" if "test_accuracy" in metrics else next(iter(metrics), ""))


def _shown(columns: dict[str, list[Any]], metrics: list[str], chosen: str) -> list[str]:
    """Columns that differ between runs, and those of the chosen metric; of other metrics the final value."""
    hidden = {f"{kind} {m}" for m in metrics if m != chosen for kind in ("least", "largest")}
    return [
        name
        for i, (name, values) in enumerate(columns.items())
        if i == 0 or (name != "path" and name not in hidden and len({str(v) for v in values}) > 1)
    ]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _add_settings(page: Page, columns: dict[str, list[Any]], shown: list[str], results: Any, chosen: str) -> None:
    """The metric against each setting whose numbers differ."""
    plots: list[Any] = []
    for name in shown[1:]:
        values = columns[name]
        numbers = all(isinstance(v, int | float | np.number) for v in values)
        if not numbers or name.startswith(("final ", "least ", "largest ")) or len({float(v) for v in values}) < 2:
            continue
        x = np.asarray(values, np.float64)
        known = np.isfinite(x) & np.isfinite(results)
        if known.any() and len(plots) < SETTINGS:
            wide = (x[known] > 0).all() and x[known].max() > _DECADES * x[known].min()
            scale: dict[str, Any] = {"x_axis_type": "log"} if wide else {}
            plot = figures.blank(name, chosen, title=f"{chosen} and {name}", **scale)
            plot.scatter(x[known], results[known], size=7, color=figures.BLUE, fill_alpha=0.6)
            if len(found := np.unique(x[known])) <= _MARKS:
                plot.xaxis.ticker = found.tolist()
            plots.append(plot)
    page.add("What results depend on", page.place(figures.together(plots)) if plots else "")


def _add_curves(page: Page, path: Path, columns: dict[str, list[Any]], order: list[int], chosen: str) -> None:
    """The metric of the best runs, update by update."""
    from neuro.io.merging import open_member
    from neuro.io.results import ResultsError

    names = next(iter(columns.values()))
    series: dict[str, Any] = {}
    for i in order[:BEST]:
        try:
            values = open_member(path, str(names[i])).metrics().get(chosen, np.zeros((0, 2)))
        except ResultsError:
            continue
        if len(values):
            series[str(names[i])] = (values[:, 0], values[:, 1])
    if series:
        plot = figures.curves(
            series, "update", chosen, title=f"{chosen} of the first {len(series)}", height=320, beside=True
        )
        page.add(
            "Curves",
            heading(f"Of the first {len(series)} in the table"),
            page.place(plot),
            note("A click on a name hides its curve."),
        )
