"""Rules for distributions: units, order, and limits between which there is something to draw."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from neuro.checks.common import check_finite, check_shape, enforce, parts_of, plain, same_dimension
from neuro.language.equations import Problem

_RAREST = 1e-6  # share of a normal distribution that has to lie between limits within which it is drawn

_FLATTEST = 1e-300  # (mean/std)**2 whose inverse is still a number


def distribution(item: Any) -> None:
    """Raise ModelError where the numbers of a distribution don't fit."""
    kind = type(item).__name__
    where = f"distribution '{kind}'"
    first, *others = parts_of(item)
    for part in others:
        same_dimension(where, first, part)
    found = [p for q in parts_of(item) for p in (*check_finite(q, where), *check_shape("a number", q, [], where))]
    if not found:
        found += _limits(item, where)
    if not found and kind != "Uniform":
        found += _spread(item, kind, where)
    if not found and kind != "Uniform":
        found += _outside(item, kind, where)
    enforce(found)


def _limits(item: Any, where: str) -> Iterator[Problem]:
    low, high = item.low, item.high
    if low is not None and high is not None and not low.value <= high.value:
        yield plain(where, f"the lower end {low} is above the upper end {high}", "swap them", str(low))


def _spread(item: Any, kind: str, where: str) -> Iterator[Problem]:
    mean, std = item.mean, item.std
    if not std.value >= 0:
        yield plain(where, f"the standard deviation {std} is negative", "give one of at least 0", str(std))
    elif kind == "Normal":
        return
    elif not mean.value > 0:
        message = f"the mean {mean} is not positive, but all numbers of the distribution are"
        yield plain(where, message, "give a positive mean; a minus sign belongs into the synapse's text", str(mean))
    else:
        with np.errstate(all="ignore"):
            shape = float(np.square(np.float64(mean.value) / np.float64(std.value)))
        if kind == "Gamma" and not 0 < shape < math.inf:
            fix = "give a standard deviation above 0, of the mean's order"
            yield plain(where, f"the standard deviation {std} gives no shape with the mean {mean}", fix, str(std))
        elif not shape > _FLATTEST:
            fix = "give one of the mean's order"
            yield plain(where, f"the standard deviation {std} is too large for the mean {mean}", fix, str(std))


def _outside(item: Any, kind: str, where: str) -> Iterator[Problem]:
    if item.outside not in ("clip", "redraw"):
        yield plain(where, f"outside={item.outside!r} is none", "use 'clip' or 'redraw'", str(item.outside))
    elif item.outside == "redraw" and not _between(item, kind) >= _RAREST:
        message = f"less than one of a million numbers lies between {item.low} and {item.high}"
        yield plain(where, message, "widen low..high, or use outside='clip'")


def _between(item: Any, kind: str) -> float:
    """Share of a distribution that lies between its limits."""
    mean, std = float(item.mean.value), float(item.std.value)
    low, high = (
        limit if end is None else float(end.value) for end, limit in ((item.low, -math.inf), (item.high, math.inf))
    )
    if not std:
        return float(low <= mean <= high)
    if kind == "Gamma":
        return _between_gamma((mean / std) ** 2, *(max(end, 0.0) * mean / std / std for end in (low, high)))
    if kind == "LogNormal":
        low, high = (math.log(end) if end > 0 else -math.inf for end in (low, high))
        variance = math.log1p((std / mean) ** 2)
        mean, std = math.log(mean) - variance / 2, math.sqrt(variance)
    a, b = sorted(((low - mean) / std, (high - mean) / std), key=abs)
    inner, outer = math.erfc(abs(a) / math.sqrt(2)), math.erfc(abs(b) / math.sqrt(2))
    return (inner - outer) / 2 if a * b > 0 else 1 - (inner + outer) / 2


def _between_gamma(shape: float, low: float, high: float) -> float:
    from scipy.special import gammainc, gammaincc  # loads when it is first needed

    below = float(gammainc(shape, low))
    return (
        float(gammainc(shape, high)) - below if below < 0.5 else float(gammaincc(shape, low) - gammaincc(shape, high))
    )
