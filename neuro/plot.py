"""Pictures on matplotlib's axes, with the units of what they show: `neuro.plot.raster(recording, "E", axes=axes)`.

Each function draws on the axes that it is given, the current ones otherwise, and returns them. What is of step k has the time k*dt, as in Brian2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuro.display.labels import in_usual
from neuro.language.units import Quantity, UnitError, quantity, unit
from neuro.registry import needed_by

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from neuro.model import Network
    from neuro.protocols import Parameters, Recording

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # Okabe & Ito 2008, colour-blind safe
INK, FAINT, GRID = "#222222", "#8a8a8a", "#e4e4e4"
_CELLS = 5  # curves where nobody says which


class PlotError(Exception):
    """Nothing to draw, or names and shapes that don't fit; the message says which."""


def raster(
    recording: Recording, population: str | Sequence[str] | None = None, *, trial: int = 0, axes: Axes | None = None
) -> Axes:
    """Spikes of one trial as ticks: time (ms) against cell; several populations above each other, in the given order.

    population: a name, or names; default all. Raises PlotError, RunError.
    """
    from matplotlib.ticker import MaxNLocator

    names = (
        [population] if isinstance(population, str) else list(recording.spikes if population is None else population)
    )
    if not names:
        raise PlotError("the recording holds no spikes to draw")
    drawn = _axes(axes)
    base, edges = 0, []
    height = max(1, sum(len(recording.times(name).cells) for name in names))
    for index, name in enumerate(names):
        times = recording.times(name)
        _check_trial(name, trial, times.trials)
        here = times.trial == trial
        place = {int(cell): row for row, cell in enumerate(times.cells)}
        rows = [base + (int(c) if len(names) == 1 else place[int(c)]) for c in times.cell[here]]
        size = float(np.clip(150.0 / height, 1.6, 9.0))
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)] if len(names) > 1 else INK}
        drawn.plot(times.to("ms")[here], rows, "|", ms=size, mew=0.8, label=name, **style)
        edges.append((base + (len(times.cells) - 1) / 2, name))
        base += len(times.cells)
    style_axis(drawn, "" if len(names) > 1 else names[0])
    drawn.set_xlim(0, recording.steps * recording.dt * 1e3)
    drawn.set_xlabel("time (ms)", fontsize=8)
    if len(names) > 1:
        drawn.set_yticks([at for at, _ in edges], [f"{name} (cells)" for _, name in edges])
        drawn.set_ylim(-0.8, base - 0.2)
    else:
        drawn.set_ylabel("cell", fontsize=8)
        drawn.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return drawn


def traces(
    recording: Recording, name: str, *, cells: Sequence[int] | None = None, trial: int = 0, unit_text: str = "", spikes: bool = True,
    axes: Axes | None = None,
) -> Axes:  # fmt: skip
    """A trace of one trial against time (ms), a curve for each cell or synapse, in the unit in which cells are described, or the one that is named.

    name: "population.variable" or "projection.variable". cells: which columns; default the five cells that spike most, the first five without spikes.
    spikes: as ticks above, where the population's were recorded. Raises PlotError, RunError, UnitError.
    """
    values, labels = recording.columns(name)
    _check_trial(name, trial, len(values))
    shown, text = _in_unit(recording, name, values[trial], unit_text)
    held = recording.spikes.get(name.rpartition(".")[0])
    fired = np.asarray(held)[trial] if held is not None and np.shape(held)[2] == len(labels) else None
    columns = _most_active(fired, len(labels)) if cells is None else _columns_of(name, cells, labels)
    drawn = _axes(axes)
    time = recording.sample_times(name).to("ms")
    noun = "synapse" if any(isinstance(labels[c], str) for c in columns) else "neuron"
    for index, column in enumerate(columns):
        colour = COLOURS[index % len(COLOURS)]
        drawn.plot(time, shown[:, column], color=colour, lw=1.1, label=f"{noun} {labels[column]}")
    if spikes and fired is not None:
        _ticks_above(drawn, fired[:, columns], recording.dt)
    style_axis(drawn, name)
    drawn.set_xlabel("time (ms)", fontsize=8)
    drawn.set_ylabel(f"{name.rpartition('.')[2]} ({text})", fontsize=8)
    drawn.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2)
    return drawn


