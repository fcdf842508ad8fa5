"""Pairs of cells drawn with a probability of their distance, by blocks of rows; within a cutoff only near pairs are looked at (a k-d tree)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro import checks
from neuro.checks.common import plain
from neuro.checks.distances import profile
from neuro.compiler import streams
from neuro.compiler.evaluation import evaluate
from neuro.compiler.wiring import IntArray, Rows, blocks, stream_of
from neuro.language.equations import ModelError
from neuro.language.symbolic import to_sympy
from neuro.model import Distance, Population, Projection

_CHUNK = 2**20  # pairs looked at at once
_MANY = 2**30  # pairs from which a sample says beforehand how many synapses there will be at least
_SURE = 5.0  # standard errors
Array = npt.NDArray[np.float64]
Blocks = Iterator[tuple[int, IntArray, IntArray]]  # end of the rows, then rows and columns of the pairs looked at


def by_distance(seed: int, projection: Projection, item: Distance, pre: Population, post: Population) -> Rows:
    """The pairs that are drawn, in ascending order.

    Pair n of those looked at has number n of the projection's stream, so the first rows are the same however many there are.
    Raises ModelError where the profile gives no number, or the pairs fit no memory.
    """
    return Rows.joined(pre.size, _drawn(seed, projection, item, _positions(pre), _positions(post)))


def _drawn(
    seed: int, projection: Projection, item: Distance, a: Array, b: Array
) -> Iterator[tuple[IntArray, IntArray]]:
    """Row and column of each pair, block by block."""
    where, expression = f"projection '{projection.name}', Distance", to_sympy(profile(item))
    period = np.full(a.shape[1], np.inf) if item.period is None else np.broadcast_to(item.period.value, a.shape[1:])
    cutoff = np.inf if item.cutoff is None else float(item.cutoff.value)
    name, count = stream_of(projection), 0
    if len(a) * len(b) > _MANY:
        row, column = (
            streams.generator(seed, f"{name}/sample", end).integers(n, size=_CHUNK)
            for end, n in enumerate((len(a), len(b)))
        )
        d = _distances(a, b, row, column, period)
        p = np.zeros(len(d))
        p[d <= cutoff] = _probability(expression, d[d <= cutoff], where)
        least = max(0.0, float(p.mean() - _SURE * p.std() / np.sqrt(len(p))))
        checks.enforce(checks.too_many(projection, least * len(a) * len(b), 1.0))
    draw = streams.generator(seed, name)
    for done, row, column in _every(len(a), len(b)) if cutoff == np.inf else _near(a, b, cutoff, period):
        d = _distances(a, b, row, column, period)
        near = slice(None) if cutoff == np.inf else d <= cutoff
        row, column, d = row[near], column[near], d[near]
        chosen = draw.random(len(d)) < _probability(expression, d, where)
        if not item.self_connections and projection.pre == projection.post:
            chosen &= row != column
        count += int(chosen.sum())
        checks.enforce(checks.too_many(projection, count, done / len(a)))
        yield row[chosen], column[chosen]


def _positions(population: Population) -> Array:
    assert population.positions is not None
    return np.asarray(population.positions.value, np.float64)


def _probability(expression: Any, d: Array, where: str) -> Array:
    with np.errstate(all="ignore"):
        found = np.broadcast_to(np.asarray(evaluate(expression, lambda _: d), np.float64), d.shape)
    if np.isnan(found).any():
        message = f"the profile gives no number at d = {d[np.isnan(found)][0]:.6g}"
        raise ModelError([plain(where, message, "look for divisors, roots and logarithms of d, which may be 0")])
    return np.clip(found, 0, 1)


def _distances(a: Array, b: Array, row: IntArray, column: IntArray, period: Array) -> Array:
    """The shortest ways between the cells of each pair."""
    squares = np.zeros(len(row))
    for axis, length in enumerate(period):
        way = a[row, axis] - b[column, axis]
        if np.isfinite(length):
            way -= length * np.rint(way / length)
        squares += way * way
    return np.sqrt(squares)


def _every(rows: int, columns: int) -> Blocks:
    step = max(1, _CHUNK // columns)
    for first in range(0, rows, step):
        part = np.arange(first, min(first + step, rows))
        yield int(part[-1]) + 1, np.repeat(part, columns), np.tile(np.arange(columns), len(part))


def _near(a: Array, b: Array, cutoff: float, period: Array) -> Blocks:
    """Pairs about as near as the cutoff or nearer, none of them left out."""
    from scipy.spatial import cKDTree  # loads when it is first needed

    closed = np.where(np.isfinite(period), period, 0.0)
    tree, reach = cKDTree(_wrapped(b, period), boxsize=closed), cutoff * (1 + 1e-9)
    a = _wrapped(a, period)
    counts = tree.query_ball_point(a, reach, return_length=True)
    for rows, _ in blocks(counts, _CHUNK):
        found = cKDTree(a[rows], boxsize=closed).sparse_distance_matrix(tree, reach, output_type="ndarray")
        keys = (found["i"] + rows.start) * len(b) + found["j"]
        keys.sort()
        yield rows.stop, *np.divmod(keys, len(b))


def _wrapped(positions: Array, period: Array) -> Array:
    """Within one period of each axis that has one."""
    finite = np.isfinite(period)
    found = positions.copy()
    found[:, finite] = np.mod(found[:, finite], period[finite])
    return np.where(found >= period, 0.0, found)
