"""Changes of a network's text, line by line and node by node."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from neuro import Network, Neuron, Synapse
from neuro.language.equations import Equation, Statement

Model = Neuron | Synapse
_REGULARLY = "regularly "  # how the names of blocks begin that have a period
_EVENT, _ON_EVENT = "event ", "on_event "  # and those of an event
_TABLES = {_REGULARLY: "regularly", _EVENT: "events", _ON_EVENT: "on_event"}
NEURON_BLOCKS, SYNAPSE_BLOCKS = ("reset", "every_step"), ("on_pre", "on_post", "every_step")


@dataclass(frozen=True)
class Line:
    """One line of a block: `left`, an expression or None, `tail` (unit and flags)."""

    name: str
    left: str
    text: str | None
    tail: str = ""

    def __str__(self) -> str:
        return f"{self.left}{self.text or ''}{self.tail}"


def equation_line(item: Equation) -> Line:
    flags = f" ({', '.join(sorted(item.flags))})" if item.flags else ""
    lefts = {"differential": f"d{item.name}/dt = ", "declaration": item.name}
    left = lefts.get(item.kind, f"{item.name} = ")
    return Line(item.name, left, item.expression.text if item.expression else None, f" : {item.unit}{flags}")


def statement_line(item: Statement) -> Line:
    return Line(item.target, f"{item.label}{item.target} {item.op} ", item.expression.text)


def blocks(model: Model) -> dict[str, list[Line]]:
    """Block name -> its lines; one without `left` for a threshold or a graded value. "regularly PERIOD" is one, and so are "event NAME", "on_event NAME"."""
    scope: Any = model.scope
    found = {"equations": [equation_line(e) for e in scope.equations]}
    if isinstance(model, Synapse):
        found["receptor"] = [equation_line(e) for e in scope.receptor]
    for name in NEURON_BLOCKS if isinstance(model, Neuron) else SYNAPSE_BLOCKS:
        found[name] = [statement_line(s) for s in getattr(scope, name)]
    found |= {f"{_REGULARLY}{r.text}": [statement_line(s) for s in r.statements] for r in scope.regularly}
    single = "threshold" if isinstance(model, Neuron) else "transmits"
    expression = getattr(scope, single)
    found[single] = [Line("", "", expression.text)] if expression is not None else []
    for event in scope.events if isinstance(model, Neuron) else ():
        found[f"{_EVENT}{event.name}"] = [Line("", "", event.condition.text)]
        found[f"{_ON_EVENT}{event.name}"] = [statement_line(s) for s in event.statements]
    if isinstance(model, Neuron) and scope.refractory is not None:
        found["refractory"] = [Line("", "", scope.refractory.text)]
    return found


def with_blocks(model: Any, changed: dict[str, list[Line]], **options: Any) -> Any:
    """The model with these blocks."""
    texts = {n: "\n".join(map(str, lines)) for n, lines in changed.items()}
    given: dict[str, Any] = {n: text for n, text in texts.items() if not n.startswith(tuple(_TABLES))}
    for prefix, field in _TABLES.items():
        own = {n.removeprefix(prefix): text for n, text in texts.items() if n.startswith(prefix)}
        if own:
            given[field] = {n: text for n, text in {**getattr(model, field), **own}.items() if text}
    if "events" in given:  # one without a condition is none
        given["on_event"] = {n: t for n, t in given.get("on_event", model.on_event).items() if n in given["events"]}
    return replace(model, **given, **options)


def with_model(network: Network, old: Model, new: Any) -> Network:
    """The network with a neuron or synapse changed wherever it occurs; values that no longer have a name are dropped."""
    populations = tuple(
        _kept(replace(p, neuron=new, parameters={}, initial={}), p) if p.neuron is old else p
        for p in network.populations
    )
    projections = tuple(
        _kept(replace(p, synapse=new, parameters={}, initial={}, weights=_weights(p, new), delays=_delays(p, new)), p)
        if p.synapse is old
        else p
        for p in network.projections
    )
    return replace(network, populations=populations, projections=projections)


def _weights(projection: Any, synapse: Synapse) -> Any:
    return projection.weights if synapse.scope.has_weight else None


def _delays(projection: Any, synapse: Synapse) -> dict[str, Any]:
    known = {*synapse.scope.pathways, *(["post"] if synapse.scope.on_post else [])}
    return {n: v for n, v in projection.delays.items() if n in known}


def _kept(new: Any, old: Any) -> Any:
    scope = (new.neuron if hasattr(new, "neuron") else new.synapse).scope
    parameters = {n: v for n, v in old.parameters.items() if n in scope.parameters}
    initial = {n: v for n, v in old.initial.items() if n in scope.states}
    return replace(new, parameters=parameters, initial=initial)


def models(network: Network) -> list[Any]:
    """Every neuron and synapse object once."""
    found = {id(m): m for m in (*(p.neuron for p in network.populations), *(p.synapse for p in network.projections))}
    return list(found.values())


def mapped(text: str, change: Callable[[ast.expr], ast.expr]) -> str:
    """An expression rewritten by a function of its tree."""
    return ast.unparse(change(ast.parse(f"({text})", mode="eval").body))


class Renamer(ast.NodeTransformer):
    """Names by others, functions left alone."""

    def __init__(self, names: dict[str, ast.expr | str]) -> None:
        self.names = names

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(a) for a in node.args]
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        new = self.names.get(node.id, node)
        return ast.Name(new) if isinstance(new, str) else new


def substituted(text: str, names: dict[str, Any]) -> str:
    """An expression with names replaced by others, or by expressions."""
    return mapped(
        text, Renamer({n: v if isinstance(v, str) and v.isidentifier() else _tree(v) for n, v in names.items()}).visit
    )


def _tree(text: Any) -> ast.expr:
    return ast.parse(str(text), mode="eval").body


def smaller(text: str) -> Iterator[str]:
    """Expressions with one node replaced by one of its parts, or by a number."""
    tree = ast.parse(f"({text})", mode="eval").body
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.expr)]
    called = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    for node in nodes:
        if id(node) in called:
            continue
        parts = [c for c in ast.iter_child_nodes(node) if isinstance(c, ast.expr) and id(c) not in called]
        if not isinstance(node, ast.Constant) or node.value not in (1, 0.5, 2):
            parts += [ast.Constant(1), ast.Constant(0.5)]
        for part in parts:
            yield ast.unparse(_swapped(tree, node, part))


def _swapped(tree: ast.expr, old: ast.expr, new: ast.expr) -> ast.expr:
    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return new if node is old else self.generic_visit(node)

    import copy

    memo = {id(old): old, id(new): new}
    return Swap().visit(copy.deepcopy(tree, memo))  # type: ignore[no-any-return]
