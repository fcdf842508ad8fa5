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
    at_start = {(p.post, p.synapse.target): p.name for p in graded if p.summed == "start"}
    for projection in (p for p in graded if p.summed == "end"):
        target = projection.synapse.target
        other = at_start.get((projection.post, target))
        if other is not None:
            message = (
                f"input '{target}' of '{projection.post}' is summed at the start of a step by projection '{other}'"
            )
            yield plain(f"projection '{projection.name}', summed", message, "give both the same, or two inputs", "end")
    late = _Late(item)
    if not late.inputs:
        return
    for population in item.populations:
        scope = population.neuron.scope
        texts = [*(e.expression for e in scope.of_kind("differential")), *(s.expression for s in scope.every_step)]
        yield from _read_early(texts, partial(late.in_cells, population.name))
    for projection in item.projections:
        scope = projection.synapse.scope
        early = [e.expression for e in scope.of_kind("differential")]
        if scope.transmits is not None and projection.summed == "start":
            early.append(scope.transmits)
        yield from _read_early(early, partial(late.in_synapses, projection))


class _Late:
    """What names are made of that is summed at the end of a step."""

    def __init__(self, network: Network) -> None:
        self.inputs = {name: inputs for name, inputs in network.late_inputs.items() if inputs}
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


def _read_early(texts: Iterable[Expression | None], late: Callable[[str], set[str]]) -> Iterator[Problem]:
    fix = "read it in statements of synapses, in a threshold or a reset, or use summed='start'"
    for text, node in ((t, node) for t in texts if t is not None for node in t.name_nodes()):
        for name in sorted(late(node.id))[:1]:
            through = "" if node.id in (name, f"{name}_pre", f"{name}_post") else f" (through '{node.id}')"
            message = f"'{name}' is read{through} before it is summed: its projection has summed='end'"
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
