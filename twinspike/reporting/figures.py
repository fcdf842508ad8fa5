"""Interactive plots, made with Bokeh: what they hold is bounded, so that a page stays small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

POINTS = 2000  # of a curve
SPIKES = 15_000  # of a raster
SIDE = 128  # rows and columns of a matrix
TOOLS = "xpan,xwheel_zoom,box_zoom,undo,reset,save"
BLUE, RED, FAINT, OTHERS = "#0072b2", "#d55e00", "#7a7a7a", ("#009e73", "#cc79a7", "#e69f00")


def on_canvas(text: str, most: int = 80) -> str:
    """A text for labels and titles: without what Bokeh takes for mathematics, for which it would fetch another library."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    shown = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    shown = shown.replace("$", "$\N{ZERO WIDTH SPACE}")
    for mark in ("\\(", "\\)", "\\[", "\\]"):
        shown = shown.replace(mark, f"{mark[0]}\N{ZERO WIDTH SPACE}{mark[1]}")
    return shown


def blank(x: str, y: str, *, title: str = "", height: int = 200, tools: str = TOOLS, **options: Any) -> Any:
    """A plot without content. x, y: labels with units."""
    from bokeh.plotting import figure

    found = figure(
        height=height, sizing_mode="stretch_width", tools=tools, x_axis_label=on_canvas(x), y_axis_label=on_canvas(y, 24), title=on_canvas(title) or None,
        active_drag="box_zoom" if "box_zoom" in tools else None, output_backend="canvas", **options,
    )  # fmt: skip
    found.toolbar.logo = None
    found.min_border_left = 70
    found.xgrid.grid_line_alpha = found.ygrid.grid_line_alpha = 0.4
    return found


def curves(
    series: Mapping[str, tuple[Any, Any]], x: str, y: str, *, title: str = "", height: int = 200, markers: bool = False, beside: bool = False,
    **options: Any,
) -> Any:  # fmt: skip
    """Name -> (x, y), with what lies under the mouse. Values that aren't finite are gaps. beside: long names, to the right."""
    from bokeh.models import HoverTool

    from neuro.display.svg import COLOURS, thinned

    found = blank(x, y, title=title, height=height, **options)
    for index, (name, pair) in enumerate(series.items()):
        a, b = thinned(np.asarray(pair[0], np.float64), np.asarray(pair[1], np.float64), POINTS)
        b = np.where(np.isfinite(b), b, np.nan)
        data = {"x": a.astype(np.float32) if np.all(np.abs(a) < 2**23) else a, "y": b.astype(np.float32)}
        colour = COLOURS[index % len(COLOURS)]
        label: dict[str, Any] = {"legend_label": on_canvas(name)} if len(series) > 1 else {}
        found.line("x", "y", source=_source(data), color=colour, line_width=1.5, **label)
        if markers and len(a) <= 40:
            found.scatter("x", "y", source=_source(data), color=colour, size=5, **label)
    found.add_tools(HoverTool(tooltips=[("x", "$x{0.[0000]}"), ("y", "$y{0.[000000]}")], mode="mouse"))
    if len(series) > 1:
        _name_curves(found, beside)
    return found


def raster(times: Any, rows: Any, count: int, end: float, *, title: str, colour: str, **options: Any) -> Any:
    """Spikes as ticks: times (ms) and rows [spike], of so many rows."""
    when, where = np.asarray(times, np.float64), np.asarray(rows, np.int64)
    if len(when) > SPIKES:
        title += f": {SPIKES} of {len(when)} spikes, evenly chosen"
        chosen = np.linspace(0, len(when) - 1, SPIKES).astype(np.int64)
        when, where = when[chosen], where[chosen]
    found = blank(
        "time (ms)", "cell", title=title, height=int(np.clip(90 + 3 * count, 150, 360)),
        y_range=(-0.5, max(count, 1) - 0.5), **({"x_range": (0.0, end or 1.0)} | options),
    )  # fmt: skip
    data = {"x": when.astype(np.float32), "y": where.astype(np.int32)}
    size = float(np.clip(250 / max(count, 1), 3.0, 9.0))
    found.scatter("x", "y", source=_source(data), marker="dash", angle=np.pi / 2, size=size, color=colour)
    return found


