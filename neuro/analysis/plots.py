"""Pictures of recordings, comparisons and metrics: PNG files, written whole or not at all."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuro.analysis.comparison import absolute_error
from neuro.plot import COLOURS, FAINT, INK, style_axis, traces
from neuro.plot import PlotError as PlotError
from neuro.protocols import Array, Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from neuro.analysis.lyapunov import Spectrum

MISSED, EXTRA = "#d62728", "#1f4fd8"
FLOOR = 1e-18  # where exact agreement is drawn on the logarithmic axis
DPI = 140
STYLES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)))


def plot_comparison(
    path: str | os.PathLike[str],
    reference: Recording,
    others: Mapping[str, Recording],
    *,
    accuracies: Mapping[str, float] | None = None,
    title: str = "",
    reference_name: str = "reference",
    trial: int | None = None,
) -> Path:
    """Draw how other backends differ from a reference.

    Top: the rasters of one trial, a column per backend over the reference (grey: in both, red: only in the reference,
    blue: only in the backend). Below: for each variable, the largest |backend - reference| over trials and neurons,
    relative to the largest |reference|, against time. Bottom: accuracies (name -> [0, 1]).
    trial: index in the batch; default the one with most differing spikes. Returns the path. Raises PlotError.
    """
    for name, other in others.items():
        _check_shapes(name, reference, other)
    populations = [name for name in reference.spikes if any(name in r.spikes for r in others.values())]
    variables = [name for name in reference.traces if any(name in r.traces for r in others.values())]
    if not populations and not variables and not accuracies:
        raise PlotError("nothing to compare: the recordings share no spikes or traces and there are no accuracies")
    batch = next((np.shape(a)[0] for a in (*reference.spikes.values(), *reference.traces.values())), 1)
    if trial is not None and not 0 <= trial < batch:
        raise PlotError(f"trial {trial} doesn't exist; the recording has the trials 0 to {batch - 1}")
    worst, differ = _worst_trial(reference, others)
    chosen = worst if trial is None else trial
    columns = 2 if len(variables) == 4 else min(3, len(variables))
    rows = math.ceil(len(variables) / columns) if columns else 0
    bars = len(accuracies or ())
    tall = _raster_heights(reference, populations)
    heights = {"rasters": sum(tall) + 0.85} if populations else {}
    heights |= {"errors": 1.95 * rows + 0.6} if rows else {}
    heights |= {"accuracies": 0.3 * bars + 0.9} if bars else {}
    figure, parts = new_figure(max(11.0, 3.4 * len(others)) if populations else 11.0, heights, title)
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(others)}
    if populations:
        note = f"trial {chosen}" + (" (most differing spikes)" if trial is None and differ else "")
        heading = f"spikes of {note} against {reference_name}"
        _draw_rasters(parts["rasters"], reference, others, populations, tall, chosen, heading)
    if rows:
        _draw_errors(parts["errors"], reference, others, variables, colours, (rows, columns))
    if accuracies:
        _draw_accuracies(parts["accuracies"], accuracies, {reference_name: FAINT, **colours})
    return save_figure(figure, path)


def plot_metrics(
    path: str | os.PathLike[str], metrics: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], *, title: str = ""
) -> Path:
    """Draw metrics over training steps, a panel each, the last value written at its end.

    metrics: name -> (steps [n], values [n]). Gaps are drawn where values are NaN. Returns the path. Raises PlotError.
    """
    if not metrics:
        raise PlotError("no metrics to draw")
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    figure, parts = new_figure(3.7 * columns + 0.6, {"metrics": 2.4 * rows + 0.3}, title)
    axes = parts["metrics"].subplots(rows, columns, squeeze=False)
    for axis, (name, (steps, values)) in zip(axes.flat, metrics.items(), strict=False):
        x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
        if x.ndim != 1 or x.shape != y.shape:
            raise PlotError(f"metric {name!r} has steps of the shape {x.shape} and values of the shape {y.shape}")
        style_axis(axis, name)
        axis.plot(x, y, color=COLOURS[0], lw=1.5, marker="o" if len(x) <= 40 else None, ms=3)
        shown = np.flatnonzero(np.isfinite(y))
        if len(shown):
            last = shown[-1]
            axis.annotate(
                f"{y[last]:.4g}", (x[last], y[last]), xytext=(4, 4), textcoords="offset points", fontsize=8, color=INK
            )
            axis.margins(x=0.12, y=0.15)
        axis.set_xlabel("step", fontsize=8)
    hide_rest(axes, len(metrics))
    return save_figure(figure, path)


def plot_traces(
    path: str | os.PathLike[str],
    recording: Recording,
    *,
    names: Sequence[str] | None = None,
    trial: int = 0,
    neurons: Sequence[int] | None = None,
    units: Mapping[str, str] | None = None,
    title: str = "",
) -> Path:
    """Draw the traces of one trial, a panel per variable over a common time axis, spikes as ticks on top.

    names: "population.variable", default all. neurons: indices, default the five that spike most (the first
    five without spikes). units: variable name -> unit, default the usual one. Returns the path. Raises PlotError.
    """
    chosen = list(recording.traces if names is None else names)
    missing = [name for name in chosen if name not in recording.traces]
    if missing or not chosen:
        raise PlotError(f"no traces {missing or ''}; the recording holds {sorted(recording.traces)}")
    figure, parts = new_figure(9.0, {"traces": 1.7 * len(chosen) + 0.4}, title)
    axes = parts["traces"].subplots(len(chosen), 1, squeeze=False, sharex=True)[:, 0]
    for axis, name in zip(axes, chosen, strict=True):
        traces(recording, name, cells=neurons, trial=trial, unit_text=(units or {}).get(name, ""), axes=axis)
        axis.set_xlabel("")
    axes[-1].set_xlabel("time (ms)", fontsize=8)
    return save_figure(figure, path)


def plot_exponents(path: str | os.PathLike[str], spectra: Mapping[str, Spectrum], *, title: str = "") -> Path:
    """Draw Lyapunov spectra, name -> spectrum, with standard errors. Returns the path. Raises PlotError."""
    if not spectra:
        raise PlotError("no spectra to draw")
    figure, parts = new_figure(6.5, {"exponents": 4.0}, title)
    axis = parts["exponents"].subplots()
    for (name, found), colour in zip(spectra.items(), COLOURS, strict=False):
        number = np.arange(1, len(found.per_step) + 1)
        axis.errorbar(number, found.per_second, found.error / found.dt, fmt="o-", ms=4, color=colour, label=name)
    axis.axhline(0.0, color=FAINT, lw=0.8)
    style_axis(axis, "Lyapunov exponents, 1/s")
    axis.set_xlabel("number", fontsize=8)
    axis.legend(fontsize=8)
    return save_figure(figure, path)


def new_figure(width: float, heights: Mapping[str, float], title: str) -> tuple[Figure, dict[str, SubFigure]]:
    """A figure with one named sub-figure for each height (inches), from top to bottom."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (width, sum(heights.values()) + (0.4 if title else 0.0))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=12, fontweight="bold", color=INK, parse_math=False)
    made = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=list(heights.values()))
    return figure, dict(zip(heights, made[:, 0], strict=True))


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write beside the target, then replace it: readers see the old picture or the new one. OSError as it comes."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            figure.savefig(stream, format="png", dpi=DPI)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


