"""A network and its step, as notebooks show them."""

from __future__ import annotations

from typing import Any

from neuro.display.graph import graph
from neuro.display.html import block, folded, plain, table


class ShownNetwork:
    """What gives a Network its picture in a notebook."""

    def _repr_html_(self) -> str:
        return html_of(self)


def html_of(network: Any) -> str:
    """A neuro.model.Network: its graph, and tables of what it holds."""
    populations = [
        (p.name, p.size, p.neuron.name, ", ".join(p.neuron.scope.states) or "-", "yes" if p.neuron.threshold else "no")
        for p in network.populations
    ]
    projections = [
        (p.name, f"{p.pre} → {p.post}", p.synapse.name, type(p.connectivity).__name__, _told(p.weights), _told(p.delay))
        for p in network.projections
    ]
    inputs = [(i.name, i.size, i.kind, i.target or "-", _told(i.rate)) for i in network.inputs]
    return block(
        f"{network.name}: dt = {network.dt}, seed {network.seed}",
        f'<div style="overflow:auto">{graph(network)}</div>',
        table(("population", "cells", "neuron", "states", "spikes"), populations),
        table(("projection", "from → to", "synapse", "connectivity", "weights", "delay"), projections),
        table(("input", "channels", "kind", "target", "rate"), inputs),
    )


def step_html(step: Any) -> str:
    """A neuro.compiler.step.Step: its parts as tables, what it does as text."""
    cells = [
        (c.name, c.size, ", ".join(c.states) or "-", ", ".join(c.inputs) or "-", c.method, c.refractory)
        for c in step.cells
    ]
    synapses = [(s.name, f"{s.pre} → {s.post}", s.kind, ", ".join(s.states) or "-", s.longest) for s in step.synapses]
    return block(
        f"step of dt = {step.dt:.6g} s: {len(step.operations)} operations",
        table(("population", "cells", "states", "inputs", "method", "refractory (steps)"), cells),
        table(("projection", "from → to", "kind", "states", "longest delay (steps)"), synapses),
        folded("operations, in the order of execution", plain(str(step))),
    )


def _told(value: Any) -> str:
    """A quantity, or a distribution with what was said of it, in few words."""
    if value is None:
        return "-"
    text = str(value)
    if hasattr(value, "__dataclass_fields__") and text.startswith(type(value).__name__):
        said = {n: getattr(value, n) for n, f in value.__dataclass_fields__.items() if getattr(value, n) != f.default}
        text = f"{type(value).__name__}({', '.join(f'{n}={v}' for n, v in said.items() if v is not None)})"
    return text if len(text) <= 60 else f"{text[:59]}…"
