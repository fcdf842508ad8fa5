"""Rules for which cells a projection joins: numbers of synapses, indices, arrays that fit the synapses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neuro.checks.common import check_shape, plain
from neuro.checks.parts import Projection
from neuro.language.equations import Problem
from neuro.language.foreign import shown
from neuro.language.units import Quantity

_MOST = 2**53  # synapses, and pairs that are drawn without repetition: numbers of the streams have 53 bits


def check_numbers(connectivity: Any, where: str) -> Iterator[Problem]:
    """A probability is one, a number of synapses can be counted."""
    p = getattr(connectivity, "p", None)
    if p is not None and not 0 <= p <= 1:
        yield plain(where, f"the probability {p} is not between 0 and 1", "give 0 <= p <= 1", str(p))
    for name in ("n", "k"):
        count = getattr(connectivity, name, 0)
        if count < 0:
            yield plain(where, f"{name} = {shown(count)} synapses are less than none", "give at least 0", shown(count))
        elif count > _MOST:
            yield plain(where, f"{name} = {shown(count)} synapses fit no machine", "give fewer", shown(count))


def check_ends(projection: Projection, pre: int, post: int) -> Iterator[Problem]:
    """There are as many pairs as are asked for. pre, post: numbers of cells."""
    item: Any = projection.connectivity
    where, kind = f"projection '{projection.name}'", type(item).__name__
    itself = not item.self_connections and projection.pre == projection.post
    there, what = {
        "FixedTotal": (pre * (post - itself), "pairs"),
        "FixedInDegree": (pre - itself, "sources of a cell"),
        "FixedOutDegree": (post - itself, "targets of a cell"),
    }[kind]
    name = "n" if kind == "FixedTotal" else "k"
    asked = getattr(item, name)
    if asked and not there:
        message = f"{kind}({name}={asked}), but the one cell there is would only join itself"
        yield plain(where, message, "allow self_connections, or make the population larger", str(asked))
    elif not item.multapses and asked > there:
        message = f"{kind}({name}={asked}, multapses=False), but there are only {there} {what}"
        yield plain(where, message, f"use {name} <= {there}, or multapses=True", str(asked))
    elif not item.multapses and there > _MOST:
        message = f"{kind}(multapses=False), but {there} {what} are too many to tell apart"
        yield plain(where, message, "use multapses=True", str(asked))


def check_connectivity(projection: Projection, pre: int, post: int) -> Iterator[Problem]:
    """Indices in range; arrays fit the number of synapses."""
    where = f"projection '{projection.name}'"
    connectivity: Any = projection.connectivity
    kind = type(connectivity).__name__
    shapes: list[tuple[int, ...]] = []
    if kind == "OneToOne":
        shapes = [(pre,)]
        if pre != post:
            yield plain(where, f"one-to-one between {pre} and {post} cells", "make the sizes equal")
    elif kind == "Pairs":
        shapes = [(len(connectivity.pre),)]
        yield from _check_pairs(connectivity, pre, post, where)
    elif kind == "AllToAll":
        shapes = [(pre, post)]
    elif kind.startswith("Fixed"):
        shapes = [(synapses(connectivity, pre, post),)]
        yield from check_ends(projection, pre, post)
    # a variable of it may be called delay, or weights; what adds to an input has the input's name, and no value of its own
    receptor = {e.name for e in projection.synapse.scope.receptor if e.kind != "subexpression"}
    given: list[tuple[str, Any, list[tuple[int, ...]]]] = [
        ("weights", projection.weights, shapes),
        ("delay", projection.delay, shapes),
    ]
    for table in (
        {**projection.synapse.initial, **projection.initial},
        {**projection.synapse.parameters, **projection.parameters},
    ):
        given += [(n, value, [(post,)] if n in receptor else shapes) for n, value in table.items()]
    for name, value, possible in given:
        if isinstance(value, Quantity):
            yield from check_shape(name, value, possible, f"{where}, {name}")


def synapses(connectivity: Any, pre: int, post: int) -> int:
    """How many a fixed number gives."""
    return int({"FixedInDegree": post, "FixedOutDegree": pre}.get(type(connectivity).__name__, 1)) * int(
        connectivity.n if hasattr(connectivity, "n") else connectivity.k
    )


def _check_pairs(connectivity: Any, pre: int, post: int, where: str) -> Iterator[Problem]:
    if connectivity.pre.shape != connectivity.post.shape or connectivity.pre.ndim != 1:
        yield plain(
            where, "the index arrays of the pairs differ in length", "give one pre and one post index per synapse"
        )
    for name, index, size in (("pre", connectivity.pre, pre), ("post", connectivity.post, post)):
        outside = index[(index < 0) | (index >= size)]
        if outside.size:
            message = f"a {name} index is outside 0..{size - 1}"
            yield plain(where, message, "fix the index array", str(int(outside[0])))
