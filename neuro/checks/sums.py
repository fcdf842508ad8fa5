"""Where in a step inputs are summed: at its start or at its end, and who may read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from neuro.checks.common import plain
from neuro.checks.parts import Network, Projection
from neuro.language.equations import Expression, Problem
from neuro.language.scope import SynapseScope


def check_sums(item: Network) -> Iterator[Problem]:
    """An input is summed at one place of a step, and nothing reads it in the same step before."""
    graded = [p for p in item.projections if p.synapse.scope.transmits is not None]
    first: dict[tuple[str, str], Projection] = {}
    for projection in sorted(graded, key=lambda p: p.summed != "start"):
        target = projection.synapse.target
        other = first.setdefault((projection.post, target), projection)
        if other.summed != projection.summed:
            where = {"start": "start of a step", "turn": "target's turn", "end": "end of a step"}[other.summed]
            message = f"input '{target}' of '{projection.post}' is summed at the {where} by projection '{other.name}'"
            fix = "give both the same, or two inputs"
            yield plain(f"projection '{projection.name}', summed", message, fix, projection.summed)
    yield from _check_turns(item)
    late = _Late(item, item.late_inputs)
    if not late.inputs:
        return
    for population in item.populations:
        scope = population.neuron.scope
        texts = [*(e.expression for e in scope.of_kind("differential")), scope.refractory]
        texts += [s.expression for s in scope.every_step]
        yield from _read_early(texts, partial(late.in_cells, population.name))
    for projection in item.projections:
        scope = projection.synapse.scope
        early = [e.expression for e in scope.of_kind("differential")]
        if scope.transmits is not None and projection.summed != "end":
            early.append(scope.transmits)
        yield from _read_early(early, partial(late.in_synapses, projection))


def _check_turns(item: Network) -> Iterator[Problem]:
    """What is summed at a population's turn has no value before: for synapses' equations, for sums of the start and of earlier turns."""
    late = _Late(item, item.turn_inputs)
    order = [p.name for p in item.populations]
    for projection in item.projections if late.inputs else ():
        scope = projection.synapse.scope
        early = [] if projection.integrated == "end" else [e.expression for e in scope.of_kind("differential")]
        if projection.summed != "end":
            early.append(scope.transmits)
        turn = order.index(projection.post) if projection.summed == "turn" and projection.post in order else 0
        behind = _Late(item, {n: i for n, i in late.inputs.items() if order.index(n) >= turn})
        yield from _read_early(early, partial(behind.in_synapses, projection), "turn")


class _Late:
    """What names are made of that is summed later. inputs: by population."""

    def __init__(self, network: Network, inputs: Mapping[str, frozenset[str]]) -> None:
        self.inputs = {name: own for name, own in inputs.items() if own}
        self.scopes = {p.name: p.neuron.scope for p in network.populations}

    def in_cells(self, population: str, *names: str) -> set[str]:
        """What a population's variables are made of."""
        inputs = self.inputs.get(population)
        return self.scopes[population].reached(names) & inputs if inputs else set()

    def in_synapses(self, projection: Projection, name: str) -> set[str]:
        """What a synapse's name is made of: "x_pre", "x_post", or one of its subexpressions."""
        found: set[str] = set()
        for end, suffix in ((projection.pre, "_pre"), (projection.post, "_post")):
            read = projection.synapse.scope.reached([name])
            found |= self.in_cells(end, *(n.removesuffix(suffix) for n in read if n.endswith(suffix)))
        return found


def _read_early(
    texts: Iterable[Expression | None], late: Callable[[str], set[str]], summed: str = "end"
) -> Iterator[Problem]:
    fix = "read it in statements of synapses, in a threshold or a reset, or use summed='start'"
    for text, node in ((t, node) for t in texts if t is not None for node in t.name_nodes()):
        for name in sorted(late(node.id))[:1]:
            through = "" if node.id in (name, f"{name}_pre", f"{name}_post") else f" (through '{node.id}')"
            message = f"'{name}' is read{through} before it is summed: its projection has summed='{summed}'"
            yield text.source.problem(message, fix, node)


def inputs_of(scope: SynapseScope, ends: Mapping[str, Any], name: str) -> set[str]:
    """Inputs of the cells that a synapse's name is made of. ends: suffix -> population or input."""
    read = scope.reached([name])
    found: set[str] = set()
    for suffix, end in ends.items():
        if hasattr(end, "neuron"):
            names = {n.removesuffix(suffix) for n in read if n.endswith(suffix)}
            found |= end.neuron.scope.reached(names) & {*end.neuron.scope.inputs}
    return found