def weights(
    network: Network, projection: str, parameters: Parameters | None = None, *, axes: Axes | None = None
) -> Axes:
    """A projection's weights in their usual unit: of all to all as a matrix, source against target; otherwise their histogram.

    parameters: trained values, SI; default those that the network draws. Raises ModelError, PlotError.
    """
    from neuro.compiler.parameters import parameters as declared

    held = network.holder(network.projection(projection)).name
    key, known = f"{held}.w", declared(network)
    if key not in known:
        raise PlotError(f"projection '{projection}' has no weights to draw")
    value = np.asarray((parameters or {}).get(key, known[key].value), np.float64)
    shown, text = in_usual(value, known[key].unit)
    drawn = _axes(axes)
    style_axis(drawn, projection)
    if shown.ndim != 2:
        drawn.hist(shown.ravel(), bins=min(50, max(5, shown.size // 10)), color=COLOURS[0])
        drawn.set_xlabel(f"weight ({text})", fontsize=8)
        drawn.set_ylabel("synapses", fontsize=8)
        return drawn
    limit = float(np.abs(shown).max(initial=0.0)) or 1.0
    picture = drawn.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    drawn.grid(visible=False)
    drawn.set_xlabel("target (cell)", fontsize=8)
    drawn.set_ylabel("source (cell)", fontsize=8)
    bar = drawn.figure.colorbar(picture, ax=drawn)
    bar.set_label(f"weight ({text})", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return drawn


def rates(
    recording: Recording,
    population: str | Sequence[str] | None = None,
    *,
    width: Any = "5 ms",
    axes: Axes | None = None,
) -> Axes:
    """Mean firing rate over cells and trials (Hz) against time (ms), in bins of a width, a curve for each population.

    width: a time, at least a step; a last bin that isn't whole is left out. Raises PlotError, RunError.
    """
    names = (
        [population] if isinstance(population, str) else list(recording.spikes if population is None else population)
    )
    if not names:
        raise PlotError("the recording holds no spikes to draw")
    size = _steps_of(width, recording)
    drawn = _axes(axes)
    for index, name in enumerate(names):
        time, rate = binned_rates(recording, name, size)
        drawn.step(time, rate, where="post", color=COLOURS[index % len(COLOURS)], lw=1.2, label=name)
    style_axis(drawn, "")
    drawn.set_xlabel("time (ms)", fontsize=8)
    drawn.set_ylabel("firing rate (Hz)", fontsize=8)
    drawn.set_xlim(0, recording.steps * recording.dt * 1e3)
    drawn.set_ylim(bottom=0)
    if len(names) > 1:
        drawn.legend(fontsize=7, frameon=False)
    return drawn


def binned_rates(recording: Recording, population: str, size: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Begin of each whole bin of so many steps, ms [bin], and the mean rate over cells and trials in it, Hz [bin]."""
    times = recording.times(population)
    bins = times.steps // size
    inside = times.step < bins * size
    counts = np.bincount(times.step[inside] // size, minlength=bins)
    share = max(1, len(times.cells) * times.trials) * size * times.dt
    return np.arange(bins) * size * times.dt * 1e3, counts / share


def style_axis(axis: Axes, title: str) -> None:
    """The look that all pictures share."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.tick_params(labelsize=8, color=FAINT, labelcolor=INK)
    axis.grid(color=GRID, lw=0.6)
    axis.set_axisbelow(True)
    if title:
        axis.set_title(title, loc="left", fontsize=9, color=INK, parse_math=False)


def _axes(axes: Axes | None) -> Axes:
    if axes is not None:
        return axes
    with needed_by("neuro.plot"):
        from matplotlib import pyplot
    return pyplot.gca()


def _check_trial(name: str, trial: int, trials: int) -> None:
    if not 0 <= trial < trials:
        raise PlotError(f"trial {trial} doesn't exist; '{name}' has the trials 0 to {trials - 1}")


def _in_unit(recording: Recording, name: str, values: Any, text: str) -> tuple[Any, str]:
    """Values in the unit that is named, or in the usual one."""
    if not text:
        return in_usual(values, recording.units.get(name))
    dimension = unit(recording.units.get(name, text)).dimension
    return Quantity(np.asarray(values, np.float64), dimension).to(text), text


def _columns_of(name: str, cells: Sequence[int], labels: Sequence[int | str]) -> list[int]:
    """Columns of these cells, or of synapses by their place. Raises PlotError."""
    if all(isinstance(label, str) for label in labels):
        labels = range(len(labels))
    wrong = [cell for cell in cells if cell not in labels]
    if wrong:
        raise PlotError(f"'{name}' has {len(labels)} neurons; there is no neuron {wrong[0]}")
    return [list(labels).index(cell) for cell in cells]


def _most_active(fired: Any, columns: int) -> list[int]:
    """Of a raster [time, column] the columns that spike most; the first ones without."""
    if fired is None:
        return list(range(min(_CELLS, columns)))
    count = np.count_nonzero(fired, axis=0)
    return sorted(int(cell) for cell in np.argsort(-count, kind="stable")[:_CELLS])


def _ticks_above(axis: Axes, fired: Any, dt: float) -> None:
    """Spikes [time, neuron] as ticks in a band above the traces, a row for each neuron."""
    rows = fired.shape[1]
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + (high - low) * 0.06 * rows)
    band = 0.06 * rows / (1 + 0.06 * rows)
    for row in range(rows):
        times = np.flatnonzero(fired[:, row]) * dt * 1e3
        height = np.full(len(times), 1.0 - band * (row + 0.5) / rows)
        axis.plot(times, height, "|", color=COLOURS[row % len(COLOURS)], ms=4.5, transform=axis.get_xaxis_transform())


def _steps_of(width: Any, recording: Recording) -> int:
    """Whole steps of a bin's width. Raises PlotError."""
    example = 'write a time such as "5 ms"'
    try:
        found = quantity(width)
        seconds = float(found.to("second"))
    except (UnitError, TypeError, ValueError) as error:
        raise PlotError(f"width={width!r}: {error}; {example}") from None
    steps = round(seconds / recording.dt) if np.isfinite(seconds) else 0
    if not 1 <= steps <= max(1, recording.steps):
        raise PlotError(
            f"width={width!r} is no time from one step ({recording.dt * 1e3:g} ms) to the {recording.steps} of the recording; {example}"
        )
    return steps
