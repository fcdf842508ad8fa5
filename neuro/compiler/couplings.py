"""What synapses sum into cells, as operations of a Step: couplings, and the order in which cells gather them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import sympy as sp

from neuro.compiler.formulas import Sum
from neuro.compiler.resolve import Resolved
from neuro.compiler.step import Couple, Factors, Gather, When
from neuro.language.equations import Source
from neuro.language.symbolic import symbol
from neuro.language.units import Quantity
from neuro.model import Network, Projection

Place = Literal["start", "turn", "end"]  # of a step


def couple(projection: Projection, item: Sum, when: When) -> Couple:
    """A sum over synapses as an operation."""
    factors = _factors(item.value, _numbers(projection))
    return Couple(projection.name, projection.post, item.target, item.value, factors, when)


def _factors(value: sp.Expr, numbers: frozenset[str]) -> Factors | None:
    """Split a product by where its variables live; None where one factor mixes them.

    numbers: parameters of the projection that are one number, which go with either end.
    """
    parts = {"pre": sp.Integer(1), "synapse": sp.Integer(1), "post": sp.Integer(1)}
    for factor in sp.Mul.make_args(value):
        names = {s.name for s in factor.free_symbols}
        kinds = {_kind(n) for n in names - numbers} - {"any"}
        if len(kinds) > 1:
            return None
        kind = kinds.pop() if kinds else ("synapse" if factor.is_number or names & numbers else "pre")
        parts[kind] *= factor
    return Factors(**parts)


def _numbers(projection: Projection) -> frozenset[str]:
    given = {**projection.synapse.parameters, **projection.parameters}
    return frozenset(n for n, v in given.items() if isinstance(v, Quantity) and not v.shape)


def _kind(name: str) -> str:
    if name in ("t", "dt"):
        return "any"
    return "pre" if name.endswith("_pre") else "post" if name.endswith("_post") else "synapse"


def gathers(resolved: Resolved, summed: Place, *, graded: bool = True) -> list[Gather]:
    """Inputs of each population that are summed there, sources before targets where a graded value depends on inputs summed there.

    graded: with the sums of graded projections, which are held for the step.

    Raises ModelError where graded units form a loop within a step.
    """
    sums = graded_sums(resolved, summed) if graded else {}
    return [g for name in sources_first(resolved, summed) for g in _gather(resolved, name, summed, sums)]


def gathers_at_turns(resolved: Resolved) -> dict[str, list[Gather]]:
    """Population -> what it gathers when its turn comes to be integrated."""
    sums = graded_sums(resolved, "turn")
    return {p.name: list(_gather(resolved, p.name, "turn", sums)) for p in resolved.network.populations}


def _gather(
    resolved: Resolved, name: str, summed: Place, sums: Mapping[str, list[tuple[Projection, Sum]]]
) -> Iterator[Gather]:
    inputs = inputs_summed(resolved.network, name, summed)
    if inputs:
        couplings = tuple(couple(p, item, "always") for p, item in sums.get(name, ()))
        yield Gather(name, inputs, couplings, currents(resolved.network, name, inputs))


def inputs_summed(network: Network, population: str, summed: Place) -> tuple[str, ...]:
    """A population's inputs that are summed at the start of a step, at its turn, or at the end."""
    places = dict.fromkeys(network.late_inputs[population], "end") | dict.fromkeys(
        network.turn_inputs[population], "turn"
    )
    return tuple(n for n in network.population(population).neuron.scope.inputs if places.get(n, "start") == summed)


def currents(network: Network, population: str, inputs: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(variable, input) of the currents into these inputs of a population."""
    targets = ((i.target.partition("."), i.name) for i in network.inputs if i.kind == "current")
    return tuple(
        (variable, name) for (owner, _, variable), name in targets if owner == population and variable in inputs
    )


def graded_sums(resolved: Resolved, summed: Place) -> dict[str, list[tuple[Projection, Sum]]]:
    """Population -> the graded projections to it that are summed there, and what each sums."""
    sent = {name: s.transmits for name, s in resolved.synapses.items()}
    found: dict[str, list[tuple[Projection, Sum]]] = {}
    for projection in resolved.network.projections:
        item = sent[projection.name]
        if item is not None and projection.summed == summed:
            found.setdefault(projection.post, []).append((projection, item))
    return found


def sources_first(resolved: Resolved, summed: Place) -> list[str]:
    """Populations so that those come first whose inputs, summed there, a graded value summed there depends on. Raises ModelError."""
    network = resolved.network
    needs: dict[str, set[str]] = {p.name: set() for p in network.populations}
    for name, arriving in graded_sums(resolved, summed).items():
        for projection, item in arriving:
            read = item.value.free_symbols
            for end, suffix in ((projection.pre, "_pre"), (projection.post, "_post")):
                if end in needs and any(symbol(n + suffix) in read for n in inputs_summed(network, end, summed)):
                    needs[name].add(end)
    return _topological(needs)


def _topological(needs: dict[str, set[str]]) -> list[str]:
    done: dict[str, None] = {}
    while len(done) < len(needs):
        ready = [n for n in needs if n not in done and needs[n] <= done.keys()]
        if not ready:
            loop = ", ".join(sorted(set(needs) - set(done)))
            raise Source(f"populations {loop}", "").fail(
                "graded units depend on each other within one step",
                "give one of them a state (a time constant), or send events",
            )
        done |= dict.fromkeys(ready)
    return list(done)
