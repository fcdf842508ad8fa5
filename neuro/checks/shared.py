"""Rules for projections that share weights: as many synapses, in the same order, of one unit, which no run changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neuro.checks.common import plain
from neuro.checks.parts import Network, Projection
from neuro.language.equations import Problem, suggestion
from neuro.language.units import unit


def check_shared(item: Network) -> Iterator[Problem]:
    known = {p.name: p for p in item.projections}
    for projection in (p for p in item.projections if p.shares):
        where, other = f"projection '{projection.name}', shares", known.get(projection.shares)
        if other is None:
            fix = suggestion(projection.shares, [*known]) or f"known: {', '.join(known)}"
            yield plain(where, f"there is no projection '{projection.shares}'", fix, projection.shares)
        elif other.shares and other is not projection:
            message = f"'{other.name}' has no weights of its own, it shares those of '{other.shares}'"
            yield plain(where, message, f"write shares='{other.shares}'", projection.shares)
        elif other is not projection:
            yield from _check_pair(item, projection, other, where)


def _check_pair(item: Network, projection: Projection, other: Projection, where: str) -> Iterator[Problem]:
    for end in (projection, other):
        if end.synapse.scope.plastic:
            message = f"the synapses of '{end.name}' change their weights during a run, each its own"
            yield plain(where, message, "leave shares out, or use a synapse that doesn't assign 'w'", projection.shares)
    if projection.synapse.scope.has_weight and other.synapse.scope.has_weight:
        own, theirs = (unit(p.synapse.scope.weight_unit).dimension for p in (projection, other))
        if own != theirs:
            message = f"its weights are in {own}, those of '{other.name}' in {theirs}"
            yield plain(where, message, "use synapses whose weights have one unit", projection.shares)
    elif not other.synapse.scope.has_weight:
        yield plain(
            where, f"'{other.name}' has no weights to share", "name a projection with weights", projection.shares
        )
    if projection.frozen != other.frozen:
        first, second = (projection, other) if projection.frozen else (other, projection)
        message = f"'{first.name}' is frozen and '{second.name}' is not, but their weights are the same"
        yield plain(where, message, f"give '{second.name}' frozen=True too, or neither", projection.shares)
    yield from _check_synapses(item, projection, other, where)


def _check_synapses(item: Network, projection: Projection, other: Projection, where: str) -> Iterator[Problem]:
    """Both have as many synapses in the same order: what is random is drawn once for both."""
    cells: dict[str, Any] = {p.name: p for p in (*item.inputs, *item.populations)}
    if any(name not in cells for p in (projection, other) for name in (p.pre, p.post)):
        return  # said elsewhere
    for end in ("pre", "post"):
        own, theirs = (cells[getattr(p, end)] for p in (projection, other))
        if own.size != theirs.size:
            message = (
                f"'{own.name}' has {own.size} cells, and '{theirs.name}', the {end} of '{other.name}', {theirs.size}"
            )
            yield plain(where, message, "shared weights join populations of the same sizes", projection.shares)
            return
    kind = type(projection.connectivity).__name__
    if projection.connectivity != other.connectivity:
        message = f"its connectivity is {kind}, and that of '{other.name}' is {_another(kind, other)}"
        yield plain(where, message, "give both the same connectivity", projection.shares)
        return
    loops = [getattr(p.connectivity, "self_connections", True) or p.pre != p.post for p in (projection, other)]
    if loops[0] != loops[1]:
        message = f"one of '{projection.name}' and '{other.name}' leaves out the diagonal (self_connections=False)"
        yield plain(where, message, "allow self_connections, or make both recurrent or neither", projection.shares)
    elif kind == "Distance":
        for end in ("pre", "post"):
            own, theirs = (cells[getattr(p, end)] for p in (projection, other))
            if own.positions != theirs.positions:
                message = f"the cells of '{own.name}' and '{theirs.name}' lie elsewhere, so their synapses differ"
                yield plain(where, message, "give both the same positions", projection.shares)


def _another(kind: str, other: Projection) -> str:
    found = type(other.connectivity).__name__
    return f"another {found}" if found == kind else found