def matrix(
    value: Any, label: str, *, title: str, limit: float, rows: str = "source (cell)", columns: str = "target (cell)"
) -> Any:
    """A matrix as an image, blue below 0 and red above; of a large one the means of blocks. label: of the colours, with their unit."""
    from bokeh.models import ColorBar, LinearColorMapper
    from bokeh.palettes import diverging_palette, linear_palette

    blues = ["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7"]
    reds = ["#67001f", "#b2182b", "#d6604d", "#f4a582", "#fddbc7", "#f7f7f7"]
    palette = diverging_palette(linear_palette(blues, 6), linear_palette(reds, 6), n=11)
    shrunk = blocks(np.asarray(value, np.float64))
    if shrunk.shape != np.shape(value):
        title += (
            f": means of blocks, {np.shape(value)[0]} x {np.shape(value)[1]} in {shrunk.shape[0]} x {shrunk.shape[1]}"
        )
    found = blank(columns, rows, title=title, height=280, tools="pan,wheel_zoom,box_zoom,reset,save,hover")
    found.hover.tooltips = [("source", "$y{0}"), ("target", "$x{0}"), ("value", "@image")]
    found.x_range.range_padding = found.y_range.range_padding = 0
    mapper = LinearColorMapper(palette=palette, low=-limit, high=limit, nan_color="#888888")
    high, wide = np.shape(value)
    found.image(image=[shrunk.astype(np.float32)], x=0, y=0, dw=wide, dh=high, color_mapper=mapper)
    found.add_layout(ColorBar(color_mapper=mapper, title=on_canvas(label), width=12), "right")
    return found


def histogram(values: Mapping[str, Any], x: str, y: str, *, title: str = "", bins: int = 40) -> Any:
    """Name -> numbers, in common bins; what isn't finite isn't counted. None where nothing is left."""
    numbers = {n: np.asarray(v, np.float64).ravel() for n, v in values.items()}
    finite = {n: v[np.isfinite(v)] for n, v in numbers.items()}
    if not sum(map(len, finite.values())):
        return None
    edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), bins)
    found = blank(x, y, title=title, height=200)
    colours = (FAINT, BLUE, RED, *OTHERS) if len(finite) > 1 else (BLUE,)
    for (name, some), colour in zip(finite.items(), colours, strict=False):
        counts, _ = np.histogram(some, edges)
        data = {"top": counts.astype(np.float32), "left": edges[:-1], "right": edges[1:]}
        style: dict[str, Any] = {"fill_color": colour, "fill_alpha": 0.45, "line_color": colour}
        style |= {"legend_label": on_canvas(name)} if len(finite) > 1 else {}
        found.quad(top="top", bottom=0, left="left", right="right", source=_source(data), **style)
    if len(finite) > 1:
        _name_curves(found)
    found.y_range.start = 0
    return found


def marked(plot: Any, at: float) -> None:
    """A dashed line at a time (ms)."""
    from bokeh.models import Span

    plot.add_layout(Span(location=at, dimension="height", line_color=RED, line_dash="dashed", line_width=1.5))


def together(plots: Sequence[Any]) -> Any:
    """Plots below each other."""
    from bokeh.layouts import column

    return column(*plots, sizing_mode="stretch_width")


def blocks(value: Any, side: int = SIDE) -> Any:
    """Means of blocks of a matrix, in at most so many rows and columns."""
    for axis in (0, 1):
        if value.shape[axis] > side:
            size = -(-value.shape[axis] // side)
            starts = np.arange(0, value.shape[axis], size)
            counts = np.diff([*starts, value.shape[axis]])
            value = np.add.reduceat(value, starts, axis=axis) / (counts[:, None] if axis == 0 else counts)
    return value


def _name_curves(plot: Any, beside: bool = False) -> None:
    """The legend: above, so that plots below each other are equally wide, or beside; a click hides what it names."""
    plot.add_layout(plot.legend[0], "right" if beside else "above")
    plot.legend.orientation = "vertical" if beside else "horizontal"
    plot.legend.click_policy = "hide"
    plot.legend.border_line_color = None
    plot.legend.padding = 0
    plot.legend.label_text_font_size = "9pt"
    plot.height += 0 if beside else 28


def _source(data: Mapping[str, Any]) -> Any:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource(dict(data))
