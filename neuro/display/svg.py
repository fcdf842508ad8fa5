"""Small pictures as SVG text, in the colours of the page they stand in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.display.html import escape

Numbers = npt.NDArray[np.float64]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe & Ito 2008, colour-blind safe
MOST = 4000  # marks or points of one picture
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 20, 34


@dataclass(frozen=True)
class Frame:
    """Where numbers lie on the picture. x, y: lowest and highest number."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 460
    height: int = 150

    def across(self, x: Any) -> Any:
        return _LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - _LEFT - _RIGHT)

    def up(self, y: Any) -> Any:
        return self.height - _BOTTOM - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.height - _TOP - _BOTTOM)


def lines(series: Mapping[str, tuple[Any, Any]], x: str, y: str, title: str = "") -> str:
    """Curves, name -> (x [n], y [n]), with the labels of both axes; a curve is broken where it isn't finite. Empty where nothing is finite."""
    found = {n: (np.asarray(a, np.float64), np.asarray(b, np.float64)) for n, (a, b) in series.items()}
    every = [
        np.concatenate([pair[i][np.isfinite(pair[1])] for pair in found.values()] or [np.zeros(0)]) for i in (0, 1)
    ]
    if not every[1].size:
        return ""
    frame = Frame(span(every[0]), span(every[1]))
    parts = [
        f'<polyline fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="1.2" points="{_points(frame, *piece)}"><title>{escape(name)}</title></polyline>'
        for i, (name, (a, b)) in enumerate(found.items())
        for piece in pieces(a, b)
    ]
    legend = "".join(
        f'<tspan fill="{COLOURS[i % len(COLOURS)]}" dx="8">{escape(name)}</tspan>' for i, name in enumerate(found)
    )
    return _picture(frame, x, y, title, "".join(parts), legend if len(found) > 1 else "")


def raster(time: Any, row: Any, rows: int, end: float, x: str, y: str, title: str = "") -> str:
    """Spikes as ticks: time [spike], row [spike] of so many rows. end: of the time axis. Of very many spikes evenly chosen ones, as the title then says."""
    when, where = np.asarray(time, np.float64), np.asarray(row, np.float64)
    if len(when) > MOST:
        title += f" ({MOST} of {len(when)} spikes)"
        chosen = np.linspace(0, len(when) - 1, MOST).astype(np.int64)
        when, where = when[chosen], where[chosen]
    frame = Frame((0.0, end or 1.0), (-0.5, max(rows, 1) - 0.5))
    half = min(5.0, max(0.6, (frame.height - _TOP - _BOTTOM) / max(rows, 1) / 2))
    ticks = "".join(
        f"M{a:.1f} {b - half:.1f}v{2 * half:.1f}" for a, b in zip(frame.across(when), frame.up(where), strict=True)
    )
    return _picture(frame, x, y, title, f'<path stroke="currentColor" stroke-width="1" d="{ticks}"/>', "")


def span(values: Numbers) -> tuple[float, float]:
    """Lowest and highest, a little apart where they are one."""
    low, high = float(values.min()), float(values.max())
    if high > low:
        return low, high
    room = abs(low) * 0.1 or 1.0
    return low - room, high + room


def pieces(x: Numbers, y: Numbers) -> list[tuple[Numbers, Numbers]]:
    """A curve without what isn't finite; of very many points lowest and highest of each stretch."""
    x, y = thinned(x, y, MOST)
    breaks = np.flatnonzero(~np.isfinite(y))
    return [
        (a[np.isfinite(b)], b[np.isfinite(b)])
        for a, b in zip(np.split(x, breaks), np.split(y, breaks), strict=True)
        if np.isfinite(b).any()
    ]


def thinned(x: Numbers, y: Numbers, most: int) -> tuple[Numbers, Numbers]:
    """At most so many points of a curve: lowest and highest of each stretch, in their order."""
    if len(x) <= most:
        return x, y
    size = math.ceil(len(x) / (most // 2))
    whole = len(x) // size * size
    stretches = np.where(np.isfinite(y[:whole]), y[:whole], np.nan).reshape(-1, size)
    start = np.arange(0, whole, size)
    low = start + np.argmin(np.where(np.isnan(stretches), np.inf, stretches), axis=1)
    high = start + np.argmax(np.where(np.isnan(stretches), -np.inf, stretches), axis=1)
    kept = np.unique(np.concatenate([low, high, np.arange(whole, len(x))]))
    return x[kept], y[kept]


def ticks(low: float, high: float, most: int = 5) -> Sequence[float]:
    """Round numbers within a span."""
    raw = (high - low) / most
    step = 10.0 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= raw)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _points(frame: Frame, x: Numbers, y: Numbers) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(frame.across(x), frame.up(y), strict=True))


def _picture(frame: Frame, x: str, y: str, title: str, inner: str, legend: str) -> str:
    """inner and legend: SVG; the rest are texts."""
    bottom, right = frame.height - _BOTTOM, frame.width - _RIGHT
    marks = [f'<path stroke="currentColor" stroke-opacity="0.5" fill="none" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
    for value in ticks(*frame.x):
        at = frame.across(value)
        marks.append(f'<text x="{at:.1f}" y="{bottom + 13}" text-anchor="middle">{value:.6g}</text>')
    for value in ticks(*frame.y, most=3):
        at = frame.up(value)
        marks.append(f'<path stroke="currentColor" stroke-opacity="0.12" d="M{_LEFT} {at:.1f}H{right}"/>')
        marks.append(f'<text x="{_LEFT - 5}" y="{at + 3.5:.1f}" text-anchor="end">{value:.4g}</text>')
    middle = (_TOP + bottom) / 2
    marks.append(f'<text x="{(_LEFT + right) / 2}" y="{frame.height - 6}" text-anchor="middle">{escape(x)}</text>')
    marks.append(f'<text transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    head = f'<text x="{_LEFT}" y="12" font-weight="600">{escape(title)}</text>' if title else ""
    key = f'<text x="{right}" y="12" text-anchor="end">{legend}</text>' if legend else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{frame.width}" height="{frame.height}" viewBox="0 0 {frame.width} {frame.height}"'
        f' font-family="sans-serif" font-size="10" fill="currentColor">{head}{key}{"".join(marks)}{inner}</svg>'
    )
