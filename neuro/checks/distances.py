"""Rules for positions of cells, and for probabilities that depend on their distance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from neuro.checks.common import caught, check_expression, check_finite, check_same_unit, check_shape, plain
from neuro.checks.parts import Projection
from neuro.language.equations import Expression, Problem, parse_expression
from neuro.language.units import DIMENSIONLESS, Quantity, unit

_AXES = 3


def check_positions(item: Any, size: int, where: str) -> Iterator[Problem]:
    """One place for each cell, in a space of one to three axes."""
    if item is None:
        return
    if (
        not isinstance(item, Quantity)
        or len(item.shape) != 2
        or item.shape[0] != size
        or not 0 < item.shape[1] <= _AXES
    ):
        shape = list(item.shape) if isinstance(item, Quantity) else "none"
        fix = f"give an array [{size}, axes], with one to three axes; for a line positions[:, None]"
        yield plain(where, f"the positions have the shape {shape}", fix)
        return
    yield from check_finite(item, where)
    if item.dimension not in (DIMENSIONLESS, unit("metre").dimension):
        yield plain(where, f"positions in {item.dimension} are no lengths", "give lengths, or plain numbers", str(item))


def profile(item: Any) -> Expression:
    """The probability as an expression of d. Raises ModelError."""
    return parse_expression(item.profile, "Distance, profile")


def distance(item: Any) -> Iterator[Problem]:
    """What a Distance alone can break."""
    yield from caught(lambda: profile(item))
    for name in ("cutoff", "period"):
        value, where = getattr(item, name), f"Distance, {name}"
        if value is None:
            continue
        if name == "cutoff" or len(value.shape) > 1:
            yield from check_shape(name, value, [], where)
        if not np.all(np.asarray(value.value) > 0):
            yield plain(
                where, f"the {name} {value} is not positive", "give a positive length, or leave it out", str(value)
            )


def check_distance(projection: Projection, pre: Any, post: Any) -> Iterator[Problem]:
    """Both ends lie in one space, and the profile gives probabilities there."""
    where, item = f"projection '{projection.name}'", projection.connectivity
    for end in (pre, post):
        if getattr(end, "positions", None) is None:
            kind = "population" if hasattr(end, "neuron") else "input"
            fix = "add positions=array of [size, axes]" if kind == "population" else "inputs have none; use Probability"
            yield plain(where, f"Distance, but {kind} '{end.name}' has no positions", fix, end.name)
            return
    a, b = pre.positions, post.positions
    axes = a.shape[-1]
    if axes != b.shape[-1]:
        message = f"population '{pre.name}' lies in {axes} axes, population '{post.name}' in {b.shape[-1]}"
        yield plain(where, message, "give both positions in one space")
        return
    for name, value in (("positions", b), ("cutoff", item.cutoff), ("period", item.period)):
        if value is not None:
            yield from check_same_unit(name, value, a.dimension, f"{where}, Distance, {name}")
    if item.period is not None and item.period.shape not in ((), (axes,)):
        yield from check_shape("period", item.period, [(axes,)], f"{where}, Distance, period")
    problems = list(check_expression(profile(item), {"d": a.dimension}, DIMENSIONLESS, "the probability"))
    yield from problems
    if not problems:
        from neuro.checks.formulas import unreadable  # sympy loads when it is first needed

        yield from unreadable(profile(item))
