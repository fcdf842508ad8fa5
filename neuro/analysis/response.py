"""A picture of many runs: what came out, against each of the settings in which they differ."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuro.analysis.plots import MISSED, hide_rest, new_figure, save_figure
from neuro.plot import COLOURS, FAINT, INK, PlotError, style_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DECADE = 10.0  # from this ratio of the largest to the least on, an axis is logarithmic
_FEW = 12  # values that each get a median


def plot_response(
    path: str | os.PathLike[str], settings: Mapping[str, Sequence[Any]], values: npt.ArrayLike, *, metric: str, best: int | None = None,
    title: str = "",
) -> Path:  # fmt: skip
    """Draw a metric of many runs, a panel for each setting: a point a run, medians where a setting has few values, the best run marked.

    settings: name -> a value for each run, numbers or anything else. values: [run], NaN for runs without one. best: index of a run. Returns the path. Raises
    PlotError.
    """
    y = np.asarray(values, dtype=np.float64)
    if not settings or not len(y) or not np.isfinite(y).any():
        raise PlotError("no response to draw: no run has a number, or no setting differs")
    columns = min(3, len(settings))
    rows = math.ceil(len(settings) / columns)
    figure, parts = new_figure(3.7 * columns + 0.6, {"response": 2.8 * rows + 0.3}, title)
    axes = parts["response"].subplots(rows, columns, squeeze=False, sharey=True)
    for axis, (name, given) in zip(axes.flat, settings.items(), strict=False):
        if len(given) != len(y):
            raise PlotError(f"setting {name!r} has {len(given)} values, and there are {len(y)} runs")
        style_axis(axis, "")
        x = _places(axis, list(given))
        axis.plot(x, y, "o", ms=4, color=COLOURS[0], alpha=0.7, mew=0)
        _draw_medians(axis, x, y)
        if best is not None:
            axis.plot(x[best], y[best], "o", ms=9, mfc="none", mec=MISSED, mew=1.5)
        axis.set_xlabel(name, fontsize=8, parse_math=False)
    for axis in axes[:, 0]:
        axis.set_ylabel(metric, fontsize=8, color=INK, parse_math=False)
    hide_rest(axes, len(settings))
    return save_figure(figure, path)


def _places(axis: Axes, given: list[Any]) -> npt.NDArray[np.float64]:
    """Where the values stand on the axis: numbers where they are, anything else side by side."""
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given):
        x = np.asarray(given, dtype=np.float64)
        if x.min() > 0 and x.max() >= _DECADE * x.min():
            axis.set_xscale("log")
        return x
    texts = [v if isinstance(v, str) else json.dumps(v) for v in given]
    names = list(dict.fromkeys(texts))
    axis.set_xticks(range(len(names)), names)
    for text in axis.get_xticklabels():
        text.set_parse_math(False)
    axis.set_xlim(-0.5, len(names) - 0.5)
    return np.array([names.index(t) for t in texts], dtype=np.float64)


def _draw_medians(axis: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> None:
    known = np.isfinite(y)
    places = np.unique(x[known])
    if 1 < len(places) <= _FEW and len(places) < known.sum():
        axis.plot(places, [np.median(y[known & (x == p)]) for p in places], "-", lw=1, color=FAINT, zorder=1)
