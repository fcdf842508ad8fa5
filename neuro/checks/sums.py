"""Where in a step inputs are summed: at its start or at its end, and who may read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set

from neuro.checks.common import plain
from neuro.checks.parts import Network, Projection
from neuro.language.equations import Expression, Problem


def check_sums(item: Network) -> Iterator[Problem]:
    """An input is summed at one place of a step, and nothing reads it in the same step before."""
    graded = [p for p in item.projections if p.synapse.scope.transmits is not None]
    at_start = {(p.post, p.synapse.target): p.name for p in graded if p.summed == "start"}
    for projection in (p for p in graded if p.summed == "end"):
        target = projection.synapse.target
        other = at_start.get((projection.post, target))
        if other is not None:
            message = f"input '{target}' of '{projection.post}' is summed at the start of a step by projection '{other}'"
            yield plain(f"projection '{projection.name}', summed", message, "give both the same, or two inputs", "end")
    late = _Late(item)
    for population in item.populations:
        scope = population.neuron.scope
        for text in (*scope.of_kind("differential"), *scope.every_step):
            yield from _read_early(text.expression, lambda name, p=population.name: late.of(p, [name]))
    for projection in item.projections:
        scope = projection.synapse.scope
        early = [e.expression for e in scope.of_kind("differential")]
        if scope.transmits is not None and projection.summed == "start":
            early.append(scope.transmits)
        for expression in early:
            yield from _read_early(expression, lambda name, p=projection: late.at_ends(p, name))


class _Late:
    """What names are made of that is summed at the end of a step."""

    def __init__(self, network: Network) -> None:
        self.inputs = {name: inputs for name, inputs in network.late_inputs.items() if inputs}
        self.scopes = {p.name: p.neuron.scope for p in network.populations}

    def of(self, population: str, names: Iterable[str]) -> Set[str]:
        """A population's variables."""
        inputs = self.inputs.get(population)
        return self.scopes[population].reached(names) & inputs if inputs else set()

    def at_ends(self, projection: Projection, name: str) -> Set[str]:
        """A synapse's name: "x_pre", "x_post", or one of its subexpressions."""
        read = projection.synapse.scope.reached([name])
        ends = ((projection.pre, "_pre"), (projection.post, "_post"))
        found = (self.of(end, [n.removesuffix(s) for n in read if n.endswith(s)]) for end, s in ends)
        return set().union(*found)


def _read_early(expression: Expression | None, late: Callable[[str], Set[str]]) -> Iterator[Problem]:
    for node in () if expression is None else expression.name_nodes():
        for name in sorted(late(node.id))[:1]:
            through = "" if node.id in (name, f"{name}_pre", f"{name}_post") else f" (through '{node.id}')"
            message = f"'{name}' is read{through} before it is summed: its projection has summed='end'"
            fix = "read it in statements of synapses, in a threshold or a reset, or use summed='start'"
            yield expression.source.problem(message, fix, node)