def _check_shapes(name: str, reference: Recording, other: Recording) -> None:
    if not math.isclose(reference.dt, other.dt, rel_tol=1e-9) or (other.traces and reference.every != other.every):
        raise PlotError(f"{name!r} has other time steps than the reference; record both with one dt and one `every`")
    for mine, theirs in ((reference.spikes, other.spikes), (reference.traces, other.traces)):
        for key in mine:
            if key in theirs and np.shape(mine[key]) != np.shape(theirs[key]):
                shapes = f"{np.shape(mine[key])} in the reference and {np.shape(theirs[key])} in {name!r}"
                raise PlotError(f"{key!r} has the shape {shapes}")


def _worst_trial(reference: Recording, others: Mapping[str, Recording]) -> tuple[int, int]:
    """The trial with most differing spikes, and how many; without any, the first."""
    total: Any = 0
    for other in others.values():
        for name, raster in reference.spikes.items():
            if name in other.spikes:
                total = total + np.count_nonzero(np.asarray(raster) != np.asarray(other.spikes[name]), axis=(1, 2))
    return (int(np.argmax(total)), int(np.max(total))) if np.size(total) and np.ndim(total) else (0, 0)


def _raster_heights(reference: Recording, populations: Sequence[str]) -> list[float]:
    """Inches for each population: more for more neurons, within reason."""
    return [0.75 + min(1.9, 0.16 * math.sqrt(np.shape(reference.spikes[name])[2])) for name in populations]


