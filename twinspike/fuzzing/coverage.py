"""What of the language occurs in a network: read off its definition, not off how it was made."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from neuro import Network, Neuron, Normal, Projection, Quantity
from neuro.fields import Distribution
from neuro.language.drawn import DRAWN, drawn_by
from neuro.language.equations import CONSTANTS, FUNCTIONS, is_condition
from neuro.language.scope import METHODS
from twinspike.fuzzing.editing import blocks, models

_OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.Mod: "%", ast.FloorDiv: "//", ast.USub: "unary -", ast.UAdd: "unary +",
    ast.Not: "not", ast.And: "and", ast.Or: "or", ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip

# What a long run must have met: every row of the report that may not be 0.
WANTED = (
    *(f"function {n}" for n in sorted(FUNCTIONS)), *(f"constant {n}" for n in sorted(CONSTANTS)), *(f"operator {n}" for n in _OPERATORS.values()),
    *(f"word {n}" for n in ("condition as a number", "int of a number", "boolean", "integer", "i", "N", "i of a synapse", "j", "N_pre", "N_post")),
    *(f"integrator {n}" for n in METHODS), *(f"connectivity {n}" for n in ("AllToAll", "OneToOne", "Probability", "FixedTotal", "FixedInDegree", "FixedOutDegree", "Distance", "Pairs", "none", "no multapses")),
    *(f"delay {n}" for n in ("zero", "uniform", "each", "drawn", "pathway", "on_post")), *(f"input {n}" for n in ("spikes", "poisson", "current", "drive", "binomial")),
    *(f"synapse {n}" for n in ("event", "graded", "receptor", "plastic", "on_post", "every_step", "state", "subexpression", "event-driven", "event-driven constant", "reads cells", "reads spike times", "graded and late", "no weight", "adds twice", "pathways", "regularly", "constant over dt", "rand", "randn", "poisson")),
    *(f"cell {n}" for n in ("threshold", "no threshold", "reset", "refractory", "unless refractory", "refractory time", "refractory condition", "lastspike", "not_refractory", "every_step", "subexpression", "noise", "rand", "randn", "poisson", "regularly", "regularly kept", "constant over dt", "t", "dimensions", "no state", "event", "event statements", "event read")),
    *(f"values {n}" for n in ("one", "array", "Normal", "Normal clip", "Normal redraw", "Uniform", "LogNormal", "LogNormal redraw", "Gamma", "Gamma redraw", "drawn per synapse")), *("sign", "bounds", "initial values", "loop", "self projection", "repeated pairs", "positions", "cutoff", "period", "couplings stages", "summed at the end", "summed at a turn", "integrated at the end", "modulated synapse", "shared weights", "frozen projection", "frozen population"),
)  # fmt: skip


def features(network: Network) -> Counter[str]:
    """How often each element of the language occurs."""
    found: Counter[str] = Counter()
    for model in models(network):
        prefix = "integrator"
        if any(line.left.startswith("d") and "/dt" in line.left for line in blocks(model)["equations"]):
            found[f"{prefix} {model.method}"] += 1
        for lines in blocks(model).values():
            for line in lines:
                if line.text:
                    found.update(_expression(line.text))
        found.update(_cell(model) if isinstance(model, Neuron) else _synapse(model))
    for population in network.populations:
        found.update(
            f"values {_kind(v)}" for v in (*population.values().values(), *population.initial_values().values())
        )
        found["positions"] += population.positions is not None
        found["frozen population"] += population.frozen
        found["initial values"] += bool(population.initial_values())
    for projection in network.projections:
        found.update(_projection(network, projection))
    found.update(f"input {i.kind if i.law == 'poisson' else i.law}" for i in network.inputs)
    found["loop"] += _loops(network)
    found["couplings stages"] += network.couplings == "stages"
    return +found


def _expression(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text, mode="eval")):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[first, *_]):
                yield f"function {name}"
                if name == "int" and not is_condition(first):
                    yield "word int of a number"
            case ast.Name(id=name) if name in CONSTANTS:
                yield f"constant {name}"
            case ast.BinOp(left=left, op=op, right=right) if is_condition(left) or is_condition(right):
                yield "word condition as a number"
                yield f"operator {_OPERATORS[type(op)]}"
            case ast.BinOp(op=op) | ast.UnaryOp(op=op) | ast.BoolOp(op=op):
                yield f"operator {_OPERATORS[type(op)]}"
            case ast.Compare(ops=[op]):
                yield f"operator {_OPERATORS[type(op)]}"


def _cell(neuron: Neuron) -> Iterator[str]:
    scope = neuron.scope
    yield "cell threshold" if neuron.threshold else "cell no threshold"
    names = {n for e in scope.equations if e.expression for n in e.expression.names}
    used = {n for e in scope.expressions for n in e.names}
    there = {
        "reset": neuron.reset, "refractory": neuron.period, "unless refractory": neuron.frozen, "refractory time": scope.refractory and scope.timed,
        "refractory condition": scope.refractory and not scope.timed, "lastspike": "lastspike" in used, "not_refractory": "not_refractory" in used,
        "every_step": neuron.every_step, "subexpression": scope.subexpressions, "noise": scope.white_noise, **{f: any(drawn_by(n) == f for n in scope.noise) for f in DRAWN}, "regularly": scope.regularly, "regularly kept": any(s.target in neuron.frozen for r in scope.regularly for s in r.statements), "constant over dt": scope.held, "t": "t" in names,
        "dimensions": any(not d.dimensionless for n, d in scope.dimensions.items() if n in scope.states), "no state": not scope.states,
        "event": scope.events, "event statements": neuron.on_event, "event read": {*scope.event_states} & used,
    }  # fmt: skip
    yield from (f"cell {name}" for name, yes in there.items() if yes)
    yield from (f"word {e.unit}" for e in scope.equations if e.unit in ("boolean", "integer"))
    yield from (f"word {name}" for name in scope.indices)


def _synapse(synapse: Any) -> Iterator[str]:
    scope = synapse.scope
    added = [s.target for s in scope.on_pre if s.target.endswith("_post")]
    there = {
        "event": scope.on_pre, "graded": synapse.transmits, "receptor": synapse.receptor, "plastic": scope.plastic, "on_post": scope.on_post,
        "every_step": scope.every_step, "regularly": scope.regularly, "constant over dt": scope.held, "state": set(scope.states) - {"w"}, "no weight": not scope.has_weight, "event-driven": scope.event_driven,
        "event-driven constant": any("Hz" in e.source.text or "(1 -" in e.source.text for e in scope.event_driven),
        "subexpression": scope.of_kind("subexpression"), "reads cells": any(n.endswith(("_pre", "_post")) for s in scope.on_pre for n in s.expression.names), "adds twice": len(added) > len(set(added)), "pathways": any(scope.pathways),
        "reads spike times": any(n.startswith(("lastspike_", "not_refractory_")) for e in scope.expressions for n in e.names),
        **{f: any(drawn_by(n) == f for n in scope.noise) for f in DRAWN},
    }  # fmt: skip
    yield from (f"synapse {name}" for name, yes in there.items() if yes)
    yield from (f"word {'i of a synapse' if name == 'i' else name}" for name in scope.indices)


def _projection(network: Network, p: Projection) -> Iterator[str]:
    c: Any = p.connectivity
    scope = p.synapse.scope
    size = len(c.pre) if hasattr(c, "pre") else None
    yield f"connectivity {type(c).__name__}"
    if size == 0 or 0 in (getattr(c, "p", 1), getattr(c, "n", 1), getattr(c, "k", 1)):
        yield "connectivity none"
    if size and len(set(zip(c.pre.tolist(), c.post.tolist(), strict=True))) < size:
        yield "repeated pairs"
    if scope.on_pre:
        yield (
            "delay drawn"
            if isinstance(p.delay, Distribution)
            else "delay each"
            if p.delay.shape
            else "delay uniform"
            if np.any(p.delay.value)
            else "delay zero"
        )
    if p.synapse.transmits and isinstance(p.delay, Quantity) and np.any(p.delay.value):
        yield "synapse graded and late"
    yield from ("delay on_post" if n == "post" else "delay pathway" for n, d in p.delays.items() if d.value)
    if any(isinstance(v, Distribution) for v in p.parameters.values()):
        yield "values drawn per synapse"
    yield from (name for name in ("cutoff", "period") if getattr(c, name, None) is not None)
    if not getattr(c, "multapses", True):
        yield "connectivity no multapses"
    yield from (f"values {_kind(v)}" for v in (p.weights, *p.parameters.values(), *p.initial.values()) if v is not None)
    if p.pre == p.post:
        yield "self projection"
    if p.shares:
        yield "shared weights"
    if p.frozen:
        yield "frozen projection"
    if p.summed == "end":
        yield "summed at the end"
    if p.summed == "turn":
        yield "summed at a turn"
    if p.integrated == "end":
        yield "integrated at the end"
    statements = (s.expression for s in scope.statements)
    if {f"{n}_post" for n in network.late_inputs[p.post]} & {n for e in statements for n in e.names}:
        yield "modulated synapse"
    if p.sign:
        yield "sign"
    if p.bounds != (None, None):
        yield "bounds"


def _kind(value: Any) -> str:
    if isinstance(value, Normal) and (value.low is not None or value.high is not None):
        return f"Normal {value.outside}"
    if isinstance(value, Distribution):
        return f"{type(value).__name__}{' redraw' * (getattr(value, 'outside', '') == 'redraw')}"
    return "array" if value.shape else "one"


def _loops(network: Network) -> int:
    """1 if a population reaches itself through others."""
    targets: dict[str, set[str]] = {p.name: set() for p in network.populations}
    for p in network.projections:
        if p.pre in targets and p.pre != p.post:
            targets[p.pre].add(p.post)
    for start in targets:
        seen, todo = set[str](), list(targets[start])
        while todo:
            name = todo.pop()
            if name == start:
                return 1
            if name not in seen:
                seen.add(name)
                todo += targets[name]
    return 0
