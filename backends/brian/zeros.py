"""Brian2 wants a unit at every 0 that stands for a quantity; our language doesn't. A network's text with those units put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from backends.brian.text import unit_text
from neuro.checks.networks import ends, synapse_names
from neuro.language.dimensions import zeros
from neuro.language.equations import Equation, Expression, Statement
from neuro.language.regularly import Regular
from neuro.language.scope import noise_dimension
from neuro.language.units import Dimension, unit
from neuro.model import Network, Neuron, Projection, Synapse

Names = Mapping[str, Dimension]


def with_units(network: Network) -> Network:
    """The same network; itself where nothing lacks a unit. It has no receptors."""
    populations = tuple(replace(p, neuron=_neuron(p.neuron)) for p in network.populations)
    projections = tuple(replace(p, synapse=_synapse(network, p)) for p in network.projections)
    same = populations == network.populations and projections == network.projections
    return network if same else replace(network, populations=populations, projections=projections)


def _neuron(neuron: Neuron) -> Neuron:
    scope = neuron.scope
    names = {**scope.kinds, **{n: noise_dimension(n) for n in scope.noise}}
    blocks: dict[str, Any] = {
        "equations": _equations(scope.equations, names),
        "threshold": None if scope.threshold is None else _text(scope.threshold, names, None),
        "refractory": None if scope.refractory is None else _text(scope.refractory, names, None),
        "reset": _statements(scope.reset, names),
        "every_step": _statements(scope.every_step, names),
        "regularly": _regularly(scope.regularly, names),
        "events": {e.name: _text(e.condition, names, None) or e.condition.text for e in scope.events},
        "on_event": {
            e.name: _statements(e.statements, names) or neuron.on_event[e.name] for e in scope.events if e.statements
        },
    }
    return replace(neuron, **{k: v for k, v in blocks.items() if v is not None})


def _synapse(network: Network, projection: Projection) -> Synapse:
    scope = projection.synapse.scope
    pre, post = ends(network, projection)
    assert post is not None
    names = synapse_names(projection, pre, post)
    target = post.neuron.scope.dimensions.get(projection.synapse.target)
    blocks: dict[str, Any] = {
        "equations": _equations(scope.equations, names),
        "on_pre": _statements(scope.on_pre, names),
        "on_post": _statements(scope.on_post, names),
        "every_step": _statements(scope.every_step, names),
        "regularly": _regularly(scope.regularly, names),
        "transmits": None if scope.transmits is None else _text(scope.transmits, names, target),
    }
    return replace(projection.synapse, **{k: v for k, v in blocks.items() if v is not None})


def _text(expression: Expression, names: Names, wanted: Dimension | None) -> str | None:
    """The expression with units at its zeros; None where it lacks none."""
    text, found = expression.text, zeros(expression, names, wanted)
    for node, dimension in sorted(found, key=lambda zero: -zero[0].col_offset):
        begin, end = node.col_offset - 1, (node.end_col_offset or 0) - 1  # parsed within one added parenthesis
        text = f"{text[:begin]}(0*{unit_text(dimension)}){text[end:]}"
    return text if found else None


def _equations(equations: Iterable[Equation], names: Names) -> str | None:
    lines, changed = [], False
    for item in equations:
        wanted = item.dimension / unit("second").dimension if item.kind == "differential" else item.dimension
        text = None if item.expression is None else _text(item.expression, names, wanted)
        if text is None:
            lines.append(item.source.text)
            continue
        changed, left = True, f"d{item.name}/dt" if item.kind == "differential" else item.name
        flags = f" ({', '.join(sorted(item.flags))})" if item.flags else ""
        lines.append(f"{left} = {text} : {item.unit}{flags}")
    return "\n".join(lines) if changed else None


def _regularly(blocks: Iterable[Regular], names: Names) -> dict[str, str] | None:
    texts = {r.text: (r.statements, _statements(r.statements, names)) for r in blocks}
    if all(text is None for _, text in texts.values()):
        return None
    return {period: _plain(block) if text is None else text for period, (block, text) in texts.items()}


def _plain(block: Iterable[Statement]) -> str:
    return "\n".join(f"{s.target} {s.op} {s.expression.text}" for s in block)


def _statements(block: Iterable[Statement], names: Names) -> str | None:
    texts = []
    for s in block:
        wanted = names[s.target] if s.op in ("=", "+=", "-=") else None
        texts.append((s, _text(s.expression, names, wanted)))
    if all(text is None for _, text in texts):
        return None
    return "\n".join(f"{s.label}{s.target} {s.op} {s.expression.text if text is None else text}" for s, text in texts)