def _draw_rasters(
    part: SubFigure,
    reference: Recording,
    others: Mapping[str, Recording],
    populations: Sequence[str],
    heights: Sequence[float],
    trial: int,
    heading: str,
) -> None:
    shape = (len(populations), len(others))
    axes = part.subplots(*shape, squeeze=False, sharex=True, sharey="row", height_ratios=list(heights))
    for row, population in enumerate(populations):
        expected = np.asarray(reference.spikes[population])[trial]
        for column, (name, other) in enumerate(others.items()):
            axis = axes[row, column]
            style_axis(axis, "")
            if column == 0:
                axis.set_ylabel(f"{population}\nneuron", fontsize=8)
            if row == len(populations) - 1:
                axis.set_xlabel("time (ms)", fontsize=8)
            if population in other.spikes:
                found = np.asarray(other.spikes[population])[trial]
                _draw_raster(axis, expected, found, reference.dt, name if row == 0 else "")
            else:
                axis.text(0.5, 0.5, "not recorded", transform=axis.transAxes, ha="center", color=FAINT, fontsize=8)
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=colour, marker="|", ls="", ms=7, mew=1.6, label=label)
        for colour, label in (
            (FAINT, "in both"),
            (MISSED, "missed: only in the reference"),
            (EXTRA, "extra: only here"),
        )
    ]
    part.legend(handles=marks, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    part.text(0.008, 0.985, heading, fontsize=9, fontweight="bold", va="top", color=INK)


def _draw_raster(axis: Axes, expected: Array, found: Array, dt: float, name: str) -> None:
    from matplotlib.ticker import MaxNLocator

    neurons = expected.shape[1]
    size = float(np.clip(150.0 / max(neurons, 1), 1.6, 9.0))
    groups = ((expected & found, FAINT, 1.0), (expected & ~found, MISSED, 1.9), (found & ~expected, EXTRA, 1.9))
    for raster, colour, emphasis in groups:
        step, neuron = np.nonzero(raster)
        style: dict[str, Any] = {"color": colour, "marker": "|", "ls": "", "zorder": 2 + emphasis}
        axis.plot(step * dt * 1e3, neuron, ms=size * emphasis, mew=0.7 * emphasis, **style)
    missed, extra = (int(np.count_nonzero(group[0])) for group in groups[1:])
    verdict = "identical" if not missed + extra else f"{missed} missed, {extra} extra"
    total = int(np.count_nonzero(expected))
    label = f"{name}: {verdict} ({total} spikes)" if name else f"{verdict} ({total} spikes)"
    axis.set_title(label, loc="left", fontsize=8, color=MISSED if missed + extra else INK)
    axis.set_ylim(-0.8, neurons - 0.2)
    axis.set_xlim(0, expected.shape[0] * dt * 1e3)
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _draw_errors(
    part: SubFigure,
    reference: Recording,
    others: Mapping[str, Recording],
    variables: Sequence[str],
    colours: Mapping[str, str],
    shape: tuple[int, int],
) -> None:
    axes = part.subplots(*shape, squeeze=False, sharex=True, sharey=True)
    for axis, variable in zip(axes.flat, variables, strict=False):
        style_axis(axis, variable)
        axis.set_yscale("log")
        for index, (name, other) in enumerate(others.items()):
            if variable in other.traces:
                error = error_over_time(reference.traces[variable], other.traces[variable])
                shown = np.where(np.isfinite(error), np.maximum(error, FLOOR), np.nan)
                time = reference.sample_times(variable).to("ms")
                exact = not error.any()
                style: dict[str, Any] = {"color": colours[name], "ls": STYLES[index % len(STYLES)], "lw": 1.4}
                axis.plot(time, shown, label=f"{name} (exactly equal)" if exact else name, **style)
                broken = np.flatnonzero(~np.isfinite(error))
                if len(broken):
                    axis.axvspan(time[broken[0]], time[-1], color=MISSED, alpha=0.12, lw=0)
        axis.axhline(2.0**-52, color=FAINT, lw=0.6, ls=":")
        axis.legend(fontsize=7, frameon=False, loc="best")
    limits = [1e-19, max(10.0, *(float(axis.get_ylim()[1]) for axis in axes.flat[: len(variables)]))]
    axes[0, 0].set_ylim(*limits)
    for axis in axes[:, 0]:
        axis.set_ylabel("relative error", fontsize=8)
        ticks = [10.0**power for power in range(-16, round(math.log10(limits[1])) + 1, 4)]
        axis.set_yticks([FLOOR, *ticks], [r"$\leq10^{-18}$", *(f"$10^{{{round(math.log10(t))}}}$" for t in ticks)])
        axis.minorticks_off()
    for axis in axes.flat[max(0, len(variables) - shape[1]) : len(variables)]:
        axis.set_xlabel("time (ms)", fontsize=8)
        axis.tick_params(labelbottom=True)
    hide_rest(axes, len(variables))
    part.suptitle(
        "largest error over all trials and neurons, relative to the largest magnitude (dotted: 1 ulp of float64)",
        fontsize=9, fontweight="bold", x=0.008, ha="left", color=INK,
    )  # fmt: skip


def error_over_time(reference: npt.ArrayLike, other: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Largest |other - reference| of each sample over trials and neurons, relative to the largest finite |reference|.

    Both [batch, time, neuron]; returns [time]; inf where only one is NaN or infinite, 0 where both are NaN.
    """
    error, scale = absolute_error(reference, other)
    largest = np.max(error, axis=(0, 2), initial=0.0)
    relative = np.zeros(len(largest))
    with np.errstate(all="ignore"):
        np.divide(largest, scale, out=relative, where=largest > 0)
    return relative


def _draw_accuracies(part: SubFigure, accuracies: Mapping[str, float], colours: Mapping[str, str]) -> None:
    axis = part.subplots()
    style_axis(axis, "")
    names = list(accuracies)
    values = [float(accuracies[name]) for name in names]
    axis.barh(range(len(names)), values, height=0.62, color=[colours.get(name, FAINT) for name in names], alpha=0.85)
    for index, value in enumerate(values):
        axis.text(value + 0.006, index, f"{100 * value:.2f} %", va="center", fontsize=8, color=INK)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlim(0, 1.1)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100 %"])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    part.suptitle("accuracy", fontsize=9, fontweight="bold", x=0.008, ha="left", color=INK)


def hide_rest(axes: Any, used: int) -> None:
    """Hide the panels of a grid behind the first `used`."""
    for axis in axes.flat[used:]:
        axis.set_visible(False)
